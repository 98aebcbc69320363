//! One file a command.

mod check;
mod errors;
mod explain;
mod log;
mod mailbox;
mod notes;
pub(crate) mod outbox;
mod plan;
mod query;
mod rows;
mod run;
mod state;

use crate::{args::Command, bench, demo, fixture, outcome::Outcome};

/// Runs a command.
pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Errors(args) => errors::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Test(args) => fixture::run(&args),
        Command::Outbox(args) => outbox::run(&args),
        Command::Mailbox(args) => mailbox::run(&args),
        Command::State(args) => state::run(&args.command),
        Command::Log(args) => log::run(&args.command),
        Command::Bench(args) => bench::run(&args),
    }
}
