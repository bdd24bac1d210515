//! What rustls's errors about a peer mean, in words. rustls names them by identifiers of its source.

use rustls::{HandshakeType, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// What we and the peer have not in common.
pub(crate) fn incompatible(why: &PeerIncompatible) -> &'static str {
    use PeerIncompatible as E;
    match why {
        E::EcPointsExtensionRequired => "it sent no ec_point_formats extension",
        E::ExtendedMasterSecretExtensionRequired => {
            "it does not offer extended_master_secret, which is required (RFC 7627)"
        }
        E::IncorrectCertificateTypeExtension => "it wants another type of certificate",
        E::KeyShareExtensionRequired => "it sends no key_share",
        E::NamedGroupsExtensionRequired => "it sent no supported_groups extension",
        E::NoCertificateRequestSignatureSchemesInCommon => {
            "none of the signature algorithms that it takes of clients is ours"
        }
        E::NoCipherSuitesInCommon => "no cipher suites in common",
        E::NoEcPointFormatsInCommon => "no formats of points in common",
        E::NoKxGroupsInCommon => "no key exchange groups in common",
        E::NoSignatureSchemesInCommon => "no signature algorithms in common",
        E::NullCompressionRequired => "it insists on compression",
        E::ServerDoesNotSupportTls12Or13 => "it has neither TLS 1.2 nor TLS 1.3",
        E::ServerSentHelloRetryRequestWithUnknownExtension => {
            "its HelloRetryRequest has an extension that is not known"
        }
        E::ServerTlsVersionIsDisabledByOurConfig => {
            "it has chosen a version of TLS that is not allowed here"
        }
        E::SignatureAlgorithmsExtensionRequired => "it sent no signature_algorithms extension",
        E::SupportedVersionsExtensionRequired => {
            "it offers no TLS 1.3 (supported_versions), and nothing else is allowed here"
        }
        E::Tls12NotOffered => "it does not offer TLS 1.2, and TLS 1.3 was not agreed on",
        E::Tls12NotOfferedOrEnabled => "no version of TLS in common",
        E::Tls13RequiredForQuic => "QUIC needs TLS 1.3",
        E::UncompressedEcPointsRequired => "it does not take uncompressed points",
        E::UnsolicitedCertificateTypeExtension => {
            "it has chosen a type of certificate without being asked"
        }
        E::ServerRejectedEncryptedClientHello(_) => "it has rejected the encrypted ClientHello",
        _ => "it has nothing in common with this side",
    }
}

