//! What a verifier, resolver or session store sees of the connection it is called for.
//!
//! rustls calls all of them on the thread that calls the connection, before that call returns. So
//! a scope of the thread, opened around each call, belongs to exactly one connection. Scopes nest:
//! a verifier may use another connection of its own.

use std::cell::RefCell;
use std::sync::Arc;

use polytls_core::{CertificateFailure, SignerFailure, fork};
use rustls::sign::CertifiedKey;

use crate::resumption::Counters;
use crate::secrets::{Exporter, HandshakeSecrets, ServerHello};

/// One connection's view, kept by its session and lent to the thread for each call; boxed, as it
/// goes to and fro with every record.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The name in ClientHello.
    pub(crate) server_name: Option<String>,
    /// Why the peer's certificate was refused.
    pub(crate) refusal: Option<CertificateFailure>,
    /// The path by which it was accepted, from the leaf to the anchor.
    pub(crate) verified_chain: Option<Vec<Vec<u8>>>,
    /// The client verifies no signature that our keys can make (servers).
    pub(crate) no_key_fits: bool,
    /// The port sessions are remembered by (clients); `None` keeps no session.
    pub(crate) session_key: Option<SessionKey>,
    /// Until when sessions of this connection may be resumed, in seconds since 1970, where that is
    /// known by now.
    pub(crate) sessions_end: Option<u64>,
    /// Why our key has not signed.
    pub(crate) signer_failure: Option<SignerFailure>,
    /// There was a session to offer (clients).
    pub(crate) offers_session: bool,
    /// Where it is counted how the handshake ended; taken by then.
    pub(crate) counters: Option<Arc<Counters>>,
    /// The chain that was chosen (servers).
    pub(crate) identity: Option<Arc<CertifiedKey>>,
    /// What keying material is exported from.
    pub(crate) exporter: Option<Box<Exporter>>,
    /// What its handshake is protected with, where that is of interest (servers, `early.rs`).
    pub(crate) handshake_secrets: Option<Box<HandshakeSecrets>>,
    /// What TLS 1.2 needs besides.
    pub(crate) server_hello: Option<ServerHello>,
}

/// What besides the name sessions are remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey(pub(crate) Option<u16>);

thread_local! {
    #[allow(clippy::vec_box, reason = "boxed by its session already, and given back to it")]
    static SCOPES: RefCell<Vec<Box<Observed>>> = const { RefCell::new(Vec::new()) };
}

/// Ends the scope, whatever ends the call.
struct Scope<'a>(&'a mut Option<Box<Observed>>);

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        *self.0 = SCOPES.with_borrow_mut(Vec::pop);
    }
}

/// Runs `call`, which is into rustls, with `observed` open to [`note`] and [`look`].
pub(crate) fn observing<R>(observed: &mut Option<Box<Observed>>, call: impl FnOnce() -> R) -> R {
    let lent = observed.take().unwrap_or_default();
    SCOPES.with_borrow_mut(|scopes| scopes.push(lent));
    let _scope = Scope(observed);
    let _call = fork::undivided();
    call()
}

/// Changes what was observed of the connection that is being called.
pub(crate) fn note(change: impl FnOnce(&mut Observed)) {
    SCOPES.with_borrow_mut(|scopes| scopes.last_mut().map(|seen| change(seen)));
}

/// Looks at what is known of the connection that is being called.
pub(crate) fn look<R>(ask: impl FnOnce(&Observed) -> R) -> Option<R> {
    SCOPES.with_borrow(|scopes| scopes.last().map(|seen| ask(seen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(observed: &Option<Box<Observed>>) -> Option<&str> {
        observed.as_ref()?.server_name.as_deref()
    }

    #[test]
    fn scopes_nest_and_outlive_a_panic() {
        let mut outer = None;
        observing(&mut outer, || {
            note(|seen| seen.server_name = Some("outer".into()));
            let mut inner = None;
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                observing(&mut inner, || {
                    note(|seen| seen.server_name = Some("inner".into()));
                    panic!("on purpose");
                });
            }));
            assert!(caught.is_err());
            assert_eq!(name(&inner), Some("inner"));
            assert_eq!(
                look(|seen| seen.server_name.clone()),
                Some(Some("outer".into()))
            );
        });
        assert_eq!(name(&outer), Some("outer"));
        assert_eq!(look(|_| ()), None);
    }
}
