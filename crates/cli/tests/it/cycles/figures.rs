//! What a campaign came to, in numbers.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Instant};

use serde_json::{Value, json};

use crate::process::root;

/// The part of an undisturbed run that is left out of its slope: caches fill.
const WARM_UP: f64 = 0.3;

/// Counts of one campaign.
pub(super) struct Figures {
    seed: u64,
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
    /// Hours since the beginning, and memory in use then.
    rss: Vec<(f64, f64)>,
}

impl Figures {
    pub(super) fn of_seed(seed: u64) -> Self {
        Self {
            seed,
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
            rss: Vec::new(),
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

    pub(super) fn sample(&mut self, rss_kib: f64) {
        self.rss.push((self.began.elapsed().as_secs_f64() / 3_600.0, rss_kib));
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

    /// How memory grows in KiB an hour, and how much is in use in the middle: a line through the samples behind the warm-up.
    fn slope(&self) -> Option<(f64, f64)> {
        let warm = &self.rss[(self.rss.len() as f64 * WARM_UP) as usize..];
        let count = warm.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| warm.iter().map(of).sum::<f64>() / count;
        let (at, size) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let both: f64 = warm.iter().map(|(a, s)| (a - at) * (s - size)).sum();
        let one: f64 = warm.iter().map(|(a, _)| (a - at).powi(2)).sum();
        (one > 0.0).then(|| (both / one, size))
    }

    pub(super) fn json(&self) -> Value {
        let mut took = self.recoveries.clone();
        took.sort_by(f64::total_cmp);
        let hours = self.began.elapsed().as_secs_f64() / 3_600.0;
        json!({
            "seed": self.seed,
            "seconds": self.began.elapsed().as_secs(),
            "cycles": self.cycles,
            "failpoints": self.failpoints,
            "requests_broken": self.broken,
            "events_acked": self.answered,
            "events_unknown": self.unknown,
            "events": self.events,
            "trigger_rows": self.trigger_rows,
            "mails": self.mails,
            "in_doubt": self.in_doubt,
            "lost": 0,
            "twice": 0,
            "restores": self.restores(),
            "replayed_rows_max": self.replayed.iter().max(),
            "recovery_ms_p50": took.get(took.len() / 2),
            "recovery_ms_max": took.last(),
            "rss_kib": [self.rss.first().map(|s| s.1), self.rss.last().map(|s| s.1)],
            "rss_slope_percent_per_hour": self.slope().map(|(slope, size)| slope / size * 100.0),
            // Message ids are remembered for a week, so this is not 0.
            "rss_slope_bytes_per_event": self.slope().map(|(slope, _)| slope * 1_024.0 * hours / self.events as f64),
        })
    }

    /// Writes them down under a name, beside those of other campaigns. Comes behind all checks.
    pub(super) fn write(&self, name: &str) {
        let file = std::env::var_os("POSTRIDER_RELIABILITY_JSON")
            .map_or_else(|| root().join("reliability.json"), PathBuf::from);
        let known = fs::read_to_string(&file).unwrap_or_else(|_| "{}".to_owned());
        let mut all: Value = serde_json::from_str(&known).unwrap();
        all[name] = self.json();
        fs::write(&file, format!("{all:#}\n")).unwrap();
    }
}

/// The last duration in a text.
fn milliseconds(text: &str) -> f64 {
    let Some((_, rest)) = text.rsplit_once(" in ") else { return 0.0 };
    let (number, unit) = rest.trim_end_matches([',', ' ']).split_once(' ').unwrap();
    let number: f64 = number.replace(',', "").parse().unwrap();
    if unit.starts_with("ms") { number } else { number * 1_000.0 }
}
