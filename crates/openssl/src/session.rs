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

mod data;
mod handshake;
mod trouble;

use std::ffi::{CString, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use polytls_core::config::Version;
use polytls_core::events::Tracer;
use polytls_core::pki_types::ServerName;
use polytls_core::{
    Alert, Error, Facts, HostName, Inbound, Lineage, OUTGOING_LIMIT, Outbound, Progress, Session,
    Shown, Sink, fork,
};
use zeroize::Zeroizing;

use crate::api::{self, SSL, SSL_SESSION};
use crate::blame::Fault;
use crate::context::Context;
use crate::ech::{self, Prepared};
use crate::library::Library;
use crate::objects::SslSession;
use crate::remembered::Keeper;
use crate::scope::Scope;
use crate::seen::{Before, Seen};
use crate::tables::nothing;
use handshake::put_alert;
use trouble::Trouble;

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
        ech: Option<&Prepared>,
    ) -> Result<Self, Error> {
        let mut made = Self::new(context, host, ech.map(|ech| ech.public_name.clone()))?;
        let library = context.library;
        let ssl = made.ssl()?;
        if let Some(ech) = ech {
            ech::set(library, ssl, ech)?;
        }
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
                // Early data would go before the server has accepted.
                if context.early_data && ech.is_none() {
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
        let mut made = Self::new(context, None, None)?;
        let ssl = made.ssl()?;
        // SAFETY: the connection is ours, and new.
        unsafe { context.library.SSL_set_accept_state(ssl) };
        made.reads_early = context.early_data;
        Ok(made)
    }

    fn new(
        context: &Arc<Context>,
        host: Option<HostName>,
        public_name: Option<ServerName<'static>>,
    ) -> Result<Self, Error> {
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
        let seen = Box::new(Seen::new(Arc::clone(context), host, public_name));
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
        let records = plaintext.div_ceil(self.context().max_fragment);
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

    fn tracer(&self) -> Option<Arc<dyn Tracer>> {
        self.context().tracer.clone()
    }

    fn sent_alert(&self) -> Option<Alert> {
        self.seen().notes().sent_alert
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
