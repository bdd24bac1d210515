//! What rustls's errors about a peer mean, in words. rustls names them by identifiers of its source.

use polytls_core::names::HANDSHAKE_TYPES;
use rustls::{HandshakeType, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// What we and the peer have not in common.
pub(crate) fn incompatible(why: &PeerIncompatible) -> &'static str {
    use PeerIncompatible as E;
    match why {
        E::EcPointsExtensionRequired => "it sent no ec_point_formats extension",
        E::ExtendedMasterSecretExtensionRequired => {
            "it does not offer extended_master_secret, which is required (RFC 7627)"
        }
        E::IncorrectCertificateTypeExtension => "it requires another certificate type",
        E::KeyShareExtensionRequired => "it sent no key_share extension",
        E::NamedGroupsExtensionRequired => "it sent no supported_groups extension",
        E::NoCertificateRequestSignatureSchemesInCommon => {
            "no signature algorithm in common for client certificates"
        }
        E::NoCipherSuitesInCommon => "no cipher suites in common",
        E::NoEcPointFormatsInCommon => "no point formats in common",
        E::NoKxGroupsInCommon => "no key exchange groups in common",
        E::NoSignatureSchemesInCommon => "no signature algorithms in common",
        E::NullCompressionRequired => "it requires compression",
        E::ServerDoesNotSupportTls12Or13 => "it supports neither TLS 1.2 nor TLS 1.3",
        E::ServerSentHelloRetryRequestWithUnknownExtension => {
            "its HelloRetryRequest has an unknown extension"
        }
        E::ServerTlsVersionIsDisabledByOurConfig => {
            "it chose a TLS version that is not allowed here"
        }
        E::SignatureAlgorithmsExtensionRequired => "it sent no signature_algorithms extension",
        E::SupportedVersionsExtensionRequired => {
            "it does not offer TLS 1.3 (supported_versions), which is required here"
        }
        E::Tls12NotOffered => "it does not offer TLS 1.2, and TLS 1.3 was not agreed on",
        E::Tls12NotOfferedOrEnabled => "no version of TLS in common",
        E::Tls13RequiredForQuic => "QUIC needs TLS 1.3",
        E::UncompressedEcPointsRequired => "it does not support uncompressed points",
        E::UnsolicitedCertificateTypeExtension => {
            "it sent a certificate type extension that was not requested"
        }
        E::ServerRejectedEncryptedClientHello(_) => "it rejected the encrypted ClientHello",
        _ => "it has nothing in common with this side",
    }
}

