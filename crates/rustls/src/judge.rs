//! How a peer's chain is judged, in either role: by anchors, by pins, or by the platform; then the caller's
//! own verifier has its say.

use std::sync::Arc;

use aws_lc_rs::digest;
use polytls_core::config::{Common, Peer, PeerVerifier, Pins, Trust, Verification};
use polytls_core::{CertificateFailure, VerificationFailure};
use polytls_x509::explain::{Refused, explain, is_weak};
use polytls_x509::{Summary, Unreadable, key_use, summarize};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DistinguishedName, Error};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::error::{name_of_error, reason_of, reason_of_rustls};
use crate::trust::{Anchors, revocation_lists};
use crate::{observe, resumption};

/// What a chain is held against.
#[derive(Debug)]
enum Standard {
    /// Whatever is presented will do.
    Nothing,
    Anchors(Arc<Anchors>),
    Pins(Pins),
    /// The platform's own verifier, for clients.
    #[cfg_attr(
        not(any(target_os = "macos", windows)),
        allow(dead_code, reason = "there is none here")
    )]
    Platform(Arc<dyn ServerCertVerifier>),
}

/// What both roles judge by.
#[derive(Debug)]
pub(crate) struct Judge {
    standard: Standard,
    revocation_lists: Vec<CertRevocationList<'static>>,
    trust_source: String,
    pub(crate) peer_verifier: Option<Arc<dyn PeerVerifier>>,
    verification: Verification,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    peer_is_server: bool,
}

/// What is judged.
pub(crate) struct Case<'a> {
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
    /// The name that was asked for (clients).
    pub(crate) name: Option<&'a ServerName<'a>>,
    pub(crate) now: UnixTime,
}

impl Case<'_> {
    fn chain(&self) -> Vec<&[u8]> {
        std::iter::once(self.leaf)
            .chain(self.intermediates)
            .map(AsRef::as_ref)
            .collect()
    }
}

/// Why not: a reason, and what the library says.
struct No(VerificationFailure, String);

impl From<webpki::Error> for No {
    fn from(error: webpki::Error) -> Self {
        Self(reason_of(&error), name_of_error(&error))
    }
}

impl Judge {
    pub(crate) fn new(
        trust: Option<&Trust>,
        verification: Verification,
        common: &Common,
        provider: &CryptoProvider,
        peer_is_server: bool,
    ) -> Result<Self, polytls_core::Error> {
        Ok(Self {
            standard: standard(trust, verification, common, provider, peer_is_server)?,
            revocation_lists: revocation_lists(&common.crls)?,
            trust_source: common.trust_source.clone(),
            peer_verifier: common.peer_verifier.clone(),
            verification,
            algorithms: provider.signature_verification_algorithms,
            peer_is_server,
        })
    }

    /// The subjects of the anchors: a hint for clients.
    pub(crate) fn subjects(&self) -> &[DistinguishedName] {
        match &self.standard {
            Standard::Anchors(anchors) => &anchors.subjects,
            _ => &[],
        }
    }

    pub(crate) fn judge(&self, case: &Case<'_>) -> Result<(), Error> {
        let verified = self.verify(case).map_err(|no| self.refuse(&no, case))?;
        self.ask(case, verified.as_deref())?;
        observe::note(|seen| seen.verified_chain = verified);
        Ok(())
    }

    /// As [`Self::judge`], of a peer that has just presented its certificate: its sessions end with that.
    pub(crate) fn judge_anew(&self, case: &Case<'_>) -> Result<(), Error> {
        self.judge(case)?;
        let end = match &self.standard {
            Standard::Nothing => None,
            _ => polytls_x509::not_after(case.leaf).ok(),
        };
        let end = end.map_or(u64::MAX, |end| u64::try_from(end).unwrap_or(0));
        let end = end.min(resumption::last_end(case.now));
        observe::note(|seen| seen.sessions_end = Some(end));
        Ok(())
    }

    /// Everything but the caller's own say. Gives the path, where there is one.
    fn verify(&self, case: &Case<'_>) -> Result<Option<Vec<Vec<u8>>>, No> {
        let path = match &self.standard {
            Standard::Nothing => return Ok(None),
            Standard::Platform(platform) => return platform_verify(&**platform, case),
            Standard::Anchors(anchors) => self.path(anchors, case)?,
            Standard::Pins(pins) => {
                check_pins(pins, case)?;
                vec![case.leaf.to_vec()]
            }
        };
        if let Some(name) = self.checked_name(case) {
            EndEntityCert::try_from(case.leaf)?.verify_is_valid_for_subject_name(name)?;
        }
        Ok(Some(path))
    }

