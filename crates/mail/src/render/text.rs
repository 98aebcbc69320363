//! The text part of a mail, derived from the HTML template once, at compile time.
//!
//! Layout tables are taken apart before `html2text` sees the page: they carry no data, and a loop
//! between the rows of a table would be moved out of it by the HTML parsing rules ("foster parenting").

use html2text::{config, render::TextDecorator};
use htmlparser::{ElementEnd, StrSpan, Token, Tokenizer};

/// Lines are not wrapped: the length of what a tag prints is unknown, and quoted-printable has no
/// limit on lines.
const WIDTH: usize = 100_000;

/// Stands for an empty line: html2text drops elements that have no text.
const BREAK: &str = "\u{27E6}pr:\u{27E7}";

/// Elements whose content is not shown.
const HIDDEN: [&str; 5] = ["head", "style", "script", "title", "noscript"];

/// Elements that html2text treats as it should, without their attributes.
const KEPT: [&str; 14] =
    ["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "div", "br"];

/// Elements that start on a line of their own.
const BLOCKS: [&str; 11] = [
    "main", "thead", "tbody", "tfoot", "tr", "section", "header", "footer", "article", "center",
    "figure",
];

/// Derives the text of an HTML page whose tags are protected words.
pub(super) fn derive_text(html: &str) -> Result<String, String> {
    let plain = config::with_decorator(PlainLinks { url: String::new() })
        .do_decorate()
        .no_table_borders()
        .no_link_wrapping()
        .allow_width_overflow()
        .string_from_read(flatten(html)?.as_bytes(), WIDTH)
        .map_err(|error| error.to_string())?;
    Ok(squeeze_lines(&plain.replace(BREAK, "")))
}

/// Trims lines and keeps at most one empty line in a row.
pub(super) fn squeeze_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = true;
    for line in text.lines().map(str::trim) {
        if !(line.is_empty() && blank) {
            out.push_str(line);
            out.push('\n');
        }
        blank = line.is_empty();
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The page without layout: only what a reader sees, in elements that mean something in a text.
fn flatten(html: &str) -> Result<String, String> {
    let mut flat = Flattener::default();
    for token in Tokenizer::from(html) {
        match token.map_err(|error| error.to_string())? {
            // Content for old Outlook only is inside of one comment; `<!--[if !mso]><!-->` is not.
            Token::ConditionalCommentStart { span, .. } => {
                flat.outlook = !span.as_str().ends_with("-->");
            }
            Token::ConditionalCommentEnd { .. } => flat.outlook = false,
            Token::ElementStart { local, .. } => {
                flat.element = Element { name: lower(local), ..Element::default() };
            }
            Token::Attribute { local, value: Some(value), .. } => match lower(local).as_str() {
                "href" => flat.element.href = Some(value.as_str()),
                "alt" => flat.element.alt = Some(value.as_str()),
                "style" => flat.element.style = value.as_str(),
                "role" => flat.element.layout = value.as_str() == "presentation",
                _ => {}
            },
            Token::ElementEnd { end: ElementEnd::Close(_, local), .. } => flat.close(&lower(local)),
            Token::ElementEnd { end: ElementEnd::Open, .. } => flat.open(true),
            Token::ElementEnd { end: ElementEnd::Empty, .. } => flat.open(false),
            Token::Text { text } if flat.is_visible() => flat.out.push_str(text.as_str()),
            _ => {}
        }
    }
    Ok(flat.out)
}

fn lower(name: StrSpan<'_>) -> String {
    name.as_str().to_ascii_lowercase()
}

#[derive(Default)]
struct Element<'a> {
    name: String,
    href: Option<&'a str>,
    alt: Option<&'a str>,
    style: &'a str,
    /// `role="presentation"`: a table for layout, each row of which is a paragraph.
    layout: bool,
}

#[derive(Default)]
struct Flattener<'a> {
    out: String,
    element: Element<'a>,
    outlook: bool,
    /// The hidden element we are in, and how many of its kind are open.
    hidden: Option<(String, usize)>,
    /// For each open table, whether it is for layout.
    tables: Vec<bool>,
}

