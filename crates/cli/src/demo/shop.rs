//! A simulated shop: customers browse, fill carts, buy or leave, and their events are posted late, twice and out of order.
//!
//! Owns: who does what when, and when each event reaches the collector. Does not own: HTTP and real time; it yields
//! [`Post`]s with the moment at which each is due, and the caller sends them.
//!
//! Nouns: a *visit* is one stay of a customer in the shop; a *slot* is the moment of one posted event.
//!
//! Invariants: the same options give the same posts, byte for byte. Slots are evenly spaced, so the offered load is
//! exactly `rate` whatever happens elsewhere (open loop). No event is posted before it happened. One customer never
//! has two events at one moment, so "the last event" is always one event.
//!
//! # The arithmetic
//!
//! A visit has 6 views on average; 0.6 of the visits put 2 things into a cart, a tenth of those empty it again, and of
//! the rest 0.4 start a checkout, of which 0.65 buy. A cart is full at the door in 0.6 x 0.9 x (1 - 0.4 x 0.65) = 0.40
//! of the visits; 0.15 of those pause and come back within the hour, when half of them buy. That leaves 0.37 abandoned
//! carts in a visit of 7.8 events: **one in 21 events**, so about 47 a second at 1,000 events/s.
//!
//! At `speed` 360 an hour of the shop is 10 s of the wall clock and 1,000 events/s are 10,000 events, 1,290 visits and
//! 480 abandoned carts an hour. A visit lasts 4 minutes and its customer then stays away for at least 75 minutes, so
//! each visit's carts settle before the next visit starts. 2.2 hours for visit and absence times 1,290 visits need
//! 2,800 customers; where the rate asks for more than there are, new ones sign up.

mod catalogue;
mod event;
#[cfg(test)]
mod tests;
mod visit;

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::{event::Writer, visit::Floor};

/// One second in the unit of all times.
pub(crate) const SECOND: i64 = 1_000_000_000;
/// One minute in the unit of all times.
pub(crate) const MINUTE: i64 = 60 * SECOND;

/// Share of the events that are posted some seconds after they happened.
pub(crate) const DELAYED_SHARE: f64 = 0.10;
/// By how much: within the minute that `pipelines/abandoned_cart` allows, with room for the network.
pub(crate) const DELAYED_BY: Range<i64> = 0..45 * SECOND;
/// Share of the events that are posted after their time has been closed.
pub(crate) const LATE_SHARE: f64 = 0.005;
/// By how much: some still find their session open, some find it gone.
pub(crate) const LATE_BY: Range<i64> = 2 * MINUTE..90 * MINUTE;
/// Share of the events that are posted twice, with the same message id.
pub(crate) const DUPLICATE_SHARE: f64 = 0.01;
/// When the second copy follows the first.
pub(crate) const DUPLICATE_AFTER: Range<i64> = SECOND..30 * SECOND;

/// Events that one slot may create before one is posted at once: each try is held back with the
/// shares above, so that even four in a row happen in one slot of ten thousand.
const CREATED_PER_SLOT_MAX: usize = 16;

/// What the shop is like.
#[derive(Debug, Clone)]
pub(crate) struct ShopOptions {
    /// Same seed, same posts.
    pub(crate) seed: u64,
    /// The event time of the first slot, in ns since the epoch.
    pub(crate) start_ns: i64,
    /// How many customers there are at least.
    pub(crate) customers: usize,
    /// Posted events per second of the wall clock, duplicates included.
    pub(crate) rate: u32,
    /// Seconds of event time per second of the wall clock.
    pub(crate) speed: u32,
    /// Events in one request.
    pub(crate) batch: usize,
}

/// One request to the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    /// When to send it: event time since the start. Divide by `speed` for the wall clock.
    pub(crate) send_at_ns: i64,
    /// The events, each a Segment `track` call as JSON, for `{"batch":[..]}`.
    pub(crate) events: Vec<String>,
}

