//! One connection on OpenSSL. What it needs, beside what `polytls_core::Connection` sees to:
//!
//! 1. It is shown whole records, and reads no further than the one it needs (`wire`). All plaintext is taken out
//!    at once, so that its own buffers are empty whenever it is called.
//! 2. With a part of a handshake message behind the handshake (a ticket of several records) it writes nothing:
//!    SSL_write_ex(3) goes on with that message first. What is to be sealed waits until the message is whole.
//! 3. What is said of a session that is resumed leaves once the caller's verifier has accepted the peer: the
//!    verdict's callback is not called there.
//! 4. What is to be known of the handshake is read once, when that is done.
//! 5. How long sealed data will be is told where OpenSSL adds nothing to it: no padding, which the system's
//!    configuration may ask for and nobody can ask about, but the length of Finished shows it; and no fragments
//!    of the client's choice (RFC 6066 section 4).

use std::ffi::{CString, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use polytls_core::config::Version;
use polytls_core::{
    Alert, CertificateFailure, Error, Facts, HostName, INCOMING_LIMIT, Inbound, Lineage,
    MAX_FRAGMENT, OUTGOING_LIMIT, Outbound, Progress, Session, Shown, Sink, VerificationFailure,
    fork, records,
};
use polytls_verdict::{Case, No};
use zeroize::Zeroizing;

use crate::api::{self, SSL, SSL_SESSION};
use crate::blame::{Blame, Fault};
use crate::callbacks::{A_WEEK, judge_resumed};
use crate::context::Context;
use crate::library::Library;
use crate::objects::SslSession;
use crate::remembered::Keeper;
use crate::remote;
use crate::scope::Scope;
use crate::seen::{Before, Seen};
use crate::tables::{negotiated_group, nothing, version_number};

/// The most bytes of records of a handshake. A message has 128 KiB at most in OpenSSL.
const LONGEST_HANDSHAKE: usize = INCOMING_LIMIT + INCOMING_LIMIT / 2;
/// The most bytes that wait for a message of the peer's to be whole.
const WAITING_LIMIT: usize = 4 * OUTGOING_LIMIT;
/// Header, content type, tag.
const HEADER: usize = 5;
const TAG: usize = 16;

/// See the module.
pub(crate) struct OpensslSession {
    /// `None`: its keys are gone.
    ssl: Option<NonNull<SSL>>,
    /// From a box, which callbacks look into.
    seen: NonNull<Seen>,
    /// On a client that keeps sessions.
    keeper: Option<Keeper>,
    /// The session that is offered; only compared.
    offered: *const SSL_SESSION,
    /// On a server: whether early data may still come.
    reads_early: bool,
    /// On a client: how much early data may still be sent, and how much was.
    early_left: usize,
    early_sent: usize,
    /// On a client: whether its session allows it, and whether the first flight was made.
    offers_early: bool,
    begun: bool,
    /// Whether nothing has to be judged any more before the answer leaves.
    settled: bool,
    /// How many bytes of records the handshake took.
    came: usize,
    /// There once the handshake is done.
    facts: Option<Box<Facts>>,
    overhead: usize,
    /// How long the last record was that went with our Finished (TLS 1.3); 0: there was none yet.
    finished: usize,
    /// Whether a record of data is longer than its content by `overhead`, and full until the last.
    is_plain: bool,
    /// What is to be sealed, once a message of the peer's is whole.
    waiting: Zeroizing<Vec<u8>>,
    /// Whether close_notify is to be sent then.
    closing: bool,
}

// SAFETY: a connection of OpenSSL may be used by one thread after the other, and so may what callbacks see, which is
// only reached through it.
unsafe impl Send for OpensslSession {}

/// Why a call has not done what was asked.
enum Trouble {
    /// It needs more records.
    Wants,
    /// The peer's close_notify has come.
    Closed,
    /// The connection has failed.
    Failed(Error),
    /// A resumed session's peer is refused: the answer must not leave.
    Refused(Box<CertificateFailure>),
}

impl Drop for OpensslSession {
    fn drop(&mut self) {
        self.free();
        // SAFETY: the connection is gone, and with it all that looks there.
        drop(unsafe { Box::from_raw(self.seen.as_ptr()) });
    }
}

impl OpensslSession {
    pub(crate) fn client(
        context: &Arc<Context>,
        host: Option<HostName>,
        keeper: Option<Keeper>,
        offered: Option<(SslSession, Before)>,
    ) -> Result<Self, Error> {
        let mut made = Self::new(context, host)?;
        let library = context.library;
        let ssl = made.ssl()?;
        let name = made.seen().host.as_ref().filter(|host| !host.is_ip());
        let name = name.map(|host| CString::new(host.to_string())).transpose();
        let name = name.map_err(|error| Error::Internal(error.to_string()))?;
        // SAFETY: the connection is ours, and new; the name is copied, and the session gets a reference.
        unsafe {
            library.SSL_set_connect_state(ssl);
            if let Some(name) = name {
                let text = name.as_ptr().cast_mut().cast();
                library.SSL_ctrl(ssl, api::CTRL_SET_TLSEXT_HOSTNAME, 0, text);
            }
            let (command, kind) = (
                api::CTRL_SET_TLSEXT_STATUS_REQ_TYPE,
                api::TLSEXT_STATUSTYPE_OCSP,
            );
            library.SSL_ctrl(ssl, command, kind, nothing());
            if let Some((session, before)) = offered
                && library.SSL_set_session(ssl, session.as_ptr()) == 1
            {
                made.offered = session.as_ptr();
                if context.early_data {
                    let most = library.SSL_SESSION_get_max_early_data(session.as_ptr());
                    made.early_left = usize::try_from(most).unwrap_or(0);
                    made.offers_early = most > 0;
                }
                made.seen().note().before = Some(before);
            }
        }
        library.clean();
        made.keeper = keeper;
        Ok(made)
    }

    pub(crate) fn server(context: &Arc<Context>) -> Result<Self, Error> {
        let mut made = Self::new(context, None)?;
        let ssl = made.ssl()?;
        // SAFETY: the connection is ours, and new.
        unsafe { context.library.SSL_set_accept_state(ssl) };
        made.reads_early = context.early_data;
        Ok(made)
    }

    fn new(context: &Arc<Context>, host: Option<HostName>) -> Result<Self, Error> {
        let library = context.library;
        let _call = fork::undivided();
        library.clean();
        let out_of_memory = || {
            let fault = Fault::take(library);
            Error::Internal(format!(
                "OpenSSL cannot create a connection: {}",
                fault.said()
            ))
        };
        let seen = Box::new(Seen::new(Arc::clone(context), host));
        // SAFETY: a new connection of our context.
        let ssl = NonNull::new(unsafe { library.SSL_new(context.ctx.as_ptr()) })
            .ok_or_else(out_of_memory)?;
        let seen = NonNull::from(Box::leak(seen));
        let made = Self {
            ssl: Some(ssl),
            seen,
            keeper: None,
            offered: ptr::null(),
            reads_early: false,
            early_left: 0,
            early_sent: 0,
            offers_early: false,
            begun: false,
            settled: false,
            came: 0,
            facts: None,
            overhead: HEADER + TAG,
            finished: 0,
            is_plain: false,
            waiting: Zeroizing::default(),
            closing: false,
        };
        let bio = library.transport.bio(library, &raw const made.seen().wire);
        // SAFETY: the connection takes the BIO over; what belongs to it lives longer.
        let set = unsafe {
            if !bio.is_null() {
                library.SSL_set_bio(ssl.as_ptr(), bio, bio);
            }
            library.SSL_set_ex_data(ssl.as_ptr(), library.ex_index, seen.as_ptr().cast())
        };
        if bio.is_null() || set != 1 {
            return Err(out_of_memory());
        }
        Ok(made)
    }

    fn free(&mut self) {
        if let Some(ssl) = self.ssl.take() {
            let library = self.library();
            // SAFETY: the connection is ours. As if it was closed in both directions: otherwise sessions that
            // others have of it would not be resumable any more (SSL_free, ssl_clear_bad_session).
            unsafe {
                library.SSL_set_shutdown(ssl.as_ptr(), api::SHUT_DOWN);
                library.SSL_free(ssl.as_ptr());
            }
            library.clean();
        }
    }

    fn seen(&self) -> &Seen {
        // SAFETY: it lives as long as this does, and is only changed through its cells.
        unsafe { self.seen.as_ref() }
    }

    fn library(&self) -> &'static Scope {
        self.seen().library()
    }

    fn context(&self) -> &Context {
        &self.seen().context
    }

    fn ssl(&self) -> Result<*mut SSL, Error> {
        let gone = || {
            Error::Internal(
                "the connection has ended and its keys were \
                                       wiped"
                    .to_owned(),
            )
        };
        self.ssl.map(NonNull::as_ptr).ok_or_else(gone)
    }

    /// Calls OpenSSL, which reads `input` and writes to `out`. Says how much of the input is left.
    fn call<R>(
        &self,
        input: &[u8],
        out: &mut Outbound,
        call: impl FnOnce(&'static Library, *mut SSL) -> R,
    ) -> Result<(R, usize), Error> {
        let (library, ssl) = (self.library(), self.ssl()?);
        library.clean();
        let done = self.seen().wire.during(input, out, || call(library, ssl));
        library.clean();
        Ok(done)
    }

    /// Whether a server whose early data has left goes back to TLS 1.2 (RFC 8446 appendix D.3), which OpenSSL
    /// goes on with.
    fn went_back(&self) -> Result<bool, Error> {
        let sent = !self.context().is_server && self.begun && self.offers_early;
        let (library, ssl) = (self.library(), self.ssl()?);
        // SAFETY: the connection is ours.
        Ok(sent && unsafe { library.SSL_version(ssl) } == 0x0303)
    }

    fn resumed(&self, library: &Library, ssl: *const SSL) -> bool {
        // SAFETY: the connection is ours.
        unsafe { library.SSL_session_reused(ssl) == 1 }
    }

    // --- trouble ---

    /// What a result of OpenSSL's that is no success means.
    fn trouble(&self, library: &Library, ssl: *mut SSL, result: c_int) -> Trouble {
        // SAFETY: the connection is ours, and was called last by this thread.
        match unsafe { library.SSL_get_error(ssl, result) } {
            api::ERROR_WANT_READ | api::ERROR_WANT_WRITE => Trouble::Wants,
            api::ERROR_ZERO_RETURN => Trouble::Closed,
            _ => Trouble::Failed(self.blame(&Fault::take(library))),
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
        if let Some(refusal) = notes.refusal.take() {
            return Error::Certificate(refusal);
        }
        if let Some(alert) = notes.alert {
            return Error::AlertReceived(alert);
        }
        let unjudged = notes.presented.clone().filter(|_| !notes.judged);
        drop(notes);
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
                let name = seen.host.as_ref().map(HostName::as_server_name);
                let chain = unjudged.unwrap_or_default();
                let case = seen.context.clock.now();
                let case = case.and_then(|now| Case::of(&chain, name, now));
                let refused = case.and_then(|case| judge.verify(&case).err());
                refused.map_or(error, Error::Certificate)
            }
            (Blame::Other(error), _) => error,
        }
    }

    // --- the handshake ---

    fn shake(
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
                out.truncate(before);
                // In the clear, as the answer would have been.
                put_alert(alert_for(failure.reason), out);
                Err(Error::Certificate(failure))
            }
        }
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
        if !matches!(trouble, Some(Trouble::Failed(_))) {
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
            judge_resumed(self.seen()).map_err(Trouble::Refused)?;
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
        // SAFETY: the connection is ours.
        unsafe { library.SSL_set_msg_callback(ssl, None) };
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
    fn remember(&mut self) {
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
            ech: None,
            handshake: None,
        }
    }

    // --- data ---

    /// Opens what the records hold, as long as there is room.
    fn open(
        &mut self,
        records: &[u8],
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        let (opened, left) = self.call(records, out, |library, ssl| {
            let wire = &self.seen().wire;
            loop {
                // No content is longer. Small reads reach the caller's buffer if this is no more than they want.
                let most = wire.next().saturating_sub(self.overhead).max(1);
                let mut count = 0;
                let memory = plaintext.space(most);
                // SAFETY: the connection is ours; so much memory is there, and a place for the count.
                let (result, more) = unsafe {
                    let into = memory.as_mut_ptr().cast();
                    let result = library.SSL_read_ex(ssl, into, most, &raw mut count);
                    (result, library.SSL_has_pending(ssl) == 1)
                };
                if result != 1 {
                    break Err(self.trouble(library, ssl, result));
                }
                plaintext.came(most, count.min(most));
                if !more && (wire.left() == 0 || plaintext.is_full()) {
                    break Ok(());
                }
            }
        })?;
        let mut received = Progress {
            consumed: records.len() - left,
            ..Progress::default()
        };
        match opened {
            Ok(()) | Err(Trouble::Wants) => {}
            Err(Trouble::Closed) => received.peer_closed = true,
            Err(Trouble::Failed(error)) => return Err(error),
            Err(Trouble::Refused(failure)) => return Err(Error::Certificate(failure)),
        }
        self.remember();
        if !self.waiting.is_empty() || self.closing {
            self.go_on(out)?;
        }
        Ok(received)
    }

    /// Whether a message of the peer's has come in part.
    fn is_amid_message(&self) -> Result<bool, Error> {
        let (library, ssl) = (self.library(), self.ssl()?);
        // SAFETY: the connection is ours.
        Ok(self.facts.is_some() && unsafe { library.SSL_in_init(ssl) } != 0)
    }

    /// Whether the peer has asked for new keys: OpenSSL sends that answer in front of the next data.
    fn has_to_answer(&self) -> Result<bool, Error> {
        let (library, ssl) = (self.library(), self.ssl()?);
        // SAFETY: the connection is ours.
        Ok(unsafe { library.SSL_get_key_update_type(ssl) } != api::KEY_UPDATE_NONE)
    }

    /// Seals what had to wait, if it has no more to.
    fn go_on(&mut self, out: &mut Outbound) -> Result<(), Error> {
        if self.is_amid_message()? {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.write(&waiting, out)?;
        }
        if std::mem::take(&mut self.closing) {
            self.shut_down(out)?;
        }
        Ok(())
    }

    fn write(&self, data: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let (written, _) = self.call(&[], out, |library, ssl| self.put(library, ssl, data))?;
        written
    }

    /// Has OpenSSL seal all of it.
    fn put(&self, library: &'static Library, ssl: *mut SSL, data: &[u8]) -> Result<(), Error> {
        let mut count = 0;
        // SAFETY: the connection is ours; the data is read, and there is a place for the count.
        let result = unsafe {
            let from = data.as_ptr().cast();
            if self.facts.is_some() {
                library.SSL_write_ex(ssl, from, data.len(), &raw mut count)
            } else {
                library.SSL_write_early_data(ssl, from, data.len(), &raw mut count)
            }
        };
        if result == 1 && count == data.len() {
            return Ok(());
        }
        match self.trouble(library, ssl, result) {
            Trouble::Failed(error) => Err(error),
            _ => Err(Error::Internal(
                "OpenSSL did not encrypt everything".to_owned(),
            )),
        }
    }

    fn shut_down(&self, out: &mut Outbound) -> Result<(), Error> {
        let (closed, _) = self.call(&[], out, |library, ssl| {
            // SAFETY: the connection is ours.
            let result = unsafe { library.SSL_shutdown(ssl) };
            if result < 0 {
                Err(self.trouble(library, ssl, result))
            } else {
                Ok(())
            }
        })?;
        match closed {
            Err(Trouble::Failed(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

/// An alert in the clear: before there are keys, and where the peer has opened nothing yet.
fn put_alert(alert: Alert, out: &mut Outbound) {
    const FATAL: u8 = 2;
    out.extend(&[21, 3, 3, 0, 2, FATAL, alert.0]);
}

/// The alert for a peer whose session is refused (RFC 8446 section 6.2).
const fn alert_for(reason: VerificationFailure) -> Alert {
    use VerificationFailure as F;
    Alert(match reason {
        F::UnknownIssuer => 48,
        F::Expired => 45,
        F::Revoked => 44,
        F::InvalidPurpose | F::UnsupportedSignatureAlgorithm | F::WeakKey => 43,
        F::NotYetValid | F::HostnameMismatch | F::BadSignature | F::BadEncoding => 42,
        F::RefusedByVerifier => 49,
        _ => 46,
    })
}

impl Session for OpensslSession {
    fn is_handshaking(&self) -> bool {
        self.facts.is_none()
    }

    fn receive(
        &mut self,
        inbound: &mut Inbound<'_>,
        plaintext: &mut Sink<'_>,
        out: &mut Outbound,
    ) -> Result<Progress, Error> {
        out.limit_answers()?;
        if self.is_handshaking() {
            self.shake(inbound.bytes(), plaintext, out)
        } else {
            self.open(inbound.bytes(), plaintext, out)
        }
    }

    fn has_early_data(&self) -> bool {
        self.context().early_data
    }

    fn write_early(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<usize, Error> {
        let _call = fork::undivided();
        if self.begun && (plaintext.is_empty() || self.early_left == 0) {
            return Ok(0);
        }
        self.begun = true;
        let offered = self.offers_early;
        let data = &plaintext[..plaintext.len().min(self.early_left)];
        let (written, _) = self.call(&[], out, |library, ssl| {
            let mut count = 0;
            // SAFETY: the connection is ours; the data is read, and there is a place for the count.
            let result = unsafe {
                if offered {
                    // It offers early data by writing it, be it none.
                    let from = data.as_ptr().cast();
                    library.SSL_write_early_data(ssl, from, data.len(), &raw mut count)
                } else {
                    library.SSL_do_handshake(ssl)
                }
            };
            if result == 1 {
                Ok(count)
            } else {
                Err(self.trouble(library, ssl, result))
            }
        })?;
        match written {
            Ok(count) => {
                self.early_left -= count;
                self.early_sent += count;
                Ok(count)
            }
            Err(Trouble::Failed(error)) => Err(error),
            Err(_) => Ok(0),
        }
    }

    fn seal(&mut self, plaintext: &[u8], out: &mut Outbound) -> Result<(), Error> {
        if !self.is_amid_message()? {
            return self.write(plaintext, out);
        }
        if self.waiting.len() + plaintext.len() > WAITING_LIMIT {
            return Err(Error::PeerMisbehaved(
                "it stopped in the middle of a message".to_owned(),
            ));
        }
        self.waiting.extend_from_slice(plaintext);
        Ok(())
    }

    fn takes_batches(&self) -> bool {
        true
    }

    fn overhead(&self) -> usize {
        self.overhead
    }

    fn sealed_len(&self, plaintext: usize) -> Option<usize> {
        let is_ready = self.is_plain
            && matches!(self.is_amid_message(), Ok(false))
            && matches!(self.has_to_answer(), Ok(false));
        let records = plaintext.div_ceil(MAX_FRAGMENT);
        is_ready.then_some(plaintext + records * self.overhead)
    }

    fn seal_into(&mut self, plaintext: &[u8], into: &mut [u8]) -> Result<(), Error> {
        if plaintext.is_empty() {
            return Ok(());
        }
        let (library, ssl) = (self.library(), self.ssl()?);
        library.clean();
        let wire = &self.seen().wire;
        let (written, left) = wire.during_memory(into, || self.put(library, ssl, plaintext));
        library.clean();
        written?;
        if left > 0 {
            let said = "OpenSSL encrypted less than expected";
            return Err(Error::Internal(said.to_owned()));
        }
        Ok(())
    }

    fn close(&mut self, out: &mut Outbound) -> Result<Progress, Error> {
        if self.is_amid_message()? {
            self.closing = true;
        } else {
            self.shut_down(out)?;
        }
        Ok(Progress::default())
    }

    fn send_alert(&mut self, alert: Alert, found: &[u8], out: &mut Outbound) -> Result<(), Error> {
        let before = out.len();
        let done = self.facts.is_some();
        // It finds the fault by itself, and has no other way to send an alert.
        self.call(found, out, |library, ssl| {
            let (mut byte, mut count) = ([0_u8; 1], 0);
            // SAFETY: the connection is ours; there is a byte of memory, and a place for the count.
            unsafe {
                if done {
                    let into = byte.as_mut_ptr().cast();
                    library.SSL_read_ex(ssl, into, byte.len(), &raw mut count)
                } else {
                    library.SSL_do_handshake(ssl)
                }
            }
        })?;
        if out.len() == before && !done {
            put_alert(alert, out);
        }
        Ok(())
    }

    fn update_keys(&mut self, out: &mut Outbound) -> Result<(), Error> {
        if self.is_amid_message()? {
            return Err(Error::Misuse(
                "a message from the peer is incomplete: read first",
            ));
        }
        let (updated, _) = self.call(&[], out, |library, ssl| {
            // SAFETY: the connection is ours.
            let result = unsafe {
                match library.SSL_key_update(ssl, api::KEY_UPDATE_REQUESTED) {
                    1 => library.SSL_do_handshake(ssl),
                    failed => failed,
                }
            };
            if result == 1 {
                Ok(())
            } else {
                Err(self.trouble(library, ssl, result))
            }
        })?;
        match updated {
            Ok(()) => Ok(()),
            Err(Trouble::Failed(error)) => Err(error),
            Err(_) => Err(Error::Internal(
                "OpenSSL did not update its keys".to_owned(),
            )),
        }
    }

    fn take_shown(&mut self) -> Vec<Shown> {
        std::mem::take(&mut self.seen().note().shown)
    }

    fn version(&self) -> Option<Version> {
        let facts = self.facts.as_ref()?;
        Some(if facts.is_tls13() {
            Version::Tls13
        } else {
            Version::Tls12
        })
    }

    fn facts(&self) -> Facts {
        let Some(mut facts) = self.facts.as_deref().cloned() else {
            return Facts::default();
        };
        let seen = self.seen();
        if !seen.context.is_server {
            let host = seen.host.as_ref().filter(|host| !host.is_ip());
            facts.server_name = host.map(ToString::to_string);
        }
        let chain = seen.peer(facts.resumed);
        facts.peer_chain = chain.iter().map(|der| der.to_vec()).collect();
        facts.verified_chain = seen.notes().verified.as_deref().cloned();
        facts
    }

    fn export(&self, label: &[u8], context: Option<&[u8]>, into: &mut [u8]) -> Result<(), Error> {
        let (library, ssl) = (self.library(), self.ssl()?);
        library.clean();
        let given = context.unwrap_or_default();
        // SAFETY: the connection is ours; label and context are read, and so much memory is there.
        let exported = unsafe {
            library.SSL_export_keying_material(
                ssl,
                into.as_mut_ptr(),
                into.len(),
                label.as_ptr().cast(),
                label.len(),
                given.as_ptr(),
                given.len(),
                c_int::from(context.is_some()),
            )
        };
        library.clean();
        if exported == 1 {
            Ok(())
        } else {
            Err(Error::Misuse(
                "OpenSSL cannot export keying material for this label and context",
            ))
        }
    }

    fn lineage(&mut self) -> Option<Lineage> {
        let resumed = self.facts.as_ref()?.resumed;
        let chain = self.seen().peer(resumed);
        let keeper = self.keeper.as_mut()?;
        Some(Lineage(keeper.lineage(&chain)))
    }

    fn forget_keys(&mut self) {
        self.free();
        self.waiting = Zeroizing::default();
    }

    fn own_certificate(&self) -> Result<Option<Vec<u8>>, Error> {
        let index = self.seen().notes().identity;
        let found = index.and_then(|index| self.context().identities.get(index));
        Ok(found.map(|one| one.leaf_der.clone()))
    }
}
