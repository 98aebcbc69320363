//! Pairs looked at, and what an epoch changes in the results.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array},
    compute::{
        and, filter,
        kernels::cmp::{eq, not_distinct},
        take_record_batch,
    },
};
use datafusion::common::{Result, cast::as_boolean_array};

use super::{
    Lone, UpdatingJoin,
    epoch::{Changed, Chunk, Epoch, Found, Pairs},
};
use crate::{
    chain::new_batch,
    operator::{
        net_rows::{BY_ITSELF, NetRows},
        rows::RowId,
        sided::{LEFT, RIGHT},
    },
};

/// A row of a pair: one that changed, or a kept one that did not.
pub(super) trait Member: Copy {
    /// Their rows.
    fn rows(join: &UpdatingJoin, changed: &Option<Changed>, of: &[Self]) -> Result<RecordBatch>;
    /// Where a column of arriving rows is in those.
    fn column(join: &UpdatingJoin, column: usize) -> usize;
    /// How often it was there and is, and its time.
    fn counts(self, join: &UpdatingJoin, changed: &Option<Changed>) -> (i64, i64, i64);
    /// Takes note of partners.
    fn found(self, epoch: &mut Epoch, side: usize, partners: i64, time: i64);
}

impl Member for u32 {
    fn rows(_: &UpdatingJoin, changed: &Option<Changed>, of: &[Self]) -> Result<RecordBatch> {
        let rows = changed.as_ref().map(|changed| &changed.rows);
        let Some(rows) = rows else { return datafusion::common::exec_err!("no row changed") };
        Ok(take_record_batch(rows, &UInt32Array::from(of.to_vec()))?)
    }

    fn column(_: &UpdatingJoin, column: usize) -> usize {
        column
    }

    fn counts(self, _: &UpdatingJoin, changed: &Option<Changed>) -> (i64, i64, i64) {
        let row = self as usize;
        changed.as_ref().map_or((0, 0, 0), |changed| {
            (changed.before[row], changed.after[row], changed.times[row])
        })
    }

    fn found(self, epoch: &mut Epoch, side: usize, partners: i64, time: i64) {
        if let Some(changed) = &mut epoch.changed[side] {
            changed.found[self as usize].add(partners, time);
        }
    }
}

impl Member for RowId {
    fn rows(join: &UpdatingJoin, _: &Option<Changed>, of: &[Self]) -> Result<RecordBatch> {
        join.rows.gather(of)
    }

    fn column(join: &UpdatingJoin, column: usize) -> usize {
        join.layout.stored(column)
    }

    fn counts(self, join: &UpdatingJoin, _: &Option<Changed>) -> (i64, i64, i64) {
        join.index.get(self).map_or((0, 0, 0), |entry| (entry.count, entry.count, entry.time))
    }

    fn found(self, epoch: &mut Epoch, _: usize, partners: i64, time: i64) {
        epoch.found.entry(self).or_insert(Found::NOBODY).add(partners, time);
    }
}

impl UpdatingJoin {
    /// What a chunk changes: its pairs, and rows whose partners came or went.
    pub(super) fn meet(&self, epoch: &mut Epoch, chunk: &Chunk) -> Result<Vec<NetRows>> {
        let mut pieces = vec![
            self.meet_pairs(epoch, &chunk.both)?,
            self.meet_pairs(epoch, &chunk.left)?,
            self.meet_pairs(epoch, &chunk.right)?,
        ];
        for side in [LEFT, RIGHT] {
            if self.spec.lone(side) != Lone::Nothing {
                pieces.push(self.lone_changed(epoch, chunk, side)?);
                pieces.push(self.lone_kept(epoch, chunk, side)?);
            }
        }
        Ok(pieces)
    }

