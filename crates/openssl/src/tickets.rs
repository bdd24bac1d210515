//! A server's tickets (RFC 5077, RFC 8446 section 4.6.1): OpenSSL encrypts the session, with keys from here.
//!
//! ```text
//! root    = HKDF-Extract("polytls session tickets for OpenSSL 1", secret)
//! bound   = HKDF-Expand(root, "bound" | binding)        what the server asks of clients
//! epoch   = the time, divided by the rotation
//! name    = epoch (4) | salt (6) | mark (6)              one for each ticket
//! mark    = HKDF-Expand(bound, "marks" | epoch | salt)   which secret it is of
//! keys    = HKDF-Expand(bound, "encrypts" | name), HKDF-Expand(bound, "authenticates" | name)
//! ticket  = name (16) | IV (16) | AES-256-CBC(session) | HMAC-SHA256
//! ```
//!
//! What OpenSSL does not keep of a session goes with it as application data ([`TicketState`]): when it was issued,
//! when it ends, the name it was asked for by, and what the client's chain has beyond the leaf.

use std::ffi::{c_int, c_uchar, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use polytls_core::Error;
use polytls_core::config::{Secret, TicketKeys};
use polytls_core::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::api::{self, EVP_CIPHER_CTX, EVP_MAC_CTX, OSSL_PARAM, SSL, SSL_SESSION};
use crate::callbacks::A_WEEK;
use crate::objects::certificate_der;
use crate::scope::Scope;
use crate::seen::{Before, Presented, Seen, called};

/// How far the clocks of servers may be apart.
const SKEW: u64 = 60;
/// How long a key of one context only is used; a ticket is accepted for twice as long.
const ROTATION: Duration = Duration::from_secs(6 * 3600);
/// The most bytes of a chain that goes into a ticket, which must fit into the next ClientHello with everything
/// else (RFC 8446 section 4.1.2).
const LONGEST_CHAIN: usize = 48 * 1024;

const KEY: usize = 32;
const NAME: usize = 16;
const EPOCH: usize = 4;
const MARK: usize = 6;
const IV: usize = 16;

/// What keys of tickets are derived from.
pub(crate) struct Tickets {
    /// The secret's key, then those of the secrets that are still accepted.
    bound: Vec<Zeroizing<[u8; KEY]>>,
    rotation: u64,
    pub(crate) lifetime: u64,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets")
    }
}

/// HKDF-Expand (RFC 5869 section 2.3) of one block.
fn expand(library: &Scope, key: &[u8], info: &[&[u8]]) -> Option<Zeroizing<[u8; KEY]>> {
    let info = [&info.concat()[..], &[1]].concat();
    library.hmac(key, &info).map(Zeroizing::new)
}

/// The keys of one ticket.
struct Keys {
    encryption: Zeroizing<[u8; KEY]>,
    authentication: Zeroizing<[u8; KEY]>,
}

impl Tickets {
    /// `keys`: those of a fleet, with what they are bound to; `None`: random ones of this context only.
    pub(crate) fn new(
        library: &Scope,
        keys: Option<(&TicketKeys, [u8; 32])>,
    ) -> Result<Self, Error> {
        let broken = || Error::Internal("ticket keys cannot be derived".to_owned());
        let (keys, binding) = match keys {
            Some((keys, binding)) => (keys.clone(), binding),
            None => {
                let mut secret = vec![0; KEY];
                if !library.random(&mut secret) {
                    return Err(broken());
                }
                let keys = TicketKeys {
                    secret: Secret::new(secret),
                    previous: None,
                    rotation: ROTATION,
                    lifetime: 2 * ROTATION,
                };
                (keys, [0; 32])
            }
        };
        if keys.rotation < Duration::from_secs(1) || keys.lifetime < Duration::from_secs(1) {
            return Err(Error::configuration(
                "ticket_keys",
                "rotation and lifetime must be at least 1 second",
            ));
        }
        let secrets = [Some(&keys.secret), keys.previous.as_ref()];
        let bound = secrets.into_iter().flatten().map(|secret| {
            let salt = b"polytls session tickets for OpenSSL 1";
            let root = library.hmac(salt, secret.bytes()).map(Zeroizing::new)?;
            expand(library, &*root, &[b"bound", &binding])
        });
        Ok(Self {
            bound: bound.collect::<Option<_>>().ok_or_else(broken)?,
            rotation: keys.rotation.as_secs(),
            lifetime: keys.lifetime.as_secs(),
        })
    }

