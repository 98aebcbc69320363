//! The inner loop: where a string ends.

use wide::u8x16;

/// The place of the first byte at or behind `at` that ends or interrupts a string: a quote, a
/// backslash or a control character (RFC 8259 section 7). The length of `bytes` if there is none.
#[inline]
pub(super) fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    let (quote, backslash) = (u8x16::splat(b'"'), u8x16::splat(b'\\'));
    let last_control = u8x16::splat(0x1f);
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let block = u8x16::new(*block);
        let stops = block.simd_eq(quote)
            | block.simd_eq(backslash)
            | block.min(last_control).simd_eq(block);
        let mask = stops.to_bitmask();
        if mask != 0 {
            return at + mask.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            break;
        }
        at += 1;
    }
    at
}

/// The place of the first byte at or behind `at` that is no digit.
#[inline]
pub(super) fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::string_stop;

    proptest! {
        #[test]
        fn the_first_stop_is_found(bytes in vec(any::<u8>().prop_filter("mostly none", |b| *b > 0x20), 0..80)) {
            let expected = bytes.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(bytes.len());
            prop_assert_eq!(string_stop(&bytes, 0), expected);
            let mut control = vec![b'x'; expected];
            control.push(0x1f);
            control.extend_from_slice(&bytes);
            prop_assert_eq!(string_stop(&control, 0), expected);
        }
    }
}
