//! Sessions: what is resumed, and above all what is not.

use std::collections::HashSet;
use std::sync::Arc;

use polytls_core::clock::{Clock, ManualClock};
use polytls_core::config::ClientAuthentication;
use polytls_core::{Error, Facts, HostName, Parameters, Role, VerificationFailure};

use crate::credentials::HOST;
use crate::pair::{Cut, Pair};
use crate::records;
use crate::scene::{Engines, PORT, Scene};

/// A connection that is used as connections are: data both ways, so that tickets are read.
fn used(engines: &Engines, host: &str, port: u16) -> Pair {
    use_up(engines.pair(host, port))
}

fn use_up(pair: Pair) -> Pair {
    let mut pair = pair.connected();
    let arrived = pair.exchange(b"ping", b"pong");
    assert_eq!(arrived, (b"pong".to_vec(), b"ping".to_vec()));
    assert_eq!(pair.read_all(Role::Client), Ok(Vec::new()));
    let resumed = [Role::Client, Role::Server].map(|role| pair.facts(role).resumed);
    assert_eq!(
        resumed[0], resumed[1],
        "both sides agree on whether it was resumed"
    );
    pair
}

fn resumed(engines: &Engines, host: &str, port: u16) -> bool {
    used(engines, host, port).facts(Role::Client).resumed
}

pub(super) fn of_a_second_connection(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    assert!(!resumed(&engines, HOST, PORT));
    for round in 0..4 {
        assert!(resumed(&engines, HOST, PORT), "round {round}");
    }
}

pub(super) fn keeps_the_facts(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    let mut server = scene.asking_config(ClientAuthentication::Required);
    client.identities = vec![scene.credentials.client.clone()];
    client.common.alpn = vec![b"h2".to_vec()];
    server.common.alpn = vec![b"h2".to_vec()];
    let engines = scene.engines(&client, &server);
    let first = used(&engines, HOST, PORT);
    let second = used(&engines, HOST, PORT);
    for role in [Role::Client, Role::Server] {
        let expected = Facts {
            resumed: true,
            // TLS 1.2 exchanges no keys when it resumes.
            group: first.facts(role).group.filter(|_| scene.is_tls13()),
            // Nothing is verified anew.
            verified_chain: None,
            // How a handshake went is its own.
            handshake: second.facts(role).handshake,
            ..first.facts(role)
        };
        assert_eq!(second.facts(role), expected, "{role:?}");
        assert_eq!(expected.peer_chain.len(), 1, "{role:?}");
    }
}

pub(super) fn not_without_sessions_on_either_side(scene: &Scene<'_>) {
    for (on_client, on_server) in [(None, Some(8)), (Some(8), None), (None, None)] {
        let mut client = scene.client_config();
        let mut server = scene.server_config();
        client.common.sessions = on_client;
        server.common.sessions = on_server;
        let engines = scene.engines(&client, &server);
        for _ in 0..3 {
            assert!(
                !resumed(&engines, HOST, PORT),
                "{on_client:?} and {on_server:?}"
            );
        }
    }
}

pub(super) fn not_for_another_name_or_port(scene: &Scene<'_>) {
    let Scene { credentials, .. } = scene;
    let server = scene.presenting_config(&[&credentials.server, &credentials.wildcard]);
    let engines = scene.engines(&scene.client_config(), &server);
    assert!(!resumed(&engines, HOST, PORT));
    assert!(!resumed(&engines, HOST, PORT + 1));
    assert!(!resumed(&engines, "mail.wild.example", PORT));
    assert!(!resumed(&engines, "www.wild.example", PORT));
    for (host, port) in [(HOST, PORT), (HOST, PORT + 1), ("www.wild.example", PORT)] {
        assert!(resumed(&engines, host, port), "{host}:{port}");
    }
}

pub(super) fn not_for_another_zone(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    let resumed = |scope| {
        let parameters = Parameters {
            host: HostName::parse(HOST).ok(),
            port: Some(PORT),
            scope: Some(scope),
            ..Parameters::default()
        };
        use_up(engines.pair_with(&parameters))
            .facts(Role::Client)
            .resumed
    };
    assert!(!resumed(1));
    assert!(!resumed(2));
    assert!(resumed(1));
}

pub(super) fn not_across_engines(scene: &Scene<'_>) {
    let one = scene.plain_engines();
    let two = scene.plain_engines();
    assert!(!resumed(&one, HOST, PORT));
    let new_client = Engines {
        client: two.client.clone(),
        server: one.server.clone(),
    };
    assert!(
        !resumed(&new_client, HOST, PORT),
        "what another client remembers"
    );
    let new_server = Engines {
        client: one.client.clone(),
        server: two.server.clone(),
    };
    assert!(
        !resumed(&new_server, HOST, PORT),
        "what another server gave"
    );
}

/// A session that was made without a certificate must not open the door of a server that requires
/// one, which a cache or ticket keys shared between the two would do.
pub(super) fn not_around_required_authentication(scene: &Scene<'_>) {
    let lax = scene.plain_engines();
    let strict = scene.asking_config(ClientAuthentication::Required);
    assert!(!resumed(&lax, HOST, PORT));
    let mixed = Engines {
        client: lax.client.clone(),
        server: scene.backend.server(&strict).expect("a server engine"),
    };
    let (_, server) = mixed.pair(HOST, PORT).refused();
    assert_is!(server, Error::Certificate(_));
}

