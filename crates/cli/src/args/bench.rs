//! The command line of `postrider bench`.

use clap::Parser;

use crate::bench::{BenchInput, BenchQuery};

/// Measures events a second from a file through a query into a blackhole, beside the same query in plain
/// DataFusion in the same process. Prints JSON.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  postrider bench\n  postrider bench --events 2000000 --rounds 5\n  postrider bench --query hop,session,join --parallelism 1\n  postrider bench --all --input ndjson,parquet --events 10000000 --markdown\n  postrider bench --nexmark --events 2000000 --markdown\n  postrider bench --state"
)]
pub(crate) struct BenchArgs {
    /// What to measure; several with commas
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["tumble"])]
    pub(crate) query: Vec<BenchQuery>,
    /// Every query
    #[arg(long, conflicts_with = "query")]
    pub(crate) all: bool,
    /// The queries of Nexmark instead, over its events
    #[arg(long, conflicts_with_all = ["query", "all", "state"])]
    pub(crate) nexmark: bool,
    /// Of a thousand events, how many are ten minutes late; rows of windows are not compared then, since batch knows no late rows
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500), conflicts_with = "nexmark")]
    pub(crate) late: u32,
    /// The format of the files; several with commas
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["ndjson"])]
    pub(crate) input: Vec<BenchInput>,
    /// Events in the generated file
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) events: u64,
    /// Customers in the generated file
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) customers: u64,
    /// Measurements of each kind; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=101))]
    pub(crate) rounds: u64,
    /// Prints a table for people instead of JSON
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Measures what checkpoints cost while much state changes, and a restart from it, instead
    #[arg(long)]
    pub(crate) state: bool,
    /// With --state: keys in the state; 9 million are about 1 GB
    #[arg(long, default_value_t = 9_000_000, value_parser = clap::value_parser!(u64).range(1_000..=200_000_000))]
    pub(crate) keys: u64,
    /// With --state: seconds of each measurement
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,
    /// Shards to measure with
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    pub(crate) parallelism: Vec<usize>,
}
