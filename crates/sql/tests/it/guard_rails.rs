//! What SQL must not reach: files, engine settings, other catalogues, the build. Neither in a pipeline nor in a query over one.

use postrider_core::{Diagnostics, PipelineName};
use postrider_sql::{plan_program, plan_query, plan_tables};

use crate::cases::SHOP;

/// Statements of DataFusion and Postgres that change or read something, or run text.
const STATEMENTS: [&str; 37] = [
    "COPY events TO '/tmp/events.csv'",
    "COPY (SELECT * FROM events) TO 'out.parquet' STORED AS PARQUET",
    "CREATE EXTERNAL TABLE passwd (line TEXT) STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE UNBOUNDED EXTERNAL TABLE x STORED AS CSV LOCATION 'x'",
    "CREATE SCHEMA secret",
    "CREATE DATABASE secret",
    "CREATE INDEX i ON events (user_id)",
    "CREATE ROLE admin",
    "CREATE SEQUENCE s",
    "CREATE TRIGGER t BEFORE INSERT ON events EXECUTE FUNCTION f()",
    "CREATE EXTENSION plpython3u",
    "CREATE FUNCTION f() RETURNS INT LANGUAGE plpython3u AS 'import os'",
    "DROP TABLE events",
    "DROP VIEW IF EXISTS v",
    "DROP FUNCTION f",
    "TRUNCATE TABLE events",
    "ALTER TABLE events ADD COLUMN x INT",
    "UPDATE events SET price = 0",
    "DELETE FROM events",
    "MERGE INTO out USING events ON out.user_id = events.user_id WHEN MATCHED THEN DELETE",
    "SET datafusion.execution.batch_size = 1",
    "SET search_path = other",
    "RESET ALL",
    "SHOW TABLES",
    "SHOW ALL",
    "DESCRIBE events",
    "EXPLAIN SELECT user_id FROM events",
    "EXPLAIN ANALYZE SELECT user_id FROM events",
    "EXPLAIN COPY events TO 'x'",
    "BEGIN",
    "COMMIT",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "CALL pg_read_file('/etc/passwd')",
    "GRANT ALL ON events TO PUBLIC",
    "DO 'BEGIN END'",
];

/// Relations that are not of the program.
const RELATIONS: [&str; 17] = [
    "'/etc/passwd'",
    "\"/etc/passwd\"",
    "'s3://bucket/key.parquet'",
    "\"file:///etc/passwd\"",
    "\"https://shop.example/x.csv\"",
    "read_csv('/etc/passwd')",
    "read_parquet('x.parquet')",
    "parquet_metadata('x.parquet')",
    "generate_series(1, 1000000000000)",
    "information_schema.tables",
    "information_schema.df_settings",
    "pg_catalog.pg_tables",
    "datafusion.public.events",
    "public.events",
    "other.events",
    "a.b.c.events",
    "__table_function__",
];

/// Calls that tell about the machine or the build, or that a replay could not repeat.
const CALLS: [&str; 12] = [
    "version()",
    "input_file_name()",
    "arrow_metadata(user_id, 'x')",
    "random()",
    "uuid()",
    "pg_read_file('/etc/passwd')",
    "current_setting('x')",
    "current_user()",
    "current_database()",
    "getenv('HOME')",
    "load_extension('x')",
    "pg_sleep(10)",
];

fn refused<T>(what: &str, planned: Result<T, Diagnostics>) {
    assert!(planned.is_err(), "`{what}` is planned");
    let Err(errors) = planned else { return };
    for error in &errors.0 {
        assert!(error.code != "PR0199", "`{what}` crashes the planner: {errors}");
        let text = format!("{} {}", error.message, error.hint.as_deref().unwrap_or_default());
        for leak in ["datafusion::", ".cargo", ".rs:", "panicked"] {
            assert!(
                what.contains(leak) || !text.contains(leak),
                "`{what}` tells of {leak}: {text}"
            );
        }
    }
}

fn name() -> PipelineName {
    PipelineName("guarded".to_owned())
}

#[test]
fn a_pipeline_has_no_other_statements() {
    for statement in STATEMENTS {
        refused(statement, plan_program(&format!("{SHOP}{statement};"), name()));
        let behind = format!("{SHOP}SELECT user_id FROM events; {statement}");
        refused(&behind, plan_program(&behind, name()));
    }
}

#[test]
fn a_query_over_a_pipeline_is_one_select() {
    let program = plan_tables(SHOP, name()).unwrap();
    for statement in STATEMENTS {
        refused(statement, plan_query(statement, &program));
        let behind = format!("SELECT user_id FROM events; {statement}");
        refused(&behind, plan_query(&behind, &program));
    }
    for statement in ["INSERT INTO out SELECT user_id, 1, ts FROM events", "CREATE TABLE x (a INT)"]
    {
        refused(statement, plan_query(statement, &program));
    }
    let recursive =
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r";
    refused(recursive, plan_query(recursive, &program));
}

#[test]
fn names_end_at_the_program() {
    let program = plan_tables(SHOP, name()).unwrap();
    for relation in RELATIONS {
        for query in [
            format!("SELECT * FROM {relation}"),
            format!("SELECT e.user_id FROM events e WHERE EXISTS (SELECT 1 FROM {relation} AS x)"),
            format!("WITH c AS (SELECT * FROM {relation}) SELECT * FROM c"),
        ] {
            refused(&query, plan_program(&format!("{SHOP}{query};"), name()));
            refused(&query, plan_query(&query, &program));
        }
    }
}

#[test]
fn no_call_tells_about_the_machine() {
    let program = plan_tables(SHOP, name()).unwrap();
    for call in CALLS {
        let query = format!("SELECT user_id, {call} AS x FROM events");
        refused(&query, plan_program(&format!("{SHOP}{query};"), name()));
        // A query that runs once may roll dice.
        if !matches!(call, "random()" | "uuid()") {
            refused(&query, plan_query(&query, &program));
        }
    }
}
