//! `unnest` over streams against plain DataFusion in batch over the same rows, as multisets.
//!
//! `POSTRIDER_CASES` sets how many cases each property runs.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringBuilder, StructBuilder,
        TimestampNanosecondArray,
    },
    datatypes::{DataType, Field, Fields},
};
use datafusion::{datasource::MemTable, execution::context::SessionContext};
use proptest::prelude::*;

use crate::harness::{Tables, cases_of, run, texts};

const SECOND: i64 = 1_000_000_000;

/// The name and the price of an item.
type Item = (Option<u8>, Option<i64>);

#[derive(Debug, Clone)]
struct Row {
    ts: i64,
    tags: Option<Vec<Option<u8>>>,
    items: Option<Vec<Option<Item>>>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let list = |item| prop::option::weighted(0.8, prop::collection::vec(item, 0..5));
    let tags = list(prop::option::weighted(0.8, 0..4_u8).boxed());
    let item = (prop::option::weighted(0.8, 0..3_u8), prop::option::weighted(0.8, -5..5_i64));
    let item = prop::option::weighted(0.9, item);
    let items = prop::option::weighted(0.8, prop::collection::vec(item, 0..4));
    let row = (0..40_i64, tags, items);
    let row = row.prop_map(|(at, tags, items)| Row { ts: at * SECOND, tags, items });
    prop::collection::vec(row, 0..40)
}

fn tags(rows: &[Row]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        for tag in row.tags.iter().flatten() {
            lists.values().append_option(tag.map(|tag| format!("t{tag}")));
        }
        lists.append(row.tags.is_some());
    }
    Arc::new(lists.finish())
}

fn items(rows: &[Row]) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("sku", DataType::Utf8, true),
        Field::new("price", DataType::Int64, true),
    ]);
    let mut lists = ListBuilder::new(StructBuilder::from_fields(fields, 0));
    for row in rows {
        for item in row.items.iter().flatten() {
            let item_of = lists.values();
            let (sku, price) = item.unwrap_or_default();
            let sku = sku.map(|sku| format!("s{sku}"));
            item_of.field_builder::<StringBuilder>(0).unwrap().append_option(sku);
            item_of.field_builder::<Int64Builder>(1).unwrap().append_option(price);
            item_of.append(item.is_some());
        }
        lists.append(row.items.is_some());
    }
    Arc::new(lists.finish())
}

/// The rows in the order of their times, so that none is late.
fn table(rows: &[Row]) -> RecordBatch {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.ts);
    let times = rows.iter().map(|row| row.ts);
    let ids = 0..rows.len() as i64;
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids)), false),
        ("tags", tags(&rows), true),
        ("items", items(&rows), true),
        ("ts", Arc::new(TimestampNanosecondArray::from_iter_values(times)), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[derive(Debug, Clone)]
struct Case {
    rows: Vec<Row>,
    chunk_rows: u64,
    shards: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    (rows(), 1..9_u64, 1..4_usize).prop_map(|(rows, chunk_rows, shards)| Case {
        rows,
        chunk_rows,
        shards,
    })
}

fn streamed(query: &str, case: &Case) -> Vec<String> {
    let sql = format!(
        "CREATE TABLE t (id BIGINT NOT NULL, tags TEXT[], items STRUCT<sku TEXT, price BIGINT>[], ts TIMESTAMP NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'generator', rows = 1);
         CREATE TABLE o WITH (connector = 'blackhole'); INSERT INTO o {query};"
    );
    let sources = BTreeMap::from([("t".to_owned(), table(&case.rows))]);
    let tables = Tables { sources, chunk_rows: case.chunk_rows, ..Tables::default() };
    let (summary, mut written) = run(&sql, tables, case.shards);
    assert_eq!(summary.late_rows, 0);
    written.remove("o").unwrap_or_default()
}

fn batch(query: &str, case: &Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let context = SessionContext::new();
        let rows = table(&case.rows);
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        texts(&context.sql(query).await.unwrap().collect().await.unwrap())
    })
}

/// Both give the same for their own way to say it.
fn check(stream: &str, in_batch: &str, case: &Case) -> Result<(), TestCaseError> {
    prop_assert_eq!(streamed(stream, case), batch(in_batch, case), "{}", stream);
    Ok(())
}

proptest! {
    #![proptest_config(cases_of(100))]

    #[test]
    fn items_in_a_select_are_what_batch_says(case in cases()) {
        for query in [
            "SELECT id, unnest(tags) AS tag, ts FROM t",
            "SELECT id, item['sku'] AS sku, item, items FROM (SELECT *, unnest(items) AS item FROM t) WHERE item['price'] > -2 AND id > 1",
            "SELECT tag, unnest(items)['price'] * 2 AS p FROM (SELECT unnest(tags) AS tag, items FROM t) WHERE tag <> 't1'",
            "SELECT id, unnest(unnest([tags, ['a', 'b'], NULL, tags])) AS tag FROM t",
            "SELECT unnest(array_append(tags, 'z')) AS tag, upper(unnest(array_append(tags, 'z'))) AS up FROM t",
        ] {
            check(query, query, &case)?;
        }
    }

    #[test]
    fn items_in_from_are_what_batch_says(case in cases()) {
        check(
            "SELECT o.id, i.sku, i.price, tag FROM t AS o, UNNEST(o.items) AS i CROSS JOIN UNNEST(o.tags) AS tag WHERE i.price > 0 OR tag = 't2'",
            "SELECT id, i['sku'], i['price'], tag FROM (SELECT id, i, unnest(tags) AS tag FROM (SELECT id, tags, unnest(items) AS i FROM t))
             WHERE i['price'] > 0 OR tag = 't2'",
            &case,
        )?;
        check(
            "SELECT id, n.tag, ts FROM t LEFT JOIN UNNEST(tags) AS n(tag) ON true",
            "SELECT id, unnest(CASE WHEN array_length(tags) > 0 THEN tags ELSE [NULL] END) AS tag, ts FROM t",
            &case,
        )?;
    }

    #[test]
    fn windows_and_joins_over_items_are_what_batch_says(case in cases()) {
        check(
            "SELECT tag, w.start, count(*) AS n FROM (
               SELECT n.tag, tumble(INTERVAL '10 seconds') AS w FROM t CROSS JOIN UNNEST(tags) AS n(tag) GROUP BY n.tag, w, id) GROUP BY tag, w",
            "SELECT tag, s, count(*) AS n FROM (
               SELECT tag, s FROM (SELECT id, unnest(tags) AS tag, date_bin(INTERVAL '10 seconds', ts) AS s FROM t) GROUP BY tag, s, id) GROUP BY tag, s",
            &case,
        )?;
        check(
            "SELECT a.id, b.id AS other, a.tag FROM (SELECT id, unnest(tags) AS tag, ts FROM t) a JOIN (SELECT id, items[1].sku AS sku, unnest(tags) AS tag, ts FROM t) b
             ON a.tag = b.tag AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '5 seconds'",
            "SELECT a.id, b.id AS other, a.tag FROM (SELECT id, unnest(tags) AS tag, ts FROM t) a JOIN (SELECT id, unnest(tags) AS tag, ts FROM t) b
             ON a.tag = b.tag AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '5 seconds'",
            &case,
        )?;
    }
}
