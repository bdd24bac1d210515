//! A walk over all errors of rustls's: what the peer is told of each.
//!
//! The enumerations may grow, and the compiler does not tell: so their variants are read from the source
//! of the version that is built here.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::process::Command;

use AlertDescription as A;
use rustls::crypto::KeyExchangeAlgorithm;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    CertRevocationListError, CertificateError, ContentType, EncryptedClientHelloError,
    ExtendedKeyPurpose, HandshakeType, InconsistentKeys, OtherError,
};

use super::*;

type Table<E> = Vec<(AlertDescription, Vec<E>)>;

fn misbehaved() -> Table<PeerMisbehaved> {
    use PeerMisbehaved as E;
    vec![
        (
            A::IllegalParameter,
            vec![
                E::AttemptedDowngradeToTls12WhenTls13IsSupported,
                E::BadCertChainExtensions,
                E::CipherSuiteDifferedOnRetry,
                E::DisallowedEncryptedExtension,
                E::DuplicateClientHelloExtensions,
                E::DuplicateEncryptedExtensions,
                E::DuplicateHelloRetryRequestExtensions,
                E::DuplicateNewSessionTicketExtensions,
                E::DuplicateServerHelloExtensions,
                E::DuplicateServerNameTypes,
                E::EarlyDataAttemptedInSecondClientHello,
                E::EarlyDataExtensionWithoutResumption,
                E::EarlyDataOfferedWithVariedCipherSuite,
                E::EchAcceptanceVariedAfterRetry,
                E::HandshakeHashVariedAfterRetry,
                E::IllegalHelloRetryRequestWithEmptyCookie,
                E::IllegalHelloRetryRequestWithNoChanges,
                E::IllegalHelloRetryRequestWithOfferedGroup,
                E::IllegalHelloRetryRequestWithUnofferedCipherSuite,
                E::IllegalHelloRetryRequestWithUnofferedNamedGroup,
                E::IllegalHelloRetryRequestWithUnsupportedVersion,
                E::IllegalHelloRetryRequestWithWrongSessionId,
                E::IllegalHelloRetryRequestWithInvalidEch,
                E::InvalidMaxEarlyDataSize,
                E::InvalidKeyShare,
                E::OfferedDuplicateCertificateCompressions,
                E::OfferedDuplicateKeyShares,
                E::OfferedEmptyApplicationProtocol,
                E::OfferedIncorrectCompressions,
                E::PskExtensionMustBeLast,
                E::PskExtensionWithMismatchedIdsAndBinders,
                E::RefusedToFollowHelloRetryRequest,
                E::ResumptionAttemptedWithVariedEms,
                E::ResumptionOfferedWithVariedCipherSuite,
                E::ResumptionOfferedWithVariedEms,
                E::ResumptionOfferedWithIncompatibleCipherSuite,
                E::SelectedDifferentCipherSuiteAfterRetry,
                E::SelectedInvalidPsk,
                E::SelectedTls12UsingTls13VersionExtension,
                E::SelectedUnofferedApplicationProtocol,
                E::SelectedUnofferedCertCompression,
                E::SelectedUnofferedCipherSuite,
                E::SelectedUnofferedCompression,
                E::SelectedUnofferedKxGroup,
                E::SelectedUnofferedPsk,
                E::SelectedUnusableCipherSuiteForVersion,
                E::ServerEchoedCompatibilitySessionId,
                E::ServerHelloMustOfferUncompressedEcPoints,
                E::ServerNameDifferedOnRetry,
                E::ServerNameMustContainOneHostName,
                E::SignedKxWithWrongAlgorithm,
                E::SignedHandshakeWithUnadvertisedSigScheme,
                E::UnexpectedCleartextExtension,
                E::WrongGroupForKeyShare,
            ],
        ),
        (
            A::UnexpectedMessage,
            vec![
                E::IllegalMiddleboxChangeCipherSpec,
                E::IllegalTlsInnerPlaintext,
                E::KeyEpochWithPendingFragment,
                E::KeyUpdateReceivedInQuicConnection,
                E::MessageInterleavedWithHandshakeMessage,
                E::RejectedEarlyDataInterleavedWithHandshakeMessage,
                E::TooManyEmptyFragments,
                E::TooManyKeyUpdateRequests,
                E::TooManyRenegotiationRequests,
                E::TooManyWarningAlertsReceived,
                E::TooMuchEarlyDataReceived,
            ],
        ),
        (A::DecryptError, vec![E::IncorrectBinder]),
        (A::BadCertificate, vec![E::InvalidCertCompression]),
        (A::DecodeError, vec![E::MissingBinderInPskExtension]),
        (
            A::MissingExtension,
            vec![
                E::MissingKeyShare,
                E::MissingPskExtensionInSecondClientHello,
                E::MissingPskModesExtension,
                E::MissingQuicTransportParameters,
            ],
        ),
        (
            A::ProtocolVersion,
            vec![E::OfferedEarlyDataWithOldProtocolVersion],
        ),
        (
            A::UnsupportedExtension,
            vec![
                E::UnsolicitedCertExtension,
                E::UnsolicitedEncryptedExtension,
                E::UnsolicitedSctList,
                E::UnsolicitedServerHelloExtension,
                E::UnsolicitedEchExtension,
            ],
        ),
    ]
}

