//! Joins of all rows so far, by the rules of Flink's `StreamingJoinOperator`. Either side may be a changelog.
//!
//! Rows of each side are kept by their key: those that can be taken back once, with how often they are there; others as they come.
//! Rows of outer, semi and anti sides have the number of their partners, which decides whether they leave by themselves.
//!
//! The rows of an epoch are taken together at its end. A pair changes by how often its rows are there behind the epoch and were before
//! it, and a row by itself by its partners. So what leaves depends on the epochs, which are journaled, and on nothing between
//! them. What went and what came of one key in one epoch leaves as updates, unless the key has very many pairs.
//!
//! A row is let go `ttl` after it last came, by the epoch's clock. That says nothing; what comes later does not meet it, and taking it
//! back does nothing any more. A row whose key has a NULL meets nobody and is not kept.

mod arrived;
mod epoch;
mod index;
mod keep;
mod meet;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use datafusion::{
    common::{JoinType, Result},
    physical_expr::PhysicalExpr,
};
use postrider_core::{Batch, ClockTime, Watermark};

use self::{arrived::Arrived, epoch::Epoch, index::Index};
use super::{
    Advanced, Operator, RestoredPart, StateSnapshot,
    keys::KeyEncoder,
    net_rows::{Changes, NetRows},
    rows::RowStore,
    sided::{LEFT, RIGHT, TwoSides},
};
use crate::limits::ADVANCE_ROWS;

/// What a join computes. Rows of each side arrive as `[keys.., others..]`, and their kinds if they can be taken back.
#[derive(Debug, Clone)]
pub(crate) struct UpdatingJoinSpec {
    pub(crate) kind: JoinType,
    /// How many of the first columns of each side are keys.
    pub(crate) keys: usize,
    /// Whether NULL equals NULL in keys, or nothing.
    pub(crate) null_equals_null: bool,
    /// The columns in which the rows of each side arrive, without kinds.
    pub(crate) inputs: [SchemaRef; 2],
    /// Whether rows of each side can be taken back.
    pub(crate) takes_back: [bool; 2],
    /// For each side, where the columns of the results stand in its rows.
    pub(crate) columns: [Arc<[usize]>; 2],
    /// What else a pair must meet, over the columns of both sides as results have them.
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of both sides.
    pub(crate) pair_schema: SchemaRef,
    /// The columns of results, and the kinds of rows if they are a changelog.
    pub(crate) output_schema: SchemaRef,
    /// Whether results are a changelog.
    pub(crate) updating: bool,
    /// How long a row is remembered after it last came, in nanoseconds of the epoch's clock.
    pub(crate) ttl_ns: Option<i64>,
}

/// When a row leaves by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lone {
    /// Never.
    Nothing,
    /// Beside NULLs, while it has no partner.
    Padded,
    /// While it has a partner.
    WithPartner,
    /// While it has none.
    WithoutPartner,
}

impl Lone {
    /// How many rows leave of one that is there so often.
    const fn leaves(self, count: i64, partners: i64) -> i64 {
        match self {
            Self::Padded | Self::WithoutPartner if partners <= 0 => count,
            Self::WithPartner if partners > 0 => count,
            _ => 0,
        }
    }
}

impl UpdatingJoinSpec {
    /// How rows are kept.
    fn layout(&self) -> TwoSides {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let own = vec![
            Field::new("written", time.clone(), false),
            Field::new("time", time, false),
            Field::new("count", DataType::Int64, false),
            Field::new("partners", DataType::Int64, false),
        ];
        TwoSides { keys: self.keys, inputs: self.inputs.clone(), own }
    }

    /// The columns of a state row.
    pub(crate) fn state_schema(&self) -> SchemaRef {
        self.layout().state_schema()
    }

    const fn lone(&self, side: usize) -> Lone {
        match (self.kind, side) {
            (JoinType::Left | JoinType::Full, LEFT) | (JoinType::Right | JoinType::Full, RIGHT) => {
                Lone::Padded
            }
            (JoinType::LeftSemi, LEFT) => Lone::WithPartner,
            (JoinType::LeftAnti, LEFT) => Lone::WithoutPartner,
            _ => Lone::Nothing,
        }
    }

    const fn yields_pairs(&self) -> bool {
        !matches!(self.kind, JoinType::LeftSemi | JoinType::LeftAnti)
    }

    /// Whether equal rows of a side are kept as one. Of the right side of a semi or anti join one is as good as many.
    const fn is_counted(&self, side: usize) -> bool {
        self.takes_back[side] || (side == RIGHT && !self.yields_pairs())
    }

