//! Handshakes that must fail, on both sides: who is told what, and that it stays so.
//!
//! Alert numbers are those of RFC 8446 section 6.2, where it leaves no choice.

use polytls_core::config::{ClientAuthentication, Version};
use polytls_core::{Alert, Error, Role, VerificationFailure};

use crate::credentials::{HOST, WILDCARD_HOST};
use crate::pair::{Pair, other};
use crate::scene::{PORT, SECP256R1, Scene, X25519};

const HANDSHAKE_FAILURE: Alert = Alert(40);
const INSUFFICIENT_SECURITY: Alert = Alert(71);
const BAD_CERTIFICATE: Alert = Alert(42);
const UNKNOWN_CA: Alert = Alert(48);
const CERTIFICATE_REQUIRED: Alert = Alert(116);
const NO_APPLICATION_PROTOCOL: Alert = Alert(120);

/// That every call but those that drain what is left gives `error`.
fn assert_latched(pair: &mut Pair, role: Role, error: &Error) {
    for _ in 0..2 {
        let side = pair.side(role);
        assert_eq!(side.do_handshake().as_ref(), Err(error), "{role:?}");
        assert_eq!(side.read(&mut [0; 8]).as_ref(), Err(error), "{role:?}");
        assert_eq!(side.write(b"x").as_ref(), Err(error), "{role:?}");
        assert_eq!(side.shutdown().as_ref(), Err(error), "{role:?}");
        assert_eq!(side.send_close_notify().as_ref(), Err(error), "{role:?}");
        assert_eq!(side.failure(), Some(error), "{role:?}");
    }
}

pub(super) fn is_latched_and_its_alert_can_be_sent(scene: &Scene<'_>) {
    let mut pair = scene.plain_engines().pair("other.example", PORT);
    assert_eq!(pair.client.do_handshake(), Err(Error::WantRead));
    pair.pass(Role::Client);
    assert_eq!(pair.server.do_handshake(), Err(Error::WantRead));
    pair.pass(Role::Server);
    let error = pair.failure(Role::Client);
    assert_is!(&error, Error::Certificate(_));
    assert_latched(&mut pair, Role::Client, &error);

    assert!(!pair.client.outgoing().is_empty(), "the alert waits");
    pair.pass(Role::Client);
    let told = pair.failure(Role::Server);
    assert_is!(&told, Error::AlertReceived(_));
    assert_latched(&mut pair, Role::Server, &told);

    // Nothing that comes later changes it, the end of the transport included.
    pair.give(Role::Client, b"more");
    pair.end(Role::Client);
    assert_latched(&mut pair, Role::Client, &error);
    assert!(pair.client.facts().is_none() && pair.server.facts().is_none());
}

pub(super) fn of_the_host_name(scene: &Scene<'_>) {
    let (client, server) = scene.plain_engines().pair("other.example", PORT).refused();
    let Error::Certificate(failure) = client else {
        panic!("the name is not the certificate's: {client:?}");
    };
    assert_eq!(failure.reason, VerificationFailure::HostnameMismatch);
    assert_eq!(failure.hostname.as_deref(), Some("other.example"));
    assert_eq!(failure.chain, [scene.credentials.server.chain[0].to_vec()]);
    assert!(failure.message.contains(HOST), "{}", failure.message);
    assert_eq!(server, Error::AlertReceived(BAD_CERTIFICATE));

    // A wildcard stands for one label (RFC 9525 section 6.3).
    let config = scene.presenting_config(&[&scene.credentials.wildcard]);
    let engines = scene.engines(&scene.client_config(), &config);
    let parent = WILDCARD_HOST.trim_start_matches("*.");
    for name in [parent.to_owned(), format!("a.b.{parent}")] {
        let (client, _) = engines.pair(&name, PORT).refused();
        assert_is!(client, Error::Certificate(failure)
            if failure.reason == VerificationFailure::HostnameMismatch, "{name}");
    }
    let pair = engines.pair(&format!("a.{parent}"), PORT).connected();
    assert!(pair.client.facts().is_some());
}

pub(super) fn of_the_issuer(scene: &Scene<'_>) {
    let server = scene.presenting_config(&[&scene.credentials.stranger]);
    let (client, server) = scene.pair(&scene.client_config(), &server).refused();
    assert_is!(client, Error::Certificate(failure)
        if failure.reason == VerificationFailure::UnknownIssuer);
    assert_eq!(server, Error::AlertReceived(UNKNOWN_CA));
}