    fn keys(library: &Scope, bound: &[u8; KEY], name: &[u8; NAME]) -> Option<Keys> {
        Some(Keys {
            encryption: expand(library, bound, &[b"encrypts", name])?,
            authentication: expand(library, bound, &[b"authenticates", name])?,
        })
    }

    fn mark(library: &Scope, bound: &[u8; KEY], name: &[u8; NAME]) -> Option<[u8; MARK]> {
        let mark = expand(library, bound, &[b"marks", &name[..NAME - MARK]])?;
        mark.first_chunk().copied()
    }

    /// Makes a name, and the keys that go with it.
    fn seal(&self, library: &Scope, now: u64, name: &mut [u8; NAME]) -> Option<Keys> {
        let bound = self.bound.first()?;
        let epoch = (now / self.rotation).to_be_bytes();
        let (front, mark) = name.split_at_mut(NAME - MARK);
        front[..EPOCH].copy_from_slice(&epoch[epoch.len() - EPOCH..]);
        if !library.random(&mut front[EPOCH..]) {
            return None;
        }
        mark.fill(0);
        let mark = Self::mark(library, bound, name)?;
        name[NAME - MARK..].copy_from_slice(&mark);
        Self::keys(library, bound, name)
    }

    /// The keys of the secret that the name is of.
    fn open(&self, library: &Scope, name: &[u8; NAME]) -> Option<Keys> {
        let of_it = |bound: &&Zeroizing<[u8; KEY]>| {
            Self::mark(library, bound, name).is_some_and(|mark| name.ends_with(&mark))
        };
        let bound = self.bound.iter().find(of_it)?;
        Self::keys(library, bound, name)
    }
}

/// What goes with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TicketState {
    issued: u64,
    end: u64,
    /// The name in ClientHello.
    name: Option<String>,
    chain: Presented,
}

impl TicketState {
    /// Of the connection whose session it is; `None` if that must not be resumed.
    pub(crate) fn of(seen: &Seen, resumed: bool) -> Option<Self> {
        let now = seen.context.clock.now()?.as_secs();
        let chain = seen.peer(resumed);
        let size: usize = chain.iter().map(|der| der.len() + 4).sum();
        let notes = seen.notes();
        let name = notes.hello.as_ref().and_then(|hello| hello.name.clone());
        drop(notes);
        let end = seen.sessions_end(resumed);
        let end = end.unwrap_or(now.saturating_add(A_WEEK));
        (size <= LONGEST_CHAIN).then_some(Self {
            issued: now,
            end,
            name,
            chain,
        })
    }

    /// As bytes, without the leaf, which OpenSSL keeps itself.
    fn write(&self) -> Vec<u8> {
        let name = self.name.as_deref().unwrap_or_default();
        // A name has at most 64 KiB, as it came in an extension.
        let size = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let mut data = [
            &self.issued.to_be_bytes()[..],
            &self.end.to_be_bytes(),
            &size.to_be_bytes(),
            name.as_bytes(),
        ]
        .concat();
        for der in self.chain.iter().skip(1) {
            data.extend(u32::try_from(der.len()).unwrap_or(u32::MAX).to_be_bytes());
            data.extend_from_slice(der);
        }
        data
    }

    /// What [`Self::write`] has written; `None` if it is something else. `leaf`: that of the session.
    fn read(data: &[u8], leaf: Option<Vec<u8>>) -> Option<Self> {
        let (issued, data) = data.split_first_chunk::<8>()?;
        let (end, data) = data.split_first_chunk::<8>()?;
        let (size, data) = data.split_first_chunk::<2>()?;
        let (name, mut data) = data.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        let mut chain: Vec<_> = leaf.into_iter().map(CertificateDer::from).collect();
        while !data.is_empty() {
            let (size, rest) = data.split_first_chunk::<4>()?;
            let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
            let (der, rest) = rest.split_at_checked(size)?;
            chain.push(CertificateDer::from(der.to_vec()));
            data = rest;
        }
        let name = std::str::from_utf8(name).ok()?;
        Some(Self {
            issued: u64::from_be_bytes(*issued),
            end: u64::from_be_bytes(*end),
            name: (!name.is_empty()).then(|| name.to_owned()),
            chain: Arc::new(chain),
        })
    }