/// What the shop has posted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ShopCounts {
    /// Events that happened, each counted once.
    pub(crate) created: u64,
    /// Of those, posted with a delay that the pipeline allows.
    pub(crate) delayed: u64,
    /// Of those, posted with a delay beyond it.
    pub(crate) late: u64,
    /// Second copies.
    pub(crate) duplicates: u64,
}

/// Yields posts for ever, in the order of [`Post::send_at_ns`].
#[derive(Debug)]
pub(crate) struct Shop {
    options: ShopOptions,
    rng: ChaCha8Rng,
    floor: Floor,
    writer: Writer,
    slots: u64,
    /// Events that are held back, by the moment they are due; equal moments in the order of their creation.
    held: BinaryHeap<Reverse<(i64, u64, String)>>,
    counts: ShopCounts,
}

impl Shop {
    /// Opens the shop.
    pub(crate) fn new(options: ShopOptions) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(options.seed),
            floor: Floor::new(options.customers),
            writer: Writer::new(options.start_ns),
            slots: 0,
            held: BinaryHeap::new(),
            counts: ShopCounts::default(),
            options,
        }
    }

    /// What has been posted or is held back.
    #[cfg(test)]
    pub(crate) const fn counts(&self) -> ShopCounts {
        self.counts
    }

    /// How many customers have visited so far.
    pub(crate) fn customers(&self) -> usize {
        self.floor.seen()
    }

    /// The moment of a slot. Computed from its number, so that rounding never adds up.
    fn slot_ns(&self, slot: u64) -> i64 {
        let event_ns =
            u128::from(slot) * u128::from(self.options.speed) * SECOND.unsigned_abs() as u128;
        i64::try_from(event_ns / u128::from(self.options.rate.max(1))).unwrap_or(i64::MAX)
    }

    /// The event that is posted at `now`: one that was held back until then, or a new one.
    fn event_at(&mut self, now: i64) -> String {
        if self.held.peek().is_some_and(|Reverse((due, _, _))| *due <= now)
            && let Some(Reverse((_, _, event))) = self.held.pop()
        {
            return event;
        }
        for _ in 1..CREATED_PER_SLOT_MAX {
            let event = self.create(now);
            let delay = self.delay();
            let posted_at = now + delay.unwrap_or(0);
            if self.rng.random_bool(DUPLICATE_SHARE) {
                self.counts.duplicates += 1;
                let copy_at = posted_at + self.rng.random_range(DUPLICATE_AFTER);
                self.hold(copy_at, event.clone());
            }
            if delay.is_none() {
                return event;
            }
            self.hold(posted_at, event);
        }
        self.create(now)
    }

    fn create(&mut self, now: i64) -> String {
        self.counts.created += 1;
        let moment = self.floor.next_moment(now, &mut self.rng);
        self.writer.track(&moment)
    }

    fn delay(&mut self) -> Option<i64> {
        let roll: f64 = self.rng.random();
        if roll < LATE_SHARE {
            self.counts.late += 1;
            Some(self.rng.random_range(LATE_BY))
        } else if roll < LATE_SHARE + DELAYED_SHARE {
            self.counts.delayed += 1;
            Some(self.rng.random_range(DELAYED_BY))
        } else {
            None
        }
    }

    fn hold(&mut self, until: i64, event: String) {
        let order = self.counts.created + self.counts.duplicates;
        self.held.push(Reverse((until, order, event)));
    }
}

impl Iterator for Shop {
    type Item = Post;

    fn next(&mut self) -> Option<Post> {
        let mut events = Vec::with_capacity(self.options.batch);
        let mut send_at_ns = 0;
        for _ in 0..self.options.batch.max(1) {
            send_at_ns = self.slot_ns(self.slots);
            self.slots += 1;
            events.push(self.event_at(send_at_ns));
        }
        Some(Post { send_at_ns, events })
    }
}
