//! The simulation, run over many seeds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod power;
mod seeds;
