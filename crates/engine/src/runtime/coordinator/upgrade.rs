//! Bringing an edited program to where the one before it was.

use postrider_core::{Barrier, Epoch, EpochKind};

use super::{Coordinator, checkpoints::snapshots};
use crate::{
    EngineError,
    runtime::{
        checkpoint::CheckpointJob, ingest::CutKind, replay::SealedEpoch, report::Report,
        resume::Shadow, seal::OpenEpoch,
    },
};

impl Coordinator {
    /// Runs a sealed epoch of another program. What comes out was decided when it happened: it goes nowhere.
    pub(super) async fn pass_in_shadow(&mut self, sealed: &SealedEpoch) -> Result<(), EngineError> {
        let cut = |table: &String| sealed.cut(table).unwrap_or(CutKind::CatchUp);
        let cuts: Vec<_> = self.shape.sources.iter().map(cut).collect();
        let barrier = Barrier {
            epoch: sealed.epoch(),
            kind: sealed.kind(),
            clock: sealed.clock(),
            checkpoint: sealed.checkpoint(),
        };
        let mut open = self.pass(barrier, &cuts).await?;
        self.recovery.rows += open.rows();
        self.summary.replayed_epochs += 1;
        // A source that the other program did not read may have more than its epochs gave it time for.
        let new = |cut: &CutKind| matches!(cut, CutKind::CatchUp);
        let again = |cut: &CutKind| if new(cut) { CutKind::CatchUp } else { CutKind::Hold };
        let more: Vec<_> = cuts.iter().map(again).collect();
        let again = Barrier { kind: EpochKind::Input, checkpoint: None, ..barrier };
        while open
            .sources
            .values()
            .any(|report| report.more && cuts.get(report.source).is_some_and(new))
        {
            self.note_snapshot(open).await?;
            open = self.pass(again, &more).await?;
        }
        (self.next_timer, self.next_clock) = (open.next_timer(), open.next_clock());
        self.sealed_watermark = open.watermark();
        self.note_snapshot(open).await
    }

    /// Makes the state the edited program's: a checkpoint of it first, then the log says whose the epochs are from here on. A crash
    /// before the checkpoint starts the upgrade again, one behind it finds it done.
    pub(super) async fn finish_upgrade(&mut self, shadow: &Shadow) -> Result<(), EngineError> {
        let number = self.checkpoints.as_ref().map_or(0, |checkpoints| checkpoints.number) + 1;
        let barrier = Barrier {
            epoch: Epoch(self.sealed_epoch),
            kind: EpochKind::Input,
            clock: self.last_clock,
            checkpoint: Some(number),
        };
        let hold = vec![CutKind::Hold; self.shape.sources.len()];
        let open = self.pass(barrier, &hold).await?;
        (self.next_timer, self.next_clock) = (open.next_timer(), open.next_clock());
        self.commit_upgrade(open, number, shadow).await?;
        self.name_program().await
    }

    async fn commit_upgrade(
        &mut self,
        mut open: OpenEpoch,
        number: u64,
        shadow: &Shadow,
    ) -> Result<(), EngineError> {
        let sealed = open.record(&self.pipeline, &self.shape, self.sealed_watermark);
        let end = *self.log.durable().borrow();
        let mut contents = self.contents(&open, &sealed, end);
        for sink in &mut contents.sinks {
            // Nothing was written in the shadow.
            let kept = self.sink_positions.get(&sink.sink).copied();
            sink.position = if shadow.refire { kept.map(|_| 0) } else { kept };
        }
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        (checkpoints.number, checkpoints.pending) = (number, true);
        let job = CheckpointJob { snapshots: snapshots(&mut open), contents: Some(contents) };
        if checkpoints.jobs.send(job).await.is_err() {
            return Err(self.lost_task());
        }
        loop {
            match self.reports.recv().await {
                Some(Report::Checkpoint(Err(error))) => return Err(error.into()),
                Some(Report::Checkpoint(Ok(facts))) => return self.checkpointed(Ok(facts)),
                other => drop(self.collect(other)?),
            }
        }
    }
}
