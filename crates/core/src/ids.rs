//! Identities: of tenants, people, pipelines, process generations and sends.

use std::fmt;

use data_encoding::BASE32_NOPAD;

/// The tenant. There is one by default, and its id is in every log frame and every send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceId(pub u32);

impl WorkspaceId {
    /// The workspace of an installation that never named one.
    pub const DEFAULT: Self = Self(1);
}

/// The opaque identity of the person a log frame is about, so that one person can be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectId(pub [u8; 16]);

impl SubjectId {
    /// A frame that is about nobody in particular.
    pub const NONE: Self = Self([0; 16]);

    /// The subject of a recipient key: the first 16 bytes of a keyed BLAKE3 of it.
    pub fn of(workspace: WorkspaceId, recipient_key: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("postrider 2026 subject id");
        hasher.update(&workspace.0.to_le_bytes()).update(recipient_key.as_bytes());
        Self(first_16_bytes(&hasher))
    }
}

/// The number of the process that wrote a frame: each start of Postrider on a state directory is a
/// new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// The name of a pipeline; by default that of its folder or file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineName(pub String);

impl fmt::Display for PipelineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that makes one send different from another.
#[derive(Debug, Clone, Copy)]
pub struct SendIdentity<'a> {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// `pipeline.sink`.
    pub trigger: &'a str,
    /// Raised only by an explicit re-fire.
    pub fire_series: u32,
    /// Who.
    pub recipient_key: &'a str,
    /// What for.
    pub dedupe_key: &'a str,
    /// Which message of a sequence; the first is 0.
    pub step: u32,
}

/// The identity of a send: the first 16 bytes of BLAKE3 over a [`SendIdentity`], so that the same
/// trigger row has the same id in every process and on every replay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub [u8; 16]);

impl SendId {
    /// Derives the id. Each text is preceded by its length, so that no two identities collide by
    /// moving characters between fields.
    pub fn of(identity: &SendIdentity<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("postrider 2026 send id");
        hasher.update(&identity.workspace.0.to_le_bytes());
        hasher.update(&identity.fire_series.to_le_bytes());
        hasher.update(&identity.step.to_le_bytes());
        for text in [identity.trigger, identity.recipient_key, identity.dedupe_key] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        Self(first_16_bytes(&hasher))
    }
}

/// Lower-case base32 without padding: 26 characters that are safe in a Message-ID and a URL.
impl fmt::Display for SendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for SendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendId({self})")
    }
}

fn first_16_bytes(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{SendId, SendIdentity, WorkspaceId};

    fn identity<'a>(recipient_key: &'a str, dedupe_key: &'a str) -> SendIdentity<'a> {
        SendIdentity {
            workspace: WorkspaceId::DEFAULT,
            trigger: "abandoned_cart.offers",
            fire_series: 0,
            recipient_key,
            dedupe_key,
            step: 0,
        }
    }

    #[test]
    fn the_id_of_a_send_never_changes_between_releases() {
        let id = SendId::of(&identity("u1", "cart:7"));
        assert_eq!(id.to_string(), "ekewm3mhxmohxcy6hmwfvmifwi");
    }

    #[test]
    fn moving_a_character_between_keys_is_another_send() {
        assert_ne!(SendId::of(&identity("u1", "1x")), SendId::of(&identity("u11", "x")));
    }
}
