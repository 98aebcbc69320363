//! Real purchases: the CDNOW log against an independent computation in Python.

use std::{path::Path, process::Command};

use crate::process::{message_ids, outbox, postrider, root, run, test_data};

fn winback(purchases: &Path, dir: &Path, parallelism: &str) -> Command {
    let mut command =
        postrider(["run", "pipelines/winback/pipeline.sql", "--parallelism", parallelism]);
    command.env("PURCHASES", purchases).arg("--state-dir").arg(dir.join("state"));
    command.arg("--mail-dir").arg(dir.join("mails"));
    command
}

#[test]
fn lapses_of_real_customers_are_what_python_computes() {
    let purchases = test_data("purchases.ndjson");
    let mut oracle = Command::new("python3");
    oracle.current_dir(root()).arg("scripts/winback_oracle.py").arg(&purchases);
    let key = |row: &serde_json::Value| {
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        (text("recipient_key"), text("dedupe_key"))
    };
    let expected = run(oracle).ok();
    let mut expected: Vec<_> =
        expected.lines().map(|line| key(&serde_json::from_str(line).unwrap())).collect();
    expected.sort();
    assert!(expected.len() > 3_000);
    for parallelism in ["1", "3"] {
        let dir = tempfile::tempdir().unwrap();
        run(winback(&purchases, dir.path(), parallelism)).ok();
        let sends = outbox(&dir.path().join("state"));
        let mut found: Vec<_> = sends.iter().map(key).collect();
        found.sort();
        assert_eq!(found, expected);
        assert!(sends.iter().all(|send| send["state"] == "accepted"));
        assert_eq!(message_ids(&dir.path().join("mails")).len(), expected.len());

        let again = run(winback(&purchases, dir.path(), parallelism));
        assert!(again.err.contains("nothing new since the last run"), "{}", again.err);
        assert_eq!(message_ids(&dir.path().join("mails")).len(), expected.len());
    }
}
