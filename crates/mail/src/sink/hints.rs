//! What to do about markup and tags that can't be read.

use postrider_core::suggest;

/// The elements of MJML, but those of includes.
const ELEMENTS: [&str; 30] = [
    "mjml",
    "mj-accordion",
    "mj-accordion-element",
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-all",
    "mj-attributes",
    "mj-body",
    "mj-button",
    "mj-carousel",
    "mj-carousel-image",
    "mj-class",
    "mj-column",
    "mj-divider",
    "mj-font",
    "mj-group",
    "mj-head",
    "mj-hero",
    "mj-image",
    "mj-navbar",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-section",
    "mj-social",
    "mj-spacer",
    "mj-style",
    "mj-table",
    "mj-text",
    "mj-wrapper",
];

const TAGS: &str =
    "tags are {{ name }}, {% if name %} .. {% endif %} and {% for x in list %} .. {% endfor %}";

/// The filters that mails need most: ours, then those of the template language.
const FILTERS: [&str; 14] = [
    "money",
    "number",
    "date",
    "default",
    "upper",
    "lower",
    "title",
    "capitalize",
    "trim",
    "join",
    "length",
    "first",
    "last",
    "round",
];

/// For a fault of the markup, whose message may name an element as `<mj-txt>`.
pub(super) fn markup(message: &str) -> String {
    let element = message.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let near = element.and_then(|(name, _)| suggest::nearest(name, ELEMENTS));
    match near.filter(|near| element.is_some_and(|(name, _)| name != *near)) {
        Some(near) => format!("did you mean <{near}>?"),
        None => {
            "columns stand in <mj-section>, texts and images in <mj-column>; each tag is closed"
                .to_owned()
        }
    }
}

/// For a fault of a template tag: what it is, and what to do.
pub(super) fn tag(message: &str) -> (String, String) {
    let unknown = message.strip_prefix("unknown filter: filter ");
    match unknown.and_then(|rest| rest.strip_suffix(" is unknown")) {
        Some(name) => (
            format!("unknown filter `{name}`"),
            suggest::hint_and_all(name, '`', "filters", FILTERS),
        ),
        None => (message.to_owned(), TAGS.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{markup, tag};

    #[test]
    fn the_nearest_element_or_filter_is_suggested() {
        assert_eq!(markup("line 2: there is no element <mj-txt>"), "did you mean <mj-text>?");
        assert!(markup("<mj-text> is not closed").starts_with("columns stand in"));
        let (what, hint) = tag("unknown filter: filter monye is unknown");
        assert_eq!(what, "unknown filter `monye`");
        assert!(hint.starts_with("did you mean `money`? filters: money"), "{hint}");
        assert_eq!(tag("syntax error").0, "syntax error");
    }
}