impl Flattener<'_> {
    fn is_visible(&self) -> bool {
        !self.outlook && self.hidden.is_none()
    }

    fn open(&mut self, has_content: bool) {
        let element = std::mem::take(&mut self.element);
        if self.outlook {
            return;
        }
        if let Some((name, depth)) = &mut self.hidden {
            *depth += usize::from(has_content && *name == element.name);
            return;
        }
        let style: String = element.style.split_whitespace().collect();
        let hides = HIDDEN.contains(&element.name.as_str()) || style.contains("display:none");
        if hides && has_content && !is_void(&element.name) {
            self.hidden = Some((element.name, 1));
            return;
        }
        match (element.name.as_str(), element.href, element.alt) {
            ("table", ..) if has_content => {
                self.tables.push(element.layout);
                self.out.push_str("<div>");
            }
            ("tr", ..) if self.tables.last() == Some(&true) => {
                self.out.push_str(&format!("<div>{BREAK}</div><div>"));
            }
            ("a", Some(href), _) => self.out.push_str(&format!("<a href=\"{href}\">")),
            ("a", None, _) => self.out.push_str("<span>"),
            ("img", _, Some(alt)) => self.out.push_str(alt),
            ("hr", ..) => self.out.push_str("<p>----------</p>"),
            (name, ..) if KEPT.contains(&name) => self.out.push_str(&format!("<{name}>")),
            (name, ..) if BLOCKS.contains(&name) => self.out.push_str("<div>"),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if self.outlook {
            return;
        }
        if let Some((hidden, depth)) = &mut self.hidden {
            *depth -= usize::from(hidden == name);
            if *depth == 0 {
                self.hidden = None;
            }
            return;
        }
        if name == "table" {
            self.tables.pop();
            self.out.push_str(&format!("</div><div>{BREAK}</div>"));
            return;
        }
        match name {
            "a" => self.out.push_str("</a>"),
            "td" | "th" => self.out.push(' '),
            name if KEPT.contains(&name) => self.out.push_str(&format!("</{name}>")),
            name if BLOCKS.contains(&name) => self.out.push_str("</div>"),
            _ => {}
        }
    }
}

fn is_void(name: &str) -> bool {
    matches!(name, "br" | "hr" | "img" | "input" | "meta" | "link" | "col")
}

/// Prints a link as `text <url>`, where it stands, so that a link in a loop keeps its own URL.
#[derive(Clone, Debug)]
struct PlainLinks {
    url: String,
}

impl TextDecorator for PlainLinks {
    type Annotation = ();

    fn decorate_link_start(&mut self, url: &str) -> (String, ()) {
        url.clone_into(&mut self.url);
        (String::new(), ())
    }

    fn decorate_link_end(&mut self) -> String {
        format!(" <{}>", self.url)
    }

    fn decorate_em_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_em_end(&self) -> String {
        String::new()
    }

    fn decorate_strong_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_strong_end(&self) -> String {
        String::new()
    }

    fn decorate_strikeout_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_strikeout_end(&self) -> String {
        String::new()
    }

    fn decorate_code_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_code_end(&self) -> String {
        String::new()
    }

    fn decorate_preformat_first(&self) {}

    fn decorate_preformat_cont(&self) {}

    fn decorate_image(&mut self, _src: &str, title: &str) -> (String, ()) {
        (title.to_owned(), ())
    }

    fn header_prefix(&self, _level: usize) -> String {
        String::new()
    }

    fn quote_prefix(&self) -> String {
        "> ".to_owned()
    }

    fn unordered_item_prefix(&self) -> String {
        "* ".to_owned()
    }

    fn ordered_item_prefix(&self, i: i64) -> String {
        format!("{i}. ")
    }

    fn make_subblock_decorator(&self) -> Self {
        self.clone()
    }

    fn finalise(&mut self, _urls: Vec<String>) -> Vec<html2text::render::TaggedLine<()>> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{derive_text, squeeze_lines};

    #[test]
    fn a_loop_between_table_rows_stays_around_its_row() {
        let html = "<table>\u{27E6}pr:0\u{27E7}<tr><td>\u{27E6}pr:1\u{27E7}</td><td>x&amp;y</td></tr>\u{27E6}pr:2\u{27E7}</table>";
        assert_eq!(
            derive_text(html).unwrap(),
            "\u{27E6}pr:0\u{27E7}\n\u{27E6}pr:1\u{27E7} x&y\n\u{27E6}pr:2\u{27E7}\n"
        );
    }

    #[test]
    fn hidden_content_is_left_out_and_links_are_kept() {
        let html = "<html><head><title>t</title><style>p{}</style></head><body>\
            <div style=\"display: none;\">preview<div>x</div></div>\
            <!--[if mso]><p>outlook</p><![endif]--><p>Hi <b>you</b></p>\
            <a href=\"https://a.example/?a=1&amp;b=\u{27E6}pr:0\u{27E7}\">Go</a><img alt=\"Logo\" src=\"l\"></body></html>";
        assert_eq!(
            derive_text(html).unwrap(),
            "Hi you\n\nGo <https://a.example/?a=1&b=\u{27E6}pr:0\u{27E7}>Logo\n"
        );
    }

    #[test]
    fn empty_lines_collapse() {
        assert_eq!(squeeze_lines("\n\n a \n\n \n\nb\n\n"), "a\n\nb\n");
    }
}
