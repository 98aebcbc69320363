//! The three kinds of events.

use postrider_core::format_time;
use serde::{Serialize, Serializer};

/// Someone who sells or bids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    /// From 1000 on, in the order of their time.
    pub id: u64,
    /// First and last name.
    pub name: String,
    /// An address at which nobody is.
    pub email_address: String,
    /// Four groups of four digits.
    pub credit_card: String,
    /// One of ten.
    pub city: String,
    /// One of six states of the US, by its two letters.
    pub state: String,
    /// Event time, in nanoseconds since 1970.
    #[serde(serialize_with = "time")]
    pub date_time: i64,
    /// Padding: an event has about 200 bytes.
    pub extra: String,
}

/// An item for sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Auction {
    /// From 1000 on, in the order of their time.
    pub id: u64,
    /// What is sold.
    pub item_name: String,
    /// More about it.
    pub description: String,
    /// In cents.
    pub initial_bid: u64,
    /// The least the seller takes, in cents.
    pub reserve: u64,
    /// Event time, in nanoseconds since 1970.
    #[serde(serialize_with = "time")]
    pub date_time: i64,
    /// When it ends, in nanoseconds since 1970.
    #[serde(serialize_with = "time")]
    pub expires: i64,
    /// The person who sells.
    pub seller: u64,
    /// From 10 to 14.
    pub category: u64,
    /// Padding: an event has about 500 bytes.
    pub extra: String,
}

/// An offer for an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bid {
    /// The auction, which may be over, or begin a little later.
    pub auction: u64,
    /// The person who bids, who may join a little later.
    pub bidder: u64,
    /// In cents, from 100 to 100,000,000, as many of each magnitude.
    pub price: u64,
    /// The site that the bid came through: one of four large ones, or of ten thousand.
    pub channel: String,
    /// The page of it.
    pub url: String,
    /// Event time, in nanoseconds since 1970.
    #[serde(serialize_with = "time")]
    pub date_time: i64,
    /// Padding: an event has about 100 bytes beside its page.
    pub extra: String,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// For the table `person`.
    Person(Person),
    /// For the table `auction`.
    Auction(Auction),
    /// For the table `bid`.
    Bid(Bid),
}

impl Event {
    /// The table that it belongs to: `person`, `auction` or `bid`.
    pub const fn table(&self) -> &'static str {
        match self {
            Self::Person(_) => "person",
            Self::Auction(_) => "auction",
            Self::Bid(_) => "bid",
        }
    }

    /// Its event time, in nanoseconds since 1970.
    pub const fn date_time(&self) -> i64 {
        match self {
            Self::Person(person) => person.date_time,
            Self::Auction(auction) => auction.date_time,
            Self::Bid(bid) => bid.date_time,
        }
    }

    /// A line of NDJSON with its columns, without the line break.
    ///
    /// # Errors
    ///
    /// None that any of these fields can cause.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Person(person) => serde_json::to_string(person),
            Self::Auction(auction) => serde_json::to_string(auction),
            Self::Bid(bid) => serde_json::to_string(bid),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn time<S: Serializer>(ns: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_time(*ns))
}
