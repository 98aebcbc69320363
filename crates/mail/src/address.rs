//! Addresses: what can be mailed to, and in which spelling.

use lettre::Address;
use url::Host;

use crate::limits::{ADDRESS_BYTES, LOCAL_PART_BYTES};

/// Why an address can't be mailed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressFault {
    /// Not an address.
    Bad,
    /// Its local part needs SMTPUTF8 (RFC 6531), which the large providers don't speak.
    NeedsSmtpUtf8,
}

/// Reads a bare address; its domain comes out in ASCII (IDNA), its local part untouched.
pub(crate) fn parse_address(text: &str) -> Result<Address, AddressFault> {
    let text = text.trim();
    if text.len() > ADDRESS_BYTES || text.chars().any(|c| c.is_control() || c == '\u{FFFD}') {
        return Err(AddressFault::Bad);
    }
    let (local, domain) = text.rsplit_once('@').ok_or(AddressFault::Bad)?;
    let domain = ascii_domain(domain).ok_or(AddressFault::Bad)?;
    if local.len() > LOCAL_PART_BYTES {
        return Err(AddressFault::Bad);
    }
    let address = Address::new(local, &domain).map_err(|_| AddressFault::Bad)?;
    if local.is_ascii() { Ok(address) } else { Err(AddressFault::NeedsSmtpUtf8) }
}

/// The domain in ASCII. Address literals are refused: a customer has none, an attacker may.
fn ascii_domain(domain: &str) -> Option<String> {
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) if ascii.contains('.') => Some(ascii),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressFault, parse_address};

    #[test]
    fn addresses_are_read_or_refused() {
        let cases: &[(&str, Result<&str, AddressFault>)] = &[
            ("zoe@shop.example", Ok("zoe@shop.example")),
            (" zoe+a.b@shop.example ", Ok("zoe+a.b@shop.example")),
            ("zoe@bücher.example", Ok("zoe@xn--bcher-kva.example")),
            ("zoë@shop.example", Err(AddressFault::NeedsSmtpUtf8)),
            ("zoe", Err(AddressFault::Bad)),
            ("", Err(AddressFault::Bad)),
            ("@shop.example", Err(AddressFault::Bad)),
            ("zoe@", Err(AddressFault::Bad)),
            ("zoe@localhost", Err(AddressFault::Bad)),
            ("zoe@[127.0.0.1]", Err(AddressFault::Bad)),
            ("zoe@127.0.0.1", Err(AddressFault::Bad)),
            ("a b@shop.example", Err(AddressFault::Bad)),
            ("zoe@shop.example>\r\nRCPT TO:<x@y.example", Err(AddressFault::Bad)),
            ("zoe@shop.example\r\nBcc: x@y.example", Err(AddressFault::Bad)),
            ("<zoe@shop.example>", Err(AddressFault::Bad)),
            ("zoe@shop.example, x@y.example", Err(AddressFault::Bad)),
        ];
        for (text, expected) in cases {
            let found = parse_address(text).map(|address| address.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn the_length_of_an_address_is_bounded() {
        let local = "a".repeat(65);
        assert_eq!(parse_address(&format!("{local}@shop.example")), Err(AddressFault::Bad));
        let domain = "d".repeat(250);
        assert_eq!(parse_address(&format!("a@{domain}.example")), Err(AddressFault::Bad));
    }
}
