//! Golden cases: `cases/*.txt` hold a title, a program, and what comes out of it.
//!
//! Run with `POSTRIDER_BLESS=1` to write what comes out into the files; read the diff.

use std::{fmt::Write, fs, path::PathBuf};

use postrider_core::{Diagnostic, PipelineName};
use postrider_plan::{Program, SinkTarget};
use postrider_sql::{Engine, check_portability, plan_program, plan_query};

/// Tables for cases that start with `-- with shop`.
pub(crate) const SHOP: &str = "\
CREATE TABLE events (
  user_id TEXT NOT NULL, event TEXT NOT NULL, cart_id TEXT, price DOUBLE, quantity INT,
  tags TEXT[], item STRUCT<sku TEXT, weight DOUBLE>, ms BIGINT NOT NULL, ts TIMESTAMP NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'collector', stream = 'shop');
CREATE TABLE orders (
  user_id TEXT NOT NULL, total DOUBLE NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts
) WITH (connector = 'single_file', path = 'orders.ndjson');
CREATE TABLE rates (code TEXT NOT NULL, rate DOUBLE) WITH (connector = 'single_file', path = 'r');
CREATE TABLE browser (email TEXT NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts)
  WITH (connector = 'collector', accept = 'any');
CREATE TABLE mail WITH (connector = 'email', subject = 'Hi');
CREATE TABLE out (user_id TEXT NOT NULL, n BIGINT, at TIMESTAMP) WITH (connector = 'stdout');
";

fn expand(sql: &str) -> String {
    match sql.strip_prefix("-- with shop\n") {
        Some(rest) => format!("{SHOP}{rest}"),
        None => sql.to_owned(),
    }
}

pub(crate) fn plan(sql: &str) -> Result<Program, Vec<Diagnostic>> {
    plan_program(sql, PipelineName("test".to_owned())).map_err(|errors| errors.0)
}

fn describe(diagnostics: &[Diagnostic], sql: &str) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let slice = diagnostic.span.as_ref().map_or("(nowhere)", |span| &sql[span.range.clone()]);
        let hint = diagnostic.hint.as_deref().unwrap_or("(none)");
        writeln!(text, "{} {}", diagnostic.code, diagnostic.message).unwrap();
        writeln!(text, "  at: {}", slice.replace('\n', " ")).unwrap();
        writeln!(text, "  hint: {hint}").unwrap();
    }
    text
}

fn show(program: &Program, sql: &str) -> String {
    let mut text = String::new();
    for query in &program.queries {
        let sink = match &query.sink {
            SinkTarget::Print => "print".to_owned(),
            SinkTarget::Table(table) => table.name.clone(),
        };
        let fields = query.plan.schema().fields().iter().map(|field| {
            let null = if field.is_nullable() { "" } else { " not null" };
            let data_type = match field.data_type().to_string() {
                name if name.starts_with("Struct") => "Struct".to_owned(),
                name => name,
            };
            format!("{} {data_type}{null}", field.name())
        });
        writeln!(text, "{sink} <- {}", fields.collect::<Vec<_>>().join(", ")).unwrap();
        writeln!(text, "{}", query.plan.display_indent()).unwrap();
    }
    let warnings: Vec<_> = program
        .warnings
        .iter()
        .filter(|warning| !(warning.code == "PR0209" && sql.starts_with(SHOP)))
        .cloned()
        .collect();
    text + &describe(&warnings, sql)
}

fn outcome(sql: &str) -> String {
    // A case may end with a bounded query over the program.
    let (program, query) = match sql.split_once("-- then query\n") {
        Some((program, query)) => (expand(program), Some(query)),
        None => (expand(sql), None),
    };
    let planned = match plan(&program) {
        Ok(planned) => planned,
        Err(errors) => return describe(&errors, &program),
    };
    let Some(query) = query else { return show(&planned, &program) };
    match plan_query(query, &planned) {
        Ok(plan) => format!("{}\n", plan.display_indent()),
        Err(errors) => describe(&errors.0, query),
    }
}

/// What stands between a program and Arroyo.
fn on_arroyo(sql: &str) -> String {
    let program = expand(sql);
    let planned = match plan(&program) {
        Ok(planned) => planned,
        Err(errors) => return describe(&errors, &program),
    };
    match check_portability(&planned, Engine::Arroyo) {
        Ok(found) => describe(&found, &program),
        Err(errors) => describe(&errors.0, &program),
    }
}

fn check(file: &str, outcome: impl Fn(&str) -> String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let mut actual = String::new();
    let mut titles = 0;
    for case in text.split("\n## ").map(|case| case.strip_prefix("## ").unwrap_or(case)) {
        let (title, rest) = case.split_once('\n').unwrap();
        let sql = rest.split_once("\n=>").map_or(rest, |(sql, _)| sql);
        let sql = format!("{}\n", sql.trim_end());
        write!(actual, "## {title}\n{sql}=>\n{}\n", outcome(&sql).replace(" \n", "\n")).unwrap();
        titles += 1;
    }
    let actual = format!("{}\n", actual.trim_end());
    assert!(titles > 10, "{file} lost its cases");
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    } else {
        assert_eq!(actual, text, "{file} differs; run with POSTRIDER_BLESS=1 and read the diff");
    }
}

#[test]
fn good_programs_have_these_plans() {
    check("good.txt", outcome);
}

#[test]
fn bad_programs_have_these_diagnostics() {
    check("bad.txt", outcome);
}

#[test]
fn what_does_not_move_to_arroyo_is_named() {
    check("arroyo.txt", on_arroyo);
}
