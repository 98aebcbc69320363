//! The email sink of a pipeline: its options, its template, and the check that both fit the query.

mod hints;

use std::{collections::BTreeSet, ops::Range};

use arrow_schema::DataType;
use lettre::message::Mailbox;
use postrider_core::{Diagnostic, Severity, TableOptions, suggest};

use crate::{
    address::{AddressFault, parse_address},
    contract::{SinkColumn, check_columns, is_variable},
    limits::DEFAULT_TTL_NS,
    render::{FaultKind, Part, Renderer, TemplateFault, TemplateSources, probe},
};

const UNREADABLE_TEMPLATE: &str = "PR0502";
const BAD_MARKUP: &str = "PR0503";
const BAD_TEMPLATE: &str = "PR0504";
const UNKNOWN_VARIABLE: &str = "PR0505";
const NULL_VARIABLE: &str = "PR0506";
const UNSAFE_TAG: &str = "PR0507";
const NO_TEXT: &str = "PR0508";
const BAD_MAILBOX: &str = "PR0509";
const FAILING_SAMPLE: &str = "PR0510";

/// Reads template files; injected, so that a sink can be checked without a disk.
pub trait TemplateLoader {
    /// The content of a template.
    ///
    /// # Errors
    /// A text for people: what could not be read and why.
    fn load(&self, path: &str) -> Result<String, String>;
}

/// What a mail is in law and in policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailClass {
    /// Sent at most once: a send in doubt is never repeated.
    Marketing,
    /// Sent at least once: a send in doubt is repeated with the same Message-ID.
    Transactional,
}

/// A checked email sink.
#[derive(Debug)]
pub struct EmailSink {
    pub(crate) trigger: String,
    pub(crate) renderer: Renderer,
    pub(crate) from: Mailbox,
    pub(crate) reply_to: Option<Mailbox>,
    pub(crate) provider: String,
    pub(crate) ttl_ns: i64,
    pub(crate) topic: Option<String>,
    pub(crate) class: MailClass,
    warnings: Vec<Diagnostic>,
}

impl EmailSink {
    /// Reads the options, loads and compiles the template, and checks everything against the columns of
    /// the query. `trigger` is `pipeline.sink`.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn compile(
        trigger: &str,
        options: TableOptions,
        columns: &[SinkColumn],
        templates: &dyn TemplateLoader,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (table, table_range) = (options.table.clone(), options.table_range.clone());
        let mut found = check_columns(&table, &table_range, columns);
        let settings = Settings::read(options, &mut found);
        let Some(settings) = settings else { return Err(found) };
        let renderer = settings.compile_template(columns, templates, &mut found);
        let failed = found.iter().any(|finding| finding.severity == Severity::Error);
        match renderer {
            Some(renderer) if !failed => Ok(Self {
                trigger: trigger.to_owned(),
                renderer,
                from: settings.from,
                reply_to: settings.reply_to,
                provider: settings.provider,
                ttl_ns: settings.ttl_ns,
                topic: settings.topic,
                class: settings.class,
                warnings: found,
            }),
            _ => Err(found),
        }
    }

    /// What is probably not as meant, though it works.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The name of the provider that carries its mail.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Marketing or transactional.
    pub const fn class(&self) -> MailClass {
        self.class
    }

    /// How long after it fired a row is worth sending, in nanoseconds.
    pub const fn ttl_ns(&self) -> i64 {
        self.ttl_ns
    }
}

/// The options, read.
struct Settings {
    subject: String,
    template: String,
    text_template: Option<String>,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    provider: String,
    ttl_ns: i64,
    topic: Option<String>,
    class: MailClass,
    ranges: Ranges,
}

/// Where the template options stand in the SQL.
struct Ranges {
    subject: Option<Range<usize>>,
    template: Option<Range<usize>>,
    text_template: Option<Range<usize>>,
}