fn incompatible() -> Table<PeerIncompatible> {
    use PeerIncompatible as E;
    vec![
        (
            A::HandshakeFailure,
            vec![
                E::EcPointsExtensionRequired,
                E::ExtendedMasterSecretExtensionRequired,
                E::IncorrectCertificateTypeExtension,
                E::NoCertificateRequestSignatureSchemesInCommon,
                E::NoCipherSuitesInCommon,
                E::NoEcPointFormatsInCommon,
                E::NoKxGroupsInCommon,
                E::NoSignatureSchemesInCommon,
                E::SignatureAlgorithmsExtensionRequired,
            ],
        ),
        (
            A::MissingExtension,
            vec![
                E::KeyShareExtensionRequired,
                E::NamedGroupsExtensionRequired,
            ],
        ),
        (
            A::IllegalParameter,
            vec![E::NullCompressionRequired, E::UncompressedEcPointsRequired],
        ),
        (
            A::ProtocolVersion,
            vec![
                E::ServerDoesNotSupportTls12Or13,
                E::ServerTlsVersionIsDisabledByOurConfig,
                E::SupportedVersionsExtensionRequired,
                E::Tls12NotOffered,
                E::Tls12NotOfferedOrEnabled,
                E::Tls13RequiredForQuic,
            ],
        ),
        (
            A::UnsupportedExtension,
            vec![
                E::ServerSentHelloRetryRequestWithUnknownExtension,
                E::UnsolicitedCertificateTypeExtension,
            ],
        ),
        (
            A::EncryptedClientHelloRequired,
            vec![E::ServerRejectedEncryptedClientHello(None)],
        ),
    ]
}

fn invalid_messages() -> Table<InvalidMessage> {
    use InvalidMessage as E;
    vec![
        (
            A::DecodeError,
            vec![
                E::CertificatePayloadTooLarge,
                E::HandshakePayloadTooLarge,
                E::InvalidCertificateStatusType,
                E::InvalidCertRequest,
                E::InvalidDhParams,
                E::InvalidServerName,
                E::MessageTooLarge,
                E::MessageTooShort,
                E::MissingData(""),
                E::MissingKeyExchange,
                E::NoSignatureSchemes,
                E::TrailingData(""),
                E::UnsupportedCurveType,
                E::UnsupportedKeyExchangeAlgorithm(KeyExchangeAlgorithm::DHE),
                E::EmptyTicketValue,
                E::IllegalEmptyList(""),
                E::IllegalEmptyValue,
            ],
        ),
        (
            A::UnexpectedMessage,
            vec![
                E::InvalidCcs,
                E::InvalidContentType,
                E::InvalidEmptyPayload,
                E::UnexpectedMessage(""),
            ],
        ),
        (
            A::IllegalParameter,
            vec![
                E::InvalidKeyUpdate,
                E::UnsupportedCompression,
                E::DuplicateExtension(0),
                E::PreSharedKeyIsNotFinalExtension,
            ],
        ),
        (
            A::UnsupportedExtension,
            vec![
                E::UnknownHelloRetryRequestExtension,
                E::UnknownCertificateExtension,
            ],
        ),
        (A::ProtocolVersion, vec![E::UnknownProtocolVersion]),
    ]
}

