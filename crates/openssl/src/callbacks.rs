//! What OpenSSL calls during a handshake, but for what is about sessions (`tickets`, `store`).

use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_void};
use std::sync::Arc;

use polytls_core::config::Version;
use polytls_core::messages::{CLIENT_HELLO, Message, SERVER_HELLO};
use polytls_core::pki_types::{CertificateDer, UnixTime};
use polytls_core::{Alert, CertificateFailure, Shown, VerificationFailure};
use polytls_verdict::{Case, Judge, No, Verdict};

use crate::api::{self, SSL, X509_STORE_CTX};
use crate::blame::verify_error;
use crate::compression;
use crate::ech;
use crate::hello::{Hello, certificates};
use crate::library::{Library, loaded};
use crate::objects::{certificate_der, items, name_der};
use crate::seen::{Presented, Seen, called};

/// The most time between a full handshake and the last that resumes it, by however many tickets in a
/// row (RFC 8446 section 4.6.1).
pub(crate) const A_WEEK: u64 = 7 * 24 * 60 * 60;

const CERTIFICATE: u8 = 11;
const FATAL: u8 = 2;

/// Messages as they go by: `SSL_CTX_set_msg_callback(3)`.
pub(crate) unsafe extern "C" fn message(
    sent: c_int,
    _: c_int,
    kind: c_int,
    content: *const c_void,
    size: usize,
    ssl: *mut SSL,
    _: *mut c_void,
) {
    // SAFETY: OpenSSL has called with this connection, and with a message of so many bytes.
    unsafe {
        called(ssl, (), |library, seen| {
            if size == 0 || (kind != api::RT_HANDSHAKE && kind != api::RT_ALERT) {
                return;
            }
            let content = std::slice::from_raw_parts(content.cast::<u8>(), size);
            if kind == api::RT_HANDSHAKE && is_encrypted(content, version(library, ssl)) {
                let is_ours = sent != 0;
                let shown = Message::of(content).map(|message| Shown { is_ours, message });
                seen.note().shown.extend(shown);
            }
            match (kind, sent != 0, content) {
                (api::RT_ALERT, false, [FATAL, alert, ..]) => {
                    seen.note().alert = Some(Alert(*alert));
                }
                (api::RT_ALERT, true, [FATAL, alert, ..]) => {
                    seen.note().sent_alert = Some(Alert(*alert));
                }
                (api::RT_HANDSHAKE, false, [CLIENT_HELLO, ..]) => {
                    seen.note().hello = Hello::read(content).map(Box::new);
                }
                (api::RT_HANDSHAKE, false, [CERTIFICATE, ..]) => {
                    let chain = certificates(content, version(library, ssl) == Version::Tls13);
                    let chain = chain.filter(|chain| !chain.is_empty()).map(|chain| {
                        let chain = chain.into_iter().map(CertificateDer::from);
                        Presented::new(chain.collect())
                    });
                    seen.note().presented = chain;
                }
                _ => {}
            }
        });
    }
}

/// Whether this message of a handshake is sent encrypted: all but the hellos; in TLS 1.2, Finished alone.
fn is_encrypted(message: &[u8], version: Version) -> bool {
    const FINISHED: u8 = 20;
    match message.first() {
        Some(&(CLIENT_HELLO | SERVER_HELLO)) => false,
        Some(&kind) => version == Version::Tls13 || kind == FINISHED,
        None => false,
    }
}

/// The version that was agreed on.
unsafe fn version(library: &Library, ssl: *const SSL) -> Version {
    // SAFETY: the caller's connection.
    if unsafe { library.SSL_version(ssl) } == 0x0304 {
        Version::Tls13
    } else {
        Version::Tls12
    }
}

