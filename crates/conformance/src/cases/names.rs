//! A server with several chains: the name in ClientHello chooses (RFC 6066 section 3), then what
//! the client can verify.

use polytls_core::Role;
use polytls_core::config::{Identity, Verification};

use crate::credentials::HOST;
use crate::scene::{PORT, Scene};

/// The suites of TLS 1.2 with ECDHE and AES-128-GCM, for either kind of key.
const ECDSA_SUITE: u16 = 0xc02b;
const RSA_SUITE: u16 = 0xc02f;

pub(super) fn choose_the_chain(scene: &Scene<'_>) {
    let Scene { credentials, .. } = scene;
    let chains = [
        &credentials.server,
        &credentials.wildcard,
        &credentials.exact,
    ];
    let engines = scene.engines(&scene.client_config(), &scene.presenting_config(&chains));
    for (name, expected) in [
        (HOST, &credentials.server),
        ("www.wild.example", &credentials.exact),
        ("mail.wild.example", &credentials.wildcard),
    ] {
        let pair = engines.pair(name, PORT).connected();
        assert_presented(&pair.facts(Role::Client).peer_chain, expected, name);
        assert_eq!(pair.facts(Role::Server).server_name.as_deref(), Some(name));
    }
}

pub(super) fn fall_back_on_the_first_chain(scene: &Scene<'_>) {
    let Scene { credentials, .. } = scene;
    let mut client = scene.client_config();
    client.verification = Verification::AnyName;
    // No name is ever refused for being unknown: the client judges.
    for (first, second) in [
        (&credentials.wildcard, &credentials.server),
        (&credentials.server, &credentials.wildcard),
    ] {
        let engines = scene.engines(&client, &scene.presenting_config(&[first, second]));
        for name in ["unknown.example", "a.b.wild.example", "192.0.2.99"] {
            let pair = engines.pair(name, PORT).connected();
            assert_presented(&pair.facts(Role::Client).peer_chain, first, name);
        }
    }
}

pub(super) fn are_compared_as_dns_does(scene: &Scene<'_>) {
    let Scene { credentials, .. } = scene;
    let chains = [&credentials.wildcard, &credentials.server];
    let engines = scene.engines(&scene.client_config(), &scene.presenting_config(&chains));
    for name in ["SERVER.Example", "server.example."] {
        let pair = engines.pair(name, PORT).connected();
        assert_presented(
            &pair.facts(Role::Client).peer_chain,
            &credentials.server,
            name,
        );
        // A trailing dot never goes into SNI (RFC 6066 section 3).
        assert_eq!(pair.facts(Role::Server).server_name.as_deref(), Some(HOST));
    }
}

pub(super) fn choose_the_chain_that_the_suites_allow(scene: &Scene<'_>) {
    let Scene { credentials, .. } = scene;
    let (ecdsa, rsa) = (&credentials.server, &credentials.rsa);
    for chains in [[ecdsa, rsa], [rsa, ecdsa]] {
        let server = scene.presenting_config(&chains);
        for (suite, expected) in [(ECDSA_SUITE, ecdsa), (RSA_SUITE, rsa)] {
            let mut client = scene.client_config();
            client.common.cipher_suites = Some(vec![suite]);
            let pair = scene.pair(&client, &server).connected();
            let facts = pair.facts(Role::Client);
            assert_presented(&facts.peer_chain, expected, HOST);
            assert_eq!(facts.cipher, suite);
        }
        // Where both will do, the server's order decides.
        let pair = scene.pair(&scene.client_config(), &server).connected();
        assert_presented(&pair.facts(Role::Client).peer_chain, chains[0], HOST);
    }
}

fn assert_presented(presented: &[Vec<u8>], expected: &Identity, name: &str) {
    assert!(
        presented.len() == 1 && presented[0] == expected.chain[0].as_ref(),
        "another chain was presented for {name}"
    );
}
