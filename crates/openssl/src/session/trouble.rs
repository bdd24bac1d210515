//! What it means that OpenSSL has not done what was asked.

use std::ffi::c_int;

use polytls_core::ech::is_well_formed;
use polytls_core::{CertificateFailure, Error, VerificationFailure};
use polytls_verdict::{Case, No};

use super::OpensslSession;
use crate::api::{self, SSL};
use crate::blame::{Blame, Fault};
use crate::ech;
use crate::library::Library;
use crate::remote;

const MALFORMED: &str = "its list of configurations for another attempt with Encrypted ClientHello \
                         is malformed (RFC 9849 section 6.1.6)";

/// Why a call has not done what was asked.
pub(super) enum Trouble {
    /// It needs more records.
    Wants,
    /// The peer's close_notify has come.
    Closed,
    /// The connection has failed.
    Failed(Error),
    /// The peer is refused by the verdict, and OpenSSL has sent an alert.
    Refused(Box<CertificateFailure>),
    /// A resumed session's peer is refused, which OpenSSL does not know: the answer must not leave.
    RefusedSession(Box<CertificateFailure>),
}

impl OpensslSession {
    /// What a result of OpenSSL's that is no success means.
    pub(super) fn trouble(&self, library: &Library, ssl: *mut SSL, result: c_int) -> Trouble {
        // SAFETY: the connection is ours, and was called last by this thread.
        match unsafe { library.SSL_get_error(ssl, result) } {
            api::ERROR_WANT_READ | api::ERROR_WANT_WRITE => Trouble::Wants,
            api::ERROR_ZERO_RETURN => Trouble::Closed,
            _ => {
                let fault = Fault::take(library);
                let refusal = self.seen().note().refusal.take();
                refusal.map_or_else(|| Trouble::Failed(self.blame(&fault)), Trouble::Refused)
            }
        }
    }

    fn blame(&self, fault: &Fault) -> Error {
        if let Some(failure) = remote::take_failure() {
            return Error::Signer(failure);
        }
        let seen = self.seen();
        let mut notes = seen.note();
        if let Some(failure) = notes.failure.take() {
            return *failure;
        }
        if let Some(alert) = notes.alert {
            return Error::AlertReceived(alert);
        }
        let unjudged = notes.presented.clone().filter(|_| !notes.judged);
        // Only of a server that has passed the verdict.
        let passed = notes.judged && notes.pending.is_none();
        let rejected = notes.rejected && passed && fault.requires_ech();
        drop(notes);
        if rejected && let (Some(name), Ok(ssl)) = (&seen.public_name, self.ssl()) {
            // SAFETY: the connection is ours.
            let retry_configs = unsafe { ech::retry_configs(self.library(), ssl) };
            // OpenSSL does not read them.
            if retry_configs
                .as_deref()
                .is_some_and(|list| !is_well_formed(list))
            {
                return Error::PeerMisbehaved(MALFORMED.to_owned());
            }
            return Error::EchRejected {
                public_name: name.to_str().into_owned(),
                retry_configs,
            };
        }
        let judge = seen.context.judge.as_ref();
        match (fault.blame(), judge) {
            (Blame::NoCertificate, Some(judge)) => {
                let no = No::from(VerificationFailure::NoCertificate);
                Error::Certificate(Box::new(judge.refuse_unseen(&no)))
            }
            (Blame::Certificate(said), Some(judge)) => {
                let no = No::new(VerificationFailure::Other, said);
                Error::Certificate(Box::new(judge.refuse_unseen(&no)))
            }
            (Blame::NoCertificate | Blame::Certificate(_), None) => {
                Error::PeerMisbehaved(fault.said())
            }
            // It was not asked for a verdict, as it could not read the certificate.
            (Blame::Other(error), Some(judge)) if fault.alert().is_none() => {
                let name = seen.name_to_verify();
                let chain = unjudged.unwrap_or_default();
                let case = seen.context.clock.now();
                let case = case.and_then(|now| Case::of(&chain, name, now));
                let refused = case.and_then(|case| judge.verify(&case).err());
                refused.map_or(error, Error::Certificate)
            }
            (Blame::Other(error), _) => error,
        }
    }
}
