//! The functions of libssl and libcrypto that are called, by their names there (their manual pages have
//! the rest), and the constants that go with them.
//!
//! Only what OpenSSL 3.0 has is required; functions that came later are optional.

#![allow(
    non_snake_case,
    non_camel_case_types,
    clippy::too_many_arguments,
    clippy::upper_case_acronyms,
    reason = "the names are OpenSSL's"
)]

use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_ulong, c_void};

use crate::loading::Libssl;

macro_rules! opaque {
    ($($name:ident)*) => {
        $(
            #[repr(C)]
            pub(crate) struct $name {
                _opaque: [u8; 0],
            }
        )*
    };
}

opaque! {
    BIO BIO_METHOD COMP_METHOD CONF EVP_CIPHER EVP_CIPHER_CTX EVP_MAC_CTX EVP_MD EVP_MD_CTX EVP_PKEY EVP_PKEY_CTX OPENSSL_STACK
    OSSL_STORE_CTX OSSL_STORE_INFO UI UI_METHOD UI_STRING
    OSSL_CORE_HANDLE OSSL_ECHSTORE OSSL_HPKE_CTX OSSL_LIB_CTX OSSL_PROVIDER SSL SSL_CIPHER SSL_CTX SSL_METHOD SSL_SESSION X509 X509_NAME
    X509_STORE_CTX
}

/// `OSSL_PARAM` (core.h).
#[repr(C)]
pub(crate) struct OSSL_PARAM {
    pub(crate) key: *const c_char,
    pub(crate) data_type: c_uint,
    pub(crate) data: *mut c_void,
    pub(crate) data_size: usize,
    pub(crate) return_size: usize,
}

/// `OSSL_DISPATCH` (core.h): a function by its number, which says what its type is.
#[repr(C)]
pub(crate) struct OSSL_DISPATCH {
    pub(crate) function_id: c_int,
    pub(crate) function: *const c_void,
}

/// `OSSL_ALGORITHM` (core.h).
#[repr(C)]
pub(crate) struct OSSL_ALGORITHM {
    pub(crate) names: *const c_char,
    pub(crate) properties: *const c_char,
    pub(crate) implementation: *const OSSL_DISPATCH,
    pub(crate) description: *const c_char,
}

impl OSSL_PARAM {
    /// What a list of them ends with.
    pub(crate) const END: Self = Self {
        key: std::ptr::null(),
        data_type: 0,
        data: std::ptr::null_mut(),
        data_size: 0,
        return_size: 0,
    };
}

/// `CONF_VALUE` (conf.h).
#[repr(C)]
pub(crate) struct CONF_VALUE {
    pub(crate) section: *const c_char,
    pub(crate) name: *const c_char,
    pub(crate) value: *const c_char,
}

pub(crate) type AlpnSelect = unsafe extern "C" fn(
    *mut SSL,
    *mut *const c_uchar,
    *mut c_uchar,
    *const c_uchar,
    c_uint,
    *mut c_void,
) -> c_int;
pub(crate) type BioRead = unsafe extern "C" fn(*mut BIO, *mut c_char, usize, *mut usize) -> c_int;
pub(crate) type BioWrite =
    unsafe extern "C" fn(*mut BIO, *const c_char, usize, *mut usize) -> c_int;
pub(crate) type BioCtrl = unsafe extern "C" fn(*mut BIO, c_int, c_long, *mut c_void) -> c_long;
pub(crate) type ClientHello = unsafe extern "C" fn(*mut SSL, *mut c_int, *mut c_void) -> c_int;
pub(crate) type CertChoice = unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int;
pub(crate) type KeyLogLine = unsafe extern "C" fn(*const SSL, *const c_char);
pub(crate) type Message =
    unsafe extern "C" fn(c_int, c_int, c_int, *const c_void, usize, *mut SSL, *mut c_void);
pub(crate) type NewSession = unsafe extern "C" fn(*mut SSL, *mut SSL_SESSION) -> c_int;
pub(crate) type GetSession =
    unsafe extern "C" fn(*mut SSL, *const c_uchar, c_int, *mut c_int) -> *mut SSL_SESSION;
pub(crate) type Status = unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int;
pub(crate) type TicketMade = unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int;
pub(crate) type TicketRead = unsafe extern "C" fn(
    *mut SSL,
    *mut SSL_SESSION,
    *const c_uchar,
    usize,
    c_int,
    *mut c_void,
) -> c_int;
pub(crate) type TicketKey = unsafe extern "C" fn(
    *mut SSL,
    *mut c_uchar,
    *mut c_uchar,
    *mut EVP_CIPHER_CTX,
    *mut EVP_MAC_CTX,
    c_int,
) -> c_int;
/// `OSSL_provider_init_fn` (core.h).
pub(crate) type ProviderInit = unsafe extern "C" fn(
    *const OSSL_CORE_HANDLE,
    *const OSSL_DISPATCH,
    *mut *const OSSL_DISPATCH,
    *mut *mut c_void,
) -> c_int;
pub(crate) type UiRead = unsafe extern "C" fn(*mut UI, *mut UI_STRING) -> c_int;
pub(crate) type Verify = unsafe extern "C" fn(*mut X509_STORE_CTX, *mut c_void) -> c_int;

