//! Modules: one for each file and process, loaded once and never unloaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::ThreadId;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::slot::{Slot, TokenInfo};
use polytls_core::fork::{PerProcess, undivided};

use crate::error::{Error, failed, is_stale, words};
use crate::uri::{ModuleReference, Uri};

/// A module of this process, initialised.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) path: PathBuf,
    pub(crate) pkcs11: Pkcs11,
    /// Logins by token (serial number and label), as they are the process's, not a session's.
    pub(crate) logins: Mutex<BTreeMap<(String, String), LoginState>>,
    /// Told when a login in progress has ended.
    pub(crate) login_ended: Condvar,
    /// Shared by calls. Only C_Finalize needs it to itself, and does not wait for it.
    calls: RwLock<()>,
    /// Whether it was initialised here, and not by another library of this process.
    is_ours: bool,
    /// Whether it was finalised.
    is_over: AtomicBool,
}

/// What is known of the login to one token.
#[derive(Debug, Default)]
pub(crate) struct LoginState {
    /// Keeps the login, which ends with the last session. Closed with the module, at the end of the process.
    pub(crate) keeper: Option<cryptoki::session::Session>,
    /// SHA-256 of the PIN that the token has accepted from us.
    pub(crate) accepted: Option<[u8; 32]>,
    /// SHA-256 of those that it has rejected: none is tried twice.
    pub(crate) rejected: Vec<[u8; 32]>,
    /// The thread that is logging in.
    pub(crate) in_progress: Option<ThreadId>,
}

/// Tokens, each with its slot.
pub(crate) type Tokens = Vec<(Slot, TokenInfo)>;

type Modules = Mutex<BTreeMap<PathBuf, Arc<Module>>>;

/// A child of fork(2) starts with none: it must call C_Initialize itself, and the sessions of its
/// parent are not its own (PKCS#11 v2.40 section 3.3).
static MODULES: PerProcess<Modules> = PerProcess::of_the_first(Mutex::new(BTreeMap::new()));

/// Where p11-kit puts the module that has all modules that it is configured for.
const PROXIES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so",
    "/usr/lib/aarch64-linux-gnu/p11-kit-proxy.so",
    "/usr/lib64/p11-kit-proxy.so",
    "/usr/lib/p11-kit-proxy.so",
    "/usr/local/lib/p11-kit-proxy.so",
    "/opt/homebrew/lib/p11-kit-proxy.dylib",
];

/// Where modules are, for `module-name`.
const FOLDERS: [&str; 12] = [
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    "/usr/lib/x86_64-linux-gnu/softhsm",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu/pkcs11",
    "/usr/lib/aarch64-linux-gnu/softhsm",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64/pkcs11",
    "/usr/lib64",
    "/usr/lib/pkcs11",
    "/usr/lib/softhsm",
    "/usr/lib",
    "/usr/local/lib",
];

impl Module {
    /// The module that `uri` names; p11-kit's proxy where it names none.
    pub(crate) fn of(uri: &Uri) -> Result<Arc<Self>, Error> {
        match &uri.module {
            Some(ModuleReference::Path(path)) => Self::load(path),
            Some(ModuleReference::Name(name)) => Self::load(&named(name)?),
            None => {
                let proxy = PROXIES.iter().map(Path::new).find(|path| path.is_file());
                let proxy = proxy.ok_or_else(|| {
                    Error::NoModule(
                        "the URI names no PKCS#11 module, and p11-kit-proxy.so was not found; add \
                         ?module-path=/path/of/the/module.so"
                            .to_owned(),
                    )
                })?;
                Self::load(proxy)
            }
        }
    }

    /// The module in that file.
    pub(crate) fn load(path: &Path) -> Result<Arc<Self>, Error> {
        let modules = MODULES.get(|_| Mutex::default());
        let mut modules = modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(path) {
            return Ok(Arc::clone(module));
        }
        let module = Arc::new(Self::initialised(path)?);
        modules.insert(path.to_owned(), Arc::clone(&module));
        Ok(module)
    }

