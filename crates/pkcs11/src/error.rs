//! Why a token cannot be used, in words.

use std::fmt;
use std::path::PathBuf;

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, RvError};
use polytls_core::{Cause, SignerFailure};

/// Why a token, or what is in it, cannot be used. No message holds a PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The URI cannot be read.
    Uri(String),
    /// The module cannot be loaded.
    Module {
        /// Its file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The URI names no module, and there is no default one.
    NoModule(String),
    /// Nothing there matches, or more than one.
    Match {
        /// What was looked for, and what there is.
        why: String,
        /// Whether more than one matches.
        several: bool,
    },
    /// The token needs a PIN, and none is given.
    PinRequired {
        /// The token's label.
        token: String,
    },
    /// The token has refused the PIN.
    WrongPin {
        /// The token's label.
        token: String,
    },
    /// The PIN is locked.
    PinLocked {
        /// The token's label.
        token: String,
    },
    /// There is no PIN to be had: the file, or the callback.
    NoPin {
        /// Why not.
        why: String,
        /// What a callback raised.
        cause: Option<Cause>,
    },
    /// The key, or the certificate, is of no use for TLS.
    Unusable(String),
    /// The token has failed.
    Token {
        /// What was asked of it.
        what: &'static str,
        /// Why it has not done so.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(why) => write!(f, "invalid pkcs11: URI: {why}"),
            Self::Module { path, why } => {
                write!(
                    f,
                    "the PKCS#11 module {} cannot be used: {why}",
                    path.display()
                )
            }
            Self::NoModule(why) | Self::Match { why, .. } | Self::Unusable(why) => f.write_str(why),
            Self::PinRequired { token } => write!(
                f,
                "the token {token:?} requires a PIN; give pin-source or pin-value in the URI, or a PIN \
                 callback"
            ),
            Self::WrongPin { token } => write!(
                f,
                "the PIN is wrong for the token {token:?}; a wrong PIN is tried only once, because tokens \
                 lock after a few"
            ),
            Self::PinLocked { token } => write!(
                f,
                "the PIN of the token {token:?} is locked; unlock it with the vendor's tools"
            ),
            Self::NoPin { why, .. } => f.write_str(why),
            Self::Token { what, why } => write!(f, "the token failed to {what}: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for SignerFailure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let cause = match error {
            Error::NoPin { cause, .. } => cause,
            _ => None,
        };
        Self { message, cause }
    }
}

/// What was asked of the token, for [`Error::Token`].
pub(crate) fn failed(what: &'static str) -> impl Fn(CryptokiError) -> Error {
    move |error| Error::Token {
        what,
        why: words(&error),
    }
}

/// What a module said, by the name that PKCS#11 has for it.
pub(crate) fn words(error: &CryptokiError) -> String {
    match error {
        CryptokiError::Pkcs11(code, function) => {
            let meaning = match code {
                RvError::DeviceRemoved | RvError::TokenNotPresent => "the token was removed",
                RvError::DeviceError => "the device has a fault",
                RvError::SessionCount => "it has no more sessions available",
                RvError::UserNotLoggedIn => "login required",
                RvError::MechanismInvalid => "it lacks the mechanism",
                RvError::KeyFunctionNotPermitted => {
                    "the key may not be used for this (CKA_SIGN is false)"
                }
                _ => "",
            };
            let code = code_name(code);
            let function = function_name(*function);
            if meaning.is_empty() {
                format!("{function} returned {code}")
            } else {
                format!("{meaning} ({function} returned {code})")
            }
        }
        CryptokiError::LibraryLoading(error) => error.to_string(),
        CryptokiError::MissingSymbol(_) => "it is not a PKCS#11 module".to_owned(),
        CryptokiError::NullFunctionPointer => "it lacks a function of PKCS#11".to_owned(),
        _ => "it returned a value that PKCS#11 does not define".to_owned(),
    }
}

/// `DeviceRemoved` is CKR_DEVICE_REMOVED.
fn code_name(code: &RvError) -> String {
    match code {
        RvError::VendorDefined(number) | RvError::UnknownErrorCode(number) => {
            format!("{number:#010x}")
        }
        known => format!("CKR{}", upper_snake(&format!("{known:?}"))),
    }
}

fn function_name(function: Function) -> String {
    format!("C_{function:?}")
}

fn upper_snake(camel: &str) -> String {
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Whether a session, or the login, is gone: a new one may be better.
pub(crate) fn is_stale(error: &CryptokiError) -> bool {
    matches!(
        error,
        CryptokiError::Pkcs11(
            RvError::SessionClosed
                | RvError::SessionHandleInvalid
                | RvError::UserNotLoggedIn
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::DeviceRemoved
                | RvError::DeviceError
                | RvError::TokenNotPresent
                | RvError::SlotIdInvalid
                | RvError::OperationActive
                | RvError::CryptokiNotInitialized
                | RvError::GeneralError
                | RvError::FunctionFailed,
            _
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_the_standard() {
        let error = CryptokiError::Pkcs11(RvError::DeviceRemoved, Function::Sign);
        assert_eq!(
            words(&error),
            "the token was removed (C_Sign returned CKR_DEVICE_REMOVED)"
        );
        let error = CryptokiError::Pkcs11(RvError::PinLenRange, Function::Login);
        assert_eq!(words(&error), "C_Login returned CKR_PIN_LEN_RANGE");
        let error = CryptokiError::Pkcs11(RvError::VendorDefined(0x8000_0001), Function::Sign);
        assert_eq!(words(&error), "C_Sign returned 0x80000001");
    }
}
