//! What HTML escaping alone can't make safe: tags in URLs, in CSS, in scripts, and outside of quotes.
//!
//! The check happens once, at compile time, on the HTML that MJML became: a URL attribute that
//! holds a tag is wrapped in the `safe_url` filter, a value in a `style` attribute (which is also what MJML attributes such as
//! `color` become) in the `safe_css` filter, and a tag in a place where escaping does not help is
//! refused (OWASP Cross Site Scripting Prevention Cheat Sheet, "Dangerous Contexts").

use htmlparser::{ElementEnd, StrSpan, Token, Tokenizer};

use super::tags::{Protected, has_tag};

/// The filter that lets a value through as a URL or fails the render.
pub(super) const SAFE_URL: &str = "safe_url";

/// The filter that lets a value through as part of one CSS value or fails the render.
pub(super) const SAFE_CSS: &str = "safe_css";

const URL_ATTRIBUTES: [&str; 8] =
    ["href", "src", "background", "action", "formaction", "poster", "cite", "srcset"];

/// Elements whose text is read as another language.
const RAW_ELEMENTS: [&str; 2] = ["script", "style"];

/// Statements that print nothing but what stands between them.
const FLOW: [&str; 10] =
    ["if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith"];

/// Why a template can't be made safe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HtmlFault {
    /// Not HTML.
    Syntax(String),
    /// A tag where escaping does not help.
    UnsafeTag(String),
}

/// Wraps every URL and every CSS value that holds a tag in its filter.
pub(super) fn guard(html: &str, tags: &Protected) -> Result<String, HtmlFault> {
    let mut guarded =
        Guarded { html, tags, out: String::with_capacity(html.len() + 1024), copied: 0 };
    let mut element = "";
    // The script or style sheet that we are in, and where its text starts.
    let mut raw: Option<(&str, usize)> = None;
    for token in Tokenizer::from(html) {
        match token.map_err(|error| HtmlFault::Syntax(error.to_string()))? {
            Token::ElementStart { local, .. } => {
                element = local.as_str();
                if has_tag(element) {
                    return Err(unsafe_tag("as the name of an element"));
                }
            }
            Token::Attribute { local, value, .. } => guarded.attribute(element, local, value)?,
            Token::ElementEnd { end: ElementEnd::Open, span } if raw.is_none() => {
                raw = RAW_ELEMENTS
                    .into_iter()
                    .find(|name| element.eq_ignore_ascii_case(name))
                    .map(|name| (name, span.end()));
            }
            Token::ElementEnd { end: ElementEnd::Close(_, local), span } => {
                if let Some((name, start)) = raw
                    && local.as_str().eq_ignore_ascii_case(name)
                {
                    check_raw(name, &html[start..span.start()])?;
                    raw = None;
                }
            }
            _ => {}
        }
    }
    if let Some((name, start)) = raw {
        check_raw(name, &html[start..])?;
    }
    Ok(guarded.finish())
}

/// The HTML as it is copied, with filters put in.
struct Guarded<'a> {
    html: &'a str,
    tags: &'a Protected,
    out: String,
    copied: usize,
}

impl Guarded<'_> {
    fn attribute(
        &mut self,
        element: &str,
        local: StrSpan<'_>,
        value: Option<StrSpan<'_>>,
    ) -> Result<(), HtmlFault> {
        let name = local.as_str().to_ascii_lowercase();
        if has_tag(&name) {
            return Err(unsafe_tag(&format!("as an attribute of <{element}>")));
        }
        let Some(value) = value.filter(|value| has_tag(value.as_str())) else { return Ok(()) };
        check_place(self.html, element, &name, value.start())?;
        if URL_ATTRIBUTES.contains(&name.as_str()) {
            self.replace(value, &filtered(SAFE_URL, value.as_str()));
        } else if name == "style" {
            let css = self.css(element, value.as_str())?;
            self.replace(value, &css);
        }
        Ok(())
    }

    /// Each value that a style prints, in the filter; what the author wrote around them stays free.
    fn css(&self, element: &str, value: &str) -> Result<String, HtmlFault> {
        let mut out = String::with_capacity(value.len() + 64);
        let mut copied = 0;
        for (range, tag) in self.tags.tags_in(value) {
            out.push_str(&value[copied..range.start]);
            let word = &value[range.clone()];
            if tag.starts_with("{{") {
                out.push_str(&filtered(SAFE_CSS, word));
            } else if FLOW.contains(&keyword(tag)) {
                out.push_str(word);
            } else {
                let place = format!("`{}` in a style of <{element}>", keyword(tag));
                return Err(unsafe_tag(&place));
            }
            copied = range.end;
        }
        out.push_str(&value[copied..]);
        Ok(out)
    }

    fn replace(&mut self, value: StrSpan<'_>, with: &str) {
        self.out.push_str(&self.html[self.copied..value.start()]);
        self.out.push_str(with);
        self.copied = value.end();
    }

    fn finish(mut self) -> String {
        self.out.push_str(&self.html[self.copied..]);
        self.out
    }
}

