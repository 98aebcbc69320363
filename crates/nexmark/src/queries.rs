//! The queries, as SQL.

/// The tables `person`, `auction`, `bid` and `side_input`, as statements of Postrider.
pub const TABLES: &str = include_str!("../queries/tables.sql");

/// A question about the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// `q0` to `q22`. Where the question, as the suite asks it, never has a final answer but one about a day has,
    /// that is a query of its own, such as `q15_by_day`.
    pub name: &'static str,
    /// A SELECT over the streams.
    pub sql: &'static str,
    /// The same for plain DataFusion over all rows.
    pub batch: &'static str,
}

/// A query that is written the same for both, or differently for batch.
macro_rules! query {
    ($name:literal) => {
        query!($name, $name)
    };
    ($name:literal, $batch:literal) => {
        Query {
            name: $name,
            sql: include_str!(concat!("../queries/", $name, ".sql")),
            batch: include_str!(concat!("../queries/", $batch, ".sql")),
        }
    };
}

/// All of them.
pub const QUERIES: [Query; 26] = [
    query!("q0"),
    query!("q1"),
    query!("q2"),
    query!("q3"),
    query!("q4"),
    query!("q5", "q5.batch"),
    query!("q6"),
    query!("q7", "q7.batch"),
    query!("q8", "q8.batch"),
    query!("q9"),
    query!("q10"),
    query!("q11", "q11.batch"),
    query!("q12", "q12.batch"),
    query!("q13"),
    query!("q14"),
    query!("q15"),
    query!("q15_by_day", "q15"),
    query!("q16"),
    query!("q16_by_day", "q16"),
    query!("q17"),
    query!("q17_by_day", "q17"),
    query!("q18"),
    query!("q19"),
    query!("q20"),
    query!("q21"),
    query!("q22"),
];
