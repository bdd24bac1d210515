//! The decision: by anchors, by pins, or by the platform; then the caller's own verifier has its say.

use std::fmt;
use std::sync::Arc;

use polytls_core::config::{Common, Peer, PeerVerifier, Pins, Trust, Verification};
use polytls_core::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime,
};
use polytls_core::{CertificateFailure, Error, VerificationFailure};
use webpki::{CertRevocationList, EndEntityCert};

use crate::anchors::{Anchors, revocation_lists};
use crate::errors::{name_of, reason_of};
use crate::explain::{Refused, explain};
use crate::leaf;

/// The caller's cryptography.
#[derive(Clone, Copy)]
pub struct Crypto {
    /// The signature algorithms of certificates and revocation lists that are accepted.
    pub algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    /// SHA-256.
    pub sha256: fn(&[u8]) -> [u8; 32],
}

impl fmt::Debug for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crypto")
    }
}

/// The platform's own verifier, for servers.
pub trait Platform: fmt::Debug + Send + Sync {
    /// Judges a chain for the name that was asked for.
    ///
    /// # Errors
    ///
    /// [`No`]: the peer is refused.
    fn verify(&self, case: &Case<'_>) -> Result<(), No>;
}

/// Makes the platform's verifier for a policy, or says why it cannot do what is asked.
pub type MakePlatform<'a> = dyn Fn(&Policy<'_>) -> Result<Box<dyn Platform>, Error> + 'a;

/// What peers are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Whom the configuration trusts; `None` where it says nothing.
    pub trust: Option<&'a Trust>,
    /// How much is checked.
    pub verification: Verification,
    /// The revocation lists, the caller's verifier, and where trust comes from in words.
    pub common: &'a Common,
    /// The peers' role.
    pub peer_is_server: bool,
}

/// What a chain is held against.
#[derive(Debug)]
enum Standard {
    /// Whatever is presented will do.
    Nothing,
    Anchors(Arc<Anchors>),
    Pins(Pins),
    Platform(Box<dyn Platform>),
}

/// Judges the peers of one context.
#[derive(Debug)]
pub struct Judge {
    standard: Standard,
    pub(crate) revocation_lists: Vec<CertRevocationList<'static>>,
    trust_source: String,
    peer_verifier: Option<Arc<dyn PeerVerifier>>,
    verification: Verification,
    pub(crate) crypto: Crypto,
    pub(crate) peer_is_server: bool,
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The peer's certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// What the peer presented besides, in its order.
    pub intermediates: &'a [CertificateDer<'a>],
    /// The name that was asked for (clients); the unspecified address stands for none.
    pub name: Option<&'a ServerName<'a>>,
    /// What time it is.
    pub now: UnixTime,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct No(pub VerificationFailure, pub String);

impl From<webpki::Error> for No {
    fn from(error: webpki::Error) -> Self {
        Self(reason_of(&error), name_of(&error))
    }
}

/// A yes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The path that was verified, from the leaf to the anchor, DER; `None` where there is none.
    pub path: Option<Vec<Vec<u8>>>,
    /// Until when this holds, in seconds since 1970; `None`: nothing was judged that could end.
    pub ends: Option<u64>,
}

impl Judge {
    /// `platform` makes the judge of the system's trust, where the platform has one: it is asked only
    /// where that is what the policy trusts.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`], with the field at fault.
    pub fn new(
        policy: &Policy<'_>,
        crypto: Crypto,
        platform: Option<&MakePlatform<'_>>,
    ) -> Result<Self, Error> {
        let common = policy.common;
        Ok(Self {
            standard: standard(policy, platform)?,
            revocation_lists: revocation_lists(&common.crls)?,
            trust_source: common.trust_source.clone(),
            peer_verifier: common.peer_verifier.clone(),
            verification: policy.verification,
            crypto,
            peer_is_server: policy.peer_is_server,
        })
    }

