//! What the email sink asks of a query: which columns, of which types.

use std::ops::Range;

use arrow_schema::DataType;
use postrider_core::{Diagnostic, suggest, type_name};

/// Who: the stable key of a person.
pub(crate) const RECIPIENT_KEY: &str = "recipient_key";
/// What for: rows with the same key are one send.
pub(crate) const DEDUPE_KEY: &str = "dedupe_key";
/// Where to.
pub(crate) const EMAIL: &str = "email";
/// When the trigger fired, in event time.
pub(crate) const FIRE_TS: &str = "fire_ts";
/// After which moment the mail is worth nothing.
pub(crate) const EXPIRES_AT: &str = "expires_at";
/// Which of several mails matters most.
const PRIORITY: &str = "priority";
/// What the recipient subscribed to.
pub(crate) const TOPIC: &str = "topic";

/// A column, its type or its absence is wrong.
const BAD_COLUMN: &str = "PR0501";

/// A column of the query that feeds the sink.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether the planner can't rule out NULL.
    pub nullable: bool,
    /// Where it stands in the SQL.
    pub range: Option<Range<usize>>,
}

/// Whether a type will do.
type Accepts = fn(&DataType) -> bool;

/// Whether a column is a template variable. The routing columns are too, except for the keys: a template
/// may well print the address, but never an internal key.
pub(crate) fn is_variable(name: &str) -> bool {
    name != RECIPIENT_KEY && name != DEDUPE_KEY
}

/// Checks the columns that have a meaning of their own.
pub(crate) fn check_columns(
    table: &str,
    table_range: &Range<usize>,
    columns: &[SinkColumn],
) -> Vec<Diagnostic> {
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    let missing = |name: &str, hint: &str| {
        let error =
            Diagnostic::error(BAD_COLUMN, format!("email sink `{table}` needs a column `{name}`"));
        let names = columns.iter().map(|column| column.name.as_str());
        let near = columns
            .iter()
            .find(|column| Some(column.name.as_str()) == suggest::nearest(name, names.clone()));
        match near {
            Some(near) => error
                .at_option(near.range.clone().or_else(|| Some(table_range.clone())))
                .hint(format!("is it `{}`? then name it so: .. AS {name}", near.name)),
            None => error.at(table_range.clone()).hint(hint),
        }
    };
    let mut found = Vec::new();
    for (name, hint) in [
        (
            RECIPIENT_KEY,
            "add a stable key of the person to the SELECT, such as `user_id AS recipient_key`",
        ),
        (
            DEDUPE_KEY,
            "add what makes this mail one of a kind, such as `cart_id AS dedupe_key`; rows with the same key are mailed once",
        ),
    ] {
        match find(name) {
            None => found.push(missing(name, hint)),
            Some(column) => {
                found.extend(check_type(column, is_text, "text"));
                if column.nullable {
                    found.push(
                        Diagnostic::error(
                            BAD_COLUMN,
                            format!("column `{name}` of email sink `{table}` may be NULL"),
                        )
                        .at_option(column.range.clone())
                        .hint("build it from NOT NULL columns, or wrap it: COALESCE(.., '')"),
                    );
                }
            }
        }
    }
    match find(EMAIL) {
        None => found.push(missing(
            EMAIL,
            "add the address to the SELECT, such as `max(email) AS email`; there is no profile store to look it up in",
        )),
        Some(column) => found.extend(check_type(column, is_text, "text")),
    }
    let optional: [(&str, Accepts, &str); 4] = [
        (FIRE_TS, is_time, "a timestamp"),
        (EXPIRES_AT, is_time, "a timestamp"),
        (PRIORITY, DataType::is_integer, "an integer"),
        (TOPIC, is_text, "text"),
    ];
    for (name, accepts, wanted) in optional {
        found.extend(find(name).and_then(|column| check_type(column, accepts, wanted)));
    }
    found
}

fn check_type(column: &SinkColumn, accepts: Accepts, wanted: &str) -> Option<Diagnostic> {
    let kind = match &column.data_type {
        DataType::Dictionary(_, value) => value,
        kind => kind,
    };
    (!accepts(kind)).then(|| {
        let name = &column.name;
        Diagnostic::error(
            BAD_COLUMN,
            format!("column `{name}` must be {wanted}, not {}", type_name(kind)),
        )
        .at_option(column.range.clone())
        .hint(match wanted {
            "text" => format!("convert it: CAST(.. AS TEXT) AS {name}"),
            "a timestamp" => format!("convert it: CAST(.. AS TIMESTAMP) AS {name}"),
            _ => format!("convert it: CAST(.. AS INT) AS {name}"),
        })
    })
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_time(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(..))
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, TimeUnit};

    use super::{SinkColumn, check_columns};

    fn column(name: &str, data_type: DataType, nullable: bool) -> SinkColumn {
        SinkColumn { name: name.to_owned(), data_type, nullable, range: Some(7..9) }
    }

    fn messages(columns: &[SinkColumn]) -> Vec<String> {
        check_columns("mails", &(0..5), columns).into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn a_full_row_is_accepted() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert!(
            messages(&[
                column("recipient_key", DataType::Utf8View, false),
                column("dedupe_key", DataType::Utf8, false),
                column("email", DataType::Utf8, true),
                column("fire_ts", time.clone(), true),
                column("expires_at", time, true),
                column("priority", DataType::Int32, true),
                column("topic", DataType::LargeUtf8, true),
                column("anything", DataType::Float64, true),
            ])
            .is_empty()
        );
    }

    #[test]
    fn a_column_of_nearly_the_name_is_asked_about() {
        let columns = [
            column("recipient_key", DataType::Utf8, false),
            column("dedup_key", DataType::Utf8, false),
            column("email", DataType::Utf8, false),
        ];
        let found = check_columns("mails", &(0..5), &columns);
        let [found] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            found.hint.as_deref(),
            Some("is it `dedup_key`? then name it so: .. AS dedupe_key")
        );
        assert_eq!(found.span.as_ref().map(|span| span.range.clone()), Some(7..9));
    }

    #[test]
    fn what_is_missing_or_wrong_is_said_at_its_place() {
        assert_eq!(
            messages(&[
                column("recipient_key", DataType::Int64, false),
                column("dedupe_key", DataType::Utf8, true),
                column("priority", DataType::Utf8, true),
            ]),
            [
                "column `recipient_key` must be text, not BIGINT",
                "column `dedupe_key` of email sink `mails` may be NULL",
                "email sink `mails` needs a column `email`",
                "column `priority` must be an integer, not TEXT",
            ]
        );
    }
}
