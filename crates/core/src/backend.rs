//! A TLS library: a backend creates engines, and engines create sessions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::capabilities::{Capabilities, Effective};
use crate::config::{ClientConfig, Key, ServerConfig};
use crate::ech::{self, Ech};
use crate::error::Error;
use crate::host::HostName;
use crate::id::IdFailure;
use crate::lineage::{Lineage, Offer};
use crate::pki_types::CertificateDer;
use crate::session::Session;

/// Why a TLS library cannot be used on this machine, in one line, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// One TLS library.
pub trait Backend: Send + Sync {
    /// Finds the library, if it is not linked in, and everything it needs to run.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if this machine has no usable one. The next call searches again.
    fn load() -> Result<Self, Unavailable>
    where
        Self: Sized;

    /// The id of the library.
    fn id(&self) -> &'static str;

    /// The library and its version, for display.
    fn version(&self) -> String;

    /// What it supports.
    fn capabilities(&self) -> Capabilities;

    /// Parses and checks everything, once.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] naming the field.
    fn client(&self, config: &ClientConfig) -> Result<Arc<dyn ClientEngine>, Error>;

    /// Parses and checks everything, once.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] naming the field.
    fn server(&self, config: &ServerConfig) -> Result<Arc<dyn ServerEngine>, Error>;

    /// Whether `id` has the form of one that the library looks for by itself; nothing is opened.
    ///
    /// # Errors
    ///
    /// [`IdFailure`], from a library that finds nothing for any id.
    fn check_id(&self, _id: &[u8]) -> Result<(), IdFailure> {
        Err(IdFailure::none_here())
    }

    /// The private key that an id names. `leaf`: the certificate that it is for, in DER.
    ///
    /// # Errors
    ///
    /// [`IdFailure`].
    fn private_key(&self, _id: &[u8], _leaf: Option<&[u8]>) -> Result<Key, IdFailure> {
        Err(IdFailure::none_here())
    }

    /// The certificates that an id names, a leaf first.
    ///
    /// # Errors
    ///
    /// [`IdFailure`].
    fn certificates(&self, _id: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdFailure> {
        Err(IdFailure::none_here())
    }
}

/// Counts of the connections of one engine, and of their sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Full handshakes.
    pub full: u64,
    /// Handshakes that resumed a session.
    pub resumed: u64,
    /// Sessions stored by a client, tickets issued by a server.
    pub stored: u64,
    /// Connections for which a client had a session to offer; tickets that a server could use.
    pub hits: u64,
    /// Connections for which a client had no session; tickets that a server could not use.
    pub misses: u64,
}

/// Counts the connections and sessions of one engine, for [`Statistics`].
#[derive(Debug, Default)]
pub struct Counters {
    full: AtomicU64,
    resumed: AtomicU64,
    stored: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counters {
    /// A handshake is complete.
    pub fn finished(&self, resumed: bool) {
        let counter = if resumed { &self.resumed } else { &self.full };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A session was looked up.
    pub fn looked_for(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A session was stored, or issued.
    pub fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    /// The current counts.
    #[must_use]
    pub fn read(&self) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            full: read(&self.full),
            resumed: read(&self.resumed),
            stored: read(&self.stored),
            hits: read(&self.hits),
            misses: read(&self.misses),
        }
    }
}

/// What belongs to one client connection; everything else belongs to its engine.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// The name to verify; `None` only if names are not verified.
    pub host: Option<HostName>,
    /// The name in ClientHello (SNI), if it is not `host`. An address is never sent there (RFC 6066
    /// section 3).
    pub server_name: Option<HostName>,
    /// The server's port. Sessions are stored by `host`, `server_name`, port and `scope`.
    pub port: Option<u16>,
    /// The zone of a link-local address, by its number on this machine (RFC 4007 section 11).
    pub scope: Option<u32>,
    /// The application protocols to offer, in order; `None`: those of the engine.
    pub alpn: Option<Vec<Vec<u8>>>,
    /// The session to resume, as permitted by [`ClientEngine::admit`] for the same `host`. `None`:
    /// a stored session.
    pub offer: Option<Offer>,
    /// Without `offer`: no session is offered, even if some are stored.
    pub anew: bool,
    /// The configuration that encrypts ClientHello, as chosen by [`ClientEngine::ech`] for the same
    /// `host`.
    pub ech: Option<Ech>,
}

impl Parameters {
    /// For engines whose connections all send the name that they verify, and offer the same
    /// protocols.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] for a `server_name` or `alpn` of one connection.
    pub fn check_common(&self) -> Result<(), Error> {
        let (field, what) = match self {
            Self {
                server_name: Some(_),
                ..
            } => ("server_name", "sends the host name that it verifies"),
            Self { alpn: Some(_), .. } => (
                "inner_protocols",
                "offers the protocols of its configuration on every connection",
            ),
            _ => return Ok(()),
        };
        let message = format!("this TLS library {what}; it cannot be set per connection");
        Err(Error::configuration(field, message))
    }
}

/// What client connections of one configuration share; immutable.
pub trait ClientEngine: fmt::Debug + Send + Sync {
    /// One side of a new connection.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] without a name to verify, [`Error::Configuration`] for what the library
    /// does not support for one connection, [`Error::Internal`].
    fn session(&self, parameters: &Parameters) -> Result<Box<dyn Session>, Error>;

    /// Permission to offer `lineage` on a connection to `host`. TLS libraries do not verify
    /// certificates on resumption, so this verifies the session's chain completely, for this name
    /// and the current time.
    ///
    /// # Errors
    ///
    /// [`Error::NotResumable`] if the session belongs to another engine, or its chain does not
    /// pass; [`Error::Misuse`] without a name to verify.
    fn admit(&self, lineage: &Lineage, host: Option<&HostName>) -> Result<Offer, Error>;

    /// Chooses from a list of configurations for Encrypted ClientHello (RFC 9849 section 4), for a
    /// connection to `host`.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the library does not support it, the connection cannot have it, or
    /// nothing in the list can be used.
    fn ech(&self, _list: &[u8], _host: Option<&HostName>) -> Result<Ech, Error> {
        Err(Error::configuration(ech::FIELD, ech::UNSUPPORTED))
    }

    /// The effective settings of the configuration.
    fn effective(&self) -> &Effective;

    /// Counts of its connections so far.
    fn statistics(&self) -> Statistics;
}

/// What server connections of one configuration share; immutable.
pub trait ServerEngine: fmt::Debug + Send + Sync {
    /// One side of a new connection.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    fn session(&self) -> Result<Box<dyn Session>, Error>;

    /// The effective settings of the configuration.
    fn effective(&self) -> &Effective;

    /// Counts of its connections so far.
    fn statistics(&self) -> Statistics;
}
