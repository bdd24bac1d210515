//! A session with a token, which is closed only where its number is still its own: not in a child of fork(2), and
//! not after the module was initialised anew.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;

use polytls_core::fork;

use crate::module::Module;

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    generation: u32,
    pub(crate) module: Arc<Module>,
    session: ManuallyDrop<cryptoki::session::Session>,
}

impl Session {
    pub(crate) fn new(session: cryptoki::session::Session, module: Arc<Module>) -> Self {
        Self {
            generation: fork::generation(),
            module,
            session: ManuallyDrop::new(session),
        }
    }

    /// Whether the module knows it.
    pub(crate) fn is_known(&self) -> bool {
        self.generation == fork::generation() && !self.module.is_over()
    }
}

impl Deref for Session {
    type Target = cryptoki::session::Session;

    fn deref(&self) -> &Self::Target {
        &self.session
    }
}

#[expect(unsafe_code, reason = "a session is dropped, or never")]
impl Drop for Session {
    fn drop(&mut self) {
        if self.is_known() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.session) }
        }
    }
}
