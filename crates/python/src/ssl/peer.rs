//! The verdict on a peer: OpenSSL's first, then that of all implementations.
//!
//! - OpenSSL verifies inside the handshake and sends the alert that tells the peer why it is refused. Then
//!   the same chain is judged here, the caller's own verifier last; both must accept. What OpenSSL takes
//!   for authorities, it takes without limits: every certificate that was given, a peer's too.
//! - Of the system's certificates the verdict has none by itself: OpenSSL's path ends at one, which is
//!   judged as an authority like any other.
//! - On clients with pins OpenSSL verifies nothing but that the peer has the certificate's key
//!   (CERT_NONE); the rest is found here. Servers with pins have OpenSSL verify too, or it would not ask
//!   for a certificate.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use lru::LruCache;
use polytls_core::clock::{Clock, SystemClock};
use polytls_core::config::Trust;
use polytls_core::pki_types::{CertificateDer, ServerName, UnixTime};
use polytls_core::{CertificateFailure, Error, HostName, VerificationFailure};
use polytls_verdict::{Case, Judge, No};

/// Certificates as they were presented, leaf first, DER.
pub(crate) type Chain = Vec<CertificateDer<'static>>;

/// A peer that was accepted.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// The path that was verified, from the leaf to the anchor, DER; `None` if there is none.
    pub(crate) path: Option<Vec<Vec<u8>>>,
    /// Until when that holds, in seconds since 1970; `None`: nothing was judged that could end.
    pub(crate) ends: Option<u64>,
    /// The certificate of the system's that OpenSSL's path ended at.
    vouched: Option<CertificateDer<'static>>,
}

/// Judges the peers of one context.
pub(crate) struct Peers {
    judge: Judge,
    /// Whether anything but custom verification decides.
    verifies: bool,
    /// Whether the system's certificates are trusted.
    trusts_system: bool,
    has_pins: bool,
    /// Verdicts on what was presented: they hold for the very same again, until they end.
    found: Mutex<LruCache<Question, (Arc<Accepted>, UnixTime)>>,
}

