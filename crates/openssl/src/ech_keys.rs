//! Encrypted ClientHello (RFC 9849) on servers, which OpenSSL has since 4.0.
//!
//! Messages go by as they were received. So what the client asks for inside is asked of OpenSSL, once it has
//! decrypted that.

use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_void};
use std::ptr;

use polytls_core::Error;
use polytls_core::config::EchKey;
use polytls_core::ech;

use crate::api::{self, BIO, EVP_PKEY, OSSL_ECHSTORE, SSL, SSL_CTX};
use crate::blame::Fault;
use crate::ech::Usable;
use crate::hello::Hello;
use crate::library::Library;
use crate::objects::{PrivateKey, SslContext, length};
use crate::scope::Scope;
use crate::seen::{bytes, called};
use crate::tables::nothing;

/// `SSL_CLIENT_HELLO_SUCCESS` and `SSL_CLIENT_HELLO_ERROR`.
const GO_ON: c_int = 1;
const STOP: c_int = 0;

/// What OpenSSL has for it; all or nothing.
struct Functions {
    new: unsafe extern "C" fn(*mut api::OSSL_LIB_CTX, *const c_char) -> *mut OSSL_ECHSTORE,
    free: unsafe extern "C" fn(*mut OSSL_ECHSTORE),
    add: unsafe extern "C" fn(*mut OSSL_ECHSTORE, *mut EVP_PKEY, *mut BIO, c_int) -> c_int,
    entries: unsafe extern "C" fn(*const OSSL_ECHSTORE, *mut c_int) -> c_int,
    keys: unsafe extern "C" fn(*mut OSSL_ECHSTORE, *mut c_int) -> c_int,
    set: unsafe extern "C" fn(*mut SSL_CTX, *mut OSSL_ECHSTORE) -> c_int,
    memory: unsafe extern "C" fn() -> *const api::BIO_METHOD,
    free_memory: unsafe extern "C" fn(*mut BIO) -> c_int,
    write: unsafe extern "C" fn(
        *mut BIO,
        *const c_char,
        *const c_char,
        *const c_uchar,
        c_long,
    ) -> c_int,
    on_hello: unsafe extern "C" fn(*mut SSL_CTX, api::ClientHello, *mut c_void),
}

impl Functions {
    fn of(library: &Library) -> Option<Self> {
        library.SSL_ech_get1_status?;
        library.SSL_client_hello_get0_ciphers?;
        library.SSL_client_hello_get0_ext?;
        Some(Self {
            new: library.OSSL_ECHSTORE_new?,
            free: library.OSSL_ECHSTORE_free?,
            add: library.OSSL_ECHSTORE_set1_key_and_read_pem?,
            entries: library.OSSL_ECHSTORE_num_entries?,
            keys: library.OSSL_ECHSTORE_num_keys?,
            set: library.SSL_CTX_set1_echstore?,
            memory: library.BIO_s_mem?,
            free_memory: library.BIO_free?,
            write: library.PEM_write_bio?,
            on_hello: library.SSL_CTX_set_client_hello_cb?,
        })
    }
}

/// Whether this OpenSSL has it.
pub(crate) fn is_supported(library: &Library) -> bool {
    Functions::of(library).is_some() && Usable::new(library).is_some()
}

/// Keys that are being collected.
struct Store<'a> {
    library: &'static Scope,
    functions: &'a Functions,
    object: *mut OSSL_ECHSTORE,
}

impl Drop for Store<'_> {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { (self.functions.free)(self.object) };
    }
}

impl Store<'_> {
    /// Adds a key; `offered`: its configurations are sent to clients that it does not decrypt.
    fn add(&self, key: &PrivateKey, list: &[u8], offered: bool) -> bool {
        let functions = self.functions;
        // SAFETY: everything is ours, and copied; memory is as long as it says.
        unsafe {
            let memory = self.library.BIO_new((functions.memory)());
            if memory.is_null() {
                return false;
            }
            let label = c"ECHCONFIG".as_ptr();
            let written =
                (functions.write)(memory, label, c"".as_ptr(), list.as_ptr(), length(list));
            let added = written > 0
                && (functions.add)(self.object, key.as_ptr(), memory, c_int::from(offered)) == 1;
            (functions.free_memory)(memory);
            added
        }
    }

    /// Whether every configuration has the public key of the private key that it came with.
    fn is_whole(&self) -> bool {
        let (mut entries, mut keys) = (0, 0);
        // SAFETY: it is ours, and there is a place for each answer.
        unsafe {
            (self.functions.entries)(self.object, &raw mut entries) == 1
                && (self.functions.keys)(self.object, &raw mut keys) == 1
                && entries == keys
        }
    }
}

