//! The command line.

mod bench;
mod state;
mod tuning;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use postrider_engine::RestoreFrom;

pub(crate) use self::state::{
    DiffArgs, ExportArgs, GcArgs, ListArgs, NameArgs, ShowArgs, ShownAs, StateArgs, StateCommand,
    VerifyStateArgs,
};

pub(crate) use self::{bench::BenchArgs, tuning::LogTuning};

/// Turns streaming SQL into the right email at the right second.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = "Start with:\n  postrider demo\n\nExit codes: 0 ok, 1 the work failed, \
    2 bad usage or invalid SQL or settings, 75 another process took over.")]
pub(crate) struct Args {
    /// Logs more to standard error; twice for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a simulated shop, its triggers and a mailbox on this machine
    Demo(DemoArgs),
    /// Runs pipelines
    Run(RunArgs),
    /// Checks pipelines: SQL, options, templates
    Check(CheckArgs),
    /// Shows what a pipeline does, in words or as a diagram
    Explain(ExplainArgs),
    /// Explains the codes of errors and warnings
    Errors(ErrorsArgs),
    /// Answers a SELECT over bounded tables
    Query(QueryArgs),
    /// Runs SQL fixtures
    Test(TestArgs),
    /// Lists what became of trigger rows
    Outbox(OutboxArgs),
    /// Serves a local mailbox that accepts every mail
    Mailbox(MailboxArgs),
    /// Shows, checks, saves and exports the checkpoints of a state directory
    State(StateArgs),
    /// Checks the log of a state directory, and repairs a damaged one
    Log(LogArgs),
    /// Measures the engine beside plain DataFusion
    Bench(BenchArgs),
}

/// Runs a whole shop on this machine: simulated customers post events over HTTP, an abandoned-cart
/// pipeline fires, and real emails reach a local mailbox over SMTP. Event time runs faster than the
/// wall clock; nothing else is simulated.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  postrider demo\n  postrider demo --seconds 60 --rate 10000 \
    --batch 50 --verify\n  postrider demo --keep      # stay up and look at the mailbox")]
pub(crate) struct DemoArgs {
    /// How long the shop is open, in seconds of the wall clock
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
    /// Events a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    pub(crate) rate: u64,
    /// Events in one HTTP request
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=500))]
    pub(crate) batch: u64,
    /// Seconds of event time that pass in one second
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) speed: u64,
    /// The shop's customers
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(10..=5_000_000))]
    pub(crate) customers: u64,
    /// Makes another shop
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Shards; by default one a core
    #[arg(long)]
    pub(crate) parallelism: Option<usize>,
    /// Keeps log and mails in this directory instead of a temporary one
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Recomputes the expected trigger rows with plain DataFusion and compares
    #[arg(long)]
    pub(crate) verify: bool,
    /// Stays up after the summary, until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,
    /// Also prints the summary as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs pipelines. Ends by itself when every source is bounded and drained; Ctrl-C ends cleanly.
/// Started again on the same state, it continues where it stopped.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  PURCHASES=$PWD/purchases.ndjson postrider run \
    pipelines/winback/pipeline.sql --mail-dir mails\n  postrider run \
    pipelines/abandoned_cart/pipeline.sql --write-key server:sk_live_1 \\\n      --smtp \
    smtp://127.0.0.1:2525\n  AWS_REGION=eu-central-1 postrider run shop.sql --state-dir state --mail-dir mails \\\n      \
    --checkpoints s3://my-bucket/shop\n\nVariables for --checkpoints: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and for \
    other\nservices than AWS AWS_ENDPOINT; GOOGLE_SERVICE_ACCOUNT; AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY.")]
pub(crate) struct RunArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Shards; by default one a core
    #[arg(long)]
    pub(crate) parallelism: Option<usize>,
    /// Where the log is kept; where one is needed, by default `.postrider/<pipeline>`, and required for several
    /// pipelines
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where checkpoints are kept: a directory, or `s3://bucket/prefix`, `gs://..`, `az://..`; by default `checkpoints` below the
    /// state directory
    #[arg(long, value_name = "URL")]
    pub(crate) checkpoints: Option<String>,
    /// Seconds between two checkpoints of a pipeline
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) checkpoint_every: u32,
    /// Goes on from this checkpoint or savepoint instead of the newest; what was sealed behind it is replayed
    #[arg(long, value_name = "NUMBER|NAME", value_parser = state::restore_from)]
    pub(crate) from_checkpoint: Option<RestoreFrom>,
    /// Prints what each operator keeps and rebuilds if a pipeline was edited, and changes nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Goes on with an edited pipeline even if the log no longer has all rows that its open windows would hold
    #[arg(long)]
    pub(crate) accept_gap: bool,
    /// Fires again for everything that the log still has, as a new series: everybody is mailed again
    #[arg(long)]
    pub(crate) refire: bool,
    /// Where the collector listens, for pipelines that read pushed events
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// A key for posting events, `server:KEY` or `browser:KEY`, with `@STREAM` behind it if the stream is not
    /// `default`; several may be given
    #[arg(
        long = "write-key",
        value_name = "ROLE:KEY",
        env = "POSTRIDER_WRITE_KEYS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) write_keys: Vec<String>,
    /// The mail server, `smtp://[user:password@]host:port` or `smtps://..`
    #[arg(long, value_name = "URL", env = "POSTRIDER_SMTP_URL", hide_env_values = true)]
    pub(crate) smtp: Option<String>,
    /// Writes mails as .eml files to this directory instead of sending them
    #[arg(long, value_name = "DIR", conflicts_with = "smtp")]
    pub(crate) mail_dir: Option<PathBuf>,
    /// Milliseconds without a sign of life after which another run on the same state takes it over
    #[arg(long, value_name = "MS", hide = true, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    pub(crate) lease_ms: Option<u64>,
    #[command(flatten)]
    pub(crate) log: LogTuning,
}

