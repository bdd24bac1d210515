//! OpenSSL's objects, each freed by its owner. They count their references with atomic operations, so that
//! they may be used and freed on any thread.

use std::ffi::{c_long, c_void};
use std::ptr::{self, NonNull};

use crate::api::{EVP_PKEY, EVP_PKEY_CTX, OPENSSL_STACK, SSL_CTX, SSL_SESSION, X509, X509_NAME};
use crate::library::Library;
use crate::scope::Scope;

macro_rules! owned {
    ($($(#[$doc:meta])* $name:ident($object:ident) freed by $free:ident;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name {
                library: &'static Library,
                object: NonNull<$object>,
            }

            // SAFETY: see the module.
            unsafe impl Send for $name {}
            // SAFETY: as above; what changes it takes it by its pointer, and says why it may.
            unsafe impl Sync for $name {}

            impl $name {
                /// Takes over a reference; `None` for null.
                pub(crate) fn new(library: &'static Library, object: *mut $object) -> Option<Self> {
                    NonNull::new(object).map(|object| Self { library, object })
                }

                pub(crate) fn as_ptr(&self) -> *mut $object {
                    self.object.as_ptr()
                }
            }

            impl Drop for $name {
                fn drop(&mut self) {
                    // SAFETY: the reference is ours.
                    unsafe { self.library.$free(self.object.as_ptr()) };
                }
            }

            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(stringify!($name))
                }
            }
        )*
    };
}

owned! {
    /// A certificate.
    Certificate(X509) freed by X509_free;
    /// A key, private or public.
    PrivateKey(EVP_PKEY) freed by EVP_PKEY_free;
    /// A kind of key, of which one is to be made.
    KeyContext(EVP_PKEY_CTX) freed by EVP_PKEY_CTX_free;
    /// What connections are made of.
    SslContext(SSL_CTX) freed by SSL_CTX_free;
    /// A session that can be resumed.
    SslSession(SSL_SESSION) freed by SSL_SESSION_free;
}

/// How much of it there is, as OpenSSL takes it.
pub(crate) fn length(der: &[u8]) -> c_long {
    c_long::try_from(der.len()).unwrap_or(c_long::MAX)
}

impl Certificate {
    /// Reads one certificate, which must be all of `der`.
    pub(crate) fn read(scope: &'static Scope, der: &[u8]) -> Option<Self> {
        let mut at = der.as_ptr();
        // SAFETY: a new certificate of the scope; it reads `der`, and no further, and frees what it cannot read.
        let read = unsafe {
            let mut one = scope.X509_new_ex(scope.context, scope.properties());
            if one.is_null() {
                return None;
            }
            scope.d2i_X509(&raw mut one, &raw mut at, length(der))
        };
        Self::new(scope, read).filter(|_| at == der.as_ptr_range().end)
    }

    /// The bits of security of its key and of its signature; `None` if OpenSSL knows neither.
    pub(crate) fn security(&self) -> Option<(i32, i32)> {
        let mut bits = 0;
        // SAFETY: the certificate is ours, and so is its key; there is a place for the answer.
        unsafe {
            let key = self.library.X509_get0_pubkey(self.as_ptr());
            let told = self.library.X509_get_signature_info(
                self.as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                &raw mut bits,
                ptr::null_mut(),
            );
            (!key.is_null() && told == 1)
                .then(|| (self.library.EVP_PKEY_get_security_bits(key), bits))
        }
    }
}

impl PrivateKey {
    /// Reads a private key in any of its encodings.
    pub(crate) fn read(scope: &'static Scope, der: &[u8]) -> Option<Self> {
        let mut at = der.as_ptr();
        // SAFETY: it reads `der`, and no further.
        let read = unsafe {
            scope.d2i_AutoPrivateKey_ex(
                ptr::null_mut(),
                &raw mut at,
                length(der),
                scope.context,
                scope.properties(),
            )
        };
        Self::new(scope, read)
    }

    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn read_public(scope: &'static Scope, der: &[u8]) -> Option<Self> {
        let mut at = der.as_ptr();
        // SAFETY: as above.
        let read = unsafe {
            scope.d2i_PUBKEY_ex(
                ptr::null_mut(),
                &raw mut at,
                length(der),
                scope.context,
                scope.properties(),
            )
        };
        Self::new(scope, read).filter(|_| at == der.as_ptr_range().end)
    }

    /// What kind of key it is (`EVP_PKEY_*`).
    pub(crate) fn kind(&self) -> i32 {
        // SAFETY: the key is ours.
        unsafe { self.library.EVP_PKEY_get_base_id(self.as_ptr()) }
    }

    /// Its size.
    pub(crate) fn bits(&self) -> i32 {
        // SAFETY: the key is ours.
        unsafe { self.library.EVP_PKEY_get_bits(self.as_ptr()) }
    }

    /// Keeps the key for ever.
    pub(crate) fn keep(&self) {
        // SAFETY: the key is ours; the reference is given up.
        unsafe { self.library.EVP_PKEY_up_ref(self.as_ptr()) };
    }

    /// How many bytes a signature with it has at most.
    pub(crate) fn longest_signature(&self) -> usize {
        // SAFETY: the key is ours.
        let told = unsafe { self.library.EVP_PKEY_get_size(self.as_ptr()) };
        usize::try_from(told).unwrap_or(0)
    }
}

