//! The transport that OpenSSL sees: a BIO whose input is the record that the caller shows, and whose output
//! goes where the caller says. Between calls it has neither.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr;

use polytls_core::Outbound;

use crate::api::{self, Api, BIO, BIO_METHOD};
use crate::library::loaded;

/// What a call of OpenSSL reads from and writes to.
#[derive(Debug)]
pub(crate) struct Wire {
    input: Cell<*const u8>,
    left: Cell<usize>,
    output: Cell<*mut Outbound>,
}

impl Wire {
    pub(crate) const fn new() -> Self {
        Self {
            input: Cell::new(ptr::null()),
            left: Cell::new(0),
            output: Cell::new(ptr::null_mut()),
        }
    }

    /// Runs `call` with these; says how much of the input it has left.
    pub(crate) fn during<R>(
        &self,
        input: &[u8],
        output: &mut Outbound,
        call: impl FnOnce() -> R,
    ) -> (R, usize) {
        /// They are lent for the call, however it ends.
        struct Lent<'a>(&'a Wire);
        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                self.0.input.set(ptr::null());
                self.0.left.set(0);
                self.0.output.set(ptr::null_mut());
            }
        }
        let lent = Lent(self);
        self.input.set(input.as_ptr());
        self.left.set(input.len());
        self.output.set(output);
        let result = call();
        let left = self.left.get();
        drop(lent);
        (result, left)
    }

    /// How much of the input is left, within [`Self::during`].
    pub(crate) fn left(&self) -> usize {
        self.left.get()
    }

    /// Fills `into` as far as there is input; says how far.
    fn read(&self, into: *mut u8, room: usize) -> usize {
        let count = room.min(self.left.get());
        let from = self.input.get();
        if count > 0 {
            // SAFETY: `left` bytes are there from `from` on, which are lent for the call under way; `room` bytes
            // are OpenSSL's, and no part of them.
            unsafe {
                ptr::copy_nonoverlapping(from, into, count);
                self.input.set(from.add(count));
            }
            self.left.set(self.left.get() - count);
        }
        count
    }

    /// Takes the bytes; `false` if there is nowhere to put them.
    fn write(&self, bytes: &[u8]) -> bool {
        let output = self.output.get();
        if output.is_null() {
            return false;
        }
        // SAFETY: it is lent for the call under way, whose caller does not touch it meanwhile.
        unsafe { &mut *output }.extend(bytes);
        true
    }
}

/// The kind of BIO.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transport(*const BIO_METHOD);

// SAFETY: it is made once, and not changed any more.
unsafe impl Send for Transport {}
// SAFETY: as above.
unsafe impl Sync for Transport {}

impl Transport {
    /// `None` without memory.
    pub(crate) fn new(api: &Api) -> Option<Self> {
        // SAFETY: the functions have the types that are asked for; the method is never freed.
        unsafe {
            let kind = api.BIO_get_new_index() | api::BIO_TYPE_SOURCE_SINK;
            let method = api.BIO_meth_new(kind, c"polytls".as_ptr());
            let made = !method.is_null()
                && api.BIO_meth_set_read_ex(method, read) == 1
                && api.BIO_meth_set_write_ex(method, write) == 1
                && api.BIO_meth_set_ctrl(method, ctrl) == 1;
            made.then_some(Self(method))
        }
    }

    /// A BIO over `wire`, which must stay where it is for as long as that is used; null without memory.
    pub(crate) fn bio(self, api: &Api, wire: *const Wire) -> *mut BIO {
        // SAFETY: the method is whole, and the BIO new.
        unsafe {
            let bio = api.BIO_new(self.0);
            if !bio.is_null() {
                api.BIO_set_data(bio, wire.cast_mut().cast());
                api.BIO_set_init(bio, 1);
            }
            bio
        }
    }
}

/// Has OpenSSL call again later.
unsafe fn retry(api: &Api, bio: *mut BIO, direction: c_int) -> c_int {
    // SAFETY: the BIO is the one that is being called.
    unsafe { api.BIO_set_flags(bio, direction | api::BIO_FLAGS_SHOULD_RETRY) };
    0
}

unsafe extern "C" fn read(
    bio: *mut BIO,
    into: *mut c_char,
    room: usize,
    count: *mut usize,
) -> c_int {
    let Some(api) = loaded() else { return 0 };
    // SAFETY: OpenSSL calls with a BIO of `Transport::bio`, whose data is a `Wire`, with `room` bytes of
    // memory, and with a place for their count.
    unsafe {
        api.BIO_clear_flags(bio, api::BIO_FLAGS_RETRY);
        let wire = api.BIO_get_data(bio).cast::<Wire>();
        *count = (*wire).read(into.cast(), room);
        if *count > 0 {
            1
        } else {
            retry(api, bio, api::BIO_FLAGS_READ)
        }
    }
}

unsafe extern "C" fn write(
    bio: *mut BIO,
    from: *const c_char,
    length: usize,
    count: *mut usize,
) -> c_int {
    let Some(api) = loaded() else { return 0 };
    // SAFETY: as for `read`, with `length` bytes to be written.
    unsafe {
        api.BIO_clear_flags(bio, api::BIO_FLAGS_RETRY);
        let wire = api.BIO_get_data(bio).cast::<Wire>();
        let bytes = if length == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(from.cast::<u8>(), length)
        };
        // Growing memory may panic, which must not go further.
        let took = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (*wire).write(bytes)));
        if matches!(took, Ok(true)) {
            *count = length;
            1
        } else {
            *count = 0;
            retry(api, bio, api::BIO_FLAGS_WRITE)
        }
    }
}

unsafe extern "C" fn ctrl(_: *mut BIO, command: c_int, _: c_long, _: *mut c_void) -> c_long {
    c_long::from(command == api::BIO_CTRL_FLUSH)
}
