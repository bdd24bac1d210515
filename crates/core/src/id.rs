//! Keys and certificates that a TLS library finds by an id of its own, and why it does not.

use std::fmt;

/// Why an id names nothing that can be used. No message holds a PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdFailure {
    /// The closed list of reasons.
    pub reason: IdReason,
    /// What was found, in one sentence.
    pub message: String,
}

impl fmt::Display for IdFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for IdFailure {}

/// Why an id names nothing that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdReason {
    /// It has not the form of one.
    Invalid,
    /// The library lacks what would look for it.
    NoProvider,
    /// There is nothing of that name.
    NotFound,
    /// There are several.
    Several,
    /// A PIN or a password is wanted, and there is none.
    NoPin,
    /// The PIN or the password is wrong.
    WrongPin,
    /// The token takes no PIN for now.
    PinLocked,
    /// What was found is of no use.
    Unusable,
    /// It could not be looked for.
    Failed,
}

impl IdFailure {
    /// Of a library that finds nothing by itself.
    #[must_use]
    pub fn none_here() -> Self {
        Self {
            reason: IdReason::Invalid,
            message: "an id must be a URI that begins with \"pkcs11:\" (RFC 7512)".to_owned(),
        }
    }
}
