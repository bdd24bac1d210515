//! The socket driver: TLS for any [`polytls_core::Session`], over TCP or any other byte stream.
//!
//! It owns descriptors, waiting, timeouts and threads, and nothing else:
//! [`polytls_core::Connection`] decides what a record means, when an error is latched and how much
//! is buffered; the caller resolves names, creates exceptions and runs signal handlers.
//!
//! ```text
//!  connect, take_over --> Stream <-- Listener (pool of handshakes in progress; workers, if they may block)
//!                  |
//!                turns      one lock; which thread waits for the kernel, and which wait for that thread
//!                  |
//!                link       Connection + transport: calls that return at once
//!                  |
//!              transport    what carries the bytes: a descriptor, owned or borrowed, or a stream of the caller
//!                  |
//!       wait, socket, system   poll(2), time and signals; the calls on sockets; a folder a platform for what differs
//! ```
//!
//! Rules:
//!
//! 1. Descriptors are non-blocking inside, whatever the [`Timeout`]; a wait is poll(2) with no lock
//!    held. Under the lock there are system calls that return at once, and the work of at most 16
//!    full records.
//! 2. Ciphertext is sent in the order in which it was encrypted, by the next call of any kind. A
//!    call that timed out or was interrupted loses none of it.
//! 3. What the peer sent before it went away is read before the error that says it went away.
//! 4. Every method can be called from any thread at any time; each says what happens to waiting
//!    calls when it ends the connection.
//! 5. After fork(2) a connection belongs to the parent: in the child every call returns
//!    [`Error::Inherited`], before it takes a lock, except closing the descriptor. A listener that
//!    has not accepted yet works in both.
//! 6. If a signal interrupts a wait, the caller's [`Interrupt`] is asked, without a lock.
//!
//! Linux, macOS and Windows. What Unix calls a descriptor is the handle of a socket on Windows.

mod address;
mod bell;
mod blocking;
mod close;
mod connect;
mod deadline;
mod descriptor;
mod ending;
mod error;
mod exit;
mod fork;
pub mod lent;
mod link;
mod listener;
mod pool;
mod settings;
mod socket;
mod stream;
#[cfg_attr(unix, path = "unix/mod.rs")]
#[cfg_attr(windows, path = "windows/mod.rs")]
mod system;
mod take_over;
mod transport;
mod turns;
mod wait;
mod workers;

#[cfg(windows)]
pub use self::system::KeyPipe;
pub use self::{
    address::Address,
    bell::Bell,
    blocking::{Blocking, BlockingTransport},
    close::{CLOSE_TIMEOUT, LINGER},
    connect::connect,
    deadline::Timeout,
    descriptor::wait_for,
    error::Error,
    exit::{end_workers, in_application, is_worker},
    fork::watch_forks,
    listener::Listener,
    settings::ListenerSettings,
    stream::Stream,
    system::{number, unacknowledged},
    take_over::take_over,
    transport::{Fault, Transport},
    wait::{Interest, Interrupt, is_writable},
    workers::Keep,
};
