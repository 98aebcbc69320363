//! `docs/functions.md`: every example in it gives the result that stands beside it.

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;

use crate::process::{postrider, run, write};

fn page() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/functions.md");
    fs::read_to_string(docs).unwrap()
}

/// The examples of all tables that have a column of results, and these.
fn examples(page: &str) -> Vec<(String, String)> {
    let mut examples = Vec::new();
    let mut in_table = false;
    for line in page.lines() {
        in_table = line.starts_with("| function | gives | example | result |")
            || in_table && line.starts_with('|');
        let cells: Vec<&str> = line.split(" | ").collect();
        if let (true, [_, _, example, result]) = (in_table, cells.as_slice())
            && let Some(example) = unquoted(example)
        {
            let result = unquoted(result.trim_end_matches(" |"));
            examples.push((example, result.unwrap_or_else(|| panic!("no result: {line}"))));
        }
    }
    examples
}

fn unquoted(cell: &str) -> Option<String> {
    Some(cell.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned())
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "NULL".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[test]
fn every_example_of_the_page_gives_its_result() {
    let examples = examples(&page());
    assert!(examples.len() >= 36, "only {} examples were found", examples.len());
    let columns = examples.iter().enumerate().map(|(index, (sql, _))| format!("{sql} AS c{index}"));
    let sql = format!("SELECT {}", columns.collect::<Vec<_>>().join(", "));
    let answer = run(postrider(["query", &sql, "--format", "json"])).ok();
    let row: Value = serde_json::from_str(&answer).unwrap();
    let mut wrong = String::new();
    for (index, (example, result)) in examples.iter().enumerate() {
        let found = shown(row.get(format!("c{index}")));
        if found != *result {
            writeln!(wrong, "{example}\n  is `{found}`, not `{result}`").unwrap();
        }
    }
    assert!(wrong.is_empty(), "docs/functions.md is wrong:\n{wrong}");
}

#[test]
fn every_pipeline_of_the_page_works_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let page = page();
    let pipelines: Vec<&str> =
        page.split("```slt\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(pipelines.len(), 3);
    for (index, pipeline) in pipelines.iter().enumerate() {
        write(dir.path(), &format!("{index}.slt"), pipeline);
    }
    let mut command = postrider(["test"]);
    command.arg(dir.path());
    run(command).ok();
}
