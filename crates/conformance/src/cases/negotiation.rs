//! What both sides agree on: versions, suites, groups, application protocols.

use polytls_core::config::{ClientConfig, ServerConfig, Version};
use polytls_core::{Alert, Error, Facts, Role};

use crate::credentials::HOST;
use crate::pair::{Cut, Pair};
use crate::records;
use crate::scene::{PORT, SECP256R1, Scene, X25519, is_tls13_suite};

const HANDSHAKE_FAILURE: Alert = Alert(40);
const ILLEGAL_PARAMETER: Alert = Alert(47);
const PROTOCOL_VERSION: Alert = Alert(70);
/// A number that no suite and no group has (RFC 8701).
const NOBODYS: u16 = 0x1a1a;
/// TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256.
const RSA_SUITE: u16 = 0xc02f;
const RSA_PKCS1_SHA256: u16 = 0x0401;
const ECDSA_SECP384R1_SHA384: u16 = 0x0503;

/// The facts of a connection, on which both sides agree.
fn agreed(scene: &Scene<'_>, client: &ClientConfig, server: &ServerConfig) -> Facts {
    let pair = scene.pair(client, server).connected();
    let (on_client, on_server) = (pair.facts(Role::Client), pair.facts(Role::Server));
    assert_eq!(on_client.version, on_server.version);
    assert_eq!(on_client.cipher, on_server.cipher);
    assert_eq!(on_client.group, on_server.group);
    assert_eq!(on_client.alpn, on_server.alpn);
    on_client
}

/// Three suites that work with an ECDSA certificate, in an order that is nobody's default.
fn suites(scene: &Scene<'_>) -> Vec<u16> {
    let wanted: &[u16] = match scene.version() {
        Version::Tls12 => &[0xcca9, 0xc02b, 0xc02c],
        Version::Tls13 => &[0x1303, 0x1301, 0x1302],
    };
    let known = scene.suites(scene.version());
    let suites: Vec<u16> = wanted
        .iter()
        .copied()
        .filter(|suite| known.contains(suite))
        .collect();
    assert!(suites.len() > 1, "nothing to choose from");
    suites
}

pub(super) fn the_clients_order_of_suites_is_kept(scene: &Scene<'_>) {
    let mut wanted = suites(scene);
    for _ in 0..wanted.len() {
        wanted.rotate_left(1);
        let mut client = scene.client_config();
        client.common.cipher_suites = Some(wanted.clone());
        let engine = scene.backend.client(&client).expect("a client engine");
        assert_eq!(engine.effective().cipher_suites, wanted);
        let facts = agreed(scene, &client, &scene.server_config());
        // A server without a list of its own may still have a will of its own.
        assert!(wanted.contains(&facts.cipher));
    }
}

pub(super) fn the_servers_order_of_suites_wins(scene: &Scene<'_>) {
    let wanted = suites(scene);
    let mut turned = wanted.clone();
    turned.reverse();
    for (on_client, on_server) in [(&wanted, &turned), (&turned, &wanted)] {
        let mut client = scene.client_config();
        let mut server = scene.server_config();
        client.common.cipher_suites = Some(on_client.clone());
        server.common.cipher_suites = Some(on_server.clone());
        assert_eq!(agreed(scene, &client, &server).cipher, on_server[0]);
    }
}

pub(super) fn suites_are_an_upper_bound(scene: &Scene<'_>) {
    let suite = suites(scene)[1];
    let mut config = scene.client_config();
    config.common.cipher_suites = Some(vec![NOBODYS, suite, suite, 0x0005]);
    let engine = scene.backend.client(&config).expect("a client engine");
    assert_eq!(engine.effective().cipher_suites, [suite]);
    assert_eq!(agreed(scene, &config, &scene.server_config()).cipher, suite);

    for nothing in [vec![], vec![NOBODYS]] {
        config.common.cipher_suites = Some(nothing);
        assert_eq!(scene.refused_field(&config), "ciphers");
    }
}

pub(super) fn groups_are_an_upper_bound(scene: &Scene<'_>) {
    for group in [X25519, SECP256R1] {
        let mut client = scene.client_config();
        client.common.groups = Some(vec![NOBODYS, group]);
        let engine = scene.backend.client(&client).expect("a client engine");
        assert_eq!(engine.effective().groups, [group]);
        assert_eq!(
            agreed(scene, &client, &scene.server_config()).group,
            Some(group)
        );

        let mut server = scene.server_config();
        server.common.groups = Some(vec![group]);
        assert_eq!(
            agreed(scene, &scene.client_config(), &server).group,
            Some(group)
        );
    }
    let mut config = scene.client_config();
    for nothing in [vec![], vec![NOBODYS]] {
        config.common.groups = Some(nothing);
        assert_eq!(scene.refused_field(&config), "groups");
    }
}

