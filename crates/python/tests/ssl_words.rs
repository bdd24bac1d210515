//! What `stdlib` reads of OpenSSL: names, numbers, and records in the clear. The files need no interpreter, so
//! they are compiled into this test by themselves.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[allow(dead_code, reason = "the rest is called by the module itself")]
#[path = "../src/ssl/flight.rs"]
mod flight;
#[allow(dead_code, reason = "the rest is called by the module itself")]
#[path = "../src/ssl/reasons.rs"]
mod reasons;

use std::collections::HashSet;

use flight::{is_only_hello, last_alert, offers_tls13, plain_alert};
use polytls_core::{Alert, Error, VerificationFailure};
use reasons::{Fault, Words, fault, reason_of};

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], &length[..], content].concat()
}

fn message(kind: u8, length: u32) -> Vec<u8> {
    let [_, length_bytes @ ..] = length.to_be_bytes();
    [&[kind], &length_bytes[..], &vec![0; length as usize]].concat()
}

#[test]
fn what_leaves_before_a_verdict_is_client_hello() {
    let (hello, large) = (message(1, 500), message(1, 20_000));
    let finished = message(16, 32);
    for (flight, expected) in [
        (vec![], true),
        (vec![record(22, &hello)], true),
        (vec![record(20, b"\x01"), record(22, &hello)], true),
        (
            vec![record(22, &large[..16384]), record(22, &large[16384..])],
            true,
        ),
        (vec![record(21, b"\x02\x28")], true),
        (vec![record(22, &finished)], false),
        (
            vec![record(22, &[message(11, 900), finished.clone()].concat())],
            false,
        ),
        (vec![record(22, &[hello.clone(), finished].concat())], false),
        (
            vec![record(22, &hello), record(22, &message(11, 900))],
            false,
        ),
        (vec![record(22, &hello[..hello.len() - 1])], false),
        (vec![record(22, &hello), record(23, &[0; 40])], false),
        (vec![record(20, b"\x01"), record(23, &[0; 74])], false),
    ] {
        assert_eq!(is_only_hello(&flight.concat()), expected, "{flight:?}");
    }
}

#[test]
fn of_a_flight_that_failed_its_alert_leaves_alone() {
    let finished = record(23, &[0; 53]);
    let (plain, sealed) = (record(21, b"\x02\x28"), record(23, &[0; 19]));
    for (flight, expected) in [
        (vec![], &[][..]),
        (vec![finished.clone()], &[]),
        (
            vec![
                record(22, &message(16, 32)),
                record(20, b"\x01"),
                plain.clone(),
            ],
            &plain,
        ),
        (
            vec![record(20, b"\x01"), finished.clone(), sealed.clone()],
            &sealed,
        ),
        (vec![sealed.clone(), finished], &[]),
    ] {
        assert_eq!(last_alert(&flight.concat()), expected);
    }
}

/// A `ClientHello` with these extensions.
fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let prefixed = |content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&length[..], content].concat()
    };
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &prefixed(content)].concat())
        .collect();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[32],
        &[9; 32],
        &prefixed(&[0x13, 1]),
        &[1, 0],
        &prefixed(&extensions),
    ]
    .concat();
    let [_, length @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    record(22, &[&[1][..], &length, &body].concat())
}

#[test]
fn a_client_offers_tls_1_3_by_its_versions_alone() {
    let versions: &[u8] = b"\x04\x03\x04\x03\x03";
    assert!(offers_tls13(&hello(&[(43, versions)])));
    assert!(offers_tls13(&hello(&[
        (0, b""),
        (16, b"\0\0"),
        (43, versions)
    ])));
    assert!(!offers_tls13(&hello(&[])));
    assert!(!offers_tls13(&hello(&[(43, b"\x02\x03\x03")])));
    assert!(!offers_tls13(&hello(&[(44, versions)])));
    // The first one counts.
    assert!(!offers_tls13(&hello(&[
        (43, b"\x02\x03\x03"),
        (43, versions)
    ])));
    let whole = hello(&[(43, versions)]);
    for length in 0..whole.len() {
        assert!(!offers_tls13(&whole[..length]), "{length} bytes");
    }
    assert!(!offers_tls13(&[&[23], &whole[1..]].concat()));
}

#[test]
fn a_plain_alert_is_told_by_its_number() {
    assert_eq!(plain_alert(b"\x15\x03\x03\x00\x02\x02\x28"), Some(40));
    assert_eq!(
        plain_alert(b"\x15\x03\x03\x00\x02\x01\x28"),
        None,
        "a warning"
    );
    assert_eq!(plain_alert(&record(21, &[0; 26])), None, "an encrypted one");
    assert_eq!(plain_alert(b""), None);
}

fn named(reason: &str) -> Words {
    Words {
        reason: Some(reason.to_owned()),
        text: "words that nobody should read".to_owned(),
        ..Words::default()
    }
}

fn error_of(words: &Words) -> Error {
    match fault(words, None) {
        Fault::Other(error) => error,
        other => panic!("{other:?}"),
    }
}

