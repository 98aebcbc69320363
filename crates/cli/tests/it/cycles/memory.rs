//! How much memory a process has in use, and how that grows.

use std::fs;

use postrider_reliability::Campaign;
use serde_json::json;

/// The part of a run that is left out of its slope: caches fill.
const WARM_UP: f64 = 0.3;

/// What a process has in use, in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// All that is in memory, pages of its binary included.
    rss: f64,
    /// Heap and stacks: what it allocated, touched and did not give back.
    pub(super) heap: f64,
}

impl Memory {
    pub(super) fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let kib = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self { rss: kib("VmRSS:"), heap: kib("RssAnon:") }
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

    /// Adds what there is to say.
    pub(super) fn facts(&self, campaign: Campaign) -> Campaign {
        let warm = self.0.get((self.0.len() as f64 * WARM_UP) as usize);
        let heaps = [self.0.first(), warm, self.0.last()];
        campaign
            .fact("heap_kib", json!(heaps.map(|sample| sample.map(|(_, memory)| memory.heap))))
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
        samples.add(hours, Memory { rss: 2_000.0, heap });
    }
    assert!((samples.slope(|memory| memory.heap).unwrap() - 1.0).abs() < 1e-9);
    assert!(samples.slope(|memory| memory.rss).unwrap().abs() < 1e-9);
}
