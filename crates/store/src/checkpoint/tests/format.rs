//! The text of a manifest, and what can't be one.

use postrider_core::ErrorKind;

use super::{
    BlobRef, Checkpoint, CheckpointContents, CheckpointError, Manifest, OperatorState, PartState,
    contents, source,
};
use crate::{
    LogIdentity, SourceStatus,
    checkpoint::{
        manifest::{decode, encode},
        names::state_name,
    },
};

const GOLDEN: &str = include_str!("golden-1.json");
/// The same with the identity of its log.
const GOLDEN_2: &str = include_str!("golden-2.json");

fn blob(epoch: u64, offset: u64) -> BlobRef {
    BlobRef { file: state_name(epoch, 0xbeef), offset, bytes: 4096, crc32c: 0xdead_beef }
}

fn golden() -> Manifest {
    let parts = vec![
        PartState { id: 3, shard: 0, rows: 12, dead: Some(blob(41, 4096)), blob: blob(40, 0) },
        PartState { id: 4, shard: 1, rows: u64::MAX, dead: None, blob: blob(41, 0) },
    ];
    let operator = OperatorState {
        identity: "tumble(1 hour) by user_id".to_owned(),
        name: "window 1".to_owned(),
        watermark: 1_699_999_999_000_000_000,
        shards: 2,
        parts,
    };
    let contents = CheckpointContents { operators: vec![operator], ..contents(41) };
    Manifest {
        id: 9,
        parent: Some(8),
        generation: 3,
        nonce: "0123456789abcdef0123456789abcdef".to_owned(),
        engine_version: "0.1.0".to_owned(),
        created_at: 1_700_000_001_000_000_000,
        checkpoint: Checkpoint::new(&["clicks".to_owned()], contents).unwrap(),
    }
}

fn read(text: &str) -> Result<Manifest, CheckpointError> {
    decode(text.as_bytes(), "carts/manifest/9.json", Some(9), "carts")
}

/// Puts the right checksum on a changed manifest.
fn resealed(from: &str, to: &str) -> String {
    assert!(GOLDEN.contains(from));
    let text = GOLDEN.replacen(from, to, 1);
    let start = &text[..text.rfind(",\n  \"crc32c\"").unwrap()];
    format!("{start},\n  \"crc32c\": \"{:08x}\"\n}}\n", crc32c::crc32c(start.as_bytes()))
}

#[test]
fn manifests_of_the_first_format_are_read_for_ever() {
    assert_eq!(String::from_utf8(encode(&golden()).unwrap()).unwrap(), GOLDEN);
    assert_eq!(read(GOLDEN).unwrap(), golden());
    serde_json::from_str::<serde_json::Value>(GOLDEN).expect("tools can read it");
}

#[test]
fn manifests_that_name_their_log_are_of_the_second_format_and_read_for_ever() {
    let mut manifest = golden();
    let log_identity = Some(LogIdentity(0xfeed));
    let contents = manifest.checkpoint.into_contents();
    let contents = CheckpointContents { log_identity, ..contents };
    manifest.checkpoint = Checkpoint::new(&["clicks".to_owned()], contents).unwrap();
    assert_eq!(String::from_utf8(encode(&manifest).unwrap()).unwrap(), GOLDEN_2);
    assert_eq!(read(GOLDEN_2).unwrap(), manifest);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    for place in 0..GOLDEN.len() {
        let mut text = GOLDEN.as_bytes().to_vec();
        text[place] ^= 1 << (place % 8);
        let error = decode(&text, "m", Some(9), "carts").unwrap_err();
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{place}: {error}");
        let error = decode(&GOLDEN.as_bytes()[..place], "m", Some(9), "carts").unwrap_err();
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{place}: {error}");
    }
}

#[test]
fn a_later_format_is_refused_as_such() {
    for text in [
        resealed("\"format\": 1", "\"format\": 3"),
        resealed("\"format\": 1", "\"format\": 7,\n  \"layers\": []"),
    ] {
        let error = read(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("use that version or a later one"), "{error}");
    }
    assert_eq!(
        read(&resealed("\"format\": 1", "\"format\": 0")).unwrap_err().kind(),
        ErrorKind::Data
    );
}

/// Reads a changed manifest, and sees why it is refused.
fn refused(from: &str, to: &str, reason: &str) {
    let error = read(&resealed(from, to)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains(reason), "{error}");
}

