//! Rows that a snapshot merges into one store, while the flow goes on.
//!
//! A snapshot only notes which rows move. The new store is put together elsewhere; until it is there, its rows are read, and
//! die, where they were. From then on the new store alone has them: sessions are told the new places a few at a time, and an old
//! place is looked up when it is used. At the next snapshot no old place is left.

use std::sync::Arc;

use arrow::{
    array::{BooleanBufferBuilder, UInt32Array},
    buffer::BooleanBuffer,
    compute::{concat_batches, take_record_batch},
};
use datafusion::common::{Result, exec_datafusion_err};

use super::{Content, Part, PartStore, Store, mostly_dead};
use crate::operator::{
    Deferred,
    aggregate::AggregateSpec,
    merged_from,
    session::table::{SessionId, SessionTable},
};

/// The content of the new store.
struct Moved {
    content: Content,
    /// The old rows of each old store.
    rows: Vec<Vec<u32>>,
}

/// Rows on their way from some stores to a new one.
pub(super) struct Moving {
    into: u64,
    moved: Arc<Deferred<Moved>>,
    from: Vec<Origin>,
    /// The place in `from`, and in its rows, from which on sessions don't know the new place yet.
    next: (usize, usize),
    /// Whether the new store has the rows.
    is_there: bool,
}

/// An old store.
struct Origin {
    store: u64,
    /// Its first row in the new store, once that is there.
    first: u32,
    /// Rows that died before the new store was there; `None` if all did.
    dead: Option<BooleanBufferBuilder>,
}

impl Moving {
    /// Where a row is now.
    fn find(&self, part: Part) -> Option<Part> {
        let index = self.from.binary_search_by_key(&part.store, |from| from.store).ok()?;
        let row = self.moved.ready()?.rows[index].binary_search(&part.row).ok()?;
        Some(Part { store: self.into, row: self.from[index].first + row as u32 })
    }
}

impl PartStore {
    /// Begins to move what snapshot `number` merges into store `into`.
    pub(in crate::operator::session) fn begin_move(&mut self, number: u64, into: u64) {
        let all = mostly_dead(self.listed_rows(), self.settled_rows());
        let behind = if all { 0 } else { merged_from(number) };
        let (mut from, mut pieces, mut rows) = (Vec::new(), Vec::new(), 0);
        for (&store, Store { content, live, settled, .. }) in &self.stores {
            let Some(settled) = settled.as_ref().filter(|s| s.part > behind) else { continue };
            rows += live;
            pieces.push((Arc::clone(content), settled.dead.finish_cloned()));
            from.push(Origin { store, first: 0, dead: None });
        }
        if from.is_empty() {
            return;
        }
        self.listed.retain(|&part, _| part <= behind);
        let spec = self.spec.clone();
        let moved = Arc::new(Deferred::new(move || move_rows(&spec, pieces)));
        let source = Arc::clone(&moved);
        let content = Deferred::new(move || Ok(source.get()?.content.clone()));
        self.add_settled(into, number, Arc::new(content), rows, None);
        self.moving = Some(Moving { into, moved, from, next: (0, 0), is_there: false });
    }

    /// Tells the sessions of about `rows` rows where they were moved to, if they are there.
    pub(in crate::operator::session) fn follow_move(
        &mut self,
        table: &mut SessionTable,
        mut rows: usize,
    ) {
        let Some(mut moving) = self.moving.take() else { return };
        let moved = Arc::clone(&moving.moved);
        if let Some(Moved { rows: all, content: Content { whole: Some((_, owners)), .. } }) =
            moved.ready()
        {
            self.arrive(&mut moving, all);
            while rows > 0 && moving.next.0 < all.len() {
                let (index, from) = moving.next;
                let end = all[index].len().min(from.saturating_add(rows));
                self.tell(table, &moving, &all[index], owners, from..end);
                rows -= end - from;
                moving.next = if end < all[index].len() { (index, end) } else { (index + 1, 0) };
            }
        }
        self.moving = Some(moving);
    }

    /// Ends the move, of which every session was told.
    pub(in crate::operator::session) fn end_move(&mut self) {
        self.moving = None;
    }

    /// Lets go of the old stores, whose rows are in the new one now.
    fn arrive(&mut self, moving: &mut Moving, rows: &[Vec<u32>]) {
        if std::mem::replace(&mut moving.is_there, true) {
            return;
        }
        let mut first = 0;
        for (from, rows) in moving.from.iter_mut().zip(rows) {
            let settled = self.stores.remove(&from.store).and_then(|store| store.settled);
            from.dead = settled.map(|settled| settled.dead);
            from.first = first;
            first += rows.len() as u32;
        }
    }

    /// Tells sessions of some rows of one old store; lets go of those rows that died before they were moved.
    fn tell(
        &mut self,
        table: &mut SessionTable,
        moving: &Moving,
        rows: &[u32],
        owners: &[SessionId],
        range: std::ops::Range<usize>,
    ) {
        let Origin { store, first, dead } = &moving.from[moving.next.0];
        let mut died = Vec::new();
        for index in range {
            let (row, new) = (rows[index], first + index as u32);
            if dead.as_ref().is_none_or(|dead| dead.get_bit(row as usize)) {
                died.push(new);
                continue;
            }
            // Where it was merged into another session, that one took rows: the place is looked up when they are folded.
            let id = owners[new as usize];
            if table.is_open(id) {
                let old = Part { store: *store, row };
                let parts = &mut table.session_mut(id).parts;
                if let Some(part) = parts.iter_mut().find(|part| **part == old) {
                    *part = Part { store: moving.into, row: new };
                }
            }
        }
        self.let_go(moving.into, died.into_iter());
    }

    /// Puts the present places of rows that have moved into the lists of them.
    pub(super) fn find_moved(&self, lists: &mut [Vec<Part>]) {
        let Some(moving) = self.moving.as_ref().filter(|moving| moving.is_there) else { return };
        for list in lists {
            for part in list.iter_mut() {
                *part = moving.find(*part).unwrap_or(*part);
            }
            list.sort_unstable();
        }
    }
}

/// The rows that are not dead, in the order of the stores. Moving a row changes no bit of it.
fn move_rows(
    spec: &AggregateSpec,
    pieces: Vec<(Arc<Deferred<Content>>, BooleanBuffer)>,
) -> Result<Moved> {
    let (mut batches, mut owners, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (content, dead) in pieces {
        let Some((batch, of)) = &content.get()?.whole else {
            return Err(exec_datafusion_err!("a store that moves is not settled"));
        };
        let rows: Vec<u32> = (!&dead).set_indices_u32().collect();
        owners.extend(rows.iter().map(|&row| of[row as usize]));
        batches.push(take_record_batch(batch, &UInt32Array::from(rows.clone()))?);
        all.push(rows);
    }
    let rows = match &batches[..] {
        [only] => only.clone(),
        [first, ..] => concat_batches(&first.schema(), &batches)?,
        [] => return Err(exec_datafusion_err!("nothing moves")),
    };
    Ok(Moved { content: Content::whole(spec, rows, owners.into())?, rows: all })
}
