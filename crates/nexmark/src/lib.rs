//! Nexmark: the events of an online auction, by a seed, and the queries that stream processors are compared by.
//!
//! For tests and measurements only. The shape of the events (kinds, fields, proportions, what is popular) is that of
//! the [Nexmark suite](https://github.com/nexmark/nexmark); the generator and the SQL are written for Postrider.
//! `docs/nexmark.md` says what each query asks and how it is written.

mod event;
mod people;
mod queries;
mod text;
mod workload;

pub use self::{
    event::{Auction, Bid, Event, Person},
    queries::{QUERIES, Query, TABLES},
    workload::{Events, SIDE_INPUT_KEYS, Workload, side_input},
};