/// Which identity is presented: `SSL_CTX_set_cert_cb(3)`.
pub(crate) unsafe extern "C" fn choose(ssl: *mut SSL, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL has called with this connection.
    unsafe {
        called(ssl, 0, |library, seen| {
            let context = &seen.context;
            let version = version(library, ssl);
            let chosen = if context.is_server {
                let notes = seen.notes();
                let suites = &context.effective.cipher_suites;
                let hello = notes.hello.as_ref();
                hello.and_then(|hello| context.identities.for_client(hello, version, suites))
            } else {
                let issuers = items(library, library.SSL_get0_peer_CA_list(ssl));
                let issuers = issuers
                    .into_iter()
                    .map(|name| name_der(library, name.cast()));
                let schemes = schemes(library, ssl);
                let identities = &context.identities;
                identities.for_server(&issuers.collect::<Vec<_>>(), &schemes, version)
            };
            seen.note().identity = chosen;
            let one = chosen.and_then(|index| context.identities.get(index));
            // The context has the only one.
            if one.is_none() || context.identities.all().len() > 1 {
                library.SSL_certs_clear(ssl);
                // Without one OpenSSL finds nothing in common with the client, and says handshake_failure.
                let Some(one) = one else { return 1 };
                let (leaf, key, chain) = (one.leaf.as_ptr(), one.key.as_ptr(), one.chain.as_ptr());
                if library.SSL_use_cert_and_key(ssl, leaf, key, chain, 1) != 1 {
                    return 0;
                }
            }
            let forms = one.map_or(&[][..], |one| &one.compressed);
            c_int::from(compression::present(library, ssl, forms))
        })
    }
}

/// The signature schemes that the peer knows.
unsafe fn schemes(library: &Library, ssl: *mut SSL) -> Vec<u16> {
    let at = |index: c_int| {
        let none = std::ptr::null_mut;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the caller's connection, and a place for either byte.
        let count = unsafe {
            library.SSL_get_sigalgs(
                ssl,
                index,
                none(),
                none(),
                none(),
                &raw mut low,
                &raw mut high,
            )
        };
        (count, u16::from_be_bytes([high, low]))
    };
    let (count, _) = at(0);
    (0..count).map(|index| at(index).1).collect()
}

/// Whether the peer's certificate is accepted: `SSL_CTX_set_cert_verify_callback(3)`.
pub(crate) unsafe extern "C" fn verify(store: *mut X509_STORE_CTX, _: *mut c_void) -> c_int {
    let Some(library) = loaded() else { return 0 };
    // SAFETY: OpenSSL has called with what belongs to a connection, whose number is this.
    let ssl: *mut SSL = unsafe {
        let index = library.SSL_get_ex_data_X509_STORE_CTX_idx();
        library.X509_STORE_CTX_get_ex_data(store, index).cast()
    };
    // SAFETY: that is the connection.
    unsafe {
        called(ssl, 0, |library, seen| {
            let chain = seen.notes().presented.clone();
            // It has gone by as a message. (With compressed certificates it has not.)
            let chain = chain.unwrap_or_else(|| {
                let chain = items(library, library.X509_STORE_CTX_get0_untrusted(store));
                let chain = chain.into_iter();
                Arc::new(
                    chain
                        .map(|one| certificate_der(library, one.cast()).into())
                        .collect(),
                )
            });
            seen.note().presented = Some(Arc::clone(&chain));
            seen.note().rejected = seen.public_name.is_some() && !ech::was_accepted(library, ssl);
            let verdict = judge(seen, &chain);
            // Its cryptography is OpenSSL's too.
            library.clean();
            match verdict {
                Ok(()) => {
                    library.X509_STORE_CTX_set_error(store, 0);
                    1
                }
                Err(mut failure) => {
                    if seen.notes().rejected {
                        failure.add(polytls_core::ech::JUDGED);
                    }
                    library.X509_STORE_CTX_set_error(store, verify_error(failure.reason));
                    seen.note().refusal = Some(failure);
                    0
                }
            }
        })
    }
}

/// Judges what the peer presents in this handshake: its sessions end with that.
fn judge(seen: &Seen, chain: &Presented) -> Result<(), Box<CertificateFailure>> {
    seen.note().judged = true;
    let Some(judge) = &seen.context.judge else {
        return Ok(());
    };
    let unseen = |reason, said: &str| {
        let no = No::new(reason, said.to_owned());
        Box::new(judge.refuse_unseen(&no))
    };
    let Some(now) = seen.context.clock.now() else {
        let said = "this machine's clock is not set";
        return Err(unseen(VerificationFailure::Other, said));
    };
    let Some(case) = Case::of(chain, seen.name_to_verify(), now) else {
        return Err(unseen(VerificationFailure::NoCertificate, ""));
    };
    let verdict = judge.verify(&case)?;
    if judge.heeds_staples() {
        // TLS 1.2 has it in a message of its own, which comes later: see `stapled`.
        seen.note().pending = Some(Box::new(verdict));
        return Ok(());
    }
    judge.ask(&case, verdict.path.as_deref())?;
    accept(seen, chain, verdict, now);
    Ok(())
}