/// `OSSL_HPKE_SUITE` (hpke.h).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct HpkeSuite {
    pub(crate) kem: u16,
    pub(crate) kdf: u16,
    pub(crate) aead: u16,
}

/// Declares the table of functions, and a method for each required one.
macro_rules! functions {
    (
        required { $(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)* }
        optional { $(fn $extra:ident($($extra_type:ty),*) $(-> $extra_result:ty)?;)* }
    ) => {
        /// The table.
        pub(crate) struct Api {
            $($name: unsafe extern "C" fn($($type),*) $(-> $result)?,)*
            $(pub(crate) $extra: Option<unsafe extern "C" fn($($extra_type),*) $(-> $extra_result)?>,)*
        }

        impl Api {
            /// Looks all of them up in libssl, and in the libcrypto that it is linked to.
            ///
            /// # Errors
            ///
            /// The name of a function that is missing.
            pub(crate) fn find(libssl: &Libssl) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the type is that of OpenSSL's headers.
                        let found = unsafe { libssl.function(stringify!($name)) };
                        found.ok_or(stringify!($name))?
                    },)*
                    $($extra: {
                        // SAFETY: the type is that of OpenSSL's headers.
                        unsafe { libssl.function(stringify!($extra)) }
                    },)*
                })
            }

            $(
                /// # Safety
                ///
                /// As its manual page says.
                #[inline]
                pub(crate) unsafe fn $name(&self, $($argument: $type),*) $(-> $result)? {
                    // SAFETY: the caller's.
                    unsafe { (self.$name)($($argument),*) }
                }
            )*
        }
    };
}

