//! Diagnostics as people read them: code, line, caret, hint.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use postrider_core::{Diagnostic, Severity};

use crate::{
    console,
    outcome::{Failure, INVALID},
};

/// Renders findings about one text.
pub(crate) fn render(path: &str, sql: &str, diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut reports = Vec::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group: Group<'_> =
            Group::with_title(level.primary_title(diagnostic.message.as_str()).id(diagnostic.code));
        group = match &diagnostic.span {
            Some(span) => {
                let annotation = AnnotationKind::Primary.span(within(sql, &span.range));
                group.element(Snippet::source(sql).path(path).annotation(annotation))
            }
            None => group.element(annotate_snippets::Origin::path(path)),
        };
        if let Some(hint) = &diagnostic.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        reports.push(renderer.render(&[group]));
    }
    reports.join("\n\n")
}

/// The failure of a command whose input has such findings.
pub(crate) fn failure(path: &str, sql: &str, diagnostics: &[Diagnostic]) -> Failure {
    let text = render(path, sql, diagnostics, console::has_colour());
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let closing = match errors {
        1 => format!("{path}: 1 error"),
        n => format!("{path}: {n} errors"),
    };
    let pages = pages(diagnostics);
    Failure { text: format!("{text}\n\n{closing}; why, and what passes: {pages}"), code: INVALID }
}

/// How many codes the last line names: it is to be copied, and to fit a line.
const CODES_NAMED: usize = 3;

/// The command that shows the pages of these findings, errors first.
fn pages(diagnostics: &[Diagnostic]) -> String {
    let mut codes: Vec<&str> = Vec::new();
    for severity in [Severity::Error, Severity::Warning] {
        for finding in diagnostics.iter().filter(|finding| finding.severity == severity) {
            if codes.len() < CODES_NAMED && !codes.contains(&finding.code) {
                codes.push(finding.code);
            }
        }
    }
    format!("postrider errors {}", codes.join(" "))
}

/// Cuts a range to the text and to character borders, so that a wrong span can't hide the message.
fn within(text: &str, range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let border = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (border(range.start), border(range.end));
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use postrider_core::Diagnostic;

    use super::render;

    #[test]
    fn a_finding_shows_code_line_caret_and_hint() {
        let sql = "SELECT user_id\nFROM evnts;";
        let diagnostic = Diagnostic::error("PR0201", "there is no table `evnts`")
            .at(20..25)
            .hint("did you mean `events`?");
        let text = render("a.sql", sql, &[diagnostic], false);
        assert!(text.starts_with("error[PR0201]: there is no table `evnts`"), "{text}");
        assert!(text.contains("a.sql:2:6"), "{text}");
        assert!(text.contains("^^^^^"), "{text}");
        assert!(text.contains("help: did you mean `events`?"), "{text}");
    }

    #[test]
    fn a_span_outside_the_text_still_shows_the_message() {
        let diagnostic = Diagnostic::error("PR0101", "cut off").at(5..900);
        assert!(render("a.sql", "é SELECT", &[diagnostic], false).contains("cut off"));
    }
}