    fn meet_pairs<L: Member, R: Member>(
        &self,
        epoch: &mut Epoch,
        pairs: &Pairs<L, R>,
    ) -> Result<NetRows> {
        if pairs.len() == 0 {
            return Ok(NetRows::default());
        }
        let left = L::rows(self, &epoch.changed[LEFT], &pairs.left)?;
        let right = R::rows(self, &epoch.changed[RIGHT], &pairs.right)?;
        let columns = self.spec.columns[LEFT].iter().map(|&at| left.column(L::column(self, at)));
        let others = self.spec.columns[RIGHT].iter().map(|&at| right.column(R::column(self, at)));
        let columns: Vec<ArrayRef> = columns.chain(others).cloned().collect();
        let mask = self.met(&left, &right, &columns, pairs.len())?;
        let is_met = |row: &usize| mask.is_valid(*row) && mask.value(*row);
        let yields_pairs = self.spec.yields_pairs();
        let mut net = NetRows::default();
        for row in (0..pairs.len()).filter(is_met) {
            let (one, other) = (pairs.left[row], pairs.right[row]);
            let (left_before, left_after, left_time) = one.counts(self, &epoch.changed[LEFT]);
            let (right_before, right_after, right_time) = other.counts(self, &epoch.changed[RIGHT]);
            let time = left_time.max(right_time);
            if self.spec.lone(LEFT) != Lone::Nothing {
                one.found(epoch, LEFT, gained(left_before, right_before, right_after), time);
            }
            if self.spec.lone(RIGHT) != Lone::Nothing {
                other.found(epoch, RIGHT, gained(right_before, left_before, left_after), time);
            }
            if yields_pairs {
                let after = left_after.saturating_mul(right_after);
                net.counts.push(after.saturating_sub(left_before.saturating_mul(right_before)));
                net.times.push(time);
                net.groups.push(pairs.names[row]);
            }
        }
        if !net.counts.is_empty() {
            let all = net.counts.len() == pairs.len();
            let of_met = |column: ArrayRef| if all { Ok(column) } else { filter(&column, &mask) };
            net.columns = columns.into_iter().map(of_met).collect::<std::result::Result<_, _>>()?;
        }
        Ok(net)
    }

    /// Which pairs are equal in their keys and meet the filter.
    fn met(
        &self,
        left: &RecordBatch,
        right: &RecordBatch,
        columns: &[ArrayRef],
        count: usize,
    ) -> Result<BooleanArray> {
        let mut mask: Option<BooleanArray> = None;
        let mut also = |met: BooleanArray| -> Result<()> {
            mask = Some(match mask.take() {
                Some(mask) => and(&mask, &met)?,
                None => met,
            });
            Ok(())
        };
        for key in 0..self.spec.keys {
            let (one, other) = (left.column(key), right.column(key));
            also(if self.spec.null_equals_null {
                not_distinct(one, other)?
            } else {
                eq(one, other)?
            })?;
        }
        if let Some(filter) = &self.spec.filter {
            let rows = new_batch(&self.spec.pair_schema, columns.to_vec(), count)?;
            let met = filter.evaluate(&rows)?.into_array(count)?;
            also(as_boolean_array(&met)?.clone())?;
        }
        Ok(mask.unwrap_or_else(|| BooleanArray::from(vec![true; count])))
    }

    /// Changed rows of finished groups that leave, or no longer do, by the number of their partners.
    fn lone_changed(&self, epoch: &Epoch, chunk: &Chunk, side: usize) -> Result<NetRows> {
        let Some(changed) = &epoch.changed[side] else { return Ok(NetRows::default()) };
        let lone = self.spec.lone(side);
        let (mut net, mut rows) = (NetRows::default(), Vec::new());
        for finished in &chunk.finished {
            for &member in epoch.members(side, finished.group) {
                let row = member as usize;
                let (known, found) = (changed.known[row], changed.found[row]);
                let after = lone.leaves(changed.after[row], known.saturating_add(found.partners));
                let count = after - lone.leaves(changed.before[row], known);
                if count != 0 {
                    rows.push(member);
                    net.counts.push(count);
                    net.times.push(self.lone_time(found, epoch.latest[finished.group]));
                    net.groups.push(finished.name);
                }
            }
        }
        if rows.is_empty() {
            return Ok(net);
        }
        let picked = u32::rows(self, &epoch.changed[side], &rows)?;
        let columns = self.spec.columns[side].iter().map(|&at| Arc::clone(picked.column(at)));
        Ok(NetRows { columns: self.padded(side, columns.collect(), rows.len()), ..net })
    }