    fn checked_name<'a>(&self, case: &Case<'a>) -> Option<&'a ServerName<'a>> {
        let is_checked = match &self.standard {
            Standard::Pins(pins) => !pins.any_name,
            _ => true,
        };
        case.name
            .filter(|_| is_checked && self.verification == Verification::Full)
    }

    fn path(&self, anchors: &Anchors, case: &Case<'_>) -> Result<Vec<Vec<u8>>, No> {
        let leaf = EndEntityCert::try_from(case.leaf)?;
        if anchors.exact.contains(case.leaf) {
            check_validity(&read(case.leaf)?, case.now)?;
            return Ok(vec![case.leaf.to_vec()]);
        }
        let lists: Vec<&CertRevocationList<'_>> = self.revocation_lists.iter().collect();
        // Without lists nothing is asked about revocation; with some, a certificate that none of
        // them speaks of is refused.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let usage = if self.peer_is_server {
            KeyUsage::server_auth()
        } else {
            KeyUsage::client_auth()
        };
        let path = leaf.verify_for_usage(
            self.algorithms.all,
            &anchors.roots,
            case.intermediates,
            case.now,
            usage,
            revocation,
            Some(&issuers_may_issue),
        )?;
        check_key_use(case.leaf)?;
        let between = path
            .intermediate_certificates()
            .map(|certificate| certificate.der().to_vec());
        let anchor = anchors.certificate_of(path.anchor());
        Ok(std::iter::once(case.leaf.to_vec())
            .chain(between)
            .chain(anchor.map(|anchor| anchor.to_vec()))
            .collect())
    }

    /// The caller's own say.
    fn ask(&self, case: &Case<'_>, verified: Option<&[Vec<u8>]>) -> Result<(), Error> {
        let Some(verifier) = &self.peer_verifier else {
            return Ok(());
        };
        let presented: Vec<CertificateDer<'_>> = std::iter::once(case.leaf)
            .chain(case.intermediates)
            .map(|certificate| CertificateDer::from(certificate.as_ref()))
            .collect();
        let hostname = name_of(case);
        let peer = Peer {
            presented: &presented,
            verified,
            hostname: hostname.as_deref(),
            is_server: self.peer_is_server,
        };
        verifier.verify(&peer).map_err(|refusal| {
            let no = No(VerificationFailure::RefusedByVerifier, refusal.message);
            let error = self.refuse(&no, case);
            observe::note(|seen| {
                if let Some(failure) = &mut seen.refusal {
                    failure.cause = refusal.cause;
                }
            });
            error
        })
    }

    /// Keeps the story of a handshake that the certificate's key has not signed.
    pub(crate) fn refuse_signature(&self, error: &Error, leaf: &CertificateDer<'_>) {
        let Error::InvalidCertificate(error) = error else {
            return;
        };
        let failure = explain(Refused {
            reason: reason_of_rustls(error),
            said: &format!("its key has not signed the handshake: {error}"),
            chain: &[leaf],
            hostname: None,
            is_server: self.peer_is_server,
            trust_source: &self.trust_source,
            now: 0,
        });
        observe::note(|seen| seen.refusal = Some(failure));
    }

    /// Keeps the whole story beside rustls's error, which decides the alert.
    fn refuse(&self, no: &No, case: &Case<'_>) -> Error {
        let hostname = match no.0 {
            VerificationFailure::RefusedByVerifier => name_of(case),
            _ => self
                .checked_name(case)
                .map(|name| name.to_str().into_owned()),
        };
        let failure = explain(Refused {
            reason: no.0,
            said: &no.1,
            chain: &case.chain(),
            hostname: hostname.as_deref(),
            is_server: self.peer_is_server,
            trust_source: &self.trust_source,
            now: i64::try_from(case.now.as_secs()).unwrap_or(i64::MAX),
        });
        let error = alert_of(&failure);
        observe::note(|seen| seen.refusal = Some(failure));
        Error::InvalidCertificate(error)
    }
}

fn standard(
    trust: Option<&Trust>,
    verification: Verification,
    common: &Common,
    provider: &CryptoProvider,
    peer_is_server: bool,
) -> Result<Standard, polytls_core::Error> {
    let refuse = |field, why: &str| Err(polytls_core::Error::configuration(field, why));
    if verification == Verification::Nothing {
        return Ok(Standard::Nothing);
    }
    match trust {
        None => refuse(
            "client_authentication",
            "client certificates are asked for, and there is no trust_store to judge them by",
        ),
        Some(Trust::Certificates(certificates)) => {
            Anchors::given(certificates).map(Standard::Anchors)
        }
        Some(Trust::Pinned(pins)) => {
            if pins.certificates.is_empty() && pins.spki_sha256.is_empty() {
                return refuse("trust_store", "no pin is given");
            }
            Ok(Standard::Pins(pins.clone()))
        }
        Some(Trust::System { extra }) => {
            if cfg!(any(target_os = "macos", windows)) {
                platform(extra, verification, common, provider, peer_is_server)
            } else {
                Anchors::system(extra).map(Standard::Anchors)
            }
        }
    }
}

