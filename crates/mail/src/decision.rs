//! Whether a trigger row is mailed: a pure function, and the words for why not.

use std::fmt;

use lettre::Address;
use postrider_core::{format_duration, format_time};

use crate::{
    address::{AddressFault, parse_address},
    row::TriggerRow,
};

/// Why a trigger row is not sent. The words are stable: they are in the log, in metrics and in docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The row has no recipient key or no dedupe key.
    MissingKey,
    /// A send with this dedupe key exists.
    Duplicate,
    /// The row has no address.
    MissingAddress,
    /// The address is none.
    BadAddress,
    /// The address has characters that few mail servers take.
    NeedsSmtpUtf8,
    /// The row came too late to be worth a mail.
    Expired,
    /// The template fails with this row.
    RenderError,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::MissingKey,
        Self::Duplicate,
        Self::MissingAddress,
        Self::BadAddress,
        Self::NeedsSmtpUtf8,
        Self::Expired,
        Self::RenderError,
    ];

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::Duplicate => "duplicate",
            Self::MissingAddress => "missing_address",
            Self::BadAddress => "bad_address",
            Self::NeedsSmtpUtf8 => "needs_smtputf8",
            Self::Expired => "expired",
            Self::RenderError => "render_error",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A row that is not sent. The detail names no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotSent {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) row: TriggerRow<'a>,
    /// A send with this id was tried, or is being tried, for another row.
    pub(crate) known: bool,
    /// When the row fired: its `fire_ts`, or else the clock of its epoch.
    pub(crate) fired_at: i64,
    /// The epoch clock.
    pub(crate) now: i64,
    /// How long a row is worth sending.
    pub(crate) ttl_ns: i64,
}

/// Decides about a row, up to the rendering. A row is late only after its last moment, not at it.
pub(crate) fn decide(facts: &Facts<'_>) -> Result<Address, NotSent> {
    let row = &facts.row;
    let not_sent = |reason, detail: &str| Err(NotSent { reason, detail: detail.to_owned() });
    if row.recipient_key.is_empty() || row.dedupe_key.is_empty() {
        return not_sent(Reason::MissingKey, "recipient_key and dedupe_key must not be empty");
    }
    if facts.known {
        return not_sent(Reason::Duplicate, "an earlier row has the same dedupe_key");
    }
    let Some(email) = row.email.map(str::trim).filter(|email| !email.is_empty()) else {
        return not_sent(Reason::MissingAddress, "the column `email` is NULL or empty");
    };
    let address = match parse_address(email) {
        Ok(address) => address,
        Err(AddressFault::Bad) => {
            return not_sent(Reason::BadAddress, "the column `email` holds no valid address");
        }
        Err(AddressFault::NeedsSmtpUtf8) => {
            return not_sent(Reason::NeedsSmtpUtf8, "the part before the @ is not ASCII");
        }
    };
    check_expiry(facts)?;
    Ok(address)
}

/// Whether a row is still worth sending.
fn check_expiry(facts: &Facts<'_>) -> Result<(), NotSent> {
    let expired = |detail| Err(NotSent { reason: Reason::Expired, detail });
    if let Some(expires_at) = facts.row.expires_at
        && facts.now > expires_at
    {
        return expired(format!("expires_at was {}", format_time(expires_at)));
    }
    if facts.now > facts.fired_at.saturating_add(facts.ttl_ns) {
        let fired = format_time(facts.fired_at);
        return expired(format!(
            "it fired at {fired} with a ttl of {}",
            format_duration(facts.ttl_ns)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Facts, Reason, decide};
    use crate::row::TriggerRow;

    const ROW: TriggerRow<'static> = TriggerRow {
        recipient_key: "u1",
        dedupe_key: "cart:1",
        email: Some("zoe@shop.example"),
        topic: None,
        fire_ts: None,
        expires_at: None,
    };
    const FACTS: Facts<'static> =
        Facts { row: ROW, known: false, fired_at: 1_000, now: 1_500, ttl_ns: 500 };

    #[test]
    fn each_reason_has_its_row() {
        let row = |change: fn(&mut TriggerRow<'static>)| {
            let mut row = ROW;
            change(&mut row);
            Facts { row, ..FACTS }
        };
        let cases = [
            (FACTS, None),
            (Facts { now: 1_501, ..FACTS }, Some(Reason::Expired)),
            (Facts { known: true, ..FACTS }, Some(Reason::Duplicate)),
            (Facts { ttl_ns: i64::MAX, now: i64::MAX, ..FACTS }, None),
            (row(|row| row.expires_at = Some(1_500)), None),
            (row(|row| row.expires_at = Some(1_499)), Some(Reason::Expired)),
            (row(|row| row.recipient_key = ""), Some(Reason::MissingKey)),
            (row(|row| row.dedupe_key = ""), Some(Reason::MissingKey)),
            (row(|row| row.email = None), Some(Reason::MissingAddress)),
            (row(|row| row.email = Some(" ")), Some(Reason::MissingAddress)),
            (row(|row| row.email = Some("zoe")), Some(Reason::BadAddress)),
            (
                row(|row| row.email = Some("a@b.example\r\nBcc: c@d.example")),
                Some(Reason::BadAddress),
            ),
            (row(|row| row.email = Some("zoë@shop.example")), Some(Reason::NeedsSmtpUtf8)),
        ];
        for (facts, reason) in cases {
            assert_eq!(decide(&facts).err().map(|not| not.reason), reason, "{facts:?}");
        }
    }

    #[test]
    fn a_known_send_is_a_duplicate_whatever_else_is_wrong() {
        let facts =
            Facts { known: true, now: i64::MAX, row: TriggerRow { email: None, ..ROW }, ..FACTS };
        assert_eq!(decide(&facts).unwrap_err().reason, Reason::Duplicate);
    }
}
