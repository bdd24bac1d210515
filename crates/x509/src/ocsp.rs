//! OCSP responses (RFC 6960 section 4.2): which certificates they are about, what they say, and who signed them.
//!
//! Only the structure is read here; `polytls-verdict` decides what a response proves.

use std::ops::RangeInclusive;

use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::der;
use crate::transparency::{Timestamp, listed};
use crate::{Signed, Unreadable, summarize};

/// What a responder has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OcspAnswer<'a> {
    /// An error, by its name in RFC 6960 section 4.2.1. It is not signed, so it proves nothing.
    Error(&'static str),
    /// A basic response.
    Response(OcspResponse<'a>),
}

/// A basic response, BasicOCSPResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspResponse<'a> {
    /// What is signed, ResponseData in DER, and the signature.
    pub signed: Signed<'a>,
    /// Who has signed, as it says itself.
    pub responder: Responder<'a>,
    /// producedAt, in seconds since 1970 UTC.
    pub produced_at: i64,
    /// One for each certificate that it is about.
    pub statuses: Vec<OcspStatus<'a>>,
    /// Certificates that may be the signer's, each in DER.
    pub certificates: Vec<&'a [u8]>,
    /// Whether a critical extension applies to all of it; none is supported.
    pub has_critical: bool,
}

/// The signer of a response, ResponderID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responder<'a> {
    /// Its subject, a Name in DER.
    Name(&'a [u8]),
    /// SHA-1 of its public key ([`public_key`]).
    Key(&'a [u8]),
}

/// The hash function by which a response identifies an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerHash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// Another one, by which nothing is identified here.
    Other,
}

/// What a response says of one certificate, SingleResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspStatus<'a> {
    /// How the issuer is identified.
    pub hash: IssuerHash,
    /// The hash of the issuer's Name in DER.
    pub issuer_name_hash: &'a [u8],
    /// The hash of the issuer's public key ([`public_key`]).
    pub issuer_key_hash: &'a [u8],
    /// The serial number, as it is in the certificate.
    pub serial_number: &'a [u8],
    /// The status.
    pub status: CertificateStatus,
    /// thisUpdate, in seconds since 1970 UTC.
    pub this_update: i64,
    /// nextUpdate, likewise, where it says so.
    pub next_update: Option<i64>,
    /// Whether it has a critical extension; none is supported.
    pub has_critical: bool,
    /// The value of the extension that has timestamps of logs (RFC 6962 section 3.3).
    timestamps: Option<&'a [u8]>,
}

/// CertStatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateStatus {
    /// It is not revoked.
    Good,
    /// It was revoked.
    Revoked {
        /// When, in seconds since 1970 UTC.
        at: i64,
        /// The name of the reason in RFC 5280 section 5.3.1, if there is one.
        reason: Option<&'static str>,
    },
    /// The responder does not know the certificate.
    Unknown,
}

/// Reads what a responder has answered, in DER, to the end.
///
/// # Errors
///
/// [`Unreadable`], also if data follows the response.
pub fn ocsp_answer(der: &[u8]) -> Result<OcspAnswer<'_>, Unreadable> {
    let mut outer = Elements(der);
    let mut response = Elements(outer.take(SEQUENCE)?.contents);
    outer.end()?;
    let status = response.take(ENUMERATED)?.contents;
    let error = match status {
        [0] => None,
        [1] => Some("malformedRequest"),
        [2] => Some("internalError"),
        [3] => Some("tryLater"),
        [5] => Some("sigRequired"),
        [6] => Some("unauthorized"),
        _ => return Err(malformed("its status is not one of RFC 6960")),
    };
    if let Some(error) = error {
        return Ok(OcspAnswer::Error(error));
    }
    let mut bytes = Elements(response.explicit(context(0), SEQUENCE)?.contents);
    response.end()?;
    if bytes.take(OID)?.contents != BASIC {
        return Err(malformed("it is not a basic response (id-pkix-ocsp-basic)"));
    }
    let mut basic = Elements(bytes.take(OCTETS)?.contents);
    bytes.end()?;
    let mut parts = Elements(basic.take(SEQUENCE)?.contents);
    basic.end()?;
    let data = parts.take(SEQUENCE)?;
    let algorithm = parts.take(SEQUENCE)?.contents;
    // The bits are behind the number of those that are not used: none.
    let Some((0, signature)) = parts.take(BITS)?.contents.split_first() else {
        return Err(malformed("its signature is malformed"));
    };
    let mut certificates = Vec::new();
    if parts.is_next(context(0)) {
        let mut listed = Elements(parts.explicit(context(0), SEQUENCE)?.contents);
        while !listed.is_empty() {
            certificates.push(listed.take(SEQUENCE)?.whole);
        }
    }
    parts.end()?;
    let signed = Signed {
        message: data.whole,
        algorithm,
        signature,
    };
    response_data(data.contents, signed, certificates).map(OcspAnswer::Response)
}

