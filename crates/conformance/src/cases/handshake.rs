//! The handshake itself: how it is driven, and what is known of it afterwards.

use polytls_core::config::{ClientAuthentication, Verification};
use polytls_core::{Alert, Error, Parameters, Role, VerificationFailure};

use crate::credentials::{ADDRESS, HOST};
use crate::pair::{Cut, Pair, other};
use crate::records;
use crate::scene::{PORT, Scene, X25519, is_tls13_suite};

pub(super) fn completes_however_the_stream_is_cut(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    let cuts = [Cut::Whole, Cut::Bytes];
    for cut in cuts.into_iter().chain((0..16).map(Cut::Random)) {
        let mut pair = engines.pair(HOST, PORT).cut(cut).connected();
        let arrived = pair.exchange(b"question", b"answer");
        assert_eq!(
            arrived,
            (b"answer".to_vec(), b"question".to_vec()),
            "{cut:?}"
        );
    }
}

pub(super) fn facts_are_right_on_both_sides(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    let mut server = scene.asking_config(ClientAuthentication::Required);
    client.identities = vec![scene.credentials.client.clone()];
    client.common.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    server.common.alpn = vec![b"http/1.1".to_vec()];
    client.common.groups = Some(vec![X25519]);
    let suite = scene.suites(scene.version())[0];
    server.common.cipher_suites = Some(vec![suite]);
    let pair = scene.pair(&client, &server).connected();
    for role in [Role::Client, Role::Server] {
        let facts = pair.facts(role);
        assert_eq!(facts.version, scene.version().wire(), "{role:?}");
        assert_eq!(facts.cipher, suite, "{role:?}");
        assert_eq!(is_tls13_suite(facts.cipher), facts.is_tls13(), "{role:?}");
        assert_eq!(facts.group, Some(X25519), "{role:?}");
        assert_eq!(facts.alpn.as_deref(), Some(&b"http/1.1"[..]), "{role:?}");
        assert_eq!(facts.server_name.as_deref(), Some(HOST), "{role:?}");
        assert!(!facts.resumed, "{role:?}");
        let peer = match role {
            Role::Client => &scene.credentials.server,
            Role::Server => &scene.credentials.client,
        };
        assert_eq!(facts.peer_chain, [peer.chain[0].to_vec()], "{role:?}");
    }
}

pub(super) fn facts_are_absent_until_it_is_complete(scene: &Scene<'_>) {
    let mut pair = scene.plain_engines().pair(HOST, PORT).cut(Cut::Bytes);
    assert!(pair.client.facts().is_none() && pair.server.facts().is_none());
    let mut complete = [false; 2];
    // Each round carries one byte a direction at most.
    for _ in 0..100_000 {
        let results = [pair.client.do_handshake(), pair.server.do_handshake()];
        for (index, side) in [&pair.client, &pair.server].into_iter().enumerate() {
            complete[index] = results[index].is_ok();
            assert_eq!(side.facts().is_some(), complete[index]);
            assert_eq!(side.is_handshaking(), !complete[index]);
        }
        if complete == [true; 2] {
            return;
        }
        for from in [Role::Client, Role::Server] {
            let next = pair.side(from).outgoing().first().copied();
            if let Some(byte) = next {
                pair.side(from).consume_outgoing(1);
                pair.give(other(from), &[byte]);
            }
        }
    }
    panic!("the handshake never completed");
}

pub(super) fn reads_and_writes_drive_it(scene: &Scene<'_>) {
    let mut pair = scene.plain_engines().pair(HOST, PORT);
    let mut buffer = [0; 16];
    let mut written = false;
    for _ in 0..8 {
        if !written {
            match pair.server.write(b"by writing") {
                Ok(count) => {
                    assert_eq!(count, 10);
                    written = true;
                }
                Err(error) => assert_eq!(error, Error::WantRead),
            }
        }
        match pair.client.read(&mut buffer) {
            Ok(count) => {
                assert_eq!(&buffer[..count], b"by writing");
                return;
            }
            Err(error) => assert_eq!(error, Error::WantRead),
        }
        pair.pass(Role::Client);
        pair.pass(Role::Server);
    }
    panic!("reading and writing do not complete the handshake");
}