functions! {
    required {
        fn OpenSSL_version_num() -> c_ulong;
        fn OpenSSL_version(what: c_int) -> *const c_char;
        fn OPENSSL_init_ssl(options: u64, settings: *const c_void) -> c_int;
        fn CRYPTO_get_ex_new_index(class: c_int, argl: c_long, argp: *mut c_void, new: *mut c_void, dup: *mut c_void, free: *mut c_void) -> c_int;
        fn CRYPTO_malloc(length: usize, file: *const c_char, line: c_int) -> *mut c_void;
        fn CRYPTO_free(memory: *mut c_void, file: *const c_char, line: c_int);
        // Library contexts.
        fn OSSL_LIB_CTX_new() -> *mut OSSL_LIB_CTX;
        fn OSSL_LIB_CTX_load_config(library: *mut OSSL_LIB_CTX, path: *const c_char) -> c_int;
        fn OSSL_PROVIDER_load(library: *mut OSSL_LIB_CTX, name: *const c_char) -> *mut OSSL_PROVIDER;
        fn OSSL_PROVIDER_available(library: *mut OSSL_LIB_CTX, name: *const c_char) -> c_int;
        fn OSSL_PROVIDER_get_params(provider: *const OSSL_PROVIDER, parameters: *mut OSSL_PARAM) -> c_int;
        fn EVP_default_properties_is_fips_enabled(library: *mut OSSL_LIB_CTX) -> c_int;
        fn NCONF_new_ex(library: *mut OSSL_LIB_CTX, method: *mut c_void) -> *mut CONF;
        fn NCONF_load(configuration: *mut CONF, path: *const c_char, line: *mut c_long) -> c_int;
        fn NCONF_get_string(configuration: *const CONF, section: *const c_char, name: *const c_char) -> *mut c_char;
        fn NCONF_get_section(configuration: *const CONF, section: *const c_char) -> *mut OPENSSL_STACK;
        fn NCONF_free(configuration: *mut CONF);
        // The error queue.
        fn ERR_get_error() -> c_ulong;
        fn ERR_get_error_all(file: *mut *const c_char, line: *mut c_int, function: *mut *const c_char, data: *mut *const c_char, flags: *mut c_int) -> c_ulong;
        fn ERR_peek_error() -> c_ulong;
        fn ERR_clear_error();
        fn ERR_reason_error_string(code: c_ulong) -> *const c_char;
        // Contexts.
        fn TLS_method() -> *const SSL_METHOD;
        fn SSL_CTX_new_ex(library: *mut OSSL_LIB_CTX, properties: *const c_char, method: *const SSL_METHOD) -> *mut SSL_CTX;
        fn SSL_CTX_get_security_level(context: *const SSL_CTX) -> c_int;
        fn SSL_CTX_set_security_level(context: *mut SSL_CTX, level: c_int);
        fn SSL_CTX_free(context: *mut SSL_CTX);
        fn SSL_CTX_ctrl(context: *mut SSL_CTX, command: c_int, number: c_long, pointer: *mut c_void) -> c_long;
        fn SSL_CTX_callback_ctrl(context: *mut SSL_CTX, command: c_int, callback: Status) -> c_long;
        fn SSL_CTX_set_msg_callback(context: *mut SSL_CTX, callback: Option<Message>);
        fn SSL_CTX_set_options(context: *mut SSL_CTX, options: u64) -> u64;
        fn SSL_CTX_set_timeout(context: *mut SSL_CTX, seconds: c_long) -> c_long;
        fn SSL_CTX_set_cipher_list(context: *mut SSL_CTX, list: *const c_char) -> c_int;
        fn SSL_CTX_set_ciphersuites(context: *mut SSL_CTX, list: *const c_char) -> c_int;
        fn SSL_CTX_get_ciphers(context: *const SSL_CTX) -> *mut OPENSSL_STACK;
        fn SSL_CTX_set_alpn_protos(context: *mut SSL_CTX, list: *const c_uchar, length: c_uint) -> c_int;
        fn SSL_CTX_set_alpn_select_cb(context: *mut SSL_CTX, callback: AlpnSelect, argument: *mut c_void);
        fn SSL_CTX_set_cert_cb(context: *mut SSL_CTX, callback: CertChoice, argument: *mut c_void);
        fn SSL_CTX_set_cert_verify_callback(context: *mut SSL_CTX, callback: Verify, argument: *mut c_void);
        fn SSL_CTX_set_verify(context: *mut SSL_CTX, mode: c_int, callback: *mut c_void);
        fn SSL_CTX_set0_CA_list(context: *mut SSL_CTX, names: *mut OPENSSL_STACK);
        fn SSL_CTX_set_keylog_callback(context: *mut SSL_CTX, callback: KeyLogLine);
        fn SSL_CTX_set_session_id_context(context: *mut SSL_CTX, id: *const c_uchar, length: c_uint) -> c_int;
        fn SSL_CTX_sess_set_new_cb(context: *mut SSL_CTX, callback: NewSession);
        fn SSL_CTX_sess_set_get_cb(context: *mut SSL_CTX, callback: GetSession);
        fn SSL_CTX_set_num_tickets(context: *mut SSL_CTX, count: usize) -> c_int;
        fn SSL_CTX_set_max_early_data(context: *mut SSL_CTX, most: u32) -> c_int;
        fn SSL_CTX_set_session_ticket_cb(context: *mut SSL_CTX, made: TicketMade, read: TicketRead, argument: *mut c_void) -> c_int;
        fn SSL_CTX_set_tlsext_ticket_key_evp_cb(context: *mut SSL_CTX, callback: TicketKey) -> c_int;
        fn SSL_CTX_use_cert_and_key(context: *mut SSL_CTX, leaf: *mut X509, key: *mut EVP_PKEY, chain: *mut OPENSSL_STACK, replace: c_int) -> c_int;
        // Connections.
        fn SSL_new(context: *mut SSL_CTX) -> *mut SSL;
        fn SSL_free(ssl: *mut SSL);
        fn SSL_ctrl(ssl: *mut SSL, command: c_int, number: c_long, pointer: *mut c_void) -> c_long;
        fn SSL_set_msg_callback(ssl: *mut SSL, callback: Option<Message>);
        fn SSL_set_bio(ssl: *mut SSL, read: *mut BIO, write: *mut BIO);
        fn SSL_set_connect_state(ssl: *mut SSL);
        fn SSL_set_accept_state(ssl: *mut SSL);
        fn SSL_set_ex_data(ssl: *mut SSL, index: c_int, data: *mut c_void) -> c_int;
        fn SSL_get_ex_data(ssl: *const SSL, index: c_int) -> *mut c_void;
        fn SSL_get_ex_data_X509_STORE_CTX_idx() -> c_int;
        fn SSL_do_handshake(ssl: *mut SSL) -> c_int;
        fn SSL_in_init(ssl: *const SSL) -> c_int;
        fn SSL_read_ex(ssl: *mut SSL, into: *mut c_void, most: usize, read: *mut usize) -> c_int;
        fn SSL_write_ex(ssl: *mut SSL, from: *const c_void, length: usize, written: *mut usize) -> c_int;
        fn SSL_read_early_data(ssl: *mut SSL, into: *mut c_void, most: usize, read: *mut usize) -> c_int;
        fn SSL_write_early_data(ssl: *mut SSL, from: *const c_void, length: usize, written: *mut usize) -> c_int;
        fn SSL_get_early_data_status(ssl: *const SSL) -> c_int;
        fn SSL_has_pending(ssl: *const SSL) -> c_int;
        fn SSL_get_error(ssl: *const SSL, result: c_int) -> c_int;
        fn SSL_shutdown(ssl: *mut SSL) -> c_int;
        fn SSL_set_shutdown(ssl: *mut SSL, mode: c_int);
        fn SSL_key_update(ssl: *mut SSL, kind: c_int) -> c_int;
        fn SSL_get_key_update_type(ssl: *const SSL) -> c_int;
        fn SSL_export_keying_material(ssl: *mut SSL, into: *mut c_uchar, length: usize, label: *const c_char, label_length: usize, context: *const c_uchar, context_length: usize, use_context: c_int) -> c_int;
        fn SSL_version(ssl: *const SSL) -> c_int;
        fn SSL_get_current_cipher(ssl: *const SSL) -> *const SSL_CIPHER;
        fn SSL_CIPHER_get_protocol_id(cipher: *const SSL_CIPHER) -> u16;
        fn SSL_CIPHER_get_name(cipher: *const SSL_CIPHER) -> *const c_char;
        fn SSL_get0_alpn_selected(ssl: *const SSL, data: *mut *const c_uchar, length: *mut c_uint);
        fn SSL_session_reused(ssl: *const SSL) -> c_int;
        fn SSL_get_sigalgs(ssl: *mut SSL, index: c_int, sign: *mut c_int, hash: *mut c_int, both: *mut c_int, low: *mut c_uchar, high: *mut c_uchar) -> c_int;
        fn SSL_get0_peer_CA_list(ssl: *const SSL) -> *const OPENSSL_STACK;
        fn SSL_use_cert_and_key(ssl: *mut SSL, leaf: *mut X509, key: *mut EVP_PKEY, chain: *mut OPENSSL_STACK, replace: c_int) -> c_int;
        fn SSL_certs_clear(ssl: *mut SSL);
        // Sessions.
        fn SSL_set_session(ssl: *mut SSL, session: *mut SSL_SESSION) -> c_int;
        fn SSL_get_session(ssl: *const SSL) -> *mut SSL_SESSION;
        fn SSL_get1_session(ssl: *mut SSL) -> *mut SSL_SESSION;
        fn SSL_SESSION_dup(session: *const SSL_SESSION) -> *mut SSL_SESSION;
        fn SSL_SESSION_free(session: *mut SSL_SESSION);
        fn SSL_SESSION_get0_peer(session: *mut SSL_SESSION) -> *mut X509;
        fn SSL_SESSION_is_resumable(session: *const SSL_SESSION) -> c_int;
        fn SSL_SESSION_get_max_fragment_length(session: *const SSL_SESSION) -> u8;
        fn SSL_SESSION_up_ref(session: *mut SSL_SESSION) -> c_int;
        fn SSL_SESSION_get_max_early_data(session: *const SSL_SESSION) -> u32;
        fn SSL_SESSION_set_max_early_data(session: *mut SSL_SESSION, most: u32) -> c_int;
        fn SSL_SESSION_get_protocol_version(session: *const SSL_SESSION) -> c_int;
        fn SSL_SESSION_get_id(session: *const SSL_SESSION, length: *mut c_uint) -> *const c_uchar;
        fn SSL_SESSION_get0_ticket(session: *const SSL_SESSION, ticket: *mut *const c_uchar, length: *mut usize);
        fn SSL_SESSION_set1_ticket_appdata(session: *mut SSL_SESSION, data: *const c_void, length: usize) -> c_int;
        fn SSL_SESSION_get0_ticket_appdata(session: *mut SSL_SESSION, data: *mut *mut c_void, length: *mut usize) -> c_int;
        // Certificates and keys.
        fn X509_STORE_CTX_get_ex_data(store: *const X509_STORE_CTX, index: c_int) -> *mut c_void;
        fn X509_STORE_CTX_set_error(store: *mut X509_STORE_CTX, error: c_int);
        fn X509_STORE_CTX_get0_untrusted(store: *const X509_STORE_CTX) -> *mut OPENSSL_STACK;
        fn d2i_X509(into: *mut *mut X509, from: *mut *const c_uchar, length: c_long) -> *mut X509;
        fn i2d_X509(certificate: *const X509, into: *mut *mut c_uchar) -> c_int;
        fn X509_free(certificate: *mut X509);
        fn X509_check_private_key(certificate: *const X509, key: *const EVP_PKEY) -> c_int;
        fn d2i_X509_NAME(into: *mut *mut X509_NAME, from: *mut *const c_uchar, length: c_long) -> *mut X509_NAME;
        fn i2d_X509_NAME(name: *const X509_NAME, into: *mut *mut c_uchar) -> c_int;
        fn X509_NAME_free(name: *mut X509_NAME);
        fn d2i_AutoPrivateKey_ex(into: *mut *mut EVP_PKEY, from: *mut *const c_uchar, length: c_long, library: *mut OSSL_LIB_CTX, properties: *const c_char) -> *mut EVP_PKEY;
        fn d2i_PUBKEY_ex(into: *mut *mut EVP_PKEY, from: *mut *const c_uchar, length: c_long, library: *mut OSSL_LIB_CTX, properties: *const c_char) -> *mut EVP_PKEY;
        fn X509_new_ex(library: *mut OSSL_LIB_CTX, properties: *const c_char) -> *mut X509;
        fn X509_get0_pubkey(certificate: *const X509) -> *mut EVP_PKEY;
        fn X509_get_signature_info(certificate: *mut X509, digest: *mut c_int, key: *mut c_int, bits: *mut c_int, flags: *mut u32) -> c_int;
        fn EVP_PKEY_get_security_bits(key: *const EVP_PKEY) -> c_int;
        fn EVP_PKEY_free(key: *mut EVP_PKEY);
        fn EVP_PKEY_up_ref(key: *mut EVP_PKEY) -> c_int;
        fn EVP_PKEY_get_base_id(key: *const EVP_PKEY) -> c_int;
        fn EVP_PKEY_get_bits(key: *const EVP_PKEY) -> c_int;
        fn EVP_PKEY_get_size(key: *const EVP_PKEY) -> c_int;
        fn EVP_PKEY_get_params(key: *const EVP_PKEY, parameters: *mut OSSL_PARAM) -> c_int;
        fn EVP_PKEY_eq(one: *const EVP_PKEY, other: *const EVP_PKEY) -> c_int;
        fn EVP_PKEY_parameters_eq(one: *const EVP_PKEY, other: *const EVP_PKEY) -> c_int;
        fn EVP_PKEY_CTX_new_from_name(library: *mut OSSL_LIB_CTX, name: *const c_char, properties: *const c_char) -> *mut EVP_PKEY_CTX;
        fn EVP_PKEY_CTX_new_from_pkey(library: *mut OSSL_LIB_CTX, key: *mut EVP_PKEY, properties: *const c_char) -> *mut EVP_PKEY_CTX;
        fn EVP_PKEY_get0_provider(key: *const EVP_PKEY) -> *const OSSL_PROVIDER;
        fn OSSL_PROVIDER_get0_name(provider: *const OSSL_PROVIDER) -> *const c_char;
        fn EVP_PKEY_CTX_free(context: *mut EVP_PKEY_CTX);
        fn EVP_PKEY_fromdata_init(context: *mut EVP_PKEY_CTX) -> c_int;
        fn EVP_PKEY_fromdata(context: *mut EVP_PKEY_CTX, key: *mut *mut EVP_PKEY, selection: c_int, parameters: *mut OSSL_PARAM) -> c_int;
        fn OBJ_nid2sn(nid: c_int) -> *const c_char;
        fn OPENSSL_sk_num(stack: *const OPENSSL_STACK) -> c_int;
        fn OPENSSL_sk_value(stack: *const OPENSSL_STACK, index: c_int) -> *mut c_void;
        fn OPENSSL_sk_new_null() -> *mut OPENSSL_STACK;
        fn OPENSSL_sk_push(stack: *mut OPENSSL_STACK, item: *const c_void) -> c_int;
        fn OPENSSL_sk_free(stack: *mut OPENSSL_STACK);
        // Providers.
        fn OSSL_PROVIDER_add_builtin(library: *mut OSSL_LIB_CTX, name: *const c_char, init: ProviderInit) -> c_int;
        // Stores.
        fn OSSL_STORE_open_ex(uri: *const c_char, library: *mut OSSL_LIB_CTX, properties: *const c_char, ui: *const UI_METHOD, ui_data: *mut c_void, parameters: *const OSSL_PARAM, process: *mut c_void, process_data: *mut c_void) -> *mut OSSL_STORE_CTX;
        fn OSSL_STORE_expect(store: *mut OSSL_STORE_CTX, kind: c_int) -> c_int;
        fn OSSL_STORE_load(store: *mut OSSL_STORE_CTX) -> *mut OSSL_STORE_INFO;
        fn OSSL_STORE_eof(store: *mut OSSL_STORE_CTX) -> c_int;
        fn OSSL_STORE_error(store: *mut OSSL_STORE_CTX) -> c_int;
        fn OSSL_STORE_close(store: *mut OSSL_STORE_CTX) -> c_int;
        fn OSSL_STORE_INFO_get_type(info: *const OSSL_STORE_INFO) -> c_int;
        fn OSSL_STORE_INFO_get1_PKEY(info: *const OSSL_STORE_INFO) -> *mut EVP_PKEY;
        fn OSSL_STORE_INFO_get1_CERT(info: *const OSSL_STORE_INFO) -> *mut X509;
        fn OSSL_STORE_INFO_free(info: *mut OSSL_STORE_INFO);
        fn UI_create_method(name: *const c_char) -> *mut UI_METHOD;
        fn UI_destroy_method(method: *mut UI_METHOD);
        fn UI_get_default_method() -> *const UI_METHOD;
        fn UI_set_default_method(method: *const UI_METHOD);
        fn UI_method_set_reader(method: *mut UI_METHOD, read: UiRead) -> c_int;
        // Cryptography.
        fn RAND_bytes_ex(library: *mut OSSL_LIB_CTX, into: *mut c_uchar, length: usize, strength: c_uint) -> c_int;
        fn EVP_MD_CTX_set_pkey_ctx(context: *mut EVP_MD_CTX, key_context: *mut EVP_PKEY_CTX);
        fn EVP_DigestSignInit_ex(context: *mut EVP_MD_CTX, key_context: *mut *mut EVP_PKEY_CTX, digest: *const c_char, library: *mut OSSL_LIB_CTX, properties: *const c_char, key: *mut EVP_PKEY, parameters: *const OSSL_PARAM) -> c_int;
        fn EVP_DigestSign(context: *mut EVP_MD_CTX, signature: *mut c_uchar, length: *mut usize, message: *const c_uchar, message_length: usize) -> c_int;
        fn EVP_MD_fetch(library: *mut OSSL_LIB_CTX, name: *const c_char, properties: *const c_char) -> *mut EVP_MD;
        fn EVP_CIPHER_fetch(library: *mut OSSL_LIB_CTX, name: *const c_char, properties: *const c_char) -> *mut EVP_CIPHER;
        fn EVP_Digest(data: *const c_void, length: usize, into: *mut c_uchar, written: *mut c_uint, digest: *const EVP_MD, engine: *mut c_void) -> c_int;
        fn EVP_MD_CTX_new() -> *mut EVP_MD_CTX;
        fn EVP_MD_CTX_free(context: *mut EVP_MD_CTX);
        fn EVP_DigestVerifyInit_ex(context: *mut EVP_MD_CTX, key_context: *mut *mut EVP_PKEY_CTX, digest: *const c_char, library: *mut OSSL_LIB_CTX, properties: *const c_char, key: *mut EVP_PKEY, parameters: *const OSSL_PARAM) -> c_int;
        fn EVP_DigestVerify(context: *mut EVP_MD_CTX, signature: *const c_uchar, signature_length: usize, message: *const c_uchar, message_length: usize) -> c_int;
        fn EVP_PKEY_CTX_set_rsa_padding(context: *mut EVP_PKEY_CTX, padding: c_int) -> c_int;
        fn EVP_PKEY_CTX_set_rsa_pss_saltlen(context: *mut EVP_PKEY_CTX, length: c_int) -> c_int;
        fn EVP_Q_mac(library: *mut OSSL_LIB_CTX, name: *const c_char, properties: *const c_char, variant: *const c_char, parameters: *const OSSL_PARAM, key: *const c_void, key_length: usize, data: *const c_uchar, length: usize, into: *mut c_uchar, room: usize, written: *mut usize) -> *mut c_uchar;
        fn EVP_EncryptInit_ex(context: *mut EVP_CIPHER_CTX, cipher: *const EVP_CIPHER, engine: *mut c_void, key: *const c_uchar, iv: *const c_uchar) -> c_int;
        fn EVP_DecryptInit_ex(context: *mut EVP_CIPHER_CTX, cipher: *const EVP_CIPHER, engine: *mut c_void, key: *const c_uchar, iv: *const c_uchar) -> c_int;
        fn EVP_MAC_CTX_set_params(context: *mut EVP_MAC_CTX, parameters: *const OSSL_PARAM) -> c_int;
        // The transport.
        fn BIO_get_new_index() -> c_int;
        fn BIO_meth_new(kind: c_int, name: *const c_char) -> *mut BIO_METHOD;
        fn BIO_meth_set_read_ex(method: *mut BIO_METHOD, read: BioRead) -> c_int;
        fn BIO_meth_set_write_ex(method: *mut BIO_METHOD, write: BioWrite) -> c_int;
        fn BIO_meth_set_ctrl(method: *mut BIO_METHOD, ctrl: BioCtrl) -> c_int;
        fn BIO_new(method: *const BIO_METHOD) -> *mut BIO;
        fn BIO_set_data(bio: *mut BIO, data: *mut c_void);
        fn BIO_get_data(bio: *mut BIO) -> *mut c_void;
        fn BIO_set_init(bio: *mut BIO, done: c_int);
        fn BIO_set_flags(bio: *mut BIO, flags: c_int);
        fn BIO_clear_flags(bio: *mut BIO, flags: c_int);
    }
    optional {
        // OpenSSL 3.2, for groups that have no NID.
        fn SSL_get0_group_name(*mut SSL) -> *const c_char;
        fn OSSL_HPKE_suite_check(HpkeSuite) -> c_int;
        fn OSSL_HPKE_CTX_new(c_int, HpkeSuite, c_int, *mut OSSL_LIB_CTX, *const c_char) -> *mut OSSL_HPKE_CTX;
        fn OSSL_HPKE_CTX_free(*mut OSSL_HPKE_CTX);
        fn OSSL_HPKE_get_public_encap_size(HpkeSuite) -> usize;
        fn OSSL_HPKE_encap(*mut OSSL_HPKE_CTX, *mut c_uchar, *mut usize, *const c_uchar, usize, *const c_uchar, usize) -> c_int;
        // OpenSSL 3.2, for compressed certificates. The methods are null if it was built without.
        fn COMP_zlib_oneshot() -> *mut COMP_METHOD;
        fn COMP_brotli_oneshot() -> *mut COMP_METHOD;
        fn COMP_zstd_oneshot() -> *mut COMP_METHOD;
        fn SSL_CTX_get1_compressed_cert(*mut SSL_CTX, c_int, *mut *mut c_uchar, *mut usize) -> usize;
        fn SSL_set1_compressed_cert(*mut SSL, c_int, *mut c_uchar, usize, usize) -> c_int;
        // OpenSSL 4.0, for Encrypted ClientHello.
        fn SSL_set1_ech_config_list(*mut SSL, *const c_uchar, usize) -> c_int;
        fn SSL_ech_get1_status(*mut SSL, *mut *mut c_char, *mut *mut c_char) -> c_int;
        fn SSL_ech_get1_retry_config(*mut SSL, *mut *mut c_uchar, *mut usize) -> c_int;
        fn OSSL_ECHSTORE_new(*mut OSSL_LIB_CTX, *const c_char) -> *mut OSSL_ECHSTORE;
        fn OSSL_ECHSTORE_free(*mut OSSL_ECHSTORE);
        fn OSSL_ECHSTORE_set1_key_and_read_pem(*mut OSSL_ECHSTORE, *mut EVP_PKEY, *mut BIO, c_int) -> c_int;
        fn OSSL_ECHSTORE_num_entries(*const OSSL_ECHSTORE, *mut c_int) -> c_int;
        fn OSSL_ECHSTORE_num_keys(*mut OSSL_ECHSTORE, *mut c_int) -> c_int;
        fn SSL_CTX_set1_echstore(*mut SSL_CTX, *mut OSSL_ECHSTORE) -> c_int;
        // Older, and used with it.
        fn BIO_s_mem() -> *const BIO_METHOD;
        fn BIO_free(*mut BIO) -> c_int;
        fn PEM_write_bio(*mut BIO, *const c_char, *const c_char, *const c_uchar, c_long) -> c_int;
        fn SSL_CTX_set_client_hello_cb(*mut SSL_CTX, ClientHello, *mut c_void);
        fn SSL_client_hello_get0_ciphers(*mut SSL, *mut *const c_uchar) -> usize;
        fn SSL_client_hello_get0_ext(*mut SSL, c_uint, *mut *const c_uchar, *mut usize) -> c_int;
    }
}

