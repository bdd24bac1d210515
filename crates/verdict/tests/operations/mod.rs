//! Certificates, revocation lists and OCSP responses of any shape, through the verdict: the chain and the staple of
//! a peer, and the store and the lists of a configuration, edited as arbitrary bytes say. Every signature is valid,
//! as whoever forges a certificate that is in a store need not forge one below it.

mod der;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use polytls_conformance::Input;
use polytls_core::Error;
use polytls_core::config::{Common, Pins, Staples, Trust, TrustStore, Verification};
use polytls_core::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName,
    SignatureVerificationAlgorithm, UnixTime, alg_id,
};
use polytls_verdict::{Case, Crypto, Judge, Policy, SystemTrust};
use polytls_x509::der::element;
use polytls_x509::{
    ocsp_answer, ocsp_in_force, path_facts, revocation_list, signature_hash, summarize, timestamps,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, SerialNumber, SigningKey, date_time_ymd,
};

const HOST: &str = "server.example";
/// 2026-01-01, when everything is valid.
const NOW: u64 = 1_767_225_600;

/// Leaf, intermediate, root; then the lists of both issuers, and the staple.
type Documents = [Vec<u8>; 6];

/// Of the leaf.
const SERIAL_NUMBER: [u8; 2] = [0x12, 0x34];

static DOCUMENTS: LazyLock<Documents> = LazyLock::new(documents);

static CRYPTO: Crypto = Crypto {
    algorithms: &[&AnySignature],
    sha1: &|_| Some([7; 20]),
    sha256: &|_| [7; 32],
};

#[derive(Debug)]
struct AnySignature;

impl SignatureVerificationAlgorithm for AnySignature {
    fn verify_signature(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), InvalidSignature> {
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

fn parameters(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).expect("names");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2025, 1, 1);
    parameters.not_after = date_time_ymd(2027, 1, 1);
    parameters
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = parameters(name, &[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example".to_owned())],
        excluded_subtrees: vec![GeneralSubtree::DnsName("bad.example".to_owned())],
    });
    parameters
}

fn list(issuer: &Issuer<'_, impl SigningKey>) -> Vec<u8> {
    CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(issuer)
    .expect("a list")
    .der()
    .to_vec()
}

