//! What every operator proves about its state, by one line at the end of this file.

mod adapters;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    buffer::BooleanBuffer,
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::common::JoinType;
use postrider_core::{Batch, ClockTime, Watermark};
use postrider_plan::{Lookup, Ranking};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    Advanced, Deferred, Grid, Operator, RestoredPart, StateSnapshot, reroute,
    testing::{joined, keyed, keyed_rows, looked_up, over, ranks, updating},
};
use crate::exchange::{Route, split};

const ROUTE: Route = Route::Hash { keys: 1 };
/// How many keys rows have, NULL included.
const KEYS: usize = 13;

/// What happens to an operator.
#[derive(Debug, Clone)]
enum Step {
    /// Rows of `(key, time behind the watermark, value)`.
    Rows(Vec<(Option<i64>, i64, i64)>),
    /// The watermark moves by this much.
    Advance(i64),
    Snapshot,
    /// The work that snapshots left is done.
    Work,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![9 => (0..12_i64).prop_map(Some), 1 => Just(None)];
    let rows = prop::collection::vec((key, -30..120_i64, 1..1_000_i64), 1..12);
    let step = prop_oneof![
        5 => rows.prop_map(Step::Rows),
        4 => (0..60_i64).prop_map(Step::Advance),
        3 => Just(Step::Snapshot),
        1 => Just(Step::Work),
    ];
    prop::collection::vec(step, 1..40)
}

type Rows = Arc<Deferred<Vec<RecordBatch>>>;

/// The parts of one instance, as a checkpoint would keep them.
#[derive(Debug, Clone, Default)]
struct Kept {
    parts: BTreeMap<u64, (Rows, Option<BooleanBuffer>)>,
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
                (Some(new), None) => Arc::new(new),
                (None, Some(known)) => known,
                (new, _) => panic!("part {} new: {}", part.id, new.is_some()),
            };
            self.parts.insert(part.id, (rows, part.dead));
        }
        self.forgotten.extend(before.into_keys());
    }

    /// Does what was left to do.
    fn work(&self) {
        for (id, (rows, dead)) in &self.parts {
            let count: usize = rows.get().unwrap().iter().map(RecordBatch::num_rows).sum();
            assert!(count > 0, "part {id} is empty");
            assert!(dead.as_ref().is_none_or(|dead| dead.len() == count), "part {id}");
        }
    }

    /// The rows that still count.
    fn live_rows(&self) -> usize {
        let live = self.parts.values().map(|(rows, dead)| {
            let rows: usize = rows.get().unwrap().iter().map(RecordBatch::num_rows).sum();
            rows - dead.as_ref().map_or(0, BooleanBuffer::count_set_bits)
        });
        live.sum()
    }

    fn restored(&self) -> Vec<RestoredPart> {
        let parts = self.parts.iter();
        parts
            .map(|(&id, (rows, dead))| RestoredPart {
                id,
                batches: rows.get().unwrap().clone(),
                dead: dead.clone(),
            })
            .collect()
    }
}

/// What a run shows: after each step the results, the late rows, dropped and counted, and the next timers.
type Shown = Vec<(Vec<String>, [u64; 2], Option<Watermark>, Option<ClockTime>)>;

/// What is to be known of an operator.
#[derive(Debug, Clone, Copy)]
struct Shape {
    inputs: usize,
    /// How many state rows of a key there may be when nothing is open any more.
    lasting: usize,
    /// Whether results that leave at the end of an epoch waited for the watermark.
    waits: bool,
}

/// Instances of an operator and their kept states.
struct Run<'a> {
    build: &'a dyn Fn() -> Box<dyn Operator>,
    shape: Shape,
    shards: Vec<(Box<dyn Operator>, Kept)>,
    watermark: Watermark,
    snapshots: u64,
    /// Leaves the work of snapshots to who needs its outcome.
    is_idle: bool,
    shown: Shown,
}