// --- ssl.h ---

pub(crate) const ERROR_WANT_READ: c_int = 2;
pub(crate) const ERROR_WANT_WRITE: c_int = 3;
pub(crate) const ERROR_ZERO_RETURN: c_int = 6;

pub(crate) const CTRL_MODE: c_int = 33;
pub(crate) const CTRL_SET_READ_AHEAD: c_int = 41;
pub(crate) const CTRL_SET_SESS_CACHE_MODE: c_int = 44;
pub(crate) const CTRL_SET_MAX_SEND_FRAGMENT: c_int = 52;
pub(crate) const CTRL_SET_TLSEXT_HOSTNAME: c_int = 55;
pub(crate) const CTRL_SET_TLSEXT_STATUS_REQ_CB: c_int = 63;
pub(crate) const CTRL_SET_TLSEXT_STATUS_REQ_TYPE: c_int = 65;
pub(crate) const CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP: c_int = 70;
pub(crate) const CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP: c_int = 71;
pub(crate) const CTRL_SET_GROUPS_LIST: c_int = 92;
pub(crate) const CTRL_SET_SIGALGS_LIST: c_int = 98;
pub(crate) const CTRL_SET_CLIENT_SIGALGS_LIST: c_int = 102;
pub(crate) const CTRL_SET_MIN_PROTO_VERSION: c_int = 123;
pub(crate) const CTRL_SET_MAX_PROTO_VERSION: c_int = 124;
pub(crate) const CTRL_GET_NEGOTIATED_GROUP: c_int = 134;