fn filtered(filter: &str, text: &str) -> String {
    format!("{{% filter {filter} %}}{text}{{% endfilter %}}")
}

fn keyword(tag: &str) -> &str {
    let inner = tag.trim_start_matches(['{', '%', '-', '+']).trim_start();
    inner.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

fn check_raw(name: &str, text: &str) -> Result<(), HtmlFault> {
    if has_tag(text) { Err(unsafe_tag(&format!("in a <{name}>"))) } else { Ok(()) }
}

fn check_place(html: &str, element: &str, name: &str, value_start: usize) -> Result<(), HtmlFault> {
    let quoted = matches!(html.as_bytes().get(value_start.wrapping_sub(1)), Some(b'"' | b'\''));
    if !quoted {
        return Err(unsafe_tag(&format!("in <{element} {name}=..> without quotes")));
    }
    if name.starts_with("on") && name.len() > 2 {
        return Err(unsafe_tag(&format!("in the script attribute `{name}` of <{element}>")));
    }
    if name == "srcdoc" {
        return Err(unsafe_tag(&format!("in the page `{name}` of <{element}>")));
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

/// Whether an escaped text may stand within a CSS value: it must not end the value, open a function, or start a string, an
/// escape or a comment.
pub(super) fn is_safe_css(escaped: &str) -> bool {
    // `&amp;` comes last: what it stands for must not become another of them.
    let text = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let ends = |c: char| {
        c.is_control() || matches!(c, ';' | '{' | '}' | '(' | ')' | '\\' | '@' | '"' | '\'')
    };
    !text.contains(ends) && !text.contains("/*") && !text.contains("*/")
}

#[cfg(test)]
mod tests {
    use super::{HtmlFault, Protected, guard, is_safe_css, is_safe_url};

    const TAG: &str = "{{ x }}";

    /// What becomes of a template that is HTML.
    fn guarded(html: &str) -> Result<String, HtmlFault> {
        let tags = Protected::new(html).unwrap();
        guard(&tags.text, &tags).map(|html| tags.restore(&html))
    }

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
        assert_eq!(guarded(&html).unwrap(), expected);
    }

    #[test]
    fn tags_where_escaping_does_not_help_are_refused() {
        let cases = [
            format!("<p onclick=\"{TAG}\"></p>"),
            format!("<p {TAG}></p>"),
            format!("<p title={TAG}></p>"),
            format!("<script>{TAG}</script>"),
            format!("<script>'<b>' + {TAG}</script>"),
            format!("<style>p {{ color: {TAG} }}</style>"),
            format!("<STYLE><!-- p {{ color: {TAG} }} --></STYLE>"),
            format!("<style>p {{ color: {TAG} }}"),
            format!("<iframe srcdoc=\"{TAG}\"></iframe>"),
            "<p style=\"{% call m() %}x{% endcall %}\"></p>".to_owned(),
            format!("<{TAG}></{TAG}>"),
        ];
        for html in cases {
            assert!(
                matches!(guarded(&html), Err(HtmlFault::UnsafeTag(_) | HtmlFault::Syntax(_))),
                "{html}"
            );
        }
    }

    #[test]
    fn values_in_styles_are_guarded_and_what_the_author_wrote_is_not() {
        let html = "<p style=\"color: {{ a }}; {% if b %}width: calc({{ c }}px){% endif %}\">x</p>";
        let expected = "<p style=\"color: {% filter safe_css %}{{ a }}{% endfilter %}; \
            {% if b %}width: calc({% filter safe_css %}{{ c }}{% endfilter %}px){% endif %}\">x</p>";
        assert_eq!(guarded(html).unwrap(), expected);
    }

    #[test]
    fn a_css_value_can_not_be_left() {
        for value in ["red", "#1a2b3c", "12px", "50%", "", "https://a.example/b.png?x=1&amp;y=2"] {
            assert!(is_safe_css(value), "{value}");
        }
        for value in [
            "red; x",
            "a}b",
            "{",
            "url(x",
            ")",
            "\\3b",
            "@import",
            "/*",
            "*/",
            "&quot;",
            "'",
            "&#39;",
            "&amp;lt;",
            "&amp;#59;",
            "a\nb",
        ] {
            assert!(!is_safe_css(value), "{value}");
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
