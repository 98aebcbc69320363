//! The simulation, run over many seeds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "long runs show their numbers")]

mod power;
mod seeds;