    /// Whether a left row is done with its first partner: neither of them can be taken back.
    const fn first_partner_ends(&self) -> bool {
        !self.yields_pairs() && !self.takes_back[LEFT] && !self.takes_back[RIGHT]
    }
}

/// The operator.
pub(crate) struct UpdatingJoin {
    spec: UpdatingJoinSpec,
    layout: TwoSides,
    encoders: [KeyEncoder; 2],
    rows: RowStore,
    index: Index,
    /// The rows of the current epoch.
    arrived: [Arrived; 2],
    /// The last epoch, if it is not worked off.
    epoch: Option<Epoch>,
    /// Results on their way out.
    changes: Option<Changes>,
    clock: ClockTime,
}

impl UpdatingJoin {
    pub(crate) fn new(spec: UpdatingJoinSpec) -> Result<Self> {
        let encoder = |side: usize| KeyEncoder::new(spec.inputs[side].fields());
        Ok(Self {
            layout: spec.layout(),
            encoders: [encoder(LEFT)?, encoder(RIGHT)?],
            rows: RowStore::default(),
            index: Index::new(spec.ttl_ns),
            arrived: [Arrived::default(), Arrived::default()],
            epoch: None,
            changes: None,
            clock: ClockTime(i64::MIN),
            spec,
        })
    }

    /// Lets rows go that last came long ago.
    fn expire(&mut self) {
        while let Some(id) = self.index.pop_expired(self.clock.0) {
            self.index.remove(id);
            self.rows.release(id);
        }
    }

    /// Ends an epoch: what it changed, and what leaves of rows that are not kept.
    fn close(&mut self) -> Result<()> {
        let mut changed = [None, None];
        for (side, changed) in changed.iter_mut().enumerate() {
            let came = self.arrived[side].close(&self.spec, side, &self.encoders[side])?;
            *changed = came.map(|came| self.changed(side, came)).transpose()?;
        }
        if changed.iter().all(Option::is_none) {
            return Ok(());
        }
        let epoch = Epoch::new(changed);
        let pieces = self.without_key(&epoch)?;
        self.yield_rows(pieces)?;
        self.epoch = (!epoch.is_done()).then_some(epoch);
        Ok(())
    }

    /// Works off a part of an epoch.
    fn work(&mut self, mut epoch: Epoch) -> Result<()> {
        let chunk = epoch.next_chunk(&self.index);
        let pieces = self.meet(&mut epoch, &chunk)?;
        self.yield_rows(pieces)?;
        self.remember(&mut epoch, &chunk)?;
        self.epoch = (!epoch.is_done()).then_some(epoch);
        Ok(())
    }

    fn yield_rows(&mut self, pieces: Vec<NetRows>) -> Result<()> {
        let net = NetRows::concat(pieces)?;
        let changes = net.into_changes(&self.spec.output_schema, self.spec.updating)?;
        self.changes = (!changes.is_done()).then_some(changes);
        Ok(())
    }
}

impl Operator for UpdatingJoin {
    fn process(&mut self, side: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        self.arrived[side.min(RIGHT)].push(batch);
        Ok(batch.rows.num_rows())
    }

    fn set_clock(&mut self, clock: ClockTime) {
        self.clock = self.clock.max(clock);
    }

    fn advance(&mut self, _watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        if self.changes.is_none() {
            match self.epoch.take() {
                Some(epoch) => self.work(epoch)?,
                None => {
                    self.expire();
                    self.close()?;
                }
            }
        }
        if let Some(changes) = &mut self.changes {
            out.extend(changes.next(ADVANCE_ROWS)?);
            if changes.is_done() {
                self.changes = None;
            }
        }
        let whole = self.changes.is_none() && self.epoch.is_none();
        Ok(if whole { Advanced::Whole } else { Advanced::Partly })
    }

    /// None: no watermark makes a result.
    fn next_timer(&mut self) -> Option<Watermark> {
        None
    }

    /// None: a row counts whenever it comes.
    fn take_late_rows(&mut self) -> u64 {
        0
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        Ok(self.layout.snapshot(self.rows.snapshot(number)?))
    }

    fn restore(
        &mut self,
        _number: u64,
        parts: Vec<RestoredPart>,
        _watermark: Watermark,
    ) -> Result<()> {
        self.take_parts(&parts)
    }

    fn memory(&self) -> usize {
        let arrived = self.arrived.iter().map(Arrived::memory).sum::<usize>();
        self.rows.memory() + self.index.memory() + arrived
    }
}