/// What the peer must not have done.
pub(crate) fn misbehaved(why: &PeerMisbehaved) -> &'static str {
    use PeerMisbehaved as E;
    match why {
        E::AttemptedDowngradeToTls12WhenTls13IsSupported => {
            "it takes TLS 1.2 and says that it has TLS 1.3: somebody between has changed the \
             handshake (RFC 8446 section 4.1.3)"
        }
        E::BadCertChainExtensions => {
            "its certificates come with extensions that were not asked for"
        }
        E::CipherSuiteDifferedOnRetry => "it changed its cipher suites after HelloRetryRequest",
        E::DisallowedEncryptedExtension => {
            "EncryptedExtensions has an extension that does not belong there"
        }
        E::DuplicateClientHelloExtensions
        | E::DuplicateEncryptedExtensions
        | E::DuplicateHelloRetryRequestExtensions
        | E::DuplicateNewSessionTicketExtensions
        | E::DuplicateServerHelloExtensions => "duplicate extension",
        E::DuplicateServerNameTypes => "server_name has two names of one type",
        E::EarlyDataAttemptedInSecondClientHello => {
            "it offers early data in its second ClientHello"
        }
        E::EarlyDataExtensionWithoutResumption => "it offers early data without a session",
        E::EarlyDataOfferedWithVariedCipherSuite => {
            "it accepts early data with another cipher suite than the session's"
        }
        E::EchAcceptanceVariedAfterRetry => {
            "it accepted the encrypted ClientHello once, and not again"
        }
        E::HandshakeHashVariedAfterRetry => "it changed its hash function after HelloRetryRequest",
        E::IllegalHelloRetryRequestWithEmptyCookie => "its HelloRetryRequest has an empty cookie",
        E::IllegalHelloRetryRequestWithNoChanges => "its HelloRetryRequest asks for no change",
        E::IllegalHelloRetryRequestWithOfferedGroup => {
            "its HelloRetryRequest asks for a group whose share it has"
        }
        E::IllegalHelloRetryRequestWithUnofferedCipherSuite => {
            "its HelloRetryRequest has a cipher suite that was not offered"
        }
        E::IllegalHelloRetryRequestWithUnofferedNamedGroup => {
            "its HelloRetryRequest asks for a group that was not offered"
        }
        E::IllegalHelloRetryRequestWithUnsupportedVersion => {
            "its HelloRetryRequest has another version"
        }
        E::IllegalHelloRetryRequestWithWrongSessionId => {
            "its HelloRetryRequest has another session ID"
        }
        E::IllegalHelloRetryRequestWithInvalidEch => {
            "its HelloRetryRequest has a wrong answer to the encrypted ClientHello"
        }
        E::IllegalMiddleboxChangeCipherSpec => "a ChangeCipherSpec where none may be",
        E::IllegalTlsInnerPlaintext => "record contains only padding",
        E::IncorrectBinder => "it offers a session whose secret it does not have (a wrong binder)",
        E::InvalidCertCompression => "its compressed certificates cannot be expanded",
        E::InvalidMaxEarlyDataSize => "a wrong limit of early data",
        E::InvalidKeyShare => "invalid key share",
        E::KeyEpochWithPendingFragment => "a message goes on where its keys have changed",
        E::KeyUpdateReceivedInQuicConnection => "a KeyUpdate over QUIC",
        E::MessageInterleavedWithHandshakeMessage => {
            "a record of another type within a handshake message"
        }
        E::MissingBinderInPskExtension => "it offers sessions without binders",
        E::MissingKeyShare => "it sends no key share",
        E::MissingPskExtensionInSecondClientHello => {
            "its second ClientHello does not offer the session any more"
        }
        E::MissingPskModesExtension => "it offers sessions without psk_key_exchange_modes",
        E::MissingQuicTransportParameters => "it sends no parameters of QUIC",
        E::OfferedDuplicateCertificateCompressions => {
            "it offers one compression of certificates twice"
        }
        E::OfferedDuplicateKeyShares => "it sends two key shares of one group",
        E::OfferedEarlyDataWithOldProtocolVersion => {
            "it goes on in TLS 1.2 with a session of TLS 1.3"
        }
        E::OfferedEmptyApplicationProtocol => "it offers an application protocol without a name",
        E::OfferedIncorrectCompressions => "it offers compression, which TLS 1.3 does not have",
        E::PskExtensionMustBeLast => "pre_shared_key is not the last of its extensions",
        E::PskExtensionWithMismatchedIdsAndBinders => {
            "it offers sessions and binders of different numbers"
        }
        E::RefusedToFollowHelloRetryRequest => "it does not do what HelloRetryRequest asked for",
        E::RejectedEarlyDataInterleavedWithHandshakeMessage => {
            "early data within a handshake message"
        }
        E::ResumptionAttemptedWithVariedEms | E::ResumptionOfferedWithVariedEms => {
            "it resumes a session with another rule for its secret (extended_master_secret)"
        }
        E::ResumptionOfferedWithVariedCipherSuite
        | E::ResumptionOfferedWithIncompatibleCipherSuite => {
            "it resumes a session with a cipher suite that does not fit it"
        }
        E::SelectedDifferentCipherSuiteAfterRetry => {
            "it chose another cipher suite after HelloRetryRequest"
        }
        E::SelectedInvalidPsk => "it chose a session that cannot be used",
        E::SelectedTls12UsingTls13VersionExtension => "it chose TLS 1.2 as only TLS 1.3 is chosen",
        E::SelectedUnofferedApplicationProtocol => {
            "it chose an application protocol that was not offered"
        }
        E::SelectedUnofferedCertCompression => {
            "it chose a compression of certificates that was not offered"
        }
        E::SelectedUnofferedCipherSuite => "it chose a cipher suite that was not offered",
        E::SelectedUnofferedCompression => "it chose a compression that was not offered",
        E::SelectedUnofferedKxGroup | E::WrongGroupForKeyShare => {
            "it chose a group that was not offered"
        }
        E::SelectedUnofferedPsk => "it chose a session that was not offered",
        E::SelectedUnusableCipherSuiteForVersion => {
            "it chose a cipher suite of another version of TLS"
        }
        E::ServerEchoedCompatibilitySessionId => "it took a session ID that names no session",
        E::ServerHelloMustOfferUncompressedEcPoints => "it does not take uncompressed points",
        E::ServerNameDifferedOnRetry => "it changed its server_name after HelloRetryRequest",
        E::ServerNameMustContainOneHostName => "server_name has not one host name",
        E::SignedKxWithWrongAlgorithm => {
            "it signed its key exchange with an algorithm that does not fit the cipher suite"
        }
        E::SignedHandshakeWithUnadvertisedSigScheme => {
            "it signed the handshake with an algorithm that was not offered"
        }
        E::TooManyEmptyFragments => "too many empty records",
        E::TooManyKeyUpdateRequests => "too many requests for new keys",
        E::TooManyRenegotiationRequests => "too many requests to renegotiate",
        E::TooManyWarningAlertsReceived => "too many warnings",
        E::TooMuchEarlyDataReceived => "more early data than allowed",
        E::UnexpectedCleartextExtension => {
            "ServerHello has an extension that does not belong there"
        }
        E::UnsolicitedCertExtension
        | E::UnsolicitedEncryptedExtension
        | E::UnsolicitedSctList
        | E::UnsolicitedServerHelloExtension
        | E::UnsolicitedEchExtension => "it answers an extension that was not sent",
        _ => "it did what the protocol forbids",
    }
}

