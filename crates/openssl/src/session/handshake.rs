//! The handshake, and what is to be known of it once it is done.

use std::ptr;

use polytls_core::ech::Status;
use polytls_core::{
    Alert, CertificateFailure, Error, Facts, INCOMING_LIMIT, Outbound, Progress, Session, Sink,
    fork, records,
};
use zeroize::Zeroizing;

use super::trouble::Trouble;
use super::{HEADER, OpensslSession, TAG};
use crate::api::{self, SSL};
use crate::blame::alert_for;
use crate::callbacks::{A_WEEK, judge_resumed};
use crate::ech;
use crate::library::Library;
use crate::objects::SslSession;
use crate::seen::Before;
use crate::tables::{negotiated_group, version_number};

/// The most bytes of records of a handshake. A message has 128 KiB at most in OpenSSL.
const LONGEST_HANDSHAKE: usize = INCOMING_LIMIT + INCOMING_LIMIT / 2;
const FATAL: u8 = 2;

impl OpensslSession {
    /// Whether a server whose early data has left goes back to TLS 1.2 (RFC 8446 appendix D.3), which OpenSSL
    /// goes on with.
    fn went_back(&self) -> Result<bool, Error> {
        let sent = !self.context().is_server && self.begun && self.offers_early;
        let (library, ssl) = (self.library(), self.ssl()?);
        // SAFETY: the connection is ours.
        Ok(sent && unsafe { library.SSL_version(ssl) } == 0x0303)
    }

    /// Whether the server has rejected Encrypted ClientHello.
    fn is_rejected(&self) -> Result<bool, Error> {
        let (library, ssl) = (self.library(), self.ssl()?);
        // SAFETY: the connection is ours.
        Ok(self.seen().public_name.is_some() && !unsafe { ech::was_accepted(library, ssl) })
    }

    fn resumed(&self, library: &Library, ssl: *const SSL) -> bool {
        // SAFETY: the connection is ours.
        unsafe { library.SSL_session_reused(ssl) == 1 }
    }

    pub(super) fn shake(
        &mut self,
        records: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        if !self.begun && self.offers_early {
            self.write_early(&[], out)?;
        }
        let _call = fork::undivided();
        let before = out.len();
        self.came += records.len();
        if self.came > LONGEST_HANDSHAKE {
            put_alert(Alert::DECODE_ERROR, out);
            let said = "handshake too long";
            return Err(Error::PeerMisbehaved(said.to_owned()));
        }
        // OpenSSL takes it for a message out of turn where it is the very first.
        if let [21, _, _, 0, 2, 2, alert] = records
            && self.context().is_server
            && self.seen().notes().hello.is_none()
        {
            return Err(Error::AlertReceived(Alert(*alert)));
        }
        // OpenSSL passes over it (RFC 8446 section 5.1).
        if matches!(records, [20..=22, _, _, 0, 0]) {
            put_alert(Alert::UNEXPECTED_MESSAGE, out);
            return Err(Error::PeerMisbehaved("an empty record".to_owned()));
        }
        let mut answerable = false;
        let mut reads_early = self.reads_early;
        let mut settled = self.settled;
        let (stepped, left) = self.call(records, out, |library, ssl| {
            self.step(
                library,
                ssl,
                &mut reads_early,
                &mut settled,
                &mut answerable,
                plaintext,
            )
        })?;
        self.reads_early = reads_early;
        self.settled = settled;
        let received = Progress {
            consumed: records.len() - left,
            peer_closed: false,
            answerable,
        };
        self.note_finished(out.since(before));
        if let Some(failure) = self.seen().note().failure.take() {
            return Err(*failure);
        }
        if self.went_back()? {
            out.truncate(before);
            put_alert(Alert::PROTOCOL_VERSION, out);
            let said = "it chose a version without early data, though its session allowed early \
                        data";
            return Err(Error::PeerMisbehaved(said.to_owned()));
        }
        match stepped {
            Ok(()) => {
                if self.seen().notes().pending.is_some() {
                    let said = "OpenSSL did not ask about the server's staple";
                    return Err(Error::Internal(said.to_owned()));
                }
                if self.is_rejected()? {
                    // OpenSSL ends it before: a server that was verified for the public name gets no data of ours.
                    return Err(Error::Internal(
                        "a rejected handshake was completed".to_owned(),
                    ));
                }
                self.done()?;
                let more = received.consumed < records.len();
                debug_assert!(!more, "a record behind the handshake");
                Ok(received)
            }
            Err(Trouble::Wants) => Ok(received),
            // close_notify instead of an answer.
            Err(Trouble::Closed) => Err(Error::RaggedEof {
                during_handshake: true,
            }),
            Err(Trouble::Failed(error)) => Err(error),
            Err(Trouble::Refused(failure)) => {
                self.amend_alert(&failure, before, out);
                Err(Error::Certificate(failure))
            }
            Err(Trouble::RefusedSession(failure)) => {
                out.truncate(before);
                // In the clear, as the answer would have been.
                put_alert(alert_for(&failure), out);
                Err(Error::Certificate(failure))
            }
        }
    }

