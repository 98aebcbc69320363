//! The terminal: the only place that prints.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;

/// Prints a line to standard output. A closed pipe ends the process quietly, as `head` expects.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints an error to standard error.
pub(crate) fn error(text: &str) {
    let prefix = if text.starts_with("error") { "" } else { "error: " };
    note(&format!("{prefix}{text}"));
}

/// Prints a line to standard error: progress and notes, so that output stays clean.
pub(crate) fn note(text: &str) {
    // With standard error closed there is nobody left to tell.
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

/// Whether people watch standard error.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether output may carry colours.
pub(crate) fn has_colour() -> bool {
    is_watched() && std::env::var_os("NO_COLOR").is_none()
}

/// Sends warnings, or with `--verbose` everything of Postrider's, to standard error.
pub(crate) fn start_logging(verbose: u8) {
    let filter = match verbose {
        0 => "warn",
        1 => "warn,postrider=info,postrider_engine=info,postrider_mail=info,postrider_serve=info",
        _ => "info,postrider=debug,postrider_engine=debug,postrider_mail=debug,postrider_serve=debug",
    };
    let filter = EnvFilter::try_from_env("POSTRIDER_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(has_colour())
        .init();
}

/// A number with thin groups: `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Nanoseconds as milliseconds for people.
pub(crate) fn milliseconds(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a latency, rounded anyway")]
    let ms = ns as f64 / 1e6;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!(super::count(0), "0");
        assert_eq!(super::count(999), "999");
        assert_eq!(super::count(1_234_567), "1,234,567");
    }
}
