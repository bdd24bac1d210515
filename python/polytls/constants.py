"""The numbers and names of TLS in configurations and connections.

`CipherSuite`, `NextProtocol` and `TLSVersion` are exactly PEP 748's. Wherever a cipher suite, a
group or an alert is expected or returned, a plain integer can represent one without a name here.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final, TypeVar

__all__ = [
    "DEFAULT_CIPHER_LIST",
    "AlertDescription",
    "CertificateCompressionAlgorithm",
    "CipherSuite",
    "ClientAuthentication",
    "ECHStatus",
    "HandshakeType",
    "NamedGroup",
    "NextProtocol",
    "SignatureScheme",
    "TLSVersion",
    "known",
]

_Number = TypeVar("_Number", bound=IntEnum)


class CipherSuite(IntEnum):
    """Known cipher suites, by their IANA names and numbers (PEP 748, "Cipher Suites").

    See <https://www.iana.org/assignments/tls-parameters/tls-parameters.xhtml>.
    """

    TLS_AES_128_GCM_SHA256 = 0x1301
    TLS_AES_256_GCM_SHA384 = 0x1302
    TLS_CHACHA20_POLY1305_SHA256 = 0x1303
    TLS_AES_128_CCM_SHA256 = 0x1304
    TLS_AES_128_CCM_8_SHA256 = 0x1305
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 = 0xC02B
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 = 0xC02C
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 = 0xC02F
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 = 0xC030
    TLS_ECDHE_ECDSA_WITH_AES_128_CCM = 0xC0AC
    TLS_ECDHE_ECDSA_WITH_AES_256_CCM = 0xC0AD
    TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 = 0xC0AE
    TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8 = 0xC0AF
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 = 0xCCA8
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 = 0xCCA9


#: A list for programs that choose cipher suites: the five of TLS 1.3, then those of TLS 1.2 with
#: AES-GCM or ChaCha20-Poly1305 (PEP 748, "Proposed Interface"). It is not the meaning of
#: `ciphers=None`, which leaves the choice to the library.
DEFAULT_CIPHER_LIST: Final[tuple[CipherSuite, ...]] = (
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
    CipherSuite.TLS_AES_128_CCM_SHA256,
    CipherSuite.TLS_AES_128_CCM_8_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
)


class NextProtocol(Enum):
    """Well-known protocols for ALPN (RFC 7301; PEP 748, "Protocol Negotiation").

    Any other protocol is given and returned as bytes.
    """

    H2 = b"h2"
    H2C = b"h2c"
    HTTP1 = b"http/1.1"
    WEBRTC = b"webrtc"
    C_WEBRTC = b"c-webrtc"
    FTP = b"ftp"
    STUN = b"stun.nat-discovery"
    TURN = b"stun.turn"


class TLSVersion(Enum):
    """TLS versions (PEP 748, "TLS Versions").

    `MINIMUM_SUPPORTED` and `MAXIMUM_SUPPORTED` are the lowest and the highest version that the
    implementation supports. The lowest is never below TLS 1.2.
    """

    MINIMUM_SUPPORTED = "MINIMUM_SUPPORTED"
    TLSv1_2 = "TLSv1.2"
    TLSv1_3 = "TLSv1.3"
    MAXIMUM_SUPPORTED = "MAXIMUM_SUPPORTED"


class ClientAuthentication(Enum):
    """Whether a server asks its clients for a certificate (RFC 8446 4.3.2)."""

    #: Clients are not asked.
    NONE = "none"
    #: Clients are asked, but can decline. A certificate that is presented is verified.
    OPTIONAL = "optional"
    #: Clients are asked. The handshake fails without a valid certificate.
    REQUIRED = "required"


class NamedGroup(IntEnum):
    """Key exchange groups, by their IANA names and numbers (RFC 8446 4.2.7).

    The ML-KEM groups and their hybrids are those of the IANA registry "TLS Supported Groups".
    """

    secp256r1 = 0x0017
    secp384r1 = 0x0018
    secp521r1 = 0x0019
    x25519 = 0x001D
    x448 = 0x001E
    MLKEM512 = 0x0200
    MLKEM768 = 0x0201
    MLKEM1024 = 0x0202
    SecP256r1MLKEM768 = 0x11EB
    X25519MLKEM768 = 0x11EC
    SecP384r1MLKEM1024 = 0x11ED


class SignatureScheme(IntEnum):
    """Signature algorithms, by their names and numbers in RFC 8446 4.2.3 and draft-ietf-tls-mldsa.

    The algorithms include hashing. ECDSA signatures are in DER (Ecdsa-Sig-Value).
    """

    rsa_pkcs1_sha256 = 0x0401
    ecdsa_secp256r1_sha256 = 0x0403
    rsa_pkcs1_sha384 = 0x0501
    ecdsa_secp384r1_sha384 = 0x0503
    rsa_pkcs1_sha512 = 0x0601
    ecdsa_secp521r1_sha512 = 0x0603
    rsa_pss_rsae_sha256 = 0x0804
    rsa_pss_rsae_sha384 = 0x0805
    rsa_pss_rsae_sha512 = 0x0806
    ed25519 = 0x0807
    ed448 = 0x0808
    rsa_pss_pss_sha256 = 0x0809
    rsa_pss_pss_sha384 = 0x080A
    rsa_pss_pss_sha512 = 0x080B
    mldsa44 = 0x0904
    mldsa65 = 0x0905
    mldsa87 = 0x0906


class CertificateCompressionAlgorithm(IntEnum):
    """What certificates are compressed with (RFC 8879 7.3)."""

    zlib = 1
    brotli = 2
    zstd = 3


class HandshakeType(IntEnum):
    """Handshake messages (RFC 8446 4, RFC 5246 7.4, RFC 6066 8, RFC 8879 4)."""

    hello_request = 0
    client_hello = 1
    #: A HelloRetryRequest has this number, too.
    server_hello = 2
    new_session_ticket = 4
    end_of_early_data = 5
    encrypted_extensions = 8
    certificate = 11
    server_key_exchange = 12
    certificate_request = 13
    server_hello_done = 14
    certificate_verify = 15
    client_key_exchange = 16
    finished = 20
    certificate_status = 22
    key_update = 24
    compressed_certificate = 25


class AlertDescription(IntEnum):
    """Alerts (RFC 8446 6), and those that only TLS 1.2 and older send (RFC 5246 7.2, RFC 6066 9).

    The names are the RFCs', without the suffix `_RESERVED` of historical alerts.
    """

    close_notify = 0
    unexpected_message = 10
    bad_record_mac = 20
    decryption_failed = 21
    record_overflow = 22
    decompression_failure = 30
    handshake_failure = 40
    no_certificate = 41
    bad_certificate = 42
    unsupported_certificate = 43
    certificate_revoked = 44
    certificate_expired = 45
    certificate_unknown = 46
    illegal_parameter = 47
    unknown_ca = 48
    access_denied = 49
    decode_error = 50
    decrypt_error = 51
    export_restriction = 60
    protocol_version = 70
    insufficient_security = 71
    internal_error = 80
    inappropriate_fallback = 86
    user_canceled = 90
    no_renegotiation = 100
    missing_extension = 109
    unsupported_extension = 110
    certificate_unobtainable = 111
    unrecognized_name = 112
    bad_certificate_status_response = 113
    bad_certificate_hash_value = 114
    unknown_psk_identity = 115
    certificate_required = 116
    no_application_protocol = 120
    ech_required = 121

    @property
    def meaning(self) -> str:
        """What the alert means, in one sentence."""
        return _MEANINGS[self.name]


class ECHStatus(Enum):
    """What became of Encrypted ClientHello on a connection (RFC 9849)."""

    #: The server decrypted the ClientHello; on a server, this side did.
    ACCEPTED = "accepted"
    #: The server did not decrypt it, and the handshake failed with ECHRejected.
    REJECTED = "rejected"
    #: Only a random extension was sent (RFC 9849 6.2).
    GREASE = "grease"


#: Summaries of RFC 8446 6.1 and 6.2, RFC 5246 7.2, RFC 6066 9, RFC 7301 3.2 and RFC 7507 3.
_MEANINGS: Final = {
    "close_notify": "the peer will send nothing more on this connection",
    "unexpected_message": "a message was received out of order",
    "bad_record_mac": "a record could not be decrypted: it was corrupted, or the keys differ",
    "decryption_failed": "a record could not be decrypted (no longer sent)",
    "record_overflow": "a record was too long",
    "decompression_failure": "compressed data could not be decompressed",
    "handshake_failure": "no cipher suite, group, signature algorithm or key in common, or, in "
    "TLS 1.2, a client certificate is missing",
    "no_certificate": "no certificate was sent when requested (no longer sent)",
    "bad_certificate": "the certificate is corrupt, or a signature in its chain is invalid",
    "unsupported_certificate": "the type or use of the certificate is not supported",
    "certificate_revoked": "the certificate was revoked by its issuer",
    "certificate_expired": "the certificate has expired, or is not valid yet",
    "certificate_unknown": "the certificate was refused for another reason",
    "illegal_parameter": "a field in a handshake message is invalid or inconsistent with others",
    "unknown_ca": "the chain does not lead to a CA that the peer trusts",
    "access_denied": "the certificate is valid, but access was denied",
    "decode_error": "a message could not be decoded",
    "decrypt_error": "a signature, Finished message or PSK binder is invalid",
    "export_restriction": "export restrictions were violated (no longer sent)",
    "protocol_version": "none of the offered TLS versions is supported",
    "insufficient_security": "the offered parameters are weaker than the peer requires",
    "internal_error": "the peer cannot continue, for an internal reason",
    "inappropriate_fallback": "a lower version was offered than both sides support",
    "user_canceled": "the handshake was canceled by the peer's user",
    "no_renegotiation": "the peer does not support renegotiation",
    "missing_extension": "a mandatory extension is missing",
    "unsupported_extension": "an extension was sent that is not allowed there",
    "certificate_unobtainable": "no certificate could be obtained from its URL",
    "unrecognized_name": "the server does not know the requested name",
    "bad_certificate_status_response": "the stapled OCSP response is not valid",
    "bad_certificate_hash_value": "a certificate does not match its hash",
    "unknown_psk_identity": "the pre-shared key identity is unknown",
    "certificate_required": "a client certificate is required, and none was sent",
    "no_application_protocol": "no ALPN protocol in common",
    "ech_required": "Encrypted Client Hello is required",
}


def known(names: type[_Number], number: int) -> _Number | int:
    """Return `number` as a member of `names`, or as a plain `int` if it has no name there."""
    try:
        return names(number)
    except ValueError:
        return int(number)