    /// Whether the connection may resume the session, which it then notes. The name must be the same (RFC
    /// 6066 section 3).
    pub(crate) fn goes_on(&self, seen: &Seen, lifetime: u64) -> bool {
        let Some(now) = seen.context.clock.now().map(|now| now.as_secs()) else {
            return false;
        };
        let mut notes = seen.note();
        let name = notes.hello.as_ref().and_then(|hello| hello.name.as_deref());
        let same = match (name, self.name.as_deref()) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        };
        let in_time = now <= self.end
            && self.issued <= now.saturating_add(SKEW)
            && now.saturating_sub(self.issued) <= lifetime;
        if same && in_time {
            notes.before = Some(Before {
                chain: Arc::clone(&self.chain),
                end: self.end,
            });
        }
        same && in_time
    }
}

/// A ticket is about to be made: `SSL_CTX_set_session_ticket_cb(3)`.
pub(crate) unsafe extern "C" fn made(ssl: *mut SSL, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL has called with this connection, which has a session by now.
    unsafe {
        called(ssl, 0, |library, seen| {
            let resumed = library.SSL_session_reused(ssl) == 1;
            let kept = TicketState::of(seen, resumed);
            if kept.is_some() {
                seen.context.counters.stored();
            }
            // With nothing the ticket is worth nothing: `read` passes it over.
            let data = kept.map(|kept| kept.write()).unwrap_or_default();
            let session = library.SSL_get_session(ssl);
            let size = data.len();
            library.SSL_SESSION_set1_ticket_appdata(session, data.as_ptr().cast(), size)
        })
    }
}

/// A ticket was opened, or not: the same manual page.
pub(crate) unsafe extern "C" fn read(
    ssl: *mut SSL,
    session: *mut SSL_SESSION,
    _: *const c_uchar,
    _: usize,
    status: c_int,
    _: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL has called with this connection; there is a session if it says that it has opened one.
    unsafe {
        called(ssl, 0, |library, seen| {
            let opened = matches!(status, api::TICKET_SUCCESS | api::TICKET_SUCCESS_RENEW);
            let kept = opened.then(|| kept_in(library, session)).flatten();
            let lifetime = seen.context.tickets.as_ref().map_or(0, |own| own.lifetime);
            let goes_on = kept.is_some_and(|kept| kept.goes_on(seen, lifetime));
            if opened || status == api::TICKET_NO_DECRYPT {
                seen.context.counters.looked_for(goes_on);
            }
            if goes_on {
                api::TICKET_RETURN_USE_RENEW
            } else {
                api::TICKET_RETURN_IGNORE_RENEW
            }
        })
    }
}

/// What went with a session.
unsafe fn kept_in(library: &Scope, session: *mut SSL_SESSION) -> Option<TicketState> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the caller's session, whose data is lent.
    unsafe {
        let told = library.SSL_SESSION_get0_ticket_appdata(session, &raw mut data, &raw mut size);
        if told != 1 || data.is_null() {
            return None;
        }
        let peer = library.SSL_SESSION_get0_peer(session);
        let leaf = (!peer.is_null()).then(|| certificate_der(library, peer));
        TicketState::read(std::slice::from_raw_parts(data.cast::<u8>(), size), leaf)
    }
}

/// The keys of a ticket that is made (`seals`) or read: `SSL_CTX_set_tlsext_ticket_key_evp_cb(3)`.
pub(crate) unsafe extern "C" fn keys(
    ssl: *mut SSL,
    name: *mut c_uchar,
    iv: *mut c_uchar,
    cipher: *mut EVP_CIPHER_CTX,
    mac: *mut EVP_MAC_CTX,
    seals: c_int,
) -> c_int {
    /// The manual page's answers.
    const ERROR: c_int = -1;
    const NO_KEY: c_int = 0;
    const DONE: c_int = 1;

    // SAFETY: OpenSSL has called with this connection, with memory for a name and an IV, or those of a ticket, and
    // with contexts that are to be given keys.
    unsafe {
        called(ssl, ERROR, |library, seen| {
            let (Some(tickets), Some(now)) = (&seen.context.tickets, seen.context.clock.now())
            else {
                return NO_KEY;
            };
            let name = &mut *name.cast::<[u8; NAME]>();
            let iv = &mut *iv.cast::<[u8; IV]>();
            if seals != 0 {
                let keys = tickets.seal(library, now.as_secs(), name);
                let keys = keys.filter(|_| library.random(iv));
                let given = keys.is_some_and(|keys| give(library, &keys, iv, cipher, mac, true));
                return if given { DONE } else { ERROR };
            }
            match tickets.open(library, name) {
                Some(keys) if give(library, &keys, iv, cipher, mac, false) => DONE,
                Some(_) => ERROR,
                None => NO_KEY,
            }
        })
    }
}

