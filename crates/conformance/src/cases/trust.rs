//! Whose certificates are accepted, and when; the clock stands still.

use std::sync::Arc;

use polytls_core::clock::ManualClock;
use polytls_core::config::{Identity, ServerConfig, Trust, Verification};
use polytls_core::{Alert, Error, Role, VerificationFailure};

use crate::credentials::{DEVICE, HOST};
use crate::scene::{Engines, PORT, Scene, trust};

/// Why the client refuses `host`, and what the server is told.
fn refusal(engines: &Engines, host: &str) -> (VerificationFailure, Alert) {
    match engines.pair(host, PORT).refused() {
        (Error::Certificate(failure), Error::AlertReceived(alert)) => {
            assert!(alert.rejects_certificate(), "{alert}");
            (failure.reason, alert)
        }
        other => panic!("a certificate should have been refused: {other:?}"),
    }
}

/// A client that looks at this clock, and a server that does not.
fn at(scene: &Scene<'_>, seconds: u64) -> Engines {
    let mut client = scene.client_config();
    client.common.clock = Arc::new(ManualClock::new(seconds));
    scene.engines(&client, &scene.server_config())
}

pub(super) fn expired_certificates_are_refused(scene: &Scene<'_>) {
    let (reason, alert) = refusal(&at(scene, scene.credentials.after), HOST);
    assert_eq!(reason, VerificationFailure::Expired);
    assert_eq!(alert, Alert(45));
    let pair = at(scene, scene.credentials.now)
        .pair(HOST, PORT)
        .connected();
    assert!(pair.client.facts().is_some());
}

pub(super) fn certificates_of_the_future_are_refused(scene: &Scene<'_>) {
    let (reason, _) = refusal(&at(scene, scene.credentials.before), HOST);
    assert_eq!(reason, VerificationFailure::NotYetValid);
}

/// A device that presents a certificate of its own making, and a client that has this certificate
/// in its store.
fn device(scene: &Scene<'_>, identity: &Identity, now: u64) -> Engines {
    let mut client = scene.client_config();
    client.common.clock = Arc::new(ManualClock::new(now));
    client.trust = trust(&identity.chain[0]);
    scene.engines(&client, &scene.presenting_config(&[identity]))
}

fn devices<'a>(scene: &Scene<'a>) -> [&'a Identity; 2] {
    [
        &scene.credentials.self_signed,
        &scene.credentials.self_signed_ca,
    ]
}

pub(super) fn a_self_signed_leaf_in_the_store_is_accepted(scene: &Scene<'_>) {
    for identity in devices(scene) {
        let engines = device(scene, identity, scene.credentials.now);
        let pair = engines.pair(DEVICE, PORT).connected();
        let chain = pair.facts(Role::Client).peer_chain;
        assert_eq!(chain, [identity.chain[0].to_vec()]);
    }
}

pub(super) fn a_self_signed_leaf_in_the_store_is_bound_to_name_and_time(scene: &Scene<'_>) {
    let Scene { credentials, .. } = scene;
    for identity in devices(scene) {
        for (host, now, expected) in [
            (HOST, credentials.now, VerificationFailure::HostnameMismatch),
            (DEVICE, credentials.after, VerificationFailure::Expired),
            (DEVICE, credentials.before, VerificationFailure::NotYetValid),
        ] {
            let (reason, _) = refusal(&device(scene, identity, now), host);
            assert_eq!(reason, expected);
        }
    }
}

pub(super) fn a_self_signed_leaf_elsewhere_is_refused(scene: &Scene<'_>) {
    for identity in devices(scene) {
        let server = scene.presenting_config(&[identity]);
        let engines = scene.engines(&scene.client_config(), &server);
        let Error::Certificate(failure) = engines.pair(DEVICE, PORT).refused().0 else {
            panic!("a self-signed certificate was not refused");
        };
        // A CA presented as a leaf has two faults; either may be told.
        assert_is!(
            failure.reason,
            VerificationFailure::UnknownIssuer | VerificationFailure::InvalidPurpose
        );
    }
}

/// A configuration whose server is a stranger to the client, and one whose server is known by
/// another name.
fn doubtful(scene: &Scene<'_>) -> [ServerConfig; 2] {
    let Scene { credentials, .. } = scene;
    [
        scene.presenting_config(&[&credentials.stranger]),
        scene.presenting_config(&[&credentials.wildcard]),
    ]
}

pub(super) fn any_name_still_needs_an_issuer(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    client.verification = Verification::AnyName;
    let [stranger, misnamed] = doubtful(scene);
    let (reason, alert) = refusal(&scene.engines(&client, &stranger), HOST);
    assert_eq!(
        (reason, alert),
        (VerificationFailure::UnknownIssuer, Alert(48))
    );
    let pair = scene.pair(&client, &misnamed).connected();
    assert!(pair.client.facts().is_some());
    // The name is still asked for.
    assert_eq!(pair.facts(Role::Server).server_name.as_deref(), Some(HOST));
    client.common.clock = Arc::new(ManualClock::new(scene.credentials.after));
    let (reason, _) = refusal(&scene.engines(&client, &misnamed), HOST);
    assert_eq!(reason, VerificationFailure::Expired);
}

pub(super) fn nothing_is_verified_when_told_so(scene: &Scene<'_>) {
    let mut client = scene.client_config();
    client.verification = Verification::Nothing;
    client.common.clock = Arc::new(ManualClock::new(scene.credentials.after));
    for server in doubtful(scene) {
        let mut pair = scene.pair(&client, &server).connected();
        assert_eq!(pair.exchange(b"a", b"b"), (b"b".to_vec(), b"a".to_vec()));
        let chain = pair.facts(Role::Client).peer_chain;
        assert_eq!(
            chain,
            [server.identities[0].chain[0].to_vec()],
            "it is shown all the same"
        );
    }
}

pub(super) fn an_empty_store_is_refused(scene: &Scene<'_>) {
    let mut config = scene.client_config();
    config.trust = Trust::given(Vec::new());
    assert_eq!(scene.refused_field(&config), "trust_store");
    config.trust = Trust::given(vec![
        scene.credentials.root.clone(),
        b"\x30\x00".to_vec().into(),
    ]);
    assert_eq!(scene.refused_field(&config), "trust_store");
}

pub(super) fn a_server_needs_an_identity(scene: &Scene<'_>) {
    let config = scene.presenting_config(&[]);
    assert_is!(
        scene.backend.server(&config).err(),
        Some(Error::Configuration {
            field: "certificate_chain",
            ..
        })
    );
}

pub(super) fn a_key_that_does_not_belong_to_the_leaf_is_refused(scene: &Scene<'_>) {
    let mixed = Identity {
        chain: scene.credentials.server.chain.clone(),
        key: scene.credentials.exact.key.clone(),
        ocsp_response: None,
    };
    let config = scene.presenting_config(&[&mixed]);
    assert_is!(
        scene.backend.server(&config).err(),
        Some(Error::Configuration {
            field: "certificate_chain",
            ..
        })
    );
    let mut config = scene.client_config();
    config.identities = vec![mixed];
    assert_eq!(scene.refused_field(&config), "certificate_chain");
}
