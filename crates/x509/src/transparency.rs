//! Signed certificate timestamps (Certificate Transparency, RFC 6962 section 3.2): what logs have promised about a
//! certificate. They are only read here. Nobody verifies them: that needs the keys of the logs.
//!
//! `x509-parser` reads such lists as well, but accepts those that are followed by other data, and takes what follows a
//! malformed entry for the end.

use polytls_core::hello::{number, split};
use x509_parser::oid_registry::OID_CT_LIST_SCT;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::unreadable::part;
use crate::{Unreadable, der};

/// A promise of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamp {
    /// Version 1.
    V1 {
        /// SHA-256 of the log's public key.
        log_id: [u8; 32],
        /// When it was made, in milliseconds since 1970 UTC.
        at: u64,
        /// The algorithm of its signature: hash and signature of TLS 1.2 (RFC 5246 section 7.4.1.4.1), which is a
        /// signature scheme of TLS 1.3.
        scheme: u16,
    },
    /// Another version, as it is written (v1 is 0): how it goes on is not specified.
    Other(u8),
}

/// So many are read; a certificate has two or three.
const MOST: usize = 64;
/// 9999-12-31, the end of times in certificates (RFC 5280 section 4.1.2.5).
const LATEST: u64 = 253_402_300_799_999;
const OCTETS: u8 = 0x04;

/// The timestamps in the extension of a certificate in DER; empty if it has none.
///
/// # Errors
///
/// [`Unreadable`], also if there is anything else in the extension, and for more than 64.
pub fn timestamps(der: &[u8]) -> Result<Vec<Timestamp>, Unreadable> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| Unreadable::certificate(part(&error)))?;
    let extension = certificate
        .get_extension_unique(&OID_CT_LIST_SCT)
        .map_err(|_| Unreadable::certificate("it has a duplicate extension"))?;
    extension.map_or(Ok(Vec::new()), |extension| {
        listed(extension.value).map_err(Unreadable::timestamps)
    })
}

/// The timestamps in the value of an extension of a certificate or an OCSP response: an OCTET STRING that has a
/// SignedCertificateTimestampList (RFC 6962 section 3.3).
pub(crate) fn listed(value: &[u8]) -> Result<Vec<Timestamp>, &'static str> {
    let Some((OCTETS, list, [])) = der::first(value) else {
        return Err("it is not one OCTET STRING");
    };
    let Some((mut rest, [])) = split::<2>(list) else {
        return Err("its length is wrong");
    };
    if rest.is_empty() {
        return Err("it is empty");
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        if found.len() == MOST {
            return Err("it has more than 64 timestamps");
        }
        let (entry, behind) = split::<2>(rest).ok_or("its last timestamp is truncated")?;
        found.push(timestamp(entry)?);
        rest = behind;
    }
    Ok(found)
}

fn timestamp(entry: &[u8]) -> Result<Timestamp, &'static str> {
    let (&version, rest) = entry.split_first().ok_or("it has an empty timestamp")?;
    if version != 0 {
        return Ok(Timestamp::Other(version));
    }
    let read = || {
        let (log_id, rest) = rest.split_first_chunk::<32>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (_extensions, rest) = split::<2>(rest)?;
        let (scheme, rest) = number(rest)?;
        match split::<2>(rest)? {
            (_signature, []) => Some((*log_id, u64::from_be_bytes(*at), scheme)),
            _ => None,
        }
    };
    match read() {
        Some((log_id, at, scheme)) if at <= LATEST => Ok(Timestamp::V1 { log_id, at, scheme }),
        Some(_) => Err("it has a timestamp after the year 9999"),
        None => Err("it has a malformed timestamp"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::der::element;

    fn vector(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        [&length.to_be_bytes(), content].concat()
    }

    fn entry(log: u8, at: u64, extensions: &[u8], signature: &[u8]) -> Vec<u8> {
        [
            &[0][..],
            &[log; 32],
            &at.to_be_bytes(),
            &vector(extensions),
            &[4, 3],
            &vector(signature),
        ]
        .concat()
    }

    fn value(entries: &[Vec<u8>]) -> Vec<u8> {
        let entries: Vec<u8> = entries.iter().flat_map(|entry| vector(entry)).collect();
        element(OCTETS, &vector(&entries))
    }

    fn v1(log: u8, at: u64) -> Timestamp {
        Timestamp::V1 {
            log_id: [log; 32],
            at,
            scheme: 0x0403,
        }
    }

    fn certificate(extensions: &[&[u8]]) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
        let oid = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
        for value in extensions {
            let extension = rcgen::CustomExtension::from_oid_content(&oid, value.to_vec());
            params.custom_extensions.push(extension);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn timestamps_of_a_certificate_are_read_in_order() {
        let at = 1_767_225_600_123;
        let entries = [entry(1, at, b"", b"sig"), entry(2, at + 1, b"more", b"")];
        let der = certificate(&[&value(&entries)]);
        assert_eq!(timestamps(&der), Ok(vec![v1(1, at), v1(2, at + 1)]));
        assert_eq!(timestamps(&certificate(&[])), Ok(Vec::new()));
    }

    #[test]
    fn other_versions_are_told_and_passed_over() {
        let found = listed(&value(&[b"\x01whatever".to_vec(), entry(1, 5, b"", b"")]));
        assert_eq!(found, Ok(vec![Timestamp::Other(1), v1(1, 5)]));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let good = entry(1, 5, b"", b"sig");
        let whole = value(std::slice::from_ref(&good));
        for length in 0..whole.len() {
            assert!(listed(&whole[..length]).is_err(), "{length}");
        }
        assert!(listed(&[&whole[..], b"\0"].concat()).is_err());
        for length in 0..good.len() {
            assert!(
                listed(&value(&[good[..length].to_vec()])).is_err(),
                "{length}"
            );
        }
        let followed = [&good[..], b"\0"].concat();
        assert!(listed(&value(&[followed])).is_err());
        let late = entry(1, LATEST + 1, b"", b"");
        assert_eq!(
            listed(&value(&[late])),
            Err("it has a timestamp after the year 9999")
        );
        assert!(listed(&value(&[entry(1, LATEST, b"", b"")])).is_ok());
        assert_eq!(listed(&value(&[])), Err("it is empty"));
        assert!(listed(&element(0x30, &vector(&vector(&good)))).is_err());
        let many = vec![good; MOST + 1];
        assert_eq!(listed(&value(&many[1..])).unwrap().len(), MOST);
        assert_eq!(listed(&value(&many)), Err("it has more than 64 timestamps"));
        let error = timestamps(&certificate(&[b"\x04\x02\0\0"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a readable list of signed certificate timestamps: it is empty"
        );
        assert!(timestamps(b"garbage").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn edited_lists_are_read_or_refused(
            edits in vec((0..400_usize, any::<u8>()), 0..6),
            entries in vec((any::<u8>(), 0..LATEST, 0..20_usize), 1..4),
        ) {
            let made: Vec<_> = entries
                .iter()
                .map(|(log, at, size)| entry(*log, *at, &vec![7; *size], &vec![9; *size]))
                .collect();
            let mut bytes = value(&made);
            let was = bytes.clone();
            for (place, byte) in edits {
                if let Some(there) = bytes.get_mut(place) {
                    *there = byte;
                }
            }
            match listed(&bytes) {
                Ok(found) => prop_assert!(!found.is_empty() && found.len() <= MOST),
                Err(why) => prop_assert!(bytes != was && !why.is_empty()),
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..100)) {
            let _ = listed(&bytes);
            let _ = listed(&element(OCTETS, &vector(&bytes)));
        }
    }
}