/// What the peer must not have done.
pub(crate) fn misbehaved(why: &PeerMisbehaved) -> &'static str {
    use PeerMisbehaved as E;
    match why {
        E::AttemptedDowngradeToTls12WhenTls13IsSupported => {
            "it chose TLS 1.2 but signals support for TLS 1.3: someone on the path changed the \
             handshake (RFC 8446 section 4.1.3)"
        }
        E::BadCertChainExtensions => {
            "its certificate message has extensions that were not requested"
        }
        E::CipherSuiteDifferedOnRetry => "it changed its cipher suites after HelloRetryRequest",
        E::DisallowedEncryptedExtension => "EncryptedExtensions has a forbidden extension",
        E::DuplicateClientHelloExtensions
        | E::DuplicateEncryptedExtensions
        | E::DuplicateHelloRetryRequestExtensions
        | E::DuplicateNewSessionTicketExtensions
        | E::DuplicateServerHelloExtensions => "duplicate extension",
        E::DuplicateServerNameTypes => "server_name has two names of the same type",
        E::EarlyDataAttemptedInSecondClientHello => {
            "it offers early data in its second ClientHello"
        }
        E::EarlyDataExtensionWithoutResumption => "it offers early data without a session",
        E::EarlyDataOfferedWithVariedCipherSuite => {
            "it accepted early data with a cipher suite other than the session's"
        }
        E::EchAcceptanceVariedAfterRetry => {
            "it accepted the encrypted ClientHello before HelloRetryRequest but not after"
        }
        E::HandshakeHashVariedAfterRetry => "it changed its hash function after HelloRetryRequest",
        E::IllegalHelloRetryRequestWithEmptyCookie => "its HelloRetryRequest has an empty cookie",
        E::IllegalHelloRetryRequestWithNoChanges => "its HelloRetryRequest requests no change",
        E::IllegalHelloRetryRequestWithOfferedGroup => {
            "its HelloRetryRequest requests a group whose key share was already sent"
        }
        E::IllegalHelloRetryRequestWithUnofferedCipherSuite => {
            "its HelloRetryRequest has a cipher suite that was not offered"
        }
        E::IllegalHelloRetryRequestWithUnofferedNamedGroup => {
            "its HelloRetryRequest requests a group that was not offered"
        }
        E::IllegalHelloRetryRequestWithUnsupportedVersion => {
            "its HelloRetryRequest has an unsupported version"
        }
        E::IllegalHelloRetryRequestWithWrongSessionId => {
            "its HelloRetryRequest has a different session ID"
        }
        E::IllegalHelloRetryRequestWithInvalidEch => {
            "its HelloRetryRequest has an invalid encrypted ClientHello confirmation"
        }
        E::IllegalMiddleboxChangeCipherSpec => "unexpected ChangeCipherSpec",
        E::IllegalTlsInnerPlaintext => "record contains only padding",
        E::IncorrectBinder => "invalid PSK binder: it does not have the session's secret",
        E::InvalidCertCompression => "its compressed certificate cannot be decompressed",
        E::InvalidMaxEarlyDataSize => "invalid max_early_data_size",
        E::InvalidKeyShare => "invalid key share",
        E::KeyEpochWithPendingFragment => "a message spans a key change",
        E::KeyUpdateReceivedInQuicConnection => "KeyUpdate over QUIC",
        E::MessageInterleavedWithHandshakeMessage => {
            "a record of another type within a handshake message"
        }
        E::MissingBinderInPskExtension => "it offers sessions without binders",
        E::MissingKeyShare => "it sent no key share",
        E::MissingPskExtensionInSecondClientHello => {
            "its second ClientHello no longer offers the session"
        }
        E::MissingPskModesExtension => "it offers sessions without psk_key_exchange_modes",
        E::MissingQuicTransportParameters => "it sent no QUIC transport parameters",
        E::OfferedDuplicateCertificateCompressions => {
            "it offers a certificate compression algorithm twice"
        }
        E::OfferedDuplicateKeyShares => "it sent two key shares for the same group",
        E::OfferedEarlyDataWithOldProtocolVersion => "it offers early data with TLS 1.2",
        E::OfferedEmptyApplicationProtocol => {
            "it offers an application protocol with an empty name"
        }
        E::OfferedIncorrectCompressions => "it offers compression, which TLS 1.3 does not have",
        E::PskExtensionMustBeLast => "pre_shared_key is not the last extension",
        E::PskExtensionWithMismatchedIdsAndBinders => {
            "it offers different numbers of sessions and binders"
        }
        E::RefusedToFollowHelloRetryRequest => {
            "its second ClientHello does not follow \
                                                HelloRetryRequest"
        }
        E::RejectedEarlyDataInterleavedWithHandshakeMessage => {
            "early data within a handshake message"
        }
        E::ResumptionAttemptedWithVariedEms | E::ResumptionOfferedWithVariedEms => {
            "it resumes a session with a different use of extended_master_secret"
        }
        E::ResumptionOfferedWithVariedCipherSuite
        | E::ResumptionOfferedWithIncompatibleCipherSuite => {
            "it resumes a session with an incompatible cipher suite"
        }
        E::SelectedDifferentCipherSuiteAfterRetry => {
            "it chose a different cipher suite after HelloRetryRequest"
        }
        E::SelectedInvalidPsk => "it chose a session that cannot be used",
        E::SelectedTls12UsingTls13VersionExtension => {
            "it chose TLS 1.2 in supported_versions, which is for TLS 1.3"
        }
        E::SelectedUnofferedApplicationProtocol => {
            "it chose an application protocol that was not offered"
        }
        E::SelectedUnofferedCertCompression => {
            "it chose a certificate compression algorithm that was not offered"
        }
        E::SelectedUnofferedCipherSuite => "it chose a cipher suite that was not offered",
        E::SelectedUnofferedCompression => "it chose a compression method that was not offered",
        E::SelectedUnofferedKxGroup | E::WrongGroupForKeyShare => {
            "it chose a group that was not offered"
        }
        E::SelectedUnofferedPsk => "it chose a session that was not offered",
        E::SelectedUnusableCipherSuiteForVersion => {
            "it chose a cipher suite of another TLS version"
        }
        E::ServerEchoedCompatibilitySessionId => {
            "it resumed a session ID sent only for compatibility"
        }
        E::ServerHelloMustOfferUncompressedEcPoints => "it does not support uncompressed points",
        E::ServerNameDifferedOnRetry => "it changed its server_name after HelloRetryRequest",
        E::ServerNameMustContainOneHostName => "server_name must contain one host name",
        E::SignedKxWithWrongAlgorithm => {
            "it signed its key exchange with an algorithm that does not suit the cipher suite"
        }
        E::SignedHandshakeWithUnadvertisedSigScheme => {
            "it signed the handshake with an algorithm that was not offered"
        }
        E::TooManyEmptyFragments => "too many empty records",
        E::TooManyKeyUpdateRequests => "too many KeyUpdate requests",
        E::TooManyRenegotiationRequests => "too many renegotiation requests",
        E::TooManyWarningAlertsReceived => "too many warning alerts",
        E::TooMuchEarlyDataReceived => "more early data than allowed",
        E::UnexpectedCleartextExtension => "ServerHello has a forbidden extension",
        E::UnsolicitedCertExtension
        | E::UnsolicitedEncryptedExtension
        | E::UnsolicitedSctList
        | E::UnsolicitedServerHelloExtension
        | E::UnsolicitedEchExtension => "it sent an extension that was not requested",
        _ => "it violated the protocol",
    }
}

