//! `polytls._native`: the one crate that knows Python.
//!
//! It converts and nothing else:
//!
//! - configuration in ([`configuration`]), of which a [`backend`] makes an [`engine`], and the Python code
//!   that this calls ([`callbacks`]; what it must not touch: [`busy`]): secrets, for debugging
//!   ([`key_log`]), keys that are elsewhere ([`signer`]), a say in the verdict ([`verifier`]);
//! - connections in memory ([`buffer`]), and over sockets ([`socket`]), which are made of a [`handle`]
//!   ([`addresses`], [`waiting`], [`descriptors`]); memory of Python's for both ([`bytes`](mod@bytes));
//! - facts and errors out ([`info`], [`errors`]), and keying material ([`exporter`]), in classes of the
//!   Python package ([`imported`]);
//! - the verdict on a peer, for implementations that are not Rust's ([`judge`]);
//! - host names ([`names`]), certificates read ([`certificates`]), throw-away ones ([`testing`],
//!   [`testing_signer`]).
//!
//! Rules of every class here: frozen, with state behind a lock; an attached thread takes a lock only
//! through `lock_py_attached`, which lets others run while it waits; no exception class is made
//! here, they are those of `polytls.errors`.

#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments come from Python by value"
)]

mod addresses;
mod backend;
mod buffer;
mod busy;
mod bytes;
mod callbacks;
mod certificates;
mod configuration;
mod descriptors;
mod engine;
mod errors;
mod exporter;
mod handle;
mod imported;
mod info;
mod judge;
mod key_log;
mod names;
mod signer;
mod socket;
mod testing;
mod testing_signer;
mod verifier;
mod waiting;

use pyo3::prelude::*;

/// The Rust core of polytls; its parts are reached through `polytls.implementations`.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::backend::{Backend, backend, use_record_layer};
    #[pymodule_export]
    use crate::buffer::TlsBuffer;
    #[pymodule_export]
    use crate::certificates::{
        is_certificate_for, leaf_validity, read_certificate, revocation_lists,
    };
    #[pymodule_export]
    use crate::descriptors::unacknowledged;
    #[pymodule_export]
    use crate::engine::{ClientEngine, ServerEngine};
    #[pymodule_export]
    use crate::exporter::server_end_point;
    #[pymodule_export]
    use crate::handle::SocketHandle;
    #[pymodule_export]
    use crate::judge::Judge;
    #[pymodule_export]
    use crate::names::host_name;
    #[pymodule_export]
    use crate::socket::TlsSocket;
    #[pymodule_export]
    use crate::testing::{CertificateAuthority, self_signed};
    #[pymodule_export]
    use crate::testing_signer::{public_half, sign};

    use pyo3::prelude::*;

    /// Forks are counted from here on: contexts and buffers want to know of them, too.
    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        polytls_io::watch_forks()
            .map_err(|error| pyo3::exceptions::PyImportError::new_err(error.to_string()))
    }
}