/// What a verdict depends on, beside the time: SHA-256 over what was presented, and the rest.
#[derive(PartialEq, Eq, Hash)]
struct Question {
    presented: [u8; 32],
    vouched: Option<[u8; 32]>,
    host: Option<HostName>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

/// How many verdicts are remembered: a client asks the same servers again and again.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What time it is.
pub(crate) fn now() -> Result<UnixTime, Error> {
    let now = SystemClock.now();
    now.ok_or_else(|| Error::Internal("this machine's clock is not set".to_owned()))
}

fn sha256<'a>(parts: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

impl Peers {
    /// `trust`: what they are verified by; `None`: nothing is verified.
    pub(crate) fn new(judge: Judge, trust: Option<&Trust>) -> Self {
        Self {
            judge,
            verifies: trust.is_some(),
            trusts_system: matches!(trust, Some(Trust::Store(store)) if store.system),
            has_pins: matches!(trust, Some(Trust::Pinned(_))),
            found: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Whether OpenSSL's path is asked for.
    pub(crate) const fn asks_for_path(&self) -> bool {
        self.trusts_system
    }

    /// Judges a peer that has presented this chain. `verified`: OpenSSL's path.
    pub(crate) fn judge(
        &self,
        presented: &[CertificateDer<'static>],
        verified: &[CertificateDer<'static>],
        host: Option<&HostName>,
    ) -> Result<Arc<Accepted>, Error> {
        let vouched = verified.last().filter(|_| self.trusts_system);
        self.verdict(presented, vouched.cloned(), host)
            .map_err(Error::Certificate)
    }

    /// Gives the whole verdict on a session that is named for a connection to `host`, by what its server
    /// presented when it began and was `before`.
    pub(crate) fn admit(
        &self,
        presented: &[CertificateDer<'static>],
        before: Option<&Accepted>,
        host: Option<&HostName>,
    ) -> Result<(), Box<CertificateFailure>> {
        let vouched = before.and_then(|before| before.vouched.clone());
        self.verdict(presented, vouched, host).map(drop)
    }

    /// Judges a peer whose session was resumed, by the chain that is known of its beginning. `before`: the
    /// verdict of then, which a client remembers. A server's tickets hold only the leaf, so that there
    /// is no path to be built: its time is looked at.
    pub(crate) fn judge_again(
        &self,
        presented: &[CertificateDer<'static>],
        before: Option<&Arc<Accepted>>,
        host: Option<&HostName>,
    ) -> Result<Arc<Accepted>, Error> {
        if let Some(before) = before {
            if !self.judge.asks_verifier() && !self.has_pins {
                return Ok(Arc::clone(before));
            }
            return self
                .verdict(presented, before.vouched.clone(), host)
                .map_err(Error::Certificate);
        }
        let now = now()?;
        let Some(case) = case(presented, host, now) else {
            return Ok(Arc::default());
        };
        if self.verifies {
            let read = polytls_x509::summarize(case.leaf);
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            let no = match read {
                Ok(facts) if facts.not_after < seconds => VerificationFailure::Expired,
                Ok(_) => VerificationFailure::Other,
                Err(_) => VerificationFailure::BadEncoding,
            };
            if no != VerificationFailure::Other {
                return Err(Error::Certificate(self.judge.refuse(&no.into(), &case)));
            }
        }
        self.judge.ask(&case, None).map_err(Error::Certificate)?;
        Ok(Arc::default())
    }

    fn verdict(
        &self,
        presented: &[CertificateDer<'static>],
        vouched: Option<CertificateDer<'static>>,
        host: Option<&HostName>,
    ) -> Result<Arc<Accepted>, Box<CertificateFailure>> {
        let Ok(now) = now() else {
            let said = "this machine's clock is not set".to_owned();
            let no = No::new(VerificationFailure::Other, said);
            return Err(Box::new(self.judge.refuse_unseen(&no)));
        };
        let Some(case) = case(presented, host, now) else {
            let said = "the peer presented no certificate".to_owned();
            let no = No::new(VerificationFailure::NoCertificate, said);
            return Err(Box::new(self.judge.refuse_unseen(&no)));
        };
        let question = Question {
            presented: sha256(presented),
            vouched: vouched.as_ref().map(|vouched| sha256([vouched])),
            host: host.cloned(),
        };
        let known = self.lock().get(&question).cloned();
        let known = known.filter(|(known, since)| {
            *since <= now && known.ends.is_none_or(|ends| now.as_secs() <= ends)
        });
        if let Some((known, _)) = known {
            self.judge.ask(&case, known.path.as_deref())?;
            return Ok(known);
        }
        let verdict = self.judge.verify(&Case {
            vouched: vouched.as_ref(),
            ..case
        })?;
        self.judge.ask(&case, verdict.path.as_deref())?;
        let accepted = Arc::new(Accepted {
            path: verdict.path,
            ends: verdict.ends,
            vouched,
        });
        self.lock().put(question, (Arc::clone(&accepted), now));
        Ok(accepted)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Question, (Arc<Accepted>, UnixTime)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error for a peer that OpenSSL has refused, for its own or for our reasons. Our verdict does not
    /// know the system's certificates before OpenSSL's path is there. `said`: what OpenSSL said.
    pub(crate) fn refusal(
        &self,
        reason: VerificationFailure,
        said: String,
        presented: &[CertificateDer<'static>],
        host: Option<&HostName>,
    ) -> Error {
        if !self.trusts_system
            && let Ok(now) = now()
            && let Some(case) = case(presented, host, now)
            && let Err(failure) = self.judge.verify(&case)
        {
            return Error::Certificate(failure);
        }
        self.explain(reason, said, presented, host)
    }

    /// The error for a refusal, with all that can be found out by reading.
    pub(crate) fn explain(
        &self,
        reason: VerificationFailure,
        said: String,
        presented: &[CertificateDer<'static>],
        host: Option<&HostName>,
    ) -> Error {
        let no = No::new(reason, said);
        let case = now().ok().and_then(|now| case(presented, host, now));
        Error::Certificate(case.map_or_else(
            || Box::new(self.judge.refuse_unseen(&no)),
            |case| self.judge.refuse(&no, &case),
        ))
    }
}

fn case<'a>(
    presented: &'a [CertificateDer<'static>],
    host: Option<&'a HostName>,
    now: UnixTime,
) -> Option<Case<'a>> {
    let name: Option<&ServerName<'a>> = host.map(HostName::as_server_name);
    Case::of(presented, name, now)
}
