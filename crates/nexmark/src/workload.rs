//! Events by a seed, in the order in which they arrive.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    event::{Auction, Bid, Event},
    people::person,
    text::{channel_and_page, padding, price, words},
};

/// Of 50 events, one is a person, three are auctions, the others bids.
const CYCLE: u64 = 50;
const AUCTIONS: u64 = 3;
const FIRST_ID: u64 = 1_000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// How many auctions get bids at a time, and how many are on average open.
const OPEN_AUCTIONS: u64 = 100;
/// How many people bid and sell at a time.
const ACTIVE_PEOPLE: u64 = 1_000;
/// How many ids ahead an event may name somebody who has yet to come.
const LEAD: u64 = 10;
/// One of so many people or auctions is popular; it changes when they are through.
const POPULAR: u64 = 100;

/// What to generate. The same workload gives the same events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Another seed, other events.
    pub seed: u64,
    /// How many events of all kinds together.
    pub events: u64,
    /// The time of the first, in nanoseconds since 1970.
    pub start_ns: i64,
    /// Event time from one to the next, in nanoseconds: 100,000 is 10,000 events a second.
    pub step_ns: i64,
    /// An event arrives by less than this, in nanoseconds, after its time. One with a watermark as far behind is never late.
    pub disorder_ns: i64,
}

impl Workload {
    /// The events, in the order in which they arrive.
    pub fn events(&self) -> Events {
        Events {
            workload: *self,
            random: ChaCha8Rng::seed_from_u64(self.seed),
            next: 0,
            under_way: BTreeMap::new(),
        }
    }

    fn time(&self, number: u64) -> i64 {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.start_ns.saturating_add(number.saturating_mul(self.step_ns))
    }

    fn event(&self, number: u64, random: &mut ChaCha8Rng) -> Event {
        let time = self.time(number);
        let (cycle, offset) = (number / CYCLE, number % CYCLE);
        if offset == 0 {
            return Event::Person(person(random, FIRST_ID + cycle, time));
        }
        let last_auction = cycle * AUCTIONS + (offset - 1).min(AUCTIONS - 1);
        if offset <= AUCTIONS {
            Event::Auction(self.auction(random, last_auction, cycle, time))
        } else {
            Event::Bid(bid(random, last_auction, cycle, time))
        }
    }

    fn auction(
        &self,
        random: &mut ChaCha8Rng,
        number: u64,
        last_person: u64,
        time: i64,
    ) -> Auction {
        // Three of four are of the popular seller.
        let popular = random.random_range(0..4) > 0;
        let seller =
            if popular { last_person / POPULAR * POPULAR } else { active(random, last_person) };
        let initial_bid = price(random);
        let reserve = initial_bid + price(random);
        let (item_name, description) = (words(random, 20), words(random, 100));
        // On average an auction ends when as many as may be open have begun after it.
        let average = self.time(OPEN_AUCTIONS * CYCLE / AUCTIONS) - self.start_ns;
        let expires = time + 1 + random.random_range(0..(average * 2).max(1));
        let extra = padding(random, 56 + item_name.len() + description.len(), 500);
        Auction {
            id: FIRST_ID + number,
            item_name,
            description,
            initial_bid,
            reserve,
            date_time: time,
            expires,
            seller: FIRST_ID + seller,
            category: FIRST_CATEGORY + random.random_range(0..CATEGORIES),
            extra,
        }
    }
}

fn bid(random: &mut ChaCha8Rng, last_auction: u64, last_person: u64, time: i64) -> Bid {
    // Every other one is for the popular item.
    let auction = if random.random_range(0..2) > 0 {
        last_auction / POPULAR * POPULAR
    } else {
        let first = last_auction.saturating_sub(OPEN_AUCTIONS);
        random.random_range(first..=last_auction + LEAD)
    };
    // Three of four are by the popular bidder, who is not the popular seller.
    let popular = random.random_range(0..4) > 0;
    let bidder =
        if popular { last_person / POPULAR * POPULAR + 1 } else { active(random, last_person) };
    let price = price(random);
    let (channel, url) = channel_and_page(random);
    let extra = padding(random, 32, 100);
    Bid {
        auction: FIRST_ID + auction,
        bidder: FIRST_ID + bidder,
        price,
        channel,
        url,
        date_time: time,
        extra,
    }
}

