//! polytls-core on rustls and aws-lc-rs: the default implementation.
//!
//! Reading order: [`Rustls`] (here) creates engines; `client` and `server` build rustls's
//! configurations from ours, with parts from `provider` (`suites`, groups, versions; `hkdf`: their
//! key schedule), `identity` (chains and keys; `signer`: external keys), `verifier`, `judge` and
//! `platform` (the verdict of `polytls-verdict` in rustls's form; `handshake_signature`: the proof
//! of the key), `resumption` (sessions; `session_lifetime`; `remembered`: a client's; `lineage`:
//! those passed as `session=`, `last_ticket`: offering their last ticket again) and `tickets` (keys
//! that servers share). `hello` reads both hello messages; `key_log` receives the secrets that
//! rustls derives, for exporters (`secrets`) and the key log. `session` runs one connection, first
//! over rustls's `unbuffered` API, then, after `kernel` has handed it over, on our record layer.
//! `error` says where the fault is; `alerts` has the alert for the peer, which `sealing` encrypts.
//!
//! rustls gives a verifier and a session store no way to tell which connection calls them, and no
//! way to pass more than its own error to the caller. `observe` works around that: what they see
//! and need for one call of the engine is in a scope of the calling thread.

mod alerts;
mod client;
mod early;
mod ech;
mod error;
mod handshake_signature;
mod hello;
mod hkdf;
mod identity;
mod judge;
mod kernel;
mod key_log;
mod last_ticket;
mod lineage;
mod observe;
mod platform;
mod provider;
mod remembered;
mod resumption;
mod sealing;
mod secrets;
mod server;
mod session;
mod session_lifetime;
mod signer;
mod suites;
mod tickets;
mod unbuffered;
mod verifier;
mod words;

pub use identity::key_belongs;
pub use observe::outside;

use std::sync::Arc;

use polytls_core::capabilities::Capabilities;
use polytls_core::config::{ClientConfig, ServerConfig};
use polytls_core::{Backend, ClientEngine, Error, ServerEngine, Unavailable};

/// The cryptography that this backend judges certificates with (aws-lc), for libraries whose own cannot be
/// asked.
#[must_use]
pub fn crypto() -> polytls_verdict::Crypto {
    judge::crypto(&rustls::crypto::aws_lc_rs::default_provider())
}

/// The descriptor of this backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rustls {
    /// Whether rustls protects all records itself.
    without_record_layer: bool,
}

impl Rustls {
    /// rustls without our own record layer. For tests and for bisecting.
    #[must_use]
    pub const fn without_record_layer() -> Self {
        Self {
            without_record_layer: true,
        }
    }
}

impl Backend for Rustls {
    fn load() -> Result<Self, Unavailable> {
        Ok(Self::default())
    }

    fn id(&self) -> &'static str {
        "rustls"
    }

    fn version(&self) -> String {
        // The versions of the lock file, which this crate's build is bound to.
        concat!(
            "rustls ",
            env!("POLYTLS_RUSTLS_VERSION"),
            ", aws-lc-rs ",
            env!("POLYTLS_AWS_LC_RS_VERSION")
        )
        .to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        provider::capabilities()
    }

    fn client(&self, config: &ClientConfig) -> Result<Arc<dyn ClientEngine>, Error> {
        Ok(Arc::new(client::Client::new(
            config,
            self.without_record_layer,
        )?))
    }

    fn server(&self, config: &ServerConfig) -> Result<Arc<dyn ServerEngine>, Error> {
        Ok(Arc::new(server::Server::new(
            config,
            self.without_record_layer,
        )?))
    }
}