    /// The subjects of the anchors, each the contents of a Name in DER: a hint for clients.
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        let roots = match &self.standard {
            Standard::Anchors(anchors) => &anchors.roots[..],
            _ => &[],
        };
        roots.iter().map(|root| root.subject.as_ref())
    }

    /// Whether the caller has a verifier of its own, who is asked about resumed sessions too.
    #[must_use]
    pub fn asks_verifier(&self) -> bool {
        self.peer_verifier.is_some()
    }

    /// Judges a peer, the caller's own verifier included.
    ///
    /// # Errors
    ///
    /// [`CertificateFailure`]: the peer is refused.
    pub fn judge(&self, case: &Case<'_>) -> Result<Verdict, Box<CertificateFailure>> {
        let path = self.verify(case).map_err(|no| self.refuse(&no, case))?;
        self.ask(case, path.as_deref())?;
        let ends = match &self.standard {
            Standard::Nothing => None,
            _ => polytls_x509::not_after(case.leaf).ok(),
        };
        Ok(Verdict {
            path,
            ends: ends.map(|end| u64::try_from(end).unwrap_or(0)),
        })
    }

    /// Everything but the caller's own say. Gives the path, where there is one.
    fn verify(&self, case: &Case<'_>) -> Result<Option<Vec<Vec<u8>>>, No> {
        let path = match &self.standard {
            Standard::Nothing => return Ok(None),
            Standard::Platform(platform) => return platform.verify(case).map(|()| None),
            Standard::Anchors(anchors) => self.path(anchors, case)?,
            Standard::Pins(pins) => {
                leaf::check_pins(pins, case, &self.crypto)?;
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

    /// The caller's own say.
    fn ask(
        &self,
        case: &Case<'_>,
        verified: Option<&[Vec<u8>]>,
    ) -> Result<(), Box<CertificateFailure>> {
        let Some(verifier) = &self.peer_verifier else {
            return Ok(());
        };
        let presented: Vec<CertificateDer<'_>> = std::iter::once(case.leaf)
            .chain(case.intermediates)
            .map(|certificate| CertificateDer::from(certificate.as_ref()))
            .collect();
        let hostname = asked_for(case);
        let peer = Peer {
            presented: &presented,
            verified,
            hostname: hostname.as_deref(),
            is_server: self.peer_is_server,
        };
        verifier.verify(&peer).map_err(|refusal| {
            let no = No(VerificationFailure::RefusedByVerifier, refusal.message);
            let mut failure = self.refuse(&no, case);
            failure.cause = refusal.cause;
            failure
        })
    }

    /// The whole story of a refusal.
    fn refuse(&self, no: &No, case: &Case<'_>) -> Box<CertificateFailure> {
        let hostname = match no.0 {
            VerificationFailure::RefusedByVerifier => asked_for(case),
            _ => self
                .checked_name(case)
                .map(|name| name.to_str().into_owned()),
        };
        Box::new(explain(Refused {
            reason: no.0,
            said: &no.1,
            chain: &case.chain(),
            hostname: hostname.as_deref(),
            is_server: self.peer_is_server,
            trust_source: &self.trust_source,
            now: i64::try_from(case.now.as_secs()).unwrap_or(i64::MAX),
        }))
    }

    /// The story of a handshake that the certificate's key has not signed.
    #[must_use]
    pub fn refuse_signature(&self, no: &No, leaf: &[u8]) -> CertificateFailure {
        explain(Refused {
            reason: no.0,
            said: &no.1,
            chain: &[leaf],
            hostname: None,
            is_server: self.peer_is_server,
            trust_source: &self.trust_source,
            now: 0,
        })
    }
}

fn standard(policy: &Policy<'_>, platform: Option<&MakePlatform<'_>>) -> Result<Standard, Error> {
    if policy.verification == Verification::Nothing {
        return Ok(Standard::Nothing);
    }
    match (policy.trust, platform) {
        (None, _) => Err(Error::configuration(
            "client_authentication",
            "client certificates are asked for, and there is no trust_store to judge them by",
        )),
        (Some(Trust::Certificates(certificates)), _) => {
            Anchors::given(certificates).map(Standard::Anchors)
        }
        (Some(Trust::Pinned(pins)), _) => {
            if pins.certificates.is_empty() && pins.spki_sha256.is_empty() {
                return Err(Error::configuration("trust_store", "no pin is given"));
            }
            Ok(Standard::Pins(pins.clone()))
        }
        (Some(Trust::System { .. }), Some(platform)) => platform(policy).map(Standard::Platform),
        (Some(Trust::System { extra }), None) => Anchors::system(extra).map(Standard::Anchors),
    }
}

/// The name that was asked for: the unspecified address stands for none.
fn asked_for(case: &Case<'_>) -> Option<String> {
    case.name
        .filter(|name| !matches!(name, ServerName::IpAddress(ip) if std::net::IpAddr::from(*ip).is_unspecified()))
        .map(|name| name.to_str().into_owned())
}
