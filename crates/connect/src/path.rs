//! The `path` option: environment variables and the folder it starts from.

use std::path::{Path, PathBuf};

use postrider_core::Diagnostic;

/// Looks a variable up in the environment.
pub(crate) type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A path as the SQL names it: text with `{{ NAME }}` for environment variables.
#[derive(Debug, Clone)]
pub(crate) struct PathTemplate {
    pieces: Vec<Piece>,
    range: Option<std::ops::Range<usize>>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Variable(String),
}

impl PathTemplate {
    /// Parses the value of the option that stands at `range`.
    pub(crate) fn parse(
        text: &str,
        range: Option<std::ops::Range<usize>>,
    ) -> Result<Self, Diagnostic> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else {
                return Err(Diagnostic::error(
                    "PR0305",
                    format!("'{text}' has a '{{{{' without '}}}}'"),
                )
                .at_option(range)
                .hint("write a variable as {{ NAME }}"));
            };
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Variable(name.trim().to_owned()));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { pieces, range })
    }

    /// The path with its variables replaced; a relative one starts at `base_dir`.
    pub(crate) fn resolve(&self, base_dir: &Path, env: &Env<'_>) -> Result<PathBuf, Diagnostic> {
        let mut path = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Variable(name) => path.push_str(&env(name).ok_or_else(|| {
                    Diagnostic::error("PR0305", format!("environment variable {name} is not set"))
                        .at_option(self.range.clone())
                        .hint(format!("set it before the start, such as: export {name}=.."))
                })?),
            }
        }
        Ok(base_dir.join(path))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::PathTemplate;

    fn resolve(text: &str) -> Result<String, String> {
        let env = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
        PathTemplate::parse(text, None)
            .and_then(|template| template.resolve(Path::new("/sql"), &env))
            .map(|path| path.display().to_string())
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn variables_are_replaced_and_relative_paths_start_at_the_sql() {
        assert_eq!(resolve("in/a.ndjson").unwrap(), "/sql/in/a.ndjson");
        assert_eq!(resolve("{{ HOME }}/a-{{HOME}}").unwrap(), "/home/ada/a-/home/ada");
    }

    #[test]
    fn a_missing_variable_is_named() {
        assert_eq!(
            resolve("{{ DATA }}/a").unwrap_err(),
            "PR0305: environment variable DATA is not set (set it before the start, such as: export DATA=..)"
        );
        assert!(resolve("{{ DATA").unwrap_err().starts_with("PR0305"));
    }
}