pub(crate) const MODE_ACCEPT_MOVING_WRITE_BUFFER: c_long = 0x2;
pub(crate) const MODE_AUTO_RETRY: c_long = 0x4;
pub(crate) const MODE_NO_AUTO_CHAIN: c_long = 0x8;
pub(crate) const MODE_RELEASE_BUFFERS: c_long = 0x10;

pub(crate) const OP_NO_TICKET: u64 = 1 << 14;
pub(crate) const OP_NO_COMPRESSION: u64 = 1 << 17;
/// Since OpenSSL 3.2, which otherwise offers to if it was built with that; before, they say nothing.
pub(crate) const OP_NO_CERTIFICATE_COMPRESSION: u64 = 1 << 32 | 1 << 33;
pub(crate) const OP_CIPHER_SERVER_PREFERENCE: u64 = 1 << 22;
pub(crate) const OP_NO_ANTI_REPLAY: u64 = 1 << 24;
pub(crate) const OP_NO_RENEGOTIATION: u64 = 1 << 30;
pub(crate) const OP_ECH_GREASE: u64 = 1 << 37;
pub(crate) const OP_ECH_TRIALDECRYPT: u64 = 1 << 38;

pub(crate) const SESS_CACHE_OFF: c_long = 0;
pub(crate) const SESS_CACHE_CLIENT: c_long = 1;
pub(crate) const SESS_CACHE_SERVER: c_long = 2;
pub(crate) const SESS_CACHE_NO_INTERNAL: c_long = 0x300;

