//! Which libssl is used, and how it is found.
//!
//! A process has one copy of a library of one name, whoever loads it first: glibc goes by its SONAME, even
//! with RTLD_LOCAL. So the copy that is there already is used, which may be that of Python's `_ssl`; only
//! without one, the system's is loaded. It is never unloaded: threads have state of OpenSSL's that is freed
//! when they end, by functions in it.
//!
//! OpenSSL queues errors by thread, and `SSL_get_error` goes by the queue. It is empty whenever OpenSSL is
//! called ([`Library::clean`]) and when a call is over, so nobody sees what is not theirs.

use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use polytls_core::Unavailable;

use crate::api::{self, Api};
use crate::loading::{Libssl, NAMES, REMEDY};
use crate::wire::Transport;

/// Versions that can be used, as `OPENSSL_VERSION_NUMBER` has them: 3.0 up to 5.0.
const VERSIONS: std::ops::Range<c_ulong> = 0x3000_0000..0x5000_0000;
/// From here on a list of groups says which of them key shares are sent of.
const MARKS_KEY_SHARES: c_ulong = 0x3050_0000;

/// OpenSSL, loaded, with what is made of it once.
pub(crate) struct Library {
    api: Api,
    pub(crate) version: c_ulong,
    pub(crate) text: String,
    /// Where an `SSL` keeps our data.
    pub(crate) ex_index: c_int,
    pub(crate) transport: Transport,
}

impl std::ops::Deref for Library {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What was asked for, and what has come of it.
struct State {
    chosen: Option<PathBuf>,
    loaded: Option<&'static Library>,
}

static STATE: Mutex<State> = Mutex::new(State {
    chosen: None,
    loaded: None,
});
/// The same as in [`STATE`], for callbacks.
static LOADED: OnceLock<&'static Library> = OnceLock::new();

/// Has this libssl used instead of the one that would be found; to be called before the first use of the
/// backend.
///
/// # Errors
///
/// [`Unavailable`] if another one is in use already.
pub fn use_library(path: PathBuf) -> Result<(), Unavailable> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = state.loaded
        && state.chosen.as_ref() != Some(&path)
    {
        return Err(Unavailable(format!(
            "{} is already in use: choose the library before the first use of OpenSSL",
            library.text
        )));
    }
    state.chosen = Some(path);
    Ok(())
}

/// The library; the next call looks again if there is none.
pub(crate) fn load() -> Result<&'static Library, Unavailable> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = state.loaded {
        return Ok(library);
    }
    let library: &'static Library = Box::leak(Box::new(find(&state)?));
    state.loaded = Some(library);
    Ok(LOADED.get_or_init(|| library))
}

/// The library that runs a callback.
pub(crate) fn loaded() -> Option<&'static Library> {
    LOADED.get().copied()
}

fn find(state: &State) -> Result<Library, Unavailable> {
    if let Some(path) = &state.chosen {
        let name = path.display().to_string();
        let opened =
            open(&name).map_err(|why| Unavailable(format!("it cannot be loaded: {why}")))?;
        return Library::new(opened, &name);
    }
    if let Some((name, present)) = NAMES
        .iter()
        .find_map(|name| Some((name, Libssl::present(name)?)))
    {
        return Library::new(present, name);
    }
    let mut failures = Vec::new();
    for name in NAMES {
        match open(name) {
            Ok(library) => return Library::new(library, name),
            Err(failure) => failures.push(failure),
        }
    }
    Err(unavailable(&failures))
}

fn unavailable(failures: &[String]) -> Unavailable {
    Unavailable(format!(
        "OpenSSL 3 or 4 was not found ({}); {REMEDY}",
        failures.join("; ")
    ))
}

fn open(name: &str) -> Result<Libssl, String> {
    // SAFETY: OpenSSL may be loaded at any time.
    unsafe { Libssl::load(name) }.map_err(|error| {
        // What the system says is behind it.
        let behind = std::error::Error::source(&error).map(ToString::to_string);
        let why = behind.unwrap_or_else(|| error.to_string());
        if why.contains(name) {
            why
        } else {
            format!("{name}: {why}")
        }
    })
}

impl Library {
    fn new(libssl: Libssl, name: &str) -> Result<Self, Unavailable> {
        // Never unloaded, see the module.
        let libssl = Box::leak(Box::new(libssl));
        let api = Api::find(libssl).map_err(|missing| {
            Unavailable(format!(
                "{name} is not OpenSSL 3 or 4: neither it nor what it is linked to has {missing}"
            ))
        })?;
        // SAFETY: they may be called at any time; the text is a constant of the library.
        let (version, text) = unsafe {
            let text = CStr::from_ptr(api.OpenSSL_version(api::VERSION_TEXT));
            (
                api.OpenSSL_version_num(),
                text.to_string_lossy().into_owned(),
            )
        };
        if !VERSIONS.contains(&version) {
            return Err(Unavailable(format!(
                "{name} is {text}; OpenSSL 3.0 to 4 can be used"
            )));
        }
        // SAFETY: without settings. Threads of ours may still run when the process ends, so nothing is to be
        // taken apart then.
        if unsafe { api.OPENSSL_init_ssl(api::INIT_NO_ATEXIT, ptr::null()) } != 1 {
            return Err(Unavailable(format!(
                "{text} cannot be initialized; its configuration file may be invalid"
            )));
        }
        let none: *mut c_void = ptr::null_mut();
        // SAFETY: no functions go with the index.
        let ex_index =
            unsafe { api.CRYPTO_get_ex_new_index(api::EX_INDEX_SSL, 0, none, none, none, none) };
        let transport = Transport::new(&api);
        let (Some(transport), true) = (transport, ex_index >= 0) else {
            return Err(Unavailable(format!("{text} is out of memory")));
        };
        Ok(Self {
            api,
            version,
            text,
            ex_index,
            transport,
        })
    }

    /// Whether a list of groups says which of them key shares are sent of.
    pub(crate) const fn marks_key_shares(&self) -> bool {
        self.version >= MARKS_KEY_SHARES
    }

    /// Whether it has ML-DSA.
    pub(crate) const fn has_ml_dsa(&self) -> bool {
        self.version >= MARKS_KEY_SHARES
    }

    /// The first error of this thread's queue in words, as it says most of what a provider has met. The queue is
    /// empty then.
    pub(crate) fn first_error(&self) -> String {
        // SAFETY: they may be called at any time; the text is a constant, or a provider's, which stays loaded.
        let said = unsafe {
            let text = self.ERR_reason_error_string(self.ERR_get_error());
            if text.is_null() {
                "it does not say why".to_owned()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        };
        self.clean();
        said
    }

    /// Empties this thread's queue of errors.
    pub(crate) fn clean(&self) {
        // SAFETY: they may be called at any time.
        unsafe {
            if self.ERR_peek_error() != 0 {
                self.ERR_clear_error();
            }
        }
    }
}
