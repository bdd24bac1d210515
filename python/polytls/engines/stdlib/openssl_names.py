"""OpenSSL's names and numbers for what IANA, the RFCs and polytls call otherwise.

Suites are read from the running library, never from a table: which there are depends on its
version and on how it was built.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...constants import AlertDescription, NamedGroup
from ...errors import VerificationFailure

__all__ = ["ALERTS", "GROUPS", "INCOMPATIBLE", "OURS", "REASONS", "Suite", "suites"]


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite of the running library."""

    #: Its IANA number.
    number: int
    #: OpenSSL's name for it.
    name: str
    #: Whether it is one of TLS 1.3.
    is_tls13: bool
    #: Whether a server can agree on it: finite-field Diffie-Hellman wants parameters, and `ssl`
    #: takes them from files alone (SSLContext.load_dh_params).
    can_be_served: bool


#: What can be asked for by number: all that authenticates the server by a certificate and
#: encrypts. Anonymous and NULL suites would undo verification; PSK and SRP need what `ssl` lacks.
_ALL: Final = "ALL:COMPLEMENTOFALL:!aNULL:!eNULL:!PSK:!SRP"

#: Bits that a suite must have at OpenSSL's security levels (SSL_CTX_set_security_level(3)).
_LEVELS: Final = (0, 80, 112, 128, 192, 256)


def suites(context: ssl.SSLContext | None = None) -> tuple[Suite, ...]:
    """Return the suites that `context` has enabled, the preferred first.

    None: those that can be enabled for TLS 1.2, and those of TLS 1.3 that are enabled. Suites that
    no connection of ours can agree on are left out: OpenSSL's own list, which Debian's Python takes
    as it is, has those with pre-shared keys too.
    """
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers(_ALL)
    bits = _LEVELS[min(context.security_level, len(_LEVELS) - 1)]
    return tuple(
        # The low half of OpenSSL's id is the number on the wire (SSL_CIPHER_get_id(3)).
        Suite(
            suite["id"] & 0xFFFF,
            suite["name"],
            suite["protocol"] == "TLSv1.3",
            suite.get("kea") != "kx-dhe",
        )
        for suite in context.get_ciphers()
        if suite["strength_bits"] >= bits and _has_certificate(suite)
    )


def _has_certificate(suite: Mapping[str, Any]) -> bool:
    """Whether a server proves itself by a certificate, as in all that `_ALL` takes."""
    return not (
        suite["auth"] in ("auth-null", "auth-psk", "auth-srp")
        or suite["kea"] == "kx-srp"
        or suite["kea"].endswith("-psk")
    )


#: Names of groups as every version of OpenSSL knows them, in the order of its own preference
#: (SSL_CTX_set1_groups(3)).
GROUPS: Final = {
    NamedGroup.X25519MLKEM768: "X25519MLKEM768",
    NamedGroup.x25519: "X25519",
    NamedGroup.secp256r1: "prime256v1",
    NamedGroup.x448: "X448",
    NamedGroup.secp384r1: "secp384r1",
    NamedGroup.secp521r1: "secp521r1",
    NamedGroup.SecP256r1MLKEM768: "SecP256r1MLKEM768",
    NamedGroup.SecP384r1MLKEM1024: "SecP384r1MLKEM1024",
    NamedGroup.MLKEM512: "MLKEM512",
    NamedGroup.MLKEM768: "MLKEM768",
    NamedGroup.MLKEM1024: "MLKEM1024",
}

