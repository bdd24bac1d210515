//! Where algorithms come from: a library context of OpenSSL's, and which of its implementations are wanted
//! (OSSL_LIB_CTX(3), property(7)). There is one scope for each set of [`Options`], for ever, as keys and
//! connections refer to it.
//!
//! The default library context belongs to the whole process: nothing is loaded into it here.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use polytls_core::Error;

use crate::api::{self, CONF_VALUE, OSSL_LIB_CTX, OSSL_PARAM, SSL_CTX};
use crate::blame::Fault;
use crate::crypto::Fetched;
use crate::library::Library;
use crate::objects::items;
use crate::tables::Offered;

/// Before this version a configuration file's `ssl_conf` section counts for the whole process, whatever context it is
/// loaded into (OpenSSL's issue 19248, mended by its pull request 29145).
const FIRST_WITH_OWN_SSL_CONF: std::ffi::c_ulong = 0x4000_0000;

/// What an application asks of OpenSSL beyond a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A property query (property(7)) that every algorithm has to meet.
    pub properties: Option<String>,
    /// The least security level (SSL_CTX_set_security_level(3)), 0 to 5; the system's may be higher.
    pub security_level: Option<u8>,
    /// Providers to load into a library context of its own; none are loaded there by themselves then.
    pub providers: Vec<String>,
    /// Whether there is to be a library context of its own.
    pub library_context: bool,
    /// A configuration file (config(5)) for a library context of its own.
    pub configuration_file: Option<PathBuf>,
}

/// See the module.
pub(crate) struct Scope {
    library: &'static Library,
    /// Null: the default one.
    pub(crate) context: *mut OSSL_LIB_CTX,
    properties: Option<CString>,
    pub(crate) level: Option<c_int>,
    /// The FIPS provider's version, where nothing but what it approves of can be had.
    pub(crate) fips: Option<String>,
    pub(crate) fetched: Fetched,
    offered: OnceLock<Offered>,
}

// SAFETY: a library context may be used by many threads at once; it is never freed.
unsafe impl Send for Scope {}
// SAFETY: as above.
unsafe impl Sync for Scope {}

impl std::ops::Deref for Scope {
    type Target = Library;

