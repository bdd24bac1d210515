//! Keys and certificates by URI: what OpenSSL's providers have for a scheme (ossl_store(7)), in the scope's library
//! context: of the default one the system's configuration says which providers there are.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int, c_ulong, c_void};
use std::ptr;
use std::sync::Arc;

use polytls_core::config::{Key, Signer as _, Version};
use polytls_core::pki_types::CertificateDer;
use polytls_core::{IdFailure, IdReason};
use polytls_x509::summarize;

use crate::api::{self, OSSL_STORE_CTX};
use crate::identity::Kind;
use crate::objects::{Certificate, PrivateKey, certificate_der};
use crate::opened::{Opened, provider};
use crate::scope::Scope;
use crate::ui::{self, Silence};

/// What is in front of a URI that OpenSSL is to have, though its scheme is somebody else's here: `pkcs11:`.
const FOR_OPENSSL: &[u8] = b"store:";
/// How many objects of a store are looked at.
const MOST: usize = 1000;

/// Whether `id` is a URI that a store may have.
///
/// # Errors
///
/// [`IdFailure`].
pub(crate) fn check(id: &[u8]) -> Result<CString, IdFailure> {
    let given = id.strip_prefix(FOR_OPENSSL).unwrap_or(id);
    let scheme = given.iter().position(|byte| *byte == b':');
    let scheme = scheme.map_or(&[][..], |end| &given[..end]);
    // RFC 3986 section 3.1. What has no scheme OpenSSL takes for the name of a file.
    let formed = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    let uri = CString::new(given).ok().filter(|_| formed);
    uri.ok_or_else(|| IdFailure {
        reason: IdReason::Invalid,
        message: "an id is a URI: pkcs11: (RFC 7512), or one of a scheme that a provider of OpenSSL has, such as \
                  handle: or file:"
            .to_owned(),
    })
}

fn scheme(uri: &CStr) -> &[u8] {
    let uri = uri.to_bytes();
    uri.split(|byte| *byte == b':').next().unwrap_or_default()
}

/// What a message says of it: the rest may hold a PIN.
fn shown(uri: &CStr) -> String {
    format!("{}: URI", String::from_utf8_lossy(scheme(uri)))
}

/// A store that was opened.
struct Store {
    scope: &'static Scope,
    open: *mut OSSL_STORE_CTX,
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { self.scope.OSSL_STORE_close(self.open) };
    }
}

/// Takes what is of the kind `wanted` (`OSSL_STORE_INFO_*`) out of the store that `uri` names.
fn load<T>(
    scope: &'static Scope,
    uri: &CStr,
    wanted: c_int,
    take: impl Fn(*const api::OSSL_STORE_INFO) -> Option<T>,
) -> Result<Vec<T>, IdFailure> {
    let looked = look(scope, uri, wanted, take)?;
    if looked.found.is_empty() && (looked.asked || looked.failed) {
        return Err(why(scope, uri, looked.asked));
    }
    scope.clean();
    if looked.found.is_empty() && scheme(uri) == b"pkcs11" {
        refuses_pin(scope, uri, wanted)?;
    }
    Ok(looked.found)
}

/// pkcs11-provider drops the error of a login (p11prov_pop_error_to_mark in store.c), so that nothing is found by a
/// wrong PIN. It then asks for one: it does not give a token the same wrong PIN again. The second look has no PIN in
/// its URI, so that no version of it can.
fn refuses_pin(scope: &'static Scope, uri: &CStr, wanted: c_int) -> Result<(), IdFailure> {
    let Ok(uri) = CString::new(without_pin(uri.to_bytes())) else {
        return Ok(());
    };
    let looked = look(scope, &uri, wanted, |_| Some(()))?;
    scope.clean();
    // What is found now is found by another PIN: that of the configuration.
    if looked.asked || !looked.found.is_empty() {
        return Err(IdFailure {
            reason: IdReason::WrongPin,
            message: format!("the token does not accept the PIN for this {}", shown(&uri)),
        });
    }
    Ok(())
}

/// A URI of RFC 7512 without `pin-value` and `pin-source`.
fn without_pin(uri: &[u8]) -> Vec<u8> {
    let Some(end) = uri.iter().position(|byte| *byte == b'?') else {
        return uri.to_vec();
    };
    let (path, query) = (&uri[..end], &uri[end + 1..]);
    let is_pin = |part: &&[u8]| part.starts_with(b"pin-value=") || part.starts_with(b"pin-source=");
    let rest: Vec<&[u8]> = query
        .split(|byte| *byte == b'&')
        .filter(|part| !is_pin(part))
        .collect();
    if rest.is_empty() {
        path.to_vec()
    } else {
        [path, &rest.join(&b'&')].join(&b'?')
    }
}