/// The platform's verifier, where it can do what is asked.
#[cfg_attr(
    not(any(target_os = "macos", windows)),
    allow(unused_variables, reason = "there is none here")
)]
fn platform(
    extra: &[CertificateDer<'static>],
    verification: Verification,
    common: &Common,
    provider: &CryptoProvider,
    peer_is_server: bool,
) -> Result<Standard, polytls_core::Error> {
    let refuse = |why: &str| {
        Err(polytls_core::Error::configuration(
            "trust_store",
            format!("{why}; pass the certificates to trust in a trust_store"),
        ))
    };
    if !peer_is_server {
        return refuse("the platform's verifier judges servers only");
    }
    if verification != Verification::Full {
        return refuse("the platform's verifier cannot leave the host name unchecked");
    }
    if !common.crls.is_empty() {
        return refuse("the platform's verifier takes no revocation lists");
    }
    #[cfg(any(target_os = "macos", windows))]
    return rustls_platform_verifier::Verifier::new_with_extra_roots(
        extra.iter().cloned(),
        Arc::new(provider.clone()),
    )
    .map(|verifier| Standard::Platform(Arc::new(verifier)))
    .map_err(|error| polytls_core::Error::configuration("trust_store", error.to_string()));
    #[cfg(not(any(target_os = "macos", windows)))]
    refuse("there is no platform's verifier here")
}

fn platform_verify(
    platform: &dyn ServerCertVerifier,
    case: &Case<'_>,
) -> Result<Option<Vec<Vec<u8>>>, No> {
    let Some(name) = case.name else {
        return Err(No(VerificationFailure::Other, "no name to verify".into()));
    };
    match platform.verify_server_cert(case.leaf, case.intermediates, name, &[], case.now) {
        Ok(_) => Ok(None),
        Err(Error::InvalidCertificate(error)) => {
            Err(No(reason_of_rustls(&error), error.to_string()))
        }
        Err(error) => Err(No(VerificationFailure::Other, error.to_string())),
    }
}

fn name_of(case: &Case<'_>) -> Option<String> {
    // The unspecified address stands for no name.
    case.name
        .filter(|name| !matches!(name, ServerName::IpAddress(ip) if std::net::IpAddr::from(*ip).is_unspecified()))
        .map(|name| name.to_str().into_owned())
}

fn read(leaf: &[u8]) -> Result<Summary, No> {
    summarize(leaf).map_err(|error| No(VerificationFailure::BadEncoding, error.to_string()))
}

fn check_pins(pins: &Pins, case: &Case<'_>) -> Result<(), No> {
    let summary = read(case.leaf)?;
    let key = digest::digest(&digest::SHA256, &summary.spki);
    let is_pinned = pins.certificates.contains(case.leaf)
        || pins.spki_sha256.iter().any(|pin| pin == key.as_ref());
    if !is_pinned {
        return Err(No(VerificationFailure::PinMismatch, String::new()));
    }
    check_validity(&summary, case.now)
}

/// What webpki leaves out of key usage: authorities whose key must not sign certificates.
fn issuers_may_issue(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for issuer in path.intermediate_certificates() {
        match key_use(&issuer.der()) {
            Ok(usage) if usage.certificates => {}
            Ok(_) => return Err(webpki::Error::EndEntityUsedAsCa),
            Err(_) => return Err(webpki::Error::BadDer),
        }
    }
    Ok(())
}

/// The leaf signs the handshake.
fn check_key_use(leaf: &[u8]) -> Result<(), No> {
    let bad = |error: Unreadable| No(VerificationFailure::BadEncoding, error.to_string());
    let usage = key_use(leaf).map_err(bad)?;
    if usage.is_weak {
        return Err(No(VerificationFailure::WeakKey, String::new()));
    }
    if !usage.handshakes {
        let why = "its key usage does not allow digital signatures".to_owned();
        return Err(No(VerificationFailure::InvalidPurpose, why));
    }
    Ok(())
}

/// What path building checks and a trusted leaf, which needs no path, must pass too.
fn check_validity(leaf: &Summary, now: UnixTime) -> Result<(), No> {
    if is_weak(leaf) {
        return Err(No(VerificationFailure::WeakKey, String::new()));
    }
    let now = i64::try_from(now.as_secs()).map_err(|_| webpki::Error::BadDerTime)?;
    if now < leaf.not_before {
        return Err(No(VerificationFailure::NotYetValid, String::new()));
    }
    if now > leaf.not_after {
        return Err(No(VerificationFailure::Expired, String::new()));
    }
    Ok(())
}

/// The alert that goes with a refusal, in rustls's words for it.
fn alert_of(failure: &CertificateFailure) -> CertificateError {
    match failure.reason {
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
