//! Rendering: MJML and template text become one mail's subject, HTML and text.
//!
//! Everything that can be done once is done by [`Renderer::compile`]: MJML to HTML, guarding of URLs and styles, the
//! text part, parsing of the templates. One mail then costs three template runs.
//!
//! Invariants: what a row holds is data, never a template; HTML is escaped whatever the template says;
//! a subject is one line; work, depth and output are bounded.

mod filters;
mod html;
mod mjml;
mod probe;
mod tags;
mod text;

use std::{collections::BTreeSet, fmt};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
    syntax::SyntaxConfig,
};

pub(crate) use probe::probe;

use crate::limits::{PART_BYTES, RENDER_DEPTH, RENDER_FUEL, SUBJECT_CHARS, TEMPLATE_BYTES};

/// A part of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The subject line.
    Subject,
    /// The HTML part.
    Html,
    /// The text part.
    Text,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Subject, Self::Html, Self::Text];

    const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Html => "html",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a template consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TemplateSources<'a> {
    pub(crate) subject: &'a str,
    pub(crate) mjml: &'a str,
    /// Where it is missing, the text is derived from the HTML.
    pub(crate) text: Option<&'a str>,
}

/// What is wrong with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The MJML is not valid.
    Markup,
    /// MJML that has no effect; a warning.
    Ignored,
    /// The template language is not valid.
    Syntax,
    /// A tag where escaping does not help.
    UnsafeTag,
    /// The text part can't be derived.
    NoText,
    /// Fails with a sample row; a warning.
    Sample,
    /// Fails where one of these columns is NULL; a warning.
    Null,
}

/// A finding about a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateFault {
    pub(crate) part: Part,
    pub(crate) kind: FaultKind,
    pub(crate) message: String,
}

impl TemplateFault {
    fn new(part: Part, kind: FaultKind, message: impl Into<String>) -> Self {
        Self { part, kind, message: message.into() }
    }
}

/// One mail's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) html: String,
    pub(crate) text: String,
}

/// Why a row could not be rendered. The message names no data of the row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {message}")]
pub(crate) struct RenderError {
    pub(crate) part: Part,
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Renderer {
    html: Environment<'static>,
    plain: Environment<'static>,
    /// The text was derived: loops and conditions leave empty lines in it, which its author never saw.
    derived: bool,
    /// MJML that has no effect.
    pub(crate) warnings: Vec<TemplateFault>,
}

impl Renderer {
    /// Compiles a template, or says everything that is wrong with it.
    pub(crate) fn compile(sources: TemplateSources<'_>) -> Result<Self, Vec<TemplateFault>> {
        let mut html = environment(write_html);
        let mut plain = environment(write_plain);
        let mut faults = Vec::new();
        if let Err(error) = plain.add_template_owned("subject", sources.subject.to_owned()) {
            faults.push(syntax_fault(Part::Subject, &error));
        }
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        match syntax.build() {
            Ok(syntax) => plain.set_syntax(syntax),
            Err(error) => faults.push(syntax_fault(Part::Text, &error)),
        }
        let mut warnings = Vec::new();
        match compile_body(&html, sources) {
            Err(fault) => faults.push(fault),
            Ok(body) => {
                if let Err(error) = html.add_template_owned("html", body.html) {
                    faults.push(syntax_fault(Part::Html, &error));
                }
                if let Err(error) = plain.add_template_owned("text", body.text) {
                    faults.push(text_fault(sources, &error));
                }
                warnings = body.ignored;
            }
        }
        let renderer = Self { html, plain, derived: sources.text.is_none(), warnings };
        if faults.is_empty() && renderer.derived {
            faults.extend(renderer.moved_tags());
        }
        if faults.is_empty() { Ok(renderer) } else { Err(faults) }
    }

    /// The variables that a part uses, as dotted paths.
    pub(crate) fn variables(&self, part: Part) -> BTreeSet<String> {
        let environment = self.environment(part);
        let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
        let Ok(template) = environment.get_template(part.name()) else { return BTreeSet::new() };
        let mut variables: BTreeSet<String> =
            template.undeclared_variables(true).into_iter().collect();
        variables.retain(|path| !globals.contains(&path.split('.').next().unwrap_or_default()));
        variables
    }

    /// Renders one mail.
    pub(crate) fn render(&self, variables: &Value) -> Result<Rendered, RenderError> {
        let subject = one_line(&self.render_part(Part::Subject, variables)?);
        if subject.is_empty() {
            return Err(RenderError {
                part: Part::Subject,
                kind: ErrorKind::InvalidOperation,
                message: "it is empty".to_owned(),
            });
        }
        let html = self.render_part(Part::Html, variables)?;
        let mut text = self.render_part(Part::Text, variables)?;
        if self.derived {
            text = text::squeeze_lines(&text);
        }
        Ok(Rendered { subject, html, text })
    }

    fn render_part(&self, part: Part, variables: &Value) -> Result<String, RenderError> {
        let fail = |kind, message| RenderError { part, kind, message };
        let out = self
            .environment(part)
            .get_template(part.name())
            .and_then(|template| template.render(variables.clone()))
            .map_err(|error| fail(error.kind(), describe(part, &error)))?;
        if out.len() > PART_BYTES {
            let message = format!("it is larger than {PART_BYTES} bytes");
            return Err(fail(ErrorKind::WriteFailure, message));
        }
        Ok(plain_lines(out))
    }

    fn environment(&self, part: Part) -> &Environment<'static> {
        if part == Part::Html { &self.html } else { &self.plain }
    }