/// RFC 8446 section 4.6.1: clients must not keep tickets for more than seven days.
pub(super) fn not_after_more_than_seven_days(scene: &Scene<'_>) {
    let clock = Arc::new(ManualClock::new(scene.credentials.now));
    let mut client = scene.client_config();
    let mut server = scene.server_config();
    client.common.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    server.common.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let engines = scene.engines(&client, &server);
    assert!(!resumed(&engines, HOST, PORT));
    clock.advance(60 * 60);
    assert!(resumed(&engines, HOST, PORT), "after an hour");
    clock.advance(8 * 24 * 60 * 60);
    assert!(!resumed(&engines, HOST, PORT), "after more than a week");
}

/// RFC 8446 section 4.6.1: new tickets must not extend for ever what one full handshake has proved.
pub(super) fn not_for_ever_by_one_ticket_after_another(scene: &Scene<'_>) {
    let clock = Arc::new(ManualClock::new(scene.credentials.now));
    let mut client = scene.client_config();
    let mut server = scene.server_config();
    client.common.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    server.common.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let engines = scene.engines(&client, &server);
    assert!(!resumed(&engines, HOST, PORT));
    for hours in (10..170).step_by(10) {
        clock.advance(10 * 60 * 60);
        assert!(resumed(&engines, HOST, PORT), "after {hours} hours");
    }
    clock.advance(10 * 60 * 60);
    assert!(!resumed(&engines, HOST, PORT), "after more than a week");
    assert!(resumed(&engines, HOST, PORT), "the week begins anew");
}

/// Whoever was let in by a certificate is not let in by a session once that has expired, whichever of
/// the two sides looks at the clock.
pub(super) fn not_beyond_the_peers_certificate(scene: &Scene<'_>) {
    for judge in [Role::Client, Role::Server] {
        let clocks = [Role::Client, Role::Server]
            .map(|_| Arc::new(ManualClock::new(scene.credentials.until - 60 * 60)));
        let mut client = scene.client_config();
        let mut server = scene.asking_config(ClientAuthentication::Required);
        client.identities = vec![scene.credentials.client.clone()];
        client.common.clock = Arc::clone(&clocks[0]) as Arc<dyn Clock>;
        server.common.clock = Arc::clone(&clocks[1]) as Arc<dyn Clock>;
        let engines = scene.engines(&client, &server);
        assert!(!resumed(&engines, HOST, PORT));
        for each in &clocks {
            each.advance(30 * 60);
        }
        assert!(resumed(&engines, HOST, PORT), "while it is valid");
        let moved = &clocks[usize::from(judge == Role::Server)];
        moved.advance(30 * 60 + 1);
        let (on_client, on_server) = engines.pair(HOST, PORT).refused();
        let error = if judge == Role::Client {
            on_client
        } else {
            on_server
        };
        let Error::Certificate(failure) = error else {
            panic!("{judge:?}: {error:?}");
        };
        assert_eq!(failure.reason, VerificationFailure::Expired, "{judge:?}");
    }
}

pub(super) fn not_beyond_what_is_remembered(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    client.common.sessions = Some(1);
    let engines = scene.engines(&client, &scene.server_config());
    assert!(!resumed(&engines, HOST, PORT));
    assert!(resumed(&engines, HOST, PORT));
    assert!(!resumed(&engines, HOST, PORT + 1));
    assert!(!resumed(&engines, HOST, PORT), "the only place was taken");
}

pub(super) fn needs_a_place_to_remember(scene: &Scene<'_>) {
    let mut config = scene.client_config();
    config.common.sessions = Some(0);
    assert_eq!(scene.refused_field(&config), "sessions");
    let mut config = scene.server_config();
    config.common.sessions = Some(0);
    assert_is!(
        scene.backend.server(&config).err(),
        Some(Error::Configuration {
            field: "sessions",
            ..
        })
    );
}

pub(super) fn carries_data_like_any_other(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    let _ = used(&engines, HOST, PORT);
    let mut pair = engines.pair(HOST, PORT).cut(Cut::Bytes).connected();
    assert!(pair.facts(Role::Client).resumed);
    let data: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    assert!(pair.exchange(&data, &data) == (data.clone(), data));
    assert_eq!(pair.client.shutdown(), Err(Error::WantRead));
    pair.pass(Role::Client);
    assert_eq!(pair.server.read(&mut [0; 1]), Ok(0));
    assert_eq!(pair.server.shutdown(), Ok(()));
    pair.pass(Role::Server);
    assert_eq!(pair.client.shutdown(), Ok(()));
}

/// RFC 8446 appendix C.4: a ticket that is offered twice ties two connections together for anyone
/// who watches.
pub(super) fn uses_each_ticket_once(scene: &Scene<'_>) {
    let engines = scene.plain_engines();
    for _ in 0..3 {
        let _ = used(&engines, HOST, PORT);
    }
    let mut seen = HashSet::new();
    let mut without = 0;
    for _ in 0..20 {
        let mut pair = engines.pair(HOST, PORT);
        assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
        let offered = records::tickets_offered(&pair.take(Role::Client));
        without += usize::from(offered.is_empty());
        for ticket in offered {
            assert!(seen.insert(ticket), "a ticket was offered twice");
        }
    }
    assert!(!seen.is_empty(), "there was something to resume");
    assert!(without > 0, "more tickets than any server gives");
}
