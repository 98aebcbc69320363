//! How a process dies: drawn by dice, so that a seed repeats it.

use std::time::Duration;

use postrider_store::Failpoint;
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// The end of one process.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// SIGKILL, so long after its start.
    Kill(Duration),
    /// At a failpoint, as `POSTRIDER_FAILPOINT` names it; by SIGKILL if it does not pass it.
    Failpoint(String),
    /// SIGTERM, so long after it listened.
    Term(Duration),
}

impl End {
    pub(super) fn failpoint(&self) -> Option<&str> {
        match self {
            Self::Failpoint(failpoint) => Some(failpoint),
            Self::Kill(_) | Self::Term(_) => None,
        }
    }
}

/// One cycle.
#[derive(Debug)]
pub(super) struct Plan {
    end: End,
    /// The end of the process behind it, while it recovers.
    again: Option<End>,
}

/// What a process passes while it recovers.
const RECOVERY: [Failpoint; 4] =
    [Failpoint::TakenOver, Failpoint::Restored, Failpoint::EpochReplayed, Failpoint::SegmentBegun];

/// What a process passes all the time.
const BUSY: [Failpoint; 9] = [
    Failpoint::GroupBeforeWrite,
    Failpoint::GroupWritten,
    Failpoint::GroupSynced,
    Failpoint::EpochCut,
    Failpoint::SinkFlushed,
    Failpoint::SealReady,
    Failpoint::SealDurable,
    Failpoint::IntentDurable,
    Failpoint::ProviderAnswered,
];

/// Every place, and the passage at which to die there, in an order in which each is met: a pipeline is recorded once, and
/// there must be a state before one can be recovered.
pub(super) fn every_failpoint() -> Vec<(Failpoint, u64)> {
    let mut places = Failpoint::ALL.to_vec();
    places.sort_by_key(|place| match place {
        Failpoint::PipelineRecorded => 0,
        place if RECOVERY.contains(place) => 2,
        _ => 1,
    });
    // Where a process comes by often, it dies in the middle of its work and not while it starts.
    let passage = |place| if BUSY.contains(&place) { 20 } else { 1 };
    places.into_iter().map(|place| (place, passage(place))).collect()
}

impl Plan {
    pub(super) fn draw(dice: &mut ChaCha8Rng) -> Self {
        let end = match dice.random_range(0..10) {
            0..6 => End::Kill(millis(dice, 20..2_200)),
            6..9 => End::Failpoint(failpoint(dice)),
            _ => End::Term(millis(dice, 0..1_500)),
        };
        let again = dice.random_ratio(1, 5).then(|| {
            if dice.random() {
                End::Kill(millis(dice, 20..600))
            } else {
                let point = RECOVERY.choose(dice).unwrap();
                End::Failpoint(format!("{}:{}", point.name(), dice.random_range(1..=2)))
            }
        });
        Self { end, again }
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = &End> {
        [&self.end].into_iter().chain(&self.again)
    }
}

fn millis(dice: &mut ChaCha8Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(dice.random_range(range))
}

/// Half by number, where most passages are of the log, and half by name.
fn failpoint(dice: &mut ChaCha8Rng) -> String {
    if dice.random() {
        // As many small numbers as large ones.
        let bits = dice.random_range(0..11);
        return format!("{}", (1_u64 << bits) + dice.random_range(0..1_u64 << bits));
    }
    let point = Failpoint::ALL.choose(dice).unwrap();
    format!("{}:{}", point.name(), dice.random_range(1..=4))
}
