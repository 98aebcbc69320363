//! The HTML of the mailbox.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use postrider_core::format_time;

use super::{
    folder::{Listed, Listing},
    mail::{Mail, MailError},
};

/// The style sheet.
pub(super) const STYLE: &str = include_str!("templates/mailbox.css");
/// Refreshes the list and shows times in the reader's time zone; without it everything else works.
pub(super) const SCRIPT: &str = include_str!("templates/mailbox.js");

const TEMPLATES: [(&str, &str); 5] = [
    ("layout.html", include_str!("templates/layout.html")),
    ("list.html", include_str!("templates/list.html")),
    ("rows.html", include_str!("templates/rows.html")),
    ("mail.html", include_str!("templates/mail.html")),
    ("error.html", include_str!("templates/error.html")),
];

/// The templates, ready to be filled.
pub(super) struct Pages {
    templates: Environment<'static>,
}

impl Pages {
    pub(super) fn new() -> Self {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, text) in TEMPLATES {
            // A template that does not parse is missing, and a test fills every one.
            if let Err(error) = templates.add_template(name, text) {
                tracing::error!(%error, "a template of the mailbox can't be used");
            }
        }
        Self { templates }
    }

    fn fill(&self, name: &str, values: Value) -> Result<String, MailError> {
        Ok(self.templates.get_template(name)?.render(values)?)
    }

    /// The list of mails.
    pub(super) fn list(&self, listing: &Listing) -> Result<String, MailError> {
        self.fill("list.html", listing_values(listing))
    }

    /// The part of the list that changes.
    pub(super) fn rows(&self, listing: &Listing) -> Result<String, MailError> {
        self.fill("rows.html", listing_values(listing))
    }

    /// One mail.
    pub(super) fn mail(&self, mail: &Mail) -> Result<String, MailError> {
        let headers = mail.headers.iter().map(|(name, value)| context! { name => *name, value });
        let values = context! {
            file => &mail.file,
            subject => &mail.subject,
            headers => headers.collect::<Vec<_>>(),
            has_html => mail.html.is_some(),
            text => mail.text.as_ref(),
            size => with_commas(mail.raw.len()),
        };
        self.fill("mail.html", values)
    }

    /// Something went wrong.
    pub(super) fn error(&self, status: u16, message: &str) -> Result<String, MailError> {
        self.fill("error.html", context! { status, message })
    }
}

fn listing_values(listing: &Listing) -> Value {
    context! {
        count => with_commas(listing.count),
        is_one => listing.count == 1,
        duplicates => with_commas(listing.duplicates),
        has_duplicates => listing.duplicates > 0,
        hidden => with_commas(listing.count - listing.mails.len()),
        is_cut => listing.count > listing.mails.len(),
        mails => listing.mails.iter().map(row).collect::<Vec<_>>(),
    }
}

fn row(listed: &Listed) -> Value {
    let summary = &listed.summary;
    let time = format_time(summary.received_at / 1_000_000_000 * 1_000_000_000);
    context! {
        file => &summary.file,
        to => &summary.to,
        subject => &summary.subject,
        message_id => &summary.message_id,
        copies => listed.copies,
        clock => time.get(11..19),
        day => time.get(..10),
        time,
    }
}

/// `1234567` as `1,234,567`.
fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_commas;

    #[test]
    fn numbers_have_commas() {
        assert_eq!([0, 999, 1000, 1_234_567].map(with_commas), ["0", "999", "1,000", "1,234,567"]);
    }
}
