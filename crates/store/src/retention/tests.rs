//! Who holds the log where, case by case.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Holder, KeepLog, LogNeeds, PipelineNeeds, TruncationPoint, ViewNeeds, truncation_point,
};
use crate::{Lsn, Segment};

/// Ten segments of 100 bytes; the one at `100 * n` was last written to at `n`.
fn segments() -> Vec<Segment> {
    let segment = |n: u64| Segment {
        base: Lsn(100 * n),
        end: Lsn(100 * n + 100),
        written_at: i64::try_from(n).ok(),
    };
    (0..10).map(segment).collect()
}

struct Case {
    segments: Vec<Segment>,
    known: Vec<&'static str>,
    pipelines: Vec<(&'static str, Vec<u64>)>,
    views: Vec<(&'static str, Vec<u64>, Option<u64>)>,
    time: u64,
    bytes: u64,
}

impl Default for Case {
    /// Everything was snapshotted at the end, and nothing is kept beyond.
    fn default() -> Self {
        Self {
            segments: segments(),
            known: vec!["a"],
            pipelines: vec![("a", vec![1000])],
            views: vec![("outbox", vec![1000, 1000], None)],
            time: 0,
            bytes: 0,
        }
    }
}

impl Case {
    fn point(&self) -> TruncationPoint {
        let lsns = |numbers: &[u64]| numbers.iter().copied().map(Lsn).collect();
        let pipeline = |(name, positions): &(&str, Vec<u64>)| PipelineNeeds {
            pipeline: (*name).to_owned(),
            positions: lsns(positions),
        };
        let view = |(view, snapshots, memory): &(&'static str, Vec<u64>, Option<u64>)| ViewNeeds {
            view,
            snapshots: lsns(snapshots),
            memory: memory.map(Duration::from_nanos),
        };
        truncation_point(&LogNeeds {
            segments: &self.segments,
            known: self.known.iter().copied().map(str::to_owned).collect::<BTreeSet<_>>(),
            pipelines: &self.pipelines.iter().map(pipeline).collect::<Vec<_>>(),
            views: &self.views.iter().map(view).collect::<Vec<_>>(),
            keep: KeepLog { time: Duration::from_nanos(self.time), bytes: self.bytes },
            now: 9,
        })
    }

    #[track_caller]
    fn holds(&self, at: u64, held_by: Holder) {
        assert_eq!(self.point(), TruncationPoint { at: Lsn(at), held_by });
    }
}

fn pipeline(name: &str) -> Holder {
    Holder::Pipeline(name.to_owned())
}

fn without_checkpoint(name: &str) -> Holder {
    Holder::PipelineWithoutCheckpoint(name.to_owned())
}

#[test]
fn nobody_needs_anything() {
    Case::default().holds(1000, Holder::Bytes);
    Case { segments: vec![], ..Case::default() }.holds(0, Holder::Bytes);
}

#[test]
fn the_oldest_position_of_any_pipeline_counts() {
    let pipelines = vec![("a", vec![700, 650, 800]), ("b", vec![900])];
    Case { pipelines, ..Case::default() }.holds(650, pipeline("a"));
}

#[test]
fn a_pipeline_without_a_checkpoint_needs_everything() {
    let pipelines = vec![("a", vec![700]), ("b", vec![])];
    Case { pipelines, ..Case::default() }.holds(0, without_checkpoint("b"));
    let known = vec!["a", "c"];
    Case { known, ..Case::default() }.holds(0, without_checkpoint("c"));
    Case { pipelines: vec![], known: vec![], ..Case::default() }.holds(1000, Holder::Bytes);
}

#[test]
fn the_oldest_kept_snapshot_of_any_view_counts() {
    let views = vec![("outbox", vec![800, 500], None), ("ids", vec![600, 900], None)];
    Case { views, ..Case::default() }.holds(500, Holder::View("outbox"));
}

#[test]
fn a_view_with_a_single_snapshot_holds_as_much_as_one_without() {
    for snapshots in [vec![], vec![900]] {
        let views = vec![("outbox", snapshots.clone(), None)];
        Case { views, ..Case::default() }.holds(0, Holder::View("outbox"));
        // The segment that was written to exactly 3 ns ago is no longer remembered.
        let views = vec![("ids", snapshots, Some(3))];
        Case { views, ..Case::default() }.holds(700, Holder::View("ids"));
    }
}

#[test]
fn young_frames_stay() {
    Case { time: 4, ..Case::default() }.holds(600, Holder::Time);
    Case { time: u64::MAX, ..Case::default() }.holds(0, Holder::Time);
    let mut segments = segments();
    segments[2].written_at = None;
    Case { segments: segments.clone(), ..Case::default() }.holds(200, Holder::Time);
    segments[2].written_at = Some(100);
    Case { segments, ..Case::default() }.holds(200, Holder::Time);
}

#[test]
fn the_last_bytes_stay() {
    Case { bytes: 333, ..Case::default() }.holds(667, Holder::Bytes);
    Case { bytes: 2000, ..Case::default() }.holds(0, Holder::Bytes);
    Case { bytes: 333, time: 4, ..Case::default() }.holds(600, Holder::Time);
    Case { bytes: 500, time: 4, ..Case::default() }.holds(500, Holder::Bytes);
}

#[test]
fn a_holder_has_a_name() {
    assert_eq!(pipeline("a").to_string(), "the oldest checkpoint of pipeline `a`");
    assert_eq!(without_checkpoint("a").to_string(), "pipeline `a`, which has no checkpoint");
    assert_eq!(Holder::View("outbox").to_string(), "the snapshots of the view `outbox`");
}
