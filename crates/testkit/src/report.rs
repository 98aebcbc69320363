//! What runs found, in numbers: each test run's part of `reliability.json`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// Faults that were injected, by kind. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Injected(Arc<Mutex<BTreeMap<String, u64>>>);

impl Injected {
    /// Counts one.
    pub fn count(&self, kind: &str) {
        self.add(kind, 1);
    }

    /// Counts some.
    pub fn add(&self, kind: &str, count: u64) {
        *self.counts().entry(kind.to_owned()).or_default() += count;
    }

    /// What was counted.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What many runs came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was run.
    pub name: String,
    /// The first seed, and how many there were from it on.
    pub first_seed: u64,
    /// How many seeds, cases or combinations.
    pub seeds: u64,
    /// Starts of a process.
    pub cycles: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<String, u64>,
    /// What happened beside, by kind: events, trigger rows, mails.
    pub facts: BTreeMap<String, u64>,
    /// What must not be: a seed and what was wrong.
    pub violations: Vec<String>,
}

impl Report {
    /// Of runs of this name, from this seed on.
    pub fn new(name: &str, first_seed: u64) -> Self {
        Self { name: name.to_owned(), first_seed, ..Self::default() }
    }

    /// Adds another one to it.
    pub fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.cycles += other.cycles;
        self.violations.extend(other.violations);
        for (into, from) in [(&mut self.faults, other.faults), (&mut self.facts, other.facts)] {
            for (kind, count) in from {
                *into.entry(kind).or_default() += count;
            }
        }
    }

    /// Writes it to `<dir>/<name>.json`, if a directory is given: a part of `reliability.json`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, dir: Option<&Path>) -> io::Result<()> {
        let Some(dir) = dir else { return Ok(()) };
        fs::create_dir_all(dir)?;
        let text = serde_json::to_string_pretty(self)?;
        fs::write(dir.join(format!("{}.json", self.name)), text + "\n")
    }
}
