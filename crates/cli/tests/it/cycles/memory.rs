//! How much memory a process has in use, and how that grows.
//!
//! What counts is the bytes that it has allocated and not freed: `live_bytes.c` counts them. Memory in use is stated beside it; an allocator
//! keeps pages that are mostly free, and more of them as time goes by.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use postrider_reliability::Campaign;
use serde_json::json;
use tempfile::TempDir;

use crate::process::run;

/// The part of a run that is left out of its slope: caches fill.
const WARM_UP: f64 = 0.3;

/// Longer than it takes until the state of the members is merged.
const FLOOR_MINUTES: f64 = 2.0;

/// What counts the live bytes of a process.
pub(super) struct LiveBytes {
    dir: TempDir,
}

impl LiveBytes {
    /// Needs a C compiler, which Rust needs as well.
    pub(super) fn compile() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cycles/live_bytes.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(dir.path().join("live_bytes.so"));
        compiler.args([source, "-lpthread"]);
        run(compiler).ok();
        Self { dir }
    }

    /// Has it count what this process allocates.
    pub(super) fn watch(&self, mut command: Command) -> Command {
        command.env("LD_PRELOAD", self.dir.path().join("live_bytes.so"));
        command.env("POSTRIDER_LIVE_BYTES", self.file());
        command
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("live_bytes")
    }

    /// What it has now, and what it has in use.
    pub(super) fn of(&self, process: u32) -> Memory {
        Memory { live: read(&self.file()), ..Memory::of(process) }
    }
}

fn read(file: &Path) -> f64 {
    fs::read_to_string(file).unwrap().parse().unwrap()
}

/// What a process has in use, in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Allocated and not freed, in bytes.
    pub(super) live: f64,
    /// All that is in memory, pages of its binary included.
    rss: f64,
    /// Heap and stacks: what it allocated, touched and did not give back.
    heap: f64,
}

impl Memory {
    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let kib = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self { live: 0.0, rss: kib("VmRSS:"), heap: kib("RssAnon:") }
    }
}

/// Memory over time.
#[derive(Default)]
pub(super) struct Samples(Vec<(f64, Memory)>);

impl Samples {
    /// Takes note of what was in use so many hours after the begin.
    pub(super) fn add(&mut self, hours: f64, memory: Memory) {
        self.0.push((hours, memory));
    }

    /// Growth in percent an hour: a line through the samples behind the warm-up.
    fn slope(&self, of: fn(&Memory) -> f64) -> Option<f64> {
        let warm = &self.0[(self.0.len() as f64 * WARM_UP) as usize..];
        let count = warm.len() as f64;
        let at = warm.iter().map(|(at, _)| at).sum::<f64>() / count;
        let size = warm.iter().map(|(_, memory)| of(memory)).sum::<f64>() / count;
        let both: f64 = warm.iter().map(|(a, memory)| (a - at) * (of(memory) - size)).sum();
        let one: f64 = warm.iter().map(|(a, _)| (a - at).powi(2)).sum();
        (one > 0.0).then(|| both / one / size * 100.0)
    }

    /// The least of every [`FLOOR_MINUTES`]: state grows by what changes until its parts are merged, again and again.
    fn floor(&self) -> Self {
        let mut spans: BTreeMap<u64, (f64, Memory)> = BTreeMap::new();
        for &(hours, memory) in &self.0 {
            let least =
                spans.entry((hours * 60.0 / FLOOR_MINUTES) as u64).or_insert((hours, memory));
            if memory.live < least.1.live {
                *least = (hours, memory);
            }
        }
        Self(spans.into_values().collect())
    }

    /// Adds what there is to say.
    pub(super) fn facts(&self, campaign: Campaign) -> Campaign {
        let warm = self.0.get((self.0.len() as f64 * WARM_UP) as usize);
        let samples = [self.0.first(), warm, self.0.last()];
        let values =
            |of: fn(&Memory) -> f64| json!(samples.map(|s| s.map(|(_, memory)| of(memory))));
        let floor = self.floor();
        let floors: Vec<_> = floor.0.iter().map(|(_, memory)| memory.live).collect();
        campaign
            .fact("live_bytes_floor", json!(floors))
            .fact("live_floor_percent_per_hour", json!(floor.slope(|memory| memory.live)))
            .fact("live_bytes", values(|memory| memory.live))
            .fact("live_percent_per_hour", json!(self.slope(|memory| memory.live)))
            .fact("heap_kib", values(|memory| memory.heap))
            .fact("heap_percent_per_hour", json!(self.slope(|memory| memory.heap)))
            .fact("rss_percent_per_hour", json!(self.slope(|memory| memory.rss)))
    }
}

#[test]
fn the_slope_is_that_of_the_line_behind_the_warm_up() {
    let mut samples = Samples::default();
    for minute in 0..100_u32 {
        let hours = f64::from(minute) / 60.0;
        let warming = if minute < 30 { 50.0 } else { 0.0 };
        let heap = 1_000.0 + 10.0 * (hours - 64.5 / 60.0) - warming;
        samples.add(hours, Memory { live: 0.0, rss: 2_000.0, heap });
    }
    assert!((samples.slope(|memory| memory.heap).unwrap() - 1.0).abs() < 1e-9);
    assert!(samples.slope(|memory| memory.rss).unwrap().abs() < 1e-9);
}

#[test]
fn the_floor_is_the_least_of_each_span() {
    let mut samples = Samples::default();
    for second in 0..250_u32 {
        let parts = if second % 120 == 30 { 0.0 } else { 500.0 };
        let live = 1_000.0 + parts + f64::from(second / 120);
        samples.add(f64::from(second) / 3_600.0, Memory { live, rss: 0.0, heap: 0.0 });
    }
    let floor: Vec<_> = samples.floor().0.iter().map(|(_, memory)| memory.live).collect();
    assert_eq!(floor, [1_000.0, 1_001.0, 1_502.0]);
}
