use std::collections::BTreeMap;

use arrow_schema::DataType;
use lettre::Address;
use mail_parser::{HeaderValue, MessageParser};
use postrider_core::{OptionValue, SendId, TableOption, TableOptions};

use super::{Outgoing, compose, list_id};
use crate::{
    EmailSink, SinkColumn, TemplateLoader,
    render::{Rendered, Renderer, TemplateSources},
};

struct Template;

impl TemplateLoader for Template {
    fn load(&self, _: &str) -> Result<String, String> {
        Ok("<mjml><mj-body></mj-body></mjml>".to_owned())
    }
}

fn sink(pairs: &[(&str, &str)]) -> EmailSink {
    let text =
        |value: &str| TableOption { value: OptionValue::Text(value.to_owned()), range: 0..1 };
    let mut options = BTreeMap::from([
        ("template".to_owned(), text("t")),
        ("subject".to_owned(), text("s")),
        ("from".to_owned(), text("\"Zoë's Shop, Inc.\" <hi@bücher.example>")),
    ]);
    options.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), text(value))));
    let column = |name: &str| SinkColumn {
        name: name.to_owned(),
        data_type: DataType::Utf8,
        nullable: false,
        range: None,
    };
    let columns = ["recipient_key", "dedupe_key", "email"].map(column);
    EmailSink::compile("p.s", TableOptions::new("s", 0..1, options), &columns, &Template).unwrap()
}

fn mail(sink: &EmailSink, subject: &str, text: &str) -> Outgoing {
    let to: Address = "kim@x.example".parse().unwrap();
    let content = Rendered {
        subject: subject.to_owned(),
        html: format!("<p>{text}</p>"),
        text: text.to_owned(),
    };
    compose(sink, SendId([7; 16]), &to, None, 1_795_478_400_000_000_001, content).unwrap()
}

#[test]
fn the_same_row_gives_the_same_bytes() {
    let sink = sink(&[]);
    let text = ".\r\n..\nÄ line ".repeat(50);
    assert_eq!(mail(&sink, "ä", &text).bytes, mail(&sink, "ä", &text).bytes);
}

#[test]
fn a_mail_reads_back_as_it_was_meant() {
    let sink = sink(&[("reply_to", "Help <help@shop.example>"), ("topic", "Special Offers!")]);
    let subject =
        "Zoë, your cart: 50 % off 🎉 and a rather long tail that has to be folded somewhere";
    let outgoing = mail(&sink, subject, "Dots:\n.\n..\n.x\nÄ€ 🎉\n");
    assert!(outgoing.bytes.is_ascii());
    assert!(outgoing.bytes.split(|byte| *byte == b'\n').all(|line| line.len() < 999));
    let parsed = MessageParser::default().parse(&outgoing.bytes[..]).unwrap();
    assert_eq!(parsed.subject(), Some(subject));
    let from = parsed.from().and_then(|from| from.first()).unwrap();
    assert_eq!(
        (from.name(), from.address()),
        (Some("Zoë's Shop, Inc."), Some("hi@xn--bcher-kva.example"))
    );
    let to = parsed.to().and_then(|to| to.first()).unwrap();
    assert_eq!(to.address(), Some("kim@x.example"));
    assert_eq!(
        parsed.date().map(|date| date.to_rfc3339()),
        Some("2026-11-24T00:00:00Z".to_owned())
    );
    let id = SendId([7; 16]).to_string();
    let message_id = format!("{id}@xn--bcher-kva.example");
    assert_eq!(parsed.message_id(), Some(message_id.as_str()));
    assert_eq!(outgoing.message_id, format!("<{message_id}>"));
    let header = |name: &str| match parsed.header(name) {
        Some(HeaderValue::Text(text)) => text.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(header("X-Postrider-Send"), id);
    assert!(header("List-Id").contains("special-offers.xn--bcher-kva.example"));
    assert_eq!(parsed.body_text(0).as_deref(), Some("Dots:\r\n.\r\n..\r\n.x\r\nÄ€ 🎉\r\n"));
    assert_eq!(parsed.body_html(0).as_deref().map(|html| html.starts_with("<p>Dots")), Some(true));
    let kind = parsed.root_part().headers.iter().find(|header| header.name() == "Content-Type");
    assert!(kind.is_some());
    assert_eq!(parsed.parts.len(), 3);
}

#[test]
fn headers_can_not_be_added() {
    let sink = sink(&[]);
    // The renderer strips line breaks; the encoder must not depend on that.
    let outgoing = mail(&sink, "a\r\nBcc: evil@x.example\r\n\r\nbody", "text");
    let parsed = MessageParser::default().parse(&outgoing.bytes[..]).unwrap();
    assert!(parsed.bcc().is_none());
    assert_eq!(outgoing.envelope.to().len(), 1);
}

#[test]
fn topics_become_list_ids() {
    assert_eq!(list_id("Offers", "a.example").as_deref(), Some("<offers.a.example>"));
    assert_eq!(list_id("a\r\nX: y", "a.example").as_deref(), Some("<a--x--y.a.example>"));
    assert_eq!(list_id("€", "a.example"), None);
}

#[test]
fn a_date_outside_of_the_calendar_is_clamped() {
    let sink = sink(&[]);
    let to: Address = "kim@x.example".parse().unwrap();
    for date in [i64::MIN, -1, 0, i64::MAX] {
        let content =
            Rendered { subject: "s".to_owned(), html: "h".to_owned(), text: "t".to_owned() };
        assert!(compose(&sink, SendId([0; 16]), &to, None, date, content).is_ok());
    }
}

#[test]
fn data_does_not_know_the_boundary() {
    let sink = sink(&[]);
    let boundary = |text: &str| {
        let bytes = mail(&sink, "s", text).bytes;
        let mail = String::from_utf8(bytes.to_vec()).unwrap();
        mail.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned()
    };
    assert_eq!(boundary("a"), boundary("a"));
    // Who writes one mail's boundary into the data of the next gets another one.
    assert_ne!(boundary(&format!("--{}", boundary("a"))), boundary("a"));
}

#[test]
fn every_line_of_the_bytes_ends_with_crlf_whatever_the_data_holds() {
    let mjml = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ x }}</mj-text></mj-column></mj-section></mj-body></mjml>";
    let sources = TemplateSources { subject: "s {{ x }}", mjml, text: Some("{{ x }}") };
    let renderer = Renderer::compile(sources).unwrap();
    let sink = sink(&[]);
    let to: Address = "kim@x.example".parse().unwrap();
    for end in ["\r", "\n", "\r\n", "\n\r", "\r\r\n"] {
        // Short and long lines, ASCII or not, so that every transfer encoding is met.
        for line in ["x".to_owned(), "ä".to_owned(), "long ".repeat(300), "日本".repeat(300)] {
            let data = format!("{line}{end}.{end}MAIL FROM:<evil@x.example>{end}.{line}{end}");
            let row = minijinja::Value::from_pairs([("x", data)]);
            let content = renderer.render(&row).unwrap();
            let bytes = compose(&sink, SendId([7; 16]), &to, None, 0, content).unwrap().bytes;
            let bare = String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "");
            assert!(!bare.contains(['\r', '\n']), "{end:?} {line:.9}");
        }
    }
}
