//! Write keys: who may post, as what, and into which stream.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_store::KeyRole;

use super::{CollectorError, refusal::Refusal};

/// What a client signs in with.
///
/// The role decides what its events may say: a *browser* key is published with the page, so its
/// events never name a recipient; a *server* key is a secret and may.
#[derive(Clone)]
pub struct WriteKey {
    /// What events of this key may say.
    pub role: KeyRole,
    /// The key itself.
    pub secret: String,
    /// The stream that its events join; `default` where there is only one.
    pub stream: String,
}

impl WriteKey {
    /// The stream of a key that names none.
    pub const DEFAULT_STREAM: &'static str = "default";

    /// A key for the default stream.
    pub fn new(role: KeyRole, secret: impl Into<String>) -> Self {
        Self { role, secret: secret.into(), stream: Self::DEFAULT_STREAM.to_owned() }
    }
}

/// Never shows the secret.
impl fmt::Debug for WriteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteKey")
            .field("role", &self.role)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// What a known key stands for.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) role: KeyRole,
    pub(super) stream: String,
}

/// The known keys, kept as hashes only.
pub(super) struct KeyRing {
    keys: Vec<(blake3::Hash, Client)>,
}

impl KeyRing {
    pub(super) fn new(keys: Vec<WriteKey>) -> Result<Self, CollectorError> {
        let mut ring: Vec<(blake3::Hash, Client)> = Vec::with_capacity(keys.len());
        for (index, key) in keys.into_iter().enumerate() {
            if key.secret.is_empty() {
                return Err(CollectorError::EmptyWriteKey { index });
            }
            if key.role == KeyRole::Unspecified {
                return Err(CollectorError::NoRole { index });
            }
            let hash = blake3::hash(key.secret.as_bytes());
            if ring.iter().any(|(known, _)| *known == hash) {
                return Err(CollectorError::RepeatedWriteKey { index });
            }
            ring.push((hash, Client { role: key.role, stream: key.stream }));
        }
        if ring.is_empty() {
            return Err(CollectorError::NoWriteKey);
        }
        Ok(Self { keys: ring })
    }

    /// The client of a request, by its `Authorization` header.
    pub(super) fn client(&self, headers: &HeaderMap) -> Result<&Client, Refusal> {
        let secret = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| secret_of(value.as_bytes()))
            .ok_or(Refusal::NoWriteKey)?;
        let hash = blake3::hash(&secret);
        // Hashes compare in constant time, and every key is compared, so that the time of an
        // answer tells nothing about any key.
        let mut found = None;
        for (known, client) in &self.keys {
            if *known == hash {
                found = Some(client);
            }
        }
        found.ok_or(Refusal::UnknownWriteKey)
    }
}

/// The key in `Basic base64(KEY:)` (RFC 7617; any password is ignored, as Segment does) or
/// `Bearer KEY` (RFC 6750). Schemes are case-insensitive (RFC 9110 11.1).
fn secret_of(authorization: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(authorization).ok()?;
    let (scheme, credentials) = text.split_once(' ')?;
    let credentials = credentials.trim();
    let mut secret = if scheme.eq_ignore_ascii_case("bearer") {
        credentials.as_bytes().to_vec()
    } else if scheme.eq_ignore_ascii_case("basic") {
        STANDARD.decode(credentials).ok()?
    } else {
        return None;
    };
    if scheme.eq_ignore_ascii_case("basic")
        && let Some(colon) = secret.iter().position(|byte| *byte == b':')
    {
        secret.truncate(colon);
    }
    (!secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use postrider_store::KeyRole;

    use super::{WriteKey, secret_of};

    #[test]
    fn both_schemes_carry_the_key() {
        let key = Some(b"sk_1".to_vec());
        assert_eq!(secret_of(b"Basic c2tfMTo="), key, "empty password");
        assert_eq!(secret_of(b"basic c2tfMTpwYXNz"), key, "any password");
        assert_eq!(secret_of(b"Basic c2tfMQ=="), key, "no colon");
        assert_eq!(secret_of(b"BEARER sk_1"), key);
    }

    #[test]
    fn what_is_no_key_is_none() {
        let bad = [
            b"".as_slice(),
            b"sk_1",
            b"Digest sk_1",
            b"Basic ???",
            b"Basic Og==",
            b"Bearer ",
            b"\xff \xff",
        ];
        for header in bad {
            assert_eq!(secret_of(header), None, "{header:?}");
        }
    }

    #[test]
    fn the_secret_is_not_in_the_debug_text() {
        let key = WriteKey::new(KeyRole::Server, "sk_canary");
        assert!(!format!("{key:?}").contains("canary"));
    }
}
