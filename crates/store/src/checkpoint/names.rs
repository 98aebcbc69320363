//! The names of objects: numbers of 20 digits, so that the order of names is the order of numbers.

/// The folder of manifests.
pub(super) const MANIFESTS: &str = "manifest";
/// The folder of state files.
pub(super) const STATE: &str = "state";
/// The folder of boundaries.
pub(super) const BOUNDARIES: &str = "gc";
/// The folder of the self-test.
pub(super) const PROBES: &str = "probe";

/// The name of a boundary.
pub(super) fn boundary_name(boundary: u64) -> String {
    format!("{boundary:020}")
}

/// The number of a boundary, if this is the name of one.
pub(super) fn boundary_of(name: &str) -> Option<u64> {
    let digits = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

/// The name of a manifest.
pub(super) fn manifest_name(id: u64) -> String {
    format!("{id:020}.json")
}

/// The id of a manifest, if this is the name of one.
pub(super) fn manifest_of(name: &str) -> Option<u64> {
    boundary_of(name.strip_suffix(".json")?)
}

/// The name of a state file: the epoch it was written at, and a nonce.
pub(super) fn state_name(epoch: u64, nonce: u128) -> String {
    format!("{epoch:020}-{}.state", nonce_text(nonce))
}

/// The epoch of a state file, if this is the name of one.
pub(super) fn state_epoch_of(name: &str) -> Option<u64> {
    let (epoch, nonce) = name.strip_suffix(".state")?.split_once('-')?;
    if is_nonce(nonce) { boundary_of(epoch) } else { None }
}

/// A nonce as 32 hexadecimal digits.
pub(super) fn nonce_text(nonce: u128) -> String {
    format!("{nonce:032x}")
}

/// Whether this is a nonce as [`nonce_text`] writes it.
pub(super) fn is_nonce(text: &str) -> bool {
    text.len() == 32 && is_hex(text)
}

/// Whether this is lower-case hexadecimal and not empty.
pub(super) fn is_hex(text: &str) -> bool {
    let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    !text.is_empty() && text.bytes().all(digit)
}

#[cfg(test)]
mod tests {
    use super::{boundary_of, manifest_name, manifest_of, state_epoch_of, state_name};

    #[test]
    fn names_are_read_back() {
        assert_eq!(manifest_name(42), "00000000000000000042.json");
        for number in [0, 42, u64::MAX] {
            assert_eq!(manifest_of(&manifest_name(number)), Some(number));
            assert_eq!(state_epoch_of(&state_name(number, u128::MAX)), Some(number));
        }
        assert!(manifest_name(9) < manifest_name(10));
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in ["", "42.json", "+0000000000000000042.json", "99999999999999999999.json", "x"] {
            assert_eq!(manifest_of(name), None, "{name}");
        }
        for name in ["00000000000000000042", "00000000000000000042-abc.state", "../x.state"] {
            assert_eq!(state_epoch_of(name), None, "{name}");
        }
        assert_eq!(boundary_of("0000000000000000004２"), None);
    }
}
