//! What has to be remembered of a partition for its rows to come.

use datafusion::{
    arrow::datatypes::{DataType, IntervalUnit},
    common::ScalarValue,
    logical_expr::{
        Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
        expr::{NullTreatment, WindowFunction, WindowFunctionParams},
    },
};

const DAY_NS: i64 = 86_400_000_000_000;

/// What a call remembers of each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// How many rows there were.
    Count,
    /// The aggregate of all rows so far. `by_row`: a row does not see those that are equal to it in the order and come behind it.
    Running {
        /// Whether each row has a value of its own.
        by_row: bool,
    },
    /// Some of the rows.
    Rows(KeptRows),
}

/// Which rows a later one may still look at. What one of these keeps, the others may as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptRows {
    /// The first ones.
    pub first: usize,
    /// The last ones.
    pub last: usize,
    /// Those at most so many nanoseconds before the later row.
    pub within_ns: Option<i64>,
    /// Whether only rows count whose first argument is not NULL.
    pub skips_nulls: bool,
}

impl KeptRows {
    /// Whether some rows are kept however old they are.
    pub const fn for_ever(self) -> bool {
        self.first > 0 || self.last > 0
    }
}

/// Why a call can't be computed on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endless {
    /// What it asks for.
    pub what: String,
    /// What to do instead.
    pub hint: &'static str,
}

impl Endless {
    fn new(what: impl Into<String>, hint: &'static str) -> Self {
        Self { what: what.into(), hint }
    }
}

impl Memory {
    /// What a call remembers.
    ///
    /// # Errors
    /// It looks at rows that have not come, or at more of those before than can be kept.
    pub fn of(call: &WindowFunction) -> Result<Self, Endless> {
        let WindowFunctionParams { window_frame: frame, null_treatment, args, .. } = &call.params;
        let reach = Reach::of(frame)?;
        let skips_nulls = *null_treatment == Some(NullTreatment::IgnoreNulls);
        let function = match &call.fun {
            WindowFunctionDefinition::AggregateUDF(_) => return Ok(reach.of_aggregate(frame)),
            WindowFunctionDefinition::WindowUDF(function) => function.name(),
        };
        let none = KeptRows::default();
        let rows = match function {
            "row_number" | "rank" | "dense_rank" => return Ok(Self::Count),
            "lag" => KeptRows { last: offset(function, args)?, skips_nulls, ..none },
            "first_value" => reach.rows(KeptRows { first: 1, skips_nulls, ..none }),
            // With NULLs it is the row itself, or one of the same place in the order.
            "last_value" => {
                reach.rows(KeptRows { last: usize::from(skips_nulls), skips_nulls, ..none })
            }
            "nth_value" => reach.rows(KeptRows { skips_nulls, ..nth(args)? }),
            "lead" => {
                return Err(Endless::new(
                    "`lead` looks at rows that have not come yet",
                    "turn it round: `lag` at the later row",
                ));
            }
            _ => {
                return Err(Endless::new(
                    format!(
                        "`{function}` looks at the whole partition, which never ends on a stream"
                    ),
                    "use row_number, rank, dense_rank, lag, first_value, last_value, nth_value or an aggregate",
                ));
            }
        };
        Ok(Self::Rows(rows))
    }

    /// Whether something is kept for each partition as long as the pipeline runs.
    pub const fn for_ever(self) -> bool {
        match self {
            Self::Count | Self::Running { .. } => true,
            Self::Rows(rows) => rows.for_ever(),
        }
    }
}

/// How far back a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Everything,
    Rows(usize),
    Time(i64),
}

impl Reach {
    fn of(frame: &WindowFrame) -> Result<Self, Endless> {
        const TO_CURRENT: &str = "end the frame with CURRENT ROW";
        if frame.units == WindowFrameUnits::Groups {
            return Err(Endless::new(
                "a frame of GROUPS is not supported on a stream",
                "count ROWS, or give a RANGE of time: RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW",
            ));
        }
        let follows = |bound: &WindowFrameBound| matches!(bound, WindowFrameBound::Following(_));
        if follows(&frame.start_bound) || follows(&frame.end_bound) {
            return Err(Endless::new("FOLLOWING looks at rows that have not come yet", TO_CURRENT));
        }
        let reach = match &frame.start_bound {
            WindowFrameBound::Preceding(value) if value.is_null() => Self::Everything,
            WindowFrameBound::Preceding(value) if frame.units == WindowFrameUnits::Rows => {
                Self::Rows(count(value).ok_or_else(|| {
                    Endless::new(
                        format!("a frame can't begin {value} rows before"),
                        "give a whole number: ROWS BETWEEN 3 PRECEDING AND CURRENT ROW",
                    )
                })?)
            }
            WindowFrameBound::Preceding(value) => Self::Time(range_length(value)?),
            _ if frame.units == WindowFrameUnits::Rows => Self::Rows(0),
            _ => Self::Time(0),
        };
        if let WindowFrameBound::Preceding(end) = &frame.end_bound {
            reach.check_end(end, TO_CURRENT)?;
        }
        Ok(reach)
    }

