//! What every operator proves about its state, by one line at the end of this file.

mod adapters;

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::RecordBatch,
    buffer::BooleanBuffer,
    util::display::{ArrayFormatter, FormatOptions},
};
use postrider_core::{Batch, Watermark};
use postrider_plan::Ranking;
use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    Advanced, Grid, Operator, RestoredPart, StateSnapshot, reroute,
    testing::{keyed, keyed_rows, ranks},
};
use crate::exchange::{Route, split};

const ROUTE: Route = Route::Hash { keys: 1 };

/// What happens to an operator.
#[derive(Debug, Clone)]
enum Step {
    /// Rows of `(key, time behind the watermark, value)`.
    Rows(Vec<(Option<i64>, i64, i64)>),
    /// The watermark moves by this much.
    Advance(i64),
    Snapshot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![9 => (0..12_i64).prop_map(Some), 1 => Just(None)];
    let rows = prop::collection::vec((key, -30..120_i64, 1..1_000_i64), 1..12);
    let step = prop_oneof![
        5 => rows.prop_map(Step::Rows),
        4 => (0..60_i64).prop_map(Step::Advance),
        3 => Just(Step::Snapshot),
    ];
    prop::collection::vec(step, 1..40)
}

/// The parts of one instance, as a checkpoint would keep them.
#[derive(Debug, Clone, Default)]
struct Kept {
    parts: BTreeMap<u64, (Vec<RecordBatch>, Option<BooleanBuffer>)>,
    forgotten: BTreeSet<u64>,
}

impl Kept {
    /// Takes a snapshot over, and checks that it keeps to the contract.
    fn take(&mut self, number: u64, snapshot: StateSnapshot) {
        let mut before = std::mem::take(&mut self.parts);
        for part in snapshot.parts {
            assert!(part.id <= number, "part {} at snapshot {number}", part.id);
            assert!(!self.forgotten.contains(&part.id), "part {} came back", part.id);
            let known = before.remove(&part.id).map(|(rows, _)| rows);
            let rows = match (part.new, known) {
                (Some(new), None) => new,
                (None, Some(known)) => known,
                (new, _) => panic!("part {} new: {}", part.id, new.is_some()),
            };
            let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(count as u64, part.rows);
            assert!(part.dead.as_ref().is_none_or(|dead| dead.len() == count));
            self.parts.insert(part.id, (rows, part.dead));
        }
        self.forgotten.extend(before.into_keys());
    }

    fn restored(&self) -> Vec<RestoredPart> {
        let parts = self.parts.iter();
        parts
            .map(|(&id, (batches, dead))| RestoredPart {
                id,
                batches: batches.clone(),
                dead: dead.clone(),
            })
            .collect()
    }
}

/// What a run shows: after each step the results, the late rows and the next timer.
type Shown = Vec<(Vec<String>, u64, Option<Watermark>)>;

/// Instances of an operator and their kept states.
struct Run<'a> {
    build: &'a dyn Fn() -> Box<dyn Operator>,
    shards: Vec<(Box<dyn Operator>, Kept)>,
    watermark: Watermark,
    snapshots: u64,
    shown: Shown,
}

impl<'a> Run<'a> {
    fn new(build: &'a dyn Fn() -> Box<dyn Operator>, shards: usize) -> Self {
        let shards = (0..shards).map(|_| (build(), Kept::default())).collect();
        Self { build, shards, watermark: Watermark(0), snapshots: 0, shown: Vec::new() }
    }

    /// The same instances anew, from what was kept.
    fn restored(&self, shards: usize) -> Self {
        let states = if shards == self.shards.len() {
            self.shards.iter().map(|(_, kept)| kept.restored()).collect()
        } else {
            let all = self.shards.iter().flat_map(|(_, kept)| kept.restored()).collect();
            reroute(all, ROUTE, shards).unwrap()
        };
        let shards = states.into_iter().map(|parts| {
            let mut kept = Kept::default();
            for part in &parts {
                kept.parts.insert(part.id, (part.batches.clone(), part.dead.clone()));
            }
            let mut operator = (self.build)();
            operator.restore(self.snapshots, parts, self.watermark).unwrap();
            (operator, kept)
        });
        Self {
            shards: shards.collect(),
            shown: self.shown.clone(),
            build: self.build,
            watermark: self.watermark,
            snapshots: self.snapshots,
        }
    }

