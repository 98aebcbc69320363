//! Keeping the log short: snapshots where nobody else writes them, then the deletion of what nobody needs.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    KeepLog, Log, LogNeeds, Outbox, PipelineNeeds, Shortened, TruncationPoint, View, ViewError,
    ViewNeeds, limits::FOLDED_LOG_BYTES, truncation_point,
};

/// Another view than the outbox that is to be kept.
#[derive(Debug, Clone, Copy)]
pub struct KeptView {
    /// The view.
    pub view: View,
    /// How long it remembers a frame; `None` for ever.
    pub memory: Option<Duration>,
}

/// What keeping a log short depends on.
#[derive(Debug)]
pub struct Housekeeping<'a> {
    /// What pipelines need. Every pipeline that has ever written to the log has to be here, also one that does not run: for
    /// one that is not, everything is kept.
    pub pipelines: &'a [PipelineNeeds],
    /// Views beside the outbox, such as the collector's memory of message ids. They hold the log whether their owner runs or
    /// not.
    pub views: &'a [KeptView],
    /// Whether a dispatcher runs, which writes the snapshots of the outbox. Otherwise they are written here: what an earlier
    /// program sent is not forgotten because the present one sends nothing.
    pub dispatcher_runs: bool,
    /// What is kept anyway.
    pub keep: KeepLog,
    /// The time (wall clock, ns).
    pub now: i64,
}

/// What keeping a log short came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tidied {
    /// Up to where everything could be deleted, and who needs the rest.
    pub point: TruncationPoint,
    /// What was deleted: whole segments before that point.
    pub shortened: Shortened,
}

impl Housekeeping<'_> {
    /// Deletes what nobody needs of a log. To be called from time to time, best after a checkpoint; a call that finds nothing
    /// to delete looks only at the names and times of files. Blocks.
    ///
    /// # Errors
    /// When a snapshot or the log can't be read or written. Nothing that is needed is gone then.
    pub fn run(&self, log: &Log) -> Result<Tidied, ViewError> {
        if !self.dispatcher_runs {
            fold_outbox(log)?;
        }
        let segments = log.segments()?;
        let mut needs = LogNeeds {
            segments: &segments,
            known: BTreeSet::new(),
            pipelines: self.pipelines,
            views: &self.view_needs(log)?,
            keep: self.keep,
            now: self.now,
        };
        let point = truncation_point(&needs);
        if segments.first().is_none_or(|oldest| oldest.end > point.at) {
            let shortened = Shortened { start: log.start(), segments: 0, bytes: 0 };
            return Ok(Tidied { point, shortened });
        }
        // To find these a snapshot is read, which is worth it only now.
        needs.known = Outbox::pipelines_in_snapshot(&log.reader(log.start()))?;
        let point = truncation_point(&needs);
        let shortened = log.truncate_before(point.at)?;
        Ok(Tidied { point, shortened })
    }

    fn view_needs(&self, log: &Log) -> Result<Vec<ViewNeeds>, ViewError> {
        let outbox = KeptView { view: Outbox::VIEW, memory: None };
        let needs = |KeptView { view, memory }| {
            let snapshots = log.views().kept(view)?;
            Ok(ViewNeeds { view: view.name, snapshots, memory })
        };
        [outbox].into_iter().chain(self.views.iter().copied()).map(needs).collect()
    }
}

/// Writes the outbox down if the log has grown much since it was.
fn fold_outbox(log: &Log) -> Result<(), ViewError> {
    let newest = log.views().kept(Outbox::VIEW)?.last().copied().unwrap_or_default();
    let end = *log.durable().borrow();
    if end.0.saturating_sub(newest.0) < FOLDED_LOG_BYTES {
        return Ok(());
    }
    Outbox::read(&log.reader(log.start()))?.save(&log.views())?;
    Ok(())
}

#[cfg(test)]
mod tests;
