//! Template tags (`{{ .. }}`, `{% .. %}`) kept out of the way while a template is treated as markup.
//!
//! MJML and HTML tools would trip over quotes, angle brackets and loops. Each tag becomes one
//! opaque word, survives every transformation of the markup around it, and is put back afterwards.

use std::ops::Range;

/// Frames of an opaque word. They must be printable: mrml writes attributes through `Debug`, which would
/// escape anything else.
const OPEN: &str = "\u{27E6}pr:";
const CLOSE: &str = "\u{27E7}";

/// A template whose tags are opaque words.
#[derive(Debug)]
pub(crate) struct Protected {
    pub(crate) text: String,
    tags: Vec<String>,
}

/// A tag that does not end, or a forbidden character.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TagFault {
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}

impl Protected {
    /// Replaces every tag. Comments (`{# .. #}`) are dropped; a raw block is one tag.
    pub(crate) fn new(source: &str) -> Result<Self, TagFault> {
        let mut protected = Self { text: String::with_capacity(source.len()), tags: Vec::new() };
        let mut rest = source;
        let fault = |rest: &str, what| {
            let before = &source[..source.len() - rest.len()];
            TagFault { line: before.matches('\n').count() + 1, what }
        };
        if let Some(at) = source.find(OPEN) {
            return Err(fault(&source[at..], "`\u{27E6}pr:` is reserved"));
        }
        while let Some(at) = next_tag(rest) {
            protected.text.push_str(&rest[..at]);
            rest = &rest[at..];
            let length = tag_length(rest).ok_or_else(|| fault(rest, "a tag that does not end"))?;
            let (tag, behind) = rest.split_at(length);
            if !tag.starts_with("{#") {
                protected.text.push_str(&word(protected.tags.len()));
                protected.tags.push(tag.to_owned());
            }
            rest = behind;
        }
        protected.text.push_str(rest);
        Ok(protected)
    }

    /// The tags in a piece of [`Self::text`], and where their words stand in it.
    pub(crate) fn tags_in<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (Range<usize>, &'a str)> {
        text.match_indices(OPEN).filter_map(|(start, _)| {
            let (number, _) = text[start + OPEN.len()..].split_once(CLOSE)?;
            let tag = self.tags.get(number.parse::<usize>().ok()?)?;
            Some((start..start + OPEN.len() + number.len() + CLOSE.len(), tag.as_str()))
        })
    }

    /// Puts the tags back into a text made from [`Self::text`].
    pub(crate) fn restore(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() * 2);
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once(OPEN) {
            out.push_str(before);
            let Some((number, behind)) = behind.split_once(CLOSE) else { break };
            if let Some(tag) = number.parse::<usize>().ok().and_then(|n| self.tags.get(n)) {
                out.push_str(tag);
            }
            rest = behind;
        }
        out.push_str(rest);
        out
    }
}

/// Whether a piece of a protected text holds a tag.
pub(crate) fn has_tag(text: &str) -> bool {
    text.contains(OPEN)
}

fn word(number: usize) -> String {
    format!("{OPEN}{number}{CLOSE}")
}

fn next_tag(text: &str) -> Option<usize> {
    text.match_indices('{')
        .map(|(at, _)| at)
        .find(|at| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// The length of the tag that `text` starts with.
fn tag_length(text: &str) -> Option<usize> {
    if text.starts_with("{#") {
        return text.find("#}").map(|at| at + 2);
    }
    let close = if text.starts_with("{{") { "}}" } else { "%}" };
    let length = unquoted_end(text, close)?;
    if !is_named(&text[..length], "raw") {
        return Some(length);
    }
    let mut from = length;
    while let Some(at) = text[from..].find("{%").map(|at| at + from) {
        let end = unquoted_end(&text[at..], "%}")? + at;
        if is_named(&text[at..end], "endraw") {
            return Some(end);
        }
        from = at + 2;
    }
    None
}

/// Where `close` ends, not counting it inside of quotes.
fn unquoted_end(text: &str, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = 2;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, _) if bytes[at..].starts_with(close.as_bytes()) => {
                return Some(at + close.len());
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn is_named(tag: &str, name: &str) -> bool {
    tag.trim_start_matches(['{', '%', '-', '+'])
        .trim_end_matches(['}', '%', '-', '+'])
        .trim()
        .eq(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, proptest};

    use super::{Protected, TagFault};

    #[test]
    fn tags_are_one_word_each_and_come_back() {
        let source = r#"<a href="{{ u ~ "}}" }}">{%- if a < b -%}x{%- endif %}{# no #}</a>"#;
        let protected = Protected::new(source).unwrap();
        assert_eq!(
            protected.text,
            "<a href=\"\u{27E6}pr:0\u{27E7}\">\u{27E6}pr:1\u{27E7}x\u{27E6}pr:2\u{27E7}</a>"
        );
        assert_eq!(protected.restore(&protected.text), source.replace("{# no #}", ""));
    }

    #[test]
    fn a_raw_block_is_one_tag() {
        let protected = Protected::new("a{% raw %}{{ x }}{% y %}{% endraw %}b").unwrap();
        assert_eq!(protected.text, "a\u{27E6}pr:0\u{27E7}b");
    }

    #[test]
    fn an_open_tag_is_named_with_its_line() {
        let fault = Protected::new("a\nb {{ c").unwrap_err();
        assert_eq!(fault, TagFault { line: 2, what: "a tag that does not end" });
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_text_is_kept_or_refused(source in "[{}%#'\"\\\\ a-z\u{e9}]{0,40}") {
            if let Ok(protected) = Protected::new(&source) && !source.contains("{#") {
                assert_eq!(protected.restore(&protected.text), source);
            }
        }
    }
}