/// Notes what the peer was accepted by.
fn accept(seen: &Seen, chain: &Presented, verdict: Verdict, now: UnixTime) {
    let latest = now.as_secs().saturating_add(A_WEEK);
    let mut notes = seen.note();
    notes.end = Some(verdict.ends.unwrap_or(u64::MAX).min(latest));
    notes.staple = verdict.staple;
    if let Some(path) = verdict.path {
        let (chain, path) = seen.context.last.shared(Arc::clone(chain), path);
        notes.presented = Some(chain);
        notes.verified = Some(path);
    }
}

/// Whether what the server has stapled, or that it has stapled nothing, is accepted:
/// `SSL_CTX_set_tlsext_status_cb(3)` on a client. OpenSSL calls when the server's flight has come as a whole, before
/// it answers, and also if a session is resumed. It answers any refusal with bad_certificate_status_response, which
/// `amend_alert` changes.
pub(crate) unsafe extern "C" fn stapled(ssl: *mut SSL, _: *mut c_void) -> c_int {
    const REFUSED: c_int = 0;
    const ACCEPTED: c_int = 1;
    // SAFETY: OpenSSL has called with this connection; the response is lent.
    unsafe {
        called(ssl, REFUSED, |library, seen| {
            let pending = seen.note().pending.take();
            let (Some(verdict), Some(judge)) = (pending, &seen.context.judge) else {
                return ACCEPTED;
            };
            let mut response: *const c_uchar = std::ptr::null();
            let command = api::CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP;
            let size = library.SSL_ctrl(ssl, command, 0, (&raw mut response).cast());
            let size = usize::try_from(size).unwrap_or(0);
            let response = (!response.is_null() && size > 0)
                .then(|| std::slice::from_raw_parts(response, size));
            let decided = judge_staple(seen, judge, *verdict, response);
            library.clean();
            match decided {
                Ok(()) => ACCEPTED,
                Err(mut failure) => {
                    if seen.notes().rejected {
                        failure.add(polytls_core::ech::JUDGED);
                    }
                    seen.note().refusal = Some(failure);
                    REFUSED
                }
            }
        })
    }
}

fn judge_staple(
    seen: &Seen,
    judge: &Judge,
    verdict: Verdict,
    response: Option<&[u8]>,
) -> Result<(), Box<CertificateFailure>> {
    let chain = seen.peer(false);
    let name = seen.name_to_verify();
    let now = seen.context.clock.now();
    let Some((case, now)) = now.and_then(|now| Some((Case::of(&chain, name, now)?, now))) else {
        let said = "this machine's clock is not set".to_owned();
        let no = No::new(VerificationFailure::Other, said);
        return Err(Box::new(judge.refuse_unseen(&no)));
    };
    let verdict = judge.stapled(&case, verdict, response)?;
    judge.ask(&case, verdict.path.as_deref())?;
    accept(seen, &chain, verdict, now);
    Ok(())
}

/// Judges the peer of a session that is resumed, by the chain that it began with: the verdict on that is
/// not asked for again, but the caller's own verifier is.
pub(crate) fn judge_resumed(seen: &Seen) -> Result<(), Box<CertificateFailure>> {
    let Some(judge) = seen
        .context
        .judge
        .as_ref()
        .filter(|judge| judge.asks_verifier())
    else {
        return Ok(());
    };
    let chain = seen.peer(true);
    let name = seen.host.as_ref().map(|host| host.as_server_name());
    let Some(now) = seen.context.clock.now() else {
        let said = "this machine's clock is not set".to_owned();
        let no = No::new(VerificationFailure::Other, said);
        return Err(Box::new(judge.refuse_unseen(&no)));
    };
    // A client that has presented nothing is not asked about.
    match Case::of(&chain, name, now) {
        None => Ok(()),
        Some(case) => {
            let verdict = judge.judge(&case)?;
            seen.note().verified = verdict.path.map(Arc::new);
            Ok(())
        }
    }
}

