//! The platform's own verifier, on macOS and Windows: operating systems distrust in code and fetch roots
//! lazily, which no list of roots can say.

use std::sync::Arc;

use polytls_core::Error;
use polytls_verdict::{Crypto, Judge, Policy, SystemTrust};
use rustls::crypto::CryptoProvider;

/// The judge for `policy`: by the platform's verifier where that is what judges the system's trust.
#[cfg(not(any(target_os = "macos", windows)))]
pub(crate) fn judge(
    policy: &Policy<'_>,
    crypto: Crypto,
    _provider: &Arc<CryptoProvider>,
) -> Result<Judge, Error> {
    Judge::new(policy, crypto, SystemTrust::Read)
}

/// The judge for `policy`: by the platform's verifier where that is what judges the system's trust.
#[cfg(any(target_os = "macos", windows))]
pub(crate) fn judge(
    policy: &Policy<'_>,
    crypto: Crypto,
    provider: &Arc<CryptoProvider>,
) -> Result<Judge, Error> {
    Judge::new(
        policy,
        crypto,
        SystemTrust::Platform(&|policy| there::verifier(policy, provider)),
    )
}

#[cfg(any(target_os = "macos", windows))]
mod there {
    use polytls_core::VerificationFailure as F;
    use polytls_core::config::Verification;
    use polytls_verdict::{Case, No, Platform};
    use rustls::CertificateError;
    use rustls::client::danger::ServerCertVerifier;
    use rustls_platform_verifier::Verifier;

    use super::{Arc, CryptoProvider, Error, Policy};

    /// The platform's verifier, where it can do what is asked.
    pub(super) fn verifier(
        policy: &Policy<'_>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Box<dyn Platform>, Error> {
        let refuse = |why: &str| {
            Err(Error::configuration(
                "trust_store",
                format!("{why}; pass the certificates to trust in a trust_store"),
            ))
        };
        if !policy.peer_is_server {
            return refuse("the platform's verifier can only verify servers");
        }
        if policy.verification != Verification::Full {
            return refuse("the platform's verifier always checks the host name");
        }
        if !policy.common.crls.is_empty() {
            return refuse("the platform's verifier does not support CRLs");
        }
        // The certificates that were given besides are judged before it is asked: it would take each for
        // an authority, whatever it says of itself.
        Verifier::new(Arc::clone(provider))
            .map(|verifier| Box::new(Theirs(verifier)) as Box<dyn Platform>)
            .map_err(|error| Error::configuration("trust_store", error.to_string()))
    }

    /// What is told where the certificates do not tell it.
    const SAID: &str = "the operating system does not trust it";

    #[derive(Debug)]
    struct Theirs(Verifier);

    impl Platform for Theirs {
        fn verify(&self, case: &Case<'_>) -> Result<(), No> {
            let other = |said: String| No::new(F::Other, said);
            let name = case.name.ok_or_else(|| other("no name to verify".into()))?;
            match self
                .0
                .verify_server_cert(case.leaf, case.intermediates, name, &[], case.now)
            {
                Ok(_) => Ok(()),
                Err(rustls::Error::InvalidCertificate(error)) => {
                    Err(No::new(reason_of(&error), SAID.to_owned()))
                }
                Err(_) => Err(other(SAID.to_owned())),
            }
        }
    }

    /// Why the platform has refused it. What it says of it is for its own programmers.
    fn reason_of(error: &CertificateError) -> F {
        match error {
            CertificateError::BadEncoding => F::BadEncoding,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => F::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                F::NotYetValid
            }
            CertificateError::Revoked => F::Revoked,
            CertificateError::UnhandledCriticalExtension => F::UnhandledCriticalExtension,
            CertificateError::UnknownIssuer => F::UnknownIssuer,
            CertificateError::BadSignature => F::BadSignature,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                F::HostnameMismatch
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                F::InvalidPurpose
            }
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                F::UnsupportedSignatureAlgorithm
            }
            _ => F::Other,
        }
    }
}
