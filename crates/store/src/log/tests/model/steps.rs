//! What may happen, and what a model needs for it.

use postrider_core::{Clock, ClockTime, Sleep};
use proptest::prelude::*;

use crate::{Checkpoint, CheckpointContents};

/// What happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Append {
        bytes: usize,
    },
    Seal {
        rows: u32,
    },
    Decide,
    Snapshot,
    Checkpoint,
    Collect,
    Truncate,
    /// The disk fails under an append; the process dies of it, and perhaps the machine.
    Crash {
        rows: u32,
        keeps: Option<u64>,
    },
    /// Another process takes over; this one lives on as a zombie.
    Takeover,
    ZombieAppends,
    ZombieCommits,
    ZombieTruncates,
}

pub(super) fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..300_usize).prop_map(|bytes| Step::Append { bytes }),
        5 => (0..4_u32).prop_map(|rows| Step::Seal { rows }),
        3 => Just(Step::Decide),
        3 => Just(Step::Snapshot),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Collect),
        3 => Just(Step::Truncate),
        2 => (0..4_u32, any::<Option<u64>>()).prop_map(|(rows, keeps)| Step::Crash { rows, keeps }),
        2 => Just(Step::Takeover),
        1 => Just(Step::ZombieAppends),
        1 => Just(Step::ZombieCommits),
        1 => Just(Step::ZombieTruncates),
    ]
}

#[derive(Debug)]
pub(super) struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> ClockTime {
        ClockTime(0)
    }

    fn sleep_until(&self, _: ClockTime) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

/// A checkpoint of an epoch, and where the log goes on behind it.
pub(super) fn checkpoint((epoch, log_position): (u64, u64)) -> Checkpoint {
    let contents = CheckpointContents {
        fire_series: 0,
        pipeline: "shop".to_owned(),
        fingerprint: "c0ffee".to_owned(),
        number: epoch,
        epoch,
        clock: 0,
        log_position,
        log_identity: None,
        watermark: 0,
        sources: Vec::new(),
        sinks: Vec::new(),
        operators: Vec::new(),
    };
    Checkpoint::new(&[], contents).unwrap()
}
