//! Client certificates.

use std::sync::Arc;

use polytls_core::clock::ManualClock;
use polytls_core::config::{ClientAuthentication, ClientConfig, ServerConfig, Verification};
use polytls_core::{Alert, Error, Role, VerificationFailure};

use crate::scene::Scene;

const HANDSHAKE_FAILURE: Alert = Alert(40);
const UNKNOWN_CA: Alert = Alert(48);
const CERTIFICATE_REQUIRED: Alert = Alert(116);

/// A client with a certificate of the known root, and one with a stranger's.
fn presenting(scene: &Scene<'_>) -> [ClientConfig; 2] {
    [&scene.credentials.client, &scene.credentials.stranger].map(|identity| ClientConfig {
        identities: vec![identity.clone()],
        ..scene.client_config()
    })
}

/// The chain the server sees, once connected.
fn seen(scene: &Scene<'_>, client: &ClientConfig, server: &ServerConfig) -> Vec<Vec<u8>> {
    let mut pair = scene.pair(client, server).connected();
    // A client of TLS 1.3 knows that it was accepted when data comes.
    let arrived = pair.exchange(b"hello", b"welcome");
    assert_eq!(arrived.0, b"welcome");
    pair.facts(Role::Server).peer_chain
}

pub(super) fn is_not_asked_for_by_default(scene: &Scene<'_>) {
    let [known, stranger] = presenting(scene);
    for client in [known, stranger] {
        let chain = seen(scene, &client, &scene.server_config());
        assert_eq!(
            chain,
            Vec::<Vec<u8>>::new(),
            "a certificate nobody asked for was sent"
        );
    }
}

pub(super) fn optional_takes_what_comes(scene: &Scene<'_>) {
    let server = scene.asking_config(ClientAuthentication::Optional);
    assert_eq!(
        seen(scene, &scene.client_config(), &server),
        Vec::<Vec<u8>>::new()
    );
    let [known, _] = presenting(scene);
    let leaf = scene.credentials.client.chain[0].to_vec();
    assert_eq!(seen(scene, &known, &server), [leaf]);
}

pub(super) fn required_takes_a_good_certificate(scene: &Scene<'_>) {
    let server = scene.asking_config(ClientAuthentication::Required);
    let [known, _] = presenting(scene);
    let leaf = scene.credentials.client.chain[0].to_vec();
    assert_eq!(seen(scene, &known, &server), [leaf]);
}

pub(super) fn required_refuses_none(scene: &Scene<'_>) {
    let server = scene.asking_config(ClientAuthentication::Required);
    let mut pair = scene.pair(&scene.client_config(), &server);
    let (client, server) = pair.refused();
    assert_is!(server, Error::Certificate(failure)
        if failure.reason == VerificationFailure::NoCertificate);
    // RFC 5246 section 7.4.6 knows only handshake_failure; certificate_required is of RFC 8446, and
    // some libraries send it in TLS 1.2 too.
    assert_is!(client, Error::AlertReceived(alert)
        if alert == CERTIFICATE_REQUIRED || (alert == HANDSHAKE_FAILURE && !scene.is_tls13()));
    assert!(pair.server.facts().is_none());
    assert_is!(pair.server.write(b"secret"), Err(Error::Certificate(_)));
}

pub(super) fn strangers_are_refused_where_it_is_optional_too(scene: &Scene<'_>) {
    let [_, stranger] = presenting(scene);
    for authentication in [
        ClientAuthentication::Optional,
        ClientAuthentication::Required,
    ] {
        let server = scene.asking_config(authentication);
        let (client, server) = scene.pair(&stranger, &server).refused();
        let Error::Certificate(failure) = server else {
            panic!("{authentication:?}: a stranger was not refused: {server:?}");
        };
        assert_eq!(failure.reason, VerificationFailure::UnknownIssuer);
        assert_eq!(failure.hostname, None, "clients have no host name");
        assert_eq!(
            failure.chain,
            [scene.credentials.stranger.chain[0].to_vec()]
        );
        assert_eq!(client, Error::AlertReceived(UNKNOWN_CA));
    }
}

pub(super) fn required_refuses_expired_certificates(scene: &Scene<'_>) {
    let mut server = scene.asking_config(ClientAuthentication::Required);
    server.common.clock = Arc::new(ManualClock::new(scene.credentials.after));
    let [known, _] = presenting(scene);
    let (client, server) = scene.pair(&known, &server).refused();
    assert_is!(server, Error::Certificate(failure)
        if failure.reason == VerificationFailure::Expired);
    assert_is!(client, Error::AlertReceived(alert) if alert.rejects_certificate());
}

pub(super) fn needs_a_trust_store(scene: &Scene<'_>) {
    for authentication in [
        ClientAuthentication::Optional,
        ClientAuthentication::Required,
    ] {
        let config = ServerConfig {
            trust: None,
            ..scene.asking_config(authentication)
        };
        assert_is!(
            scene.backend.server(&config).err(),
            Some(Error::Configuration { .. })
        );
    }
}

pub(super) fn unverified_takes_strangers(scene: &Scene<'_>) {
    let server = ServerConfig {
        verification: Verification::Nothing,
        ..scene.asking_config(ClientAuthentication::Required)
    };
    let [_, stranger] = presenting(scene);
    let leaf = scene.credentials.stranger.chain[0].to_vec();
    assert_eq!(seen(scene, &stranger, &server), [leaf]);
    // Unverified is not the same as absent.
    let (_, error) = scene.pair(&scene.client_config(), &server).refused();
    assert_is!(error, Error::Certificate(_));
}
