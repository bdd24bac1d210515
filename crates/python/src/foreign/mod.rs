//! Anybody's `TLSBuffer` as a session of the core's, anybody's context as an engine: so that what a
//! connection promises holds for them, too.
//!
//! - [`object`]: the buffer, its calls, and whether what they return can be;
//! - [`session`]: one connection;
//! - [`engine`]: where connections come from;
//! - [`raised`]: exceptions on their way to the caller.
//!
//! Rules of these files:
//!
//! - The buffer gets bytes that Python owns, for it may keep them, and what it gives is copied, or is a
//!   `bytes` object. It is shown one whole record at a time, and all plaintext is taken out at once, and
//!   all that it has to send. It is never shown the end of the transport: [`polytls_core::Connection`] has
//!   what follows from that.
//! - Whatever it raises ends the connection and is raised as it is, but for what says that it needs more.
//!   What is no `Exception` comes from elsewhere (a signal's handler): the call under way raises it, and
//!   the buffer is asked again at once, so that the connection goes on.
//! - Its code runs under the connection's lock, so that it has one caller at a time. If it calls the
//!   connection itself, it gets an error (`polytls_core::Lock`).
//! - The class that has the connection has a share in [`object::ForeignBuffer`] as well, and shows it to
//!   the garbage collector, whoever has the lock.

mod engine;
mod object;
mod raised;
mod session;

pub(crate) use engine::{foreign_client, foreign_server};
pub(crate) use object::ForeignBuffer;
pub(crate) use raised::Raised;
pub(crate) use session::connection_of;
