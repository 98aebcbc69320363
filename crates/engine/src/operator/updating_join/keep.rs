//! What a join remembers: rows of an epoch found among those that are kept, kept themselves, and taken back from a snapshot.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray, UInt32Array},
    buffer::BooleanBuffer,
    compute::take_record_batch,
    datatypes::{Int64Type, TimestampNanosecondType},
};
use datafusion::common::Result;

use super::{
    UpdatingJoin,
    arrived::Came,
    epoch::{Changed, Chunk, Epoch, Found},
    index::Entry,
};
use crate::operator::{
    RestoredPart,
    keys::Keys,
    rows::{PortRows, RowId},
    sided::{LEFT, RIGHT},
};

impl UpdatingJoin {
    /// Rows that came as changes of those that are kept. What would be fewer than none is none: it was let go.
    pub(super) fn changed(&mut self, side: usize, came: Came) -> Result<Changed> {
        let ids = match &came.encoded {
            Some((keys, firsts)) => self.kept_as(side, keys, firsts)?,
            None => vec![RowId::NOBODY; came.counts.len()],
        };
        let mut changed = Changed::new(&came.rows);
        let (mut rows, mut again) = (Vec::new(), Vec::new());
        for (row, (&id, &net)) in ids.iter().zip(&came.counts).enumerate() {
            let entry = self.index.get(id);
            let hash = came.hashes[row];
            let before = entry.map_or(0, |entry| entry.count);
            let (before, after) = match hash {
                Some(_) => (before, before.saturating_add(net).max(0)),
                None => (net.saturating_neg().max(0), net.max(0)),
            };
            if before > 0 && after > before && !self.spec.takes_back[side] {
                // One is as good as two, but it came again.
                again.push(id);
            } else if before != after {
                rows.push(row as u32);
                changed.times.push(came.times[row]);
                changed.hashes.push(hash);
                changed.row_hashes.push(
                    came.encoded.as_ref().map(|(keys, firsts)| keys.key(firsts[row] as usize).hash),
                );
                changed.before.push(before);
                changed.after.push(after);
                changed.ids.push(id);
                changed.known.push(entry.map_or(0, |entry| entry.partners));
                changed.found.push(Found::NOBODY);
            }
        }
        changed.rows = if rows.len() == came.rows.num_rows() {
            came.rows
        } else {
            take_record_batch(&came.rows, &UInt32Array::from(rows))?
        };
        for id in &again {
            if let Some(entry) = self.index.get_mut(*id) {
                entry.written = self.clock.0;
            }
        }
        self.rewrite(side, again)?;
        Ok(changed)
    }

    /// The kept row that each of some rows is; nobody if it is not kept.
    fn kept_as(&self, side: usize, keys: &Keys, firsts: &[u32]) -> Result<Vec<RowId>> {
        let mut ids = vec![RowId::NOBODY; firsts.len()];
        let (mut owners, mut candidates) = (Vec::new(), Vec::new());
        for (row, first) in firsts.iter().enumerate() {
            for id in self.index.with_row_hash(side, keys.key(*first as usize).hash) {
                owners.push(row);
                candidates.push(id);
            }
        }
        if candidates.is_empty() {
            return Ok(ids);
        }
        let kept = self.layout.arrived(side, &self.rows.gather(&candidates)?)?;
        let kept = self.encoders[side].encode(kept.columns(), kept.num_rows())?;
        for (at, (owner, id)) in owners.into_iter().zip(candidates).enumerate() {
            if kept.row(at) == keys.row(firsts[owner] as usize) {
                ids[owner] = id;
            }
        }
        Ok(ids)
    }

    /// Keeps the rows of finished groups as they are now.
    pub(super) fn remember(&mut self, epoch: &mut Epoch, chunk: &Chunk) -> Result<()> {
        for side in [LEFT, RIGHT] {
            let (mut new, mut stay) = (Vec::new(), Vec::new());
            for finished in &chunk.finished {
                if let Some(changed) = &epoch.changed[side] {
                    for &member in epoch.members(side, finished.group) {
                        self.settle(side, changed, member, &mut new, &mut stay);
                    }
                }
            }
            for id in chunk.finished.iter().flat_map(|finished| &finished.others[side]) {
                let Some(found) = epoch.found.remove(id) else { continue };
                let known = self.index.get(*id).map_or(0, |entry| entry.partners);
                let partners = self.partners(side, known, found);
                if partners != known {
                    self.change(*id, partners, &mut stay);
                }
            }
            self.rewrite(side, stay)?;
            if let Some(changed) = &epoch.changed[side] {
                self.keep(side, changed, new)?;
            }
        }
        Ok(())
    }

    /// How many partners a row has now. Where partners stay, one is as good as many.
    fn partners(&self, side: usize, known: i64, found: Found) -> i64 {
        let now = known.saturating_add(found.partners).max(0);
        if self.spec.takes_back[1 - side] { now } else { now.min(1) }
    }

