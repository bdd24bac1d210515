//! A provider of ours inside OpenSSL, by which it uses private keys that are elsewhere: it takes keys from
//! providers only (provider(7)). What the functions do is in `remote`; here are their tables.
//!
//! The provider is in a library context of its own, where there is no other. So the default context stays as
//! it is: loading a provider there by hand switches off the default one for the whole process
//! (OSSL_PROVIDER_load(3)), and algorithms of ours could be found where others look for theirs. OpenSSL goes
//! to the provider of a key where no other can use it: EVP_DigestSignInit_ex(3) looks for the signature
//! algorithm in the context of the connection first, where there is none of our name, and then in the
//! provider that has the key.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock};

use polytls_core::Error;
use polytls_core::config::Signer;

use crate::api::{self, OSSL_ALGORITHM, OSSL_CORE_HANDLE, OSSL_DISPATCH, OSSL_LIB_CTX};
use crate::blame::Fault;
use crate::library::Library;
use crate::objects::{KeyContext, PrivateKey};
use crate::remote::{self, Kind, Remote};
use crate::scope::Scope;

/// What it is called in its context.
const NAME: &CStr = c"polytls";
/// What signs, for all kinds of keys; nobody has an algorithm of this name.
pub(crate) const SIGNATURE: &CStr = c"polytls-signer";
const PROPERTIES: &CStr = c"provider=polytls";

/// A table that OpenSSL reads.
struct Table<T, const N: usize>([T; N]);

// SAFETY: it is never changed, and points to functions and texts that are always there.
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

const fn function(function_id: c_int, function: *const c_void) -> OSSL_DISPATCH {
    OSSL_DISPATCH {
        function_id,
        function,
    }
}

const fn algorithm(names: &'static CStr, functions: &'static [OSSL_DISPATCH]) -> OSSL_ALGORITHM {
    OSSL_ALGORITHM {
        names: names.as_ptr(),
        properties: PROPERTIES.as_ptr(),
        implementation: functions.as_ptr(),
        description: ptr::null(),
    }
}

const NO_FUNCTION: OSSL_DISPATCH = function(0, ptr::null());
const NO_ALGORITHM: OSSL_ALGORITHM = OSSL_ALGORITHM {
    names: ptr::null(),
    properties: ptr::null(),
    implementation: ptr::null(),
    description: ptr::null(),
};

static PROVIDER: Table<OSSL_DISPATCH, 2> = Table([
    function(
        api::FUNC_PROVIDER_QUERY_OPERATION,
        query_operation as *const c_void,
    ),
    NO_FUNCTION,
]);

/// provider-keymgmt(7); only how a key begins differs.
const fn key_management(new: *const c_void) -> [OSSL_DISPATCH; 10] {
    [
        function(api::FUNC_KEYMGMT_NEW, new),
        function(api::FUNC_KEYMGMT_FREE, remote::free as *const c_void),
        function(
            api::FUNC_KEYMGMT_GET_PARAMS,
            remote::get_params as *const c_void,
        ),
        function(
            api::FUNC_KEYMGMT_GETTABLE_PARAMS,
            remote::gettable_params as *const c_void,
        ),
        function(
            api::FUNC_KEYMGMT_QUERY_OPERATION_NAME,
            remote::query_operation_name as *const c_void,
        ),
        function(api::FUNC_KEYMGMT_HAS, remote::has as *const c_void),
        function(api::FUNC_KEYMGMT_MATCH, remote::matches as *const c_void),
        function(api::FUNC_KEYMGMT_IMPORT, remote::import as *const c_void),
        function(
            api::FUNC_KEYMGMT_IMPORT_TYPES,
            remote::import_types as *const c_void,
        ),
        NO_FUNCTION,
    ]
}

static RSA: Table<OSSL_DISPATCH, 10> = Table(key_management(remote::new_rsa as *const c_void));
static EC: Table<OSSL_DISPATCH, 10> = Table(key_management(remote::new_ec as *const c_void));
static ED25519: Table<OSSL_DISPATCH, 10> =
    Table(key_management(remote::new_ed25519 as *const c_void));

/// By the names of the default provider, as libssl goes by them (ssl_cert.c, `ssl_cert_lookup_by_pkey`).
static KEYS: Table<OSSL_ALGORITHM, 4> = Table([
    algorithm(c"RSA:rsaEncryption:1.2.840.113549.1.1.1", &RSA.0),
    algorithm(c"EC:id-ecPublicKey:1.2.840.10045.2.1", &EC.0),
    algorithm(c"ED25519:1.3.101.112", &ED25519.0),
    NO_ALGORITHM,
]);