pub(crate) const VERIFY_NONE: c_int = 0;
pub(crate) const VERIFY_PEER: c_int = 1;
pub(crate) const VERIFY_FAIL_IF_NO_PEER_CERT: c_int = 2;

/// Both directions are closed.
pub(crate) const SHUT_DOWN: c_int = 3;

pub(crate) const EARLY_DATA_REJECTED: c_int = 1;
pub(crate) const EARLY_DATA_ACCEPTED: c_int = 2;
pub(crate) const READ_EARLY_DATA_ERROR: c_int = 0;
pub(crate) const READ_EARLY_DATA_FINISH: c_int = 2;

pub(crate) const KEY_UPDATE_REQUESTED: c_int = 1;
pub(crate) const KEY_UPDATE_NONE: c_int = -1;

pub(crate) const TICKET_NO_DECRYPT: c_int = 4;
pub(crate) const TICKET_SUCCESS: c_int = 5;
pub(crate) const TICKET_SUCCESS_RENEW: c_int = 6;
pub(crate) const TICKET_RETURN_IGNORE_RENEW: c_int = 2;
pub(crate) const TICKET_RETURN_USE_RENEW: c_int = 4;

pub(crate) const TLSEXT_ERR_OK: c_int = 0;
pub(crate) const TLSEXT_ERR_ALERT_FATAL: c_int = 2;
pub(crate) const TLSEXT_ERR_NOACK: c_int = 3;
pub(crate) const TLSEXT_STATUSTYPE_OCSP: c_long = 1;