/// What is wrong with the form of a message.
pub(crate) fn invalid(why: &InvalidMessage) -> &'static str {
    use InvalidMessage as E;
    match why {
        E::CertificatePayloadTooLarge => "its certificates are too large",
        E::HandshakePayloadTooLarge => "a handshake message is too large",
        E::InvalidCcs => "a ChangeCipherSpec that is none",
        E::InvalidContentType => "unknown record type",
        E::InvalidCertificateStatusType => "a status of certificates of a type that there is not",
        E::InvalidCertRequest => "a malformed request for certificates",
        E::InvalidDhParams => "malformed parameters of Diffie-Hellman",
        E::InvalidEmptyPayload => "an empty record of a type that must not be empty",
        E::InvalidKeyUpdate => "a malformed KeyUpdate",
        E::InvalidServerName => "a server name that is no host name",
        E::MessageTooLarge => "a record that is too large",
        E::MessageTooShort | E::MissingData(_) => "a message that is cut short",
        E::MissingKeyExchange => "a ServerKeyExchange is missing",
        E::NoSignatureSchemes => "an empty list of signature algorithms",
        E::TrailingData(_) => "a message with more behind it",
        E::UnexpectedMessage(_) => "a message that is never sent as such",
        E::UnknownProtocolVersion => "a version that there is not",
        E::UnsupportedCompression => "a compression that is not supported",
        E::UnsupportedCurveType => "a curve that is not given by its name",
        E::UnsupportedKeyExchangeAlgorithm(_) => "a key exchange that is not supported",
        E::EmptyTicketValue => "an empty session ticket",
        E::IllegalEmptyList(_) | E::IllegalEmptyValue => "something empty that must not be",
        E::DuplicateExtension(_) => "duplicate extension",
        E::PreSharedKeyIsNotFinalExtension => "pre_shared_key is not the last extension",
        E::UnknownHelloRetryRequestExtension => {
            "a HelloRetryRequest with an extension that is not known"
        }
        E::UnknownCertificateExtension => "a certificate with an extension that is not known",
        _ => "a malformed message",
    }
}

/// A handshake message that came out of turn, by its name in RFC 8446 section 4.
pub(crate) fn out_of_turn(kind: HandshakeType) -> String {
    let number = u8::from(kind);
    let known = HANDSHAKE_TYPES.iter().find(|(known, _)| *known == number);
    known.map_or_else(
        || format!("a handshake message of type {number}, which is not known, or not here"),
        |(_, name)| format!("a {name} message out of turn"),
    )
}

const HANDSHAKE_TYPES: [(u8, &str); 15] = [
    (0, "hello_request"),
    (1, "client_hello"),
    (2, "server_hello"),
    (4, "new_session_ticket"),
    (5, "end_of_early_data"),
    (8, "encrypted_extensions"),
    (11, "certificate"),
    (12, "server_key_exchange"),
    (13, "certificate_request"),
    (14, "server_hello_done"),
    (15, "certificate_verify"),
    (16, "client_key_exchange"),
    (20, "finished"),
    (22, "certificate_status"),
    (24, "key_update"),
];
