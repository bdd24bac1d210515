//! The cases every backend must pass, on rustls as it is used: with our own record layer after a TLS
//! 1.3 handshake.

mod credentials;

use std::sync::Arc;

use credentials::{CREDENTIALS, NOW};
use polytls_conformance::{HOST, Pair};
use polytls_core::clock::FixedClock;
use polytls_core::config::{
    ClientAuthentication, ClientConfig, Common, ServerConfig, Trust, Verification, Version,
};
use polytls_core::{Backend, HostName, MAX_FRAGMENT, Parameters, Role};
use polytls_rustls::Rustls;

polytls_conformance::tests!(Rustls, &CREDENTIALS);

fn trust() -> Trust {
    Trust::given(vec![CREDENTIALS.root.clone()])
}

/// The cases about tickets of several records say nothing where tickets are short. With rustls they
/// are not: it puts the client's chain into them.
#[test]
fn tickets_with_long_client_chains_take_several_records() {
    let common = |versions| Common {
        versions,
        clock: Arc::new(FixedClock(NOW)),
        ..Common::default()
    };
    let client = Rustls
        .client(&ClientConfig {
            common: common(vec![Version::Tls13]),
            identities: vec![CREDENTIALS.long_client()],
            trust: trust(),
            verification: Verification::Full,
        })
        .unwrap();
    let server = Rustls
        .server(&ServerConfig {
            common: common(vec![Version::Tls13]),
            identities: vec![CREDENTIALS.server.clone()],
            client_authentication: ClientAuthentication::Required,
            trust: Some(trust()),
            verification: Verification::Full,
            ticket_keys: None,
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