/// The contents of the BIT STRING in a SubjectPublicKeyInfo, which responses identify keys by.
#[must_use]
pub fn public_key(spki: &[u8]) -> Option<&[u8]> {
    let (0x30, info, []) = der::first(spki)? else {
        return None;
    };
    let (_, _, rest) = der::first(info)?;
    let (BITS, bits, []) = der::first(rest)? else {
        return None;
    };
    bits.split_first().map(|(_, key)| key)
}

impl<'a> OcspResponse<'a> {
    /// The newest status of a certificate with this serial number. Who has issued it is not asked.
    #[must_use]
    pub fn about(&self, serial_number: &[u8]) -> Option<&OcspStatus<'a>> {
        let statuses = self.statuses.iter();
        statuses
            .filter(|status| status.serial_number == serial_number)
            .max_by_key(|status| status.this_update)
    }
}

impl OcspStatus<'_> {
    /// What logs have promised about the certificate, if its issuer has that from them.
    ///
    /// # Errors
    ///
    /// [`Unreadable`], as of [`crate::timestamps`].
    pub fn timestamps(&self) -> Result<Vec<Timestamp>, Unreadable> {
        self.timestamps.map_or(Ok(Vec::new()), |value| {
            listed(value).map_err(Unreadable::timestamps)
        })
    }

    /// The first and the last second in which it counts, since 1970 UTC. As of CRLs, from nextUpdate on it does not.
    #[must_use]
    pub fn in_force(&self) -> RangeInclusive<i64> {
        let last = match self.next_update {
            Some(next) => next.saturating_sub(1),
            None => self.this_update.saturating_add(WITHOUT_END),
        };
        self.this_update.saturating_sub(AHEAD)..=last
    }
}

/// When a response in DER counts for the certificate `leaf`, by the newest status with its serial number
/// ([`OcspStatus::in_force`]). Only clients verify the rest.
///
/// # Errors
///
/// Why never, as half a sentence about the response.
pub fn ocsp_in_force(der: &[u8], leaf: &[u8]) -> Result<RangeInclusive<i64>, String> {
    let response = match ocsp_answer(der) {
        Ok(OcspAnswer::Response(response)) => response,
        Ok(OcspAnswer::Error(name)) => return Err(format!("an error of the responder, {name}")),
        Err(error) => return Err(error.to_string()),
    };
    let leaf = summarize(leaf).map_err(|error| format!("for a leaf that is {error}"))?;
    response
        .about(&leaf.serial_number)
        .map(OcspStatus::in_force)
        .ok_or_else(|| "about another certificate".to_owned())
}

/// So many seconds a responder's clock may be ahead.
const AHEAD: i64 = 5 * 60;
/// So many seconds a status counts without nextUpdate, which is optional: newer information is then available at any
/// time (RFC 6960 section 4.2.2.1).
const WITHOUT_END: i64 = 24 * 60 * 60;