/// Only the callback's first argument matters: `write_p` of a message that is sent.
pub(crate) const RT_ALERT: c_int = 21;
pub(crate) const RT_HANDSHAKE: c_int = 22;

// --- err.h, crypto.h, bio.h, rsa.h, obj_mac.h ---

pub(crate) const LIB_SSL: c_ulong = 20;
pub(crate) const TXT_STRING: c_int = 2;
pub(crate) const LIB_STORE: c_ulong = 44;
pub(crate) const LIB_PROVIDER: c_ulong = 57;
pub(crate) const EX_INDEX_SSL: c_int = 0;
pub(crate) const INIT_NO_ATEXIT: u64 = 0x0008_0000;
pub(crate) const VERSION_TEXT: c_int = 0;
pub(crate) const BIO_TYPE_SOURCE_SINK: c_int = 0x0400;
pub(crate) const BIO_CTRL_FLUSH: c_int = 11;
pub(crate) const BIO_FLAGS_READ: c_int = 1;
pub(crate) const BIO_FLAGS_WRITE: c_int = 2;
pub(crate) const BIO_FLAGS_SHOULD_RETRY: c_int = 8;
/// These, and the one for special reasons.
pub(crate) const BIO_FLAGS_RETRY: c_int = 0x0f;
pub(crate) const RSA_PKCS1_PSS_PADDING: c_int = 6;
pub(crate) const RSA_PSS_SALTLEN_DIGEST: c_int = -1;
pub(crate) const NID_RSA: c_int = 6;
pub(crate) const NID_RSA_PSS: c_int = 912;
pub(crate) const NID_EC: c_int = 408;
pub(crate) const NID_ED25519: c_int = 1087;
pub(crate) const NID_ED448: c_int = 1088;
pub(crate) const PARAM_INTEGER: c_uint = 1;
pub(crate) const PARAM_UNSIGNED_INTEGER: c_uint = 2;
pub(crate) const PARAM_UTF8_STRING: c_uint = 4;
pub(crate) const PARAM_OCTET_STRING: c_uint = 5;
pub(crate) const PARAM_UTF8_PTR: c_uint = 6;
pub(crate) const PARAM_UNMODIFIED: usize = usize::MAX;

