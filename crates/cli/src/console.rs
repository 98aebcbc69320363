//! The terminal: the only place that prints.

use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing_subscriber::EnvFilter;

/// Prints a line to standard output. Where a reader has seen enough, as `head` has, nothing more is printed, and the work
/// goes on: its exit code is still wanted. Any other failure is kept for [`output_lost`].
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
    if let Err(error) = Rows::noted(written)
        && error.kind() != ErrorKind::BrokenPipe
    {
        OUTPUT_LOST.get_or_init(|| error.to_string());
    }
}

/// Why a [`line()`] could not be printed, such as a full disk; nobody having read it is no reason.
pub(crate) fn output_lost() -> Option<&'static str> {
    OUTPUT_LOST.get().map(String::as_str)
}

static OUTPUT_LOST: OnceLock<String> = OnceLock::new();

/// Whether standard output was found closed.
static READER_LEFT: AtomicBool = AtomicBool::new(false);

/// Standard output for the rows of a pipeline. Unlike [`line()`] it fails where the pipe is closed, which ends a stream that
/// nobody reads; [`reader_left`] then tells that nothing went wrong.
pub(crate) struct Rows;

impl Rows {
    fn noted<T>(result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                READER_LEFT.store(true, Ordering::Relaxed);
            }
        })
    }
}

impl Write for Rows {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::noted(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::noted(io::stdout().flush())
    }
}

/// Whether rows could not be printed because whoever read them has seen enough.
pub(crate) fn reader_left() -> bool {
    READER_LEFT.load(Ordering::Relaxed)
}

/// Prints an error to standard error.
pub(crate) fn error(text: &str) {
    let prefix = if text.starts_with("error") { "" } else { "error: " };
    note(&format!("{prefix}{text}"));
}

/// Prints a line to standard error: progress and notes, so that output stays clean.
pub(crate) fn note(text: &str) {
    // With standard error closed there is nobody left to tell.
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Whether people watch standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
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
        _ => {
            "info,postrider=debug,postrider_engine=debug,postrider_mail=debug,postrider_serve=debug"
        }
    };
    let filter =
        EnvFilter::try_from_env("POSTRIDER_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
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

/// A number of things: `1 row`, `12 rows`. `one` takes an s.
pub(crate) fn counted(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", count(number))
}

/// Nanoseconds as milliseconds for people.
pub(crate) fn milliseconds(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a latency, rounded anyway")]
    let ms = ns as f64 / 1e6;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

/// Bytes for people, in powers of a thousand.
pub(crate) fn bytes(number: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size, rounded anyway")]
    let mut size = number as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size < 1_000.0 {
            return if unit == "bytes" {
                counted(number, "byte")
            } else {
                format!("{size:.1} {unit}")
            };
        }
        size /= 1_000.0;
    }
    format!("{size:.1} TB")
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(super::bytes(1), "1 byte");
        assert_eq!(super::bytes(999), "999 bytes");
        assert_eq!(super::bytes(1_234_567), "1.2 MB");
        assert_eq!(super::bytes(u64::MAX), "18446744.1 TB");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(super::count(0), "0");
        assert_eq!(super::count(999), "999");
        assert_eq!(super::count(1_234_567), "1,234,567");
        assert_eq!(super::counted(1, "row"), "1 row");
        assert_eq!(super::counted(2_000, "row"), "2,000 rows");
    }
}
