//! The arguments of `tumble`, `hop`, `cumulate` and `session`: which windows they make, and which none can have.

use datafusion::logical_expr::Expr;
use postrider_core::format_duration;
use postrider_plan::{Period, Window, Zone};
use sqlparser::ast::{Expr as SqlExpr, Value};

use crate::{
    catalog::Catalog,
    interval::{self, DAY_NS, Length, NotALength},
    limits::{MAX_WINDOWS_PER_ROW, MIN_STEP_NS},
    suggest,
};

/// 292 years, as far as 64 bits of nanoseconds reach.
const MAX_DAYS: i32 = 292 * 365;
const MAX_MONTHS: i32 = 292 * 12;

/// What is wrong with a window's arguments, and what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Problem {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// How a call of a window is written.
pub(crate) fn example(name: &str) -> &'static str {
    match name {
        "tumble" => "tumble(INTERVAL '1 hour')",
        "hop" => "hop(INTERVAL '10 minutes', INTERVAL '1 hour'): slide, then size",
        "cumulate" => "cumulate(INTERVAL '1 hour', INTERVAL '1 day'): step, then size",
        _ => "session(INTERVAL '30 minutes')",
    }
}

/// An argument of a call, as far as it is known before anything runs.
#[derive(Debug)]
pub(crate) enum Arg {
    /// A length of time.
    Length(Result<Length, NotALength>),
    /// The name of a time zone, or what should have been one.
    Zone(Result<Zone, String>),
    /// An expression over a row, which can only be its time zone.
    OfRow,
}

impl Arg {
    /// An argument that is written.
    pub(crate) fn written(catalog: &Catalog, position: usize, expr: &SqlExpr) -> Self {
        match expr {
            SqlExpr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) if position > 0 => {
                    Self::text(text, interval::literal(catalog, expr))
                }
                _ => Self::Length(interval::literal(catalog, expr)),
            },
            SqlExpr::Interval(_) => Self::Length(interval::literal(catalog, expr)),
            _ if position > 0 => Self::OfRow,
            _ => Self::Length(Err(NotALength::NoLiteral)),
        }
    }

    /// An argument that is planned.
    pub(crate) fn planned(position: usize, expr: &Expr) -> Self {
        match expr {
            Expr::Literal(value, _) => match value.try_as_str().flatten() {
                Some(text) if position > 0 => Self::text(text, interval::scalar(value)),
                _ => Self::Length(interval::scalar(value)),
            },
            _ if position > 0 => Self::OfRow,
            _ => Self::Length(Err(NotALength::NoLiteral)),
        }
    }

    fn text(text: &str, length: Result<Length, NotALength>) -> Self {
        match (Zone::named(text), length) {
            (Some(zone), _) => Self::Zone(Ok(zone)),
            (None, Ok(length)) => Self::Length(Ok(length)),
            (None, Err(_)) => Self::Zone(Err(text.to_owned())),
        }
    }

    fn length(&self) -> Result<Length, NotALength> {
        match self {
            Self::Length(length) => *length,
            Self::Zone(_) | Self::OfRow => Err(NotALength::NoLiteral),
        }
    }
}

