//! Loading libraries on Windows. The names are those of `unix.rs`.

use std::path::Path;

use libloading::os::windows::{
    LOAD_LIBRARY_SEARCH_DEFAULT_DIRS, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, Library as Opened,
};
use libloading::{Error, Library};

/// What the libraries are called, the preferred first; those of python.org's Python have no architecture in their
/// names.
#[cfg(target_arch = "x86_64")]
pub(crate) const NAMES: &[&str] = &[
    "libssl-4-x64.dll",
    "libssl-3-x64.dll",
    "libssl-4.dll",
    "libssl-3.dll",
];
#[cfg(target_arch = "aarch64")]
pub(crate) const NAMES: &[&str] = &[
    "libssl-4-arm64.dll",
    "libssl-3-arm64.dll",
    "libssl-4.dll",
    "libssl-3.dll",
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) const NAMES: &[&str] = &["libssl-4.dll", "libssl-3.dll"];

/// The library of this name, if this process has it already.
pub(crate) fn present(name: &str) -> Option<Library> {
    Opened::open_already_loaded(name).ok().map(Library::from)
}

/// The library of this name or path. Neither the current folder nor PATH is searched, where anybody may have put
/// one; `os.add_dll_directory` adds folders.
///
/// # Safety
///
/// Its code is run.
pub(crate) unsafe fn load(name: &str) -> Result<Library, Error> {
    let mut flags = LOAD_LIBRARY_SEARCH_DEFAULT_DIRS;
    if Path::new(name).is_absolute() {
        // Its libcrypto is beside it.
        flags |= LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR;
    }
    // SAFETY: the caller's.
    unsafe { Opened::load_with_flags(name, flags) }.map(Library::from)
}