/// What one look into a store has come to.
struct Looked<T> {
    found: Vec<T>,
    /// Whether a PIN or a password was asked for.
    asked: bool,
    /// Whether there are errors in the queue.
    failed: bool,
}

/// Opens the store that `uri` names, and takes what is of the kind `wanted`.
fn look<T>(
    scope: &'static Scope,
    uri: &CStr,
    wanted: c_int,
    take: impl Fn(*const api::OSSL_STORE_INFO) -> Option<T>,
) -> Result<Looked<T>, IdFailure> {
    scope.clean();
    ui::take_asked();
    let silence = Silence::new(scope).ok_or_else(|| failure(scope, uri))?;
    let none = ptr::null_mut::<c_void>();
    // SAFETY: the text is read, and the method is there for ever; the rest is not used.
    let found = unsafe {
        let open = scope.OSSL_STORE_open_ex(
            uri.as_ptr(),
            scope.context,
            scope.properties(),
            silence.method(),
            none,
            ptr::null(),
            none,
            none,
        );
        if open.is_null() {
            return Err(failure(scope, uri));
        }
        let store = Store { scope, open };
        scope.OSSL_STORE_expect(open, wanted);
        taken(&store, wanted, take)
    };
    // One object that cannot be read is none of those that can.
    Ok(Looked {
        found,
        asked: ui::take_asked(),
        // SAFETY: it may be called at any time.
        failed: unsafe { scope.ERR_peek_error() } != 0,
    })
}

/// # Safety
///
/// The store is open.
unsafe fn taken<T>(
    store: &Store,
    wanted: c_int,
    take: impl Fn(*const api::OSSL_STORE_INFO) -> Option<T>,
) -> Vec<T> {
    let (scope, open) = (store.scope, store.open);
    let mut found = Vec::new();
    for _ in 0..MOST {
        // SAFETY: the store is open; what it gives is freed.
        unsafe {
            let object = scope.OSSL_STORE_load(open);
            if !object.is_null() {
                if scope.OSSL_STORE_INFO_get_type(object) == wanted {
                    found.extend(take(object));
                }
                scope.OSSL_STORE_INFO_free(object);
            } else if scope.OSSL_STORE_eof(open) == 1 || scope.OSSL_STORE_error(open) == 1 {
                break;
            }
        }
    }
    found
}

/// The private key that a URI names. One that is not OpenSSL's own signs once by each scheme of its kind, so that
/// what is wrong shows now. `leaf`: the certificate that it is for, in DER.
///
/// # Errors
///
/// [`IdFailure`].
pub(crate) fn private_key(
    scope: &'static Scope,
    id: &[u8],
    leaf: Option<&[u8]>,
) -> Result<Key, IdFailure> {
    let uri = check(id)?;
    let mut found = load(scope, &uri, api::STORE_INFO_PKEY, |object| {
        // SAFETY: it is a private key, to which this is a reference.
        PrivateKey::new(scope, unsafe { scope.OSSL_STORE_INFO_get1_PKEY(object) })
    })?;
    let count = found.len();
    let Some(provider) = found.first().and_then(|key| provider(scope, key)) else {
        return Err(none(&uri, "private key"));
    };
    if OWN.contains(&provider.as_c_str()) {
        return match found.pop() {
            Some(key) if found.is_empty() => Ok(Key::Opened(Arc::new(key))),
            _ => Err(several(&uri, "private keys", count)),
        };
    }
    if scheme(&uri) == b"handle" {
        // All keys of a handle share an object of tpm2-openssl 1.1, which is gone with the first of them.
        found.iter().for_each(PrivateKey::keep);
    }
    let public_key = leaf.and_then(|leaf| summarize(leaf).ok());
    let public_key = public_key.map(|leaf| leaf.spki).unwrap_or_default();
    let public = PrivateKey::read_public(scope, &public_key);
    scope.clean();
    let kind = public.as_ref().and_then(Kind::of);
    let (Some(public), Some(kind)) = (public, kind) else {
        return Err(unusable(&uri, "is for a certificate that cannot be used"));
    };
    let schemes = kind.schemes(Version::Tls12);
    let mut signers = Vec::new();
    let failed = RefCell::new(None);
    for key in found.into_iter().filter(|key| key.kind() == public.kind()) {
        let opened = Opened::new(scope, key, &provider, public_key.clone(), schemes.to_vec());
        let tried = opened.map(|opened| {
            ui::take_asked();
            opened.tried(&public, || {
                let why = why(scope, &uri, ui::take_asked());
                let goes_on = !matches!(
                    why.reason,
                    IdReason::WrongPin | IdReason::NoPin | IdReason::PinLocked
                );
                failed.borrow_mut().get_or_insert(why);
                goes_on
            })
        });
        signers.extend(tried.filter(|opened| !opened.schemes().is_empty()));
    }
    // pkcs11-provider finds the copies that it makes of a key in its sessions, too: they are one key.
    let is_one = signers.len() == count;
    match signers.into_iter().next() {
        Some(signer) if is_one => Ok(Key::Signer(Arc::new(signer))),
        _ if count > 1 => Err(several(&uri, "private keys", count)),
        _ => Err(failed
            .take()
            .unwrap_or_else(|| unusable(&uri, "does not belong to the certificate of the leaf"))),
    }
}