    /// Puts the alert for a refusal in the place of OpenSSL's, which has none for some, where that is in the clear.
    /// It is in TLS 1.2, where certificates come before there are keys, and from a TLS 1.3 client that has sent no
    /// early data: OpenSSL's clients begin to encrypt with their answer to the server.
    fn amend_alert(&self, failure: &CertificateFailure, before: usize, out: &mut Outbound) {
        let flight = out.since(before);
        let Some([21, _, _, 0, 2, FATAL, _]) = records(flight).last() else {
            return;
        };
        out.truncate(out.len() - (HEADER + 2));
        let alert = alert_for(failure);
        put_alert(alert, out);
        self.seen().note().sent_alert = Some(alert);
    }

    /// Goes on with the handshake as far as the input allows.
    fn step(
        &self,
        library: &'static Library,
        ssl: *mut SSL,
        reads_early: &mut bool,
        settled: &mut bool,
        answerable: &mut bool,
        plaintext: &mut Sink<'_>,
    ) -> Result<(), Trouble> {
        while *reads_early {
            let mut memory = Zeroizing::new([0; 4096]);
            let mut count = 0;
            // SAFETY: the connection is ours; so much memory is there, and a place for the count.
            let (result, status) = unsafe {
                let into = memory.as_mut_ptr().cast();
                let result = library.SSL_read_early_data(ssl, into, memory.len(), &raw mut count);
                (result, library.SSL_get_early_data_status(ssl))
            };
            let trouble =
                (result == api::READ_EARLY_DATA_ERROR).then(|| self.trouble(library, ssl, result));
            self.settle(library, ssl, settled)?;
            *answerable |= status == api::EARLY_DATA_ACCEPTED;
            if let Some(early) = memory.get(..count).filter(|early| !early.is_empty()) {
                plaintext.put_early(early);
            }
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
            *reads_early = result != api::READ_EARLY_DATA_FINISH;
        }
        // SAFETY: the connection is ours.
        let result = unsafe { library.SSL_do_handshake(ssl) };
        let trouble = (result != 1).then(|| self.trouble(library, ssl, result));
        if !matches!(trouble, Some(Trouble::Failed(_) | Trouble::Refused(_))) {
            self.settle(library, ssl, settled)?;
        }
        trouble.map_or(Ok(()), Err)
    }

    /// Judges the peer of a session as soon as it is sure that this is resumed.
    fn settle(
        &self,
        library: &'static Library,
        ssl: *const SSL,
        settled: &mut bool,
    ) -> Result<(), Trouble> {
        if !*settled && self.resumed(library, ssl) {
            *settled = true;
            judge_resumed(self.seen()).map_err(Trouble::RefusedSession)?;
        }
        Ok(())
    }

    /// Looks for our Finished in a flight of ours, which in TLS 1.3 is the last record of what is encrypted, but
    /// for a client's early data.
    fn note_finished(&mut self, flight: &[u8]) {
        const APPLICATION_DATA: u8 = 23;
        if self.context().is_server && self.finished > 0 {
            return; // Tickets follow.
        }
        if let Some(last) = records(flight).last()
            && last.first() == Some(&APPLICATION_DATA)
        {
            self.finished = last.len();
        }
    }

    /// See the module.
    fn adds_nothing(&self, library: &Library, ssl: *mut SSL, facts: &Facts) -> bool {
        // SAFETY: the connection is ours, and so is its session, which is only looked at.
        let fragments = unsafe {
            let session = library.SSL_get_session(ssl);
            if session.is_null() {
                return false;
            }
            library.SSL_SESSION_get_max_fragment_length(session)
        };
        let is_cut = (1..=4).contains(&fragments);
        // Header, verify_data, content type, tag; CCM_8 has a shorter one, and is left out.
        let finished = match facts.cipher {
            0x1301 | 0x1303 | 0x1304 => HEADER + 4 + 32 + 1 + TAG,
            0x1302 => HEADER + 4 + 48 + 1 + TAG,
            _ => 0,
        };
        let is_padded = facts.is_tls13() && self.finished != finished;
        !is_cut && !is_padded
    }

