//! The names of objects: numbers of 20 digits, so that the order of names is the order of numbers.

/// The folder of manifests.
pub(super) const MANIFESTS: &str = "manifest";
/// The folder of state files.
pub(super) const STATE: &str = "state";
/// The folder of boundaries.
pub(super) const BOUNDARIES: &str = "gc";
/// The folder of savepoints.
pub(super) const SAVEPOINTS: &str = "savepoint";
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

/// The name of the object of a savepoint.
pub(super) fn savepoint_name(name: &str) -> String {
    format!("{name}.json")
}

/// The name of a savepoint, if this is the name of its object.
pub(super) fn savepoint_of(object: &str) -> Option<&str> {
    object.strip_suffix(".json").filter(|name| is_savepoint_name(name))
}

/// Whether a savepoint may be called so: a name is never taken for a number, and is a file name everywhere.
pub(super) fn is_savepoint_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    first && name.len() <= 64 && name.bytes().all(known)
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
    use super::{
        boundary_of, is_savepoint_name, manifest_name, manifest_of, savepoint_name, savepoint_of,
        state_epoch_of, state_name,
    };

    #[test]
    fn savepoints_have_names_that_are_no_numbers() {
        for name in ["a", "before-sale_2.1", "Z9"] {
            assert_eq!(savepoint_of(&savepoint_name(name)), Some(name));
        }
        for name in ["", "12", "-a", "a b", "a/b", "..", "Zoë", &"a".repeat(65)] {
            assert!(!is_savepoint_name(name), "{name}");
        }
        assert_eq!(savepoint_of("a.json#1"), None);
    }

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
