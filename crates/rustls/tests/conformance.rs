//! The cases every backend must pass, on rustls as it is used, with our own record layer after a TLS
//! 1.3 handshake, and on rustls only.

mod credentials;

use std::sync::Arc;

use credentials::{CREDENTIALS, NOW};
use polytls_conformance::{HOST, Pair};
use polytls_core::clock::ManualClock;
use polytls_core::config::{
    ClientAuthentication, ClientConfig, Common, ServerConfig, Trust, Verification, Version,
};
use polytls_core::{Backend, Error, HostName, MAX_FRAGMENT, Parameters, Role, VerificationFailure};
use polytls_rustls::Rustls;

polytls_conformance::tests!(Rustls::default(), &CREDENTIALS);

mod without_record_layer {
    use super::{CREDENTIALS, Rustls};

    polytls_conformance::tests!(Rustls::without_record_layer(), &CREDENTIALS);
}

fn trust() -> Trust {
    Trust::given(vec![CREDENTIALS.root.clone()])
}

/// A connection to `parameters`, between a client and a server that present and verify what the cases do, with
/// these protocols.
fn pair(parameters: &Parameters, of_client: &[&[u8]], of_server: &[&[u8]]) -> Pair {
    let common = |alpn: &[&[u8]]| Common {
        clock: Arc::new(ManualClock::new(NOW)),
        alpn: alpn.iter().map(|each| each.to_vec()).collect(),
        ..Common::default()
    };
    let client = Rustls::default()
        .client(&ClientConfig {
            common: common(of_client),
            identities: Vec::new(),
            trust: trust(),
            verification: Verification::Full,
            ech_grease: false,
        })
        .expect("a client's engine");
    let server = Rustls::default()
        .server(&ServerConfig {
            common: common(of_server),
            identities: vec![CREDENTIALS.server.clone()],
            client_authentication: ClientAuthentication::None,
            trust: None,
            verification: Verification::Full,
            ticket_keys: None,
            ech_keys: Vec::new(),
            tickets: None,
        })
        .expect("a server's engine");
    Pair::new(
        client.session(parameters).expect("a session"),
        server.session().expect("a session"),
    )
}

#[test]
fn another_name_may_be_asked_for_than_is_verified() {
    let parameters = |host, server_name| Parameters {
        host: HostName::parse(host).ok(),
        server_name: HostName::parse(server_name).ok(),
        ..Parameters::default()
    };
    let accepted = pair(&parameters(HOST, "front.example"), &[], &[]).connected();
    for role in [Role::Client, Role::Server] {
        let asked = accepted.facts(role).server_name;
        assert_eq!(asked.as_deref(), Some("front.example"), "{role:?}");
    }
    let (client, _) = pair(&parameters("other.example", HOST), &[], &[]).refused();
    let Error::Certificate(failure) = client else {
        panic!("{client:?}");
    };
    assert_eq!(failure.reason, VerificationFailure::HostnameMismatch);
    assert_eq!(failure.hostname.as_deref(), Some("other.example"));
}

#[test]
fn a_connection_may_offer_protocols_of_its_own() {
    for (alpn, agreed) in [
        (None, &b"http/1.1"[..]),
        (Some(vec![b"h2".to_vec()]), &b"h2"[..]),
    ] {
        let parameters = Parameters {
            host: HostName::parse(HOST).ok(),
            alpn,
            ..Parameters::default()
        };
        let pair = pair(&parameters, &[b"http/1.1"], &[b"h2", b"http/1.1"]).connected();
        assert_eq!(pair.facts(Role::Client).alpn.as_deref(), Some(agreed));
    }
}

/// The cases about tickets of several records say nothing where tickets are short. With rustls they
/// are not: it puts the client's chain into them.
#[test]
fn tickets_with_long_client_chains_take_several_records() {
    let common = |versions| Common {
        versions,
        clock: Arc::new(ManualClock::new(NOW)),
        ..Common::default()
    };
    let client = Rustls::default()
        .client(&ClientConfig {
            common: common(vec![Version::Tls13]),
            identities: vec![CREDENTIALS.long_client()],
            trust: trust(),
            verification: Verification::Full,
            ech_grease: false,
        })
        .unwrap();
    let server = Rustls::default()
        .server(&ServerConfig {
            common: common(vec![Version::Tls13]),
            identities: vec![CREDENTIALS.server.clone()],
            client_authentication: ClientAuthentication::Required,
            trust: Some(trust()),
            verification: Verification::Full,
            ticket_keys: None,
            ech_keys: Vec::new(),
            tickets: None,
        })
        .unwrap();
    let host = HostName::parse(HOST).unwrap();
    let mut pair = Pair::new(
        client
            .session(&Parameters {
                host: Some(host),
                ..Parameters::default()
            })
            .unwrap(),
        server.session().unwrap(),
    );
    let mut after_the_first_flight = 0;
    let mut flights = 0;
    let outcome = pair.handshake_through(&mut |from, flight| {
        if from == Role::Server {
            after_the_first_flight += if flights > 0 { flight.len() } else { 0 };
            flights += 1;
        }
        flight
    });
    assert_eq!((outcome.client, outcome.server), (Ok(()), Ok(())));
    assert!(
        after_the_first_flight > 2 * MAX_FRAGMENT,
        "{after_the_first_flight}"
    );
}
