//! Keys that are elsewhere, as OpenSSL asks for them: the functions of the provider (`provider`). A key is its
//! public half, of which OpenSSL's default provider tells everything, and a signer.
//!
//! What OpenSSL has of a key is a [`Slot`], which it gets of `new_*` and gives back to [`free`]; of a signature, a
//! [`Signature`]. Rules: a panic does not go on through OpenSSL; it fails. The reason of a signature that has
//! failed waits with the thread ([`take_failure`]) for the call of the connection to end: nothing of others
//! runs between the two.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_uchar, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, OnceLock};

use polytls_core::SignerFailure;
use polytls_core::config::Signer;

use crate::api::{self, OSSL_PARAM};
use crate::crypto::{Digest, Way};
use crate::library::{Library, loaded};
use crate::objects::PrivateKey;
use crate::provider::{SIGNATURE, key_of_parts};
use crate::scope::Scope;

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa,
    Ec,
    Ed25519,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::Rsa => c"RSA",
            Self::Ec => c"EC",
            Self::Ed25519 => c"ED25519",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Remote {
    public: PrivateKey,
    /// With the schemes that it signs by; `None`: a public key of somebody else's, to be compared with.
    signer: Option<(&'static Scope, Arc<dyn Signer>, Vec<u16>)>,
}

thread_local! {
    /// The key that [`import`] is to have.
    static OFFERED: RefCell<Option<Arc<Remote>>> = const { RefCell::new(None) };
    /// Why the last signature has failed.
    static FAILURE: Cell<Option<SignerFailure>> = const { Cell::new(None) };
}

/// Why a signer has not signed for the call that has just ended, if that is why it failed.
pub(crate) fn take_failure() -> Option<SignerFailure> {
    FAILURE.take()
}

impl Remote {
    pub(crate) fn new(
        scope: &'static Scope,
        public: PrivateKey,
        signer: Arc<dyn Signer>,
        schemes: Vec<u16>,
    ) -> Self {
        Self {
            public,
            signer: Some((scope, signer, schemes)),
        }
    }

    /// Runs `make`, in which OpenSSL imports this key. So no number or pointer stands for it that others could
    /// give.
    pub(crate) fn during_import<R>(self, make: impl FnOnce() -> R) -> R {
        OFFERED.set(Some(Arc::new(self)));
        let made = make();
        OFFERED.take();
        made
    }

    /// Signs `message`, and looks whether that was done: it would otherwise be the peer who finds out, and a
    /// faulty RSA signature can give the key away.
    fn sign(&self, message: &[u8], way: Way) -> Result<Vec<u8>, SignerFailure> {
        let failure = |message: &str| SignerFailure {
            message: message.to_owned(),
            cause: None,
        };
        let scheme = way.scheme();
        let (scope, signer, _) = self
            .signer
            .as_ref()
            .filter(|(_, _, schemes)| schemes.contains(&scheme))
            .ok_or_else(|| failure("it has no algorithm that OpenSSL would sign by"))?;
        let signature = signer.sign(message, scheme)?;
        // What it has called of OpenSSL may have left something.
        scope.clean();
        let verified = way.verifies(scope, &self.public, message, &signature);
        scope.clean();
        if verified && signature.len() <= self.public.longest_signature() {
            Ok(signature)
        } else {
            Err(SignerFailure::of_signature())
        }
    }
}

// --- key management ---

/// A key of OpenSSL's.
pub(crate) struct Slot {
    kind: Kind,
    remote: OnceLock<Arc<Remote>>,
}

/// Runs a function of the provider's; `failed`: what OpenSSL is told if it panics.
fn guarded<R>(failed: R, run: impl FnOnce(&'static Library) -> Option<R>) -> R
where
    R: Copy,
{
    let Some(library) = loaded() else {
        return failed;
    };
    catch_unwind(AssertUnwindSafe(|| run(library)))
        .ok()
        .flatten()
        .unwrap_or(failed)
}

fn new(kind: Kind) -> *mut Slot {
    Box::into_raw(Box::new(Slot {
        kind,
        remote: OnceLock::new(),
    }))
}

pub(crate) unsafe extern "C" fn new_rsa(_: *mut c_void) -> *mut Slot {
    new(Kind::Rsa)
}

pub(crate) unsafe extern "C" fn new_ec(_: *mut c_void) -> *mut Slot {
    new(Kind::Ec)
}

pub(crate) unsafe extern "C" fn new_ed25519(_: *mut c_void) -> *mut Slot {
    new(Kind::Ed25519)
}

pub(crate) unsafe extern "C" fn free(slot: *mut Slot) {
    guarded((), |_| {
        if !slot.is_null() {
            // SAFETY: it is from `new`, and OpenSSL gives each back once.
            drop(unsafe { Box::from_raw(slot) });
        }
        Some(())
    });
}

/// The key in a slot.
///
/// # Safety
///
/// `slot` is null, or from `new` and not freed during the call.
unsafe fn remote<'a>(slot: *const Slot) -> Option<&'a Arc<Remote>> {
    // SAFETY: the caller's.
    unsafe { slot.as_ref() }?.remote.get()
}

pub(crate) unsafe extern "C" fn has(slot: *const Slot, selection: c_int) -> c_int {
    guarded(0, |_| {
        // SAFETY: OpenSSL has called with a slot.
        let remote = unsafe { remote(slot) }?;
        let private = selection & api::KEYMGMT_SELECT_PRIVATE_KEY != 0;
        Some(c_int::from(!private || remote.signer.is_some()))
    })
}

/// Whether two keys have the same public half, or the same group.
pub(crate) unsafe extern "C" fn matches(
    one: *const Slot,
    other: *const Slot,
    selection: c_int,
) -> c_int {
    guarded(0, |library| {
        // SAFETY: OpenSSL has called with slots, whose keys are there as long.
        let same = unsafe {
            let (one, other) = (remote(one)?.public.as_ptr(), remote(other)?.public.as_ptr());
            let keys = api::KEYMGMT_SELECT_PRIVATE_KEY | api::KEYMGMT_SELECT_PUBLIC_KEY;
            if selection & keys == 0 {
                library.EVP_PKEY_parameters_eq(one, other)
            } else {
                library.EVP_PKEY_eq(one, other)
            }
        };
        Some(c_int::from(same == 1))
    })
}

/// Takes the key that is offered to this thread; without one, the public key of these parts, as which OpenSSL
/// shows the key of a certificate that it compares.
pub(crate) unsafe extern "C" fn import(
    slot: *mut Slot,
    _: c_int,
    parts: *const OSSL_PARAM,
) -> c_int {
    guarded(0, |library| {
        // SAFETY: OpenSSL has called with a slot.
        let slot = unsafe { slot.as_ref() }?;
        let offered = OFFERED.take();
        let remote = match offered {
            Some(remote) => remote,
            None => {
                let selection = api::KEYMGMT_SELECT_PUBLIC_KEY | api::KEYMGMT_SELECT_ALL_PARAMETERS;
                let (context, parts) = (ptr::null_mut(), parts.cast_mut());
                let public = key_of_parts(library, context, slot.kind, selection, parts)?;
                Arc::new(Remote {
                    public,
                    signer: None,
                })
            }
        };
        slot.remote.set(remote).ok()?;
        Some(1)
    })
}

/// What the default provider tells of the public half: it is the same for both halves.
pub(crate) unsafe extern "C" fn get_params(slot: *mut Slot, wanted: *mut OSSL_PARAM) -> c_int {
    guarded(0, |library| {
        // SAFETY: OpenSSL has called with a slot, and with a list that has an end.
        unsafe {
            let public = remote(slot)?.public.as_ptr();
            Some(library.EVP_PKEY_get_params(public, wanted))
        }
    })
}

pub(crate) unsafe extern "C" fn query_operation_name(_: c_int) -> *const c_char {
    SIGNATURE.as_ptr()
}

// --- parameters (core_names.h) ---

/// A list of parameters that OpenSSL reads.
pub(crate) struct Parameters<const N: usize>([OSSL_PARAM; N]);

// SAFETY: it is never changed: it has names and types, and no data.
unsafe impl<const N: usize> Sync for Parameters<N> {}

const fn parameter(key: &'static CStr, data_type: u32) -> OSSL_PARAM {
    OSSL_PARAM {
        key: key.as_ptr(),
        data_type,
        data: ptr::null_mut(),
        data_size: 0,
        return_size: api::PARAM_UNMODIFIED,
    }
}

const PAD_MODE: &CStr = c"pad-mode";
const SALT_LENGTH: &CStr = c"saltlen";

static TOLD: Parameters<7> = Parameters([
    parameter(c"bits", api::PARAM_INTEGER),
    parameter(c"security-bits", api::PARAM_INTEGER),
    parameter(c"max-size", api::PARAM_INTEGER),
    parameter(c"group", api::PARAM_UTF8_STRING),
    parameter(c"default-digest", api::PARAM_UTF8_STRING),
    parameter(c"mandatory-digest", api::PARAM_UTF8_STRING),
    OSSL_PARAM::END,
]);
static PARTS: Parameters<5> = Parameters([
    parameter(c"n", api::PARAM_UNSIGNED_INTEGER),
    parameter(c"e", api::PARAM_UNSIGNED_INTEGER),
    parameter(c"group", api::PARAM_UTF8_STRING),
    parameter(c"pub", api::PARAM_OCTET_STRING),
    OSSL_PARAM::END,
]);
static SETTABLE: Parameters<3> = Parameters([
    parameter(PAD_MODE, api::PARAM_UTF8_STRING),
    parameter(SALT_LENGTH, api::PARAM_UTF8_STRING),
    OSSL_PARAM::END,
]);

pub(crate) unsafe extern "C" fn gettable_params(_: *mut c_void) -> *const OSSL_PARAM {
    TOLD.0.as_ptr()
}

pub(crate) unsafe extern "C" fn import_types(_: c_int) -> *const OSSL_PARAM {
    PARTS.0.as_ptr()
}

pub(crate) unsafe extern "C" fn settable_ctx_params(
    _: *mut c_void,
    _: *mut c_void,
) -> *const OSSL_PARAM {
    SETTABLE.0.as_ptr()
}

/// The value of a parameter, in one form: numbers may come as text.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(i64),
}

/// # Safety
///
/// `parameter` is one of OpenSSL's, with its data.
unsafe fn value(parameter: &OSSL_PARAM) -> Option<Value> {
    let data: *const u8 = parameter.data.cast_const().cast();
    if data.is_null() {
        return None;
    }
    // SAFETY: there are so many bytes.
    let data = unsafe { std::slice::from_raw_parts(data, parameter.data_size) };
    match parameter.data_type {
        api::PARAM_UTF8_STRING => {
            // The null byte behind it is not always counted.
            let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = std::str::from_utf8(text).ok()?;
            Some(
                text.parse()
                    .map_or_else(|_| Value::Text(text.to_owned()), Value::Number),
            )
        }
        api::PARAM_INTEGER => match *data {
            [a, b, c, d] => Some(Value::Number(i32::from_ne_bytes([a, b, c, d]).into())),
            [a, b, c, d, e, f, g, h] => {
                Some(Value::Number(i64::from_ne_bytes([a, b, c, d, e, f, g, h])))
            }
            _ => None,
        },
        _ => None,
    }
}

// --- signatures ---

/// A signature that is to be made.
pub(crate) struct Signature {
    remote: Option<Arc<Remote>>,
    way: Way,
}

pub(crate) unsafe extern "C" fn new_signature(_: *mut c_void, _: *const c_char) -> *mut Signature {
    Box::into_raw(Box::new(Signature {
        remote: None,
        way: Way::Whole,
    }))
}

pub(crate) unsafe extern "C" fn free_signature(signature: *mut Signature) {
    guarded((), |_| {
        if !signature.is_null() {
            // SAFETY: it is from `new_signature`, and OpenSSL gives each back once.
            drop(unsafe { Box::from_raw(signature) });
        }
        Some(())
    });
}

/// Begins a signature. Which digests a key can sign with, libssl finds out by this, too.
pub(crate) unsafe extern "C" fn digest_sign_init(
    signature: *mut Signature,
    digest: *const c_char,
    slot: *mut Slot,
    parameters: *const OSSL_PARAM,
) -> c_int {
    guarded(0, |_| {
        // SAFETY: OpenSSL has called with what `new_signature` has made, which one thread uses at a time; with
        // a slot; and with a text or null.
        let (signature, slot, digest) = unsafe {
            let digest = (!digest.is_null()).then(|| CStr::from_ptr(digest));
            (signature.as_mut()?, slot.as_ref()?, digest)
        };
        let digest = digest.and_then(Digest::named);
        let remote = slot.remote.get()?;
        let (_, _, schemes) = remote.signer.as_ref()?;
        let ways = match slot.kind {
            Kind::Rsa => vec![Way::Pkcs1(digest?), Way::Pss(digest?)],
            Kind::Ec => vec![Way::Ecdsa(digest?)],
            Kind::Ed25519 => vec![Way::Whole],
        };
        if !ways.iter().any(|way| schemes.contains(&way.scheme())) {
            return None;
        }
        signature.remote = Some(Arc::clone(remote));
        signature.way = ways[0];
        // SAFETY: OpenSSL has called with a list that has an end, or with null.
        unsafe { set(signature, parameters) }
    })
}

pub(crate) unsafe extern "C" fn set_ctx_params(
    signature: *mut Signature,
    parameters: *const OSSL_PARAM,
) -> c_int {
    // SAFETY: as in `digest_sign_init`.
    guarded(0, |_| unsafe { set(signature.as_mut()?, parameters) })
}

/// # Safety
///
/// `parameters` is null, or a list of OpenSSL's that has an end.
unsafe fn set(signature: &mut Signature, parameters: *const OSSL_PARAM) -> Option<c_int> {
    let mut next = parameters;
    // SAFETY: the caller's; the list goes on until there is no key.
    while let Some(parameter) = unsafe { next.as_ref() }
        && !parameter.key.is_null()
    {
        // SAFETY: a key is a text, and the data goes with it.
        let (key, value) = unsafe { (CStr::from_ptr(parameter.key), value(parameter)) };
        let digest = match signature.way {
            Way::Pkcs1(digest) | Way::Pss(digest) => Some(digest),
            Way::Ecdsa(_) | Way::Whole => None,
        };
        if key == PAD_MODE {
            signature.way = match value? {
                Value::Text(text) if text == "pss" => Way::Pss(digest?),
                Value::Text(text) if text == "pkcs1" => Way::Pkcs1(digest?),
                Value::Number(number) if number == api::RSA_PKCS1_PSS_PADDING.into() => {
                    Way::Pss(digest?)
                }
                Value::Number(1) => Way::Pkcs1(digest?),
                _ => return None,
            };
        } else if key == SALT_LENGTH {
            // As long as the digest, which is what TLS has (RFC 8446 section 4.2.3).
            match value? {
                Value::Text(text) if text == "digest" => {}
                Value::Number(number) if number == api::RSA_PSS_SALTLEN_DIGEST.into() => {}
                Value::Number(number) if usize::try_from(number) == Ok(digest?.size()) => {}
                _ => return None,
            }
        }
        // SAFETY: the list has not come to its end.
        next = unsafe { next.add(1) };
    }
    Some(1)
}

/// Signs a message as a whole; without a place for the signature it tells the most bytes that one may have.
pub(crate) unsafe extern "C" fn digest_sign(
    signature: *mut Signature,
    into: *mut c_uchar,
    length: *mut usize,
    most: usize,
    message: *const c_uchar,
    message_length: usize,
) -> c_int {
    guarded(0, |_| {
        // SAFETY: OpenSSL has called with what `digest_sign_init` has begun.
        let signature = unsafe { signature.as_ref() }?;
        let remote = signature.remote.as_ref()?;
        if into.is_null() {
            // SAFETY: OpenSSL gives a place for it.
            unsafe { *length = remote.public.longest_signature() };
            return Some(1);
        }
        let message = match message_length {
            0 => &[],
            // SAFETY: there are so many bytes.
            length => unsafe { std::slice::from_raw_parts(message, length) },
        };
        match remote.sign(message, signature.way) {
            Ok(made) if made.len() <= most => {
                // SAFETY: there is room for so many bytes, and a place for their count.
                unsafe {
                    ptr::copy_nonoverlapping(made.as_ptr(), into, made.len());
                    *length = made.len();
                }
                Some(1)
            }
            Ok(_) => None,
            Err(failure) => {
                FAILURE.set(Some(failure));
                None
            }
        }
    })
}
