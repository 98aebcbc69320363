//! The engine seen from outside: SQL and rows in, rows out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod changes;
mod changing_joins;
mod checkpoints;
mod explain;
mod golden;
mod harness;
mod joins;
mod lifecycle;
mod nexmark;
mod over;
mod state;
mod tops;
mod upgrades;
mod windows;
