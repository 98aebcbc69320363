//! What runs found, in numbers.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_reliability::{Campaign, Seeds};
use serde_json::json;

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

/// What must not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// How much is missing, if that is what is wrong.
    pub lost: u64,
    /// How much is there more than once, or should not be there.
    pub twice: u64,
}

impl Violation {
    /// So much is missing.
    pub fn lost(lost: u64, what: impl Into<String>) -> Self {
        Self { what: what.into(), lost, twice: 0 }
    }

    /// So much is there more than once.
    pub fn twice(twice: u64, what: impl Into<String>) -> Self {
        Self { what: what.into(), lost: 0, twice }
    }

    /// There are so many where so many should be.
    pub fn differs(found: u64, expected: u64, what: impl Into<String>) -> Self {
        let (lost, twice) = (expected.saturating_sub(found), found.saturating_sub(expected));
        Self { what: what.into(), lost, twice }
    }
}

impl From<String> for Violation {
    fn from(what: String) -> Self {
        Self { what, ..Self::default() }
    }
}

impl From<&str> for Violation {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What many runs came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
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
    /// What must not be, by seed.
    pub violations: Vec<(u64, Violation)>,
}

impl Report {
    /// Of runs from this seed on.
    pub fn new(first_seed: u64) -> Self {
        Self { first_seed, ..Self::default() }
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

    /// Its entry in `reliability.json`.
    pub fn campaign(&self) -> Campaign {
        let sum = |of: fn(&Violation) -> u64| -> u64 {
            self.violations.iter().map(|(_, violation)| of(violation)).sum()
        };
        let mut facts = self.facts.clone();
        let campaign = Campaign {
            cases: self.seeds,
            seeds: Seeds { first: self.first_seed, count: self.seeds },
            lost: sum(|violation| violation.lost),
            twice: sum(|violation| violation.twice),
            in_doubt: facts.remove("mails_in_doubt").unwrap_or_default(),
            ..Campaign::default()
        };
        campaign
            .fact("starts", self.cycles)
            .fact("broken", self.violations.len())
            .fact("faults", json!(self.faults))
            .fact("counts", json!(facts))
    }
}