/// One of those who came last, or will come next.
fn active(random: &mut ChaCha8Rng, last_person: u64) -> u64 {
    let first = (last_person + 1).saturating_sub(ACTIVE_PEOPLE);
    random.random_range(first..=last_person + LEAD)
}

/// The events of a workload, in the order in which they arrive. It holds those that are under way, no others.
#[derive(Debug)]
pub struct Events {
    workload: Workload,
    random: ChaCha8Rng,
    /// The number of the next event.
    next: u64,
    /// What was generated and has not arrived, by time of arrival and number.
    under_way: BTreeMap<(i64, u64), Event>,
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.next < self.workload.events {
            let time = self.workload.time(self.next);
            if self.under_way.first_key_value().is_some_and(|((arrival, _), _)| *arrival <= time) {
                break;
            }
            let event = self.workload.event(self.next, &mut self.random);
            let delay = self.random.random_range(0..self.workload.disorder_ns.max(1));
            self.under_way.insert((time.saturating_add(delay), self.next), event);
            self.next += 1;
        }
        self.under_way.pop_first().map(|(_, event)| event)
    }
}

/// How many rows the side input has.
pub const SIDE_INPUT_KEYS: u64 = 10_000;

/// The rows of the table that query 13 looks auctions up in, as lines of NDJSON.
pub fn side_input() -> impl Iterator<Item = String> {
    (0..SIDE_INPUT_KEYS)
        .map(|key| format!("{{\"key\":{key},\"value\":\"item {}\"}}", key * 7 % 1_009))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn workload(seed: u64) -> Workload {
        Workload {
            seed,
            events: 10_000,
            start_ns: 1_767_225_600 * SECOND,
            step_ns: SECOND / 100,
            disorder_ns: 4 * SECOND,
        }
    }

    #[test]
    fn a_seed_is_a_workload() {
        assert!(workload(1).events().eq(workload(1).events()));
        assert!(workload(1).events().ne(workload(2).events()));
    }

    #[test]
    fn of_fifty_events_one_is_a_person_and_three_are_auctions() {
        let count = |table| workload(3).events().filter(|event| event.table() == table).count();
        assert_eq!(["person", "auction", "bid"].map(count), [200, 600, 9_200]);
    }

    #[test]
    fn disorder_stays_within_its_bound_and_is_there() {
        let (mut newest, mut furthest) = (i64::MIN, 0);
        for event in workload(4).events() {
            newest = newest.max(event.date_time());
            furthest = furthest.max(newest - event.date_time());
        }
        assert!(furthest > 3 * SECOND && furthest < 4 * SECOND, "{furthest}");
        let in_order = Workload { disorder_ns: 0, ..workload(4) };
        assert!(in_order.events().is_sorted_by_key(|event| event.date_time()));
    }

    #[test]
    fn half_of_the_bids_are_for_the_popular_item() {
        let bids = workload(5).events().filter_map(|event| match event {
            Event::Bid(bid) => Some(bid),
            Event::Person(_) | Event::Auction(_) => None,
        });
        let (popular, others): (Vec<_>, Vec<_>) = bids.partition(|bid| bid.auction % POPULAR == 0);
        assert!(popular.len() > others.len() * 9 / 10 && popular.len() < others.len() * 5 / 4);
    }

    #[test]
    fn a_line_is_json() {
        for event in workload(6).events().take(200) {
            let line: serde_json::Value = serde_json::from_str(&event.line().unwrap()).unwrap();
            assert!(line["date_time"].as_str().unwrap().starts_with("2026-01-01T00:0"), "{line}");
        }
        assert_eq!(side_input().count() as u64, SIDE_INPUT_KEYS);
    }
}