/// Providers whose keys are in memory.
const OWN: [&CStr; 3] = [c"default", c"base", c"fips"];

fn unusable(uri: &CStr, why: &str) -> IdFailure {
    IdFailure {
        reason: IdReason::Unusable,
        message: format!("the private key of this {} {why}", shown(uri)),
    }
}

/// The certificates that a URI names: of a file, all that are in it.
///
/// # Errors
///
/// [`IdFailure`].
pub(crate) fn certificates(
    scope: &'static Scope,
    id: &[u8],
) -> Result<Vec<CertificateDer<'static>>, IdFailure> {
    let uri = check(id)?;
    let found = load(scope, &uri, api::STORE_INFO_CERT, |object| {
        // SAFETY: it is a certificate, to which this is a reference, which lives during the second call.
        unsafe {
            let certificate = scope.OSSL_STORE_INFO_get1_CERT(object);
            let certificate = Certificate::new(scope, certificate)?;
            Some(certificate_der(scope, certificate.as_ptr()).into())
        }
    })?;
    match found.len() {
        0 => Err(none(&uri, "certificate")),
        1 => Ok(found),
        _ if uri.to_bytes().starts_with(b"file:") => Ok(found),
        count => Err(several(&uri, "certificates", count)),
    }
}

fn none(uri: &CStr, what: &str) -> IdFailure {
    IdFailure {
        reason: IdReason::NotFound,
        message: format!(
            "OpenSSL finds no {what} by this {}{}",
            shown(uri),
            // Of this pkcs11-provider 1.0 says nothing, and asks for nothing.
            if scheme(uri) == b"pkcs11" {
                ", or the token has locked its PIN"
            } else {
                ""
            }
        ),
    }
}

fn several(uri: &CStr, what: &str, count: usize) -> IdFailure {
    IdFailure {
        reason: IdReason::Several,
        message: format!(
            "OpenSSL finds {count} {what} by this {}; name one of them",
            shown(uri)
        ),
    }
}

fn failure(scope: &'static Scope, uri: &CStr) -> IdFailure {
    why(scope, uri, ui::take_asked())
}

/// What the queue of errors says. `asked`: whether a PIN or a password was asked for.
fn why(scope: &'static Scope, uri: &CStr, asked: bool) -> IdFailure {
    let is_file = scheme(uri) == b"file";
    let mut codes: Vec<c_ulong> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    // Not for messages: they may hold the URI, and that a PIN.
    let mut details: Vec<String> = Vec::new();
    loop {
        // SAFETY: they may be called at any time; the text is a constant, or a provider's, which stays loaded.
        unsafe {
            let (mut data, mut flags, nowhere) = (ptr::null(), 0, ptr::null_mut());
            let code = scope.ERR_get_error_all(
                nowhere,
                ptr::null_mut(),
                nowhere,
                &raw mut data,
                &raw mut flags,
            );
            if code == 0 {
                break;
            }
            // Each URI is tried as the name of a file first.
            if !is_file && (code == UNREGISTERED_SCHEME || code & SYSTEM != 0) {
                continue;
            }
            codes.push(code);
            let text = scope.ERR_reason_error_string(code);
            if !text.is_null() {
                let text = CStr::from_ptr(text).to_string_lossy().into_owned();
                if !words.contains(&text) {
                    words.push(text);
                }
            }
            if flags & api::TXT_STRING != 0 && !data.is_null() {
                details.push(CStr::from_ptr(data).to_string_lossy().into_owned());
            }
        }
    }
    scope.clean();
    let uri = shown(uri);
    let said = words.join("; ");
    let (reason, message) = if !is_file && codes.contains(&NO_LOADER) {
        (
            IdReason::NoProvider,
            format!(
                "OpenSSL has no provider for this {uri}; its configuration file (openssl.cnf) names the \
                 providers"
            ),
        )
    } else if codes.contains(&(SYSTEM | 2)) {
        let what = "there is no such file";
        (IdReason::NotFound, format!("{what}: a {uri}"))
    } else if asked {
        let what = "a PIN or password is wanted, and there is none";
        (IdReason::NoPin, format!("{what} for this {uri}"))
    } else if details.iter().any(|text| text.contains(LOCKED)) {
        let what = "it takes no PIN or password for now, after too many wrong ones";
        (IdReason::PinLocked, format!("{what}: a {uri}"))
    } else if is_wrong_pin(&words) || is_wrong_pin(&details) {
        let what = "the PIN or password is wrong";
        (IdReason::WrongPin, format!("{what} for this {uri}: {said}"))
    } else if words.iter().any(|text| text == NO_HANDLE) {
        let what = "OpenSSL finds nothing by this";
        (IdReason::NotFound, format!("{what} {uri}: {said}"))
    } else if words.is_empty() {
        let what = "OpenSSL finds nothing by this";
        (IdReason::NotFound, format!("{what} {uri}"))
    } else {
        let what = "OpenSSL cannot use this";
        (IdReason::Failed, format!("{what} {uri}: {said}"))
    };
    IdFailure { reason, message }
}