fn response_data<'a>(
    data: &'a [u8],
    signed: Signed<'a>,
    certificates: Vec<&'a [u8]>,
) -> Result<OcspResponse<'a>, Unreadable> {
    let mut data = Elements(data);
    if data.is_next(context(0)) && data.explicit(context(0), INTEGER)?.contents != [0] {
        return Err(malformed("invalid version"));
    }
    let responder = if data.is_next(context(1)) {
        Responder::Name(data.explicit(context(1), SEQUENCE)?.whole)
    } else {
        Responder::Key(data.explicit(context(2), OCTETS)?.contents)
    };
    let produced_at = time(&data.take(GENERALIZED_TIME)?)?;
    let mut listed = Elements(data.take(SEQUENCE)?.contents);
    let mut statuses = Vec::new();
    while !listed.is_empty() {
        statuses.push(status(listed.take(SEQUENCE)?.contents)?);
    }
    let has_critical = extensions(&mut data)?.has_critical;
    data.end()?;
    Ok(OcspResponse {
        signed,
        responder,
        produced_at,
        statuses,
        certificates,
        has_critical,
    })
}

fn status(single: &[u8]) -> Result<OcspStatus<'_>, Unreadable> {
    let mut single = Elements(single);
    let mut id = Elements(single.take(SEQUENCE)?.contents);
    let hash = match Elements(id.take(SEQUENCE)?.contents).take(OID)?.contents {
        [0x2b, 0x0e, 0x03, 0x02, 0x1a] => IssuerHash::Sha1,
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => IssuerHash::Sha256,
        _ => IssuerHash::Other,
    };
    let issuer_name_hash = id.take(OCTETS)?.contents;
    let issuer_key_hash = id.take(OCTETS)?.contents;
    let serial_number = id.take(INTEGER)?.contents;
    id.end()?;
    let status = match single.next()? {
        // Implicitly tagged: NULL, RevokedInfo, NULL.
        Element {
            tag: 0x80,
            contents: [],
            ..
        } => CertificateStatus::Good,
        Element {
            tag: 0xa1,
            contents,
            ..
        } => revoked(contents)?,
        Element {
            tag: 0x82,
            contents: [],
            ..
        } => CertificateStatus::Unknown,
        _ => return Err(malformed("the status of a certificate is malformed")),
    };
    let this_update = time(&single.take(GENERALIZED_TIME)?)?;
    let next_update = if single.is_next(context(0)) {
        Some(time(&single.explicit(context(0), GENERALIZED_TIME)?)?)
    } else {
        None
    };
    let extensions = extensions(&mut single)?;
    single.end()?;
    Ok(OcspStatus {
        hash,
        issuer_name_hash,
        issuer_key_hash,
        serial_number,
        status,
        this_update,
        next_update,
        has_critical: extensions.has_critical,
        timestamps: extensions.timestamps,
    })
}

fn revoked(info: &[u8]) -> Result<CertificateStatus, Unreadable> {
    let mut info = Elements(info);
    let at = time(&info.take(GENERALIZED_TIME)?)?;
    let reason = if info.is_next(context(0)) {
        match info.explicit(context(0), ENUMERATED)?.contents {
            [number] => REASONS
                .iter()
                .find(|(known, _)| known == number)
                .map(|(_, name)| *name),
            _ => return Err(malformed("its revocation reason is malformed")),
        }
    } else {
        None
    };
    info.end()?;
    Ok(CertificateStatus::Revoked { at, reason })
}

/// What is of interest of extensions.
#[derive(Default)]
struct Extensions<'a> {
    has_critical: bool,
    timestamps: Option<&'a [u8]>,
}

/// The extensions that may come next.
fn extensions<'a>(data: &mut Elements<'a>) -> Result<Extensions<'a>, Unreadable> {
    let mut found = Extensions::default();
    if data.is_next(context(1)) {
        let mut listed = Elements(data.explicit(context(1), SEQUENCE)?.contents);
        while !listed.is_empty() {
            let mut extension = Elements(listed.take(SEQUENCE)?.contents);
            let id = extension.take(OID)?.contents;
            if extension.is_next(BOOLEAN) {
                found.has_critical |= extension.take(BOOLEAN)?.contents != [0];
            }
            let value = extension.take(OCTETS)?.contents;
            extension.end()?;
            if id == TIMESTAMPS && found.timestamps.replace(value).is_some() {
                return Err(malformed("it has a duplicate extension"));
            }
        }
    }
    Ok(found)
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;

