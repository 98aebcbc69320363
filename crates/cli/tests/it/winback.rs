//! Real purchases: the CDNOW log through the gallery's pipeline, against an independent computation in Python.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

use crate::{
    mailbox::{Outbox, mails_in},
    process::{json_lines, postrider, root, run, test_data},
};

fn winback(purchases: &Path, dir: &Path, parallelism: &str) -> Command {
    let mut command =
        postrider(["run", "pipelines/winback/pipeline.sql", "--parallelism", parallelism]);
    command.env("PURCHASES", purchases).arg("--state-dir").arg(dir.join("state"));
    command.arg("--mail-dir").arg(dir.join("mails"));
    command
}

fn texts<const N: usize>(row: &Value, fields: [&str; N]) -> [String; N] {
    fields.map(|field| row[field].as_str().unwrap().to_owned())
}

fn sorted<T: Ord>(rows: impl Iterator<Item = T>) -> Vec<T> {
    let mut rows: Vec<T> = rows.collect();
    rows.sort();
    rows
}

/// What `scripts/winback_oracle.py` expects of these purchases.
fn oracle(purchases: &Path) -> Vec<Value> {
    let mut command = Command::new("python3");
    command.arg(root().join("scripts/winback_oracle.py")).arg(purchases);
    json_lines(&run(command).ok())
}

fn same_as_python(parallelism: &str) {
    let purchases = test_data("purchases.ndjson");
    let expected = oracle(&purchases);
    assert_eq!(expected.len(), 3_143, "the log or the oracle is another one");
    let dir = tempfile::tempdir().unwrap();
    let (state, mails) = (dir.path().join("state"), dir.path().join("mails"));
    run(winback(&purchases, dir.path(), parallelism)).ok();

    let outbox = Outbox::of(&state);
    let keys =
        |rows: &[Value]| sorted(rows.iter().map(|row| texts(row, ["recipient_key", "dedupe_key"])));
    assert_eq!(keys(&outbox.rows), keys(&expected));
    assert_eq!((outbox.trigger_rows, outbox.count("accepted")), (expected.len(), expected.len()));

    // The other columns are in the mails.
    let found = mails_in(&mails);
    assert_eq!(found.len(), expected.len());
    let mut by_id: BTreeMap<_, _> =
        found.into_iter().map(|mail| (mail.send_id.clone(), mail)).collect();
    let mut by_key: BTreeMap<_, _> = outbox
        .rows
        .iter()
        .map(|row| (texts(row, ["recipient_key", "dedupe_key"]), texts(row, ["send_id"])))
        .collect();
    for row in &expected {
        let [id] = by_key.remove(&texts(row, ["recipient_key", "dedupe_key"])).unwrap();
        let mail = by_id.remove(&id).unwrap();
        let [email, last_purchase] = texts(row, ["email", "last_purchase"]);
        let subject =
            format!("It has been a while: {}% off, and the kettle is on", row["discount"]);
        assert_eq!((mail.to, mail.subject), (email, subject));
        let text = mail.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&last_purchase), "{last_purchase} in {text}");
        if row["purchases"] != 1 {
            let purchases = format!("the last of {} in", row["purchases"]);
            assert!(text.contains(&purchases), "{purchases} in {text}");
        }
    }

    let again = run(winback(&purchases, dir.path(), parallelism));
    assert!(again.err.contains("nothing new since the last run"), "{}", again.err);
    again.ok();
    assert_eq!(mails_in(&mails).len(), expected.len());
    assert_eq!(Outbox::of(&state).trigger_rows, expected.len());
}

#[test]
fn lapses_of_real_customers_are_what_python_computes() {
    same_as_python("1");
}

#[test]
fn lapses_are_the_same_on_three_shards() {
    same_as_python("3");
}
