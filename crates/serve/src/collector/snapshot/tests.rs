//! The bytes of a snapshot, and what is refused.

use bytes::Bytes;
use prost::Message;

use super::{IdsChunk, take};
use crate::collector::dedupe::{Key, Window};

#[test]
fn the_bytes_of_a_chunk_never_change_between_releases() {
    let keys = Bytes::copy_from_slice(&Key::of_bytes(*b"0123456789abcdef").bytes());
    let chunk = IdsChunk { keys, received_at: vec![1_000], forgotten: 7 };
    let hex: String = chunk.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "0a10303132333435363738396162636465661208e8030000000000001807");
}

#[test]
fn ids_without_a_time_are_refused() {
    let mut window = Window::new(100, 100);
    let keys = Bytes::from_static(&[1; 16]);
    let chunk = IdsChunk { keys, ..IdsChunk::default() };
    assert!(take(&chunk, &mut window, 0).is_err());
    let chunk = IdsChunk { keys: Bytes::from_static(&[1; 17]), received_at: vec![1], forgotten: 0 };
    assert!(take(&chunk, &mut window, 0).is_err());
    take(&IdsChunk { forgotten: 2, ..IdsChunk::default() }, &mut window, 0).unwrap();
    assert_eq!(window.forgotten(), 2);
}