/// A constructed element that is tagged for its context.
const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: [u8; 9] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// The extension with timestamps of logs, 1.3.6.1.4.1.11129.2.4.5 (RFC 6962 section 3.3).
const TIMESTAMPS: [u8; 10] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x05];

/// RFC 5280 section 5.3.1; 0, unspecified, says nothing.
const REASONS: [(u8, &str); 9] = [
    (1, "keyCompromise"),
    (2, "cACompromise"),
    (3, "affiliationChanged"),
    (4, "superseded"),
    (5, "cessationOfOperation"),
    (6, "certificateHold"),
    (8, "removeFromCRL"),
    (9, "privilegeWithdrawn"),
    (10, "aACompromise"),
];

fn malformed(why: &str) -> Unreadable {
    Unreadable::ocsp_response(why)
}

fn time(element: &Element<'_>) -> Result<i64, Unreadable> {
    match ASN1Time::from_der(element.whole) {
        Ok(([], time)) => Ok(time.timestamp()),
        _ => Err(malformed("invalid date")),
    }
}

/// An element, with and without its header.
struct Element<'a> {
    tag: u8,
    contents: &'a [u8],
    whole: &'a [u8],
}

/// Elements that are still to be read.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn next(&mut self) -> Result<Element<'a>, Unreadable> {
        let (tag, contents, rest) = der::first(self.0)
            .ok_or_else(|| malformed("it is truncated, or not the DER that RFC 6960 specifies"))?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Ok(Element {
            tag,
            contents,
            whole,
        })
    }

    fn take(&mut self, tag: u8) -> Result<Element<'a>, Unreadable> {
        let element = self.next()?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(malformed("it is not the DER that RFC 6960 specifies"))
        }
    }

    /// The only element within one that is tagged for its context.
    fn explicit(&mut self, outer: u8, inner: u8) -> Result<Element<'a>, Unreadable> {
        let mut within = Elements(self.take(outer)?.contents);
        let element = within.take(inner)?;
        within.end()?;
        Ok(element)
    }

    fn is_next(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn end(&self) -> Result<(), Unreadable> {
        match self.0.len() {
            0 => Ok(()),
            more => Err(Unreadable::ocsp_response(format!(
                "{more} bytes of other data follow a part of it"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::element;

    const TIME: &[u8] = b"20260101000000Z";
    const AT: i64 = 1_767_225_600;

    /// A response with this status and what follows it, and this responder.
    fn response(status: &[u8], more: &[u8], responder: &[u8]) -> Vec<u8> {
        let sha256 = element(0x06, b"\x60\x86\x48\x01\x65\x03\x04\x02\x01");
        let id = [
            element(0x30, &sha256),
            element(0x04, b"name"),
            element(0x04, b"key"),
            element(0x02, &[0x12]),
        ];
        let time = element(0x18, TIME);
        let single = [&element(0x30, &id.concat()), status, &time, more];
        let listed = element(0x30, &element(0x30, &single.concat()));
        let data = element(0x30, &[responder, &time, &listed].concat());
        let algorithm = element(0x30, &element(0x06, b"\x2a"));
        let basic = [data, algorithm, element(0x03, b"\0signature")].concat();
        let basic = element(0x04, &element(0x30, &basic));
        let bytes = [element(0x06, &BASIC), basic].concat();
        let bytes = element(0xa0, &element(0x30, &bytes));
        element(0x30, &[element(0x0a, &[0]), bytes].concat())
    }

    fn by_key() -> Vec<u8> {
        element(0xa2, &element(0x04, b"hash"))
    }

    fn read(der: &[u8]) -> OcspResponse<'_> {
        match ocsp_answer(der) {
            Ok(OcspAnswer::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_response_says_is_read() {
        let der = response(&element(0x80, &[]), &[], &by_key());
        let found = read(&der);
        assert_eq!(found.responder, Responder::Key(b"hash"));
        assert_eq!(found.produced_at, AT);
        assert_eq!(found.signed.signature, b"signature");
        assert_eq!(found.signed.algorithm, element(0x06, b"\x2a"));
        assert_eq!(found.signed.message.first(), Some(&0x30));
        let [status] = &found.statuses[..] else {
            panic!("{found:?}");
        };
        assert_eq!(status.hash, IssuerHash::Sha256);
        assert_eq!(
            (status.issuer_name_hash, status.issuer_key_hash),
            (&b"name"[..], &b"key"[..])
        );
        assert_eq!(status.serial_number, [0x12]);
        assert_eq!(status.status, CertificateStatus::Good);
        assert_eq!((status.this_update, status.next_update), (AT, None));
        assert_eq!(status.in_force(), AT - 300..=AT + 86_400);
        assert!(!status.has_critical && !found.has_critical);
        assert_eq!(status.timestamps(), Ok(Vec::new()));
    }

    #[test]
    fn names_ends_revocations_and_critical_extensions_are_read() {
        let next = element(0xa0, &element(0x18, b"20260102000000Z"));
        let extension = |critical: &[u8]| {
            let parts = [&element(0x06, b"\x2a"), critical, &element(0x04, b"")].concat();
            let list = element(0x04, &element(0x04, b"\0\x03\0\x01\x01"));
            let timestamps = [element(0x06, &TIMESTAMPS), list].concat();
            let listed = [element(0x30, &parts), element(0x30, &timestamps)].concat();
            element(0xa1, &element(0x30, &listed))
        };
        let reason = element(0xa0, &element(0x0a, &[4]));
        let revoked = element(0xa1, &[element(0x18, TIME), reason].concat());
        let name = element(0x30, &[]);
        for (critical, expected) in [(&b""[..], false), (b"\x01\x01\xff", true)] {
            let more = [next.clone(), extension(critical)].concat();
            let der = response(&revoked, &more, &element(0xa1, &name));
            let found = read(&der);
            assert_eq!(found.responder, Responder::Name(&name));
            let status = &found.statuses[0];
            let revoked = CertificateStatus::Revoked {
                at: AT,
                reason: Some("superseded"),
            };
            assert_eq!(status.status, revoked);
            assert_eq!(*status.in_force().end(), AT + 86_399);
            assert_eq!(status.has_critical, expected);
            assert_eq!(status.timestamps(), Ok(vec![Timestamp::Other(1)]));
            assert_eq!(found.about(&[0x12]), Some(status));
            assert_eq!(found.about(&[0x13]), None);
        }
    }

    #[test]
    fn errors_of_responders_are_read() {
        for (status, name) in [
            (1, "malformedRequest"),
            (3, "tryLater"),
            (6, "unauthorized"),
        ] {
            let der = element(0x30, &element(0x0a, &[status]));
            assert_eq!(ocsp_answer(&der), Ok(OcspAnswer::Error(name)));
        }
        for status in [0, 4, 7] {
            assert!(ocsp_answer(&element(0x30, &element(0x0a, &[status]))).is_err());
        }
    }

    #[test]
    fn what_is_cut_anywhere_or_followed_is_refused() {
        let whole = response(&element(0x82, &[]), &[], &by_key());
        assert_eq!(read(&whole).statuses[0].status, CertificateStatus::Unknown);
        for length in 0..whole.len() {
            assert!(ocsp_answer(&whole[..length]).is_err(), "{length}");
        }
        assert!(ocsp_answer(&[&whole[..], b"\0"].concat()).is_err());
        for wrong in [&b"\x80\x01\0"[..], b"\x83\0", b"\xa1\0", b""] {
            assert!(ocsp_answer(&response(wrong, &[], &by_key())).is_err());
        }
        let not_a_time = element(0xa0, &element(0x18, b"2026"));
        assert!(ocsp_answer(&response(b"\x80\0", &not_a_time, &by_key())).is_err());
    }
}
