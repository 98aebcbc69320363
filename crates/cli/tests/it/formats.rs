//! Files of other formats, from a table to rows.

use std::{collections::BTreeMap, fs, process::Command};

use crate::process::{json_lines, postrider, run, run_pipeline, write};

const CSV: &str = "order_id,customer,at,total,note\n\
    1,ada,2026-11-24T09:00:00Z,19.90,\"gift, wrapped\"\n\
    2,ben,2026-11-24T09:00:30Z,5.00,\n\
    3,cid,soon,1.00,\n\
    4,ada,2026-11-24T09:05:00Z,10.10,\n";

#[test]
fn orders_of_a_csv_file_are_summed_and_a_bad_one_is_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "orders.csv", CSV);
    let sql = "CREATE TABLE orders (
          customer TEXT NOT NULL, total DECIMAL(10, 2) NOT NULL, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at
        ) WITH (connector = 'single_file', path = 'orders.csv', format = 'csv');
        CREATE TABLE totals WITH (connector = 'single_file', path = 'totals.ndjson');
        INSERT INTO totals
        SELECT customer, CAST(sum(total) AS TEXT) AS spent, count(*) AS orders
        FROM orders GROUP BY customer, tumble(INTERVAL '1 hour');";
    let file = write(dir.path(), "shop.sql", sql);
    run(run_pipeline(&file, &dir.path().join("state"))).ok();
    let mut totals = json_lines(&fs::read_to_string(dir.path().join("totals.ndjson")).unwrap());
    totals.sort_by_key(|row| row["customer"].to_string());
    let said: Vec<_> = totals.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            r#"{"customer":"ada","orders":2,"spent":"30.00"}"#,
            r#"{"customer":"ben","orders":1,"spent":"5.00"}"#
        ]
    );
    let letters = dir.path().join("state/dead_letters/shop.dead-letters.ndjson");
    let letters = json_lines(&fs::read_to_string(letters).unwrap());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["message"], "column `at` is TIMESTAMP, which can't hold soon");
}

#[test]
fn customers_of_a_csv_file_are_looked_up_on_every_number_of_shards() {
    let dir = tempfile::tempdir().unwrap();
    let customers: String = (0..2_000).map(|n| format!("{n},c{n}@shop.com\n")).collect();
    write(dir.path(), "customers.csv", &format!("id,email\n{customers}7,new@shop.com\n"));
    let orders: String = (0..5_000)
        .map(|n| {
            format!("{{\"id\":{n},\"customer\":{},\"at\":\"2026-11-24T09:00:00Z\"}}\n", n % 2_500)
        })
        .collect();
    write(dir.path(), "orders.ndjson", &orders);
    let sql = "CREATE TABLE orders (id BIGINT NOT NULL, customer BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at AS at)
          WITH (connector = 'single_file', path = 'orders.ndjson');
        CREATE TABLE customers (id BIGINT PRIMARY KEY, email TEXT) WITH (connector = 'single_file', path = 'customers.csv', format = 'csv');
        CREATE TABLE out WITH (connector = 'single_file', path = 'out.ndjson');
        INSERT INTO out SELECT o.id, c.email FROM orders o LEFT JOIN customers c ON c.id = o.customer;";
    let file = write(dir.path(), "shop.sql", sql);
    for shards in ["1", "3"] {
        let mut command = run_pipeline(&file, &dir.path().join(shards));
        command.args(["--parallelism", shards]);
        run(command).ok();
        let rows = json_lines(&fs::read_to_string(dir.path().join("out.ndjson")).unwrap());
        assert_eq!(rows.len(), 5_000);
        for row in rows {
            let customer = row["id"].as_u64().unwrap() % 2_500;
            let email = match customer {
                7 => "new@shop.com".to_owned(),
                known if known < 2_000 => format!("c{known}@shop.com"),
                _ => "null".to_owned(),
            };
            assert_eq!(row["email"].as_str().unwrap_or("null"), email, "{row}");
        }
        fs::remove_file(dir.path().join("out.ndjson")).unwrap();
    }
}

#[test]
fn a_table_that_does_not_fit_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let prices: String = (0..1_000).map(|n| format!("sku-{n},{n}\n")).collect();
    write(dir.path(), "prices.csv", &format!("sku,price\n{prices}"));
    write(dir.path(), "orders.ndjson", "{\"sku\":\"sku-1\"}\n");
    let sql = "CREATE TABLE orders (sku TEXT) WITH (connector = 'single_file', path = 'orders.ndjson');
        CREATE TEMPORARY TABLE prices (sku TEXT PRIMARY KEY, price BIGINT)
          WITH (connector = 'single_file', path = 'prices.csv', format = 'csv', max_lookup_bytes = 10000);
        SELECT p.price FROM orders o JOIN prices p USING (sku);";
    let file = write(dir.path(), "shop.sql", sql);
    let mut command = postrider(["run"]);
    command.arg(&file);
    let said = run(command).fails_with(1);
    assert!(said.contains("`prices` takes more than 10000 bytes on one shard"), "{said}");
    assert!(said.contains("raise its option max_lookup_bytes"), "{said}");
    let endless = sql.replace(
        "'single_file', path = 'prices.csv', format = 'csv', max_lookup_bytes = 10000",
        "'generator'",
    );
    let mut command = postrider(["run"]);
    command.arg(write(dir.path(), "endless.sql", &endless));
    assert!(run(command).fails_with(2).contains("PR0436"));
}