/// What is wrong with the form of a message.
pub(crate) fn invalid(why: &InvalidMessage) -> &'static str {
    use InvalidMessage as E;
    match why {
        E::CertificatePayloadTooLarge => "its certificates are too large",
        E::HandshakePayloadTooLarge => "handshake message too large",
        E::InvalidCcs => "malformed ChangeCipherSpec",
        E::InvalidContentType => "unknown record type",
        E::InvalidCertificateStatusType => "unknown certificate status type",
        E::InvalidCertRequest => "malformed CertificateRequest",
        E::InvalidDhParams => "malformed Diffie-Hellman parameters",
        E::InvalidEmptyPayload => "empty record of a type that must not be empty",
        E::InvalidKeyUpdate => "malformed KeyUpdate",
        E::InvalidServerName => "invalid server name",
        E::MessageTooLarge => "record too large",
        E::MessageTooShort | E::MissingData(_) => "truncated message",
        E::MissingKeyExchange => "ServerKeyExchange is missing",
        E::NoSignatureSchemes => "empty list of signature algorithms",
        E::TrailingData(_) => "trailing data after a message",
        E::UnexpectedMessage(_) => "unexpected message",
        E::UnknownProtocolVersion => "unknown protocol version",
        E::UnsupportedCompression => "unsupported compression method",
        E::UnsupportedCurveType => "unsupported curve type",
        E::UnsupportedKeyExchangeAlgorithm(_) => "unsupported key exchange",
        E::EmptyTicketValue => "empty session ticket",
        E::IllegalEmptyList(_) | E::IllegalEmptyValue => "an empty value where none is allowed",
        E::DuplicateExtension(_) => "duplicate extension",
        E::PreSharedKeyIsNotFinalExtension => "pre_shared_key is not the last extension",
        E::UnknownHelloRetryRequestExtension => "HelloRetryRequest with an unknown extension",
        E::UnknownCertificateExtension => "unknown certificate extension",
        _ => "malformed message",
    }
}

/// A handshake message that came out of turn, by its name in IANA's registry.
pub(crate) fn out_of_turn(kind: HandshakeType) -> String {
    let number = u8::from(kind);
    let known = HANDSHAKE_TYPES.iter().find(|(known, _)| *known == number);
    known.map_or_else(
        || format!("unexpected handshake message of type {number}"),
        |(_, name)| format!("unexpected {name} message"),
    )
}
