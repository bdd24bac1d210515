//! What is behind `ssl.SSLSocket` and `ssl.SSLObject` where polytls serves them: the counterpart of
//! `_ssl._SSLSocket`, over a connection of any engine.
//!
//! The standard library's own classes stay what they are, and call this one as `_sslobj`. So it does what they
//! expect of OpenSSL, where that differs from a socket of ours:
//!
//! - It takes no complete record beyond the one under way, so that what a selector or a `MemoryBIO` shows is
//!   what is left to be read.
//! - The socket stays its owner's: its timeout is asked for at each call, and its mode is not changed.
//! - A blocking write takes everything. One that would block is repeated with the same data, and goes on
//!   where it was (SSL_write(3) without SSL_MODE_ENABLE_PARTIAL_WRITE).
//! - The peer's close_notify is not answered before `shutdown`.
//!
//! `connection` is the class, `wire` what is below it, `faults` the errors in OpenSSL's words, `certificate`
//! the dictionary of `getpeercert`, `settings` what an engine is made of, `memory` the `MemoryBIO` of a Python
//! that has no OpenSSL.

mod certificate;
mod connection;
mod faults;
mod memory;
mod settings;
mod wire;

use pyo3::prelude::*;

/// Adds its class and its functions to the module.
pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<connection::SslConnection>()?;
    module.add_class::<memory::MemoryBio>()?;
    module.add_function(wrap_pyfunction!(
        certificate::certificate_dictionary,
        module
    )?)?;
    module.add_function(wrap_pyfunction!(settings::client_of_ssl, module)?)?;
    module.add_function(wrap_pyfunction!(settings::server_of_ssl, module)?)?;
    Ok(())
}