#[test]
fn lines_are_texts() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "access.log", "GET /a 200\nGET /b 500\n");
    let sql = "CREATE TABLE log (value TEXT NOT NULL)
          WITH (connector = 'single_file', path = 'access.log', format = 'raw_string');
        SELECT value FROM log WHERE value LIKE '% 500';";
    let file = write(dir.path(), "p.sql", sql);
    let mut command = postrider(["run"]);
    command.arg(&file);
    assert_eq!(run(command).ok(), "{\"value\":\"GET /b 500\"}\n");
}

#[test]
fn what_is_written_as_csv_and_lines_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let orders = "\
        {\"id\": 1, \"note\": \"a, \\\"b\\\"\", \"at\": \"2026-11-24T10:00:00+01:00\", \"total\": 19.9}\n\
        {\"id\": 2, \"note\": \"\", \"at\": 1795514400500}\n\
        {\"id\": 3, \"at\": \"2026-11-24T10:00:01Z\", \"total\": -0.5}\n";
    write(dir.path(), "orders.ndjson", orders);
    let table = "(id BIGINT NOT NULL, note TEXT, at TIMESTAMPTZ NOT NULL, total DECIMAL(10, 2))";
    let sql = format!(
        "CREATE TABLE orders {table} WITH (connector = 'single_file', path = 'orders.ndjson');
         CREATE TABLE out WITH (connector = 'single_file', path = 'out.csv', format = 'csv');
         INSERT INTO out SELECT * FROM orders;
         CREATE TABLE parts {table} WITH (connector = 'filesystem', path = 'parts', format = 'csv', target_file_size = 1);
         INSERT INTO parts SELECT * FROM orders;
         CREATE TABLE lines WITH (connector = 'single_file', path = 'lines.txt', format = 'raw_string');
         INSERT INTO lines SELECT concat(id, ' ', note) AS line FROM orders;
         CREATE TABLE millis WITH (connector = 'single_file', path = 'm.ndjson', 'json.timestamp_format' = 'unix_millis');
         INSERT INTO millis SELECT id, at - INTERVAL '1 microsecond' AS at FROM orders;"
    );
    let file = write(dir.path(), "shop.sql", &sql);
    run(run_pipeline(&file, &dir.path().join("state"))).ok();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let csv = "id,note,at,total\n\
        1,\"a, \"\"b\"\"\",2026-11-24T09:00:00Z,19.90\n\
        2,\"\",2026-11-24T10:00:00.500Z,\n\
        3,,2026-11-24T10:00:01Z,-0.50\n";
    assert_eq!(read("out.csv"), csv);
    assert_eq!(read("parts/part-00000000000000000000.csv"), csv);
    assert_eq!(read("lines.txt"), "1 a, \"b\"\n2 \n3 \n");
    let millis = "{\"id\":1,\"at\":1795510799999}\n{\"id\":2,\"at\":1795514400499}\n{\"id\":3,\"at\":1795514400999}\n";
    assert_eq!(read("m.ndjson"), millis);
    let back = format!(
        "CREATE TABLE out {table} WITH (connector = 'filesystem', path = 'parts', format = 'csv', pattern = '*.csv');
         SELECT id, note, at, total FROM out;"
    );
    let file = write(dir.path(), "back.sql", &back);
    let mut command = postrider(["run"]);
    command.arg(&file);
    let rows = "{\"id\":1,\"note\":\"a, \\\"b\\\"\",\"at\":\"2026-11-24T09:00:00Z\",\"total\":19.90}\n\
        {\"id\":2,\"at\":\"2026-11-24T10:00:00.500Z\"}\n\
        {\"id\":3,\"at\":\"2026-11-24T10:00:01Z\",\"total\":-0.50}\n";
    assert_eq!(run(command).ok(), rows);
}

/// What is left of a file of changes, by its key.
fn left(changes: &str) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for change in json_lines(changes) {
        if let Some(before) = change.get("before") {
            assert_eq!(rows.remove(&before["customer"].to_string()), Some(before.to_string()));
        }
        if let Some(after) = change.get("after") {
            assert_eq!(rows.insert(after["customer"].to_string(), after.to_string()), None);
        }
    }
    rows
}