/// The names of openssl/sslerr.h for 1000 and the number of an alert.
const ALERTS: [(&str, u8); 33] = [
    ("SSLV3_ALERT_UNEXPECTED_MESSAGE", 10),
    ("SSLV3_ALERT_BAD_RECORD_MAC", 20),
    ("TLSV1_ALERT_DECRYPTION_FAILED", 21),
    ("TLSV1_ALERT_RECORD_OVERFLOW", 22),
    ("SSLV3_ALERT_DECOMPRESSION_FAILURE", 30),
    ("SSLV3_ALERT_HANDSHAKE_FAILURE", 40),
    ("SSLV3_ALERT_NO_CERTIFICATE", 41),
    ("SSLV3_ALERT_BAD_CERTIFICATE", 42),
    ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", 43),
    ("SSLV3_ALERT_CERTIFICATE_REVOKED", 44),
    ("SSLV3_ALERT_CERTIFICATE_EXPIRED", 45),
    ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", 46),
    ("SSLV3_ALERT_ILLEGAL_PARAMETER", 47),
    ("TLSV1_ALERT_UNKNOWN_CA", 48),
    ("TLSV1_ALERT_ACCESS_DENIED", 49),
    ("TLSV1_ALERT_DECODE_ERROR", 50),
    ("TLSV1_ALERT_DECRYPT_ERROR", 51),
    ("TLSV1_ALERT_EXPORT_RESTRICTION", 60),
    ("TLSV1_ALERT_PROTOCOL_VERSION", 70),
    ("TLSV1_ALERT_INSUFFICIENT_SECURITY", 71),
    ("TLSV1_ALERT_INTERNAL_ERROR", 80),
    ("TLSV1_ALERT_INAPPROPRIATE_FALLBACK", 86),
    ("TLSV1_ALERT_USER_CANCELLED", 90),
    ("TLSV1_ALERT_NO_RENEGOTIATION", 100),
    ("TLSV13_ALERT_MISSING_EXTENSION", 109),
    ("TLSV1_UNSUPPORTED_EXTENSION", 110),
    ("TLSV1_CERTIFICATE_UNOBTAINABLE", 111),
    ("TLSV1_UNRECOGNIZED_NAME", 112),
    ("TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE", 113),
    ("TLSV1_BAD_CERTIFICATE_HASH_VALUE", 114),
    ("TLSV1_ALERT_UNKNOWN_PSK_IDENTITY", 115),
    ("TLSV13_ALERT_CERTIFICATE_REQUIRED", 116),
    ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", 120),
];

#[test]
fn every_alert_that_openssl_names_is_told_by_its_number() {
    for (name, number) in ALERTS {
        assert_eq!(error_of(&named(name)), Error::AlertReceived(Alert(number)));
        // Where `ssl` does not know the name, OpenSSL's words are it.
        let words = format!(
            "[SSL] {} (_ssl.c:1006)",
            name.replace('_', " ").to_lowercase()
        );
        let unnamed = Words {
            text: words,
            ..Words::default()
        };
        assert_eq!(error_of(&unnamed), Error::AlertReceived(Alert(number)));
    }
    let known = (1..=u8::MAX)
        .map(Alert)
        .filter(|alert| alert.name().is_some());
    let missing: Vec<_> = known
        .filter(|alert| !ALERTS.iter().any(|(_, number)| *number == alert.0))
        .collect();
    assert_eq!(
        missing,
        [Alert(121)],
        "ech_required, which OpenSSL has no name for"
    );
}

#[test]
fn an_alert_in_the_clear_comes_before_what_openssl_says_of_it() {
    let found = fault(&named("SOMETHING_NEW"), Some(200));
    assert!(matches!(
        found,
        Fault::Other(Error::AlertReceived(Alert(200)))
    ));
}

#[test]
fn other_reasons_say_whose_fault_it_was() {
    let said = |reason: &str| error_of(&named(reason));
    assert_eq!(
        said("NO_SHARED_CIPHER"),
        Error::PeerIncompatible("no shared cipher".to_owned())
    );
    assert_eq!(
        said("SOMETHING_NEW"),
        Error::PeerMisbehaved("something new".to_owned())
    );
    assert_eq!(
        said("INTERNAL_ERROR"),
        Error::Internal("internal error".to_owned())
    );
    let of_system = Words {
        of_system: true,
        text: "EOF occurred in violation of protocol (_ssl.c:1006)".to_owned(),
        ..Words::default()
    };
    let text = "EOF occurred in violation of protocol".to_owned();
    assert_eq!(error_of(&of_system), Error::Internal(text.clone()));
    let unnamed = Words {
        of_system: false,
        ..of_system
    };
    assert_eq!(error_of(&unnamed), Error::PeerMisbehaved(text));
}

#[test]
fn certificates_are_told_of_by_the_judge() {
    let refused = Words {
        refused: Some((10, "certificate has expired".to_owned())),
        ..named("CERTIFICATE_VERIFY_FAILED")
    };
    let found = fault(&refused, None);
    assert!(
        matches!(&found, Fault::Refused(VerificationFailure::Expired, said) if said == "certificate has expired"),
        "{found:?}"
    );
    for reason in [
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "NO_CERTIFICATES_RETURNED",
    ] {
        assert!(matches!(fault(&named(reason), None), Fault::NoCertificate));
    }
}

#[test]
fn every_reason_that_a_library_can_find_is_one_of_openssls() {
    let found: HashSet<_> = (0..120).map(reason_of).collect();
    for failure in VerificationFailure::ALL {
        let ours = [
            VerificationFailure::NoCertificate,
            VerificationFailure::PinMismatch,
            VerificationFailure::RefusedByVerifier,
        ];
        assert_eq!(
            found.contains(&failure),
            !ours.contains(&failure),
            "{failure:?}"
        );
    }
}
