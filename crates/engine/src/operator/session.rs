//! Session windows: one open interval a key for as long as its rows are at most a gap apart.
//!
//! Rules (Flink, `MergingWindowProcessFunction`): a row at `ts` is the session `[ts, ts + gap)`; two
//! sessions of a key merge when `a.start <= b.end && a.end >= b.start`, so rows exactly one gap
//! apart join; a session fires when the watermark reaches `end - 1`; lateness is judged on
//! the merged session, so an old row that reaches an open session is kept.
//!
//! A session holds no accumulator of its own. The rows of a batch are aggregated once, all
//! sessions together, and leave one row of partial state for each session they touch; a session
//! remembers where its partial states are, and they are merged when it closes. So every aggregate works,
//! merging two sessions moves two lists together, and no row costs a virtual call.

mod parts;
mod snapshot;
mod table;

use std::{cmp::Reverse, collections::BinaryHeap};

use arrow::array::{TimestampNanosecondArray, UInt32Array};
use datafusion::common::Result;
use postrider_core::{Batch, Watermark};

use self::{
    parts::PartStore,
    table::{Session, SessionId, SessionTable, decode},
};
use super::{Advanced, Operator, RestoredPart, StateSnapshot, aggregate::AggregateSpec};
use crate::{
    exchange::pick,
    limits::{ADVANCE_ROWS, SESSION_MOVE_ROWS, SESSION_PARTS},
};

/// Session windows of one shard.
pub(super) struct SessionWindows {
    spec: AggregateSpec,
    gap: i64,
    table: SessionTable,
    parts: PartStore,
    /// At least one entry for each open session, at or before its end.
    timers: BinaryHeap<Reverse<(i64, SessionId)>>,
    /// Sessions that took rows since the newest snapshot, and perhaps others that have closed.
    touched: Vec<SessionId>,
    /// How many rows that a snapshot merged are followed between two batches.
    move_rows: usize,
    watermark: Watermark,
    late_rows: u64,
}

impl SessionWindows {
    pub(super) fn new(gap: i64, spec: AggregateSpec) -> Result<Self> {
        Ok(Self {
            table: SessionTable::new(&spec.key_schema)?,
            parts: PartStore::new(spec.clone()),
            spec,
            gap,
            timers: BinaryHeap::new(),
            touched: Vec::new(),
            move_rows: SESSION_MOVE_ROWS,
            watermark: Watermark::MIN,
            late_rows: 0,
        })
    }

    /// Follows moved rows in smaller steps, so that much happens between two of them.
    #[cfg(test)]
    pub(super) const fn moving(mut self, rows: usize) -> Self {
        self.move_rows = rows;
        self
    }

    /// Finds the session of each row, opening, extending and merging as needed. Returns the rows
    /// that are not late and the batch-local group of each.
    fn place(&mut self, batch: &Batch, store: u64) -> Result<Placed> {
        let mut placed = Placed::default();
        let keys = self.table.encode(self.spec.keys(batch), batch.rows.num_rows())?;
        for (row, &time) in (0_u32..).zip(batch.times.values()) {
            let key = keys.key(row as usize);
            let id = match self.table.touch(&key, time, self.gap) {
                Some(id) => id,
                None if self.watermark.completes(time.saturating_add(self.gap)) => {
                    self.late_rows += 1;
                    continue;
                }
                None => {
                    let id = self.table.open(&key, time);
                    self.timers.push(Reverse((time.saturating_add(self.gap), id)));
                    id
                }
            };
            let session = self.table.session_mut(id);
            if !std::mem::replace(&mut session.touched, true) {
                self.touched.push(id);
            }
            let group = match session.parts.last() {
                Some(part) if part.store == store => part.row,
                _ => {
                    let group = placed.groups_len;
                    placed.groups_len += 1;
                    session.parts.push(parts::Part { store, row: group });
                    if session.parts.len() > SESSION_PARTS {
                        placed.crowded.push(id);
                    }
                    group
                }
            };
            placed.rows.push(row);
            placed.groups.push(group as usize);
        }
        Ok(placed)
    }

