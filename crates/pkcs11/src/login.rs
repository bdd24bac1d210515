//! Logging in, and PINs.
//!
//! - A login is the process's: all sessions with a token have it, and it lasts until the last of them ends. So
//!   one is kept.
//! - Some tokens accept any PIN while somebody is logged in. So the state of the session is looked at before, and
//!   a PIN that is not the one that we have logged in with is refused here.
//! - A PIN that the token has rejected is not tried again in this process: tokens lock after a few.
//! - One thread logs in; the others wait for it. It asks for the PIN with no lock held.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;

use aws_lc_rs::digest;
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::session::{SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use polytls_core::Cause;
use zeroize::Zeroizing;

use crate::error::{Error, failed};
use crate::module::{LoginState, Module};
use crate::session::Session;
use crate::uri::PinReference;

/// The longest PIN file that is read, in bytes.
const LONGEST_PIN: u64 = 4096;

/// Whose PIN is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRequest {
    /// The token's label.
    pub token: String,
    /// The token's serial number.
    pub serial: String,
    /// The token's manufacturer.
    pub manufacturer: String,
    /// Whether the key wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE).
    pub for_signature: bool,
    /// Whether the token says that a wrong PIN now locks it.
    pub is_final_try: bool,
}

/// Who knows the PIN. Called with no lock held, once for a login.
pub trait AskPin: Send + Sync + fmt::Debug {
    /// The PIN.
    ///
    /// # Errors
    ///
    /// Why there is none, and what was raised.
    fn ask(&self, request: &PinRequest) -> Result<Zeroizing<Vec<u8>>, (String, Option<Cause>)>;
}

/// Where the PIN of a key comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pin {
    pub(crate) reference: Option<PinReference>,
    pub(crate) callback: Option<Arc<dyn AskPin>>,
}

impl Pin {
    /// The PIN for that login; `None`: there is none to be had.
    fn get(
        &self,
        info: &TokenInfo,
        for_signature: bool,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        match (&self.reference, &self.callback) {
            (Some(PinReference::Value(value)), _) => Ok(Some(value.clone())),
            (Some(PinReference::File(path)), _) => from_file(path).map(Some),
            (None, Some(callback)) => {
                let request = PinRequest {
                    token: info.label().to_owned(),
                    serial: info.serial_number().to_owned(),
                    manufacturer: info.manufacturer_id().to_owned(),
                    for_signature,
                    is_final_try: info.user_pin_final_try(),
                };
                let asked = callback.ask(&request);
                let pin = asked.map_err(|(why, cause)| Error::NoPin { why, cause })?;
                Ok(Some(pin))
            }
            (None, None) => Ok(None),
        }
    }
}

/// The first line of a file, as p11-kit and OpenSC have it.
fn from_file(path: &std::path::Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    use std::io::Read as _;

    let cannot = |why: &dyn fmt::Display| Error::NoPin {
        why: format!("the PIN cannot be read from {}: {why}", path.display()),
        cause: None,
    };
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_PIN as usize));
    file.take(LONGEST_PIN)
        .read_to_end(&mut text)
        .map_err(|error| cannot(&error))?;
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    if let Some(end) = end {
        text.truncate(end);
    }
    if text.is_empty() {
        return Err(cannot(&"its first line is empty"));
    }
    Ok(text)
}

fn hash(pin: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, pin).as_ref());
    hash
}

/// `pin` as the library takes it, which wipes it.
fn secret(pin: &[u8]) -> Result<AuthPin, Error> {
    let text = std::str::from_utf8(pin).map_err(|_| Error::NoPin {
        why: "the PIN must be UTF-8 (PKCS#11 v2.40 section 5.6)".to_owned(),
        cause: None,
    })?;
    Ok(AuthPin::new(text.to_owned().into()))
}

/// The one login in progress for a token, until it is dropped.
struct InProgress<'a> {
    module: &'a Module,
    token: (String, String),
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        if let Some(state) = lock(self.module).get_mut(&self.token) {
            state.in_progress = None;
        }
        self.module.login_ended.notify_all();
    }
}