#[test]
fn fields_that_cant_be_right_are_refused() {
    refused("\"rows\": 12", "\"rows\": 12,\n \"colour\": 1", "unknown field `colour`");
    refused("\"epoch\": 41", "\"epoch\": 41,\n \"colour\": 1", "unknown field `colour`");
    refused("\"id\": 9", "\"id\": 8", "it says that it is number 8");
    refused("\"parent\": 8", "\"parent\": 9", "its parent is not before it");
    refused("0123456789abcdef", "0123456789ABCDEF", "is not a nonce");
    refused("\"carts\"", "\"orders\"", "it is of pipeline `orders`");
    refused("c0ffee", "coffee", "is not hexadecimal");
    refused("\"idle\"", "\"unspecified\"", "unknown variant `unspecified`");
    refused("\"shard\": 1", "\"shard\": 2", "part 4 of operator `window 1` is of shard 2 of 2");
    refused(
        "\"id\": 4,\n              \"shard\": 1",
        "\"id\": 3,\n              \"shard\": 0",
        "part `3` is named twice in shard 0 of operator `window 1`",
    );
    refused("\"epoch\": 41", "\"epoch\": 40", "is of a later epoch than 40");
    refused("00000000000000000040-", "../", "is not the name of a state file");
    refused("\"bytes\": 4096", "\"bytes\": 18446744073709551615", "are in no file");
    refused("4096", "4096.5", "floating point");
    for log in ["feed", "+0000000000000000000000000000feed", "0000000000000000000000000000FEED"] {
        let named = format!("\"log_position\": 167936,\n \"log_identity\": \"{log}\"");
        refused("\"log_position\": 167936", &named, "is not the identity of a log");
    }
}

#[test]
fn a_checkpoint_without_the_position_of_a_source_cant_be_made() {
    let registered = ["clicks".to_owned(), "orders".to_owned()];
    let error = Checkpoint::new(&registered, contents(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert_eq!(
        error.to_string(),
        "a checkpoint of pipeline `carts` lacks the position of source `orders`; report this as a fault of \
         Postrider"
    );
    let both = vec![source("orders"), source("clicks")];
    Checkpoint::new(&registered, CheckpointContents { sources: both, ..contents(1) }).unwrap();
}

/// Why contents are refused.
fn inconsistent(change: impl FnOnce(&mut CheckpointContents)) -> String {
    let mut contents = golden().checkpoint.into_contents();
    change(&mut contents);
    match Checkpoint::new(&["clicks".to_owned()], contents).unwrap_err() {
        CheckpointError::Inconsistent { reason } => reason,
        error => panic!("{error}"),
    }
}

#[test]
fn what_is_named_twice_or_not_registered_cant_be_in_a_checkpoint() {
    let reason = inconsistent(|contents| contents.sources.push(source("clicks")));
    assert_eq!(reason, "source `clicks` is named twice");
    let reason = inconsistent(|contents| contents.sources.push(source("orders")));
    assert_eq!(reason, "source `orders` is not one of pipeline `carts`");
    let reason = inconsistent(|contents| contents.sinks.push(contents.sinks[0].clone()));
    assert_eq!(reason, "sink `history` is named twice");
    let reason = inconsistent(|contents| contents.operators.push(contents.operators[0].clone()));
    assert_eq!(reason, "operator `tumble(1 hour) by user_id` is named twice");
    let reason = inconsistent(|contents| contents.sources[0].status = SourceStatus::Unspecified);
    assert_eq!(reason, "the status of source `clicks` is unknown");
    let reason = inconsistent(|contents| contents.pipeline.clear());
    assert_eq!(reason, "it names no pipeline");
}

#[test]
fn ten_thousand_parts_are_one_manifest() {
    let mut manifest = golden();
    let mut contents = manifest.checkpoint.into_contents();
    contents.operators[0].parts = (0..10_000)
        .map(|id| PartState { id, shard: 1, rows: 1000, dead: None, blob: blob(41, id << 12) })
        .collect();
    manifest.checkpoint = Checkpoint::new(&["clicks".to_owned()], contents).unwrap();
    let text = encode(&manifest).unwrap();
    assert!(text.len() < 4 << 20, "{} bytes", text.len());
    assert_eq!(decode(&text, "m", Some(9), "carts").unwrap(), manifest);
}
