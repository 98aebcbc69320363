//! `AT TIME ZONE`.

use postrider_core::Diagnostic;
use postrider_plan::Zone;
use sqlparser::ast::{Expr, Spanned, Value};

use super::Checker;
use crate::{codes, suggest};

impl Checker<'_, '_, '_> {
    /// The zone is part of the type of the result: it has to be known, and to exist.
    pub(super) fn time_zone(&mut self, zone: &Expr) {
        let place = self.source.range(zone.span());
        let literal = match zone {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(name) => Some(name),
                _ => None,
            },
            _ => None,
        };
        let (message, hint) = match literal {
            None => (
                "AT TIME ZONE takes the name of a zone in quotes".to_owned(),
                "for the clocks of each row: at_zone(ts, zone)".to_owned(),
            ),
            Some(name) if Zone::named(name).is_some() || is_offset(name) => return,
            Some(name) => {
                let hint = suggest::nearest(name, Zone::names()).map_or_else(
                    || {
                        "write a name such as 'Europe/Berlin' or an offset such as '+01:00'"
                            .to_owned()
                    },
                    |near| format!("did you mean '{near}'?"),
                );
                (format!("there is no time zone '{name}'"), hint)
            }
        };
        self.errors
            .push(Diagnostic::error(codes::BAD_EXPRESSION, message).at_option(place).hint(hint));
    }
}

/// Whether a zone is written as in `+01:00`, at most 14 hours from UTC.
fn is_offset(zone: &str) -> bool {
    let Some(rest) = zone.strip_prefix(['+', '-']) else { return false };
    let Some((hours, minutes)) = rest.split_once(':') else { return false };
    let number = |digits: &str| match digits.len() {
        2 if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse::<u8>().ok(),
        _ => None,
    };
    number(hours).is_some_and(|hours| hours <= 14) && number(minutes).is_some_and(|m| m < 60)
}
