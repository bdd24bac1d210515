//! The judgement on the peer's certificate, inside the handshake.
//!
//! On macOS and Windows a client's system trust is judged by the platform (rustls-platform-verifier):
//! operating systems distrust in code and fetch roots lazily, which no list of roots can say.
//! Everything else is judged here, by webpki.

use std::sync::Arc;

use polytls_core::config::{ClientAuthentication, Verification};
use polytls_core::{CertificateFailure, VerificationFailure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use crate::error::{describe_refusal, reason_of};
use crate::observe;
use crate::trust::Anchors;

/// What both roles judge by.
#[derive(Debug)]
struct Judge {
    anchors: Arc<Anchors>,
    verification: Verification,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Judge {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&ServerName<'_>>,
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        if self.verification == Verification::Nothing {
            return Ok(());
        }
        let name = name.filter(|_| self.verification == Verification::Full);
        self.verify(leaf, intermediates, name, now, usage)
            .map_err(|error| refuse(&error, leaf, intermediates, name))
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&ServerName<'_>>,
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), webpki::Error> {
        let certificate = EndEntityCert::try_from(leaf)?;
        if self.anchors.exact.contains(leaf) {
            check_validity(leaf, now)?;
        } else {
            certificate.verify_for_usage(
                self.algorithms.all,
                &self.anchors.roots,
                intermediates,
                now,
                usage,
                None,
                None,
            )?;
        }
        name.map_or(Ok(()), |name| {
            certificate.verify_is_valid_for_subject_name(name)
        })
    }
}

/// What path building checks and a trusted leaf, which needs no path, must pass too.
fn check_validity(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), webpki::Error> {
    let summary = polytls_x509::summarize(leaf).map_err(|_| webpki::Error::BadDer)?;
    let seconds = i64::try_from(now.as_secs()).map_err(|_| webpki::Error::BadDerTime)?;
    let at = |seconds: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(seconds).unwrap_or(0),
        ))
    };
    if seconds < summary.not_before {
        return Err(webpki::Error::CertNotValidYet {
            time: now,
            not_before: at(summary.not_before),
        });
    }
    if seconds > summary.not_after {
        return Err(webpki::Error::CertExpired {
            time: now,
            not_after: at(summary.not_after),
        });
    }
    Ok(())
}

/// Keeps the whole story beside rustls's error, which decides the alert.
fn refuse(
    error: &webpki::Error,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: Option<&ServerName<'_>>,
) -> Error {
    let reason = reason_of(error);
    observe::note(|seen| {
        seen.refusal = Some(CertificateFailure {
            reason,
            message: describe_refusal(error, leaf, name),
            hostname: name.map(|name| name.to_str().into_owned()),
            chain: std::iter::once(leaf)
                .chain(intermediates)
                .map(|certificate| certificate.to_vec())
                .collect(),
        });
    });
    Error::InvalidCertificate(match reason {
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
        | VerificationFailure::UnsupportedSignatureAlgorithm => CertificateError::InvalidPurpose,
        // certificate_unknown on the wire.
        _ => CertificateError::Other(rustls::OtherError(Arc::new(error.clone()))),
    })
}

/// Judges servers.
#[derive(Debug)]
pub(crate) struct ServerJudge(Judge);

impl ServerJudge {
    pub(crate) fn new(
        anchors: Arc<Anchors>,
        verification: Verification,
        provider: &CryptoProvider,
    ) -> Self {
        Self(Judge {
            anchors,
            verification,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ServerCertVerifier for ServerJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0
            .judge(
                end_entity,
                intermediates,
                Some(server_name),
                now,
                KeyUsage::server_auth(),
            )
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.algorithms.supported_schemes()
    }
}

/// Judges clients.
#[derive(Debug)]
pub(crate) struct ClientJudge {
    judge: Judge,
    mandatory: bool,
}

impl ClientJudge {
    pub(crate) fn new(
        anchors: Arc<Anchors>,
        verification: Verification,
        authentication: ClientAuthentication,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            judge: Judge {
                anchors,
                verification,
                algorithms: provider.signature_verification_algorithms,
            },
            mandatory: authentication == ClientAuthentication::Required,
        }
    }
}

impl ClientCertVerifier for ClientJudge {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.judge.anchors.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge
            .judge(
                end_entity,
                intermediates,
                None,
                now,
                KeyUsage::client_auth(),
            )
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.judge.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.judge.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.algorithms.supported_schemes()
    }
}
