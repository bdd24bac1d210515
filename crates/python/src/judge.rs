//! The verdict on a peer, for implementations that are not Rust's: the one that rustls asks, too.

use polytls_core::clock::{Clock, SystemClock};
use polytls_core::config::{Common, PeerVerifier, Trust};
use polytls_core::pki_types::CertificateDer;
use polytls_core::{CertificateFailure, Error, VerificationFailure};
use polytls_verdict::{Case, No, Policy, SystemTrust, Verdict};
use pyo3::PyTraverseError;
use pyo3::exceptions::PyValueError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use std::sync::Arc;

use crate::callbacks::Callbacks;
use crate::configuration::{TrustData, verification};
use crate::errors::raised;
use crate::verifier::Hook;
use crate::{info, names};

/// The path that was verified, None if there is none, and until when the verdict holds, in seconds since 1970.
type Accepted<'py> = (Option<Bound<'py, PyAny>>, Option<u64>);

/// Judges the peers of one context. Where the system's certificates are trusted, the library that asks says
/// at which of them its own path has ended.
#[pyclass(frozen, module = "polytls._native")]
pub(crate) struct Judge {
    judge: polytls_verdict::Judge,
    /// What it calls, for the garbage collector.
    callbacks: Callbacks,
    implementation: String,
}

/// One peer, as it comes from Python.
struct Peer {
    chain: Vec<CertificateDer<'static>>,
    hostname: Option<polytls_core::HostName>,
    vouched: Option<CertificateDer<'static>>,
}

impl Peer {
    fn new(
        presented: Vec<Vec<u8>>,
        hostname: Option<&str>,
        vouched: Option<Vec<u8>>,
    ) -> PyResult<Self> {
        Ok(Self {
            chain: presented.into_iter().map(CertificateDer::from).collect(),
            hostname: hostname
                .map(|name| names::parse(name, "hostname"))
                .transpose()?,
            vouched: vouched.map(CertificateDer::from),
        })
    }

    fn case(&self) -> PyResult<Case<'_>> {
        let now = SystemClock.now();
        let now = now.ok_or_else(|| PyValueError::new_err("this machine's clock tells no time"))?;
        let name = self
            .hostname
            .as_ref()
            .map(polytls_core::HostName::as_server_name);
        let case = Case::of(&self.chain, name, now)
            .ok_or_else(|| PyValueError::new_err("presented: there is no certificate"))?;
        Ok(Case {
            vouched: self.vouched.as_ref(),
            ..case
        })
    }
}

impl Judge {
    fn refused(&self, py: Python<'_>, failure: Box<CertificateFailure>) -> PyErr {
        raised(py, &self.implementation, &Error::Certificate(failure))
    }

    fn accepted<'py>(
        &self,
        py: Python<'py>,
        verdict: Result<Verdict, Box<CertificateFailure>>,
    ) -> PyResult<Accepted<'py>> {
        let verdict = verdict.map_err(|failure| self.refused(py, failure))?;
        let path = verdict.path.map(|path| info::chain(py, &path));
        Ok((path.transpose()?.map(Bound::into_any), verdict.ends))
    }
}

