//! Certificates for the conformance cases, made anew for each run with rcgen; time is fixed, so that
//! nothing depends on when that is.

use std::sync::LazyLock;

use polytls_conformance::{ADDRESS, Credentials, DEVICE, EXACT_HOST, HOST, WILDCARD_HOST};
use polytls_core::config::{Identity, Key};
use polytls_core::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
    SignatureAlgorithm, date_time_ymd,
};

/// The time of all cases: 2026-01-01.
pub(crate) const NOW: u64 = 1_767_225_600;
const YEAR: u64 = 365 * 24 * 60 * 60;

/// The certificates of this run.
pub(crate) static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(|| {
    let (issuer, root) = authority("Conformance Root");
    let (unknown, _) = authority("Unknown Root");
    Credentials {
        now: NOW,
        before: NOW - 10 * YEAR,
        until: NOW + YEAR,
        after: NOW + 10 * YEAR,
        server: issued(&issuer, &[HOST, ADDRESS], &ecdsa()),
        rsa: issued(&issuer, &[HOST], &rsa()),
        ed25519: issued(&issuer, &[HOST], &key(&PKCS_ED25519)),
        exact: issued(&issuer, &[EXACT_HOST], &ecdsa()),
        wildcard: issued(&issuer, &[WILDCARD_HOST], &ecdsa()),
        client: issued(&issuer, &["client.example"], &ecdsa()),
        stranger: issued(&unknown, &[HOST], &ecdsa()),
        self_signed: self_signed(IsCa::ExplicitNoCa),
        self_signed_ca: self_signed(IsCa::Ca(BasicConstraints::Unconstrained)),
        root,
    }
});

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("a key")
}

fn ecdsa() -> KeyPair {
    key(&PKCS_ECDSA_P256_SHA256)
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("an RSA key")
}

fn parameters(name: &str, subject_alternative_names: &[&str]) -> CertificateParams {
    let names: Vec<String> = subject_alternative_names
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut parameters = CertificateParams::new(names).expect("names that certificates can hold");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2025, 1, 1);
    parameters.not_after = date_time_ymd(2027, 1, 1);
    parameters
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, CertificateDer<'static>) {
    let mut parameters = parameters(name, &[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = ecdsa();
    let certificate = parameters.self_signed(&key).expect("a certificate");
    (Issuer::new(parameters, key), certificate.der().clone())
}

fn issued(issuer: &Issuer<'_, KeyPair>, names: &[&str], key: &KeyPair) -> Identity {
    let certificate = parameters("a leaf", names)
        .signed_by(key, issuer)
        .expect("a certificate");
    identity(&certificate, key)
}

fn self_signed(is_ca: IsCa) -> Identity {
    let mut parameters = parameters("a device", &[DEVICE]);
    parameters.is_ca = is_ca;
    let key = ecdsa();
    let certificate = parameters.self_signed(&key).expect("a certificate");
    identity(&certificate, &key)
}

fn identity(certificate: &Certificate, key: &KeyPair) -> Identity {
    Identity {
        chain: vec![certificate.der().clone()],
        key: Key::Der(PrivatePkcs8KeyDer::from(key.serialize_der()).into()),
        ocsp_response: None,
    }
}
