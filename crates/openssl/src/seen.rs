//! What OpenSSL's callbacks see and note of one connection.
//!
//! Callbacks run on the thread that calls the connection, before that call returns. They get here by the
//! `SSL` that they are given. What they note is looked at after the call.

use std::cell::{Ref, RefCell, RefMut};
use std::ffi::{c_int, c_uchar};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use polytls_core::pki_types::{CertificateDer, ServerName};
use polytls_core::{Alert, CertificateFailure, Error, HostName, Shown, Stapled};
use polytls_verdict::Verdict;

use crate::api::SSL;
use crate::context::Context;
use crate::hello::Hello;
use crate::library::loaded;
use crate::objects::SslSession;
use crate::scope::Scope;
use crate::wire::Wire;

/// A chain as it was presented, leaf first.
pub(crate) type Presented = Arc<Vec<CertificateDer<'static>>>;

/// A path that was verified, from the leaf to the anchor, in DER.
pub(crate) type Path = Arc<Vec<Vec<u8>>>;

/// What was presented last to a context, and verified: many connections have the same peer, and share it.
#[derive(Debug, Default)]
pub(crate) struct Last(Mutex<(Presented, Path)>);

impl Last {
    /// `chain` and `path`, or what is equal to them and there already.
    pub(crate) fn shared(&self, chain: Presented, path: Vec<Vec<u8>>) -> (Presented, Path) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != chain {
            last.0 = chain;
        }
        if *last.1 != path {
            last.1 = Arc::new(path);
        }
        last.clone()
    }
}

/// What is known of a peer by the session that was begun with it.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    pub(crate) chain: Presented,
    /// Until when it may be resumed, in seconds since 1970.
    pub(crate) end: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// On a server: the last ClientHello, until the handshake is done.
    pub(crate) hello: Option<Box<Hello>>,
    /// The encrypted messages of the handshake that were not asked for yet.
    pub(crate) shown: Vec<Shown>,
    /// What the peer has presented in this handshake.
    pub(crate) presented: Option<Presented>,
    /// Whether the server has rejected Encrypted ClientHello.
    pub(crate) rejected: bool,
    /// Whether the verdict on that was given.
    pub(crate) judged: bool,
    /// The path that was verified.
    pub(crate) verified: Option<Path>,
    /// The verdict on a server's certificate, until what it stapled has been judged.
    pub(crate) pending: Option<Box<Verdict>>,
    /// The OCSP response that was stapled.
    pub(crate) staple: Option<Box<Stapled>>,
    /// Until when sessions of this connection may be resumed, if that is known.
    pub(crate) end: Option<u64>,
    /// Why the peer was refused.
    pub(crate) refusal: Option<Box<CertificateFailure>>,
    /// The peer's fatal alert.
    pub(crate) alert: Option<Alert>,
    /// Our own fatal alert.
    pub(crate) sent_alert: Option<Alert>,
    /// What went wrong in a callback.
    pub(crate) failure: Option<Box<Error>>,
    /// Which of our identities was presented.
    pub(crate) identity: Option<usize>,
    /// The session that is offered, or was found for the one that is.
    pub(crate) before: Option<Before>,
    /// On a client: sessions that have come.
    pub(crate) new_sessions: Vec<SslSession>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) context: Arc<Context>,
    /// The name to be verified, on a client that has one.
    pub(crate) host: Option<HostName>,
    /// The public name, if ClientHello is encrypted.
    pub(crate) public_name: Option<ServerName<'static>>,
    pub(crate) wire: Wire,
    notes: RefCell<Notes>,
}

impl Seen {
    pub(crate) fn new(
        context: Arc<Context>,
        host: Option<HostName>,
        public_name: Option<ServerName<'static>>,
    ) -> Self {
        Self {
            context,
            host,
            public_name,
            wire: Wire::new(),
            notes: RefCell::default(),
        }
    }

    /// The name that the peer is verified for, if any: a server that rejects Encrypted ClientHello has the public
    /// one (RFC 9849 section 6.1.7).
    pub(crate) fn name_to_verify(&self) -> Option<&ServerName<'static>> {
        if self.notes().rejected {
            self.public_name.as_ref()
        } else {
            self.host.as_ref().map(HostName::as_server_name)
        }
    }

    pub(crate) fn library(&self) -> &'static Scope {
        self.context.library
    }

    pub(crate) fn notes(&self) -> Ref<'_, Notes> {
        self.notes.borrow()
    }

    /// Not to be kept while anything of others is called.
    pub(crate) fn note(&self) -> RefMut<'_, Notes> {
        self.notes.borrow_mut()
    }

    /// What the peer is known by: what it has presented in this handshake, or the chain of the session if
    /// that was `resumed`.
    pub(crate) fn peer(&self, resumed: bool) -> Presented {
        let notes = self.notes();
        let before = notes.before.as_ref().filter(|_| resumed);
        let presented = notes.presented.as_ref();
        let chain = before.map(|before| &before.chain).or(presented);
        chain.cloned().unwrap_or_default()
    }

    /// Until when sessions of this connection may be resumed, if that is known.
    pub(crate) fn sessions_end(&self, resumed: bool) -> Option<u64> {
        let notes = self.notes();
        let before = notes.before.as_ref().filter(|_| resumed);
        before.map(|before| before.end).or(notes.end)
    }
}

/// Runs a callback about `ssl`. What panics does not go on through OpenSSL: it fails, and so does the
/// connection. `failed`: what OpenSSL is told then.
///
/// # Safety
///
/// `ssl` is what OpenSSL has called with.
pub(crate) unsafe fn called<R>(
    ssl: *const SSL,
    failed: R,
    callback: impl FnOnce(&'static Scope, &Seen) -> R,
) -> R {
    let Some(library) = loaded() else {
        return failed;
    };
    // SAFETY: `ssl` is there during the call. What belongs to it is a `Seen`, which lives longer than the
    // connection, and is only changed through its cells, by the thread that calls.
    let seen = unsafe {
        let data = library
            .SSL_get_ex_data(ssl, library.ex_index)
            .cast::<Seen>();
        data.as_ref()
    };
    // A connection of somebody else's, or the one that `tables` makes.
    let Some(seen) = seen else { return failed };
    catch_unwind(AssertUnwindSafe(|| callback(seen.library(), seen))).unwrap_or_else(|_| {
        if let Ok(mut notes) = seen.notes.try_borrow_mut() {
            let what = "a callback of the TLS library panicked";
            notes
                .failure
                .get_or_insert(Box::new(Error::Internal(what.to_owned())));
        }
        failed
    })
}

/// A length of OpenSSL's; what is negative is none.
pub(crate) fn length(told: c_int) -> usize {
    usize::try_from(told).unwrap_or(0)
}

/// Bytes that OpenSSL shows; it may point nowhere if there are none.
///
/// # Safety
///
/// There are so many, for as long as they are used.
pub(crate) unsafe fn bytes<'a>(at: *const c_uchar, size: usize) -> &'a [u8] {
    match size {
        0 => &[],
        // SAFETY: the caller's.
        size => unsafe { std::slice::from_raw_parts(at, size) },
    }
}