fn lock(
    module: &Module,
) -> MutexGuard<'_, std::collections::BTreeMap<(String, String), LoginState>> {
    module.logins.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Module {
    /// Logs the process in to the token of `session`, unless it is, or unless it need not be.
    pub(crate) fn log_in(
        &self,
        session: &Session,
        slot: Slot,
        info: &TokenInfo,
        pin: &Pin,
    ) -> Result<(), Error> {
        if !info.login_required() {
            return Ok(());
        }
        let label = || info.label().to_owned();
        let token = token_of(info);
        let mut logins = lock(self);
        loop {
            let state = logins.entry(token.clone()).or_default();
            match state.in_progress {
                None => break,
                Some(thread) if thread == thread::current().id() => {
                    return Err(Error::NoPin {
                        why: "a PIN callback must not use the token that it returns the PIN for"
                            .to_owned(),
                        cause: None,
                    });
                }
                Some(_) => {
                    logins = self
                        .login_ended
                        .wait(logins)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let is_logged_in = {
            let now = session
                .get_session_info()
                .map_err(failed("tell its state"))?;
            matches!(
                now.session_state(),
                SessionState::RoUser | SessionState::RwUser
            )
        };
        let state = logins.entry(token.clone()).or_default();
        if !is_logged_in {
            state.accepted = None;
            state.keeper = None;
        }
        state.in_progress = Some(thread::current().id());
        let known = state.accepted;
        drop(logins);
        let _in_progress = InProgress {
            module: self,
            token: token.clone(),
        };
        if is_logged_in {
            // A PIN that is at hand must be the right one; nobody is asked for it.
            return match (&pin.reference, known) {
                (Some(_), Some(known)) => match pin.get(info, false)? {
                    Some(given) if hash(&given) != known => Err(Error::WrongPin { token: label() }),
                    _ => Ok(()),
                },
                _ => Ok(()),
            };
        }
        if info.user_pin_locked() {
            return Err(Error::PinLocked { token: label() });
        }
        let (secret, hashed) = self.secret(info, pin, false)?;
        let keeper = self.pkcs11.open_ro_session(slot);
        let keeper = keeper.map_err(failed("open a session"))?;
        match session.login(UserType::User, secret.as_ref()) {
            Ok(()) => {
                let mut logins = lock(self);
                let state = logins.entry(token).or_default();
                state.accepted = hashed;
                state.keeper = Some(keeper);
                Ok(())
            }
            Err(CryptokiError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(self.refused(info, hashed, "log in", error)),
        }
    }

    /// The login that a key wants for each signature (CKU_CONTEXT_SPECIFIC), after C_SignInit.
    pub(crate) fn log_in_for_signature(
        &self,
        session: &Session,
        info: &TokenInfo,
        pin: &Pin,
    ) -> Result<(), Error> {
        let (secret, hashed) = self.secret(info, pin, true)?;
        let outcome = session.login(UserType::ContextSpecific, secret.as_ref());
        outcome.map_err(|error| self.refused(info, hashed, "log in for a signature", error))
    }

    /// The PIN to log in with, and its hash; `None` where the token has a keypad of its own.
    fn secret(
        &self,
        info: &TokenInfo,
        pin: &Pin,
        for_signature: bool,
    ) -> Result<(Option<AuthPin>, Option<[u8; 32]>), Error> {
        let Some(given) = pin.get(info, for_signature)? else {
            if info.protected_authentication_path() {
                return Ok((None, None));
            }
            let token = info.label().to_owned();
            return Err(Error::PinRequired { token });
        };
        let hashed = hash(&given);
        let state = lock(self);
        if state
            .get(&token_of(info))
            .is_some_and(|state| state.rejected.contains(&hashed))
        {
            let token = info.label().to_owned();
            return Err(Error::WrongPin { token });
        }
        drop(state);
        Ok((Some(secret(&given)?), Some(hashed)))
    }

    /// Why a login has failed. A PIN that was rejected is remembered.
    fn refused(
        &self,
        info: &TokenInfo,
        hashed: Option<[u8; 32]>,
        what: &'static str,
        error: CryptokiError,
    ) -> Error {
        let token = info.label().to_owned();
        match error {
            CryptokiError::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            ) => {
                let mut logins = lock(self);
                let state = logins.entry(token_of(info)).or_default();
                state.rejected.extend(hashed);
                Error::WrongPin { token }
            }
            CryptokiError::Pkcs11(RvError::PinLocked, _) => Error::PinLocked { token },
            error => failed(what)(error),
        }
    }
}

/// What tells one token of a module from others.
fn token_of(info: &TokenInfo) -> (String, String) {
    (info.serial_number().to_owned(), info.label().to_owned())
}
