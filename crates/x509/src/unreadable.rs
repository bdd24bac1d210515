//! What cannot be read, and which part of it.

use std::fmt;

use x509_parser::error::X509Error;
use x509_parser::nom;

/// Bytes that are no certificate, no CRL, no OCSP response, or no list of timestamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    what: &'static str,
    why: String,
}

impl Unreadable {
    pub(crate) fn certificate(why: impl Into<String>) -> Self {
        Self {
            what: "certificate",
            why: why.into(),
        }
    }

    pub(crate) fn revocation_list(why: impl Into<String>) -> Self {
        Self {
            what: "certificate revocation list",
            why: why.into(),
        }
    }

    pub(crate) fn ocsp_response(why: impl Into<String>) -> Self {
        Self {
            what: "OCSP response",
            why: why.into(),
        }
    }

    pub(crate) fn timestamps(why: impl Into<String>) -> Self {
        Self {
            what: "list of signed certificate timestamps",
            why: why.into(),
        }
    }

    /// Which part cannot be read, as half a sentence.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a readable {}: {}", self.what, self.why)
    }
}

impl std::error::Error for Unreadable {}

/// The part that the parser stopped at. Its own words are those of its source.
pub(crate) fn part(error: &nom::Err<X509Error>) -> &'static str {
    match error {
        nom::Err::Error(error) | nom::Err::Failure(error) => part_of(error),
        nom::Err::Incomplete(_) => "it is truncated",
    }
}

/// Likewise.
pub(crate) fn part_of(error: &X509Error) -> &'static str {
    match error {
        X509Error::InvalidVersion => "invalid version",
        X509Error::InvalidSerial => "invalid serial number",
        X509Error::InvalidAlgorithmIdentifier => "its signature algorithm identifier is malformed",
        X509Error::InvalidX509Name | X509Error::InvalidAttributes => {
            "it has a malformed distinguished name"
        }
        X509Error::DuplicateAttributes => "it has a duplicate attribute",
        X509Error::InvalidDate => "invalid date",
        X509Error::InvalidSPKI => "its public key is malformed",
        X509Error::InvalidSubjectUID | X509Error::InvalidIssuerUID => {
            "it has a malformed unique identifier"
        }
        X509Error::InvalidExtensions => "its extensions are malformed",
        X509Error::DuplicateExtensions => "it has a duplicate extension",
        X509Error::InvalidSignatureValue => "its signature is malformed",
        X509Error::InvalidNumber => "it has a malformed number",
        _ => "it is malformed (not the DER that RFC 5280 specifies)",
    }
}
