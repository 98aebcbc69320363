//! The simulation, run over many seeds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "long runs show their numbers")]

mod power;
mod seeds;
