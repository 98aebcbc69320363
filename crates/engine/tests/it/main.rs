//! The engine seen from outside: SQL and rows in, rows out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod changed_tables;
mod changes;
mod changing_joins;
mod checkpoints;
mod explain;
mod fuzz;
mod golden;
mod harness;
mod joins;
mod lifecycle;
mod nexmark;
mod over;
mod state;
mod table_joins;
mod unnest;
mod upgrades;
mod windows;