/// Checks pipelines without running them: SQL, options, the contract of email sinks, templates. With --engine, also what another
/// engine would refuse, or take in another sense.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  postrider check pipelines/*/pipeline.sql\n  \
    postrider check pipelines/winback/pipeline.sql --engine arroyo")]
pub(crate) struct CheckArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The engine that the pipelines should move to: arroyo
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<postrider_sql::Engine>,
}

/// Explains the codes of errors and warnings: what happened, why it is so, and a program that passes. Without a code, lists all.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider errors PR0415\n  postrider errors PR0203 PR0410\n  postrider errors"
)]
pub(crate) struct ErrorsArgs {
    /// Codes, as `check` prints them
    #[arg(value_name = "CODE")]
    pub(crate) codes: Vec<String>,
}

/// Shows the dataflow of a pipeline: sources, stages with keys, state and timers, sinks.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  postrider explain pipelines/abandoned_cart/pipeline.sql\n  \
    postrider explain pipelines/winback/pipeline.sql --mermaid")]
pub(crate) struct ExplainArgs {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// As a Mermaid flowchart
    #[arg(long)]
    pub(crate) mermaid: bool,
}

/// Answers one SELECT over bounded tables. Tables and views come from `--file`; a windowed
/// aggregate is computed by the streaming engine, everything else by DataFusion.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider query \"SELECT 1 + 1\"\n  PURCHASES=$PWD/purchases.ndjson \
    postrider query --file pipelines/winback/pipeline.sql \\\n      \"SELECT customer_id, \
    sum(amount) AS spent FROM purchases GROUP BY 1 ORDER BY 2 DESC LIMIT 5\""
)]
pub(crate) struct QueryArgs {
    /// The SELECT
    #[arg(allow_hyphen_values = true)]
    pub(crate) sql: String,
    /// A pipeline file whose tables and views may be used
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How rows are printed
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// One JSON object a line
    Json,
    /// Comma-separated, with a header
    Csv,
}

/// Runs SQL fixtures: each as it is, on three shards, and broken off after every step: replayed from the log, and restored from a
/// checkpoint on other shards.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  postrider test\n  postrider test sql/windows --bless")]
pub(crate) struct TestArgs {
    /// Fixture files or directories
    #[arg(default_value = "sql", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Rewrites the expected rows with what came out
    #[arg(long)]
    pub(crate) bless: bool,
}

/// Lists what became of every trigger row that was decided about: sent, not sent and why, in doubt. Rows whose turn
/// has not come are counted as still to do. While a pipeline runs, its sends on their way are `intended`.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider outbox --state-dir .postrider/winback\n  postrider \
    outbox --state-dir .postrider/winback --state in_doubt --format json"
)]
pub(crate) struct OutboxArgs {
    /// The state directory of a pipeline
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    /// Only sends in this state
    #[arg(long, value_parser = ["accepted", "rejected", "retry", "in_doubt", "intended", "not_sent"])]
    pub(crate) state: Option<String>,
    /// How rows are printed
    #[arg(long, default_value = "table")]
    pub(crate) format: Format,
}

/// Looks after the log of a state directory.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider log verify .postrider/winback\n  postrider log repair .postrider/winback"
)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    pub(crate) command: LogCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Reads every frame and changes nothing; exits with 1 if the log is damaged
    Verify(VerifyArgs),
    /// Shows what giving up the damaged part of a log costs, and does it if asked to
    Repair(RepairArgs),
}

/// Reads every frame of a log and changes nothing, also while a pipeline runs: then up to what it has written. Lists the segment
/// files, what they hold, and the place of damage. Exits with 1 if there is any.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  postrider log verify .postrider/winback")]
pub(crate) struct VerifyArgs {
    /// The state directory of a pipeline
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Shows what a damaged log would forget if it were cut in front of the damage. With `--drop-damaged`, cuts it: later
/// events, epochs and results of sends are forgotten; the ids of sends that can still be read are remembered, so that
/// these are not mailed again. The files stay as `NAME.log.damaged`. Restore a copy instead if there is one.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider log repair .postrider/winback\n  postrider log repair .postrider/winback --drop-damaged"
)]
pub(crate) struct RepairArgs {
    /// The state directory of a pipeline
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Forgets everything from the damage on
    #[arg(long)]
    pub(crate) drop_damaged: bool,
}

/// Accepts every mail on a local SMTP port, stores each as an .eml file and shows them on a page.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example:\n  postrider mailbox --dir mails --smtp 127.0.0.1:2525 --http 127.0.0.1:8025"
)]
pub(crate) struct MailboxArgs {
    /// Where mails are stored
    #[arg(long, default_value = "mailbox", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The SMTP address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:2525", value_name = "ADDR")]
    pub(crate) smtp: SocketAddr,
    /// The address of the page; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8025", value_name = "ADDR")]
    pub(crate) http: SocketAddr,
}
