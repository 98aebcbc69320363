//! What HTML escaping alone can't make safe: tags in URLs, in scripts, and outside of quotes.
//!
//! The check happens once, at compile time, on the HTML that MJML became: a URL attribute that
//! holds a tag is wrapped in the `safe_url` filter, and a tag in a place where escaping does not help is
//! refused (OWASP Cross Site Scripting Prevention Cheat Sheet, "Dangerous Contexts").

use htmlparser::{ElementEnd, Token, Tokenizer};

use super::tags::has_tag;

/// The filter that lets a value through as a URL or fails the render.
pub(super) const SAFE_URL: &str = "safe_url";

const URL_ATTRIBUTES: [&str; 8] =
    ["href", "src", "background", "action", "formaction", "poster", "cite", "srcset"];

/// Why a template can't be made safe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HtmlFault {
    /// Not HTML.
    Syntax(String),
    /// A tag where escaping does not help.
    UnsafeTag(String),
}

/// Wraps every URL that holds a tag in the `safe_url` filter.
pub(super) fn guard_urls(html: &str) -> Result<String, HtmlFault> {
    let mut out = String::with_capacity(html.len() + 1024);
    let mut copied = 0;
    let mut element = "";
    let mut in_script = false;
    for token in Tokenizer::from(html) {
        match token.map_err(|error| HtmlFault::Syntax(error.to_string()))? {
            Token::ElementStart { local, .. } => {
                element = local.as_str();
                if has_tag(element) {
                    return Err(unsafe_tag("as the name of an element"));
                }
            }
            Token::Attribute { local, value, .. } => {
                let name = local.as_str();
                if has_tag(name) {
                    return Err(unsafe_tag(&format!("as an attribute of <{element}>")));
                }
                let Some(value) = value.filter(|value| has_tag(value.as_str())) else { continue };
                check_place(html, element, name, value.start())?;
                if URL_ATTRIBUTES.contains(&name.to_ascii_lowercase().as_str()) {
                    out.push_str(&html[copied..value.start()]);
                    out.push_str(&format!(
                        "{{% filter {SAFE_URL} %}}{}{{% endfilter %}}",
                        value.as_str()
                    ));
                    copied = value.end();
                }
            }
            Token::ElementEnd { end: ElementEnd::Open, .. } => {
                in_script = element.eq_ignore_ascii_case("script");
            }
            Token::ElementEnd { .. } => in_script = false,
            Token::Text { text } if in_script && has_tag(text.as_str()) => {
                return Err(unsafe_tag("in a <script>"));
            }
            _ => {}
        }
    }
    out.push_str(&html[copied..]);
    Ok(out)
}

fn check_place(html: &str, element: &str, name: &str, value_start: usize) -> Result<(), HtmlFault> {
    let quoted = matches!(html.as_bytes().get(value_start.wrapping_sub(1)), Some(b'"' | b'\''));
    if !quoted {
        return Err(unsafe_tag(&format!("in <{element} {name}=..> without quotes")));
    }
    if name.len() > 2 && name[..2].eq_ignore_ascii_case("on") {
        return Err(unsafe_tag(&format!("in the script attribute `{name}` of <{element}>")));
    }
    Ok(())
}

fn unsafe_tag(place: &str) -> HtmlFault {
    HtmlFault::UnsafeTag(place.to_owned())
}

/// Whether a rendered URL may stand in a mail. Everything that is not on the list is refused, so no spelling of
/// `javascript:` has to be known. Relative URLs lead nowhere in a mail.
pub(super) fn is_safe_url(url: &str) -> bool {
    const ALLOWED: [&str; 6] = ["https://", "http://", "mailto:", "tel:", "cid:", "#"];
    let starts = |prefix: &&str| {
        url.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    ALLOWED.iter().any(starts) && !url.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::{HtmlFault, guard_urls, is_safe_url};

    const TAG: &str = "\u{27E6}pr:0\u{27E7}";

    #[test]
    fn urls_with_tags_are_guarded_and_nothing_else_changes() {
        let html = format!(
            "<!doctype html><html><p title=\"{TAG}\">{TAG}</p><a href=\"https://x/{TAG}\">a</a><img src='{TAG}'/>\
             <a href=\"https://fixed/\">b</a><!--[if mso]><v:rect href=\"{TAG}\"></v:rect><![endif]--></html>"
        );
        let expected = format!(
            "<!doctype html><html><p title=\"{TAG}\">{TAG}</p>\
             <a href=\"{{% filter safe_url %}}https://x/{TAG}{{% endfilter %}}\">a</a>\
             <img src='{{% filter safe_url %}}{TAG}{{% endfilter %}}'/>\
             <a href=\"https://fixed/\">b</a>\
             <!--[if mso]><v:rect href=\"{{% filter safe_url %}}{TAG}{{% endfilter %}}\"></v:rect><![endif]--></html>"
        );
        assert_eq!(guard_urls(&html).unwrap(), expected);
    }

    #[test]
    fn tags_where_escaping_does_not_help_are_refused() {
        let cases = [
            format!("<p onclick=\"{TAG}\"></p>"),
            format!("<p {TAG}></p>"),
            format!("<p title={TAG}></p>"),
            format!("<script>{TAG}</script>"),
            format!("<{TAG}></{TAG}>"),
        ];
        for html in cases {
            assert!(
                matches!(guard_urls(&html), Err(HtmlFault::UnsafeTag(_) | HtmlFault::Syntax(_))),
                "{html}"
            );
        }
    }

    #[test]
    fn only_listed_schemes_are_urls() {
        for url in ["https://a", "HTTP://a", "mailto:a@b.example", "tel:+49", "#top", "cid:1"] {
            assert!(is_safe_url(url), "{url}");
        }
        for url in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            " javascript:alert(1)",
            "java\tscript:x",
            "data:text/html,x",
            "vbscript:x",
            "//evil.example",
            "/path",
            "path",
            "",
            "https",
            "file:///etc/passwd",
            "https://a\nb",
            "\u{1}https://a",
        ] {
            assert!(!is_safe_url(url), "{url:?}");
        }
    }
}
