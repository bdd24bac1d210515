//! The verdict of `polytls-verdict` in rustls's terms: its cryptography, its alerts, and what is kept of
//! a refusal beside rustls's own error.

use std::sync::Arc;

use aws_lc_rs::digest;
use polytls_core::{CertificateFailure, VerificationFailure};
use polytls_verdict::{Case, Crypto, Policy, Verdict};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::{CertificateError, DistinguishedName, Error, PeerMisbehaved, SignatureScheme};

use crate::{observe, platform, session_lifetime};

/// What both roles judge by.
#[derive(Debug)]
pub(crate) struct Judge {
    verdict: polytls_verdict::Judge,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    /// What the peer is sent as a hint which certificates are accepted (RFC 8446 section 4.2.4).
    pub(crate) hints: Vec<DistinguishedName>,
    /// The signature schemes that handshakes may use; `None`: all.
    schemes: Option<Vec<SignatureScheme>>,
}

impl Judge {
    pub(crate) fn new(
        policy: &Policy<'_>,
        provider: &Arc<CryptoProvider>,
        schemes: Option<Vec<SignatureScheme>>,
    ) -> Result<Self, polytls_core::Error> {
        let verdict = platform::judge(policy, crypto(provider), provider)?;
        let hints = verdict.hints().into_iter();
        let hints = hints.map(DistinguishedName::from).collect();
        Ok(Self {
            verdict,
            algorithms: provider.signature_verification_algorithms,
            hints,
            schemes,
        })
    }

    /// The signature schemes that the peer is offered.
    pub(crate) fn schemes(&self) -> Vec<SignatureScheme> {
        let asked = self.schemes.clone();
        asked.unwrap_or_else(|| self.algorithms.supported_schemes())
    }

    /// Refuses a scheme that the peer was not offered.
    pub(crate) fn check_scheme(&self, scheme: SignatureScheme) -> Result<(), Error> {
        match &self.schemes {
            Some(schemes) if !schemes.contains(&scheme) => {
                Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
            }
            _ => Ok(()),
        }
    }

    /// Whether there is somebody to ask about resumed sessions.
    pub(crate) fn asks_verifier(&self) -> bool {
        self.verdict.asks_verifier()
    }

    pub(crate) fn judge(&self, case: &Case<'_>) -> Result<(), Error> {
        noted(self.verdict.judge(case)).map(|_| ())
    }

    /// Like [`Self::judge`], of a peer that has just presented its certificate, and what it `stapled`: its
    /// sessions end with these.
    pub(crate) fn judge_anew(&self, case: &Case<'_>, stapled: &[u8]) -> Result<(), Error> {
        let verdict = self
            .verdict
            .verify(case)
            .and_then(|verdict| self.verdict.stapled(case, verdict, Some(stapled)))
            .and_then(|verdict| {
                self.verdict.ask(case, verdict.path.as_deref())?;
                Ok(verdict)
            });
        let end = noted(verdict)?.unwrap_or(u64::MAX);
        let end = end.min(session_lifetime::last_end(case.now));
        observe::note(|seen| seen.sessions_end = Some(end));
        Ok(())
    }
}

/// Until when the verdict holds. The whole story of a refusal is kept beside rustls's error, which decides
/// the alert.
fn noted(verdict: Result<Verdict, Box<CertificateFailure>>) -> Result<Option<u64>, Error> {
    let verdict = verdict.map_err(|failure| {
        let error = alert_of(&failure);
        observe::note(|seen| seen.refusal = Some(*failure));
        Error::InvalidCertificate(error)
    })?;
    observe::note(|seen| {
        seen.verified_chain = verdict.path;
        seen.staple = verdict.staple;
    });
    Ok(verdict.ends)
}

pub(crate) fn crypto(provider: &CryptoProvider) -> Crypto {
    Crypto {
        algorithms: provider.signature_verification_algorithms.all,
        sha1: &sha1,
        sha256: &sha256,
    }
}

#[allow(clippy::unnecessary_wraps, reason = "other libraries may not have it")]
fn sha1(data: &[u8]) -> Option<[u8; 20]> {
    let mut hash = [0; 20];
    hash.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref());
    Some(hash)
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

/// The alert that goes with a refusal, in rustls's words for it.
fn alert_of(failure: &CertificateFailure) -> CertificateError {
    match failure.reason {
        // bad_certificate_status_response on the wire (RFC 6066 section 8).
        VerificationFailure::RevocationUnknown if failure.of_staple => {
            CertificateError::InvalidOcspResponse
        }
        VerificationFailure::UnknownIssuer => CertificateError::UnknownIssuer,
        VerificationFailure::Expired => CertificateError::Expired,
        VerificationFailure::NotYetValid => CertificateError::NotValidYet,
        VerificationFailure::HostnameMismatch => CertificateError::NotValidForName,
        VerificationFailure::Revoked => CertificateError::Revoked,
        // bad_certificate on the wire: «contained signatures that did not verify correctly» (RFC 8446
        // section 6.2); rustls's own word for it becomes decrypt_error.
        VerificationFailure::BadEncoding | VerificationFailure::BadSignature => {
            CertificateError::BadEncoding
        }
        VerificationFailure::UnhandledCriticalExtension => {
            CertificateError::UnhandledCriticalExtension
        }
        // unsupported_certificate on the wire.
        VerificationFailure::InvalidPurpose
        | VerificationFailure::UnsupportedSignatureAlgorithm
        | VerificationFailure::WeakKey => CertificateError::InvalidPurpose,
        // access_denied on the wire: «a valid certificate or PSK was received, but when access
        // control was applied, the sender decided not to proceed» (RFC 8446 section 6.2).
        VerificationFailure::RefusedByVerifier => CertificateError::ApplicationVerificationFailure,
        // certificate_unknown on the wire.
        _ => CertificateError::Other(rustls::OtherError(Arc::new(
            polytls_core::Error::Certificate(Box::new(failure.clone())),
        ))),
    }
}
