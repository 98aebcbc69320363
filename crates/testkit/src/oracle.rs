//! What should have come out: the windows of the shop again, in the plainest way, over the journaled epochs.
//!
//! It shares no code with the engine. Which events an epoch holds and how far its watermark was is read from the seals, and
//! checked: the epochs follow each other without a gap, take every event once, and the watermark is the greatest promise.

use std::collections::BTreeMap;

use postrider_store::SourceStatus;

use crate::{
    Event, Violation,
    journal::{Journal, Row, Sealed},
    shop::{DELAY, SINKS, Window},
};

/// What the journal came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Events.
    pub events: u64,
    /// Events that were late for some sink, once for each.
    pub late: u64,
    /// Trigger rows.
    pub rows: u64,
    /// Epochs.
    pub epochs: u64,
}

/// One sink's windows.
#[derive(Debug)]
struct Windows {
    sink: &'static str,
    kind: Window,
    /// By start, end and customer.
    open: BTreeMap<(i64, i64, String), (i64, i64)>,
    watermark: i64,
    late: u64,
}

impl Windows {
    const fn new(sink: &'static str, kind: Window) -> Self {
        Self { sink, kind, open: BTreeMap::new(), watermark: i64::MIN, late: 0 }
    }

    const fn has_fired(&self, end: i64) -> bool {
        self.watermark >= end - 1
    }

    fn take(&mut self, event: &Event) {
        match self.kind {
            Window::Session { gap } => self.take_session(event, gap),
            Window::Hop { slide, size } => self.take_hop(event, slide, size),
        }
    }

    fn take_session(&mut self, event: &Event, gap: i64) {
        let (mut start, mut end) = (event.ts, event.ts + gap);
        let touches = |key: &(i64, i64, String)| {
            key.2 == event.user && key.0 <= event.ts + gap && event.ts <= key.1
        };
        let joined: Vec<_> = self.open.keys().filter(|key| touches(key)).cloned().collect();
        if joined.is_empty() && self.has_fired(end) {
            self.late += 1;
            return;
        }
        let (mut count, mut total) = (1, event.value);
        for key in joined {
            if let Some((n, sum)) = self.open.remove(&key) {
                (count, total) = (count + n, total + sum);
            }
            (start, end) = (start.min(key.0), end.max(key.1));
        }
        self.open.insert((start, end, event.user.clone()), (count, total));
    }

    fn take_hop(&mut self, event: &Event, slide: i64, size: i64) {
        let last = event.ts.div_euclid(slide) * slide;
        let starts = (0..).map(|back| last - back * slide).take_while(|s| *s > event.ts - size);
        let mut counted = false;
        for start in starts {
            if self.has_fired(start + size) {
                continue;
            }
            counted = true;
            let key = (start, start + size, event.user.clone());
            let window = self.open.entry(key).or_default();
            *window = (window.0 + 1, window.1 + event.value);
        }
        self.late += u64::from(!counted);
    }

    /// Moves the watermark; the rows of what is complete.
    fn advance(&mut self, watermark: i64) -> Vec<Row> {
        self.watermark = self.watermark.max(watermark);
        let complete = |key: &(i64, i64, String)| self.watermark >= key.1 - 1;
        let fired: Vec<_> = self.open.keys().filter(|key| complete(key)).cloned().collect();
        let mut rows: Vec<_> = fired
            .into_iter()
            .filter_map(|key| {
                let (count, total) = self.open.remove(&key)?;
                Some(Row { user: key.2, opened: key.0, count, total })
            })
            .collect();
        rows.sort_unstable();
        rows
    }
}