#[pymethods]
impl Judge {
    /// `verifies`, `checks_hostname`: how much is checked. `peer_is_server`: the peers' role.
    ///
    /// Raises ConfigurationError, naming the field, on behalf of `implementation`.
    #[new]
    #[pyo3(signature = (implementation, *, trust, verifies, checks_hostname, peer_is_server, peer_verifier))]
    fn new(
        py: Python<'_>,
        implementation: String,
        trust: Option<TrustData>,
        verifies: bool,
        checks_hostname: bool,
        peer_is_server: bool,
        peer_verifier: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let mut callbacks = Callbacks::default();
        let hook = peer_verifier.map(|callable| callbacks.add(Hook(callable)));
        let crls = trust.as_ref().map_or_else(
            || Ok(Vec::new()),
            |trust| trust.revocation_lists(py, &implementation),
        )?;
        let trust: Option<Trust> = trust
            .map(|trust| trust.trust(py, &implementation))
            .transpose()?;
        let common = Common {
            crls,
            peer_verifier: hook.map(|hook| hook as Arc<dyn PeerVerifier>),
            ..Common::default()
        };
        let policy = Policy {
            trust: trust.as_ref(),
            verification: verification(verifies, checks_hostname),
            common: &common,
            peer_is_server,
        };
        let judge = py
            .detach(|| {
                polytls_verdict::Judge::new(&policy, polytls_rustls::crypto(), SystemTrust::Library)
            })
            .map_err(|error| raised(py, &implementation, &error))?;
        Ok(Self {
            judge,
            callbacks,
            implementation,
        })
    }

    /// Judges a peer that has presented this chain, leaf first, `peer_verifier` included. `vouched`: the
    /// certificate of the system's that the library's own path ended at.
    ///
    /// Raises CertificateVerificationError.
    #[pyo3(signature = (presented, *, hostname, vouched=None))]
    fn judge<'py>(
        &self,
        py: Python<'py>,
        presented: Vec<Vec<u8>>,
        hostname: Option<&str>,
        vouched: Option<Vec<u8>>,
    ) -> PyResult<Accepted<'py>> {
        let peer = Peer::new(presented, hostname, vouched)?;
        let case = peer.case()?;
        let verdict = py.detach(|| self.judge.judge(&case));
        self.accepted(py, verdict)
    }

    /// As `judge`, without asking `peer_verifier`.
    ///
    /// Raises CertificateVerificationError.
    #[pyo3(signature = (presented, *, hostname, vouched=None))]
    fn verify<'py>(
        &self,
        py: Python<'py>,
        presented: Vec<Vec<u8>>,
        hostname: Option<&str>,
        vouched: Option<Vec<u8>>,
    ) -> PyResult<Accepted<'py>> {
        let peer = Peer::new(presented, hostname, vouched)?;
        let case = peer.case()?;
        let verdict = py.detach(|| self.judge.verify(&case));
        self.accepted(py, verdict)
    }

    /// Asks `peer_verifier` alone, about a peer that was found in order. `verified`: the path.
    ///
    /// Raises CertificateVerificationError.
    #[pyo3(signature = (presented, *, hostname, verified))]
    fn ask(
        &self,
        py: Python<'_>,
        presented: Vec<Vec<u8>>,
        hostname: Option<&str>,
        verified: Option<Vec<Vec<u8>>>,
    ) -> PyResult<()> {
        let peer = Peer::new(presented, hostname, None)?;
        let case = peer.case()?;
        py.detach(|| self.judge.ask(&case, verified.as_deref()))
            .map_err(|failure| self.refused(py, failure))
    }

    /// The CertificateVerificationError for a refusal of the library's own: what is found out by reading the
    /// chain, in the words that every implementation uses. `reason`: the name of a `VerificationFailure`;
    /// `said`: what the library said.
    #[pyo3(signature = (reason, said, presented, *, hostname))]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        reason: &str,
        said: String,
        presented: Vec<Vec<u8>>,
        hostname: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut known = VerificationFailure::ALL.into_iter();
        let reason = known
            .find(|failure| failure.name() == reason)
            .ok_or_else(|| PyValueError::new_err(format!("reason: no such thing as {reason:?}")))?;
        let peer = Peer::new(presented, hostname, None)?;
        let no = No::new(reason, said);
        let failure = match peer.case() {
            Ok(case) => self.judge.refuse(&no, &case),
            Err(_) => Box::new(self.judge.refuse_unseen(&no)),
        };
        let error = self.refused(py, failure);
        Ok(error.into_value(py).into_bound(py).into_any())
    }

    // A callback may well be a method of the object that keeps the context.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.callbacks.traverse(&visit)
    }
}