/// The windows of a call: its lengths, an offset behind them, and a time zone at last.
pub(crate) fn window(name: &str, args: &[Arg]) -> Result<Window, Problem> {
    if let (Some((zone @ (Arg::Zone(_) | Arg::OfRow), lengths)), "tumble") =
        (args.split_last(), name)
    {
        return calendar(zone, lengths);
    }
    if args.iter().any(|arg| matches!(arg, Arg::Zone(_))) {
        let hint = "days on the clocks of a time zone: tumble(INTERVAL '1 day', 'Europe/Berlin')";
        return Err(Problem::new(format!("`{name}` takes no time zone"), hint));
    }
    let wanted = if matches!(name, "hop" | "cumulate") { 2 } else { 1 };
    let write = || format!("write {}", example(name));
    let shifts = usize::from(name != "session");
    if args.len() < wanted || args.len() > wanted + shifts {
        let lengths = if wanted == 1 { "1 length" } else { "2 lengths" };
        let offset = if shifts == 1 { ", and perhaps an offset" } else { "" };
        return Err(Problem::new(format!("`{name}` takes {lengths} of time{offset}"), write()));
    }
    let fixed = |arg: &Arg| arg.length().and_then(Length::fixed);
    let (lengths, offset) = args.split_at(wanted);
    let lengths = lengths.iter().map(|length| check_length(name, fixed(length)));
    let lengths = lengths.collect::<Result<Vec<_>, _>>()?;
    let size = lengths.last().copied().unwrap_or_default();
    let offset = offset.first().map_or(Ok(0), |offset| check_offset(name, fixed(offset), size))?;
    match (name, lengths.as_slice()) {
        ("hop" | "cumulate", &[first, size]) if first == size => Ok(tumble(size, offset)),
        ("hop", &[slide, size]) => hop(slide, size, offset),
        ("cumulate", &[step, size]) => cumulate(step, size, offset),
        ("session", &[gap_ns]) => Ok(Window::Session { gap_ns }),
        (_, &[size]) => Ok(tumble(size, offset)),
        _ => Err(Problem::new(format!("`{name}` can't have these arguments"), write())),
    }
}

/// Windows on the clocks of a zone.
fn calendar(zone: &Arg, lengths: &[Arg]) -> Result<Window, Problem> {
    let zone = match zone {
        Arg::Zone(Ok(zone)) => Some(*zone),
        Arg::Zone(Err(text)) => return Err(no_zone(text)),
        _ => None,
    };
    let (size, offset) = match lengths {
        [size] => (size, None),
        [size, offset] => (size, Some(offset)),
        _ => {
            let message = "`tumble` takes a length, perhaps an offset, and a time zone";
            return Err(Problem::new(message, ZONED));
        }
    };
    let size = size.length().map_err(|wrong| bad_length("tumble", wrong))?;
    let period = match size {
        Length { months: 0, days: days @ 1..=MAX_DAYS, ns: 0 } => Period::Days(days),
        Length { months: months @ 1..=MAX_MONTHS, days: 0, ns: 0 } => Period::Months(months),
        _ => {
            let message =
                "windows in a time zone are whole days or whole months, at most 292 years";
            return Err(Problem::new(message, ZONED));
        }
    };
    // No month has fewer days.
    let shortest = match period {
        Period::Days(days) => i64::from(days) * DAY_NS,
        Period::Months(months) => i64::from(months) * 28 * DAY_NS,
    };
    let fixed = |arg: &Arg| arg.length().and_then(Length::fixed);
    let offset = offset.map_or(Ok(0), |arg| check_offset("tumble", fixed(arg), shortest))?;
    let offset_ns = match period {
        Period::Days(_) => offset.rem_euclid(shortest),
        Period::Months(_) => offset,
    };
    Ok(Window::Calendar { period, offset_ns, zone })
}

const ZONED: &str = "such as tumble(INTERVAL '1 day', 'Europe/Berlin'), or tumble(INTERVAL '1 month', INTERVAL '8 hours', 'Asia/Tokyo')";

fn no_zone(text: &str) -> Problem {
    let hint = match suggest::nearest(text, Zone::names()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "zones have the names of the IANA database, such as 'Europe/Berlin'".to_owned(),
    };
    Problem::new(format!("there is no time zone '{text}'"), hint)
}

/// Flink's bound: an offset of a whole window or more would be a typing error.
fn check_offset(name: &str, offset: Result<i64, NotALength>, size: i64) -> Result<i64, Problem> {
    let message = match offset {
        Ok(ns) if ns.unsigned_abs() < size.unsigned_abs() => return Ok(ns),
        Ok(_) => format!("the offset of `{name}` must be shorter than its windows"),
        Err(NotALength::Months) => format!("months and years can't be the offset of `{name}`"),
        Err(_) => format!("the offset of `{name}` must be a literal interval"),
    };
    Err(Problem::new(
        message,
        "such as tumble(INTERVAL '1 day', INTERVAL '8 hours'): from 8:00 to 8:00 UTC",
    ))
}