#[expect(deprecated, reason = "rustls may still have it")]
fn certificates() -> Table<CertificateError> {
    use CertificateError as E;
    let time = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
    vec![
        (
            A::BadCertificate,
            vec![
                E::BadEncoding,
                E::UnhandledCriticalExtension,
                E::NotValidForName,
                E::NotValidForNameContext {
                    expected: ServerName::try_from("server.example").expect("a name"),
                    presented: Vec::new(),
                },
            ],
        ),
        (
            A::CertificateExpired,
            vec![
                E::Expired,
                E::ExpiredContext {
                    time,
                    not_after: time,
                },
                E::NotValidYet,
                E::NotValidYetContext {
                    time,
                    not_before: time,
                },
            ],
        ),
        (A::CertificateRevoked, vec![E::Revoked]),
        (
            A::UnknownCA,
            vec![
                E::UnknownIssuer,
                E::UnknownRevocationStatus,
                E::ExpiredRevocationList,
                E::ExpiredRevocationListContext {
                    time,
                    next_update: time,
                },
            ],
        ),
        (
            A::DecryptError,
            vec![
                E::BadSignature,
                E::UnsupportedSignatureAlgorithm,
                E::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: Vec::new(),
                    supported_algorithms: Vec::new(),
                },
                E::UnsupportedSignatureAlgorithmForPublicKeyContext {
                    signature_algorithm_id: Vec::new(),
                    public_key_algorithm_id: Vec::new(),
                },
            ],
        ),
        (
            A::UnsupportedCertificate,
            vec![
                E::InvalidPurpose,
                E::InvalidPurposeContext {
                    required: ExtendedKeyPurpose::ServerAuth,
                    presented: Vec::new(),
                },
            ],
        ),
        (
            A::BadCertificateStatusResponse,
            vec![E::InvalidOcspResponse],
        ),
        (A::AccessDenied, vec![E::ApplicationVerificationFailure]),
        (A::CertificateUnknown, vec![E::Other(other())]),
    ]
}

fn other() -> OtherError {
    OtherError(std::sync::Arc::new(std::fmt::Error))
}

/// One of each.
fn errors() -> Table<Error> {
    vec![
        (
            A::UnexpectedMessage,
            vec![
                Error::InappropriateMessage {
                    expect_types: Vec::new(),
                    got_type: ContentType::Alert,
                },
                Error::InappropriateHandshakeMessage {
                    expect_types: Vec::new(),
                    got_type: HandshakeType::Finished,
                },
                Error::PeerMisbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext),
            ],
        ),
        (
            A::DecodeError,
            vec![
                Error::InvalidMessage(InvalidMessage::MessageTooShort),
                Error::NoCertificatesPresented,
            ],
        ),
        (A::BadRecordMac, vec![Error::DecryptError]),
        (
            A::HandshakeFailure,
            vec![Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon,
            )],
        ),
        (
            A::CertificateRevoked,
            vec![Error::InvalidCertificate(CertificateError::Revoked)],
        ),
        (A::RecordOverflow, vec![Error::PeerSentOversizedRecord]),
        (A::NoApplicationProtocol, vec![Error::NoApplicationProtocol]),
        // Faults of ours.
        (
            A::InternalError,
            vec![
                Error::InvalidEncryptedClientHello(EncryptedClientHelloError::SniRequired),
                Error::UnsupportedNameType,
                Error::EncryptError,
                Error::InvalidCertRevocationList(CertRevocationListError::ParseError),
                Error::General(String::new()),
                Error::FailedToGetCurrentTime,
                Error::FailedToGetRandomBytes,
                Error::HandshakeNotComplete,
                Error::BadMaxFragmentSize,
                Error::InconsistentKeys(InconsistentKeys::Unknown),
                Error::Other(other()),
            ],
        ),
    ]
}

