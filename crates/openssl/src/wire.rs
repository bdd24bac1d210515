//! The transport that OpenSSL sees: a BIO whose input is the records that the caller shows, and whose output
//! goes where the caller says. Between calls it has neither.
//!
//! OpenSSL reads ahead (`SSL_CTX_set_read_ahead`), which spares a call for each header: it asks for as much as
//! its buffer holds, and gets no more than the record under way. So what follows a record is still here when
//! that is done.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr;

use polytls_core::{Outbound, records};

use crate::api::{self, Api, BIO, BIO_METHOD};
use crate::library::loaded;

/// Where what OpenSSL writes goes.
#[derive(Clone, Copy, Debug)]
enum Output {
    Nowhere,
    Outbound(*mut Outbound),
    /// Memory, and how much of it is left.
    Memory(*mut u8, usize),
}

/// What a call of OpenSSL reads from and writes to.
#[derive(Debug)]
pub(crate) struct Wire {
    input: Cell<*const u8>,
    left: Cell<usize>,
    /// How much of the record under way is left.
    of_record: Cell<usize>,
    output: Cell<Output>,
}

impl Wire {
    pub(crate) const fn new() -> Self {
        Self {
            input: Cell::new(ptr::null()),
            left: Cell::new(0),
            of_record: Cell::new(0),
            output: Cell::new(Output::Nowhere),
        }
    }

    /// Runs `call` with these, of which `input` is whole records; says how much of the input it has left.
    pub(crate) fn during<R>(
        &self,
        input: &[u8],
        output: &mut Outbound,
        call: impl FnOnce() -> R,
    ) -> (R, usize) {
        self.lent(input, Output::Outbound(output), call)
    }

    /// Runs `call`, whose output goes to `memory`; says how much of that it has left.
    pub(crate) fn during_memory<R>(
        &self,
        memory: &mut [u8],
        call: impl FnOnce() -> R,
    ) -> (R, usize) {
        let output = Output::Memory(memory.as_mut_ptr(), memory.len());
        let (done, _) = self.lent(&[], output, || {
            let result = call();
            let left = match self.output.get() {
                Output::Memory(_, left) => left,
                _ => 0,
            };
            (result, left)
        });
        done
    }

    fn lent<R>(&self, input: &[u8], output: Output, call: impl FnOnce() -> R) -> (R, usize) {
        /// They are lent for the call, however it ends.
        struct Lent<'a>(&'a Wire);
        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                self.0.input.set(ptr::null());
                self.0.left.set(0);
                self.0.of_record.set(0);
                self.0.output.set(Output::Nowhere);
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

    /// The length of the next record, header included, or what is left of the one under way; 0: there is none.
    pub(crate) fn next(&self) -> usize {
        if self.of_record.get() == 0 {
            let input = match self.left.get() {
                0 => &[],
                // SAFETY: so many bytes are there from `input` on, which are lent for the call under way.
                left => unsafe { std::slice::from_raw_parts(self.input.get(), left) },
            };
            // What is no whole record is shown as it is.
            let record = records(input).next().unwrap_or(input);
            self.of_record.set(record.len());
        }
        self.of_record.get()
    }

    /// Fills `into` as far as there is input, and no further than the record under way; says how far.
    fn read(&self, into: *mut u8, room: usize) -> usize {
        let record = self.next();
        let count = room.min(record);
        let from = self.input.get();
        if count > 0 {
            // SAFETY: `left` bytes are there from `from` on, which are lent for the call under way; `room` bytes
            // are OpenSSL's, and no part of them.
            unsafe {
                ptr::copy_nonoverlapping(from, into, count);
                self.input.set(from.add(count));
            }
            self.left.set(self.left.get() - count);
            self.of_record.set(record - count);
        }
        count
    }

    /// Takes the bytes; `false` if there is nowhere to put them.
    fn write(&self, bytes: &[u8]) -> bool {
        match self.output.get() {
            Output::Nowhere => false,
            Output::Outbound(output) => {
                // SAFETY: it is lent for the call under way, whose caller does not touch it meanwhile.
                unsafe { &mut *output }.extend(bytes);
                true
            }
            Output::Memory(at, left) => {
                let fits = bytes.len() <= left;
                if fits {
                    // SAFETY: `left` bytes are lent for the call under way, and no part of `bytes`.
                    unsafe {
                        ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
                        self.output
                            .set(Output::Memory(at.add(bytes.len()), left - bytes.len()));
                    }
                }
                fits
            }
        }
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
