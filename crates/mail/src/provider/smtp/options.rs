//! Where an SMTP provider is and how to talk to it, read from one URL.

use std::{fmt, net::IpAddr, time::Duration};

use lettre::transport::smtp::{
    authentication::Credentials, client::TlsParameters, extension::ClientId,
};
use url::{Host, Url};

use crate::MailError;

/// How long to wait for a server.
#[derive(Debug, Clone, Copy)]
pub struct SmtpTimeouts {
    /// For a connection with greeting, TLS and login.
    pub connect: Duration,
    /// For the answer to a command.
    pub reply: Duration,
    /// For the answer to a message. RFC 5321 section 4.5.3.2.6 suggests ten minutes, for servers that deliver
    /// before they answer; relays don't. A shorter wait makes more sends in doubt.
    pub accept: Duration,
}

impl Default for SmtpTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            reply: Duration::from_secs(30),
            accept: Duration::from_secs(120),
        }
    }
}

/// Whether a connection is encrypted.
#[derive(Clone)]
pub(super) enum Tls {
    None,
    /// Begun with the STARTTLS command (RFC 3207).
    Upgrade(TlsParameters),
    /// From the first byte (RFC 8314).
    Implicit(TlsParameters),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Upgrade(_) => "STARTTLS",
            Self::Implicit(_) => "implicit",
        })
    }
}

/// The settings of an SMTP provider.
#[derive(Debug, Clone)]
pub struct SmtpOptions {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) credentials: Option<Credentials>,
    pub(super) hello: ClientId,
    /// How many connections there may be at once.
    pub connections: usize,
    /// How long to wait.
    pub timeouts: SmtpTimeouts,
}

impl SmtpOptions {
    /// Connections where nothing else was asked for.
    pub const DEFAULT_CONNECTIONS: usize = 20;

    /// Reads `smtp://user:password@host:port` (STARTTLS required, except on this machine) or `smtps://..`
    /// (TLS from the start). `?tls=none` gives up encryption, `?hello=name` names this machine to the server.
    ///
    /// # Errors
    /// The URL has no meaning here, or would send a password in the clear.
    pub fn from_url(url: &str) -> Result<Self, MailError> {
        // The URL may hold a password, so it is not repeated.
        let invalid = |reason: &str| {
            MailError::Invalid(format!(
                "the SMTP provider's URL is not usable: {reason}; it looks like smtp://user:password@host:587"
            ))
        };
        let url = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| invalid("it has no host"))?.to_owned();
        let local = is_loopback(&host);
        let (mut tls, mut hello) = (None, ClientId::default());
        for (name, value) in url.query_pairs() {
            match (name.as_ref(), value.as_ref()) {
                ("tls", "none" | "required") => tls = Some(value.into_owned()),
                ("hello", name) if !name.is_empty() => hello = ClientId::Domain(name.to_owned()),
                (name, _) => return Err(invalid(&format!("parameter `{name}` is not known"))),
            }
        }
        let parameters = || {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            TlsParameters::new(host).map_err(|error| invalid(&error.to_string()))
        };
        let (tls, default_port) = match (url.scheme(), tls.as_deref()) {
            ("smtps", None | Some("required")) => (Tls::Implicit(parameters()?), 465),
            ("smtp", Some("none")) => (Tls::None, 25),
            ("smtp", None) if local => (Tls::None, 25),
            ("smtp", _) => (Tls::Upgrade(parameters()?), 587),
            ("smtps", _) => return Err(invalid("smtps and tls=none contradict each other")),
            (scheme, _) => return Err(invalid(&format!("`{scheme}` is neither smtp nor smtps"))),
        };
        let credentials = credentials(&url).map_err(invalid)?;
        if credentials.is_some() && matches!(tls, Tls::None) && !local {
            return Err(invalid("a password must not travel without TLS"));
        }
        Ok(Self {
            port: url.port().unwrap_or(default_port),
            host,
            tls,
            credentials,
            hello,
            connections: Self::DEFAULT_CONNECTIONS,
            timeouts: SmtpTimeouts::default(),
        })
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, &'static str> {
    let Some(password) = url.password() else {
        return if url.username().is_empty() { Ok(None) } else { Err("it has no password") };
    };
    let decode =
        |text: &str| percent_decode(text).ok_or("its password is not percent-encoded UTF-8");
    Ok(Some(Credentials::new(decode(url.username())?, decode(password)?)))
}

/// Through the decoder that `url` has for form data; a `+` there would mean a space.
fn percent_decode(text: &str) -> Option<String> {
    let pair = format!("x={}", text.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next()?.1.into_owned();
    (!decoded.contains('\u{FFFD}')).then_some(decoded)
}

fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        Ok(Host::Ipv4(ip)) => ip.is_loopback(),
        Ok(Host::Ipv6(ip)) => ip.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{SmtpOptions, Tls};

    fn kind(url: &str) -> Result<(String, &'static str), String> {
        SmtpOptions::from_url(url).map_err(|error| error.to_string()).map(|options| {
            let tls = match options.tls {
                Tls::None => "none",
                Tls::Upgrade(_) => "starttls",
                Tls::Implicit(_) => "tls",
            };
            (options.address(), tls)
        })
    }

    #[test]
    fn encryption_is_the_default_away_from_this_machine() {
        let cases = [
            ("smtp://mail.example", "mail.example:587", "starttls"),
            ("smtps://u:p@mail.example", "mail.example:465", "tls"),
            ("smtp://mail.example:2525?tls=none", "mail.example:2525", "none"),
            ("smtp://127.0.0.1:1025", "127.0.0.1:1025", "none"),
            ("smtp://localhost:1025", "localhost:1025", "none"),
            ("smtp://[::1]:1025", "[::1]:1025", "none"),
            ("smtp://127.0.0.1:1025?tls=required", "127.0.0.1:1025", "starttls"),
        ];
        for (url, address, tls) in cases {
            assert_eq!(kind(url).unwrap(), (address.to_owned(), tls), "{url}");
        }
    }

    #[test]
    fn unusable_urls_are_refused_without_repeating_the_password() {
        for url in [
            "http://mail.example",
            "smtp://",
            "smtp://u:secret@mail.example?tls=none",
            "smtps://mail.example?tls=none",
            "smtp://mail.example?tsl=none",
            "smtp://u@mail.example",
            "nonsense",
        ] {
            let message = kind(url).unwrap_err();
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn passwords_are_percent_decoded() {
        assert_eq!(super::percent_decode("a%40b+c%25"), Some("a@b+c%".to_owned()));
        assert_eq!(super::percent_decode("%ff"), None);
    }
}