    /// The handshake is done.
    fn done(&mut self) -> Result<(), Error> {
        let (library, ssl) = (self.library(), self.ssl()?);
        // Only handshakes are listened to: it would be called for each record.
        if self.context().tracer.is_none() {
            // SAFETY: the connection is ours.
            unsafe { library.SSL_set_msg_callback(ssl, None) };
        }
        let facts = self.told(library, ssl);
        self.overhead = if facts.is_tls13() {
            HEADER + 1 + TAG
        } else if matches!(facts.cipher, 0xcca8 | 0xcca9) {
            HEADER + TAG
        } else {
            HEADER + 8 + TAG
        };
        self.is_plain = self.adds_nothing(library, ssl, &facts);
        self.context().counters.finished(facts.resumed);
        if let Some(keeper) = &mut self.keeper
            && !facts.resumed
        {
            keeper.begin_anew();
        }
        let is_tls13 = facts.is_tls13();
        self.facts = Some(Box::new(facts));
        self.settle_identity();
        if !is_tls13 && self.keeper.is_some() {
            self.seen().note().new_sessions.clear();
            // OpenSSL does not tell of a ticket that replaces another.
            // SAFETY: the connection is ours; it gives a reference.
            let session = unsafe { library.SSL_get1_session(ssl) };
            let session = SslSession::new(library, session);
            let session = session.filter(|one| !ptr::eq(one.as_ptr(), self.offered));
            self.seen().note().new_sessions.extend(session);
        }
        self.remember();
        Ok(())
    }

    /// Notes by which identity a server is known. Where a session is resumed none was chosen, but it would have
    /// been. ClientHello is not needed any more.
    fn settle_identity(&self) {
        let (seen, context) = (self.seen(), self.context());
        let hello = seen.note().hello.take();
        let version = self.version().filter(|_| context.is_server);
        if let (Some(version), Some(hello)) = (version, hello) {
            let suites = &context.effective.cipher_suites;
            let again = || context.identities.for_client(&hello, version, suites);
            let mut notes = seen.note();
            notes.identity = notes.identity.or_else(again);
        }
    }

    /// Keeps the sessions that have come.
    pub(super) fn remember(&mut self) {
        let found = std::mem::take(&mut self.seen().note().new_sessions);
        if found.is_empty() {
            return;
        }
        let resumed = self.facts.as_ref().is_some_and(|facts| facts.resumed);
        let seen = self.seen();
        let Some(now) = seen.context.clock.now() else {
            return;
        };
        let end = seen.sessions_end(resumed);
        let before = Before {
            chain: seen.peer(resumed),
            end: end.unwrap_or(now.as_secs().saturating_add(A_WEEK)),
        };
        for session in found {
            let kept = self.keeper.as_mut();
            if kept.is_some_and(|keeper| keeper.keep(session, before.clone())) {
                self.context().counters.stored();
            }
        }
    }

    /// What was agreed.
    fn told(&self, library: &'static Library, ssl: *mut SSL) -> Facts {
        let resumed = self.resumed(library, ssl);
        let seen = self.seen();
        // SAFETY: the connection is ours, and its handshake done; the protocol's name is lent.
        let (version, cipher, alpn, early_data) = unsafe {
            let (mut name, mut size) = (ptr::null(), 0);
            library.SSL_get0_alpn_selected(ssl, &raw mut name, &raw mut size);
            let size = usize::try_from(size).unwrap_or(0);
            let alpn = (!name.is_null() && size > 0)
                .then(|| std::slice::from_raw_parts(name, size).to_vec());
            let cipher = library.SSL_get_current_cipher(ssl);
            let cipher = if cipher.is_null() {
                0
            } else {
                library.SSL_CIPHER_get_protocol_id(cipher)
            };
            let early_data = match library.SSL_get_early_data_status(ssl) {
                _ if !seen.context.is_server && self.early_sent == 0 => None,
                api::EARLY_DATA_REJECTED => Some(false),
                api::EARLY_DATA_ACCEPTED => Some(true),
                _ => None,
            };
            (library.SSL_version(ssl), cipher, alpn, early_data)
        };
        let version = version_number(version);
        // TLS 1.2 exchanges no keys when it resumes.
        let exchanged = version == 0x0304 || !resumed;
        let notes = seen.notes();
        // A client's is in `facts`.
        let server_name = notes.hello.as_ref().and_then(|hello| hello.name.clone());
        Facts {
            version,
            cipher,
            group: exchanged.then(|| negotiated_group(library, ssl)).flatten(),
            alpn,
            server_name,
            resumed,
            // See `facts`.
            peer_chain: Vec::new(),
            verified_chain: None,
            early_data,
            ech: match &seen.public_name {
                Some(_) => Some(Status::Accepted),
                None if seen.context.decrypts_hello => {
                    // SAFETY: the connection is ours.
                    unsafe { ech::was_accepted(library, ssl) }.then_some(Status::Accepted)
                }
                None => seen.context.ech_grease.then_some(Status::Grease),
            },
            staple: notes.staple.clone(),
            handshake: None,
        }
    }
}

/// An alert in the clear: before there are keys, and where the peer has opened nothing yet.
pub(super) fn put_alert(alert: Alert, out: &mut Outbound) {
    out.extend(&[21, 3, 3, 0, 2, FATAL, alert.0]);
}
