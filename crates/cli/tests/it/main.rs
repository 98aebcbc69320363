//! The `postrider` binary, driven from outside as a user drives it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod commands;
mod demo;
mod http;
mod kill;
mod process;
mod segment;
mod winback;
