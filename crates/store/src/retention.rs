//! How much of the log has to stay: a pure function over what is known of those who may still read it.
//!
//! A frame may go once it is before each of: what the oldest kept checkpoint of every pipeline has read, the oldest kept
//! snapshot of every view, and what is kept anyway because an edited pipeline is rebuilt from it.

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::{
    Lsn, Segment,
    limits::{LOG_KEPT_BYTES, LOG_KEPT_FOR, SNAPSHOTS_KEPT},
};

/// How much of the log is kept whoever needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepLog {
    /// Frames younger than this stay.
    pub time: Duration,
    /// This many bytes at the end stay.
    pub bytes: u64,
}

impl Default for KeepLog {
    fn default() -> Self {
        Self { time: LOG_KEPT_FOR, bytes: LOG_KEPT_BYTES }
    }
}

/// What a pipeline may still read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineNeeds {
    /// The pipeline's name.
    pub pipeline: String,
    /// The log position of its oldest kept checkpoint, and those up to which its sources of pushed events have read in
    /// it. Empty as long as there is no checkpoint: then it needs everything.
    pub positions: Vec<Lsn>,
}

/// What a view may still read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewNeeds {
    /// The view's name.
    pub view: &'static str,
    /// The positions of its kept snapshots.
    pub snapshots: Vec<Lsn>,
    /// How long it remembers a frame. A view with fewer snapshots than are kept needs all frames younger than this, or
    /// all frames if it never forgets.
    pub memory: Option<Duration>,
}

/// All that is known of those who may still read the log.
#[derive(Debug)]
pub struct LogNeeds<'a> {
    /// The log's segments, oldest first.
    pub segments: &'a [Segment],
    /// Every pipeline that the log has epochs of.
    pub known: BTreeSet<String>,
    /// What pipelines need. One that is known and not here needs everything.
    pub pipelines: &'a [PipelineNeeds],
    /// What views need.
    pub views: &'a [ViewNeeds],
    /// What is kept anyway.
    pub keep: KeepLog,
    /// The time (wall clock, ns).
    pub now: i64,
}

/// Who holds the beginning of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A pipeline, whose checkpoint is there.
    Pipeline(String),
    /// A pipeline without a checkpoint.
    PipelineWithoutCheckpoint(String),
    /// A view, whose oldest snapshot is there, or that has too few of them.
    View(&'static str),
    /// The time for which frames are kept anyway.
    Time,
    /// The bytes that are kept anyway.
    Bytes,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipeline(name) => write!(f, "the oldest checkpoint of pipeline `{name}`"),
            Self::PipelineWithoutCheckpoint(name) => {
                write!(f, "pipeline `{name}`, which has no checkpoint")
            }
            Self::View(name) => write!(f, "the snapshots of the view `{name}`"),
            Self::Time => f.write_str("the time for which the log is kept"),
            Self::Bytes => f.write_str("the bytes of the log that are kept"),
        }
    }
}

/// Up to where the log may be deleted, and why not further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruncationPoint {
    /// Everything before may go.
    pub at: Lsn,
    /// Who needs what is there.
    pub held_by: Holder,
}

/// Finds the first frame that has to stay.
pub fn truncation_point(needs: &LogNeeds<'_>) -> TruncationPoint {
    let listed = needs.pipelines.iter().map(pipeline);
    let unlisted = needs.known.iter().filter(|name| {
        let mut listed = needs.pipelines.iter();
        !listed.any(|pipeline| pipeline.pipeline == **name)
    });
    let unlisted = unlisted.map(|name| everything(Holder::PipelineWithoutCheckpoint(name.clone())));
    let views = needs.views.iter().map(|it| view(it, needs));
    let kept = kept_bytes(needs).min(younger_than(needs.keep.time, needs));
    let holder = if kept < kept_bytes(needs) { Holder::Time } else { Holder::Bytes };
    let first = TruncationPoint { at: kept, held_by: holder };
    let others = listed.chain(unlisted).chain(views);
    others.fold(first, |held, next| if next.at < held.at { next } else { held })
}

const fn everything(held_by: Holder) -> TruncationPoint {
    TruncationPoint { at: Lsn::ZERO, held_by }
}

fn pipeline(needs: &PipelineNeeds) -> TruncationPoint {
    let name = needs.pipeline.clone();
    match needs.positions.iter().min() {
        Some(at) => TruncationPoint { at: *at, held_by: Holder::Pipeline(name) },
        None => everything(Holder::PipelineWithoutCheckpoint(name)),
    }
}

fn view(view: &ViewNeeds, needs: &LogNeeds<'_>) -> TruncationPoint {
    let at = match (view.snapshots.iter().min(), view.memory) {
        // A single one might be damaged.
        (Some(oldest), _) if view.snapshots.len() >= SNAPSHOTS_KEPT => *oldest,
        (_, Some(memory)) => younger_than(memory, needs),
        (_, None) => Lsn::ZERO,
    };
    TruncationPoint { at, held_by: Holder::View(view.view) }
}

fn end(needs: &LogNeeds<'_>) -> Lsn {
    needs.segments.last().map_or(Lsn::ZERO, |segment| segment.end)
}

fn kept_bytes(needs: &LogNeeds<'_>) -> Lsn {
    Lsn(end(needs).0.saturating_sub(needs.keep.bytes))
}

/// The first segment with frames younger than this. What is not known to be old is young.
fn younger_than(age: Duration, needs: &LogNeeds<'_>) -> Lsn {
    let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    let oldest = needs.now.saturating_sub(age);
    let young = |segment: &&Segment| segment.written_at.is_none_or(|written| written > oldest);
    needs.segments.iter().find(young).map_or_else(|| end(needs), |segment| segment.base)
}

#[cfg(test)]
mod tests;
