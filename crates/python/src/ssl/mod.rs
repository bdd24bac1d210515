//! `stdlib`: a session on the objects of Python's `ssl`, with whatever OpenSSL Python was built with.
//!
//! - [`engine`]: what connections of one context share, made of the `ssl.SSLContext`s that
//!   `polytls.engines.stdlib` has made of a configuration; [`credentials`]: what OpenSSL is shown;
//! - [`session`]: one connection;
//! - [`object`]: the C objects, their calls and exceptions; [`reasons`]: OpenSSL's names and numbers;
//! - [`peer`]: the verdict on a peer, after OpenSSL's; [`flight`]: what may leave before it;
//! - [`sessions`]: what a client remembers, and sessions that are named.
//!
//! Rules of these files:
//!
//! - Under a lock only methods of C objects are called, never a function of Python's. What runs Python
//!   code all the same are signal handlers, which `read`, `write` and `do_handshake` of `ssl` run.
//! - Objects that are kept here lead to no object of the application's: `_ssl._SSLSocket` and
//!   `ssl.SSLSession` know an `ssl.SSLContext`, and that knows a [`engine::Choice`]. So the garbage
//!   collector need not see them.

mod credentials;
mod engine;
mod flight;
mod object;
mod peer;
mod reasons;
mod session;
mod sessions;

pub(crate) use engine::{ssl_client, ssl_server};