    fn step(&mut self, step: &Step) {
        let mut rows = Vec::new();
        match step {
            Step::Rows(rows) => {
                let rows: Vec<_> =
                    rows.iter().map(|&(key, by, v)| (key, self.watermark.0 + by, v)).collect();
                let parts = split(&keyed_rows(&rows), ROUTE, self.shards.len()).unwrap();
                for ((operator, _), part) in self.shards.iter_mut().zip(parts) {
                    part.iter().for_each(|batch| operator.process(batch).unwrap());
                }
            }
            Step::Advance(by) => {
                self.watermark = Watermark(self.watermark.0.saturating_add(*by));
                rows = self.advance();
            }
            Step::Snapshot => {
                // A snapshot is taken at the end of an epoch.
                rows = self.advance();
                self.snapshots += 1;
                for (operator, kept) in &mut self.shards {
                    kept.take(self.snapshots, operator.snapshot(self.snapshots).unwrap());
                }
            }
        }
        let late = self.shards.iter_mut().map(|(operator, _)| operator.take_late_rows()).sum();
        let timer = self.shards.iter_mut().filter_map(|(operator, _)| operator.next_timer()).min();
        self.shown.push((rows, late, timer));
    }

    fn advance(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        for (operator, _) in &mut self.shards {
            while operator.advance(self.watermark, &mut out).unwrap() == Advanced::Partly {}
        }
        assert!(out.iter().all(|b| b.times.values().iter().all(|&t| t <= self.watermark.0)));
        let mut rows: Vec<_> = out.iter().flat_map(texts).collect();
        rows.sort();
        rows
    }

    fn all(mut self, steps: &[Step]) -> Self {
        steps.iter().for_each(|step| self.step(step));
        self
    }
}

/// The rows of a batch; floats are printed so that each has its own text.
fn texts(batch: &Batch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns = batch.rows.columns().iter();
    let columns: Vec<_> = columns.map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>();
    (0..batch.rows.num_rows()).map(|number| row(number).join(" | ")).collect()
}

fn check(build: &dyn Fn() -> Box<dyn Operator>, steps: &[Step], at: usize, shards: [usize; 2]) {
    let mut steps = steps.to_vec();
    // The last of them show everything.
    steps.extend([Step::Snapshot, Step::Advance(10_000)]);
    let whole = Run::new(build, 1).all(&steps);
    assert_eq!(Run::new(build, shards[0]).all(&steps).shown, whole.shown, "{shards:?}");
    // A restart behind the snapshot, also on another number of shards.
    let at = steps[..at % steps.len()].iter().rposition(|step| matches!(step, Step::Snapshot));
    if let Some(at) = at {
        let before = Run::new(build, shards[0]).all(&steps[..=at]);
        for shards in shards {
            let after = before.restored(shards).all(&steps[at + 1..]);
            assert_eq!(after.shown, whole.shown, "{} -> {shards} shards", before.shards.len());
        }
    }
    let mut empty = whole;
    empty.step(&Step::Snapshot);
    for (operator, kept) in &mut empty.shards {
        assert!(kept.parts.is_empty(), "{:?}", kept.parts);
        assert_eq!(operator.next_timer(), None);
        assert!(operator.memory() < 64 << 10, "{} bytes of nothing", operator.memory());
    }
}

fn prove(build: impl Fn() -> Box<dyn Operator>) {
    let strategy = (steps(), any::<usize>(), 1..4_usize, 1..5_usize);
    let run = |(steps, at, from, to): (Vec<Step>, usize, usize, usize)| {
        check(&build, &steps, at, [from, to]);
        Ok(())
    };
    TestRunner::new(ProptestConfig::with_cases(64)).run(&strategy, run).unwrap();
    let full = many_keys(&build);
    assert!(full > 20 * 2_000, "{full} bytes for 2,000 keys");
}

/// The memory that 2,000 keys take.
fn many_keys(build: &dyn Fn() -> Box<dyn Operator>) -> usize {
    let mut run = Run::new(build, 1);
    run.step(&Step::Rows((0..2_000).map(|key| (Some(key), 50, key)).collect()));
    run.step(&Step::Snapshot);
    run.shards.iter().map(|(operator, _)| operator.memory()).sum()
}

/// One line for each operator.
macro_rules! conformance {
    ($($name:ident: $operator:expr;)*) => {
        $(#[test]
        fn $name() {
            prove(|| Box::new($operator));
        })*
    };
}

conformance! {
    tumbling_windows: super::SlicingWindows::new(Grid::hop(40, 40, 0), keyed());
    hopping_windows: super::SlicingWindows::new(Grid::hop(10, 45, 3), keyed());
    cumulating_windows: super::SlicingWindows::new(Grid::cumulate(15, 60, 7), keyed());
    days_of_a_zone: adapters::days();
    windows_that_rows_bring_along: adapters::brought();
    ranks_in_windows: super::RankedWindows::new(ranks(Ranking::Rank, Some(2)));
    row_numbers_in_windows: super::RankedWindows::new(ranks(Ranking::RowNumber, None));
    sessions: super::SessionWindows::new(15, keyed()).unwrap();
}
