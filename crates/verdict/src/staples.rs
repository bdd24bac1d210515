//! Stapled OCSP responses (RFC 6066 section 8): what they prove of the leaf of a path that was verified.
//!
//! A response is about the leaf if it has its serial number and the hashes of its issuer (RFC 6960 section
//! 4.1.1). The issuer has signed it, or a responder with a certificate for that which the issuer itself has
//! signed (section 4.2.2.2). It must be in force. A client that asked for a response and got one that is not in
//! order refuses the server (RFC 6066 section 8); without one it goes on, unless the configuration or the
//! certificate requires one.

use polytls_core::config::Staples;
use polytls_core::{CertificateFailure, Staple, Stapled, VerificationFailure as F};
use polytls_x509::{
    CertificateStatus, IssuerHash, OcspAnswer, OcspResponse, OcspStatus, PathFacts, Responder,
    ocsp_answer, public_key, signed, summarize,
};

use crate::explain::words::{date, span};
use crate::judge::{Case, Judge, No, Verdict};
use crate::leaf::{check_key, check_time, facts};

/// The largest response that is read. One with the certificate of a responder and the largest signatures
/// (ML-DSA-87) has half of that.
const LARGEST: usize = 32 * 1024;
/// So many certificates of a response are tried for its signer.
const TRIED: usize = 4;

impl Judge {
    /// Whether [`Self::stapled`] has something to decide.
    #[must_use]
    pub fn heeds_staples(&self) -> bool {
        self.peer_is_server && self.staples != Staples::Ignored && self.verifies()
    }

    /// Judges what a server has stapled, after [`Self::verify`] has accepted its certificate; the caller's own
    /// verifier is not asked. `response`: `None`, or nothing, if there was none. Not for sessions that are resumed:
    /// their servers staple nothing, and the sessions end with what was stapled when they began.
    ///
    /// # Errors
    ///
    /// [`CertificateFailure`]: the peer is refused.
    pub fn stapled(
        &self,
        case: &Case<'_>,
        verdict: Verdict,
        response: Option<&[u8]>,
    ) -> Result<Verdict, Box<CertificateFailure>> {
        if !self.heeds_staples() {
            return Ok(verdict);
        }
        let response = response.filter(|response| !response.is_empty());
        self.check_staple(case, verdict, response)
            .map_err(|mut no| {
                no.of_staple = true;
                no.index = Some(0);
                let mut failure = self.refuse(&no, case);
                failure.ocsp_response = response.map(<[u8]>::to_vec);
                failure
            })
    }

    fn check_staple(
        &self,
        case: &Case<'_>,
        mut verdict: Verdict,
        response: Option<&[u8]>,
    ) -> Result<Verdict, No> {
        let asked = self.staples == Staples::Required;
        verdict.staple = response.map(|response| Box::new(Stapled::Unverified(response.to_vec())));
        let Some(issuer) = verdict.path.as_ref().and_then(|path| path.get(1)) else {
            // It is trusted by itself, or by a platform that does not tell why.
            let why = "the certificate itself is in the trust store, so it has no issuer whose \
                       response could be verified";
            return if asked {
                Err(unknown(why))
            } else {
                Ok(verdict)
            };
        };
        let leaf = facts(case.leaf)?;
        let why = match (asked, leaf.must_staple) {
            (_, true) => {
                ", and its certificate requires one (must-staple, the TLS feature status_request)"
            }
            (true, false) => ", and require_staple is set",
            (false, false) => "",
        };
        let is_required = asked || leaf.must_staple;
        let response = match response {
            Some(response) => response,
            None if is_required => return Err(unknown(format!("the server sent none{why}"))),
            None => return Ok(verdict),
        };
        if response.len() > LARGEST {
            return Err(unknown(format!(
                "it has {} bytes; the limit is {LARGEST}",
                response.len()
            )));
        }
        let answer = ocsp_answer(response).map_err(|error| unknown(error.to_string()))?;
        let read = match answer {
            OcspAnswer::Response(read) => read,
            // Servers pass that on, too. Anyone could have said it.
            OcspAnswer::Error(name) if is_required => {
                return Err(unknown(format!(
                    "the server sent an error of the responder, {name}{why}"
                )));
            }
            OcspAnswer::Error(_) => return Ok(verdict),
        };
        let now = case.seconds();
        let status = self.about(&read, case, &leaf, &facts(issuer)?)?;
        let signer = self.signer(&read, issuer, now)?;
        if read.has_critical || status.has_critical {
            return Err(unknown(
                "it has a critical extension, and none is supported",
            ));
        }
        let last = in_force(status, now)?;
        let staple = Staple {
            der: response.to_vec(),
            produced_at: read.produced_at,
            this_update: status.this_update,
            next_update: status.next_update,
            signer,
        };
        verdict.staple = Some(Box::new(Stapled::Verified(staple)));
        let last = u64::try_from(last).unwrap_or(0);
        verdict.ends = Some(verdict.ends.map_or(last, |ends| ends.min(last)));
        Ok(verdict)
    }

