//! MJML to HTML, with nothing fetched from anywhere: no includes, no web fonts but those the author names.

use htmlparser::{ElementEnd, Token, Tokenizer};
use mrml::prelude::{
    parser::{Error, Origin, ParserOptions, Span, noop_loader::NoopIncludeLoader},
    render::RenderOptions,
};

use super::{FaultKind, Part, TemplateFault, tags::Protected};

/// Nesting of elements. The parser recurses, so that an absurd file would exhaust the stack.
const MARKUP_DEPTH: usize = 200;

/// HTML whose tags are still opaque words.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) ignored: Vec<TemplateFault>,
}

/// Compiles the MJML.
pub(super) fn to_html(source: &Protected) -> Result<Page, TemplateFault> {
    let fault = |message: String| TemplateFault::new(Part::Html, FaultKind::Markup, message);
    if depth(&source.text) > MARKUP_DEPTH {
        return Err(fault(format!("elements are nested deeper than {MARKUP_DEPTH}")));
    }
    let options = ParserOptions { include_loader: Box::new(NoopIncludeLoader) };
    let parsed = mrml::parse_with_options(&source.text, &options)
        .map_err(|error| fault(describe(source, &error)))?;
    let ignored = parsed
        .warnings
        .iter()
        .filter(|warning| matches!(warning.origin, Origin::Root))
        .map(|warning| {
            let place = place(source, &warning.span);
            let message = format!("{place}: {}; it has no effect", warning.kind);
            TemplateFault::new(Part::Html, FaultKind::Ignored, message)
        })
        .collect();
    // Fonts are fetched by the reader's mail program from a third party; the author may ask for that with mj-font.
    let options = RenderOptions { fonts: Default::default(), ..RenderOptions::default() };
    let html = parsed.element.render(&options).map_err(|error| fault(error.to_string()))?;
    match unknown_element(&html) {
        None => Ok(Page { html, ignored }),
        Some(name) => {
            let at = source.text.find(&format!("<{name}")).unwrap_or_default();
            let place = place(source, &Span { start: at, end: at });
            Err(fault(format!("{place}: there is no element <{name}>, or not at this place")))
        }
    }
}

/// MJML elements that mrml did not know pass through it like HTML, and no mail program knows them.
fn unknown_element(html: &str) -> Option<&str> {
    Tokenizer::from(html).map_while(Result::ok).find_map(|token| match token {
        Token::ElementStart { local, .. } if local.as_str().starts_with("mj-") => {
            Some(local.as_str())
        }
        _ => None,
    })
}

fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for token in Tokenizer::from(text).map_while(Result::ok) {
        match token {
            Token::ElementEnd { end: ElementEnd::Open, .. } => depth += 1,
            Token::ElementEnd { end: ElementEnd::Close(..), .. } => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn describe(source: &Protected, error: &Error) -> String {
    match error {
        Error::UnexpectedElement { position, .. } => format!(
            "{}: element <{}> is not allowed here",
            place(source, position),
            word_at(source, position)
        ),
        Error::UnexpectedToken { position, .. } => format!(
            "{}: this is not allowed here; between MJML elements a template tag must stand in <mj-raw>",
            place(source, position)
        ),
        Error::MissingAttribute { name, position, .. } => {
            format!("{}: attribute `{name}` is missing", place(source, position))
        }
        Error::InvalidAttribute { position, .. } => {
            format!("{}: an attribute can't be read", place(source, position))
        }
        Error::InvalidFormat { position, .. } => {
            format!("{}: a value can't be read", place(source, position))
        }
        Error::EndOfStream { .. } => "an element is not closed".to_owned(),
        Error::SizeLimit { .. } => "the template is too large".to_owned(),
        Error::NoRootNode => "there is no <mjml> element".to_owned(),
        Error::ParserError { source: error, .. } => error.to_string(),
        Error::IncludeLoaderError { position, .. } => format!(
            "{}: <mj-include> is not supported; put the content into this file",
            place(source, position)
        ),
    }
}

fn place(source: &Protected, span: &Span) -> String {
    let before = source.text.get(..span.start).unwrap_or_default();
    format!("line {}", source.restore(before).matches('\n').count() + 1)
}

fn word_at(source: &Protected, span: &Span) -> String {
    let text = source.text.get(span.start..).unwrap_or_default();
    let word = text.trim_start_matches('<');
    let end = word.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(word.len());
    word[..end].to_owned()
}
