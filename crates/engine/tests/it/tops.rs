//! The first rows of each key against plain DataFusion in batch over the same rows: what is left of the changes is what batch says,
//! through deaths and on another number of shards.
//!
//! Orders end with all columns, since batch breaks ties as it likes. `POSTRIDER_CASES` sets how many cases each property runs.

use proptest::{prelude::*, sample::select};

use crate::{
    changes::collapsed,
    changing_joins::{batch, cases, side, streamed},
    harness::{cases_of, texts},
};

const KEYS: [&str; 4] = ["PARTITION BY k", "PARTITION BY s", "PARTITION BY k, v % 2", ""];
const ORDERS: [&str; 4] = [
    "v DESC, k, s",
    "v NULLS FIRST, s DESC, k DESC",
    "s, v % 3 DESC NULLS LAST, v, k",
    "length(k) + v DESC, k DESC, v, s",
];
const LIMITS: [&str; 5] = ["n <= 1", "n = 1", "n < 4", "n <= 3 AND v > 0", "n = 2"];

/// The columns `k`, `v`, `s` and perhaps the number `n`.
fn firsts() -> impl Strategy<Value = String> {
    let columns = select(&["k, v, s", "k, v, s, n"][..]);
    (side("l"), select(&KEYS[..]), select(&ORDERS[..]), select(&LIMITS[..]), columns).prop_map(
        |(rows, key, order, limit, columns)| {
            format!(
                "SELECT {columns} FROM (SELECT k, v, s, row_number() OVER ({key} ORDER BY {order}) AS n FROM ({rows}) a) b WHERE {limit}"
            )
        },
    )
}

fn queries() -> impl Strategy<Value = String> {
    let qualified = (side("l"), select(&ORDERS[..])).prop_map(|(rows, order)| {
        format!("SELECT v, s FROM ({rows}) a QUALIFY row_number() OVER (PARTITION BY k ORDER BY {order}) <= 2")
    });
    let distinct = side("l").prop_map(|rows| {
        format!("SELECT DISTINCT ON (k) k, v + 1 AS w, s FROM ({rows}) a ORDER BY k, v DESC NULLS LAST, s")
    });
    let counted = firsts().prop_map(|firsts| {
        format!("SELECT s, count(*) AS c, sum(v) AS t, min(k) AS m FROM ({firsts}) c GROUP BY s")
    });
    let joined = (firsts(), side("r")).prop_map(|(firsts, rows)| {
        format!("SELECT a.k, a.v, b.s FROM ({firsts}) a LEFT JOIN ({rows}) b ON a.k = b.k")
    });
    prop_oneof![5 => firsts(), 1 => qualified, 1 => distinct, 1 => counted, 1 => joined]
}

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn what_is_left_of_the_first_rows_is_what_batch_says(query in queries(), case in cases()) {
        let changes = streamed(&query, &case);
        prop_assert_eq!(collapsed(&changes), batch(&query, &case), "{}", query);
        // The changes are a function of the log: lives and shards don't show in them.
        let whole = streamed(&query, &case.in_one_life());
        prop_assert_eq!(texts(&changes), texts(&whole), "{}", query);
    }
}