/// RFC 7301 section 3.2.
pub(super) fn of_the_application_protocol(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    let mut server = scene.server_config();
    client.common.alpn = vec![b"h2".to_vec()];
    server.common.alpn = vec![b"http/1.1".to_vec(), b"imap".to_vec()];
    let (client, server) = scene.pair(&client, &server).refused();
    assert_is!(server, Error::PeerIncompatible(_));
    assert_eq!(client, Error::AlertReceived(NO_APPLICATION_PROTOCOL));
}

pub(super) fn of_the_cipher_suites(scene: &Scene<'_>) {
    let suites = scene.suites(scene.version());
    let mut client = scene.client_config();
    let mut server = scene.server_config();
    client.common.versions = vec![scene.version()];
    server.common.versions = vec![scene.version()];
    client.common.cipher_suites = Some(vec![suites[0]]);
    server.common.cipher_suites = Some(vec![suites[1]]);
    let (client, server) = scene.pair(&client, &server).refused();
    assert_is!(server, Error::PeerIncompatible(_));
    assert_is!(
        client,
        Error::AlertReceived(HANDSHAKE_FAILURE | INSUFFICIENT_SECURITY)
    );
}

pub(super) fn of_the_groups(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    let mut server = scene.server_config();
    client.common.groups = Some(vec![X25519]);
    server.common.groups = Some(vec![SECP256R1]);
    let (client, server) = scene.pair(&client, &server).refused();
    assert_is!(server, Error::PeerIncompatible(_));
    assert_is!(
        client,
        Error::AlertReceived(HANDSHAKE_FAILURE | INSUFFICIENT_SECURITY)
    );
}

pub(super) fn declared_by_the_caller_is_latched(scene: &Scene<'_>) {
    let mut pair = scene.connected();
    let error = Error::Internal("the caller's hook failed".to_owned());
    assert_eq!(pair.client.write(b"sealed before"), Ok(13));
    pair.client.poison(error.clone());
    assert_latched(&mut pair, Role::Client, &error);
    pair.client
        .poison(Error::NotTls("something later".to_owned()));
    assert_latched(&mut pair, Role::Client, &error);
    pair.pass(Role::Client);
    assert_eq!(pair.read_all(Role::Server), Ok(b"sealed before".to_vec()));
}

pub(super) fn leaves_data_that_came_before_readable(scene: &Scene<'_>) {
    for role in [Role::Client, Role::Server] {
        let mut pair = scene.connected();
        assert_eq!(pair.side(role).write(b"authenticated"), Ok(13));
        let mut sealed = pair.take(role);
        sealed.extend(b"\x17\x03\x03\x00\x20no record that anybody has sealed");
        pair.give(other(role), &sealed);
        // Writing looks no further than to the first data: with it, the peer has accepted us.
        assert_eq!(pair.side(other(role)).write(b"x"), Ok(1));
        // Looking for close_notify opens the first record and must not lose it.
        let looked = pair.side(other(role)).shutdown();
        assert!(matches!(looked, Err(Error::PeerMisbehaved(_))));
        let mut read = Vec::new();
        let mut buffer = [0; 5];
        let error = loop {
            match pair.side(other(role)).read(&mut buffer) {
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error) => break error,
            }
        };
        assert_eq!(read, b"authenticated");
        assert_is!(&error, Error::PeerMisbehaved(_));
        assert_latched(&mut pair, other(role), &error);
    }
}

/// The client's handshake is complete when its last flight is made; what the server thinks of it
/// comes afterwards.
pub(super) fn of_the_client_is_told_after_its_handshake(scene: &Scene<'_>) {
    assert_eq!(scene.version(), Version::Tls13);
    let server = scene.asking_config(ClientAuthentication::Required);
    let mut pair = scene.pair(&scene.client_config(), &server);
    let outcome = pair.handshake();
    assert_eq!(outcome.client, Ok(()));
    assert_is!(outcome.server, Err(Error::Certificate(_)));
    // A first write looks at what has come, so that a client which only writes is told too.
    let told = Error::AlertReceived(CERTIFICATE_REQUIRED);
    assert_eq!(pair.client.write(b"unheard"), Err(told.clone()));
    assert_latched(&mut pair, Role::Client, &told);
}
