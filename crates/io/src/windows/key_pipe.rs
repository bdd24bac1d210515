//! A named pipe that gives its contents to one reader, which has to be of this process.
//!
//! OpenSSL in Python's `ssl` reads keys from paths only. A file would leave them on a disk, so the path is
//! that of a pipe. What keeps others out, each for the case that the next does not:
//!
//! - the access list names the user of this process alone, and remote clients are refused;
//! - the name is random, and no other process can have created a pipe of that name before;
//! - the contents are written once the process of the reader is known to be this one. A pipe that another
//!   process has opened stays as it is until [`KeyPipe::end`], with nothing in it: meanwhile nobody can put
//!   one of their own in its place.
//!
//! The pipe has no buffer: what is written is either in the reader's memory or was never taken.
#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_CONNECTED, GetLastError, HANDLE,
    INVALID_HANDLE_VALUE, LocalFree, WAIT_OBJECT_0,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::Cryptography::{
    BCRYPT_USE_SYSTEM_PREFERRED_RNG, BCryptGenRandom,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER,
    TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_OUTBOUND, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, GetNamedPipeClientProcessId, PIPE_READMODE_BYTE,
    PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_WAIT,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcess, GetCurrentProcessId, INFINITE, OpenProcessToken, SetEvent,
    WaitForMultipleObjects,
};
use zeroize::Zeroizing;

/// What became of the contents.
enum Outcome {
    /// This process has read them, or did not open the pipe.
    Kept,
    /// Another process has opened it: the pipe, and the number of the process.
    Opened(
        #[expect(dead_code, reason = "keeps the name taken")] OwnedHandle,
        u32,
    ),
}

/// The pipe; dropping it ends it.
#[derive(Debug)]
pub struct KeyPipe {
    path: String,
    stop: Arc<OwnedHandle>,
    server: Option<JoinHandle<io::Result<Outcome>>>,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kept => "Kept",
            Self::Opened(..) => "Opened",
        })
    }
}

impl KeyPipe {
    /// Creates the pipe. A thread serves `contents` until [`Self::end`].
    pub fn serve(contents: Zeroizing<Vec<u8>>) -> io::Result<Self> {
        let path = format!(r"\\.\pipe\polytls-{:032x}", random()?);
        let pipe = created(&path)?;
        let stop = Arc::new(event()?);
        let stopped = Arc::clone(&stop);
        let server = thread::Builder::new()
            .name("polytls-key-pipe".to_owned())
            .spawn(move || served(pipe, &stopped, &contents))?;
        Ok(Self {
            path,
            stop,
            server: Some(server),
        })
    }

    /// What to open for reading.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Ends the pipe, and tells the process that opened it, if that was another one.
    ///
    /// What this process has opened and not yet read is lost. Later calls do nothing.
    pub fn end(&mut self) -> io::Result<Option<u32>> {
        let Some(server) = self.server.take() else {
            return Ok(None);
        };
        // SAFETY: the event is open as long as `self`.
        unsafe { SetEvent(self.stop.as_raw_handle()) };
        let ended = server
            .join()
            .map_err(|_| io::Error::other("the pipe's thread has panicked"))?;
        Ok(match ended? {
            Outcome::Kept => None,
            Outcome::Opened(_, process) => Some(process),
        })
    }
}

impl Drop for KeyPipe {
    fn drop(&mut self) {
        // Whoever wants to know has called it before.
        drop(self.end());
    }
}

fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    // SAFETY: it fills the array, whose length it gets.
    let status = unsafe {
        let flags = BCRYPT_USE_SYSTEM_PREFERRED_RNG;
        BCryptGenRandom(ptr::null_mut(), bytes.as_mut_ptr(), 16, flags)
    };
    if status != 0 {
        return Err(io::Error::other(format!(
            "BCryptGenRandom: status {status:#x}"
        )));
    }
    Ok(u128::from_ne_bytes(bytes))
}

fn created(path: &str) -> io::Result<OwnedHandle> {
    let access = Descriptor::of_this_user()?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: access.0,
        bInheritHandle: 0,
    };
    let name = wide(path);
    // SAFETY: the name ends with a null, and the descriptor lives until after the call.
    let made = unsafe {
        CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_OUTBOUND | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED,
            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
            1,
            0,
            0,
            0,
            &raw const attributes,
        )
    };
    if made == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    owned(made)
}

/// Memory of a security descriptor, to be freed.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    /// Owned by the user of this process, who alone may read.
    fn of_this_user() -> io::Result<Self> {
        let user = this_user()?;
        let text = wide(&format!("O:{user}D:P(A;;GR;;;{user})"));
        let mut made = ptr::null_mut();
        // SAFETY: the text ends with a null; what is made belongs to `Self`.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut made,
                ptr::null_mut(),
            )
        };
        checked(done)?;
        Ok(Self(made))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was allocated by the system, for this use of `LocalFree`.
        unsafe { LocalFree(self.0) };
    }
}

