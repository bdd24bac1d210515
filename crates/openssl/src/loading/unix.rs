//! Loading libraries on Unix.

use std::ffi::c_int;

use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW};
use libloading::{Error, Library};

/// What the libraries are called, the preferred first.
#[cfg(target_os = "macos")]
pub(crate) const NAMES: &[&str] = &["libssl.4.dylib", "libssl.3.dylib"];
#[cfg(not(target_os = "macos"))]
pub(crate) const NAMES: &[&str] = &["libssl.so.4", "libssl.so.3"];

/// What to do if there is none.
pub(crate) const REMEDY: &str = "install it (Debian: the package libssl3)";

/// A libssl that is loaded, with the libcrypto that it is linked to.
pub(crate) struct Libssl(Library);

impl Libssl {
    /// The one of this name, if this process has it already.
    pub(crate) fn present(name: &str) -> Option<Self> {
        // dlfcn.h; libloading has no name for it.
        #[cfg(target_os = "linux")]
        const RTLD_NOLOAD: c_int = 4;
        #[cfg(any(target_os = "macos", target_os = "ios"))]
        const RTLD_NOLOAD: c_int = 0x10;
        #[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "ios")))]
        const RTLD_NOLOAD: c_int = 0x2000;
        // SAFETY: nothing is loaded, so nothing is run.
        unsafe { Opened::open(Some(name), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) }
            .ok()
            .map(|library| Self(library.into()))
    }

    /// The one of this name or path.
    ///
    /// # Safety
    ///
    /// Its code is run.
    pub(crate) unsafe fn load(name: &str) -> Result<Self, Error> {
        // SAFETY: the caller's.
        unsafe { Library::new(name) }.map(Self)
    }

    /// A function of it, or of its libcrypto: dlsym(3) looks through what a library is linked to.
    ///
    /// # Safety
    ///
    /// `F` is the type of the function.
    pub(crate) unsafe fn function<F: Copy>(&self, name: &str) -> Option<F> {
        // SAFETY: the caller's.
        unsafe { self.0.get(name) }.ok().map(|found| *found)
    }
}