/// An OCSP response about the leaf, for the hashes of [`CRYPTO`].
fn staple() -> Vec<u8> {
    let octets = |count| element(0x04, &vec![7; count]);
    let sha1 = element(0x30, &element(0x06, b"\x2b\x0e\x03\x02\x1a"));
    let id = [sha1, octets(20), octets(20), element(0x02, &SERIAL_NUMBER)].concat();
    let time = |text: &str| element(0x18, text.as_bytes());
    let single = [
        element(0x30, &id),
        element(0x80, &[]),
        time("20250101000000Z"),
        element(0xa0, &time("20270101000000Z")),
    ];
    let data = [
        element(0xa2, &octets(20)),
        time("20250101000000Z"),
        element(0x30, &element(0x30, &single.concat())),
    ];
    let ecdsa_with_sha256 = element(0x06, b"\x2a\x86\x48\xce\x3d\x04\x03\x02");
    let basic = [
        element(0x30, &data.concat()),
        element(0x30, &ecdsa_with_sha256),
        element(0x03, &[0; 65]),
    ];
    let basic = element(0x04, &element(0x30, &basic.concat()));
    let kind = element(0x06, b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01");
    let bytes = element(0xa0, &element(0x30, &[kind, basic].concat()));
    element(0x30, &[element(0x0a, &[0]), bytes].concat())
}

fn documents() -> Documents {
    let key = || KeyPair::generate().expect("a key");
    let root = CertifiedIssuer::self_signed(authority("root"), key()).expect("a root");
    let intermediate = CertifiedIssuer::signed_by(authority("intermediate"), key(), &root)
        .expect("an intermediate");
    let mut leaf = parameters("leaf", &[HOST, "*.wild.example"]);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    leaf.serial_number = Some(SerialNumber::from(SERIAL_NUMBER.to_vec()));
    let leaf = leaf.signed_by(&key(), &intermediate).expect("a leaf");
    [
        leaf.der().to_vec(),
        intermediate.der().to_vec(),
        root.der().to_vec(),
        list(&intermediate),
        list(&root),
        staple(),
    ]
}

/// Does what `input` says, and checks the contract: a peer is accepted or refused, and a configuration taken or
/// refused by its field; nothing panics; whoever is accepted has a path from the leaf that was presented to
/// a certificate that is trusted; whoever is refused is told why. Returns whether the peer was accepted.
pub(crate) fn operate(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let how = input.byte().unwrap_or(0);
    let mut documents = DOCUMENTS.clone();
    while let Some(which) = input.byte() {
        let document = &mut documents[usize::from(which % 6)];
        let edited = if which & 0x80 == 0 {
            der::edit(document, &mut input)
        } else {
            input.edit(document)
        };
        if edited.is_none() {
            break;
        }
    }
    read(&documents);
    judge(documents, how)
}

/// What reads single documents.
fn read(documents: &Documents) {
    for der in documents {
        let _ = (
            summarize(der),
            path_facts(der),
            revocation_list(der),
            ocsp_answer(der),
            ocsp_in_force(der, &documents[0]),
            signature_hash(der),
            timestamps(der),
        );
    }
}

fn judge([leaf, intermediate, root, lower, upper, staple]: Documents, how: u8) -> bool {
    let chain = [CertificateDer::from(leaf), intermediate.into()];
    let root = CertificateDer::from(root);
    let mut store = TrustStore::default();
    let trust = match how & 3 {
        0 | 1 => {
            store.certificates.push(root.clone());
            Trust::Store(store)
        }
        2 => {
            store.certificates.push(chain[0].clone());
            store.peers.push(root.clone());
            Trust::Store(store)
        }
        _ => Trust::Pinned(Pins {
            certificates: vec![chain[0].clone()],
            ..Pins::default()
        }),
    };
    let has_lists = how & 4 != 0;
    let common = Common {
        crls: if has_lists {
            vec![lower.into(), upper.into()]
        } else {
            Vec::new()
        },
        staples: if how & 32 == 0 {
            Staples::Heeded
        } else {
            Staples::Required
        },
        ..Common::default()
    };
    let peer_is_server = how & 8 == 0;
    let policy = Policy {
        trust: Some(&trust),
        verification: Verification::Full,
        common: &common,
        peer_is_server,
    };
    let judge = match Judge::new(&policy, CRYPTO, SystemTrust::Read) {
        Ok(judge) => Arc::new(judge),
        Err(Error::Configuration { field, message }) => {
            assert_eq!(field, "trust_store", "{message}");
            assert!(!message.is_empty());
            return false;
        }
        Err(error) => panic!("{error:?} is nobody's configuration"),
    };
    let _ = judge.hints();
    let name = ServerName::try_from(HOST).expect("a host name");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let case = Case::of(&chain, peer_is_server.then_some(&name), now).expect("a chain");
    let staple = Some(&*staple).filter(|_| how & 16 != 0);
    let verdict = judge
        .verify(&case)
        .and_then(|verdict| judge.stapled(&case, verdict, staple));
    match verdict {
        Ok(verdict) => {
            let has_issuer = verdict.path.as_ref().is_some_and(|path| path.len() > 1);
            let is_required = how & 32 != 0 && peer_is_server;
            let staple_counts = verdict
                .staple
                .as_ref()
                .is_some_and(|staple| staple.verified().is_some());
            assert!(staple_counts || !is_required, "a staple was required");
            assert!(
                !staple_counts || (staple.is_some() && has_issuer && peer_is_server),
                "nothing was stapled"
            );
            let path = verdict
                .path
                .expect("whoever is trusted by certificates has a path");
            assert_eq!(path.first().map(Vec::as_slice), Some(&*chain[0]));
            let anchor = path.last().expect("a path has an end");
            assert!(
                **anchor == *root || **anchor == *chain[0],
                "nobody trusts the end of the path"
            );
            assert!(
                verdict.ends.is_some_and(|end| end >= NOW),
                "it is accepted until {:?}",
                verdict.ends
            );
            true
        }
        Err(failure) => {
            assert!(!failure.message.is_empty(), "{failure:?}");
            assert!(!failure.explanation.is_empty(), "{failure:?}");
            assert_eq!(failure.chain.first().map(Vec::as_slice), Some(&*chain[0]));
            false
        }
    }
}