    /// Whether a frame that begins here can end `end` before its row.
    fn check_end(self, end: &ScalarValue, to_current: &'static str) -> Result<(), Endless> {
        let ends_first = match self {
            Self::Everything => {
                return Err(Endless::new(
                    "a frame of everything up to some rows before is not supported on a stream",
                    to_current,
                ));
            }
            Self::Rows(begin) => count(end).is_none_or(|end| end > begin),
            Self::Time(begin) => range_length(end)? > begin,
        };
        if ends_first {
            return Err(Endless::new(
                "the frame ends before it begins",
                "name the earlier place first: BETWEEN INTERVAL '30 days' PRECEDING AND INTERVAL '1 day' PRECEDING",
            ));
        }
        Ok(())
    }

    /// `all` if the frame reaches back to the beginning.
    fn rows(self, all: KeptRows) -> KeptRows {
        match self {
            Self::Everything => all,
            Self::Rows(last) => KeptRows { last, ..KeptRows::default() },
            Self::Time(ns) => KeptRows { within_ns: Some(ns), ..KeptRows::default() },
        }
    }

    fn of_aggregate(self, frame: &WindowFrame) -> Memory {
        match self {
            Self::Everything => Memory::Running { by_row: frame.units == WindowFrameUnits::Rows },
            reach => Memory::Rows(reach.rows(KeptRows::default())),
        }
    }
}

fn count(value: &ScalarValue) -> Option<usize> {
    match value.cast_to(&DataType::UInt64) {
        Ok(ScalarValue::UInt64(Some(count))) => usize::try_from(count).ok(),
        _ => None,
    }
}

/// The nanoseconds of a bound of a `RANGE` of time.
///
/// # Errors
/// If it is no interval, one of months, or longer than 292 years.
pub fn range_length(value: &ScalarValue) -> Result<i64, Endless> {
    const DAYS: &str = "use days: RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW";
    let interval = value.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano));
    let Ok(ScalarValue::IntervalMonthDayNano(Some(interval))) = interval else {
        return Err(Endless::new("a RANGE of time begins an interval before its row", DAYS));
    };
    if interval.months != 0 {
        return Err(Endless::new("months and years have no fixed length", DAYS));
    }
    let days = i64::from(interval.days).checked_mul(DAY_NS);
    let length = days.and_then(|days| days.checked_add(interval.nanoseconds));
    length
        .filter(|ns| *ns >= 0)
        .ok_or_else(|| Endless::new("a RANGE is no length of time below 292 years", DAYS))
}

/// The second argument of a call, if it is a whole number.
fn number(args: &[Expr]) -> Option<i64> {
    let value = match args.get(1)? {
        Expr::Literal(value, _) => value.clone(),
        Expr::Cast(cast) => match &*cast.expr {
            Expr::Literal(value, _) => value.clone(),
            _ => return None,
        },
        Expr::Negative(inner) => match &**inner {
            Expr::Literal(value, _) => value.arithmetic_negate().ok()?,
            _ => return None,
        },
        _ => return None,
    };
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(number) => number,
        _ => None,
    }
}

fn offset(function: &str, args: &[Expr]) -> Result<usize, Endless> {
    let number = if args.len() > 1 { number(args) } else { Some(1) };
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
        Endless::new(
            format!("`{function}` can't look back by something else than a number of rows"),
            "give a literal: lag(price, 2)",
        )
    })
}

fn nth(args: &[Expr]) -> Result<KeptRows, Endless> {
    let size = |number: i64| usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    match number(args) {
        Some(number) if number >= 0 => Ok(KeptRows { first: size(number), ..KeptRows::default() }),
        Some(number) => Ok(KeptRows { last: size(number), ..KeptRows::default() }),
        None => Err(Endless::new(
            "`nth_value` takes its place as a literal",
            "give a number: nth_value(price, 3)",
        )),
    }
}