impl<'a> Run<'a> {
    fn new(build: &'a dyn Fn() -> Box<dyn Operator>, shape: Shape, shards: usize) -> Self {
        let shards = (0..shards).map(|_| (build(), Kept::default())).collect();
        let shown = Vec::new();
        Self { build, shape, shards, watermark: Watermark(0), snapshots: 0, is_idle: false, shown }
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
                let rows = Arc::new(Deferred::done(part.batches.clone()));
                kept.parts.insert(part.id, (rows, part.dead.clone()));
            }
            let mut operator = (self.build)();
            operator.restore(self.snapshots, parts, self.watermark).unwrap();
            (operator, kept)
        });
        Self {
            shards: shards.collect(),
            shown: self.shown.clone(),
            build: self.build,
            shape: self.shape,
            watermark: self.watermark,
            snapshots: self.snapshots,
            is_idle: self.is_idle,
        }
    }

    fn step(&mut self, step: &Step) {
        let (mut rows, mut completed) = (Vec::new(), Vec::new());
        match step {
            Step::Rows(rows) => {
                let rows: Vec<_> =
                    rows.iter().map(|&(key, by, v)| (key, self.watermark.0 + by, v)).collect();
                for input in 0..self.shape.inputs {
                    let own = |(_, _, v): &&(_, _, i64)| *v as usize % self.shape.inputs == input;
                    let own: Vec<_> = rows.iter().filter(own).copied().collect();
                    completed.extend(self.process(input, &keyed_rows(&own)));
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
            Step::Work if self.is_idle => {}
            Step::Work => self.shards.iter().for_each(|(_, kept)| kept.work()),
        }
        let late = self.shards.iter_mut().map(|(operator, _)| operator.take_late_rows()).sum();
        let counted = self.shards.iter_mut().map(|(operator, _)| operator.take_counted_late());
        let late = [late, counted.sum()];
        let timer = self.shards.iter_mut().filter_map(|(operator, _)| operator.next_timer()).min();
        let clock = self.shards.iter().filter_map(|(operator, _)| operator.next_clock()).min();
        completed.sort();
        rows.extend(completed);
        self.shown.push((rows, late, timer, clock));
    }

    /// What rows of an input complete at once.
    fn process(&mut self, input: usize, batch: &Batch) -> Vec<String> {
        let parts = split(batch, ROUTE, self.shards.len()).unwrap();
        let mut out = Vec::new();
        for ((operator, _), part) in self.shards.iter_mut().zip(parts) {
            let Some(part) = part else { continue };
            let mut from = 0;
            while from < part.rows.num_rows() {
                let rest = part.rows.num_rows() - from;
                let rest = Batch {
                    rows: part.rows.slice(from, rest),
                    times: part.times.slice(from, rest),
                };
                from += operator.process(input, &rest, &mut out).unwrap();
            }
        }
        out.iter().flat_map(texts).collect()
    }

    fn advance(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        for (operator, _) in &mut self.shards {
            operator.set_clock(ClockTime(self.watermark.0));
            while operator.advance(self.watermark, &mut out).unwrap() == Advanced::Partly {}
        }
        // Rows that wait for no watermark leave with times behind it.
        let waits = |batch: &Batch| batch.times.values().iter().all(|&t| t <= self.watermark.0);
        assert!(!self.shape.waits || out.iter().all(waits));
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

fn check(
    build: &dyn Fn() -> Box<dyn Operator>,
    shape: Shape,
    steps: &[Step],
    at: usize,
    shards: [usize; 2],
) {
    let mut steps = steps.to_vec();
    // The last of them show everything.
    steps.extend([Step::Snapshot, Step::Advance(10_000)]);
    let whole = Run::new(build, shape, 1).all(&steps);
    assert_eq!(Run::new(build, shape, shards[0]).all(&steps).shown, whole.shown, "{shards:?}");
    // Nobody can tell when the work of snapshots was done.
    let idle = Run { is_idle: true, ..Run::new(build, shape, 1) };
    assert_eq!(idle.all(&steps).shown, whole.shown, "work left undone");
    // A restart behind the snapshot, also on another number of shards.
    let at = steps[..at % steps.len()].iter().rposition(|step| matches!(step, Step::Snapshot));
    if let Some(at) = at {
        let before = Run::new(build, shape, shards[0]).all(&steps[..=at]);
        for shards in shards {
            let after = before.restored(shards).all(&steps[at + 1..]);
            assert_eq!(after.shown, whole.shown, "{} -> {shards} shards", before.shards.len());
        }
    }
    let mut empty = whole;
    empty.step(&Step::Snapshot);
    for (operator, kept) in &mut empty.shards {
        assert_eq!((operator.next_timer(), operator.next_clock()), (None, None));
        if shape.lasting == 0 {
            assert!(kept.parts.is_empty(), "{:?}", kept.parts);
        }
        assert!(kept.live_rows() <= KEYS * shape.lasting, "{} rows are kept", kept.live_rows());
        assert!(operator.memory() < 64 << 10, "{} bytes of nothing", operator.memory());
    }
}

fn prove(shape: Shape, build: impl Fn() -> Box<dyn Operator>) {
    let strategy = (steps(), any::<usize>(), 1..4_usize, 1..5_usize);
    let run = |(steps, at, from, to): (Vec<Step>, usize, usize, usize)| {
        check(&build, shape, &steps, at, [from, to]);
        Ok(())
    };
    TestRunner::new(ProptestConfig::with_cases(64)).run(&strategy, run).unwrap();
    let full = many_keys(shape, &build);
    assert!(full > 20 * 2_000, "{full} bytes for 2,000 keys");
}

/// The memory that 2,000 keys take.
fn many_keys(shape: Shape, build: &dyn Fn() -> Box<dyn Operator>) -> usize {
    let mut run = Run::new(build, shape, 1);
    run.step(&Step::Rows((0..2_000).map(|key| (Some(key), 50, key)).collect()));
    run.step(&Step::Snapshot);
    run.shards.iter().map(|(operator, _)| operator.memory()).sum()
}

/// One line for each operator.
macro_rules! conformance {
    ($($name:ident: $operator:expr;)*) => {
        $(#[test]
        fn $name() {
            prove(Shape { inputs: 1, lasting: 0, waits: true }, || Box::new($operator));
        })*
    };
}

/// Two inputs: a row goes to the one that its value says.
macro_rules! conformance_of_joins {
    ($($name:ident: $operator:expr;)*) => {
        $(#[test]
        fn $name() {
            prove(Shape { inputs: 2, lasting: 0, waits: true }, || Box::new($operator));
        })*
    };
}

/// Operators whose state the clock lets go, and that wait for no watermark.
macro_rules! conformance_with_ttl {
    ($($name:ident: $inputs:literal, $operator:expr;)*) => {
        $(#[test]
        fn $name() {
            prove(Shape { inputs: $inputs, lasting: 0, waits: false }, || Box::new($operator));
        })*
    };
}

/// Operators that keep something of each key for ever: at most so many rows.
macro_rules! conformance_for_ever {
    ($($name:ident: $inputs:literal, $rows:literal, $operator:expr;)*) => {
        $(#[test]
        fn $name() {
            prove(Shape { inputs: $inputs, lasting: $rows, waits: true }, || Box::new($operator));
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
    sessions_that_move_slowly: super::SessionWindows::new(15, keyed()).unwrap().moving(1);
    over_a_range: over(
        "count(*) OVER w, sum(v) OVER w, sum(x) OVER w, max(s) OVER w, first_value(s) OVER w,
         sum(x) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '70 nanoseconds' PRECEDING AND INTERVAL '5 nanoseconds' PRECEDING)",
        "k ORDER BY ts RANGE INTERVAL '25 nanoseconds' PRECEDING",
    );
}

conformance_for_ever! {
    over_everything: 1, 1, over(
        "row_number() OVER w, rank() OVER w, dense_rank() OVER w, sum(x) OVER w, stddev(x) OVER w, covar_samp(x, v) OVER w,
         array_agg(v) OVER w, count(DISTINCT s) OVER w, count(*) FILTER (WHERE v % 2 = 0) OVER w,
         max(s) OVER (PARTITION BY k ORDER BY ts, s DESC ROWS UNBOUNDED PRECEDING), avg(x) OVER (PARTITION BY k ORDER BY ts, s DESC)",
        "k ORDER BY ts, s DESC",
    );
    over_some_rows: 1, 8, over(
        "lag(v) OVER w, lag(v, 2, 7) IGNORE NULLS OVER w, first_value(v) IGNORE NULLS OVER w, last_value(v) IGNORE NULLS OVER w,
         nth_value(x, 3) OVER w, sum(x) OVER (PARTITION BY k ORDER BY ts ROWS 2 PRECEDING)",
        "k ORDER BY ts",
    );
    over_rows_in_a_range_and_others: 1, 8, over(
        "first_value(v) IGNORE NULLS OVER w, lag(x, 3) OVER w, row_number() OVER w,
         sum(x) OVER (PARTITION BY k ORDER BY ts RANGE INTERVAL '40 nanoseconds' PRECEDING)",
        "k ORDER BY ts",
    );
}

conformance_for_ever! {
    inner_join_of_versions: 2, 1, super::TableJoin::new(looked_up(Lookup::AsOf, false)).unwrap();
    left_join_of_versions: 2, 1, super::TableJoin::new(looked_up(Lookup::AsOf, true)).unwrap();
}

#[test]
fn joins_of_whole_tables() {
    for outer in [false, true] {
        prove(Shape { inputs: 2, lasting: 1, waits: false }, || {
            let mut join = super::TableJoin::new(looked_up(Lookup::Last, outer)).unwrap();
            join.set_ended(1, true);
            Box::new(join)
        });
    }
}

conformance_of_joins! {
    inner_interval_join: super::IntervalJoin::new(joined(JoinType::Inner));
    left_interval_join: super::IntervalJoin::new(joined(JoinType::Left));
    right_interval_join: super::IntervalJoin::new(joined(JoinType::Right));
    full_interval_join: super::IntervalJoin::new(joined(JoinType::Full));
    semi_interval_join: super::IntervalJoin::new(joined(JoinType::LeftSemi));
    anti_interval_join: super::IntervalJoin::new(joined(JoinType::LeftAnti));
}

conformance_with_ttl! {
    windows_that_are_revised: 1, adapters::revised(Grid::hop(10, 45, 3), 45, Some(20), 30);
    windows_that_are_only_corrected: 1, adapters::revised(Grid::hop(40, 40, 0), 40, None, 25);
    growing_windows_that_leave_early: 1, adapters::revised(Grid::cumulate(15, 60, 7), 60, Some(1), 0);
    distinct_rows: 1, updating("SELECT DISTINCT k, v, x, s FROM t");
    updating_aggregates: 1, updating(
        "SELECT k, count(*) AS a, sum(v) AS b, sum(x) AS c, max(s) AS d, stddev(x) AS e, array_agg(v) AS f, count(DISTINCT s) AS g,
           covar_samp(x, v) AS h, sum(v) FILTER (WHERE v % 2 = 0) AS i FROM t GROUP BY k",
    );
    signed_sums: 1, updating(
        "SELECT k, count(*) AS a, sum(v) AS b, count(s) AS c, avg(v) AS d, sum(v) FILTER (WHERE v % 2 = 0) AS e, sum(n) AS n
         FROM (SELECT k, v, x, s, ts, sum(v) AS n FROM t GROUP BY k, v, x, s, ts) GROUP BY k",
    );
    aggregates_of_bags: 1, updating(
        "SELECT k, count(*) AS a, sum(x) AS b, min(s) AS c, max(v) AS d, stddev(x) AS e, array_agg(v) AS f, count(DISTINCT s) AS g,
           covar_samp(x, v) AS h, max(v) FILTER (WHERE v % 2 = 0) AS i, sum(n) AS n
         FROM (SELECT k, v, x, s, ts, sum(v) AS n FROM t GROUP BY k, v, x, s, ts) GROUP BY k",
    );
    inner_join: 2, adapters::joined_for_ever(JoinType::Inner, [false, false]);
    inner_join_of_changes: 2, adapters::joined_for_ever(JoinType::Inner, [true, true]);
    left_join: 2, adapters::joined_for_ever(JoinType::Left, [false, false]);
    left_join_of_changes: 2, adapters::joined_for_ever(JoinType::Left, [true, true]);
    right_join_of_changes: 2, adapters::joined_for_ever(JoinType::Right, [true, false]);
    full_join: 2, adapters::joined_for_ever(JoinType::Full, [false, false]);
    full_join_of_changes: 2, adapters::joined_for_ever(JoinType::Full, [true, true]);
    semi_join: 2, adapters::joined_for_ever(JoinType::LeftSemi, [false, false]);
    semi_join_of_changes: 2, adapters::joined_for_ever(JoinType::LeftSemi, [true, true]);
    anti_join: 2, adapters::joined_for_ever(JoinType::LeftAnti, [false, false]);
    anti_join_of_changes: 2, adapters::joined_for_ever(JoinType::LeftAnti, [false, true]);
    first_rows: 1, updating("SELECT k, v, x, s FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY s, v DESC) <= 3");
    numbered_rows: 1, updating(
        "SELECT k, v, x, row_number() OVER (PARTITION BY k ORDER BY v % 4) AS n FROM t QUALIFY n <= 2",
    );
    numbered_changes: 1, updating(
        "SELECT k, s, row_number() OVER (PARTITION BY k ORDER BY s, n DESC) AS r
         FROM (SELECT k, v, x, s, ts, sum(v) AS n FROM t GROUP BY k, v, x, s, ts) QUALIFY r <= 3",
    );
}