#: Reasons that stand for a fatal alert of the peer (openssl/sslerr.h: 1000 and the alert's number).
ALERTS: Final = {
    "SSLV3_ALERT_UNEXPECTED_MESSAGE": AlertDescription.unexpected_message,
    "SSLV3_ALERT_BAD_RECORD_MAC": AlertDescription.bad_record_mac,
    "TLSV1_ALERT_DECRYPTION_FAILED": AlertDescription.decryption_failed,
    "TLSV1_ALERT_RECORD_OVERFLOW": AlertDescription.record_overflow,
    "SSLV3_ALERT_DECOMPRESSION_FAILURE": AlertDescription.decompression_failure,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": AlertDescription.handshake_failure,
    "SSLV3_ALERT_NO_CERTIFICATE": AlertDescription.no_certificate,
    "SSLV3_ALERT_BAD_CERTIFICATE": AlertDescription.bad_certificate,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": AlertDescription.unsupported_certificate,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": AlertDescription.certificate_revoked,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": AlertDescription.certificate_expired,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": AlertDescription.certificate_unknown,
    "SSLV3_ALERT_ILLEGAL_PARAMETER": AlertDescription.illegal_parameter,
    "TLSV1_ALERT_UNKNOWN_CA": AlertDescription.unknown_ca,
    "TLSV1_ALERT_ACCESS_DENIED": AlertDescription.access_denied,
    "TLSV1_ALERT_DECODE_ERROR": AlertDescription.decode_error,
    "TLSV1_ALERT_DECRYPT_ERROR": AlertDescription.decrypt_error,
    "TLSV1_ALERT_EXPORT_RESTRICTION": AlertDescription.export_restriction,
    "TLSV1_ALERT_PROTOCOL_VERSION": AlertDescription.protocol_version,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": AlertDescription.insufficient_security,
    "TLSV1_ALERT_INTERNAL_ERROR": AlertDescription.internal_error,
    "TLSV1_ALERT_INAPPROPRIATE_FALLBACK": AlertDescription.inappropriate_fallback,
    "TLSV1_ALERT_USER_CANCELLED": AlertDescription.user_canceled,
    "TLSV1_ALERT_NO_RENEGOTIATION": AlertDescription.no_renegotiation,
    "TLSV13_ALERT_MISSING_EXTENSION": AlertDescription.missing_extension,
    "TLSV1_UNSUPPORTED_EXTENSION": AlertDescription.unsupported_extension,
    "TLSV1_CERTIFICATE_UNOBTAINABLE": AlertDescription.certificate_unobtainable,
    "TLSV1_UNRECOGNIZED_NAME": AlertDescription.unrecognized_name,
    "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE": AlertDescription.bad_certificate_status_response,
    "TLSV1_BAD_CERTIFICATE_HASH_VALUE": AlertDescription.bad_certificate_hash_value,
    "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY": AlertDescription.unknown_psk_identity,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": AlertDescription.certificate_required,
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": AlertDescription.no_application_protocol,
}

#: Reasons that stand for nothing in common with the peer.
INCOMPATIBLE: Final = frozenset(
    {
        "DH_KEY_TOO_SMALL",
        "INAPPROPRIATE_FALLBACK",
        "MISSING_SIGALGS_EXTENSION",
        "NO_APPLICATION_PROTOCOL",
        "NO_CIPHERS_AVAILABLE",
        "NO_CIPHER_MATCH",
        "NO_SHARED_CIPHER",
        "NO_SHARED_GROUPS",
        "NO_SHARED_SIGNATURE_ALGORITHMS",
        "NO_SUITABLE_DIGEST_ALGORITHM",
        "NO_SUITABLE_GROUPS",
        "NO_SUITABLE_KEY_SHARE",
        "NO_SUITABLE_SIGNATURE_ALGORITHM",
        "UNKNOWN_PROTOCOL",
        "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
        "UNSUPPORTED_ELLIPTIC_CURVE",
        "UNSUPPORTED_PROTOCOL",
        "UNSUPPORTED_SSL_VERSION",
        "VERSION_TOO_HIGH",
        "VERSION_TOO_LOW",
        "WRONG_SSL_VERSION",
    }
)

#: Reasons that are the fault of this side alone.
OURS: Final = frozenset({"INTERNAL_ERROR", "MALLOC_FAILURE", "LIBRARY_BUG"})

_F = VerificationFailure

