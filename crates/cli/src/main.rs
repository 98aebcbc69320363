//! The `postrider` command: reads settings, wires the crates together, talks to people.
//!
//! Owns: arguments, the environment, exit codes, what is printed. Nothing below this crate reads
//! files of settings or the environment.
//!
//! Exit codes: 0 ok, 1 the work failed, 2 bad usage or invalid SQL or settings, 75 fenced.

mod args;
mod bench;
mod checkpoints;
mod columns;
mod commands;
mod console;
mod demo;
mod failpoints;
mod fixture;
mod housekeeping;
mod interrupt;
mod member;
mod outcome;
mod project;
mod report;
mod services;
mod tls;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use outcome::Failure;

fn main() -> ExitCode {
    let args = args::Args::parse();
    console::start_logging(args.verbose);
    tls::use_ring();
    if let Err(failure) = failpoints::arm() {
        console::error(&failure.text);
        return ExitCode::from(failure.code);
    }
    let lost = || console::output_lost().map_or(Ok(()), |why| Err(Failure::unprinted(why)));
    match commands::run(args.command).and_then(|()| lost()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::error(&failure.text);
            ExitCode::from(failure.code)
        }
    }
}