    /// A derived text that uses what the HTML does not have lost a loop or a block on the way.
    fn moved_tags(&self) -> Option<TemplateFault> {
        let html = self.variables(Part::Html);
        let lost = self.variables(Part::Text).into_iter().find(|path| !html.contains(path))?;
        Some(TemplateFault::new(
            Part::Text,
            FaultKind::NoText,
            format!(
                "no text part can be made from the HTML: `{lost}` would stand outside of its block"
            ),
        ))
    }
}

struct Body {
    html: String,
    text: String,
    ignored: Vec<TemplateFault>,
}

fn compile_body(
    environment: &Environment<'_>,
    sources: TemplateSources<'_>,
) -> Result<Body, TemplateFault> {
    for (part, source) in [
        (Part::Subject, sources.subject),
        (Part::Html, sources.mjml),
        (Part::Text, sources.text.unwrap_or_default()),
    ] {
        if source.len() > TEMPLATE_BYTES {
            let message = format!("the template is larger than {TEMPLATE_BYTES} bytes");
            return Err(TemplateFault::new(part, FaultKind::Markup, message));
        }
    }
    // The source is parsed as it is first: only there do line numbers mean something to its author.
    environment
        .template_from_str(sources.mjml)
        .map_err(|error| syntax_fault(Part::Html, &error))?;
    let protected = tags::Protected::new(sources.mjml).map_err(|fault| {
        let message = format!("line {}: {}", fault.line, fault.what);
        TemplateFault::new(Part::Html, FaultKind::Syntax, message)
    })?;
    let page = mjml::to_html(&protected)?;
    let guarded = html::guard(&page.html, &protected).map_err(|fault| match fault {
        html::HtmlFault::Syntax(error) => TemplateFault::new(
            Part::Html,
            FaultKind::Markup,
            format!("the HTML in it can't be read: {error}"),
        ),
        html::HtmlFault::UnsafeTag(place) => TemplateFault::new(
            Part::Html,
            FaultKind::UnsafeTag,
            format!("a template tag stands {place}, where no escaping can make data safe"),
        ),
    })?;
    let text = match sources.text {
        Some(text) => text.to_owned(),
        None => {
            text::derive_text(&page.html).map(|text| protected.restore(&text)).map_err(|error| {
                let message = format!("no text part can be made from the HTML: {error}");
                TemplateFault::new(Part::Text, FaultKind::NoText, message)
            })?
        }
    };
    Ok(Body { html: protected.restore(&guarded), text, ignored: page.ignored })
}

fn environment(
    formatter: fn(&mut Output<'_>, &mut State<'_, '_>, &Value) -> Result<(), Error>,
) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| {
        if name == Part::Html.name() { AutoEscape::Html } else { AutoEscape::None }
    });
    environment.set_formatter(formatter);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(RENDER_FUEL));
    environment.set_recursion_limit(RENDER_DEPTH);
    environment.set_debug(false);
    filters::install(&mut environment);
    environment
}

/// Prints a value into HTML. Unlike minijinja's own formatter it does not ask whether escaping is
/// on, so `{% autoescape false %}` changes nothing; only what was escaped before is not escaped twice.
fn write_html(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(());
    }
    let printed;
    let text = match value.as_str() {
        Some(text) => text,
        None => {
            printed = value.to_string();
            &printed
        }
    };
    if value.is_safe() {
        return out.write_str(text).map_err(Error::from);
    }
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        out.write_str(&rest[..at])?;
        out.write_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        })?;
        rest = &rest[at + 1..];
    }
    out.write_str(rest).map_err(Error::from)
}

fn write_plain(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(());
    }
    match value.as_str() {
        Some(text) => out.write_str(text).map_err(Error::from),
        None => write!(out, "{value}").map_err(Error::from),
    }
}

/// Text whose only controls are line feeds and tabs. A bare CR of the data would reach the mail server as it is, and servers
/// differ in whether it ends a line: what stands behind it could become a command (SMTP smuggling; RFC 5321 section 2.3.8).
fn plain_lines(text: String) -> String {
    if !text.contains(|c: char| c.is_ascii_control() && c != '\n' && c != '\t') {
        return text;
    }
    let unified = text.replace("\r\n", "\n").replace('\r', "\n");
    unified.chars().filter(|c| !c.is_ascii_control() || matches!(c, '\n' | '\t')).collect()
}

/// A header value: line breaks and other control characters would start a new header (RFC 5322 section 2.2).
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars().take(SUBJECT_CHARS) {
        match c {
            // Line and paragraph separators are no controls, but some readers break lines there.
            c if c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}') => {
                if !line.ends_with(' ') {
                    line.push(' ');
                }
            }
            c if c.is_control() => {}
            c => line.push(c),
        }
    }
    line.trim().to_owned()
}

fn syntax_fault(part: Part, error: &Error) -> TemplateFault {
    TemplateFault::new(part, FaultKind::Syntax, with_line(error))
}

fn text_fault(sources: TemplateSources<'_>, error: &Error) -> TemplateFault {
    match sources.text {
        Some(_) => syntax_fault(Part::Text, error),
        None => TemplateFault::new(
            Part::Text,
            FaultKind::NoText,
            format!("no text part can be made from the HTML: {error}"),
        ),
    }
}

/// The line of an error is worth something only where the author wrote that line.
fn describe(part: Part, error: &Error) -> String {
    match part {
        Part::Html => without_line(error),
        Part::Subject | Part::Text => with_line(error),
    }
}

fn without_line(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn with_line(error: &Error) -> String {
    match error.line() {
        Some(line) => format!("line {line}: {}", without_line(error)),
        None => without_line(error),
    }
}

#[cfg(test)]
mod tests;
