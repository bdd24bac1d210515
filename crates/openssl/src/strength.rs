//! The security level (SSL_CTX_set_security_level(3)) of a verified path. OpenSSL holds its own verification to
//! it, and nothing where a callback verifies in its place.

use polytls_core::VerificationFailure;
use polytls_verdict::{No, PathRule};

use crate::objects::Certificate;
use crate::scope::Scope;

/// The least security in bits of each level.
const BITS: [i32; 6] = [0, 80, 112, 128, 192, 256];
/// From here on a level asks more than the verdict does by itself: RSA of 2048 bits, and SHA-256.
const FIRST: i32 = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Level {
    scope: &'static Scope,
    level: i32,
    bits: i32,
}

impl Level {
    /// `None` for a level that the verdict meets anyhow.
    pub(crate) fn new(scope: &'static Scope, level: i32) -> Option<Self> {
        let index = usize::try_from(level).unwrap_or(0).min(BITS.len() - 1);
        (level >= FIRST).then_some(Self {
            scope,
            level,
            bits: BITS[index],
        })
    }

    fn refuse(&self, reason: VerificationFailure, what: &str, bits: i32) -> No {
        let Self {
            level, bits: least, ..
        } = self;
        No::new(
            reason,
            format!(
                "{what} has {bits} bits of security, but OpenSSL's security level {level} \
                 requires {least}"
            ),
        )
    }
}

impl PathRule for Level {
    /// As OpenSSL has it: the key of each, and the signature of each but the anchor.
    fn check(&self, path: &[Vec<u8>]) -> Result<(), No> {
        for (index, der) in path.iter().enumerate() {
            let unread = || {
                let said = "OpenSSL cannot read it".to_owned();
                No::new(VerificationFailure::BadEncoding, said)
            };
            let certificate = Certificate::read(self.scope, der);
            self.scope.clean();
            let certificate = certificate.ok_or_else(unread)?;
            let (key, signature) = certificate.security().ok_or_else(unread)?;
            let whose = match index {
                0 => "of the certificate".to_owned(),
                index => format!("of authority {index} of the path"),
            };
            if key < self.bits {
                let what = format!("the key {whose}");
                return Err(self.refuse(VerificationFailure::WeakKey, &what, key));
            }
            if index + 1 < path.len() && signature < self.bits {
                let what = format!("the signature {whose}");
                let reason = VerificationFailure::UnsupportedSignatureAlgorithm;
                return Err(self.refuse(reason, &what, signature));
            }
        }
        Ok(())
    }
}
