//! The `WITH (..)` options of a table, read by whoever implements its connector.

use std::{collections::BTreeMap, ops::Range};

use crate::{Diagnostic, format_duration, suggest};

/// The value of an option.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// `'text'`
    Text(String),
    /// `42`
    Number(i64),
    /// `0.05`
    Decimal(f64),
    /// `true`
    Boolean(bool),
    /// `INTERVAL '5 seconds'`, in nanoseconds.
    Interval(i64),
}

/// One option and where it stands in the SQL.
#[derive(Debug, Clone, PartialEq)]
pub struct TableOption {
    /// Its value.
    pub value: OptionValue,
    /// The byte range of `name = value`.
    pub range: Range<usize>,
}

/// The options of one table. A reader takes the options it knows and then calls
/// [`finish`](Self::finish), which refuses the rest and lists what it knew.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableOptions {
    options: BTreeMap<String, TableOption>,
    known: Vec<&'static str>,
    /// The byte range of the table's name, for what is missing.
    pub table_range: Range<usize>,
    /// The table's name, for messages.
    pub table: String,
}

/// The code of an option that is missing, unknown or of the wrong type.
const BAD_OPTION: &str = "PR0301";

impl TableOptions {
    /// Options of `table`, whose name stands at `table_range`.
    pub fn new(
        table: impl Into<String>,
        table_range: Range<usize>,
        options: BTreeMap<String, TableOption>,
    ) -> Self {
        Self { options, known: Vec::new(), table_range, table: table.into() }
    }

    /// Looks at an option without taking it.
    pub fn peek(&self, name: &str) -> Option<&TableOption> {
        self.options.get(name)
    }

    /// Takes an option of any type.
    pub fn take(&mut self, name: &'static str) -> Option<TableOption> {
        self.known.push(name);
        self.options.remove(name)
    }

    /// Takes a text.
    ///
    /// # Errors
    /// The option is there but no text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Diagnostic> {
        match self.take(name) {
            None => Ok(None),
            Some(TableOption { value: OptionValue::Text(text), .. }) => Ok(Some(text)),
            Some(option) => Err(self.wrong_type(name, &option, "a text such as 'abc'")),
        }
    }

    /// Takes a text that must be there.
    ///
    /// # Errors
    /// The option is missing or no text.
    pub fn required_text(
        &mut self,
        name: &'static str,
        example: &str,
    ) -> Result<String, Diagnostic> {
        self.text(name)?.ok_or_else(|| {
            Diagnostic::error(BAD_OPTION, format!("table `{}` needs option `{name}`", self.table))
                .at(self.table_range.clone())
                .hint(format!("add {name} = '{example}' to its WITH (..)"))
        })
    }

    /// Takes a whole number; `'42'` is accepted too, as other engines write it.
    ///
    /// # Errors
    /// The option is no whole number.
    pub fn number(&mut self, name: &'static str) -> Result<Option<i64>, Diagnostic> {
        let Some(option) = self.take(name) else { return Ok(None) };
        let number = match &option.value {
            OptionValue::Number(number) => Some(*number),
            OptionValue::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.wrong_type(name, &option, "a whole number such as 10"))
    }

    /// Takes a length of time, in nanoseconds.
    ///
    /// # Errors
    /// The option is no interval.
    pub fn interval(&mut self, name: &'static str) -> Result<Option<i64>, Diagnostic> {
        match self.take(name) {
            None => Ok(None),
            Some(TableOption { value: OptionValue::Interval(ns), .. }) if ns >= 0 => Ok(Some(ns)),
            Some(option) => {
                Err(self.wrong_type(name, &option, "an interval such as INTERVAL '30 seconds'"))
            }
        }
    }

    /// Takes `true` or `false`, or the same as a text.
    ///
    /// # Errors
    /// The option is neither.
    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Diagnostic> {
        let Some(option) = self.take(name) else { return Ok(None) };
        match &option.value {
            OptionValue::Boolean(value) => Ok(Some(*value)),
            OptionValue::Text(text) if text == "true" => Ok(Some(true)),
            OptionValue::Text(text) if text == "false" => Ok(Some(false)),
            _ => Err(self.wrong_type(name, &option, "true or false")),
        }
    }

    /// Takes one of a fixed set of words; the first is the default.
    ///
    /// # Errors
    /// The option is none of them.
    pub fn word(
        &mut self,
        name: &'static str,
        words: &[&'static str],
    ) -> Result<&'static str, Diagnostic> {
        let range = self.peek(name).map(|option| option.range.clone());
        let Some(text) = self.text(name)? else { return Ok(words.first().copied().unwrap_or("")) };
        words.iter().copied().find(|word| *word == text).ok_or_else(|| {
            Diagnostic::error(BAD_OPTION, format!("option `{name}` can't be '{text}'"))
                .at_option(range)
                .hint(suggest::hint_and_all(&text, '\'', "one of", words.iter().copied()))
        })
    }

    /// Refuses every option that nobody took.
    ///
    /// # Errors
    /// One diagnostic for each unknown option.
    pub fn finish(mut self) -> Result<(), Vec<Diagnostic>> {
        self.known.sort_unstable();
        self.known.dedup();
        let unknown: Vec<_> = self
            .options
            .iter()
            .map(|(name, option)| {
                Diagnostic::error(
                    BAD_OPTION,
                    format!("table `{}` has no option `{name}`", self.table),
                )
                .at(option.range.clone())
                .hint(suggest::hint_and_all(
                    name,
                    '`',
                    "its options",
                    self.known.iter().copied(),
                ))
            })
            .collect();
        if unknown.is_empty() { Ok(()) } else { Err(unknown) }
    }

    fn wrong_type(&self, name: &str, option: &TableOption, wanted: &str) -> Diagnostic {
        let found = match &option.value {
            OptionValue::Text(text) => format!("'{text}'"),
            OptionValue::Number(number) => number.to_string(),
            OptionValue::Decimal(number) => number.to_string(),
            OptionValue::Boolean(value) => value.to_string(),
            OptionValue::Interval(ns) => format!("INTERVAL '{}'", format_duration(*ns)),
        };
        Diagnostic::error(
            BAD_OPTION,
            format!("option `{name}` of table `{}` can't be {found}", self.table),
        )
        .at(option.range.clone())
        .hint(format!("it takes {wanted}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{OptionValue, TableOption, TableOptions};

    fn options() -> TableOptions {
        let option = |value| TableOption { value, range: 3..9 };
        TableOptions::new(
            "events",
            0..6,
            BTreeMap::from([
                ("path".to_owned(), option(OptionValue::Text("a.ndjson".to_owned()))),
                ("pth".to_owned(), option(OptionValue::Number(1))),
            ]),
        )
    }

    #[test]
    fn unknown_options_are_refused_with_the_known_ones() {
        let mut options = options();
        assert_eq!(options.text("path").unwrap(), Some("a.ndjson".to_owned()));
        let errors = options.finish().unwrap_err();
        assert_eq!(errors[0].message, "table `events` has no option `pth`");
        assert_eq!(errors[0].hint.as_deref(), Some("did you mean `path`? its options: path"));
    }

    #[test]
    fn a_missing_option_comes_with_an_example() {
        let error = options().required_text("format", "json").unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("add format = 'json' to its WITH (..)"));
    }
}