    fn initialised(path: &Path) -> Result<Self, Error> {
        let cannot = |error: &CryptokiError| Error::Module {
            path: path.to_owned(),
            why: words(error),
        };
        let _whole = undivided();
        let pkcs11 = Pkcs11::new(path).map_err(|error| cannot(&error))?;
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        let is_ours = match pkcs11.initialize(arguments) {
            Ok(()) => true,
            Err(CryptokiError::Pkcs11(
                RvError::CryptokiAlreadyInitialized,
                Function::Initialize,
            )) => false,
            Err(error) => return Err(cannot(&error)),
        };
        Ok(Self {
            path: path.to_owned(),
            pkcs11,
            logins: Mutex::default(),
            login_ended: Condvar::new(),
            calls: RwLock::default(),
            is_ours,
            is_over: AtomicBool::new(false),
        })
    }

    /// To be held while something is asked of the module.
    pub(crate) fn calling(&self) -> RwLockReadGuard<'_, ()> {
        self.calls.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was finalised, and no session of it is one any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// The module after what is behind it (a service, a bus) has gone: initialised anew, as the standard has no
    /// other way. Where somebody is in a call, or another library has initialised it, it is left as it is.
    pub(crate) fn renewed(self: &Arc<Self>) -> Result<Arc<Self>, Error> {
        let modules = MODULES.get(|_| Mutex::default());
        let mut modules = modules.lock().unwrap_or_else(PoisonError::into_inner);
        match modules.get(&self.path) {
            Some(now) if Arc::ptr_eq(now, self) => {}
            // Another thread was first.
            Some(now) => return Ok(Arc::clone(now)),
            None => {}
        }
        if self.is_ours && !self.is_over() {
            let Ok(_alone) = self.calls.try_write() else {
                return Ok(Arc::clone(self));
            };
            self.is_over.store(true, Ordering::Release);
            modules.remove(&self.path);
            let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, state) in std::mem::take(&mut *logins) {
                // C_Finalize ends it, and its number may be another's afterwards.
                std::mem::forget(state.keeper);
            }
            drop(logins);
            // Whatever it says: C_Initialize tells whether the module can be used.
            drop(self.pkcs11.clone().finalize());
        } else if !self.is_over() {
            return Ok(Arc::clone(self));
        }
        let module = Arc::new(Self::initialised(&self.path)?);
        modules.insert(self.path.clone(), Arc::clone(&module));
        Ok(module)
    }

    /// The module with the tokens that are in it, those that nobody has initialised left out. Where there is none,
    /// or the module has lost what is behind it, it is initialised anew first: some look for tokens only then.
    pub(crate) fn with_tokens(self: Arc<Self>) -> Result<(Arc<Self>, Tokens), Error> {
        let calling = self.calling();
        match self.pkcs11.get_slots_with_token() {
            Ok(slots) if !slots.is_empty() => {
                let tokens = self.tokens(slots)?;
                drop(calling);
                return Ok((self, tokens));
            }
            Err(error) if !is_stale(&error) => return Err(failed("list its slots")(error)),
            _ => {}
        }
        drop(calling);
        let module = self.renewed()?;
        let calling = module.calling();
        let slots = module.pkcs11.get_slots_with_token();
        let tokens = module.tokens(slots.map_err(failed("list its slots"))?)?;
        drop(calling);
        Ok((module, tokens))
    }

    fn tokens(&self, slots: Vec<Slot>) -> Result<Tokens, Error> {
        let mut tokens = Vec::new();
        for slot in slots {
            match self.pkcs11.get_token_info(slot) {
                Ok(info) if info.token_initialized() => tokens.push((slot, info)),
                Ok(_) => {}
                // It was pulled since.
                Err(CryptokiError::Pkcs11(
                    RvError::TokenNotPresent
                    | RvError::DeviceRemoved
                    | RvError::SlotIdInvalid
                    | RvError::TokenNotRecognized,
                    _,
                )) => {}
                Err(error) => return Err(failed("tell what it is")(error)),
            }
        }
        Ok(tokens)
    }
}

fn named(name: &str) -> Result<PathBuf, Error> {
    let files = [
        format!("{name}.so"),
        format!("lib{name}.so"),
        format!("{name}.dylib"),
        format!("lib{name}.dylib"),
    ];
    FOLDERS
        .iter()
        .flat_map(|folder| files.iter().map(move |file| Path::new(folder).join(file)))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Error::NoModule(format!(
                "no PKCS#11 module {name:?} was found in {}; use module-path",
                FOLDERS.join(", ")
            ))
        })
}