#: X509_V_ERR_* (openssl/x509_vfy.h) by their numbers, which are stable across versions.
REASONS: Final = {
    2: _F.UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT
    3: _F.REVOCATION_UNKNOWN,  # UNABLE_TO_GET_CRL
    4: _F.BAD_SIGNATURE,  # UNABLE_TO_DECRYPT_CERT_SIGNATURE
    5: _F.REVOCATION_UNKNOWN,  # UNABLE_TO_DECRYPT_CRL_SIGNATURE
    6: _F.BAD_ENCODING,  # UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY
    7: _F.BAD_SIGNATURE,  # CERT_SIGNATURE_FAILURE
    8: _F.REVOCATION_UNKNOWN,  # CRL_SIGNATURE_FAILURE
    9: _F.NOT_YET_VALID,  # CERT_NOT_YET_VALID
    10: _F.EXPIRED,  # CERT_HAS_EXPIRED
    11: _F.REVOCATION_UNKNOWN,  # CRL_NOT_YET_VALID
    12: _F.REVOCATION_UNKNOWN,  # CRL_HAS_EXPIRED
    13: _F.BAD_ENCODING,  # ERROR_IN_CERT_NOT_BEFORE_FIELD
    14: _F.BAD_ENCODING,  # ERROR_IN_CERT_NOT_AFTER_FIELD
    15: _F.REVOCATION_UNKNOWN,  # ERROR_IN_CRL_LAST_UPDATE_FIELD
    16: _F.REVOCATION_UNKNOWN,  # ERROR_IN_CRL_NEXT_UPDATE_FIELD
    18: _F.UNKNOWN_ISSUER,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: _F.UNKNOWN_ISSUER,  # SELF_SIGNED_CERT_IN_CHAIN
    20: _F.UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: _F.UNKNOWN_ISSUER,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    22: _F.PATH_TOO_LONG,  # CERT_CHAIN_TOO_LONG
    23: _F.REVOKED,  # CERT_REVOKED
    24: _F.INVALID_PURPOSE,  # INVALID_CA before OpenSSL 3
    25: _F.PATH_TOO_LONG,  # PATH_LENGTH_EXCEEDED
    26: _F.INVALID_PURPOSE,  # INVALID_PURPOSE
    27: _F.UNKNOWN_ISSUER,  # CERT_UNTRUSTED
    28: _F.INVALID_PURPOSE,  # CERT_REJECTED
    29: _F.UNKNOWN_ISSUER,  # SUBJECT_ISSUER_MISMATCH
    30: _F.UNKNOWN_ISSUER,  # AKID_SKID_MISMATCH
    31: _F.UNKNOWN_ISSUER,  # AKID_ISSUER_SERIAL_MISMATCH
    32: _F.INVALID_PURPOSE,  # KEYUSAGE_NO_CERTSIGN
    33: _F.REVOCATION_UNKNOWN,  # UNABLE_TO_GET_CRL_ISSUER
    34: _F.UNHANDLED_CRITICAL_EXTENSION,  # UNHANDLED_CRITICAL_EXTENSION
    35: _F.REVOCATION_UNKNOWN,  # KEYUSAGE_NO_CRL_SIGN
    36: _F.REVOCATION_UNKNOWN,  # UNHANDLED_CRITICAL_CRL_EXTENSION
    37: _F.INVALID_PURPOSE,  # INVALID_NON_CA
    39: _F.INVALID_PURPOSE,  # KEYUSAGE_NO_DIGITAL_SIGNATURE
    41: _F.BAD_ENCODING,  # INVALID_EXTENSION
    44: _F.REVOCATION_UNKNOWN,  # DIFFERENT_CRL_SCOPE
    47: _F.NAME_CONSTRAINT_VIOLATION,  # PERMITTED_VIOLATION
    48: _F.NAME_CONSTRAINT_VIOLATION,  # EXCLUDED_VIOLATION
    49: _F.NAME_CONSTRAINT_VIOLATION,  # SUBTREE_MINMAX
    51: _F.NAME_CONSTRAINT_VIOLATION,  # UNSUPPORTED_CONSTRAINT_TYPE
    52: _F.NAME_CONSTRAINT_VIOLATION,  # UNSUPPORTED_CONSTRAINT_SYNTAX
    53: _F.NAME_CONSTRAINT_VIOLATION,  # UNSUPPORTED_NAME_SYNTAX
    54: _F.REVOCATION_UNKNOWN,  # CRL_PATH_VALIDATION_ERROR
    55: _F.UNKNOWN_ISSUER,  # PATH_LOOP
    62: _F.HOSTNAME_MISMATCH,  # HOSTNAME_MISMATCH
    64: _F.HOSTNAME_MISMATCH,  # IP_ADDRESS_MISMATCH
    66: _F.WEAK_KEY,  # EE_KEY_TOO_SMALL
    67: _F.WEAK_KEY,  # CA_KEY_TOO_SMALL
    68: _F.UNSUPPORTED_SIGNATURE_ALGORITHM,  # CA_MD_TOO_WEAK
    76: _F.UNSUPPORTED_SIGNATURE_ALGORITHM,  # UNSUPPORTED_SIGNATURE_ALGORITHM
    77: _F.BAD_SIGNATURE,  # SIGNATURE_ALGORITHM_MISMATCH
    78: _F.BAD_SIGNATURE,  # SIGNATURE_ALGORITHM_INCONSISTENCY
    79: _F.INVALID_PURPOSE,  # INVALID_CA
    80: _F.INVALID_PURPOSE,  # PATHLEN_INVALID_FOR_NON_CA
    82: _F.INVALID_PURPOSE,  # KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA
    94: _F.UNSUPPORTED_SIGNATURE_ALGORITHM,  # EC_KEY_EXPLICIT_PARAMS
}
