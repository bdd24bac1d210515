//! The name a client asks for and verifies.

use std::fmt;
use std::net::IpAddr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use rustls_pki_types::{DnsName, ServerName};

/// A host name in the form TLS uses it: an IP address, or lower-case A-labels with no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(ServerName<'static>);

/// Why something is no host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHostName(String);

impl fmt::Display for InvalidHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidHostName {}

impl HostName {
    /// Reads a host name as a person writes it: an IPv4 or IPv6 address (with or without
    /// brackets), or a DNS name, converted from Unicode by UTS #46 (non-transitional, as browsers
    /// do). One trailing dot is dropped. Underscores are accepted, as in real names.
    ///
    /// # Errors
    ///
    /// [`InvalidHostName`], saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidHostName> {
        let wrong = |why: &str| Err(InvalidHostName(format!("{why}: {text:?}")));
        if text.is_empty() {
            return wrong("empty host name");
        }
        if text.contains('\0') {
            return wrong("host name contains a NUL character");
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self(ServerName::IpAddress(address.into())));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Some(label) = name.split('.').find(|label| label.is_empty()) {
            return wrong(&format!("host name has an empty label {label:?}"));
        }
        let ascii = match Uts46::new().to_ascii(
            name.as_bytes(),
            AsciiDenyList::EMPTY,
            Hyphens::Allow,
            DnsLength::Ignore,
        ) {
            Ok(ascii) => ascii,
            Err(_) => return wrong("not a valid internationalized host name (UTS #46)"),
        };
        if ascii.split('.').any(|label| label.len() > 63) {
            return wrong("host name has a label of more than 63 characters");
        }
        if ascii.len() > 253 {
            return wrong("host name has more than 253 characters");
        }
        match DnsName::try_from(ascii.to_ascii_lowercase()) {
            Ok(name) => Ok(Self(ServerName::DnsName(name))),
            Err(_) if text.contains([':', '/', '@']) => {
                wrong("not a host name (give only the host, without scheme, user, port or path)")
            }
            Err(_) => wrong("not a host name"),
        }
    }

    /// The name as TLS libraries take it.
    #[must_use]
    pub const fn as_server_name(&self) -> &ServerName<'static> {
        &self.0
    }

    /// Whether it is an address: those match IP SANs only and never go into SNI
    /// (RFC 6066 section 3).
    #[must_use]
    pub const fn is_ip(&self) -> bool {
        matches!(self.0, ServerName::IpAddress(_))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        HostName::parse(text).unwrap().to_string()
    }

    #[test]
    fn names_take_the_form_tls_uses() {
        for (text, expected) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("stra\u{df}e.example", "xn--strae-oqa.example"),
            ("under_score.example", "under_score.example"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(parsed(text), expected);
        }
        assert!(HostName::parse("192.0.2.1").unwrap().is_ip());
        assert!(!HostName::parse("a.example").unwrap().is_ip());
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = vec!["abcdefgh"; 32].join(".");
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a\0b",
            "a b",
            "a/b",
            "*.example",
            "-a.example",
            &long_label,
            &long_name,
            "xn--\u{fc}.example",
        ] {
            assert!(HostName::parse(text).is_err(), "{text:?}");
        }
        for text in [
            "a.example:443",
            "[::1]:443",
            "https://a.example",
            "me@a.example",
        ] {
            let error = HostName::parse(text).unwrap_err().to_string();
            assert!(error.contains("give only the host"), "{error}");
        }
    }
}
