//! What a case is given: a backend, certificates, and the versions that may be spoken.
//!
//! A case changes what it is about, and leaves the rest as it is here: a fixed clock, the root as
//! the only anchor, one server identity, the library's own choice of everything else.

use std::sync::Arc;

use polytls_core::clock::ManualClock;
use polytls_core::config::{
    ClientAuthentication, ClientConfig, Common, Identity, ServerConfig, Trust, Verification,
    Version,
};
use polytls_core::pki_types::CertificateDer;
use polytls_core::{Backend, ClientEngine, Error, HostName, Parameters, ServerEngine};

use crate::credentials::{Credentials, HOST};
use crate::pair::Pair;

/// The port clients say they connect to.
pub(crate) const PORT: u16 = 443;

/// X25519: supported wherever TLS 1.3 is.
pub(crate) const X25519: u16 = 29;
/// NIST P-256.
pub(crate) const SECP256R1: u16 = 23;

/// Which versions both sides allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.2 only.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
    /// Both; TLS 1.3 is what is agreed on.
    Both,
}

impl Versions {
    pub(crate) fn list(self) -> Vec<Version> {
        match self {
            Self::Tls12 => vec![Version::Tls12],
            Self::Tls13 => vec![Version::Tls13],
            Self::Both => vec![Version::Tls12, Version::Tls13],
        }
    }
}

/// A client's and a server's engine.
#[derive(Clone, Debug)]
pub(crate) struct Engines {
    pub(crate) client: Arc<dyn ClientEngine>,
    pub(crate) server: Arc<dyn ServerEngine>,
}

impl Engines {
    /// A new connection to `host` at `port`.
    pub(crate) fn pair(&self, host: &str, port: u16) -> Pair {
        let host = HostName::parse(host).expect("a host name");
        self.pair_with(&Parameters {
            host: Some(host),
            port: Some(port),
            ..Parameters::default()
        })
    }

    /// A new connection.
    pub(crate) fn pair_with(&self, parameters: &Parameters) -> Pair {
        Pair::new(
            self.client.session(parameters).expect("a client session"),
            self.server.session().expect("a server session"),
        )
    }
}

/// What a case is given.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) backend: &'a dyn Backend,
    pub(crate) credentials: &'a Credentials,
    pub(crate) versions: Versions,
}

impl Scene<'_> {
    /// The version that will be agreed on.
    pub(crate) fn version(&self) -> Version {
        if self.versions == Versions::Tls12 {
            Version::Tls12
        } else {
            Version::Tls13
        }
    }

    pub(crate) fn is_tls13(&self) -> bool {
        self.version() == Version::Tls13
    }

    fn common(&self) -> Common {
        Common {
            versions: self.versions.list(),
            clock: Arc::new(ManualClock::new(self.credentials.now)),
            ..Common::default()
        }
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig {
            common: self.common(),
            identities: Vec::new(),
            trust: trust(&self.credentials.root),
            verification: Verification::Full,
            ech_grease: false,
        }
    }

    pub(crate) fn server_config(&self) -> ServerConfig {
        ServerConfig {
            common: self.common(),
            identities: vec![self.credentials.server.clone()],
            client_authentication: ClientAuthentication::None,
            trust: None,
            verification: Verification::Full,
            ticket_keys: None,
            ech_keys: Vec::new(),
            tickets: None,
        }
    }

    /// A server that asks for certificates of [`Credentials::root`].
    pub(crate) fn asking_config(&self, authentication: ClientAuthentication) -> ServerConfig {
        ServerConfig {
            client_authentication: authentication,
            trust: Some(trust(&self.credentials.root)),
            ..self.server_config()
        }
    }

    /// A server that presents `identities`.
    pub(crate) fn presenting_config(&self, identities: &[&Identity]) -> ServerConfig {
        ServerConfig {
            identities: identities.iter().map(|&one| one.clone()).collect(),
            ..self.server_config()
        }
    }

    pub(crate) fn engines(&self, client: &ClientConfig, server: &ServerConfig) -> Engines {
        Engines {
            client: self.backend.client(client).expect("a client engine"),
            server: self.backend.server(server).expect("a server engine"),
        }
    }

    /// Both sides as they are by default.
    pub(crate) fn plain_engines(&self) -> Engines {
        self.engines(&self.client_config(), &self.server_config())
    }

    /// One connection between engines of these configurations.
    pub(crate) fn pair(&self, client: &ClientConfig, server: &ServerConfig) -> Pair {
        self.engines(client, server).pair(HOST, PORT)
    }

    /// One connection, its handshake complete and nothing on the wire.
    pub(crate) fn connected(&self) -> Pair {
        self.plain_engines().pair(HOST, PORT).connected()
    }

    /// The field a configuration is refused for.
    pub(crate) fn refused_field(&self, client: &ClientConfig) -> &'static str {
        match self.backend.client(client) {
            Err(Error::Configuration { field, .. }) => field,
            other => panic!("the configuration should have been refused: {other:?}"),
        }
    }

    /// Suites the backend has for `version`, in its order.
    pub(crate) fn suites(&self, version: Version) -> Vec<u16> {
        self.backend
            .capabilities()
            .cipher_suites
            .into_iter()
            .filter(|suite| is_tls13_suite(*suite) == (version == Version::Tls13))
            .collect()
    }
}

/// Those of RFC 8446 appendix B.4 are numbered 0x1301 and up.
pub(crate) const fn is_tls13_suite(suite: u16) -> bool {
    suite >> 8 == 0x13
}

pub(crate) fn trust(certificate: &CertificateDer<'static>) -> Trust {
    Trust::given(vec![certificate.clone()])
}