impl Settings {
    fn read(mut options: TableOptions, found: &mut Vec<Diagnostic>) -> Option<Self> {
        let range = |options: &TableOptions, name: &str| {
            options.peek(name).map(|option| option.range.clone())
        };
        let ranges = Ranges {
            subject: range(&options, "subject"),
            template: range(&options, "template"),
            text_template: range(&options, "text_template"),
        };
        let (from_range, reply_range) = (range(&options, "from"), range(&options, "reply_to"));
        let template = keep(options.required_text("template", "template.mjml"), found);
        let text_template = keep(options.text("text_template"), found);
        let subject = keep(options.required_text("subject", "Hello {{ name }}"), found);
        let from = keep(options.required_text("from", "Shop <hi@shop.example>"), found)
            .and_then(|text| keep(mailbox("from", &text, &from_range), found));
        let reply_to = keep(options.text("reply_to"), found)
            .flatten()
            .map(|text| keep(mailbox("reply_to", &text, &reply_range), found));
        let provider = keep(options.text("provider"), found);
        let ttl_ns = keep(options.interval("ttl"), found);
        let topic = keep(options.text("topic"), found);
        let class = keep(options.word("class", &["marketing", "transactional"]), found);
        if let Err(unknown) = options.finish() {
            found.extend(unknown);
        }
        Some(Self {
            subject: subject?,
            template: template?,
            text_template: text_template?,
            from: from?,
            reply_to: match reply_to {
                Some(mailbox) => Some(mailbox?),
                None => None,
            },
            provider: provider?.unwrap_or_else(|| "default".to_owned()),
            ttl_ns: ttl_ns?.unwrap_or(DEFAULT_TTL_NS),
            topic: topic?,
            class: match class? {
                "transactional" => MailClass::Transactional,
                _ => MailClass::Marketing,
            },
            ranges,
        })
    }

    fn compile_template(
        &self,
        columns: &[SinkColumn],
        templates: &dyn TemplateLoader,
        found: &mut Vec<Diagnostic>,
    ) -> Option<Renderer> {
        let mut load = |path: &str, range: &Option<Range<usize>>| match templates.load(path) {
            Ok(text) => Some(text),
            Err(reason) => {
                found.push(
                    Diagnostic::error(
                        UNREADABLE_TEMPLATE,
                        format!("template '{path}' can't be read: {reason}"),
                    )
                    .at_option(range.clone())
                    .hint("paths are relative to the SQL file"),
                );
                None
            }
        };
        let mjml = load(&self.template, &self.ranges.template);
        let text = match &self.text_template {
            Some(path) => Some(load(path, &self.ranges.text_template)?),
            None => None,
        };
        let mjml = mjml?;
        let sources =
            TemplateSources { subject: &self.subject, mjml: &mjml, text: text.as_deref() };
        let renderer = match Renderer::compile(sources) {
            Ok(renderer) => renderer,
            Err(faults) => {
                found.extend(faults.iter().map(|fault| self.diagnostic(fault)));
                return None;
            }
        };
        found.extend(renderer.warnings.iter().map(|fault| self.diagnostic(fault)));
        let unknown = self.unknown_variables(&renderer, columns);
        if unknown.is_empty() {
            found.extend(probe(&renderer, columns).iter().map(|fault| self.diagnostic(fault)));
        }
        found.extend(unknown);
        Some(renderer)
    }

