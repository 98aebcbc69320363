//! Whole processes in a simulated world that fails: what proves that nothing is lost and nothing happens twice.
//!
//! For tests only. Owns: simulated time, a disk, an object store and a mail provider that fail by a seed, one process over them
//! (real SQL, engine, log, checkpoints, dispatcher), its crashes, and an oracle. Does not own: any rule of the product; the
//! oracle states the few that it needs again, in the plainest way.
//!
//! Nouns: *world* (what outlives processes), *life* (a process up to the operation at which it dies), *journal* (all frames that
//! were ever durable), *oracle* (what should have come out), *verdict* (what must hold of a run).
//!
//! Invariants:
//! - A seed is a run: the same seed gives the same bytes of the log. No thread, no real time, no network.
//! - A process that is dead changes nothing outside any more.
//! - What fails is counted, so that a report says what a run went through.
//!
//! Flow: 1. [`simulate`] rolls a plan for each life  2. a life starts, works and dies  3. the disk loses what was not synced
//! 4. at the end faults stop, everything settles  5. the verdict.

mod carrier;
mod client;
mod dice;
mod disk;
mod journal;
mod life;
mod oracle;
mod plan;
mod process;
mod report;
mod shop;
mod time;
mod verdict;
mod world;

pub use carrier::{Carrier, LifeCarrier};
pub use client::Client;
pub use dice::Dice;
pub use disk::{DiskFaults, LifeFiles};
pub use journal::{Journal, Row, Sealed};
pub use life::{Death, Fate, Life};
pub use oracle::{Counted, check};
pub use report::{Injected, Report, Violation};
pub use shop::{Event, PIPELINE, Shop, Window, sql};
pub use time::{SECOND, SimClock};
pub use world::{Mode, Outcome, simulate};
