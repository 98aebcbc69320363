use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Fields};
use postrider_core::{Diagnostic, OptionValue, Severity, TableOption, TableOptions};

use super::{EmailSink, MailClass, TemplateLoader};
use crate::contract::SinkColumn;

struct Files(&'static [(&'static str, &'static str)]);

impl TemplateLoader for Files {
    fn load(&self, path: &str) -> Result<String, String> {
        self.0
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, content)| (*content).to_owned())
            .ok_or_else(|| "no such file".to_owned())
    }
}

const FILES: Files = Files(&[
    (
        "cart.mjml",
        "<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ name }}, {{ product.title }}</mj-text>\
         </mj-column></mj-section></mj-body></mjml>",
    ),
    ("cart.txt", "Hi {{ nmae }}\n"),
    ("bad.mjml", "<mjml><mj-body><mj-section></mj-body></mjml>"),
    (
        "filter.mjml",
        "<mjml><mj-body><mj-section><mj-column><mj-text>{{ name | monye }}</mj-text></mj-column></mj-section></mj-body></mjml>",
    ),
]);

fn columns() -> Vec<SinkColumn> {
    let column = |name: &str, data_type, nullable| SinkColumn {
        name: name.to_owned(),
        data_type,
        nullable,
        range: None,
    };
    let product = Fields::from(vec![Field::new("title", DataType::Utf8, false)]);
    vec![
        column("recipient_key", DataType::Utf8, false),
        column("dedupe_key", DataType::Utf8, false),
        column("email", DataType::Utf8, true),
        column("name", DataType::Utf8, false),
        column("product", DataType::Struct(product), false),
    ]
}

fn options(pairs: &[(&str, &str)]) -> TableOptions {
    let mut options = BTreeMap::from([
        ("template".to_owned(), text("cart.mjml")),
        ("subject".to_owned(), text("For {{ name }}")),
        ("from".to_owned(), text("Shop <hi@shop.example>")),
    ]);
    for (name, value) in pairs {
        options.insert((*name).to_owned(), text(value));
    }
    TableOptions::new("mails", 0..5, options)
}

fn text(value: &str) -> TableOption {
    TableOption { value: OptionValue::Text(value.to_owned()), range: 10..20 }
}

fn findings(pairs: &[(&str, &str)], columns: &[SinkColumn]) -> Vec<Diagnostic> {
    match EmailSink::compile("cart.mails", options(pairs), columns, &FILES) {
        Ok(sink) => sink.warnings().to_vec(),
        Err(found) => found,
    }
}

#[test]
fn a_sink_has_defaults() {
    let sink = EmailSink::compile("cart.mails", options(&[]), &columns(), &FILES).unwrap();
    assert_eq!((sink.provider(), sink.class()), ("default", MailClass::Marketing));
    assert_eq!(sink.ttl_ns(), 24 * 3_600_000_000_000);
    assert_eq!(sink.warnings(), []);
}

#[test]
fn findings_have_a_code_and_name_their_place() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (
            &[("subject", "{{ nmae }}")],
            "PR0505",
            "the subject uses `nmae`, which the query does not produce",
        ),
        (
            &[("text_template", "cart.txt")],
            "PR0505",
            "template 'cart.txt' uses `nmae`, which the query does not produce",
        ),
        (
            &[("subject", "{{ product.titel }}")],
            "PR0505",
            "the subject uses `product.titel`, but `product` has no such field",
        ),
        (
            &[("subject", "{{ recipient_key }}")],
            "PR0505",
            "the subject uses `recipient_key`, which the query does not produce",
        ),
        (&[("subject", "{{ name")], "PR0504", "the subject: line 1: syntax error"),
        (&[("template", "filter.mjml")], "PR0504", "template 'filter.mjml': unknown filter"),
        (
            &[("template", "none.mjml")],
            "PR0502",
            "template 'none.mjml' can't be read: no such file",
        ),
        (&[("template", "bad.mjml")], "PR0503", "template 'bad.mjml': "),
        (&[("from", "shop")], "PR0509", "option `from` can't be 'shop'"),
        (
            &[("from", "zoë@shop.example")],
            "PR0509",
            "option `from` can't be 'zoë@shop.example': the part before the @ must be ASCII",
        ),
        (
            &[("reply_to", "a@b.example\r\nBcc: c@d.example")],
            "PR0509",
            "option `reply_to` can't be",
        ),
        (&[("class", "spam")], "PR0301", "option `class` can't be 'spam'"),
        (&[("ttl", "1 day")], "PR0301", "option `ttl` of table `mails` can't be '1 day'"),
        (&[("list_unsubscribe", "x")], "PR0301", "table `mails` has no option `list_unsubscribe`"),
    ];
    for (pairs, code, message) in cases {
        let found = findings(pairs, &columns());
        assert!(
            found.iter().any(|found| found.code == *code && found.message.starts_with(message)),
            "{code} {message}: {found:?}"
        );
    }
}

#[test]
fn misspelt_variables_get_a_suggestion() {
    let found = findings(&[("subject", "{{ nmae }}")], &columns());
    assert_eq!(
        found[0].hint.as_deref(),
        Some("did you mean `name`? columns for the template: email, name, product")
    );
    assert_eq!(found[0].span.as_ref().map(|span| span.range.clone()), Some(10..20));
}

#[test]
fn a_nullable_variable_without_default_is_a_warning() {
    let mut columns = columns();
    columns[3].nullable = true;
    let found = findings(&[], &columns);
    let codes: Vec<_> = found.iter().map(|found| (found.code, found.severity)).collect();
    assert_eq!(codes, [("PR0506", Severity::Warning)], "{found:?}");
    let with_default: Files = Files(&[(
        "cart.mjml",
        "<mjml><mj-body><mj-section><mj-column><mj-text>{{ name | default('you') }}{% if name %}{{ name }}{% endif %}</mj-text></mj-column></mj-section></mj-body></mjml>",
    )]);
    let pairs = options(&[("subject", "Hi")]);
    let sink = EmailSink::compile("cart.mails", pairs, &columns, &with_default).unwrap();
    assert_eq!(sink.warnings(), []);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let found = findings(
        &[("from", "x"), ("reply_to", "y"), ("class", "z"), ("colour", "red")],
        &columns()[..2],
    );
    let codes: Vec<_> = found.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["PR0501", "PR0509", "PR0509", "PR0301", "PR0301"]);
}

#[test]
fn sinks_are_shared_between_tasks() {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<EmailSink>>();
}