// --- store.h ---

pub(crate) const STORE_INFO_PKEY: c_int = 4;
pub(crate) const STORE_INFO_CERT: c_int = 5;

// --- core_dispatch.h: what a provider's functions are told by; the numbers are a part of OpenSSL's ABI ---

pub(crate) const OP_KEYMGMT: c_int = 10;
pub(crate) const OP_SIGNATURE: c_int = 12;

pub(crate) const FUNC_PROVIDER_QUERY_OPERATION: c_int = 1027;

pub(crate) const FUNC_KEYMGMT_NEW: c_int = 1;
pub(crate) const FUNC_KEYMGMT_FREE: c_int = 10;
pub(crate) const FUNC_KEYMGMT_GET_PARAMS: c_int = 11;
pub(crate) const FUNC_KEYMGMT_GETTABLE_PARAMS: c_int = 12;
pub(crate) const FUNC_KEYMGMT_QUERY_OPERATION_NAME: c_int = 20;
pub(crate) const FUNC_KEYMGMT_HAS: c_int = 21;
pub(crate) const FUNC_KEYMGMT_MATCH: c_int = 23;
pub(crate) const FUNC_KEYMGMT_IMPORT: c_int = 40;
pub(crate) const FUNC_KEYMGMT_IMPORT_TYPES: c_int = 41;

pub(crate) const KEYMGMT_SELECT_PRIVATE_KEY: c_int = 0x01;
pub(crate) const KEYMGMT_SELECT_PUBLIC_KEY: c_int = 0x02;
pub(crate) const KEYMGMT_SELECT_ALL_PARAMETERS: c_int = 0x84;

pub(crate) const FUNC_SIGNATURE_NEWCTX: c_int = 1;
pub(crate) const FUNC_SIGNATURE_DIGEST_SIGN_INIT: c_int = 8;
pub(crate) const FUNC_SIGNATURE_DIGEST_SIGN: c_int = 11;
pub(crate) const FUNC_SIGNATURE_FREECTX: c_int = 16;
pub(crate) const FUNC_SIGNATURE_SET_CTX_PARAMS: c_int = 20;
pub(crate) const FUNC_SIGNATURE_SETTABLE_CTX_PARAMS: c_int = 21;
