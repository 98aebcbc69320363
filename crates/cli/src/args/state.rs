//! The arguments of `postrider state`.

use std::{convert::Infallible, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use postrider_engine::RestoreFrom;

use super::Format;

/// Looks after the checkpoints of a state directory. All but `gc` work while a pipeline runs, and do not hinder it.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider state list --state-dir .postrider/winback\n  postrider state save winback \
    before_sale --state-dir .postrider/winback\n  postrider state diff pipelines/winback/pipeline.sql"
)]
pub(crate) struct StateArgs {
    #[command(subcommand)]
    pub(crate) command: StateCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Lists every pipeline with its checkpoints and savepoints
    List(ListArgs),
    /// Shows what a checkpoint holds
    Show(ShowArgs),
    /// Reads every file of every checkpoint; exits with 1 if one is damaged
    Verify(VerifyStateArgs),
    /// Writes the rows of a checkpoint as files, or prints them
    Export(ExportArgs),
    /// Shows what each operator of an edited pipeline keeps and rebuilds
    Diff(DiffArgs),
    /// Keeps the newest checkpoint of a pipeline under a name
    Save(NameArgs),
    /// Forgets a savepoint
    Forget(NameArgs),
    /// Deletes what no kept checkpoint needs
    Gc(GcArgs),
}

/// How facts are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShownAs {
    /// Aligned text
    Text,
    /// One JSON object a line
    Json,
}

/// Lists every pipeline with its checkpoints, newest first, and its savepoints.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider state list --state-dir .postrider/winback\n  postrider state list --state-dir \
    .postrider/winback --format json"
)]
pub(crate) struct ListArgs {
    /// The state directory of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    /// How they are printed
    #[arg(long, default_value = "text")]
    pub(crate) format: ShownAs,
}

/// Shows what a checkpoint holds: where sources and sinks stood, and the operators with their state.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider state show winback --state-dir .postrider/winback\n  postrider state show \
    winback 12 --state-dir .postrider/winback --format json"
)]
pub(crate) struct ShowArgs {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The checkpoint or savepoint; by default the newest
    #[arg(value_name = "NUMBER|NAME", value_parser = restore_from)]
    pub(crate) checkpoint: Option<RestoreFrom>,
    /// The state directory of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    /// How it is printed
    #[arg(long, default_value = "text")]
    pub(crate) format: ShownAs,
}

/// Reads every file of every checkpoint and savepoint, and compares it with its checksums.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  postrider state verify --state-dir .postrider/winback")]
pub(crate) struct VerifyStateArgs {
    /// Only this pipeline
    pub(crate) pipeline: Option<String>,
    /// The state directory of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
}

/// Writes the rows that count of every operator of a checkpoint as Arrow IPC files, or prints them.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider state export winback --state-dir .postrider/winback --out rows\n  postrider \
    state export winback 12 --state-dir .postrider/winback --operator 1 --format json"
)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["out", "format"]))]
pub(crate) struct ExportArgs {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The checkpoint or savepoint; by default the newest
    #[arg(value_name = "NUMBER|NAME", value_parser = restore_from)]
    pub(crate) checkpoint: Option<RestoreFrom>,
    /// The state directory of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    /// Where the files are written, one for each operator
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Prints the rows instead
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Only this operator, as `state show` counts them
    #[arg(long, value_name = "NUMBER")]
    pub(crate) operator: Option<usize>,
}

/// Shows what each operator keeps and rebuilds if these pipelines go on from their newest checkpoints. Changes nothing.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  postrider state diff pipelines/winback/pipeline.sql")]
pub(crate) struct DiffArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The state directory of a run; by default the one that `run` takes
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Gives the newest checkpoint of a pipeline a name, or takes it away. What a savepoint needs of files and of the log is
/// kept until it is forgotten; `run --from-checkpoint NAME` goes on from it.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider state save winback before_sale --state-dir .postrider/winback\n  postrider \
    state forget winback before_sale --state-dir .postrider/winback"
)]
pub(crate) struct NameArgs {
    /// The pipeline
    pub(crate) pipeline: String,
    /// The name: letters, digits, `_`, `-` and `.`, a letter first
    pub(crate) name: String,
    /// The state directory of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
}

/// Deletes what no kept checkpoint and no savepoint needs. No pipeline may run on the state: one that runs collects by itself.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  postrider state gc --state-dir .postrider/winback --keep 1")]
pub(crate) struct GcArgs {
    /// The state directory of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    /// Checkpoints of each pipeline to keep, however young others are; by default what a run keeps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,
}

/// A number, or the name of a savepoint.
pub(super) fn restore_from(text: &str) -> Result<RestoreFrom, Infallible> {
    let number = text.parse().map(RestoreFrom::Number);
    Ok(number.unwrap_or_else(|_| RestoreFrom::Savepoint(text.to_owned())))
}
