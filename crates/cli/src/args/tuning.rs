//! Hidden options that make a log short: tests go through deletions that otherwise come once in days.

/// How the log of a run is cut and shortened; by default, as its crates have it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LogTuning {
    /// Size of a segment of the log; snapshots, and what is kept of the log anyway, are measured in segments
    #[arg(long, value_name = "BYTES", hide = true, value_parser = clap::value_parser!(u64).range(4_096..=1_073_741_824))]
    pub(crate) log_segment_bytes: Option<u64>,
    /// How long the log and checkpoints are kept although nothing needs them
    #[arg(long, value_name = "SECONDS", hide = true)]
    pub(crate) keep_seconds: Option<u32>,
    /// Milliseconds between two looks at what of the log can be deleted
    #[arg(long, value_name = "MS", hide = true, value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) housekeeping_ms: Option<u32>,
}
