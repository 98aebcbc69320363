//! Numbered places at which a process can be made to die, so that a test meets moments that chance would not find.
//!
//! A place is passed by [`pass`], which costs one relaxed load unless the process was armed, once and at its start. What an
//! armed process does at the place that its [`Plan`] names is up to who armed it; nothing here ends a process.
//!
//! The list of places is [`Failpoint`]. It stands here, below all crates that have one.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Defines the places and their names, so that none is without one.
macro_rules! failpoints {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A place between two steps, at which a process may die without anything lost or done twice.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Failpoint {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Failpoint {
            /// All places, in the order of the data.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in a plan.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

failpoints! {
    /// A group of frames is about to be written.
    GroupBeforeWrite = "group_before_write",
    /// A group is written, but not synced.
    GroupWritten = "group_written",
    /// A group is synced; nobody was told.
    GroupSynced = "group_synced",
    /// The file of a new segment is durable, without a frame.
    SegmentBegun = "segment_begun",
    /// The record of a new pipeline is durable.
    PipelineRecorded = "pipeline_recorded",
    /// An epoch was cut: every source knows its barrier.
    EpochCut = "epoch_cut",
    /// Data sinks made the rows of an epoch durable, which is not sealed.
    SinkFlushed = "sink_flushed",
    /// Dead letters of an epoch are durable, which is not sealed.
    DeadLettersFlushed = "dead_letters_flushed",
    /// Everything that an epoch needs is there; its seal is about to be submitted.
    SealReady = "seal_ready",
    /// The seal of an epoch is durable; nobody was told.
    SealDurable = "seal_durable",
    /// The state files of a checkpoint are durable; no manifest names them.
    StateWritten = "state_written",
    /// The manifest of a checkpoint is durable.
    ManifestCommitted = "manifest_committed",
    /// State files that nobody needs are deleted; the manifests that named them are there.
    StateDeleted = "state_deleted",
    /// The boundary is durable; the manifests up to it are there.
    BoundaryWritten = "boundary_written",
    /// A manifest that nobody needs is deleted, perhaps not the last one.
    ManifestDeleted = "manifest_deleted",
    /// A process has written the newest checkpoint again as its own.
    TakenOver = "taken_over",
    /// The state of a checkpoint is in memory.
    Restored = "restored",
    /// A sealed epoch was run again.
    EpochReplayed = "epoch_replayed",
    /// A snapshot of a view is written under a temporary name.
    SnapshotWritten = "snapshot_written",
    /// A snapshot of a view has its name; older ones are there.
    SnapshotPublished = "snapshot_published",
    /// Where the log begins from now on is durable; nothing is deleted.
    StartWritten = "start_written",
    /// The first segment before it is deleted, perhaps not the last one.
    SegmentDeleted = "segment_deleted",
    /// The intent of a send is durable; no socket was used.
    IntentDurable = "intent_durable",
    /// A provider answered; the log does not know.
    ProviderAnswered = "provider_answered",
}

/// At which passage something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Passages of this place count; `None`: those of all.
    pub at: Option<Failpoint>,
    /// The number of the passage, from 1.
    pub passage: u64,
}

impl Plan {
    /// Reads `N`, the N-th passage of any place, or `NAME:N`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, passage) = text.split_once(':').map_or((None, text), |(n, p)| (Some(n), p));
        let passage = passage.parse().ok().filter(|passage| *passage > 0);
        let passage =
            passage.ok_or_else(|| format!("`{text}`: the number of a passage is from 1"))?;
        let known = |name| Failpoint::ALL.iter().copied().find(|point| point.name() == name);
        let at = match name {
            Some(name) => Some(known(name).ok_or_else(|| format!("no failpoint is `{name}`"))?),
            None => None,
        };
        Ok(Self { at, passage })
    }
}

/// What is done at the passage of the plan.
pub type Act = fn(Failpoint);

#[derive(Debug)]
struct Armed {
    plan: Plan,
    passed: AtomicU64,
    act: Act,
}

impl Armed {
    const fn new(plan: Plan, act: Act) -> Self {
        Self { plan, passed: AtomicU64::new(0), act }
    }

    fn pass(&self, point: Failpoint) {
        if self.plan.at.is_some_and(|at| at != point) {
            return;
        }
        if self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.plan.passage {
            (self.act)(point);
        }
    }
}

static IS_ARMED: AtomicBool = AtomicBool::new(false);
static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms this process, before anything is started. Only the first call counts.
pub fn arm(plan: Plan, act: Act) {
    ARMED.get_or_init(|| Armed::new(plan, act));
    IS_ARMED.store(true, Ordering::Release);
}

/// Passes a place.
#[inline]
pub fn pass(point: Failpoint) {
    if IS_ARMED.load(Ordering::Relaxed) {
        armed_pass(point);
    }
}

#[cold]
fn armed_pass(point: Failpoint) {
    if let Some(armed) = ARMED.get() {
        armed.pass(point);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::atomic::AtomicU64};

    use super::{Armed, Failpoint, Ordering, Plan};

    #[test]
    fn a_plan_is_a_number_or_a_name_and_a_number() {
        let any = Plan { at: None, passage: 17 };
        assert_eq!(Plan::parse("17"), Ok(any));
        let seal = Plan { at: Some(Failpoint::SealDurable), passage: 2 };
        assert_eq!(Plan::parse("seal_durable:2"), Ok(seal));
        for wrong in ["", "0", "seal_durable", "seal_durable:0", "nowhere:1", "-1"] {
            assert!(Plan::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_place_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Failpoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Failpoint::ALL.len());
    }

    #[test]
    fn the_passage_of_the_plan_acts_and_no_other() {
        static ACTED: AtomicU64 = AtomicU64::new(0);
        let act = |_| {
            ACTED.fetch_add(1, Ordering::Relaxed);
        };
        let acted = || ACTED.load(Ordering::Relaxed);
        let named = Armed::new(Plan { at: Some(Failpoint::EpochCut), passage: 2 }, act);
        named.pass(Failpoint::EpochCut);
        named.pass(Failpoint::SealReady);
        assert_eq!(acted(), 0);
        named.pass(Failpoint::EpochCut);
        assert_eq!(acted(), 1);
        named.pass(Failpoint::EpochCut);
        assert_eq!(acted(), 1);
        let any = Armed::new(Plan { at: None, passage: 2 }, act);
        any.pass(Failpoint::EpochCut);
        any.pass(Failpoint::SealReady);
        assert_eq!(acted(), 2);
    }
}
