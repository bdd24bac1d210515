//! Whether a certificate is valid for a name, where the TLS library does not say (RFC 9525 section 6).
//!
//! The rules are webpki's: a wildcard stands for one whole label, the leftmost only; addresses
//! match addresses only; the common name is never looked at.

use std::net::IpAddr;

use crate::Summary;

/// Whether the certificate is valid for `name`, an address or a DNS name as `HostName` writes it.
#[must_use]
pub fn is_valid_for(certificate: &Summary, name: &str) -> bool {
    if let Ok(address) = name.parse::<IpAddr>() {
        return certificate.ip_addresses.contains(&address);
    }
    let names = &certificate.dns_names;
    names.iter().any(|presented| matches(presented, name))
}

fn matches(presented: &str, name: &str) -> bool {
    let Some(parent) = presented.strip_prefix("*.") else {
        return is_plain(presented) && presented.eq_ignore_ascii_case(name);
    };
    // At least two labels below the wildcard: `*.com` is nobody's.
    let Some((first, rest)) = name.split_once('.') else {
        return false;
    };
    !first.is_empty()
        && is_plain(parent)
        && parent.contains('.')
        && rest.eq_ignore_ascii_case(parent)
}

fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label_and_the_leftmost() {
        for (presented, name, expected) in [
            ("a.example", "a.example", true),
            ("A.Example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.b.example", "a.b.example", true),
            ("*.b.example", "b.example", false),
            ("*.b.example", "x.a.b.example", false),
            ("a*.b.example", "aa.b.example", false),
            ("x.*.example", "x.b.example", false),
            ("*.*.example", "x.b.example", false),
            ("*.example", "a.example", false),
            ("*", "localhost", false),
            ("a.example\0.evil.example", "a.example", false),
            ("", "a.example", false),
        ] {
            assert_eq!(matches(presented, name), expected, "{presented:?} {name:?}");
        }
    }
}