fn wrong(index: usize, why: impl std::fmt::Display) -> Error {
    Error::configuration(ech::KEYS, format!("key {}: {why}", index + 1))
}

/// Gives a new context its keys.
///
/// # Errors
///
/// [`Error::Configuration`] with the first key that cannot be used.
pub(crate) fn set(
    library: &'static Scope,
    ctx: &SslContext,
    given: &[EchKey],
) -> Result<(), Error> {
    if given.is_empty() {
        return Ok(());
    }
    let (Some(functions), Some(usable)) = (Functions::of(library), Usable::new(library)) else {
        return Err(Error::configuration(
            ech::KEYS,
            "this OpenSSL does not support Encrypted ClientHello on servers",
        ));
    };
    // SAFETY: a new one of this scope, which frees it.
    let object = unsafe { (functions.new)(library.context, library.properties()) };
    if object.is_null() {
        let what = "OpenSSL cannot create a store of ECH keys";
        return Err(Error::Internal(what.to_owned()));
    }
    let store = Store {
        library,
        functions: &functions,
        object,
    };
    let mut seen = Vec::new();
    for (index, one) in given.iter().enumerate() {
        let found = ech::identifiers(&one.list, |suite, key| usable.is(library, suite, key));
        library.clean();
        seen.extend(found.map_err(|why| wrong(index, why))?);
        let key = PrivateKey::read(library, one.key.secret_der());
        library.clean();
        let key = key.ok_or_else(|| wrong(index, "OpenSSL cannot read this private key"))?;
        let added = store.add(&key, &one.list, index == 0);
        let fault = (!added).then(|| Fault::take(library));
        library.clean();
        if !store.is_whole() {
            return Err(wrong(
                index,
                "its ECHCONFIG section has a configuration that does not belong to its private key",
            ));
        }
        if let Some(fault) = fault {
            let why = format!("OpenSSL cannot use its configurations: {}", fault.said());
            return Err(wrong(index, why));
        }
    }
    let raw = ctx.as_ptr();
    // SAFETY: the context is ours, and not used yet; it copies the store.
    let set = unsafe {
        (functions.on_hello)(raw, decrypted, nothing());
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() < count {
            // It would try the first key with that identifier only.
            library.SSL_CTX_set_options(raw, api::OP_ECH_TRIALDECRYPT);
        }
        (functions.set)(raw, object) == 1
    };
    library.clean();
    if set {
        return Ok(());
    }
    let what = "OpenSSL does not take the ECH keys";
    Err(Error::Internal(what.to_owned()))
}

/// Notes the ClientHello that is answered, the one inside if it was decrypted: `SSL_CTX_set_client_hello_cb(3)`.
unsafe extern "C" fn decrypted(ssl: *mut SSL, _: *mut c_int, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL has called with this connection; what it shows lasts until we return.
    unsafe {
        called(ssl, STOP, |library, seen| {
            let (Some(ciphers), Some(extension)) = (
                library.SSL_client_hello_get0_ciphers,
                library.SSL_client_hello_get0_ext,
            ) else {
                return STOP;
            };
            let mut suites: *const c_uchar = ptr::null();
            let count = ciphers(ssl, &raw mut suites);
            let hello = Hello::of(bytes(suites, count), |kind| {
                let (mut content, mut size) = (ptr::null(), 0);
                let kind = c_uint::from(kind);
                (extension(ssl, kind, &raw mut content, &raw mut size) == 1)
                    .then(|| bytes(content, size))
            });
            seen.note().hello = hello.map(Box::new);
            GO_ON
        })
    }
}
