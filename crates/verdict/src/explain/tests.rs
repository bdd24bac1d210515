//! Explanations, word by word.

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};

use super::*;

/// 2026-01-01 12:00 UTC.
const NOW: i64 = 1_767_225_600 + 43_200;

const SYSTEM: TrustSource = TrustSource::System {
    has_more: false,
    chosen: None,
};
const GIVEN: TrustSource = TrustSource::Given(None);

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(name, &[]);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn told(
    reason: VerificationFailure,
    chain: &[&[u8]],
    hostname: Option<&str>,
    trust_source: &TrustSource,
) -> CertificateFailure {
    explain(Refused {
        reason,
        said: "so says the library",
        chain,
        index: None,
        hostname,
        is_server: true,
        trust_source,
        passed_over: &[],
        unchecked: &[],
        of_staple: false,
        now: NOW,
    })
}

#[test]
fn an_incomplete_chain_is_the_operators_turn() {
    let ca = authority("Corp Root");
    let key = KeyPair::generate().unwrap();
    let leaf = params("leaf", &["a.example"]).signed_by(&key, &ca).unwrap();
    let failure = told(
        VerificationFailure::UnknownIssuer,
        &[leaf.der()],
        None,
        &SYSTEM,
    );
    assert_eq!(failure.responsible, Responsible::Peer);
    assert_eq!(failure.index, Some(0));
    assert_eq!(
        failure.explanation,
        "unknown issuer: the certificate of CN=leaf was issued by CN=Corp Root, which is not in \
         the system's trust store\n\
         the server sent 1 certificate and no intermediate: either the server's chain is \
         incomplete, or CN=Corp Root is a root that is not in the trust store\n\
         To fix: the server's operator or your administrator must send the certificate of CN=Corp Root as \
         well (if it is an intermediate), or add it to the trust store (if it is a root that you trust)"
    );
    let whole = told(
        VerificationFailure::UnknownIssuer,
        &[leaf.der(), ca.der()],
        None,
        &SYSTEM,
    );
    assert_eq!(
        (whole.responsible, whole.index),
        (Responsible::Administrator, Some(1))
    );
}

#[test]
fn a_wrong_name_lists_those_that_would_do() {
    let key = KeyPair::generate().unwrap();
    let names = ["a.example", "*.b.example"];
    let leaf = params("leaf", &names).self_signed(&key).unwrap();
    let reason = VerificationFailure::HostnameMismatch;
    let failure = told(reason, &[leaf.der()], Some("c.example"), &TrustSource::Pins);
    assert_eq!(
        failure.message,
        "the certificate is valid for a.example and *.b.example; you asked for c.example"
    );
    assert_eq!(failure.names, names);
    assert_eq!(failure.responsible, Responsible::Peer);
    let by_address = told(reason, &[leaf.der()], Some("192.0.2.1"), &TrustSource::Pins);
    assert_eq!(by_address.responsible, Responsible::You);
}

#[test]
fn an_expired_certificate_says_since_when() {
    let mut params = params("leaf", &[]);
    params.not_after = rcgen::date_time_ymd(2025, 12, 29);
    let key = KeyPair::generate().unwrap();
    let leaf = params.self_signed(&key).unwrap();
    let failure = told(
        VerificationFailure::Expired,
        &[leaf.der()],
        None,
        &TrustSource::Pins,
    );
    assert_eq!(
        failure.message,
        "the certificate of CN=leaf expired 3 days ago, 2025-12-29 00:00 UTC"
    );
    assert_eq!(failure.validity.unwrap().1, NOW - 3 * 86_400 - 43_200);
    // At fault is one that was not presented.
    let elsewhere = told(
        VerificationFailure::NotYetValid,
        &[leaf.der()],
        None,
        &TrustSource::Pins,
    );
    assert_eq!((elsewhere.index, elsewhere.validity), (None, None));
}

#[test]
fn cycles_and_garbage_end() {
    let mut one = params("one", &[]);
    one.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut two = one.clone();
    two.distinguished_name
        .push(rcgen::DnType::CommonName, "two");
    let (first, second) = (authority("one"), authority("two"));
    let key = KeyPair::generate().unwrap();
    let one_by_two = one.signed_by(&key, &second).unwrap();
    let two_by_one = two.signed_by(&key, &first).unwrap();
    let chain: [&[u8]; 3] = [one_by_two.der(), two_by_one.der(), b"garbage"];
    for reason in VerificationFailure::ALL {
        let failure = told(reason, &chain, Some("a.example"), &GIVEN);
        assert!(!failure.explanation.is_empty());
        assert!(!told(reason, &[], None, &GIVEN).explanation.is_empty());
    }
    let failure = told(
        VerificationFailure::UnknownIssuer,
        &chain,
        None,
        &TrustSource::Pins,
    );
    assert_eq!(failure.index, Some(1));
}

#[test]
fn lists_read_like_sentences_and_end() {
    let names: Vec<String> = (0..10).map(|index| format!("n{index}")).collect();
    assert_eq!(list(&[]), "no name at all");
    assert_eq!(list(&names[..1]), "n0");
    assert_eq!(list(&names[..3]), "n0, n1 and n2");
    assert_eq!(list(&names), "n0, n1, n2, n3, n4, n5, n6, n7 and 2 more");
}

#[test]
fn spans_and_dates_are_told_as_people_do() {
    for (seconds, expected) in [
        (-5, "0 seconds"),
        (1, "1 second"),
        (119, "1 minute"),
        (7_200, "2 hours"),
        (3 * 86_400, "3 days"),
        (500 * 86_400, "500 days"),
        (1_000 * 86_400, "2 years"),
    ] {
        assert_eq!(span(seconds), expected);
    }
    assert_eq!(date(1_700_000_000), "2023-11-14 22:13 UTC");
    assert_eq!(date(i64::MAX), "9223372036854775807 seconds after 1970");
}