impl SslSession {
    /// A copy that nobody else has.
    pub(crate) fn copy(&self) -> Option<Self> {
        // SAFETY: a session is not changed once it is there.
        let copy = unsafe { self.library.SSL_SESSION_dup(self.as_ptr()) };
        Self::new(self.library, copy)
    }

    /// Another reference to it.
    pub(crate) fn share(&self) -> Option<Self> {
        // SAFETY: the session is ours.
        let shared = unsafe { self.library.SSL_SESSION_up_ref(self.as_ptr()) == 1 };
        shared.then_some(Self {
            library: self.library,
            object: self.object,
        })
    }

    /// The same, but that no early data goes with it.
    pub(crate) fn without_early_data(self) -> Self {
        // SAFETY: the session is a copy that nobody else has.
        unsafe {
            self.library
                .SSL_SESSION_set_max_early_data(self.as_ptr(), 0);
        }
        self
    }

    pub(crate) fn is_tls13(&self) -> bool {
        // SAFETY: the session is ours.
        unsafe { self.library.SSL_SESSION_get_protocol_version(self.as_ptr()) == 0x0304 }
    }

    pub(crate) fn is_resumable(&self) -> bool {
        // SAFETY: the session is ours.
        unsafe { self.library.SSL_SESSION_is_resumable(self.as_ptr()) == 1 }
    }

    /// How many bytes its ticket has.
    pub(crate) fn ticket_length(&self) -> usize {
        let (mut ticket, mut length) = (ptr::null(), 0);
        // SAFETY: the session is ours; the ticket is not looked at.
        unsafe {
            self.library
                .SSL_SESSION_get0_ticket(self.as_ptr(), &raw mut ticket, &raw mut length);
        }
        length
    }

    /// Gives the reference away.
    pub(crate) fn into_raw(self) -> *mut SSL_SESSION {
        let raw = self.as_ptr();
        std::mem::forget(self);
        raw
    }
}

/// Certificates in the order they are sent in.
pub(crate) struct Chain {
    library: &'static Library,
    stack: NonNull<OPENSSL_STACK>,
    /// Whom the stack points to.
    certificates: Vec<Certificate>,
}

// SAFETY: as for each of the certificates; the stack is not changed.
unsafe impl Send for Chain {}
// SAFETY: as above.
unsafe impl Sync for Chain {}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.certificates).finish()
    }
}

impl Chain {
    /// `None` without memory.
    pub(crate) fn new(library: &'static Library, certificates: Vec<Certificate>) -> Option<Self> {
        // SAFETY: a new stack.
        let stack = NonNull::new(unsafe { library.OPENSSL_sk_new_null() })?;
        let chain = Self {
            library,
            stack,
            certificates,
        };
        let pushed = chain.certificates.iter().all(|certificate| {
            // SAFETY: the stack is ours, and so are the certificates, which live as long.
            unsafe { library.OPENSSL_sk_push(stack.as_ptr(), certificate.as_ptr().cast()) > 0 }
        });
        pushed.then_some(chain)
    }

    pub(crate) fn as_ptr(&self) -> *mut OPENSSL_STACK {
        self.stack.as_ptr()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: the stack is ours; its items are freed by `certificates`.
        unsafe { self.library.OPENSSL_sk_free(self.stack.as_ptr()) };
    }
}

/// A stack of names that OpenSSL takes over; null without memory.
pub(crate) fn names(library: &Library, names: &[Vec<u8>]) -> *mut OPENSSL_STACK {
    // SAFETY: a new stack, whose items are new names; what is not in it is freed.
    unsafe {
        let stack = library.OPENSSL_sk_new_null();
        for der in names {
            let mut at = der.as_ptr();
            let name = library.d2i_X509_NAME(ptr::null_mut(), &raw mut at, length(der));
            if !name.is_null() && library.OPENSSL_sk_push(stack, name.cast()) <= 0 {
                library.X509_NAME_free(name);
            }
        }
        stack
    }
}

/// The items of a stack that OpenSSL has lent.
///
/// # Safety
///
/// `stack` is null or a stack that lives during the call.
pub(crate) unsafe fn items(library: &Library, stack: *const OPENSSL_STACK) -> Vec<*mut c_void> {
    // SAFETY: the caller's; of null there are -1.
    unsafe {
        (0..library.OPENSSL_sk_num(stack))
            .map(|index| library.OPENSSL_sk_value(stack, index))
            .collect()
    }
}

/// A certificate of OpenSSL's in DER.
///
/// # Safety
///
/// `certificate` lives during the call.
pub(crate) unsafe fn certificate_der(library: &Library, certificate: *const X509) -> Vec<u8> {
    // SAFETY: the caller's.
    encoded(|into| unsafe { library.i2d_X509(certificate, into) })
}

/// A name of OpenSSL's in DER.
///
/// # Safety
///
/// `name` lives during the call.
pub(crate) unsafe fn name_der(library: &Library, name: *const X509_NAME) -> Vec<u8> {
    // SAFETY: the caller's.
    encoded(|into| unsafe { library.i2d_X509_NAME(name, into) })
}

/// What an encoder writes: it is asked for the length first. Empty if it fails.
fn encoded(encode: impl Fn(*mut *mut u8) -> i32) -> Vec<u8> {
    let length = usize::try_from(encode(ptr::null_mut())).unwrap_or(0);
    let mut der = vec![0; length];
    let mut at = der.as_mut_ptr();
    if length > 0 && usize::try_from(encode(&raw mut at)) != Ok(length) {
        der.clear();
    }
    der
}
