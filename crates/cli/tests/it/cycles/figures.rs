//! What a campaign came to, in numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use postrider_reliability::{Campaign, Seeds, Tally};
use serde_json::json;

/// Counts of one campaign.
pub(super) struct Figures {
    seeds: Seeds,
    began: Instant,
    pub(super) cycles: u64,
    /// Processes that died at a failpoint, by its name.
    failpoints: BTreeMap<String, u64>,
    /// Of each restart from a checkpoint: rows that were replayed.
    replayed: Vec<u64>,
    /// Of each recovery: milliseconds of restore and replay.
    recoveries: Vec<f64>,
    pub(super) answered: usize,
    pub(super) unknown: usize,
    pub(super) events: usize,
    pub(super) trigger_rows: usize,
    pub(super) mails: usize,
    pub(super) in_doubt: usize,
    pub(super) broken: usize,
    pub(super) tally: Tally,
}

impl Figures {
    /// Of a campaign whose processes die by these dice.
    pub(super) fn of_seed(seed: u64) -> Self {
        Self::of(Seeds { first: seed, count: 1 })
    }

    /// Of one that leaves nothing to chance.
    pub(super) fn without_dice() -> Self {
        Self::of(Seeds::default())
    }

    fn of(seeds: Seeds) -> Self {
        Self {
            seeds,
            began: Instant::now(),
            cycles: 0,
            failpoints: BTreeMap::new(),
            replayed: Vec::new(),
            recoveries: Vec::new(),
            answered: 0,
            unknown: 0,
            events: 0,
            trigger_rows: 0,
            mails: 0,
            in_doubt: 0,
            broken: 0,
            tally: Tally::default(),
        }
    }

    /// Takes note of what a process said: at which failpoint it died, or how it recovered.
    pub(super) fn note(&mut self, line: &str) {
        match line.strip_prefix("failpoint ") {
            Some(name) => *self.failpoints.entry(name.to_owned()).or_default() += 1,
            None => self.note_recovery(line),
        }
    }

    /// Takes `restored checkpoint 12 (..) in 35 ms, replayed 14 epochs (1,200 rows) in 12 ms` for what it is.
    fn note_recovery(&mut self, line: &str) {
        let Some((before, after)) = line.split_once("replayed ") else { return };
        let rows = after.split_once('(').and_then(|(_, rest)| rest.split_once(" row"));
        let rows = rows.map_or(0, |(rows, _)| rows.replace(',', "").parse().unwrap());
        let mut took = milliseconds(after);
        if before.contains("restored checkpoint ") {
            took += milliseconds(before);
            self.replayed.push(rows);
        }
        self.recoveries.push(took);
    }

    /// The failpoints at which processes died.
    pub(super) fn failpoints(&self) -> BTreeSet<&str> {
        self.failpoints.keys().map(String::as_str).collect()
    }

    /// Processes that died at a failpoint.
    pub(super) fn at_failpoints(&self) -> u64 {
        self.failpoints.values().sum()
    }

    /// Starts that went on from a checkpoint.
    pub(super) fn restores(&self) -> u64 {
        self.replayed.len() as u64
    }

    /// Whether the usual replay is far from all that was ever posted.
    pub(super) fn replays_are_short(&self) -> bool {
        let mut replayed = self.replayed.clone();
        replayed.sort_unstable();
        let median = replayed.get(replayed.len() / 2).copied().unwrap_or_default();
        median * 4 < self.events as u64
    }

    pub(super) fn campaign(&self) -> Campaign {
        let mut took = self.recoveries.clone();
        took.sort_by(f64::total_cmp);
        let campaign = Campaign {
            cases: self.cycles,
            seeds: self.seeds,
            lost: self.tally.lost(),
            twice: self.tally.twice(),
            in_doubt: self.in_doubt as u64,
            ..Campaign::default()
        };
        campaign
            .took(self.began.elapsed())
            .fact("failpoints", json!(self.failpoints))
            .fact("requests_broken", self.broken)
            .fact("events_answered", self.answered)
            .fact("events_unknown", self.unknown)
            .fact("events", self.events)
            .fact("trigger_rows", self.trigger_rows)
            .fact("mails", self.mails)
            .fact("restores", self.restores())
            .fact("replayed_rows_max", json!(self.replayed.iter().max()))
            .fact("recovery_ms_p50", json!(took.get(took.len() / 2)))
            .fact("recovery_ms_max", json!(took.last()))
    }
}

/// The last duration in a text.
fn milliseconds(text: &str) -> f64 {
    let Some((_, rest)) = text.rsplit_once(" in ") else { return 0.0 };
    let (number, unit) = rest.trim_end_matches([',', ' ']).split_once(' ').unwrap();
    let number: f64 = number.replace(',', "").parse().unwrap();
    if unit.starts_with("ms") { number } else { number * 1_000.0 }
}