/// Compares the journal with what should be in it, once everything has settled.
///
/// # Errors
/// What is lost, twice, or otherwise wrong.
pub fn check(journal: &Journal) -> Result<Counted, Violation> {
    let (events, epochs) = (journal.events()?, journal.epochs()?);
    let mut windows = SINKS.map(|(sink, kind)| Windows::new(sink, kind));
    let mut counted = Counted { events: events.len() as u64, ..Counted::default() };
    let mut source = Progress { end: 0, promised: i64::MIN, watermark: i64::MIN };
    for (sealed, number) in epochs.iter().zip(1..) {
        if sealed.seal.epoch != number {
            let what = format!("epoch {} is sealed where {number} should be", sealed.seal.epoch);
            return Err(Violation::differs(number, sealed.seal.epoch, what));
        }
        let taken = source.take(sealed, &events)?;
        for sink in &mut windows {
            taken.iter().for_each(|event| sink.take(event));
            compare(sealed, sink)?;
        }
        counted.rows += sealed.seal.trigger_rows;
        counted.epochs += 1;
    }
    let left: Vec<_> = events.iter().filter(|(place, _)| *place >= source.end).collect();
    if let Some((place, event)) = left.first() {
        let what = format!("event {} at {place} is in no epoch", event.id);
        return Err(Violation::lost(left.len() as u64, what));
    }
    if let Some(sink) = windows.iter().find(|sink| !sink.open.is_empty()) {
        let what = format!("windows of {} never fired: {:?}", sink.sink, sink.open);
        return Err(Violation::lost(sink.open.len() as u64, what));
    }
    counted.late = windows.iter().map(|sink| sink.late).sum();
    Ok(counted)
}

fn compare(sealed: &Sealed, sink: &mut Windows) -> Result<(), Violation> {
    let expected = sink.advance(sealed.seal.watermark);
    let found = sealed.rows.get(sink.sink).cloned().unwrap_or_default();
    if expected == found {
        return Ok(());
    }
    let epoch = sealed.seal.epoch;
    let what = format!("epoch {epoch} of {}: expected {expected:?}, found {found:?}", sink.sink);
    Err(Violation { what, lost: without(&expected, &found), twice: without(&found, &expected) })
}

/// How many of some rows are not among the others.
fn without(rows: &[Row], others: &[Row]) -> u64 {
    let mut others = others.to_vec();
    let is_left = |row: &&Row| match others.iter().position(|other| other == *row) {
        Some(found) => {
            others.swap_remove(found);
            false
        }
        None => true,
    };
    rows.iter().filter(is_left).count() as u64
}

/// How far the source was read.
struct Progress {
    end: u64,
    promised: i64,
    watermark: i64,
}

impl Progress {
    /// The events of the next epoch.
    fn take<'a>(
        &mut self,
        sealed: &Sealed,
        events: &'a [(u64, Event)],
    ) -> Result<Vec<&'a Event>, Violation> {
        let epoch = sealed.seal.epoch;
        let [seal] = &sealed.seal.sources[..] else {
            return Err(format!("epoch {epoch} has not one source").into());
        };
        if seal.start_offset != self.end || seal.end_offset < self.end {
            let (start, end) = (seal.start_offset, seal.end_offset);
            return Err(format!("epoch {epoch} is {start}..{end}, behind {}", self.end).into());
        }
        let range = seal.start_offset..seal.end_offset;
        let of_epoch = events.iter().filter(|(place, _)| range.contains(place));
        let taken: Vec<_> = of_epoch.map(|(_, event)| event).collect();
        if taken.len() as u64 != seal.rows {
            let what = format!("epoch {epoch} has {} rows, not {}", taken.len(), seal.rows);
            return Err(Violation::differs(seal.rows, taken.len() as u64, what));
        }
        self.end = seal.end_offset;
        let newest = taken.iter().map(|event| event.ts - DELAY).max();
        self.promised = self.promised.max(newest.unwrap_or(i64::MIN));
        let least = self.watermark.max(self.promised);
        let exact = seal.status() == SourceStatus::Active;
        if seal.watermark < least || (exact && seal.watermark != least) {
            let (found, status) = (seal.watermark, seal.status());
            let what = format!("epoch {epoch} has watermark {found}, {status:?}; least {least}");
            return Err(what.into());
        }
        self.watermark = seal.watermark;
        Ok(taken)
    }
}
