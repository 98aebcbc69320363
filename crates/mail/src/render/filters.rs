//! Template filters for what emails print: money, numbers, dates.

use std::fmt::Write;

use chrono::DateTime;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::html::{SAFE_CSS, SAFE_URL, is_safe_css, is_safe_url};

/// Adds our filters and takes away those that would switch escaping off.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.remove_filter("safe");
    // JSON is marked as safe, and its quotes end an attribute.
    environment.remove_filter("tojson");
    // What is printed is escaped anyhow; minijinja's own would mark JSON as safe under `{% autoescape 'json' %}`.
    for name in ["escape", "e"] {
        environment.add_filter(name, |value: Value| value);
    }
    environment.remove_global("debug");
    environment.add_filter("money", money);
    environment.add_filter("number", number);
    environment.add_filter("date", date);
    environment.add_filter(SAFE_URL, safe_url);
    environment.add_filter(SAFE_CSS, safe_css);
}

/// `{{ total | money("EUR") }}`: two decimals (none for yen and won), thousands grouped, sign in front.
fn money(amount: &Value, currency: Option<String>) -> Result<String, Error> {
    let currency = currency.unwrap_or_else(|| "USD".to_owned());
    let (symbol, decimals) = match currency.as_str() {
        "USD" => ("$", 2),
        "EUR" => ("€", 2),
        "GBP" => ("£", 2),
        "JPY" => ("¥", 0),
        "KRW" => ("₩", 0),
        "INR" => ("₹", 2),
        _ => ("", 2),
    };
    let amount = to_number("money", amount)?;
    let digits = grouped(amount.abs(), decimals);
    let sign =
        if amount < 0.0 && digits.contains(|c: char| ('1'..='9').contains(&c)) { "-" } else { "" };
    Ok(match symbol {
        "" => format!("{sign}{digits} {currency}"),
        symbol => format!("{sign}{symbol}{digits}"),
    })
}

/// `{{ points | number }}` groups thousands; `number(1)` sets the decimals.
fn number(value: &Value, decimals: Option<u32>) -> Result<String, Error> {
    let number = to_number("number", value)?;
    let decimals = decimals.unwrap_or_else(|| if number.fract() == 0.0 { 0 } else { 2 });
    let digits = grouped(number.abs(), decimals.min(12) as usize);
    Ok(if number < 0.0 { format!("-{digits}") } else { digits })
}

/// `{{ ends_at | date("%d %B %Y, %H:%M") }}`: strftime of a timestamp, in UTC.
fn date(value: &Value, format: Option<String>) -> Result<String, Error> {
    defined(value)?;
    let text = value.as_str().ok_or_else(|| invalid("date", value))?;
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| invalid("date", value))?;
    let mut out = String::new();
    let format = format.unwrap_or_else(|| "%d %B %Y".to_owned());
    write!(out, "{}", time.format(&format)).map_err(|_| {
        Error::new(ErrorKind::InvalidOperation, format!("date has no format '{format}'"))
    })?;
    Ok(out)
}

/// Lets the content of a URL attribute through, or fails the render.
fn safe_url(url: &Value) -> Result<Value, Error> {
    let text = url.as_str().unwrap_or_default();
    if is_safe_url(text) {
        return Ok(url.clone());
    }
    Err(Error::new(
        ErrorKind::InvalidOperation,
        "a link or image must start with https:, http:, mailto:, tel:, cid: or #",
    ))
}

/// Lets what a style prints through, or fails the render.
fn safe_css(css: &Value) -> Result<Value, Error> {
    if is_safe_css(css.as_str().unwrap_or_default()) {
        return Ok(css.clone());
    }
    Err(Error::new(
        ErrorKind::InvalidOperation,
        "a value in a style must not hold quotes, line breaks, ; { } ( ) @ \\ or a comment",
    ))
}

fn to_number(filter: &str, value: &Value) -> Result<f64, Error> {
    defined(value)?;
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    number.filter(|number| number.is_finite()).ok_or_else(|| invalid(filter, value))
}

fn defined(value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "the value is missing or NULL"));
    }
    Ok(())
}

fn invalid(filter: &str, value: &Value) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{filter} can't take a {}", value.kind()))
}

fn grouped(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::with_capacity(text.len() + whole.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use minijinja::Environment;

    fn render(template: &str) -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        super::install(&mut environment);
        environment.render_str(template, ())
    }

    #[test]
    fn values_are_printed_for_people() {
        let cases = [
            ("{{ 1234.5 | money }}", "$1,234.50"),
            ("{{ '99.999' | money('EUR') }}", "€100.00"),
            ("{{ -1234567 | money('JPY') }}", "-¥1,234,567"),
            ("{{ -0.001 | money }}", "$0.00"),
            ("{{ 5 | money('SEK') }}", "5.00 SEK"),
            ("{{ 1234567 | number }}", "1,234,567"),
            ("{{ 0.5 | number(1) }}", "0.5"),
            ("{{ '2026-11-24T10:05:00Z' | date }}", "24 November 2026"),
            ("{{ '2026-11-24T10:05:00.25Z' | date('%Y/%m/%d %H:%M') }}", "2026/11/24 10:05"),
        ];
        for (template, expected) in cases {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn wrong_values_are_errors_and_not_panics() {
        for template in [
            "{{ 'x' | money }}",
            "{{ x | money }}",
            "{{ [] | number }}",
            "{{ 'today' | date }}",
            "{{ '2026-11-24T10:05:00Z' | date('%Q') }}",
            "{{ 'javascript:x' | safe_url }}",
            "{{ 'x' | safe }}",
        ] {
            assert!(render(template).is_err(), "{template}");
        }
    }
}