/// provider-signature(7): one-shot signatures only, as the signer gets the whole message. libssl makes no
/// others.
static SIGNING: Table<OSSL_DISPATCH, 7> = Table([
    function(
        api::FUNC_SIGNATURE_NEWCTX,
        remote::new_signature as *const c_void,
    ),
    function(
        api::FUNC_SIGNATURE_FREECTX,
        remote::free_signature as *const c_void,
    ),
    function(
        api::FUNC_SIGNATURE_DIGEST_SIGN_INIT,
        remote::digest_sign_init as *const c_void,
    ),
    function(
        api::FUNC_SIGNATURE_DIGEST_SIGN,
        remote::digest_sign as *const c_void,
    ),
    function(
        api::FUNC_SIGNATURE_SET_CTX_PARAMS,
        remote::set_ctx_params as *const c_void,
    ),
    function(
        api::FUNC_SIGNATURE_SETTABLE_CTX_PARAMS,
        remote::settable_ctx_params as *const c_void,
    ),
    NO_FUNCTION,
]);

static SIGNATURES: Table<OSSL_ALGORITHM, 2> =
    Table([algorithm(SIGNATURE, &SIGNING.0), NO_ALGORITHM]);

/// `OSSL_provider_init_fn` (provider-base(7)).
unsafe extern "C" fn init(
    handle: *const OSSL_CORE_HANDLE,
    _: *const OSSL_DISPATCH,
    out: *mut *const OSSL_DISPATCH,
    context: *mut *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL gives places for both. The functions need no context, but there has to be one.
    unsafe {
        *out = PROVIDER.0.as_ptr();
        *context = handle.cast_mut().cast();
    }
    1
}

unsafe extern "C" fn query_operation(
    _: *mut c_void,
    operation: c_int,
    no_cache: *mut c_int,
) -> *const OSSL_ALGORITHM {
    // SAFETY: OpenSSL gives a place for it.
    unsafe { *no_cache = 0 };
    match operation {
        api::OP_KEYMGMT => KEYS.0.as_ptr(),
        api::OP_SIGNATURE => SIGNATURES.0.as_ptr(),
        _ => ptr::null(),
    }
}

/// The context with the provider. It is there for the rest of the process, as the library is.
struct Context(NonNull<OSSL_LIB_CTX>);

// SAFETY: OpenSSL's contexts may be used by all threads (OSSL_LIB_CTX(3)).
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

/// The context; an error of OpenSSL's where it makes none.
fn context(library: &'static Library) -> Result<*mut OSSL_LIB_CTX, Error> {
    static CONTEXT: OnceLock<Result<Context, String>> = OnceLock::new();
    let made = CONTEXT.get_or_init(|| {
        let failed = || {
            format!(
                "OpenSSL cannot load a provider: {}",
                Fault::take(library).said()
            )
        };
        // SAFETY: a new context, which is kept; our function has the type asked for.
        unsafe {
            let context = NonNull::new(library.OSSL_LIB_CTX_new()).ok_or_else(failed)?;
            let raw = context.as_ptr();
            if library.OSSL_PROVIDER_add_builtin(raw, NAME.as_ptr(), init) != 1
                || library.OSSL_PROVIDER_load(raw, NAME.as_ptr()).is_null()
            {
                return Err(failed());
            }
            Ok(Context(context))
        }
    });
    match made {
        Ok(context) => Ok(context.0.as_ptr()),
        Err(failed) => Err(Error::Internal(failed.clone())),
    }
}

/// Makes a key of `parts`, of a kind that `context` has; null for the default context.
pub(crate) fn key_of_parts(
    library: &'static Library,
    context: *mut OSSL_LIB_CTX,
    kind: Kind,
    selection: c_int,
    parts: *mut api::OSSL_PARAM,
) -> Option<PrivateKey> {
    let name: *const c_char = kind.name().as_ptr();
    // SAFETY: the context lives for ever; the parts are the caller's, and are read.
    unsafe {
        let making = library.EVP_PKEY_CTX_new_from_name(context, name, ptr::null());
        let making = KeyContext::new(library, making)?;
        if library.EVP_PKEY_fromdata_init(making.as_ptr()) != 1 {
            return None;
        }
        let mut key = ptr::null_mut();
        let made = library.EVP_PKEY_fromdata(making.as_ptr(), &raw mut key, selection, parts);
        PrivateKey::new(library, key).filter(|_| made == 1)
    }
}

/// A key with which `signer` signs by `schemes`. It shares the signer until OpenSSL has let go of it.
///
/// # Errors
///
/// [`Error::Internal`].
pub(crate) fn key(
    library: &'static Scope,
    signer: Arc<dyn Signer>,
    schemes: Vec<u16>,
    public: PrivateKey,
    kind: Kind,
) -> Result<PrivateKey, Error> {
    let context = context(library)?;
    let selection = api::KEYMGMT_SELECT_PRIVATE_KEY
        | api::KEYMGMT_SELECT_PUBLIC_KEY
        | api::KEYMGMT_SELECT_ALL_PARAMETERS;
    let remote = Remote::new(library, public, signer, schemes);
    let mut end = [api::OSSL_PARAM::END];
    let made =
        remote.during_import(|| key_of_parts(library, context, kind, selection, end.as_mut_ptr()));
    made.ok_or_else(|| {
        let fault = Fault::take(library);
        Error::Internal(format!(
            "OpenSSL does not accept this key: {}",
            fault.said()
        ))
    })
}
