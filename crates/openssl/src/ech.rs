//! Encrypted ClientHello (RFC 9849) on clients, which OpenSSL has since 4.0.
//!
//! OpenSSL changes to the public name by itself when a server rejects, and says so in no callback. So the verdict
//! asks for the status first: what is not known to be accepted is rejected.

use std::ffi::{c_char, c_int, c_uchar};
use std::ptr;
use std::sync::Arc;

use polytls_core::ech::{self, Ech, Suite};
use polytls_core::pki_types::ServerName;
use polytls_core::{Effective, Error, HostName, fork};

use crate::api::{self, HpkeSuite, OSSL_HPKE_CTX, SSL};
use crate::blame::Fault;
use crate::library::Library;
use crate::scope::Scope;
use crate::tables::nothing;

/// `SSL_ech_get1_status(3)`: the server has decrypted it; in the second case, its certificate was refused.
const ACCEPTED: [c_int; 2] = [1, -102];
const MODE_BASE: c_int = 0;
const SENDER: c_int = 0;
const TLS13: std::ffi::c_long = 0x0304;

/// What one connection is encrypted with.
#[derive(Debug)]
pub(crate) struct Prepared {
    list: Vec<u8>,
    /// The name that the connection is for.
    pub(crate) host: HostName,
    pub(crate) public_name: ServerName<'static>,
}

/// What OpenSSL has for it; all or nothing.
struct Functions {
    set: unsafe extern "C" fn(*mut SSL, *const c_uchar, usize) -> c_int,
    usable: Usable,
}

/// What tells whether something can be encrypted to a key; all or nothing.
pub(crate) struct Usable {
    check: unsafe extern "C" fn(HpkeSuite) -> c_int,
    begin: unsafe extern "C" fn(
        c_int,
        HpkeSuite,
        c_int,
        *mut api::OSSL_LIB_CTX,
        *const c_char,
    ) -> *mut OSSL_HPKE_CTX,
    end: unsafe extern "C" fn(*mut OSSL_HPKE_CTX),
    size: unsafe extern "C" fn(HpkeSuite) -> usize,
    encapsulate: unsafe extern "C" fn(
        *mut OSSL_HPKE_CTX,
        *mut c_uchar,
        *mut usize,
        *const c_uchar,
        usize,
        *const c_uchar,
        usize,
    ) -> c_int,
}

impl Functions {
    fn of(library: &Library) -> Option<Self> {
        library.SSL_ech_get1_status?;
        library.SSL_ech_get1_retry_config?;
        Some(Self {
            set: library.SSL_set1_ech_config_list?,
            usable: Usable::new(library)?,
        })
    }
}

impl Usable {
    pub(crate) fn new(library: &Library) -> Option<Self> {
        Some(Self {
            check: library.OSSL_HPKE_suite_check?,
            begin: library.OSSL_HPKE_CTX_new?,
            end: library.OSSL_HPKE_CTX_free?,
            size: library.OSSL_HPKE_get_public_encap_size?,
            encapsulate: library.OSSL_HPKE_encap?,
        })
    }

    /// Whether something can be encrypted to this key: OpenSSL would find out when it sends ClientHello.
    pub(crate) fn is(&self, library: &Scope, suite: Suite, key: &[u8]) -> bool {
        let suite = HpkeSuite {
            kem: suite.kem,
            kdf: suite.kdf,
            aead: suite.aead,
        };
        // SAFETY: the context is ours, and freed; memory is as long as it says.
        unsafe {
            if (self.check)(suite) != 1 {
                return false;
            }
            let context = (self.begin)(
                MODE_BASE,
                suite,
                SENDER,
                library.context,
                library.properties(),
            );
            if context.is_null() {
                return false;
            }
            let mut encapsulated = vec![0; (self.size)(suite)];
            let mut length = encapsulated.len();
            let result = (self.encapsulate)(
                context,
                encapsulated.as_mut_ptr(),
                &raw mut length,
                key.as_ptr(),
                key.len(),
                ptr::null(),
                0,
            );
            (self.end)(context);
            result == 1
        }
    }
}

/// Whether this OpenSSL has it.
pub(crate) fn is_supported(library: &Library) -> bool {
    Functions::of(library).is_some()
}

/// Chooses from a list.
pub(crate) fn prepare(
    library: &'static Scope,
    list: &[u8],
    host: Option<&HostName>,
    effective: &Effective,
) -> Result<Ech, Error> {
    let functions =
        Functions::of(library).ok_or_else(|| Error::configuration(ech::FIELD, ech::UNSUPPORTED))?;
    let _call = fork::undivided();
    library.clean();
    let chosen = ech::choose(list, host, &effective.versions, |suite, key| {
        let usable = functions.usable.is(library, suite, key);
        library.clean();
        usable
    })?;
    let host = host.ok_or_else(|| Error::Internal("a connection without a name".to_owned()))?;
    Ok(Ech(Arc::new(Prepared {
        list: chosen.list,
        host: host.clone(),
        public_name: chosen.public_name,
    })))
}

/// Has a new connection, `ssl`, encrypt its ClientHello, and offer TLS 1.3 alone.
pub(crate) fn set(
    library: &'static Scope,
    ssl: *mut SSL,
    prepared: &Prepared,
) -> Result<(), Error> {
    let functions =
        Functions::of(library).ok_or_else(|| Error::configuration(ech::FIELD, ech::UNSUPPORTED))?;
    let list = &prepared.list;
    // SAFETY: the caller's connection; the list is copied.
    let set = unsafe {
        let command = api::CTRL_SET_MIN_PROTO_VERSION;
        (functions.set)(ssl, list.as_ptr(), list.len()) == 1
            && library.SSL_ctrl(ssl, command, TLS13, nothing()) == 1
    };
    if set {
        return Ok(());
    }
    let said = Fault::take(library).said();
    let message = format!("OpenSSL cannot use the configuration: {said}");
    Err(Error::configuration(ech::FIELD, message))
}

/// Whether the server has accepted, on a connection that encrypts its ClientHello.
///
/// # Safety
///
/// `ssl` is a connection of this library.
pub(crate) unsafe fn was_accepted(library: &Library, ssl: *mut SSL) -> bool {
    let Some(status) = library.SSL_ech_get1_status else {
        return false;
    };
    let (mut inner, mut outer) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the caller's connection; the names are ours then.
    let told = unsafe {
        let told = status(ssl, &raw mut inner, &raw mut outer);
        for name in [inner, outer] {
            library.CRYPTO_free(name.cast(), ptr::null(), 0);
        }
        told
    };
    library.clean();
    ACCEPTED.contains(&told)
}

/// The list that the server sent for another attempt, if it sent one that can be read.
///
/// # Safety
///
/// `ssl` is a connection of this library.
pub(crate) unsafe fn retry_configs(library: &Library, ssl: *mut SSL) -> Option<Vec<u8>> {
    let retry = library.SSL_ech_get1_retry_config?;
    let (mut list, mut length) = (ptr::null_mut(), 0);
    // SAFETY: the caller's connection; the list is ours then, and so long.
    let found = unsafe {
        let told = retry(ssl, &raw mut list, &raw mut length);
        let found = (told == 1 && !list.is_null())
            .then(|| std::slice::from_raw_parts(list, length).to_vec());
        library.CRYPTO_free(list.cast(), ptr::null(), 0);
        found
    };
    library.clean();
    found
}