/// In TLS 1.3 this takes a HelloRetryRequest: the client has sent a share for its first group.
pub(super) fn a_group_not_guessed_is_still_agreed_on(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    let mut server = scene.server_config();
    client.common.groups = Some(vec![X25519, SECP256R1]);
    server.common.groups = Some(vec![SECP256R1]);
    for cut in [Cut::Whole, Cut::Bytes] {
        let mut pair = scene.pair(&client, &server).cut(cut).connected();
        assert_eq!(pair.facts(Role::Client).group, Some(SECP256R1));
        assert_eq!(pair.exchange(b"a", b"b"), (b"b".to_vec(), b"a".to_vec()));
    }
}

pub(super) fn application_protocols(scene: &Scene<'_>) {
    let (h2, http) = (b"h2".to_vec(), b"http/1.1".to_vec());
    let both = vec![h2.clone(), http.clone()];
    let turned = vec![http.clone(), h2.clone()];
    for (on_client, on_server, expected) in [
        (vec![], vec![], None),
        (both.clone(), vec![], None),
        (vec![], both.clone(), None),
        (vec![http.clone()], both.clone(), Some(http.clone())),
        // The server's preference (RFC 7301 section 3.2).
        (turned, both, Some(h2)),
    ] {
        let mut client = scene.client_config();
        let mut server = scene.server_config();
        client.common.alpn = on_client;
        server.common.alpn = on_server;
        assert_eq!(agreed(scene, &client, &server).alpn, expected);
    }
}

pub(super) fn what_is_effective_is_negotiable(scene: &Scene<'_>) {
    let engine = scene
        .backend
        .client(&scene.client_config())
        .expect("a client engine");
    let effective = engine.effective();
    assert_eq!(effective.versions, scene.versions.list());
    for version in [Version::Tls12, Version::Tls13] {
        let allowed = effective.versions.contains(&version);
        let some = effective
            .cipher_suites
            .iter()
            .any(|suite| is_tls13_suite(*suite) == (version == Version::Tls13));
        assert_eq!(some, allowed, "suites of a version go with the version");
    }
    let mut config = scene.client_config();
    config.common.versions = vec![scene.version()];
    for suite in scene.suites(scene.version()) {
        // Suites with RSA in their name need a certificate to match.
        let credentials = scene.credentials;
        let server = scene.presenting_config(&[&credentials.server, &credentials.rsa]);
        config.common.cipher_suites = Some(vec![suite]);
        assert_eq!(agreed(scene, &config, &server).cipher, suite);
    }
}

/// Some groups are of TLS 1.3 only, the hybrid ones for instance.
pub(super) fn effective_groups_are_negotiable(scene: &Scene<'_>) {
    let engine = scene
        .backend
        .client(&scene.client_config())
        .expect("a client engine");
    assert!(!engine.effective().groups.is_empty());
    for group in &engine.effective().groups {
        let mut config = scene.client_config();
        config.common.groups = Some(vec![*group]);
        let facts = agreed(scene, &config, &scene.server_config());
        assert_eq!(facts.group, Some(*group));
    }
}

pub(super) fn the_suites_choose_among_key_types(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    client.common.cipher_suites = Some(vec![RSA_SUITE]);
    let rsa = scene.presenting_config(&[&scene.credentials.rsa]);
    assert_eq!(agreed(scene, &client, &rsa).cipher, RSA_SUITE);
    // An ECDSA certificate cannot go with it, and that is nobody's misbehaviour.
    let (client, server) = scene.pair(&client, &scene.server_config()).refused();
    assert_is!(server, Error::PeerIncompatible(_));
    assert_eq!(client, Error::AlertReceived(HANDSHAKE_FAILURE));
}