/// Which application protocol is spoken: `SSL_CTX_set_alpn_select_cb(3)`; the first of ours that the client
/// speaks (RFC 7301 section 3.2).
pub(crate) unsafe extern "C" fn select_alpn(
    ssl: *mut SSL,
    selected: *mut *const c_uchar,
    selected_length: *mut c_uchar,
    offered: *const c_uchar,
    offered_length: c_uint,
    _: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL has called with this connection, with the client's list, and with places for the answer,
    // which lies within that list.
    unsafe {
        called(ssl, api::TLSEXT_ERR_ALERT_FATAL, |_, seen| {
            let count = usize::try_from(offered_length).unwrap_or(0);
            let offered = std::slice::from_raw_parts(offered, count);
            let ours = seen.context.alpn.iter();
            for wanted in ours {
                let mut rest = offered;
                while let Some((&size, after)) = rest.split_first() {
                    let Some((name, after)) = after.split_at_checked(usize::from(size)) else {
                        break;
                    };
                    if name == wanted.as_slice() {
                        *selected = name.as_ptr();
                        *selected_length = size;
                        return api::TLSEXT_ERR_OK;
                    }
                    rest = after;
                }
            }
            api::TLSEXT_ERR_ALERT_FATAL
        })
    }
}

/// What the issuer says of our certificate's revocation: `SSL_CTX_set_tlsext_status_cb(3)` on a server.
pub(crate) unsafe extern "C" fn staple(ssl: *mut SSL, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL has called with this connection; what it is given is memory of its own, which it frees.
    unsafe {
        called(ssl, api::TLSEXT_ERR_NOACK, |library, seen| {
            let identity = seen.notes().identity;
            let identity = identity.and_then(|index| seen.context.identities.get(index));
            let now = seen.context.clock.now().map_or(0, |now| now.as_secs());
            let identity = identity.filter(|one| one.ocsp_end.is_none_or(|end| now <= end));
            let Some(response) = identity.and_then(|one| one.ocsp_response.as_deref()) else {
                return api::TLSEXT_ERR_NOACK;
            };
            let Ok(size) = std::ffi::c_long::try_from(response.len()) else {
                return api::TLSEXT_ERR_NOACK;
            };
            let memory = library.CRYPTO_malloc(response.len(), c"polytls".as_ptr(), 0);
            if memory.is_null() {
                return api::TLSEXT_ERR_NOACK;
            }
            std::ptr::copy_nonoverlapping(response.as_ptr(), memory.cast(), response.len());
            let command = api::CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP;
            if library.SSL_ctrl(ssl, command, size, memory) != 1 {
                library.CRYPTO_free(memory, c"polytls".as_ptr(), 0);
                return api::TLSEXT_ERR_NOACK;
            }
            api::TLSEXT_ERR_OK
        })
    }
}

/// Secrets, for debugging: `SSL_CTX_set_keylog_callback(3)`.
pub(crate) unsafe extern "C" fn log_key(ssl: *const SSL, line: *const c_char) {
    // SAFETY: OpenSSL has called with this connection and a text.
    unsafe {
        called(ssl, (), |_, seen| {
            let Some(log) = &seen.context.key_log else {
                return;
            };
            let line = zeroize::Zeroizing::new(CStr::from_ptr(line).to_bytes().to_vec());
            let mut parts = line.split(|byte| *byte == b' ');
            let (label, random, secret) = (parts.next(), parts.next(), parts.next());
            let label = label.and_then(|label| std::str::from_utf8(label).ok());
            if let (Some(label), Some(random), Some(secret)) = (
                label,
                random.and_then(from_hex),
                secret.and_then(from_hex).map(zeroize::Zeroizing::new),
            ) {
                log.log(label, &random, &secret);
            }
        });
    }
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let pairs = text.chunks_exact(2);
    pairs
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect()
}

/// A session has come to a client: `SSL_CTX_sess_set_new_cb(3)`.
pub(crate) unsafe extern "C" fn received_session(
    ssl: *mut SSL,
    session: *mut api::SSL_SESSION,
) -> c_int {
    // SAFETY: OpenSSL has called with this connection, and with a reference, which is taken over.
    unsafe {
        called(ssl, 0, |library, seen| {
            let session = crate::objects::SslSession::new(library, session);
            seen.note().new_sessions.extend(session);
            1
        })
    }
}