#[test]
fn changes_that_are_written_are_the_same_table_when_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let orders = (0..500).map(|order| {
        format!("{{\"customer\": \"c{}\", \"amount\": {}}}\n", order * order % 23, order % 7)
    });
    write(dir.path(), "orders.ndjson", &orders.collect::<String>());
    let first = "CREATE TABLE orders (customer TEXT NOT NULL, amount BIGINT NOT NULL) WITH (connector = 'single_file', path = 'orders.ndjson');
         CREATE TABLE totals WITH (connector = 'single_file', path = 'totals.ndjson', format = 'debezium_json');
         INSERT INTO totals SELECT customer, count(*) AS n, sum(amount) AS total FROM orders GROUP BY customer;";
    let file = write(dir.path(), "first.sql", first);
    run(run_pipeline(&file, &dir.path().join("first"))).ok();
    let second = "CREATE TABLE totals (customer TEXT PRIMARY KEY, n BIGINT NOT NULL, total BIGINT) WITH (connector = 'single_file', path = 'totals.ndjson', format = 'debezium_json');
         CREATE TABLE copy WITH (connector = 'single_file', path = 'copy.ndjson', format = 'debezium_json');
         INSERT INTO copy SELECT * FROM totals;
         CREATE TABLE all_of_them WITH (connector = 'single_file', path = 'all.ndjson', format = 'debezium_json');
         INSERT INTO all_of_them SELECT count(*) AS customers, sum(n) AS orders, sum(total) AS total FROM totals;";
    let file = write(dir.path(), "second.sql", second);
    run(run_pipeline(&file, &dir.path().join("second"))).ok();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let (totals, copy) = (read("totals.ndjson"), read("copy.ndjson"));
    assert_eq!(left(&totals), left(&copy));
    assert_eq!(totals, copy);
    let all = json_lines(&read("all.ndjson")).pop().unwrap();
    let customers = left(&totals).len();
    assert!(customers > 5);
    assert_eq!(all["after"]["customers"], customers);
    assert_eq!((&all["after"]["orders"], &all["after"]["total"]), (&500.into(), &1494.into()));
    let mut query = postrider(["query", "SELECT * FROM totals", "--file"]);
    query.arg(&file);
    let refused = run(query).fails_with(2);
    assert!(refused.contains("PR0213"), "{refused}");
}

fn check(sql: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "p.sql", sql);
    let mut command: Command = postrider(["check"]);
    command.arg(file);
    run(command).fails_with(2)
}

#[test]
fn formats_that_a_table_can_not_have_are_refused() {
    let written = check(
        "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 5);
         CREATE TABLE out WITH (connector = 'single_file', path = 'o', format = 'parquet'); INSERT INTO out SELECT n FROM g;",
    );
    assert!(written.contains("format 'parquet' can be read, but not written"), "{written}");
    assert!(written.contains("write 'csv' or 'json'"), "{written}");
    let written = check(
        "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 5);
         CREATE TABLE out WITH (connector = 'stdout', format = 'csv'); INSERT INTO out SELECT n FROM g;",
    );
    assert!(written.contains("connector 'stdout' has no format 'csv'"), "{written}");
    let nested = check(
        "CREATE TABLE g (n BIGINT NOT NULL) WITH (connector = 'generator', rows = 5);
         CREATE TABLE out WITH (connector = 'single_file', path = 'o', format = 'csv'); INSERT INTO out SELECT n, [n] AS l FROM g;
         CREATE TABLE lines WITH (connector = 'single_file', path = 'l', format = 'raw_string'); INSERT INTO lines SELECT n FROM g;",
    );
    assert!(nested.contains("column `l` is a list of BIGINT, which CSV can't hold"), "{nested}");
    assert!(nested.contains("format 'raw_string' fills one TEXT column"), "{nested}");
    let unstructured = check(
        "CREATE TABLE e (value JSON, more TEXT) WITH (connector = 'collector', 'json.unstructured' = 'true'); SELECT value, more FROM e;",
    );
    assert!(unstructured.contains("'json.unstructured' fills one JSON column"), "{unstructured}");
    let option = check(
        "CREATE TABLE e (value JSON) WITH (connector = 'collector', 'json.schema' = 'true', 'json.timestamp_format' = 'seconds'); SELECT value FROM e;",
    );
    assert!(option.contains("one of: RFC3339, unix_millis"), "{option}");
    let option = check(
        "CREATE TABLE e (value JSON) WITH (connector = 'collector', 'json.schema' = 'true'); SELECT value FROM e;",
    );
    assert!(option.contains("json.timestamp_format, json.unstructured"), "{option}");
    let collector = check(
        "CREATE TABLE c (n BIGINT NOT NULL) WITH (connector = 'collector', format = 'csv'); SELECT n FROM c;",
    );
    assert!(collector.contains("connector 'collector' has no format 'csv'"), "{collector}");
    let unknown = check(
        "CREATE TABLE c (n BIGINT NOT NULL) WITH (connector = 'single_file', path = 'x', format = 'xml'); SELECT n FROM c;",
    );
    assert!(unknown.contains("one of: json, csv, raw_string, parquet"), "{unknown}");
}