    /// One error for each variable that the query does not produce, at the first part that uses it.
    fn unknown_variables(&self, renderer: &Renderer, columns: &[SinkColumn]) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for part in Part::ALL {
            for path in renderer.variables(part) {
                if let Some((message, hint)) = unknown_path(&path, columns)
                    && seen.insert(message.clone())
                {
                    let message = format!("{} uses {message}", self.name(part));
                    let finding = Diagnostic::error(UNKNOWN_VARIABLE, message);
                    found.push(finding.at_option(self.range(part)).hint(hint));
                }
            }
        }
        found
    }

    fn diagnostic(&self, fault: &TemplateFault) -> Diagnostic {
        let name = self.name(fault.part);
        let message = format!("{name}: {}", fault.message);
        let finding = match fault.kind {
            FaultKind::Markup => {
                Diagnostic::error(BAD_MARKUP, message).hint(hints::markup(&fault.message))
            }
            FaultKind::Ignored => Diagnostic::warning(BAD_MARKUP, message)
                .hint("remove it, or put it where MJML expects it"),
            FaultKind::Syntax => {
                let (what, hint) = hints::tag(&fault.message);
                Diagnostic::error(BAD_TEMPLATE, format!("{name}: {what}")).hint(hint)
            }
            FaultKind::UnsafeTag => Diagnostic::error(UNSAFE_TAG, message)
                .hint("put data only into text and into attributes in double quotes"),
            FaultKind::NoText => Diagnostic::error(NO_TEXT, message)
                .hint("write the text part yourself: text_template = 'template.txt'"),
            FaultKind::Sample => Diagnostic::warning(FAILING_SAMPLE, message)
                .hint("rows that fail to render are not sent: render_error"),
            FaultKind::Null => {
                let column = &fault.message;
                Diagnostic::warning(
                    NULL_VARIABLE,
                    format!("{name} prints `{column}`, which may be NULL; such a row is not sent: render_error"),
                )
                .hint(format!("{{{{ {column} | default('..') }}}}, {{% if {column} %}}, or COALESCE in the query"))
            }
        };
        finding.at_option(self.range(fault.part))
    }

    fn name(&self, part: Part) -> String {
        match (part, &self.text_template) {
            (Part::Subject, _) => "the subject".to_owned(),
            (Part::Text, Some(path)) => format!("template '{path}'"),
            _ => format!("template '{}'", self.template),
        }
    }

    fn range(&self, part: Part) -> Option<Range<usize>> {
        match part {
            Part::Subject => self.ranges.subject.clone(),
            Part::Text if self.text_template.is_some() => self.ranges.text_template.clone(),
            Part::Html | Part::Text => self.ranges.template.clone(),
        }
    }
}

/// Keeps a value and files an error.
fn keep<T>(value: Result<T, Diagnostic>, found: &mut Vec<Diagnostic>) -> Option<T> {
    value.map_err(|error| found.push(error)).ok()
}

fn mailbox(option: &str, text: &str, range: &Option<Range<usize>>) -> Result<Mailbox, Diagnostic> {
    let refuse = |reason: &str| {
        Diagnostic::error(BAD_MAILBOX, format!("option `{option}` can't be '{text}': {reason}"))
            .at_option(range.clone())
            .hint(format!("{option} = 'Shop <hi@shop.example>'"))
    };
    let parsed: Mailbox =
        text.parse().map_err(|_| refuse("it is not one address with an optional name"))?;
    let email = parse_address(parsed.email.as_ref()).map_err(|fault| match fault {
        AddressFault::Bad => refuse("its address is not valid"),
        AddressFault::NeedsSmtpUtf8 => refuse("the part before the @ must be ASCII"),
    })?;
    if parsed.name.as_deref().is_some_and(|name| name.chars().any(char::is_control)) {
        return Err(refuse("its name holds a control character"));
    }
    Ok(Mailbox::new(parsed.name, email))
}

/// What is wrong with a dotted path, and what to do.
fn unknown_path(path: &str, columns: &[SinkColumn]) -> Option<(String, String)> {
    let mut parts = path.split('.');
    let first = parts.next().unwrap_or_default();
    let known: Vec<&str> = columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| is_variable(name))
        .collect();
    let Some(column) = columns.iter().find(|column| column.name == first && is_variable(first))
    else {
        let message = format!("`{first}`, which the query does not produce");
        return Some((
            message,
            suggest::hint_and_all(first, '`', "columns for the template", known.iter().copied()),
        ));
    };
    let mut kind = &column.data_type;
    let mut walked = first.to_owned();
    for name in parts {
        let DataType::Struct(fields) = kind else { return None };
        let Some(field) = fields.iter().find(|field| field.name() == name) else {
            let known: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            let message = format!("`{walked}.{name}`, but `{walked}` has no such field");
            return Some((
                message,
                suggest::hint_and_all(name, '`', "its fields", known.iter().copied()),
            ));
        };
        walked = format!("{walked}.{name}");
        kind = field.data_type();
    }
    None
}

#[cfg(test)]
mod tests;
