//! `polytls._native`: the only crate that knows Python.
//!
//! It only converts:
//!
//! - what libraries support, and whether a configuration requires more ([`capabilities`],
//!   [`requirements`]);
//! - configurations ([`configuration`]), from which a [`backend`] creates an [`engine`], and the
//!   Python code that this calls ([`callbacks`]): the key log ([`key_log`]), signers ([`signer`]),
//!   keys in tokens ([`tokens`]), custom verification ([`verifier`]);
//! - connections in memory ([`buffer`]), and over sockets ([`socket`]), which are created from a
//!   [`handle`] ([`addresses`], [`waiting`], [`descriptors`]), or over Python byte streams
//!   ([`carrier`]); Python memory for both ([`bytes`](mod@bytes));
//! - facts and errors ([`info`], [`errors`]), and keying material ([`exporter`]), in classes of the
//!   Python package ([`imported`]);
//! - the end of the interpreter ([`calls`]), and which interpreter it is ([`interpreters`]); what
//!   differs between platforms ([`system`]);
//! - connections on Python's `ssl` ([`ssl`]), on third-party buffers and contexts ([`foreign`]),
//!   and for programs that only know `ssl` ([`compat`]);
//! - host names, and the names of TLS's numbers ([`names`]), parsed certificates
//!   ([`certificates`]), and temporary ones ([`testing`], [`testing_signer`]).
//!
//! Rules of every class here: it is frozen, with state behind a lock. An attached thread only takes
//! a lock through `lock_py_attached`, which lets others run while it waits. No exception class is
//! defined here; they are those of `polytls.errors`.

#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments come from Python by value"
)]

mod addresses;
mod backend;
mod buffer;
mod bytes;
mod callbacks;
mod calls;
mod capabilities;
mod carrier;
mod certificates;
mod clock;
mod compat;
mod configuration;
mod descriptors;
mod engine;
mod errors;
mod events;
mod exporter;
mod foreign;
mod handle;
mod ids;
mod imported;
mod info;
mod interpreters;
mod key_log;
#[cfg(windows)]
mod key_pipe;
mod lineage;
mod names;
mod probe;
mod requirements;
mod signer;
mod socket;
mod ssl;
#[cfg_attr(unix, path = "system/unix.rs")]
#[cfg_attr(windows, path = "system/windows.rs")]
mod system;
mod testing;
mod testing_signer;
mod tokens;
mod verifier;
mod waiting;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

use crate::calls::{CallsOut as _, import};

/// The Rust core of polytls; its parts are reached through `polytls.engines`.
///
/// It says that it needs the GIL: the tests have not all passed without one (docs/releasing.md). A free-threaded
/// CPython therefore turns the GIL on when it imports this.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    interpreters::refuse_others(module.py())?;
    // Contexts and buffers want to know of forks, too.
    polytls_io::watch_forks().map_err(|error| PyImportError::new_err(error.to_string()))?;
    let end = wrap_pyfunction!(end_workers, module)?;
    import(module.py(), "atexit")?.method_out("register", (end,))?;

    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<backend::Backend>()?;
    module.add_class::<buffer::TlsBuffer>()?;
    module.add_class::<buffer::ExtendedTlsBuffer>()?;
    module.add_class::<capabilities::Capabilities>()?;
    module.add_class::<clock::Clock>()?;
    module.add_class::<capabilities::Effective>()?;
    module.add_class::<engine::ClientEngine>()?;
    module.add_class::<engine::ServerEngine>()?;
    module.add_class::<handle::SocketHandle>()?;
    module.add_class::<lineage::Lineage>()?;
    module.add_class::<lineage::Offer>()?;
    module.add_class::<lineage::Ech>()?;
    module.add_function(wrap_pyfunction!(lineage::ech_of_record, module)?)?;
    module.add_class::<socket::TlsSocket>()?;
    module.add_class::<testing::CertificateAuthority>()?;
    module.add_class::<tokens::Key>()?;

    #[cfg(windows)]
    module.add_class::<key_pipe::PythonKeyPipe>()?;
    compat::add(module)?;
    module.add_function(wrap_pyfunction!(backend::backend, module)?)?;
    module.add_function(wrap_pyfunction!(backend::openssl_backend, module)?)?;
    module.add_function(wrap_pyfunction!(backend::use_openssl, module)?)?;
    module.add_function(wrap_pyfunction!(capabilities::check, module)?)?;
    module.add_function(wrap_pyfunction!(certificates::canonical_subject, module)?)?;
    module.add_function(wrap_pyfunction!(
        certificates::certificate_timestamps,
        module
    )?)?;
    module.add_function(wrap_pyfunction!(certificates::certificates, module)?)?;
    module.add_function(wrap_pyfunction!(certificates::ocsp_facts, module)?)?;
    module.add_function(wrap_pyfunction!(certificates::key_belongs, module)?)?;
    module.add_function(wrap_pyfunction!(certificates::leaf_validity, module)?)?;
    module.add_function(wrap_pyfunction!(certificates::staple_validity, module)?)?;
    module.add_function(wrap_pyfunction!(certificates::read_certificate, module)?)?;
    module.add_function(wrap_pyfunction!(certificates::system_places, module)?)?;
    module.add_function(wrap_pyfunction!(descriptors::unacknowledged, module)?)?;
    module.add_function(wrap_pyfunction!(foreign::connection_of, module)?)?;
    module.add_function(wrap_pyfunction!(foreign::foreign_client, module)?)?;
    module.add_function(wrap_pyfunction!(foreign::foreign_server, module)?)?;
    module.add_function(wrap_pyfunction!(handle::over_socket, module)?)?;
    module.add_function(wrap_pyfunction!(handle::over_stream, module)?)?;
    module.add_function(wrap_pyfunction!(names::host_name, module)?)?;
    module.add_function(wrap_pyfunction!(names::numbers, module)?)?;
    module.add_function(wrap_pyfunction!(probe::probe_answer, module)?)?;
    module.add_function(wrap_pyfunction!(probe::probe_hello, module)?)?;
    module.add_function(wrap_pyfunction!(ssl::ssl_client, module)?)?;
    module.add_function(wrap_pyfunction!(ssl::ssl_server, module)?)?;
    module.add_function(wrap_pyfunction!(testing::self_signed, module)?)?;
    module.add_function(wrap_pyfunction!(testing::x25519, module)?)?;
    module.add_function(wrap_pyfunction!(testing_signer::public_half, module)?)?;
    module.add_function(wrap_pyfunction!(testing_signer::sign, module)?)?;
    module.add_function(wrap_pyfunction!(tokens::token_certificates, module)?)?;
    module.add_function(wrap_pyfunction!(tokens::token_listing, module)?)?;
    Ok(())
}

/// Called before the interpreter ends: threads of listeners are not to outlast it.
#[pyfunction]
fn end_workers(py: Python<'_>) {
    py.detach(polytls_io::end_workers);
}
