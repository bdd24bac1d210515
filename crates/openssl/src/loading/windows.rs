//! Loading libraries on Windows. The names are those of `unix.rs`.

use std::path::PathBuf;
use std::ptr;

use libloading::Error;
use libloading::os::windows::{
    LOAD_LIBRARY_SEARCH_DEFAULT_DIRS, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, Library,
};
use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::Diagnostics::Debug::IMAGE_DIRECTORY_ENTRY_IMPORT;
#[cfg(target_pointer_width = "32")]
use windows_sys::Win32::System::Diagnostics::Debug::IMAGE_NT_HEADERS32 as Headers;
#[cfg(target_pointer_width = "64")]
use windows_sys::Win32::System::Diagnostics::Debug::IMAGE_NT_HEADERS64 as Headers;
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GetModuleHandleExW,
};
use windows_sys::Win32::System::SystemServices::{IMAGE_DOS_HEADER, IMAGE_IMPORT_DESCRIPTOR};

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

/// What to do if there is none.
pub(crate) const REMEDY: &str =
    "use a Python whose ssl has it, or choose a libssl with polytls.engines.libssl.use";

/// A libssl that is loaded, with the modules that it is linked to, libcrypto among them.
pub(crate) struct Libssl(Vec<Library>);

impl Libssl {
    /// The one of this name, if this process has it already.
    pub(crate) fn present(name: &str) -> Option<Self> {
        Library::open_already_loaded(name).ok().map(Self::of)
    }

    /// The one of this name or path. Neither the current folder nor PATH is searched, where anybody may have put
    /// one; `os.add_dll_directory` adds folders.
    ///
    /// # Safety
    ///
    /// Its code is run.
    pub(crate) unsafe fn load(name: &str) -> Result<Self, Error> {
        let mut flags = LOAD_LIBRARY_SEARCH_DEFAULT_DIRS;
        let mut path = PathBuf::from(name);
        if path.is_absolute() {
            // Its libcrypto is beside it.
            flags |= LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR;
            // Windows takes no slashes here. What cannot be made a path cannot be loaded either, and that says why.
            path = std::path::absolute(&path).unwrap_or(path);
        }
        // SAFETY: the caller's.
        unsafe { Library::load_with_flags(path.as_os_str(), flags) }.map(Self::of)
    }

    fn of(libssl: Library) -> Self {
        let module = libssl.into_raw();
        // SAFETY: it is loaded.
        let mut modules = unsafe { linked_to(module as HMODULE) };
        // SAFETY: the handle is that of the library, which is given up.
        modules.insert(0, unsafe { Library::from_raw(module) });
        Self(modules)
    }

    /// A function of it, or of its libcrypto: GetProcAddress looks through one module.
    ///
    /// # Safety
    ///
    /// `F` is the type of the function.
    pub(crate) unsafe fn function<F: Copy>(&self, name: &str) -> Option<F> {
        self.0.iter().find_map(|module| {
            // SAFETY: the caller's.
            unsafe { module.get(name) }.ok().map(|found| *found)
        })
    }
}

/// The modules that a module is linked to: those that have the first function it takes from each. By their names
/// they could not be told from others that are called alike.
///
/// # Safety
///
/// The module is loaded.
unsafe fn linked_to(module: HMODULE) -> Vec<Library> {
    let base = module.cast::<u8>();
    let mut found = Vec::new();
    // SAFETY: a handle is the address of the module's image, whose headers and table of imports stay as Windows has
    // read them; it has put the addresses of functions where `FirstThunk` says (PE Format, «Import Address Table»).
    unsafe {
        let dos = base.cast::<IMAGE_DOS_HEADER>();
        let headers = base.offset((*dos).e_lfanew as isize).cast::<Headers>();
        let directories = (*headers).OptionalHeader.DataDirectory;
        let imports = directories[usize::from(IMAGE_DIRECTORY_ENTRY_IMPORT)].VirtualAddress;
        if imports == 0 {
            return found;
        }
        let mut import = base.add(imports as usize).cast::<IMAGE_IMPORT_DESCRIPTOR>();
        while (*import).FirstThunk != 0 {
            let function = *base.add((*import).FirstThunk as usize).cast::<*const u16>();
            let mut other = ptr::null_mut();
            // It counts as loaded once more.
            let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS;
            if GetModuleHandleExW(flags, function, &raw mut other) != 0 {
                found.push(Library::from_raw(other as isize));
            }
            import = import.add(1);
        }
    }
    found
}
