//! polytls-core on rustls and aws-lc-rs: the default implementation.
//!
//! Reading order: [`Rustls`] (here) makes engines; `client` and `server` build rustls's
//! configurations from ours, with the parts that `provider` (suites, groups, versions; `hkdf`: their key schedule), `identity`
//! (chains and keys; `signer`: keys that are elsewhere), `verifier`, `judge` and `platform` (the verdict of
//! `polytls-verdict`, as rustls asks for it; `handshake_signature`: the proof of the key), `resumption` (sessions;
//! `remembered`: a client's; `lineage`: those that are named) and `tickets` (keys that servers share) prepare;
//! `hello` reads both hellos as they pass by, `secrets` hears what rustls derives, for exporters and the key log; `session` runs one connection,
//! first over rustls's `unbuffered` API, then, where
//! `kernel` hands it over, on our record layer; `error` says whose fault it was, and `alerts` what the peer is
//! told, which `sealing` protects.
//!
//! rustls gives a verifier and a session store no way to tell which connection calls them, and no
//! way to hand more than its own error to the caller. `observe` is the way around: what they see
//! and need for one call of the engine stands in a scope of the calling thread.

mod alerts;
mod client;
mod early;
mod error;
mod handshake_signature;
mod hello;
mod hkdf;
mod identity;
mod judge;
mod kernel;
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
mod signer;
mod tickets;
mod unbuffered;
mod verifier;
mod words;

pub use observe::outside;

use std::sync::Arc;

use polytls_core::capabilities::Capabilities;
use polytls_core::config::{ClientConfig, ServerConfig};
use polytls_core::{Backend, ClientEngine, Error, ServerEngine, Unavailable};

/// Whether connections made from now on use our own record layer (the default). Returns whether
/// they did until now. For tests and for bisecting.
pub fn use_record_layer(on: bool) -> bool {
    kernel::switch(on)
}

/// The cryptography that this backend judges certificates with (aws-lc), for libraries whose own cannot be
/// asked.
#[must_use]
pub fn crypto() -> polytls_verdict::Crypto {
    judge::crypto(&rustls::crypto::aws_lc_rs::default_provider())
}

/// The descriptor of this backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rustls;

impl Backend for Rustls {
    fn load() -> Result<Self, Unavailable> {
        Ok(Self)
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
        Ok(Arc::new(client::Client::new(config)?))
    }

    fn server(&self, config: &ServerConfig) -> Result<Arc<dyn ServerEngine>, Error> {
        Ok(Arc::new(server::Server::new(config)?))
    }
}