    fn deref(&self) -> &Library {
        self.library
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl Scope {
    /// The scope for these options.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`], with the option at fault.
    pub(crate) fn of(library: &'static Library, options: &Options) -> Result<&'static Self, Error> {
        static SCOPES: Mutex<Vec<(Options, &Scope)>> = Mutex::new(Vec::new());
        let mut scopes = SCOPES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, scope)) = scopes.iter().find(|(known, _)| known == options) {
            return Ok(scope);
        }
        library.clean();
        let made = Self::new(library, options);
        library.clean();
        let scope: &'static Self = Box::leak(Box::new(made?));
        scopes.push((options.clone(), scope));
        Ok(scope)
    }

    fn new(library: &'static Library, options: &Options) -> Result<Self, Error> {
        let text = |field: &'static str, text: &str| {
            CString::new(text).map_err(|_| Error::configuration(field, "a null character"))
        };
        let level = options.security_level;
        if level.is_some_and(|level| level > 5) {
            let said = "the level must be 0 to 5";
            return Err(Error::configuration("security_level", said));
        }
        let properties = options.properties.as_deref();
        let properties = properties
            .map(|query| text("properties", query))
            .transpose()?;
        let is_own = options.library_context
            || !options.providers.is_empty()
            || options.configuration_file.is_some();
        let context = if is_own {
            // SAFETY: a new context, which is never freed.
            let context = unsafe { library.OSSL_LIB_CTX_new() };
            if context.is_null() {
                return Err(Error::Internal("OpenSSL is out of memory".to_owned()));
            }
            context
        } else {
            ptr::null_mut()
        };
        let refused = |field: &'static str, what: String| {
            let fault = Fault::take(library);
            Error::configuration(field, format!("{what}: {}", fault.said()))
        };
        if let Some(path) = &options.configuration_file {
            let field = "configuration_file";
            let shown = path.display().to_string();
            let path = text(field, &shown)?;
            if library.version < FIRST_WITH_OWN_SSL_CONF && has_ssl_conf(library, context, &path) {
                return Err(Error::configuration(
                    field,
                    format!(
                        "{shown} has a section ssl_conf, which {} applies to every connection of \
                         the process, including those of ssl: remove it, or set OPENSSL_CONF",
                        library.text
                    ),
                ));
            }
            // SAFETY: the context is ours.
            if unsafe { library.OSSL_LIB_CTX_load_config(context, path.as_ptr()) } != 1 {
                return Err(refused(field, format!("OpenSSL cannot load {shown}")));
            }
        }
        for name in &options.providers {
            let name = text("providers", name)?;
            // SAFETY: the context is ours, and so is the reference, which is never given back.
            if unsafe { library.OSSL_PROVIDER_load(context, name.as_ptr()) }.is_null() {
                let name = name.to_string_lossy();
                return Err(refused(
                    "providers",
                    format!("OpenSSL cannot load {name:?}"),
                ));
            }
        }
        let mut scope = Self {
            library,
            context,
            properties,
            level: level.map(c_int::from),
            fips: None,
            fetched: Fetched::default(),
            offered: OnceLock::new(),
        };
        if scope.sha256().is_none() {
            let what = "OpenSSL's configuration does not provide SHA-256".to_owned();
            return Err(refused("properties", what));
        }
        scope.fips = scope.fips_provider();
        Ok(scope)
    }

    /// The property query, for functions that take one.
    pub(crate) fn properties(&self) -> *const c_char {
        self.properties
            .as_ref()
            .map_or(ptr::null(), |query| query.as_ptr())
    }

    /// The library, and whether it keeps to FIPS 140.
    pub(crate) fn text(&self) -> String {
        match &self.fips {
            Some(version) => format!("{}; FIPS provider {version}, active", self.library.text),
            None => self.library.text.clone(),
        }
    }

    /// A context with the system's settings, and no lower a security level than was asked for; null if there is
    /// none.
    pub(crate) fn new_context(&self) -> *mut SSL_CTX {
        // SAFETY: a new context of this scope.
        unsafe {
            let made = self.SSL_CTX_new_ex(self.context, self.properties(), self.TLS_method());
            if let Some(level) = self.level
                && !made.is_null()
                && self.SSL_CTX_get_security_level(made) < level
            {
                self.SSL_CTX_set_security_level(made, level);
            }
            made
        }
    }

    /// What it offers by itself, as configured by the system.
    pub(crate) fn offered(&'static self) -> &'static Offered {
        self.offered.get_or_init(|| Offered::find(self))
    }

    /// What to say of something that cannot be had here but might be elsewhere.
    pub(crate) fn approval(&self) -> String {
        self.fips.as_ref().map_or_else(String::new, |version| {
            format!("; the FIPS provider {version} is active, and may not approve of it")
        })
    }

    /// Whether every algorithm must be one that the FIPS provider approves of.
    pub(crate) fn keeps_to_fips(&self) -> bool {
        let query = self
            .properties
            .as_ref()
            .map(|query| query.to_string_lossy());
        let mut parts = query.iter().flat_map(|query| query.split(','));
        // SAFETY: the context is the default one or ours.
        parts.any(|part| matches!(part.trim(), "fips=yes" | "fips"))
            || unsafe { self.EVP_default_properties_is_fips_enabled(self.context) == 1 }
    }

    /// The version of the FIPS provider, if every algorithm must be one that it approves of.
    fn fips_provider(&self) -> Option<String> {
        if !self.keeps_to_fips() {
            return None;
        }
        // SAFETY: the context is the default one or ours; the reference is never given back, so that the
        // provider's texts stay.
        unsafe {
            let name = c"fips".as_ptr();
            if self.OSSL_PROVIDER_available(self.context, name) != 1 {
                return None;
            }
            let provider = self.OSSL_PROVIDER_load(self.context, name);
            if provider.is_null() {
                return None;
            }
            let mut version: *const c_char = ptr::null();
            let mut parameters = [
                OSSL_PARAM {
                    key: c"version".as_ptr(),
                    data_type: api::PARAM_UTF8_PTR,
                    data: (&raw mut version).cast::<c_void>(),
                    data_size: size_of::<*const c_char>(),
                    return_size: api::PARAM_UNMODIFIED,
                },
                OSSL_PARAM::END,
            ];
            let told = self.OSSL_PROVIDER_get_params(provider, parameters.as_mut_ptr()) == 1;
            Some(if told && !version.is_null() {
                CStr::from_ptr(version).to_string_lossy().into_owned()
            } else {
                "of an unknown version".to_owned()
            })
        }
    }
}

/// Whether loading the file would load settings of TLS. `false` for what cannot be read.
fn has_ssl_conf(library: &Library, context: *mut OSSL_LIB_CTX, path: &CStr) -> bool {
    // SAFETY: the configuration is ours, and freed; what it says is only looked at before that.
    unsafe {
        let file = library.NCONF_new_ex(context, ptr::null_mut());
        if file.is_null() {
            return false;
        }
        let mut line: c_long = 0;
        let read = library.NCONF_load(file, path.as_ptr(), &raw mut line) > 0;
        let modules = library.NCONF_get_string(file, ptr::null(), c"openssl_conf".as_ptr());
        let found = read && !modules.is_null() && {
            let entries = items(library, library.NCONF_get_section(file, modules));
            entries.into_iter().any(|entry| {
                let name = CStr::from_ptr((*entry.cast::<CONF_VALUE>()).name).to_bytes();
                // What follows a dot tells sections of one module apart.
                let end = name.iter().rposition(|byte| *byte == b'.');
                &name[..end.unwrap_or(name.len())] == b"ssl_conf"
            })
        };
        library.NCONF_free(file);
        library.clean();
        found
    }
}