    /// Merges the partial states of sessions that collected many.
    fn fold(&mut self, mut crowded: Vec<SessionId>) -> Result<()> {
        crowded.retain(|&id| self.table.is_open(id));
        crowded.sort_unstable();
        crowded.dedup();
        if crowded.is_empty() {
            return Ok(());
        }
        let lists = crowded.iter().map(|&id| std::mem::take(&mut self.table.session_mut(id).parts));
        let lists: Vec<_> = lists.collect();
        let store = self.parts.fold(lists)?;
        for (row, id) in (0_u32..).zip(crowded) {
            self.table.session_mut(id).parts.push(parts::Part { store, row });
        }
        Ok(())
    }

    /// The rows of sessions that closed.
    fn emit(&mut self, mut closed: Vec<Session>) -> Result<Batch> {
        let lists: Vec<_> = closed.iter_mut().map(|c| std::mem::take(&mut c.parts)).collect();
        let values = self.parts.plan(lists).values()?;
        let keys = closed.iter().map(|session| session.key().as_ref());
        let keys = decode(&self.table.converter(), keys)?;
        let starts = closed.iter().map(|session| session.start);
        let ends = closed.iter().map(|session| session.last.saturating_add(self.gap));
        self.spec.output(
            keys,
            values,
            TimestampNanosecondArray::from_iter_values(starts),
            TimestampNanosecondArray::from_iter_values(ends),
        )
    }

    /// The open session at the top of the timers, with its true end.
    fn next_close(&mut self) -> Option<(i64, SessionId)> {
        while let Some(&Reverse((at, id))) = self.timers.peek() {
            if !self.table.is_open(id) {
                self.timers.pop();
                continue;
            }
            let end = self.table.session_mut(id).last.saturating_add(self.gap);
            if end == at {
                return Some((end, id));
            }
            // The session grew since its timer was set: one new timer, however many rows came.
            self.timers.pop();
            self.timers.push(Reverse((end, id)));
        }
        None
    }
}

/// Where the rows of a batch went.
#[derive(Default)]
struct Placed {
    rows: Vec<u32>,
    groups: Vec<usize>,
    groups_len: u32,
    crowded: Vec<SessionId>,
}

impl SessionWindows {
    pub(super) fn take_rows(&mut self, batch: &Batch) -> Result<()> {
        let store = self.parts.next_store();
        let placed = self.place(batch, store)?;
        if placed.rows.is_empty() {
            return Ok(());
        }
        let groups = placed.groups_len as usize;
        if placed.rows.len() == batch.rows.num_rows() {
            self.parts.add(&batch.rows, &placed.groups, groups)?;
        } else {
            let kept = pick(batch, &UInt32Array::from(placed.rows))?;
            self.parts.add(&kept.rows, &placed.groups, groups)?;
        }
        self.fold(placed.crowded)?;
        if self.parts.wants_compaction() {
            self.touched.retain(|&id| self.table.is_open(id));
            self.parts.compact(&mut self.table, &self.touched)?;
        }
        self.parts.follow_move(&mut self.table, self.move_rows);
        Ok(())
    }
}

impl Operator for SessionWindows {
    fn process(&mut self, _input: usize, batch: &Batch, _out: &mut Vec<Batch>) -> Result<usize> {
        self.take_rows(batch)?;
        Ok(batch.rows.num_rows())
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Vec<Batch>) -> Result<Advanced> {
        self.watermark = self.watermark.max(watermark);
        self.parts.follow_move(&mut self.table, self.move_rows);
        let mut closed = Vec::new();
        let mut advanced = Advanced::Partly;
        while closed.len() < ADVANCE_ROWS {
            match self.next_close() {
                Some((end, id)) if self.watermark.completes(end) => {
                    self.timers.pop();
                    closed.push(self.table.close(id));
                }
                _ => {
                    advanced = Advanced::Whole;
                    break;
                }
            }
        }
        if !closed.is_empty() {
            out.push(self.emit(closed)?);
        }
        Ok(advanced)
    }

    fn next_timer(&mut self) -> Option<Watermark> {
        self.next_close().map(|(end, _)| Watermark(end.saturating_sub(1)))
    }

    fn take_late_rows(&mut self) -> u64 {
        std::mem::take(&mut self.late_rows)
    }

    fn snapshot(&mut self, number: u64) -> Result<StateSnapshot> {
        self.take_snapshot(number)
    }

    fn restore(
        &mut self,
        _number: u64,
        parts: Vec<RestoredPart>,
        watermark: Watermark,
    ) -> Result<()> {
        self.watermark = watermark;
        self.take_parts(parts)
    }

    fn memory(&self) -> usize {
        self.memory_bytes()
    }
}

#[cfg(test)]
mod tests;
