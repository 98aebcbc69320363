//! The `postrider` binary, driven from outside as a user drives it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bench;
mod commands;
mod cycles;
mod damage;
mod demo;
mod error_pages;
mod formats;
mod full_disk;
mod functions;
mod http;
mod kill;
mod mailbox;
mod mistakes;
mod process;
mod proxy;
mod query;
mod run;
mod s3;
mod segment;
mod state;
mod stop;
mod winback;
mod zombie;
