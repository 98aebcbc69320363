//! What every source and every file sink must do, as suites that each runs by one macro line.

pub(crate) mod sink;
pub(crate) mod source;

use std::collections::BTreeMap;

use postrider_core::{OptionValue, TableOption, TableOptions};

/// Options as SQL gives them; digits are a number.
pub(crate) fn options(values: &[(&str, &str)]) -> TableOptions {
    let option = |text: &str| {
        let value = match text.parse() {
            Ok(number) => OptionValue::Number(number),
            Err(_) => OptionValue::Text(text.to_owned()),
        };
        TableOption { value, range: 0..0 }
    };
    let values: BTreeMap<_, _> =
        values.iter().map(|(name, text)| ((*name).to_owned(), option(text))).collect();
    TableOptions::new("t", 0..0, values)
}

/// Runs the source suite on a [`SourceCase`](source::SourceCase).
macro_rules! source_conformance {
    ($case:expr) => {
        #[tokio::test]
        async fn two_reads_of_the_same_range_give_the_same_chunks() {
            crate::conformance::source::same_chunks(&$case).await;
        }
        #[tokio::test]
        async fn a_source_resumes_at_every_chunk_border() {
            crate::conformance::source::resumes(&$case).await;
        }
        #[tokio::test]
        async fn no_chunk_reaches_past_until() {
            crate::conformance::source::stops_at_until(&$case).await;
        }
        #[tokio::test]
        async fn an_ended_source_stays_ended_until_it_is_sought() {
            crate::conformance::source::ends(&$case).await;
        }
        #[tokio::test]
        async fn a_position_within_a_record_means_the_next_record() {
            crate::conformance::source::seeks_forward(&$case).await;
        }
    };
}

/// Runs the file sink suite on a [`FileSinkCase`](sink::FileSinkCase).
macro_rules! file_sink_conformance {
    ($case:expr) => {
        #[tokio::test]
        async fn a_crash_between_flush_and_seal_leaves_no_row() {
            crate::conformance::sink::crash_after_flush(&$case).await;
        }
        #[tokio::test]
        async fn a_crash_at_any_epoch_writes_nothing_twice() {
            crate::conformance::sink::crash_at_every_epoch(&$case).await;
        }
        #[tokio::test]
        async fn a_new_state_starts_empty() {
            crate::conformance::sink::starts_empty(&$case).await;
        }
        #[tokio::test]
        async fn sealed_rows_that_are_gone_are_noticed() {
            crate::conformance::sink::notices_loss(&$case).await;
        }
        #[tokio::test]
        async fn what_was_written_is_read_back() {
            crate::conformance::sink::round_trip(&$case).await;
        }
    };
}

pub(crate) use {file_sink_conformance, source_conformance};
