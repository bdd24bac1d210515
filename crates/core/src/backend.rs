//! How a TLS library is reached: one descriptor, which makes engines, which make sessions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::capabilities::{Capabilities, Effective};
use crate::config::{ClientConfig, ServerConfig};
use crate::error::Error;
use crate::host::HostName;
use crate::lineage::{Lineage, Offer};
use crate::session::Session;

/// Why a TLS library cannot be used on this machine, in one line, with what to do about it.
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
    /// Finds the library, if it is not linked in, and whatever it needs to run.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if this machine has none that can be used. The next call looks again.
    fn load() -> Result<Self, Unavailable>
    where
        Self: Sized;

    /// The id by which it is asked for.
    fn id(&self) -> &'static str;

    /// The library and its version, for people.
    fn version(&self) -> String;

    /// What it can do.
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
}

/// What has become of the connections of one engine, and of the sessions for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Handshakes that were done in full.
    pub full: u64,
    /// Handshakes that resumed a session.
    pub resumed: u64,
    /// Sessions kept by a client, tickets given out by a server.
    pub stored: u64,
    /// Connections for which a client had a session to offer; tickets that a server could use.
    pub hits: u64,
    /// Connections for which a client had none; tickets that a server could not use.
    pub misses: u64,
}

/// Counts what becomes of the connections of one engine: what [`Statistics`] has.
#[derive(Debug, Default)]
pub struct Counters {
    full: AtomicU64,
    resumed: AtomicU64,
    stored: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counters {
    /// A handshake is done.
    pub fn finished(&self, resumed: bool) {
        let counter = if resumed { &self.resumed } else { &self.full };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A session was looked for.
    pub fn looked_for(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A session was kept, or given away.
    pub fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    /// What they say now.
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

/// What belongs to one client connection, where all else belongs to its engine.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// The name that is verified; `None` only where names are not verified.
    pub host: Option<HostName>,
    /// The name in ClientHello (SNI), where that is not `host`. An address is never sent there (RFC 6066
    /// section 3).
    pub server_name: Option<HostName>,
    /// The server's port. Sessions are remembered by `host`, `server_name`, this and `scope`.
    pub port: Option<u16>,
    /// The zone of a link-local address, by its number on this machine (RFC 4007 section 11).
    pub scope: Option<u32>,
    /// The application protocols to offer, in order; `None`: those of the engine.
    pub alpn: Option<Vec<Vec<u8>>>,
    /// The session to resume, by permission of [`ClientEngine::admit`] for the same `host`. `None`: one
    /// that is remembered.
    pub offer: Option<Offer>,
    /// Without `offer`, no session is offered, though some may be remembered.
    pub anew: bool,
}

impl Parameters {
    /// For engines whose connections all ask for the name that they verify, and offer the same protocols.
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

/// Everything client connections of one configuration share; immutable.
pub trait ClientEngine: fmt::Debug + Send + Sync {
    /// One side of a new connection.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] without a name that has to be verified, [`Error::Configuration`] for what the
    /// library cannot do for one connection, [`Error::Internal`].
    fn session(&self, parameters: &Parameters) -> Result<Box<dyn Session>, Error>;

    /// Permission to offer `lineage` on a connection to `host`. No library verifies anything when it
    /// resumes, so this gives the whole verdict on the session's chain for this name now.
    ///
    /// # Errors
    ///
    /// [`Error::NotResumable`] if the session is of another engine, or its chain does not pass;
    /// [`Error::Misuse`] without a name that has to be verified.
    fn admit(&self, lineage: &Lineage, host: Option<&HostName>) -> Result<Offer, Error>;

    /// What the configuration came down to.
    fn effective(&self) -> &Effective;

    /// What has become of its connections so far.
    fn statistics(&self) -> Statistics;
}

/// Everything server connections of one configuration share; immutable.
pub trait ServerEngine: fmt::Debug + Send + Sync {
    /// One side of a new connection.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    fn session(&self) -> Result<Box<dyn Session>, Error>;

    /// What the configuration came down to.
    fn effective(&self) -> &Effective;

    /// What has become of its connections so far.
    fn statistics(&self) -> Statistics;
}