    /// What the response says of the leaf; the newest, if it says more than one thing.
    fn about<'r, 'a>(
        &self,
        response: &'r OcspResponse<'a>,
        case: &Case<'_>,
        leaf: &PathFacts,
        issuer: &PathFacts,
    ) -> Result<&'r OcspStatus<'a>, No> {
        let serial_number = summarize(case.leaf)
            .map_err(|error| No::new(F::BadEncoding, error.why().to_owned()))?
            .serial_number;
        let key = public_key(&issuer.spki).unwrap_or_default();
        let is_hash = |kind: IssuerHash, data: &[u8], hash: &[u8]| match kind {
            IssuerHash::Sha1 => (self.crypto.sha1)(data).is_some_and(|own| own == hash),
            IssuerHash::Sha256 => (self.crypto.sha256)(data) == hash,
            IssuerHash::Other => false,
        };
        let is_issuers = |status: &&OcspStatus<'_>| {
            is_hash(status.hash, &leaf.issuer_der, status.issuer_name_hash)
                && is_hash(status.hash, key, status.issuer_key_hash)
        };
        let statuses = response.statuses.iter();
        let about = statuses.filter(|status| status.serial_number == serial_number);
        let about: Vec<&OcspStatus<'_>> = about.collect();
        if about.is_empty() {
            return Err(unknown("it is about another certificate"));
        }
        about
            .into_iter()
            .filter(is_issuers)
            .max_by_key(|status| status.this_update)
            .ok_or_else(|| {
                unknown("it is about a certificate with the same serial number from another issuer")
            })
    }

    /// The subject of the certificate whose key has signed the response, in words: that of the leaf's issuer, in
    /// DER, or one that it has delegated this to.
    fn signer(&self, response: &OcspResponse<'_>, issuer: &[u8], now: i64) -> Result<String, No> {
        let subject = |der: &[u8]| {
            let read = summarize(der);
            read.map_or_else(|_| String::new(), |summary| summary.subject)
        };
        let (issuer_der, issuer) = (issuer, facts(issuer)?);
        let is_responder = |facts: &PathFacts| match response.responder {
            Responder::Name(name) => facts.subject_der == name,
            Responder::Key(hash) => {
                let key = public_key(&facts.spki).unwrap_or_default();
                (self.crypto.sha1)(key).is_some_and(|own| own == hash)
            }
        };
        if is_responder(&issuer) {
            return if self.has_signed(&response.signed, &issuer.spki) {
                Ok(subject(issuer_der))
            } else {
                Err(unknown(
                    "its signature does not verify with the key of the certificate's issuer",
                ))
            };
        }
        let mut why = "neither the certificate's issuer nor a responder whose certificate is in \
                       the response signed it"
            .to_owned();
        let presented = response.certificates.iter();
        let read = presented.filter_map(|der| facts(der).ok().map(|facts| (der, facts)));
        let candidates = read.filter(|(_, facts)| is_responder(facts)).take(TRIED);
        for (der, delegate) in candidates {
            match self.check_delegate(der, &delegate, &issuer, now) {
                Err(no) => why = no,
                Ok(()) if self.has_signed(&response.signed, &delegate.spki) => {
                    return Ok(subject(der));
                }
                Ok(()) => {
                    "its signature does not verify with the key of its responder"
                        .clone_into(&mut why);
                }
            }
        }
        Err(unknown(why))
    }

    /// Whether the issuer of the leaf lets a responder sign for it (RFC 6960 section 4.2.2.2).
    fn check_delegate(
        &self,
        der: &[u8],
        delegate: &PathFacts,
        issuer: &PathFacts,
        now: i64,
    ) -> Result<(), String> {
        let of_responder = |what: &str| format!("the certificate of its responder {what}");
        let is_issued = delegate.issuer_der == issuer.subject_der
            && signed(der).is_ok_and(|it| self.has_signed(&it, &issuer.spki));
        if !is_issued {
            return Err(of_responder("was not issued by the certificate's issuer"));
        }
        if !delegate.signs_ocsp || !delegate.signs_handshakes {
            return Err(of_responder(
                "does not allow signing OCSP responses (id-kp-OCSPSigning)",
            ));
        }
        if check_time(delegate, now).is_err() {
            return Err(of_responder("is not valid now"));
        }
        if check_key(delegate).is_err() {
            return Err(of_responder("has too small a key"));
        }
        if delegate.has_unknown_critical {
            return Err(of_responder("has an unsupported critical extension"));
        }
        match summarize(der) {
            Ok(summary) if !self.lists.name(&summary) => Ok(()),
            _ => Err(of_responder("was revoked")),
        }
    }
}

/// The last second in which a status holds that its issuer has signed.
fn in_force(status: &OcspStatus<'_>, now: i64) -> Result<i64, No> {
    match status.status {
        // However old it is.
        CertificateStatus::Revoked { at, reason } => {
            let reason = reason.map(|reason| format!(" ({reason})"));
            let said = format!("{}{}", date(at), reason.unwrap_or_default());
            return Err(No::new(F::Revoked, said));
        }
        CertificateStatus::Unknown => {
            return Err(unknown("its responder does not know the certificate"));
        }
        CertificateStatus::Good => {}
    }
    let (begins, in_force) = (status.this_update, status.in_force());
    if now < *in_force.start() {
        return Err(unknown(format!(
            "it will be in force in {}, {} (this machine's clock says {})",
            span(begins.saturating_sub(now)),
            date(begins),
            date(now)
        )));
    }
    let last = *in_force.end();
    if now > last {
        return Err(unknown(format!(
            "it expired {} ago, {} (this machine's clock says {})",
            span(now.saturating_sub(last)),
            date(last),
            date(now)
        )));
    }
    Ok(last)
}

fn unknown(said: impl Into<String>) -> No {
    No::new(F::RevocationUnknown, said.into())
}