/// `OSSL_STORE_R_UNREGISTERED_SCHEME`, which is said of `file` wherever that is tried.
const UNREGISTERED_SCHEME: c_ulong = api::LIB_STORE << 23 | 105;
/// `ERR_R_UNSUPPORTED`: no provider has the scheme.
const NO_LOADER: c_ulong = api::LIB_STORE << 23 | 0x8010c;
/// `ERR_SYSTEM_FLAG`: the rest is the number of a system's error.
const SYSTEM: c_ulong = 0x8000_0000;

/// TPM_RC_LOCKOUT in words.
const LOCKED: &str = "lockout";
/// What tpm2-openssl says of a handle that is not there.
const NO_HANDLE: &str = "cannot load key";

/// By the words of providers, whose numbers are their own: pkcs11-provider (CKR_PIN_INCORRECT and its like),
/// tpm2-openssl (TPM_RC_AUTH_FAIL), and the default one for files.
fn is_wrong_pin(words: &[String]) -> bool {
    let said = |text: &str, parts: &[&str]| parts.iter().all(|part| text.contains(part));
    words.iter().any(|text| {
        let text = text.to_ascii_lowercase();
        said(&text, &["pin", "incorrect"])
            || said(&text, &["pin", "invalid"])
            || said(&text, &["auth", "fail"])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uri_and_store_leaves_the_rest_to_openssl() {
        for (id, uri) in [
            (&b"handle:0x81000001"[..], c"handle:0x81000001"),
            (b"store:pkcs11:token=web", c"pkcs11:token=web"),
            (b"store:file:/key.pem", c"file:/key.pem"),
            (b"file:/key.pem", c"file:/key.pem"),
        ] {
            assert_eq!(check(id).as_deref(), Ok(uri));
        }
        for id in [
            &b""[..],
            b"key.pem",
            b":",
            b"store:",
            b"/a:b",
            b"1a:b",
            b"a b:c",
            b"a:\0",
        ] {
            let refused = check(id).expect_err("no URI");
            assert_eq!(refused.reason, IdReason::Invalid, "{id:?}");
        }
    }

    #[test]
    fn a_uri_without_its_pin_keeps_the_rest() {
        for (uri, rest) in [
            ("pkcs11:object=a", "pkcs11:object=a"),
            ("pkcs11:object=a?pin-value=1", "pkcs11:object=a"),
            ("pkcs11:object=a?pin-source=file:/pin", "pkcs11:object=a"),
            (
                "pkcs11:a?module-name=m&pin-value=1&x=pin-value=",
                "pkcs11:a?module-name=m&x=pin-value=",
            ),
        ] {
            let kept = without_pin(uri.as_bytes());
            assert_eq!(String::from_utf8_lossy(&kept), rest);
        }
    }

    #[test]
    fn a_wrong_pin_is_known_by_the_words_of_providers() {
        let wrong = |text: &str| is_wrong_pin(&[text.to_owned()]);
        assert!(wrong("The specified PIN is incorrect"));
        assert!(wrong(
            "-1:2446 tpm:session(1):authorization failure without DA implications"
        ));
        assert!(!wrong("cannot sign"));
        assert!(!wrong("No such file or directory"));
    }
}