    /// Sorts a changed row to those that are new or stay, or forgets it.
    fn settle(
        &mut self,
        side: usize,
        changed: &Changed,
        member: u32,
        new: &mut Vec<u32>,
        stay: &mut Vec<RowId>,
    ) {
        let row = member as usize;
        let id = changed.ids[row];
        let partners = self.partners(side, changed.known[row], changed.found[row]);
        let done = side == LEFT && self.spec.first_partner_ends() && partners > 0;
        if id == RowId::NOBODY {
            if changed.after[row] > 0 && !done {
                new.push(member);
            }
        } else if changed.after[row] == 0 {
            self.index.remove(id);
            self.rows.release(id);
        } else if let Some(entry) = self.index.get_mut(id) {
            entry.count = changed.after[row];
            entry.partners = partners;
            entry.written = self.clock.0;
            entry.time = entry.time.min(changed.times[row]);
            stay.push(id);
        }
    }

    /// Remembers the partners of a kept row, or forgets it if it waited for them only.
    fn change(&mut self, id: RowId, partners: i64, stay: &mut Vec<RowId>) {
        let Some(entry) = self.index.get_mut(id) else { return };
        entry.partners = partners;
        if entry.side == LEFT && self.spec.first_partner_ends() && partners > 0 {
            self.index.remove(id);
            self.rows.release(id);
        } else {
            stay.push(id);
        }
    }

    /// Keeps new rows.
    fn keep(&mut self, side: usize, changed: &Changed, mut new: Vec<u32>) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        new.sort_unstable();
        let entries: Vec<Entry> = new
            .iter()
            .filter_map(|row| {
                let row = *row as usize;
                Some(Entry {
                    side,
                    hash: changed.hashes[row]?,
                    row_hash: changed.row_hashes[row],
                    count: changed.after[row],
                    partners: self.partners(side, 0, changed.found[row]),
                    written: self.clock.0,
                    time: changed.times[row],
                })
            })
            .collect();
        let rows = if new.len() == changed.rows.num_rows() {
            changed.rows.clone()
        } else {
            take_record_batch(&changed.rows, &UInt32Array::from(new))?
        };
        let rows = self.layout.store(side, &rows, own_columns(&entries))?;
        let ids = self.rows.insert(side as u8, rows)?;
        for (id, entry) in ids.into_iter().zip(entries) {
            self.index.insert(id, entry);
        }
        Ok(())
    }

    /// Has the next snapshot say what is known of some rows now.
    fn rewrite(&mut self, side: usize, ids: Vec<RowId>) -> Result<()> {
        let entries: Vec<Entry> =
            ids.iter().filter_map(|id| self.index.get(*id)).copied().collect();
        if entries.is_empty() || entries.len() != ids.len() {
            return Ok(());
        }
        let rows = self.layout.with_own(&self.rows.gather(&ids)?, own_columns(&entries))?;
        self.rows.replace(side as u8, ids, rows)
    }

    pub(super) fn take_parts(&mut self, parts: &[RestoredPart]) -> Result<()> {
        for part in parts {
            for (side, rows, dead) in self.layout.runs(part)? {
                self.take_run(part.id, side, rows, dead.as_ref())?;
            }
        }
        Ok(())
    }

    /// Takes back rows of one side.
    fn take_run(
        &mut self,
        part: u64,
        side: usize,
        rows: RecordBatch,
        dead: Option<&BooleanBuffer>,
    ) -> Result<()> {
        let arrived = self.layout.arrived(side, &rows)?;
        let hashes = self.spec.hashes(&arrived)?;
        let encoded = if self.spec.is_counted(side) {
            Some(self.encoders[side].encode(arrived.columns(), arrived.num_rows())?)
        } else {
            None
        };
        let own = &rows.columns()[self.spec.keys..];
        let times = |at: usize| own[at].as_primitive::<TimestampNanosecondType>().clone();
        let numbers = |at: usize| own[at].as_primitive::<Int64Type>().clone();
        let (written, time, count, partners) = (times(0), times(1), numbers(2), numbers(3));
        let ids = self.rows.restore(part, PortRows { port: side as u8, rows }, dead)?;
        for (row, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != RowId::NOBODY) {
            let Some(hash) = hashes[row] else { continue };
            let entry = Entry {
                side,
                hash,
                row_hash: encoded.as_ref().map(|keys| keys.key(row).hash),
                count: count.value(row),
                partners: partners.value(row),
                written: written.value(row),
                time: time.value(row),
            };
            self.index.insert(id, entry);
        }
        Ok(())
    }
}

/// What the join knows of rows, as columns.
fn own_columns(entries: &[Entry]) -> Vec<ArrayRef> {
    let times = |of: fn(&Entry) -> i64| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(entries.iter().map(of)))
    };
    let numbers = |of: fn(&Entry) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(entries.iter().map(of)))
    };
    vec![
        times(|entry| entry.written),
        times(|entry| entry.time),
        numbers(|entry| entry.count),
        numbers(|entry| entry.partners),
    ]
}