    /// The same of kept rows that did not change.
    fn lone_kept(&self, epoch: &Epoch, chunk: &Chunk, side: usize) -> Result<NetRows> {
        let lone = self.spec.lone(side);
        let (mut net, mut rows) = (NetRows::default(), Vec::new());
        for finished in &chunk.finished {
            for id in &finished.others[side] {
                let (Some(found), Some(entry)) = (epoch.found.get(id), self.index.get(*id)) else {
                    continue;
                };
                let partners = entry.partners.saturating_add(found.partners);
                let count =
                    lone.leaves(entry.count, partners) - lone.leaves(entry.count, entry.partners);
                if count != 0 {
                    rows.push(*id);
                    net.counts.push(count);
                    net.times.push(self.lone_time(*found, epoch.latest[finished.group]));
                    net.groups.push(finished.name);
                }
            }
        }
        if rows.is_empty() {
            return Ok(net);
        }
        let picked = self.rows.gather(&rows)?;
        let columns = self.spec.columns[side].iter();
        let columns = columns.map(|&at| Arc::clone(picked.column(self.layout.stored(at))));
        Ok(NetRows { columns: self.padded(side, columns.collect(), rows.len()), ..net })
    }

    /// Changed rows whose key equals nothing: they never have a partner, and nothing is remembered of them.
    pub(super) fn without_key(&self, epoch: &Epoch) -> Result<Vec<NetRows>> {
        let mut pieces = Vec::new();
        for side in [LEFT, RIGHT] {
            let Some(changed) = &epoch.changed[side] else { continue };
            if !matches!(self.spec.lone(side), Lone::Padded | Lone::WithoutPartner) {
                continue;
            }
            let rows: Vec<u32> = (0_u32..)
                .zip(&changed.hashes)
                .filter_map(|(row, hash)| hash.is_none().then_some(row))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let at = |row: &u32| *row as usize;
            let picked = u32::rows(self, &epoch.changed[side], &rows)?;
            let columns = self.spec.columns[side].iter().map(|&at| Arc::clone(picked.column(at)));
            pieces.push(NetRows {
                columns: self.padded(side, columns.collect(), rows.len()),
                times: rows.iter().map(|row| changed.times[at(row)]).collect(),
                counts: rows
                    .iter()
                    .map(|row| changed.after[at(row)] - changed.before[at(row)])
                    .collect(),
                groups: vec![BY_ITSELF; rows.len()],
            });
        }
        Ok(pieces)
    }

    /// The time of a row that leaves by itself. One that stays has that of its first pair.
    fn lone_time(&self, found: Found, latest: i64) -> i64 {
        if self.spec.updating { latest } else { found.since }
    }

    /// The columns of a result beside which the other side is NULL, or not there.
    fn padded(&self, side: usize, own: Vec<ArrayRef>, count: usize) -> Vec<ArrayRef> {
        if self.spec.lone(side) != Lone::Padded {
            return own;
        }
        let (width, pairs) = (own.len(), self.spec.pair_schema.fields());
        let others = if side == LEFT { &pairs[width..] } else { &pairs[..pairs.len() - width] };
        let nulls = others.iter().map(|field| new_null_array(field.data_type(), count));
        if side == LEFT {
            own.into_iter().chain(nulls).collect()
        } else {
            nulls.chain(own).collect()
        }
    }
}

/// How many partners a row gains by another one that is there so often. A row that was not there before had none.
const fn gained(before: i64, partners_before: i64, partners_after: i64) -> i64 {
    if before == 0 { partners_after } else { partners_after - partners_before }
}