pub(super) fn no_plaintext_is_taken_before_it_is_complete(scene: &Scene<'_>) {
    let mut pair = scene.plain_engines().pair(HOST, PORT);
    let mut rounds = 0;
    while pair.client.is_handshaking() || pair.server.is_handshaking() {
        for role in [Role::Client, Role::Server] {
            if pair.side(role).is_handshaking() {
                // The call itself may complete the handshake; only then is something taken.
                match pair.side(role).write(b"") {
                    Ok(0) => assert!(!pair.side(role).is_handshaking()),
                    other => assert_eq!(other, Err(Error::WantRead), "{role:?}"),
                }
            }
            if pair.side(role).is_handshaking() {
                assert_eq!(
                    pair.side(role).write(b"early"),
                    Err(Error::WantRead),
                    "{role:?}"
                );
            }
        }
        pair.pass(Role::Client);
        pair.pass(Role::Server);
        rounds += 1;
        assert!(rounds < 8, "the handshake never completed");
    }
    for role in [Role::Client, Role::Server] {
        assert_eq!(pair.read_all(role), Ok(Vec::new()), "{role:?}");
    }
    let arrived = pair.exchange(b"late", b"later");
    assert_eq!(arrived, (b"later".to_vec(), b"late".to_vec()));
}

/// A client makes its first flight unasked; what was there before it is judged all the same. An
/// overloaded server, or a middlebox, may send an alert at once.
pub(super) fn records_before_the_first_call_are_not_passed_over(scene: &Scene<'_>) {
    let mut pair = scene.plain_engines().pair(HOST, PORT);
    let handshake_failure = records::plain(records::ALERT, &[2, 40]);
    pair.give(Role::Client, &handshake_failure);
    assert_eq!(
        pair.client.do_handshake(),
        Err(Error::AlertReceived(Alert(40)))
    );
}

pub(super) fn an_address_is_verified_and_never_sent_as_a_name(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    let mut pair = engines.pair(ADDRESS, PORT);
    assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
    let hello = pair.take(Role::Client);
    let text = ADDRESS.as_bytes();
    assert!(!hello.windows(text.len()).any(|window| window == text));
    pair.give(Role::Server, &hello);
    let pair = pair.connected();
    for role in [Role::Client, Role::Server] {
        assert_eq!(pair.facts(role).server_name, None, "{role:?}");
    }

    let (client, _) = engines.pair("192.0.2.77", PORT).refused();
    assert_is!(client, Error::Certificate(failure)
        if failure.reason == VerificationFailure::HostnameMismatch);
}

pub(super) fn a_client_that_verifies_names_needs_one(scene: &Scene<'_>) {
    let mut config = scene.client_config();
    let strict = scene.backend.client(&config).expect("a client engine");
    assert_is!(
        strict.session(&Parameters::default()).err(),
        Some(Error::Misuse(_))
    );

    config.verification = Verification::AnyName;
    let engines = scene.engines(&config, &scene.server_config());
    let pair = Pair::new(
        engines
            .client
            .session(&Parameters::default())
            .expect("a client session"),
        engines.server.session().expect("a server session"),
    )
    .connected();
    assert_eq!(pair.facts(Role::Client).server_name, None);
    // No name was made up for the peer either.
    assert_eq!(pair.facts(Role::Server).server_name, None);
}

pub(super) fn all_key_types_of_servers_work(scene: &Scene<'_>) {
    let Scene { credentials, .. } = scene;
    for identity in [&credentials.server, &credentials.rsa, &credentials.ed25519] {
        let server = scene.presenting_config(&[identity]);
        let pair = scene.pair(&scene.client_config(), &server).connected();
        let chain = pair.facts(Role::Client).peer_chain;
        assert_eq!(chain, [identity.chain[0].to_vec()]);
    }
}