/// Gives the keys to OpenSSL's contexts.
unsafe fn give(
    library: &Scope,
    keys: &Keys,
    iv: &[u8; IV],
    cipher: *mut EVP_CIPHER_CTX,
    mac: *mut EVP_MAC_CTX,
    seals: bool,
) -> bool {
    let parameter =
        |key: &'static std::ffi::CStr, data_type, data: *const u8, data_size| OSSL_PARAM {
            key: key.as_ptr(),
            data_type,
            data: data.cast_mut().cast(),
            data_size,
            return_size: api::PARAM_UNMODIFIED,
        };
    let digest = b"SHA256\0";
    let parameters = [
        parameter(
            c"key",
            api::PARAM_OCTET_STRING,
            keys.authentication.as_ptr(),
            KEY,
        ),
        parameter(c"digest", api::PARAM_UTF8_STRING, digest.as_ptr(), 6),
        OSSL_PARAM::END,
    ];
    let algorithm = library.aes_256_cbc();
    let (key, iv) = (keys.encryption.as_ptr(), iv.as_ptr());
    // SAFETY: the caller's contexts; parameters, key and IV are read.
    unsafe {
        !algorithm.is_null()
            && library.EVP_MAC_CTX_set_params(mac, parameters.as_ptr()) == 1
            && if seals {
                library.EVP_EncryptInit_ex(cipher, algorithm, ptr::null_mut(), key, iv)
            } else {
                library.EVP_DecryptInit_ex(cipher, algorithm, ptr::null_mut(), key, iv)
            } == 1
    }
}

#[cfg(test)]
mod tests {
    use polytls_conformance::cost;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn library() -> &'static Scope {
        let library = crate::library::load().expect("OpenSSL");
        Scope::of(library, &crate::Options::default()).expect("a scope")
    }

    fn tickets(library: &Scope, secret: u8, previous: Option<u8>) -> Tickets {
        let bytes = |byte| Secret::new(vec![byte; KEY]);
        let keys = TicketKeys {
            secret: bytes(secret),
            previous: previous.map(bytes),
            rotation: Duration::from_secs(3600),
            lifetime: Duration::from_secs(6 * 3600),
        };
        Tickets::new(library, Some((&keys, [0; 32]))).expect("keys")
    }

    fn sealed(library: &Scope, tickets: &Tickets, now: u64) -> ([u8; NAME], Keys) {
        let mut name = [0; NAME];
        let keys = tickets.seal(library, now, &mut name).expect("keys");
        (name, keys)
    }

    fn opens(library: &Scope, tickets: &Tickets, name: &[u8; NAME], keys: &Keys) -> bool {
        let found = tickets.open(library, name);
        found.is_some_and(|found| {
            found.encryption == keys.encryption && found.authentication == keys.authentication
        })
    }

    #[test]
    fn keys_are_those_of_the_secret_and_the_previous_one_whatever_the_time() {
        let library = library();
        let [one, same, other] = [1, 1, 2].map(|secret| tickets(library, secret, None));
        let both = tickets(library, 2, Some(1));
        for hours in [0, 1, 7] {
            let (name, keys) = sealed(library, &one, NOW + hours * 3600);
            assert!(opens(library, &same, &name, &keys));
            assert!(opens(library, &both, &name, &keys));
            assert!(!opens(library, &other, &name, &keys));
        }
        let (name, _) = sealed(library, &one, NOW);
        let (next, _) = sealed(library, &one, NOW + 3600);
        assert_ne!(name[..EPOCH], next[..EPOCH]);
    }

    #[test]
    #[ignore = "prints figures of docs/fleets.md, which says how to run it"]
    fn what_a_ticket_costs() {
        let library = library();
        let server = tickets(library, 1, Some(2));
        let [current, previous] = [1, 2].map(|secret| tickets(library, secret, None));
        let [own, old] = [&current, &previous].map(|it| sealed(library, it, NOW));
        cost("openssl", "the secret's key, once for each context", || {
            tickets(library, 1, None).bound.len() == 1
        });
        cost("openssl", "the keys of a ticket that is made", || {
            sealed(library, &server, NOW).0 != own.0
        });
        cost("openssl", "the keys of a ticket that is opened", || {
            opens(library, &server, &own.0, &own.1)
        });
        cost("openssl", "the keys of one of the previous secret", || {
            opens(library, &server, &old.0, &old.1)
        });
    }
}