/// The identifier (SID) of the user of this process.
fn this_user() -> io::Result<String> {
    let mut token = ptr::null_mut();
    // SAFETY: the pseudo handle of this process is always valid.
    checked(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) })?;
    let token = owned(token)?;
    // A TOKEN_USER and the SID behind it, of 68 bytes at most; of u64, as it has pointers.
    let mut user = [0_u64; 16];
    let mut length = 0;
    // SAFETY: the memory is as long as it is told, and aligned for what is written.
    checked(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            user.as_mut_ptr().cast(),
            size_of_val(&user) as u32,
            &raw mut length,
        )
    })?;
    let mut text = ptr::null_mut();
    // SAFETY: the call before has filled a TOKEN_USER in, which points into the same memory.
    checked(unsafe {
        let found = user.as_ptr().cast::<TOKEN_USER>();
        ConvertSidToStringSidW((*found).User.Sid, &raw mut text)
    })?;
    // SAFETY: the text ends with a null, and is freed once, after it was copied.
    unsafe {
        let length = (0..).take_while(|&at| *text.add(at) != 0).count();
        let copied = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast());
        Ok(copied)
    }
}

/// Gives the contents to the first reader, if it is of this process.
fn served(pipe: OwnedHandle, stop: &OwnedHandle, contents: &[u8]) -> io::Result<Outcome> {
    let handle = pipe.as_raw_handle();
    // SAFETY: the pipe is open until the end of this function, and `overlapped` waits for the call's end.
    let connected = overlapped(handle, stop, |call| unsafe {
        ConnectNamedPipe(handle, call)
    });
    match connected {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(Outcome::Kept),
        Err(error) if error.raw_os_error() == Some(ERROR_PIPE_CONNECTED as i32) => {}
        Err(error) => return Err(error),
    }
    let mut process = 0;
    // SAFETY: the pipe is open.
    checked(unsafe { GetNamedPipeClientProcessId(handle, &raw mut process) })?;
    // SAFETY: the call has no conditions.
    if process != unsafe { GetCurrentProcessId() } {
        return Ok(Outcome::Opened(pipe, process));
    }
    let mut rest = contents;
    while !rest.is_empty() {
        let size = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        // SAFETY: as above; the contents, too, outlive the call.
        let written = overlapped(handle, stop, |call| unsafe {
            WriteFile(handle, rest.as_ptr(), size, ptr::null_mut(), call)
        });
        match written {
            Ok(Some(count)) => rest = &rest[count as usize..],
            Ok(None) => break,
            // The reader has seen enough.
            Err(error) if is_closed(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Outcome::Kept)
}

fn is_closed(error: &io::Error) -> bool {
    [ERROR_BROKEN_PIPE, ERROR_NO_DATA]
        .map(|each| Some(each as i32))
        .contains(&error.raw_os_error())
}

/// Starts a call and waits until it is complete, or `stop` is set: then it is cancelled, and the result None.
fn overlapped(
    pipe: HANDLE,
    stop: &OwnedHandle,
    start: impl FnOnce(*mut OVERLAPPED) -> i32,
) -> io::Result<Option<u32>> {
    let done = event()?;
    let mut call = OVERLAPPED {
        hEvent: done.as_raw_handle(),
        ..OVERLAPPED::default()
    };
    let mut count = 0;
    if start(&raw mut call) == 0 {
        // SAFETY: the calls have no conditions, or get handles that are open; `call` lives until the system
        // has no more use of it, which the last of them waits for.
        unsafe {
            if GetLastError() != ERROR_IO_PENDING {
                return Err(io::Error::last_os_error());
            }
            let either = [done.as_raw_handle(), stop.as_raw_handle()];
            if WaitForMultipleObjects(2, either.as_ptr(), 0, INFINITE) != WAIT_OBJECT_0 {
                CancelIoEx(pipe, &raw const call);
                let mut ignored = 0;
                GetOverlappedResult(pipe, &raw const call, &raw mut ignored, 1);
                return Ok(None);
            }
        }
    }
    // SAFETY: the call is complete.
    checked(unsafe { GetOverlappedResult(pipe, &raw const call, &raw mut count, 1) })?;
    Ok(Some(count))
}

/// An event that stays set, and is not yet.
fn event() -> io::Result<OwnedHandle> {
    // SAFETY: the call has no conditions.
    owned(unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) })
}

fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has just made it for the caller.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn checked(done: i32) -> io::Result<()> {
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
