//! What a verifier, resolver or session store sees of the connection it is called for.
//!
//! rustls calls all of them on the thread that calls the connection, before that call returns. So
//! a scope of the thread, opened around each call, belongs to exactly one connection. Where the call
//! runs the application's code, the scope is set aside ([`outside`]): that code may use connections of
//! its own, and other calls of this thread may begin and end before it comes back.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use polytls_core::messages::Messages;
use polytls_core::{CertificateFailure, Shown, SignerFailure, Stapled, fork};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;

use crate::ech::Sent;
use crate::hello::ServerHello;
use crate::lineage::{Last, Lineage, Number, Place, Remake, ToOffer};
use crate::sealing::Sealed;
use crate::secrets::{Exporter, HandshakeSecrets};
use polytls_core::Counters;

/// One connection's view, kept by its session and lent to the thread for each call; boxed, as it
/// goes to and fro with every record.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The name in ClientHello (servers).
    pub(crate) server_name: Option<String>,
    /// Where its sessions belong (clients).
    pub(crate) place: Option<Arc<Place>>,
    /// The line of tickets that it begins or goes on with (clients).
    pub(crate) line: Option<Number>,
    /// The session that was named for it, or that was asked of it (clients).
    pub(crate) lineage: Option<Arc<Lineage>>,
    /// The last ticket that came to it, until a lineage keeps that (clients).
    pub(crate) last: Option<Box<Last>>,
    /// The bytes of the message that a ticket is in, which is about to be kept (clients).
    pub(crate) ticket_length: Option<usize>,
    /// What a store is to give for a session that is named.
    pub(crate) to_offer: Option<Box<ToOffer>>,
    /// A value for a ticket is being made anew.
    pub(crate) remake: Option<Box<Remake>>,
    /// Why the peer's certificate was refused.
    pub(crate) refusal: Option<CertificateFailure>,
    /// The path by which it was accepted, from the leaf to the anchor.
    pub(crate) verified_chain: Option<Vec<Vec<u8>>>,
    /// The OCSP response that was stapled (clients).
    pub(crate) staple: Option<Box<Stapled>>,
    /// The client verifies no signature that our keys can make (servers).
    pub(crate) no_key_fits: bool,
    /// Until when sessions of this connection may be resumed, in seconds since 1970, where that is
    /// known by now.
    pub(crate) sessions_end: Option<u64>,
    /// Why our key has not signed.
    pub(crate) signer_failure: Option<SignerFailure>,
    /// What is sent of Encrypted ClientHello (clients).
    pub(crate) ech: Option<Sent>,
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
    /// What it seals with, as long as rustls protects the records.
    pub(crate) sealing: Option<Sealed>,
    /// What TLS 1.2 needs besides.
    pub(crate) server_hello: Option<ServerHello>,
    /// The encrypted messages of the handshake, until that is complete.
    pub(crate) passing: Option<Box<Passing>>,
}

/// Messages as they are opened and sealed.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    ours: Messages,
    theirs: Messages,
    /// The whole ones that the session has not taken yet.
    pub(crate) found: Vec<Shown>,
}

impl Passing {
    /// A record of them was opened, or is about to be sealed.
    pub(crate) fn take(&mut self, is_ours: bool, content: &[u8]) {
        let messages = if is_ours {
            &mut self.ours
        } else {
            &mut self.theirs
        };
        let found = &mut self.found;
        messages.take(content, |message| found.push(Shown { is_ours, message }));
    }
}

impl Observed {
    /// The connection is over: nothing is exported or sealed any more. All of these wipe what they hold.
    pub(crate) fn forget_keys(&mut self) {
        self.exporter = None;
        self.handshake_secrets = None;
        self.sealing = None;
    }

    /// The name in ClientHello, on either side; addresses are never asked for (RFC 6066 section 3).
    pub(crate) fn name_in_hello(&self) -> Option<String> {
        match self.place.as_deref().map(Place::asked) {
            Some(ServerName::DnsName(name)) => Some(name.as_ref().to_owned()),
            Some(_) => None,
            None => self.server_name.clone(),
        }
    }
}

/// What a thread is in the middle of, and whose it is.
struct Current {
    owner: u64,
    observed: Box<Observed>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
    static OWNERS: Cell<u64> = const { Cell::new(0) };
}

/// Ends the scope, whatever ends the call.
struct Scope<'a> {
    owner: u64,
    observed: &'a mut Option<Box<Observed>>,
    before: Option<Current>,
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        let current = CURRENT.replace(self.before.take());
        // Of nobody else: a connection that does not know is better than one that is told another's.
        *self.observed = current
            .filter(|current| current.owner == self.owner)
            .map(|current| current.observed);
    }
}

/// Runs `call`, which is into rustls, with `observed` open to [`note`] and [`look`].
///
/// # Panics
///
/// If another call's scope is found afterwards: the application's code ran outside of [`outside`].
pub(crate) fn observing<R>(observed: &mut Option<Box<Observed>>, call: impl FnOnce() -> R) -> R {
    let owner = OWNERS.get() + 1;
    OWNERS.set(owner);
    let lent = observed.take().unwrap_or_default();
    let before = CURRENT.replace(Some(Current {
        owner,
        observed: lent,
    }));
    let _scope = Scope {
        owner,
        observed,
        before,
    };
    let _call = fork::undivided();
    let result = call();
    let found = CURRENT.with_borrow(|current| current.as_ref().map(|current| current.owner));
    assert_eq!(found, Some(owner), "the scopes of calls are out of order");
    result
}

/// Runs the application's code in the middle of a call. What it does on this thread, calls of other
/// connections and switches to other stacks (greenlets) included, leaves the call's scope untouched.
pub fn outside<R>(call: impl FnOnce() -> R) -> R {
    struct Back(Option<Current>);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _back = Back(CURRENT.take());
    call()
}

/// Changes what was observed of the connection that is being called.
pub(crate) fn note<R>(change: impl FnOnce(&mut Observed) -> R) -> Option<R> {
    CURRENT.with_borrow_mut(|current| {
        current
            .as_mut()
            .map(|current| change(&mut current.observed))
    })
}

/// Looks at what is known of the connection that is being called.
pub(crate) fn look<R>(ask: impl FnOnce(&Observed) -> R) -> Option<R> {
    CURRENT.with_borrow(|current| current.as_ref().map(|current| ask(&current.observed)))
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

    #[test]
    fn the_application_sees_no_scope_and_leaves_it_alone() {
        let mut one = None;
        observing(&mut one, || {
            note(|seen| seen.server_name = Some("one".into()));
            outside(|| {
                assert_eq!(look(|_| ()), None);
                // As greenlets do it: another call's scope is there when this one comes back.
                CURRENT.set(Some(Current {
                    owner: u64::MAX,
                    observed: Box::default(),
                }));
            });
            let seen = look(|seen| seen.server_name.clone());
            assert_eq!(seen, Some(Some("one".into())));
        });
        assert_eq!(name(&one), Some("one"));
        assert_eq!(look(|_| ()), None);
    }

    #[test]
    fn a_scope_out_of_order_is_a_fault_and_gives_nobody_anothers() {
        let mut one = None;
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            observing(&mut one, || {
                CURRENT.set(Some(Current {
                    owner: u64::MAX,
                    observed: Box::new(Observed {
                        server_name: Some("another".into()),
                        ..Observed::default()
                    }),
                }));
            });
        }));
        assert!(caught.is_err());
        assert_eq!(name(&one), None);
        assert_eq!(look(|_| ()), None);
    }
}
