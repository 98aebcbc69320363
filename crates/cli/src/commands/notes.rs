//! What a run tells of its pipelines: restarts, and checkpoints that fail.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use postrider_core::{Clock, format_duration};
use postrider_engine::{
    CheckpointFacts, EngineObserver, RecoveryFacts, RestoredFacts, SystemClock, UpgradePlan,
};
use postrider_store::CheckpointError;

use super::plan;
use crate::console::{self, bytes, counted, milliseconds};

/// Tells people what they would otherwise wonder about.
#[derive(Debug, Default)]
pub(super) struct Notes {
    wall: SystemClock,
    /// Whether people are mailed again.
    refire: bool,
    /// Pipelines whose last checkpoint failed: said once, not every time.
    failing: Mutex<HashSet<String>>,
}

impl Notes {
    /// Of a run that may have been told to fire again.
    pub(super) fn new(refire: bool) -> Self {
        Self { refire, ..Self::default() }
    }
}

impl EngineObserver for Notes {
    fn upgrading(&self, pipeline: &str, plan: &UpgradePlan) {
        if self.refire {
            console::note(&format!(
                "pipeline {pipeline}  fires again for everything that the log has, as a new series (--refire)"
            ));
        } else {
            let lines = plan::describe(pipeline, plan, self.wall.now().0, plan::Doing::Running);
            lines.iter().for_each(|line| console::note(line));
        }
    }

    fn recovered(&self, pipeline: &str, facts: &RecoveryFacts) {
        for (id, why) in &facts.restored.skipped {
            console::note(&format!("pipeline {pipeline}  checkpoint {id} is passed over: {why}"));
        }
        console::note(&format!("pipeline {pipeline}  {}", recovery(facts, self.wall.now().0)));
    }

    fn checkpointed(&self, pipeline: &str, facts: &CheckpointFacts) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.remove(pipeline) {
            console::note(&format!(
                "pipeline {pipeline}  checkpoints are written again: number {} at epoch {}",
                facts.manifest, facts.epoch.0
            ));
        }
    }

    fn checkpoint_failed(&self, pipeline: &str, error: &CheckpointError) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.insert(pipeline.to_owned()) {
            console::error(&format!(
                "pipeline {pipeline}: a checkpoint could not be written; it goes on with its log, and tries again: {error}"
            ));
        }
    }
}

/// `restored checkpoint 12 (..) in 35 ms, replayed 14 epochs (1,200 rows) in 12 ms`.
fn recovery(facts: &RecoveryFacts, now: i64) -> String {
    let replayed = format!(
        "replayed {} ({}) in {}",
        counted(facts.epochs, "epoch"),
        counted(facts.rows, "row"),
        milliseconds(facts.replay_ns.unsigned_abs())
    );
    let RestoredFacts { manifest: Some(id), created_at, rows, bytes: read, .. } = &facts.restored
    else {
        return format!("recovered without a checkpoint: {replayed}");
    };
    let age = now.saturating_sub(*created_at).max(0) / 1_000_000_000 * 1_000_000_000;
    format!(
        "restored checkpoint {id} ({} old, {} of state, {}) in {}, {replayed}",
        format_duration(age),
        counted(*rows, "row"),
        bytes(*read),
        milliseconds(facts.restore_ns.unsigned_abs()),
    )
}

#[cfg(test)]
mod tests {
    use postrider_engine::{RecoveryFacts, RestoredFacts};

    use super::recovery;

    #[test]
    fn a_recovery_reads_as_one_sentence() {
        let restored = RestoredFacts {
            manifest: Some(12),
            created_at: 0,
            rows: 18_204,
            bytes: 2_100_000,
            ..RestoredFacts::default()
        };
        let mut facts = RecoveryFacts {
            restored,
            epochs: 1,
            rows: 1_200,
            restore_ns: 35_000_000,
            replay_ns: 12_000_000,
        };
        assert_eq!(
            recovery(&facts, 180_500_000_000),
            "restored checkpoint 12 (3 minutes old, 18,204 rows of state, 2.1 MB) in 35 ms, replayed 1 epoch (1,200 \
             rows) in 12 ms"
        );
        facts.restored = RestoredFacts::default();
        assert_eq!(
            recovery(&facts, 0),
            "recovered without a checkpoint: replayed 1 epoch (1,200 rows) in 12 ms"
        );
    }
}
