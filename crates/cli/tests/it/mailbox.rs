//! A local mailbox in a process of its own, what lies in it, and what the outbox says about it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use mail_parser::MessageParser;
use serde_json::Value;

use crate::process::{Finished, Running, json_lines, postrider, run};

/// Accepts every mail, whatever happens to the senders.
#[derive(Debug)]
pub(crate) struct Mailbox {
    _running: Running,
    pub(crate) smtp: String,
    pub(crate) http: String,
    dir: PathBuf,
}

impl Mailbox {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut command = postrider(["mailbox", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.arg("--dir").arg(dir);
        let running = Running::start(command);
        let http = running.out_after("mailbox");
        let smtp = running.out_after("smtp");
        Self { _running: running, smtp, http, dir: dir.to_owned() }
    }

    /// How many mails came.
    pub(crate) fn count(&self) -> usize {
        eml_files(&self.dir).len()
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        mails_in(&self.dir)
    }
}

/// One mail as its reader sees it.
#[derive(Debug)]
pub(crate) struct Mail {
    /// What the sender calls the send: the left part of the Message-ID.
    pub(crate) send_id: String,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
}

/// The mails of a directory, one a file: one that came twice is there twice.
pub(crate) fn mails_in(dir: &Path) -> Vec<Mail> {
    eml_files(dir).iter().map(|path| read(path)).collect()
}

fn eml_files(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "eml")).collect()
}

fn read(path: &Path) -> Mail {
    let bytes = fs::read(path).unwrap();
    let message = MessageParser::default().parse(&bytes).unwrap();
    let id = message.message_id().unwrap_or_else(|| panic!("{}: no Message-ID", path.display()));
    Mail {
        send_id: id.split('@').next().unwrap().to_owned(),
        to: message.to().unwrap().first().unwrap().address().unwrap().to_owned(),
        subject: message.subject().unwrap().to_owned(),
        text: message.body_text(0).unwrap().into_owned(),
    }
}

/// What `postrider outbox` knows about a state directory.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The rows as listed.
    pub(crate) rows: Vec<Value>,
    /// How many became what, such as `accepted` and `not sent: duplicate`.
    counts: BTreeMap<String, usize>,
    /// All trigger rows.
    pub(crate) trigger_rows: usize,
}

impl Outbox {
    pub(crate) fn of(state: &Path) -> Self {
        let Finished { status, out, err, .. } = run(outbox(state, &["--format", "json"]));
        assert!(status.success(), "{err}");
        let line = err.lines().last().unwrap();
        let (total, parts) = line.split_once(" trigger row").unwrap();
        let number = |text: &str| text.replace(',', "").parse().unwrap();
        let parts = parts.split_once(": ").unwrap().1.split(", ").map(|part| {
            let (rows, what) = part.split_once(' ').unwrap();
            (what.to_owned(), number(rows))
        });
        Self { rows: json_lines(&out), counts: parts.collect(), trigger_rows: number(total) }
    }

    /// The ids of the sends whose row is in this state.
    pub(crate) fn ids(&self, state: &str) -> Vec<String> {
        let rows = self.rows.iter().filter(|row| row["state"] == state);
        rows.map(|row| row["send_id"].as_str().unwrap().to_owned()).collect()
    }

    /// How many trigger rows became what.
    pub(crate) fn counts(&self) -> &BTreeMap<String, usize> {
        &self.counts
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

/// `postrider outbox` with more arguments.
pub(crate) fn outbox(state: &Path, more: &[&str]) -> std::process::Command {
    let mut command = postrider(["outbox", "--state-dir"]);
    command.arg(state).args(more);
    command
}
