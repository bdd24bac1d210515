//! CRLs: whose they are, and until when they hold.

use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::Unreadable;
use crate::unreadable::part;

/// What a certificate CRL says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Its issuer, a Name in DER.
    pub issuer_der: Vec<u8>,
    /// thisUpdate, in seconds since 1970 UTC.
    pub this_update: i64,
    /// nextUpdate, likewise, where it says so.
    pub next_update: Option<i64>,
}

/// Reads one list in DER, to the end.
///
/// # Errors
///
/// [`Unreadable`], also when something follows the list.
pub fn revocation_list(der: &[u8]) -> Result<RevocationList, Unreadable> {
    let (rest, list) = CertificateRevocationList::from_der(der)
        .map_err(|error| Unreadable::revocation_list(part(&error)))?;
    if !rest.is_empty() {
        let why = format!("{} bytes of other data follow it", rest.len());
        return Err(Unreadable::revocation_list(why));
    }
    Ok(RevocationList {
        issuer_der: list.issuer().as_raw().to_vec(),
        this_update: list.last_update().timestamp(),
        next_update: list.next_update().map(|at| at.timestamp()),
    })
}

/// Reads one list in DER, and judges nothing.
///
/// # Errors
///
/// Like [`revocation_list`].
pub fn check_revocation_list(der: &[u8]) -> Result<(), Unreadable> {
    revocation_list(der).map(|_| ())
}
