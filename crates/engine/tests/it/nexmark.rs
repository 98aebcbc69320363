//! The queries of Nexmark against plain DataFusion in batch over the same events, as multisets.
//!
//! `POSTRIDER_NEXMARK_EVENTS` sets how many events there are, `POSTRIDER_NEXMARK_SEED` which.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use arrow_json::ReaderBuilder;
use datafusion::{datasource::MemTable, execution::context::SessionContext};
use postrider_core::PipelineName;
use postrider_nexmark::{QUERIES, Query, TABLES, Workload, side_input};

use crate::harness::{Tables, plan, run, texts};

const SECOND: i64 = 1_000_000_000;
/// A query on streams that is not there yet, and what planning it says.
const REFUSED: [(&str, &str); 4] =
    [("q6", "PR0416"), ("q9", "PR0416"), ("q18", "PR0416"), ("q19", "PR0416")];
/// Those whose rows change: what is left of the changes is compared.
const CHANGING: [&str; 4] = ["q4", "q15", "q16", "q17"];
/// The document that tells people about them.
const DOCUMENT: &str = include_str!("../../../../docs/nexmark.md");

fn refusal(query: &Query) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == query.name).map(|(_, code)| *code)
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// Some 50 seconds around midnight.
fn around_midnight(seed: u64) -> Workload {
    Workload {
        seed: number("POSTRIDER_NEXMARK_SEED", seed),
        events: number("POSTRIDER_NEXMARK_EVENTS", 5_000),
        start_ns: 1_767_225_580 * SECOND,
        step_ns: SECOND / 100,
        disorder_ns: 4 * SECOND,
    }
}

/// The same number of events in some four hours of a morning, few to a window.
fn in_the_morning(seed: u64) -> Workload {
    let start_ns = (1_767_225_600 + 4 * 3_600) * SECOND;
    Workload { start_ns, step_ns: 3 * SECOND, ..around_midnight(seed) }
}

/// The rows of all four tables, in the order in which they arrive.
fn tables(workload: Workload) -> BTreeMap<String, RecordBatch> {
    let mut lines = BTreeMap::from([("side_input", side_input().collect::<Vec<_>>())]);
    for event in workload.events() {
        lines.entry(event.table()).or_default().push(event.line().unwrap());
    }
    let program = plan(&program(&QUERIES[0]));
    let rows = |(name, lines): (&str, Vec<String>)| {
        let schema = program.tables[name].schema();
        let reader = ReaderBuilder::new(schema).with_batch_size(lines.len());
        let text = lines.join("\n");
        let mut rows = reader.build(text.as_bytes()).unwrap();
        (name.to_owned(), rows.next().unwrap().unwrap())
    };
    lines.into_iter().map(rows).collect()
}

fn program(query: &Query) -> String {
    let results = "CREATE TABLE results WITH (connector = 'blackhole');";
    format!("{TABLES}\n{results}\nINSERT INTO results\n{};", query.sql)
}

fn streamed(query: &Query, tables: &Tables, shards: usize) -> Vec<String> {
    let (summary, mut written) = run(&program(query), tables.clone(), shards);
    assert_eq!(summary.late_rows, 0, "{}", query.name);
    let rows = written.remove("results").unwrap_or_default();
    if CHANGING.contains(&query.name) { left_of(&rows) } else { rows }
}

/// The rows that are left of changes, each with its kind in front, sorted.
fn left_of(changes: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, i64> = BTreeMap::new();
    for change in changes {
        let (kind, row) = change.split_once(" | ").unwrap();
        *left.entry(row).or_default() += match kind {
            "+I" | "+U" => 1,
            "-U" | "-D" => -1,
            other => panic!("{other} is no kind of {row}"),
        };
    }
    left.retain(|_, count| *count != 0);
    assert!(left.values().all(|count| *count > 0), "{left:?}");
    left.iter().flat_map(|(row, count)| vec![(*row).to_owned(); *count as usize]).collect()
}

fn batch(query: &Query, tables: &Tables) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        for (name, rows) in &tables.sources {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
            context.register_table(name.as_str(), Arc::new(table)).unwrap();
        }
        let rows = context.sql(query.batch).await;
        let rows = rows.unwrap_or_else(|error| panic!("{}: {error}", query.name));
        texts(&rows.collect().await.unwrap())
    })
}

/// Runs every query that is there, and the batch side of the others.
fn compare(workload: Workload, shards: usize, chunk_rows: u64) {
    let tables = Tables { sources: tables(workload), chunk_rows, ..Tables::default() };
    for query in &QUERIES {
        let expected = batch(query, &tables);
        assert!(!expected.is_empty(), "{} proves nothing: it has no rows", query.name);
        if refusal(query).is_none() {
            let rows = streamed(query, &tables, shards);
            let differs = rows.iter().zip(&expected).find(|(row, expected)| row != expected);
            let counts = (rows.len(), expected.len());
            assert!(rows == expected, "{}: rows {counts:?}, {differs:?}", query.name);
        }
    }
}

#[test]
fn results_on_one_shard_are_what_batch_says() {
    compare(around_midnight(1), 1, 97);
}

#[test]
fn results_on_two_shards_are_what_batch_says() {
    compare(in_the_morning(2), 2, 500);
}

#[test]
fn results_on_three_shards_are_what_batch_says() {
    compare(around_midnight(3), 3, 64);
}

#[test]
fn what_is_not_there_is_refused_and_nothing_else() {
    for query in &QUERIES {
        let planned = postrider_sql::plan_program(&program(query), PipelineName("test".to_owned()));
        let codes = planned.err().map(|errors| {
            let mut codes: Vec<_> = errors.0.iter().map(|error| error.code).collect();
            codes.dedup();
            codes
        });
        let expected = refusal(query).map(|code| vec![code]);
        // One that is taken by now loses its line above, and `compare` has it from then on.
        assert_eq!(codes, expected, "{}", query.name);
    }
}

#[test]
fn each_query_is_in_the_document_with_its_refusal() {
    for query in &QUERIES {
        let start = format!("| {} |", query.name);
        let line = DOCUMENT.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("docs/nexmark.md has no line for {}", query.name));
        let told =
            refusal(query).map_or_else(|| "equal".to_owned(), |code| format!("refused, {code}"));
        assert!(line.ends_with(&format!("| {told} |")), "{line}");
    }
    let names = |name: &str| QUERIES.iter().any(|query| query.name == name);
    assert!(REFUSED.iter().all(|(name, _)| names(name)));
    assert!((0..=22).all(|number| names(&format!("q{number}"))));
}
