//! After a restart: the same epochs again, compared with the log, before anything new.

use std::sync::atomic::Ordering;

use postrider_core::{Barrier, EpochKind, SubjectId, WorkspaceId};
use postrider_store::{
    PipelineRecord,
    failpoint::{self, Failpoint},
};

use super::{Command, Coordinator};
use crate::{
    EngineError,
    runtime::{
        ingest::CutKind,
        replay::{SealedEpoch, SealedEpochs},
        seal::OpenEpoch,
    },
};

impl Coordinator {
    /// Replays every sealed epoch. True if there is nothing more to do: the pipeline ended in an earlier run, or was told to
    /// stop.
    pub(super) async fn recover(&mut self) -> Result<bool, EngineError> {
        let started = self.wall.now();
        let mut epochs = SealedEpochs::new(&self.log, self.replay_from, &self.pipeline);
        let mut ended = false;
        while let Some(sealed) = epochs.next_epoch()? {
            if self.told_to_stop() {
                return Ok(true);
            }
            ended = sealed.kind() == EpochKind::End;
            match &self.shadow {
                Some(shadow) if shadow.refire => break,
                Some(_) => self.pass_in_shadow(&sealed).await?,
                None => self.replay(&sealed).await?,
            }
        }
        if let Some(shadow) = self.shadow.take() {
            ended &= !shadow.refire;
            self.finish_upgrade(&shadow).await?;
        } else if epochs.fingerprints.is_empty() && self.recovery.restored.manifest.is_none() {
            self.name_program().await?;
        }
        self.summary.recovery_ns = self.wall.now().0 - started.0;
        self.recovery.replay_ns = self.summary.recovery_ns;
        self.recovery.epochs = self.summary.replayed_epochs;
        self.summary.recovery_ns += self.recovery.restore_ns;
        if self.recovery.epochs > 0 || self.recovery.restored.manifest.is_some() {
            self.observer.recovered(&self.pipeline, &self.recovery);
        }
        if ended {
            self.summary.drained = true;
        }
        Ok(ended)
    }

    /// Writes down which program the epochs from here on are of.
    pub(super) async fn name_program(&mut self) -> Result<(), EngineError> {
        let record = PipelineRecord {
            pipeline: self.pipeline.clone(),
            fingerprint: self.fingerprint.clone(),
            sql: self.sql.clone(),
            fire_series: self.fire_series,
        };
        self.log.append(vec![record.frame(WorkspaceId::DEFAULT, SubjectId::NONE)]).await?;
        self.recorded.store(true, Ordering::Release);
        failpoint::pass(Failpoint::PipelineRecorded);
        Ok(())
    }

    /// Takes what was asked meanwhile: a long replay must not keep anyone from stopping it.
    fn told_to_stop(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Settle(done) => self.settling.push_back((self.last_cut.next(), done)),
                Command::Checkpoint(asker) => self.ask_checkpoint(asker),
                Command::Stop => {
                    self.settling.clear();
                    return true;
                }
            }
        }
        false
    }

    async fn replay(&mut self, sealed: &SealedEpoch) -> Result<(), EngineError> {
        let mut cuts = Vec::new();
        for table in &self.shape.sources {
            let cut = sealed.cut(table).ok_or_else(|| self.diverged(sealed))?;
            cuts.push(cut);
        }
        let barrier = Barrier {
            epoch: sealed.epoch(),
            kind: sealed.kind(),
            clock: sealed.clock(),
            checkpoint: sealed.checkpoint(),
        };
        let open = self.pass(barrier, &cuts).await?;
        self.compare(sealed, &open)?;
        (self.next_timer, self.next_clock) = (open.next_timer(), open.next_clock());
        self.sealed_watermark = open.watermark();
        self.summary.replayed_epochs += 1;
        self.recovery.rows += open.rows();
        failpoint::pass(Failpoint::EpochReplayed);
        self.note_snapshot(open).await
    }

    /// Runs one epoch and seals nothing.
    pub(super) async fn pass(
        &mut self,
        barrier: Barrier,
        cuts: &[CutKind],
    ) -> Result<OpenEpoch, EngineError> {
        self.cut_at(barrier, |source| cuts[source].clone()).await?;
        loop {
            let report = self.reports.recv().await;
            self.collect(report)?;
            if let Some(open) = self.take_complete() {
                return Ok(open);
            }
        }
    }

    fn compare(&self, sealed: &SealedEpoch, open: &OpenEpoch) -> Result<(), EngineError> {
        for report in open.sources.values() {
            let table = &self.shape.sources[report.source];
            let (rows, rejects) = (report.rows, report.rejects.len() as u64);
            if sealed.counts(table).is_some_and(|sealed| sealed != (rows, rejects)) {
                return Err(self.diverged(sealed));
            }
        }
        for report in open.sinks.values() {
            let sink = &self.shape.sinks[report.sink];
            let same = sealed
                .matches(sink, &report.rows)
                .map_err(|message| EngineError::Bug { pipeline: self.pipeline.clone(), message })?;
            if !same {
                return Err(self.diverged(sealed));
            }
        }
        Ok(())
    }

    fn diverged(&self, sealed: &SealedEpoch) -> EngineError {
        EngineError::Diverged { pipeline: self.pipeline.clone(), epoch: sealed.epoch().0 }
    }
}