/// The variants of an enumeration in `error.rs` of the rustls that is built here.
fn variants(of: &str) -> BTreeSet<String> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .output()
        .expect("cargo runs");
    let metadata = String::from_utf8(metadata.stdout).expect("JSON");
    let package = format!("/rustls-{}/", env!("POLYTLS_RUSTLS_VERSION"));
    let end = metadata.find(&package).expect("rustls is a dependency") + package.len();
    let start = metadata[..end].rfind('"').expect("a path") + 1;
    let source = format!("{}src/error.rs", &metadata[start..end]);
    let source = std::fs::read_to_string(&source).expect(&source);
    let (_, body) = source
        .split_once(&format!("\npub enum {of} {{\n"))
        .expect("an enumeration");
    let (body, _) = body.split_once("\n}").expect("its end");
    let names = body.lines().filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        line.starts_with(|first: char| first.is_ascii_uppercase())
            .then(|| name(line))
    });
    names.collect()
}

/// The identifier that this begins with.
fn name(text: &str) -> String {
    let end = text.find(|one: char| !one.is_ascii_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

/// Every variant has its place in the table, and is told so where rustls says nothing itself.
fn walk<E: Debug + Clone>(of: &str, table: Table<E>, error: impl Fn(E) -> Error) {
    let mut seen = BTreeSet::new();
    for (expected, rows) in table {
        for row in rows {
            let told = alert(&error(row.clone()), None, None);
            assert_eq!(told, Some(number(expected)), "{of}: {row:?}");
            assert!(
                seen.insert(name(&format!("{row:?}"))),
                "{of}: {row:?} twice"
            );
        }
    }
    assert_eq!(seen, variants(of), "{of}");
}

#[test]
fn every_error_has_its_alert() {
    walk("PeerMisbehaved", misbehaved(), Error::PeerMisbehaved);
    walk("PeerIncompatible", incompatible(), Error::PeerIncompatible);
    walk("InvalidMessage", invalid_messages(), Error::InvalidMessage);
    walk(
        "CertificateError",
        certificates(),
        Error::InvalidCertificate,
    );
    // The peer has said it: no alert answers an alert.
    let received = Error::AlertReceived(A::UnexpectedMessage);
    assert_eq!(alert(&received, Some(Alert::DECODE_ERROR), None), None);
    let mut expected = variants("Error");
    assert!(expected.remove("AlertReceived"));
    let mut seen = BTreeSet::new();
    for (description, rows) in errors() {
        for row in rows {
            assert_eq!(
                alert(&row, None, None),
                Some(number(description)),
                "{row:?}"
            );
            seen.insert(name(&format!("{row:?}")));
        }
    }
    assert_eq!(seen, expected);
}

/// What rustls says holds, but where an RFC says otherwise.
#[test]
fn what_rustls_says_stands_unless_an_rfc_says_otherwise() {
    let said = Some(Alert(200));
    let tls12 = Some(ProtocolVersion::TLSv1_2);
    let tls13 = Some(ProtocolVersion::TLSv1_3);
    let told = |error: &Error, version| alert(error, said, version).expect("an alert").0;
    assert_eq!(told(&Error::DecryptError, tls13), 200);
    for (error, in_tls12, in_tls13) in [
        (Error::NoCertificatesPresented, 40, 200),
        (PeerIncompatible::KeyShareExtensionRequired.into(), 200, 109),
        (PeerMisbehaved::SelectedUnofferedCipherSuite.into(), 47, 47),
        (InvalidMessage::InvalidEmptyPayload.into(), 10, 10),
        (InvalidMessage::MissingData("AlertLevel").into(), 10, 10),
        (
            InvalidMessage::MissingData("AlertDescription").into(),
            200,
            200,
        ),
    ] {
        assert_eq!(told(&error, tls12), in_tls12, "{error:?}");
        assert_eq!(told(&error, tls13), in_tls13, "{error:?}");
    }
}
