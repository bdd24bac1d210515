//! polytls-core on OpenSSL 3.0 to 4: the system's libssl, found and loaded when it is first asked for. There
//! is nothing of OpenSSL in the build.
//!
//! Reading order: [`Openssl`] (here) makes engines (`engines`); `library` finds libssl, whose functions `api`
//! lists, and `scope` which of its implementations are used; `context` makes an `SSL_CTX` of a configuration, with the parts that `tables` (suites, groups,
//! versions, as the system's configuration allows them) and `identity` (chains and keys) prepare; `session`
//! runs one connection over `wire`, which is all the transport that OpenSSL sees; `callbacks` answers what
//! OpenSSL asks in a handshake, and notes what it tells in `seen`; `tickets` and `store` are a server's sessions,
//! `remembered` a client's, those that are named included. `provider` and `remote` are keys that are elsewhere,
//! `uris` those that OpenSSL's own providers find (`opened` signs with them, and `ui` sees to it that nobody is asked on a
//! terminal).
//! `crypto` is what the verdict of `polytls-verdict` is given, and `strength` holds it to the security level; `blame`
//! says whose fault it was; `hello` reads messages; `objects` owns OpenSSL's.
//!
//! Rules: OpenSSL is called with an empty error queue, and leaves an empty one (`library`). A callback never
//! lets a panic out. What OpenSSL says of lengths is a bound for what is read, never more.

#![allow(
    unsafe_code,
    reason = "OpenSSL is C; each block has its reason, and `objects` and `seen` are the only ones that keep pointers"
)]

mod api;
mod blame;
mod callbacks;
mod compression;
mod context;
mod crypto;
mod ech;
mod ech_keys;
mod engines;
mod hello;
mod identity;
mod library;
#[cfg_attr(unix, path = "loading/unix.rs")]
#[cfg_attr(windows, path = "loading/windows.rs")]
mod loading;
mod objects;
mod opened;
mod provider;
mod remembered;
mod remote;
mod scope;
mod seen;
mod session;
mod store;
mod strength;
mod tables;
mod tickets;
mod ui;
mod uris;
mod wire;

pub use library::use_library;
pub use scope::Options;

use std::sync::Arc;

use polytls_core::capabilities::Capabilities;
use polytls_core::config::{ClientConfig, Key, ServerConfig};
use polytls_core::pki_types::CertificateDer;
use polytls_core::{Backend, ClientEngine, Error, IdFailure, ServerEngine, Unavailable, fork};

use scope::Scope;

/// The descriptor of this backend.
#[derive(Clone, Copy, Debug)]
pub struct Openssl(&'static Scope);

impl Openssl {
    /// The same library, with what an application asks of it beyond configurations.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`], with the option at fault.
    pub fn with(&self, options: &Options) -> Result<Self, Error> {
        let _call = fork::undivided();
        Scope::of(self.0, options).map(Self)
    }
}

impl Backend for Openssl {
    fn load() -> Result<Self, Unavailable> {
        let scope = Scope::of(library::load()?, &Options::default());
        scope
            .map(Self)
            .map_err(|error| Unavailable(error.to_string()))
    }

    fn id(&self) -> &'static str {
        "openssl"
    }

    fn version(&self) -> String {
        self.0.text()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.offered().capabilities()
    }

    fn client(&self, config: &ClientConfig) -> Result<Arc<dyn ClientEngine>, Error> {
        Ok(Arc::new(engines::Client::new(self.0, config)?))
    }

    fn server(&self, config: &ServerConfig) -> Result<Arc<dyn ServerEngine>, Error> {
        Ok(Arc::new(engines::Server::new(self.0, config)?))
    }

    fn check_id(&self, id: &[u8]) -> Result<(), IdFailure> {
        uris::check(id).map(drop)
    }

    fn private_key(&self, id: &[u8], leaf: Option<&[u8]>) -> Result<Key, IdFailure> {
        let _call = fork::undivided();
        uris::private_key(self.0, id, leaf)
    }

    fn certificates(&self, id: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdFailure> {
        let _call = fork::undivided();
        uris::certificates(self.0, id)
    }
}