pub(super) fn suites_of_one_version_cap_the_versions(scene: &Scene<'_>) {
    for version in [Version::Tls12, Version::Tls13] {
        let mut config = scene.client_config();
        config.common.cipher_suites = Some(scene.suites(version));
        let engine = scene.backend.client(&config).expect("a client engine");
        assert_eq!(engine.effective().versions, [version]);
        let facts = agreed(scene, &config, &scene.server_config());
        assert_eq!(facts.version, version.wire());
        // Suites of a version that is not allowed are no suites.
        config.common.versions.retain(|other| *other != version);
        assert_eq!(scene.refused_field(&config), "ciphers");
    }
}

pub(super) fn the_highest_common_version_is_spoken(scene: &Scene<'_>) {
    let all = vec![Version::Tls12, Version::Tls13];
    for version in [Version::Tls12, Version::Tls13] {
        for (on_client, on_server) in [
            (vec![version], all.clone()),
            (all.clone(), vec![version]),
            (vec![version], vec![version]),
        ] {
            let mut client = scene.client_config();
            let mut server = scene.server_config();
            client.common.versions = on_client;
            server.common.versions = on_server;
            assert_eq!(agreed(scene, &client, &server).version, version.wire());
        }
    }
    let facts = agreed(scene, &scene.client_config(), &scene.server_config());
    assert_eq!(facts.version, Version::Tls13.wire());
}

/// Passes the body of this extension of ClientHello, with the two numbers before it (which it is,
/// and how long), through `change`, and drives the handshake to its end.
fn with_changed_hello(pair: &mut Pair, extension: u16, change: fn(&mut [u8])) {
    let mut changed = false;
    let _ = pair.handshake_through(&mut |from, mut flight| {
        if from == Role::Client && !changed {
            let body = records::extension(&flight, extension).expect("the extension");
            change(&mut flight[body.start - 4..body.end]);
            changed = true;
        }
        flight
    });
}

/// Somebody on the way hides that the client speaks TLS 1.3: the server says so in its random
/// (RFC 8446 section 4.1.3), before Finished would show it.
pub(super) fn a_downgrade_on_the_way_is_noticed(scene: &Scene<'_>) {
    let mut pair = scene.plain_engines().pair(HOST, PORT);
    with_changed_hello(&mut pair, records::SUPPORTED_VERSIONS, |extension| {
        extension[..2].copy_from_slice(&NOBODYS.to_be_bytes());
    });
    assert_is!(pair.failure(Role::Client), Error::PeerMisbehaved(_));
    pair.pass(Role::Client);
    assert_eq!(
        pair.failure(Role::Server),
        Error::AlertReceived(ILLEGAL_PARAMETER)
    );
}

/// A client that cannot verify what the server's only key (ECDSA on P-256) signs: it wants another
/// kind of key, or another curve.
pub(super) fn no_common_signature_scheme_is_refused(scene: &Scene<'_>) {
    let only_rsa = |extension: &mut [u8]| only_scheme(extension, RSA_PKCS1_SHA256);
    let only_p384 = |extension: &mut [u8]| only_scheme(extension, ECDSA_SECP384R1_SHA384);
    for change in [only_rsa as fn(&mut [u8]), only_p384] {
        let mut pair = scene.plain_engines().pair(HOST, PORT);
        with_changed_hello(&mut pair, records::SIGNATURE_ALGORITHMS, change);
        assert_is!(pair.failure(Role::Server), Error::PeerIncompatible(_));
        let told = pair.failure(Role::Client);
        // In TLS 1.3 the alert may be encrypted, with keys that go with the ClientHello as it came.
        if !scene.is_tls13() {
            assert_eq!(told, Error::AlertReceived(HANDSHAKE_FAILURE));
        }
    }
}

/// Makes each entry of signature_algorithms the same.
fn only_scheme(extension: &mut [u8], scheme: u16) {
    for entry in extension[6..].chunks_exact_mut(2) {
        entry.copy_from_slice(&scheme.to_be_bytes());
    }
}

pub(super) fn no_common_version_is_refused(scene: &Scene<'_>) {
    for (on_client, on_server) in [
        (Version::Tls12, Version::Tls13),
        (Version::Tls13, Version::Tls12),
    ] {
        let mut client = scene.client_config();
        let mut server = scene.server_config();
        client.common.versions = vec![on_client];
        server.common.versions = vec![on_server];
        let (client, server) = scene.pair(&client, &server).refused();
        assert_is!(
            server,
            Error::PeerIncompatible(_),
            "{on_client:?} to {on_server:?}"
        );
        assert_eq!(
            client,
            Error::AlertReceived(PROTOCOL_VERSION),
            "{on_client:?}"
        );
    }
}