const fn tumble(size_ns: i64, offset: i64) -> Window {
    Window::Tumble { size_ns, offset_ns: offset.rem_euclid(size_ns) }
}

fn check_length(name: &str, length: Result<i64, NotALength>) -> Result<i64, Problem> {
    match length {
        Ok(ns) if ns > 0 => Ok(ns),
        Ok(_) => {
            let message = format!("a length of `{name}` must be above zero");
            Err(Problem::new(message, format!("write {}", example(name))))
        }
        Err(wrong) => Err(bad_length(name, wrong)),
    }
}

fn bad_length(name: &str, wrong: NotALength) -> Problem {
    let message = match wrong {
        NotALength::NoLiteral => format!("a length of `{name}` must be a literal interval"),
        NotALength::Months => {
            let hint = if name == "tumble" {
                "use days: INTERVAL '30 days'; or name a time zone: tumble(INTERVAL '1 month', 'Europe/Berlin')"
            } else {
                "use days: INTERVAL '30 days'"
            };
            let message =
                format!("months and years have no fixed length, so `{name}` can't take them");
            return Problem::new(message, hint);
        }
        NotALength::TooLong => format!("a length of `{name}` is above 292 years"),
    };
    Problem::new(message, format!("write {}", example(name)))
}

/// Both lengths are above zero.
fn hop(slide_ns: i64, size_ns: i64, offset: i64) -> Result<Window, Problem> {
    if slide_ns > size_ns {
        return Err(Problem::new(
            "`hop` with a slide longer than its size would skip rows",
            "the slide comes first: hop(INTERVAL '10 minutes', INTERVAL '1 hour')",
        ));
    }
    check_count(slide_ns, size_ns, "slide")?;
    Ok(Window::Hop { slide_ns, size_ns, offset_ns: offset.rem_euclid(slide_ns) })
}

/// Both lengths are above zero.
fn cumulate(step_ns: i64, size_ns: i64, offset: i64) -> Result<Window, Problem> {
    if step_ns > size_ns {
        return Err(Problem::new(
            "`cumulate` with a step longer than its size has no windows",
            "the step comes first: cumulate(INTERVAL '1 hour', INTERVAL '1 day')",
        ));
    }
    if size_ns % step_ns != 0 {
        let (step, size) = (format_duration(step_ns), format_duration(size_ns));
        let message = format!(
            "the size of `cumulate` must be a multiple of its step, and {size} is none of {step}"
        );
        return Err(Problem::new(message, format!("write {}", example("cumulate"))));
    }
    if step_ns < MIN_STEP_NS {
        let message = format!("a step of `cumulate` is {} or more", format_duration(MIN_STEP_NS));
        return Err(Problem::new(message, format!("write {}", example("cumulate"))));
    }
    check_count(step_ns, size_ns, "step")?;
    Ok(Window::Cumulate { step_ns, size_ns, offset_ns: offset.rem_euclid(size_ns) })
}

/// A row may be in so many windows only. `word` is what the shorter length is called.
fn check_count(short: i64, size: i64, word: &str) -> Result<(), Problem> {
    let windows = size.unsigned_abs().div_ceil(short.unsigned_abs());
    if windows <= MAX_WINDOWS_PER_ROW {
        return Ok(());
    }
    let (size, short) = (format_duration(size), format_duration(shortest(size)));
    Err(Problem::new(
        format!("each row would be in {windows} windows, over the limit of {MAX_WINDOWS_PER_ROW}"),
        format!("for windows of {size}, take a {word} of {short} or more"),
    ))
}

/// The shortest slide that keeps to [`MAX_WINDOWS_PER_ROW`], in whole units of a clock.
fn shortest(size: i64) -> i64 {
    let shortest = size.unsigned_abs().div_ceil(MAX_WINDOWS_PER_ROW);
    let units = [3_600_000_000_000, 60_000_000_000, 1_000_000_000, 1_000_000];
    let unit = units.into_iter().find(|&unit| shortest > unit).unwrap_or(1);
    i64::try_from(shortest.next_multiple_of(unit)).unwrap_or(size)
}
