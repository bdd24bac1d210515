"""The numbers of `_ssl`: OpenSSL 3.0's, as the names of every minor version of Python have them."""

from __future__ import annotations

import sys
from typing import Final

from ... import _native

__all__ = ["CONSTANTS"]

#: Alerts by what `ssl` calls them (RFC 8446 6, and those of RFC 5246 and RFC 6066).
_ALERTS: Final = {
    "CLOSE_NOTIFY": 0,
    "UNEXPECTED_MESSAGE": 10,
    "BAD_RECORD_MAC": 20,
    "RECORD_OVERFLOW": 22,
    "DECOMPRESSION_FAILURE": 30,
    "HANDSHAKE_FAILURE": 40,
    "BAD_CERTIFICATE": 42,
    "UNSUPPORTED_CERTIFICATE": 43,
    "CERTIFICATE_REVOKED": 44,
    "CERTIFICATE_EXPIRED": 45,
    "CERTIFICATE_UNKNOWN": 46,
    "ILLEGAL_PARAMETER": 47,
    "UNKNOWN_CA": 48,
    "ACCESS_DENIED": 49,
    "DECODE_ERROR": 50,
    "DECRYPT_ERROR": 51,
    "PROTOCOL_VERSION": 70,
    "INSUFFICIENT_SECURITY": 71,
    "INTERNAL_ERROR": 80,
    "USER_CANCELLED": 90,
    "NO_RENEGOTIATION": 100,
    "UNSUPPORTED_EXTENSION": 110,
    "CERTIFICATE_UNOBTAINABLE": 111,
    "UNRECOGNIZED_NAME": 112,
    "BAD_CERTIFICATE_STATUS_RESPONSE": 113,
    "BAD_CERTIFICATE_HASH_VALUE": 114,
    "UNKNOWN_PSK_IDENTITY": 115,
}

#: openssl/ssl.h.
_OPTIONS: Final = {
    "ALL": 0x80000050,
    "CIPHER_SERVER_PREFERENCE": 0x00400000,
    "ENABLE_MIDDLEBOX_COMPAT": 0x00100000,
    "IGNORE_UNEXPECTED_EOF": 0x00000080,
    "NO_COMPRESSION": 0x00020000,
    "NO_RENEGOTIATION": 0x40000000,
    "NO_SSLv2": 0,
    "NO_SSLv3": 0x02000000,
    "NO_TICKET": 0x00004000,
    "NO_TLSv1": 0x04000000,
    "NO_TLSv1_1": 0x10000000,
    "NO_TLSv1_2": 0x08000000,
    "NO_TLSv1_3": 0x20000000,
    "SINGLE_DH_USE": 0,
    "SINGLE_ECDH_USE": 0,
}
if sys.version_info >= (3, 12):
    _OPTIONS.update({"ENABLE_KTLS": 0x00000008, "LEGACY_SERVER_CONNECT": 0x00000004})

#: openssl/x509_vfy.h.
_VERIFICATION: Final = {
    "DEFAULT": 0,
    "CRL_CHECK_LEAF": 0x4,
    "CRL_CHECK_CHAIN": 0xC,
    "X509_STRICT": 0x20,
    "ALLOW_PROXY_CERTS": 0x40,
    "X509_TRUSTED_FIRST": 0x8000,
    "X509_PARTIAL_CHAIN": 0x80000,
}

#: openssl/x509v3.h.
_HOST_FLAGS: Final = {
    "ALWAYS_CHECK_SUBJECT": 0x1,
    "NO_WILDCARDS": 0x2,
    "NO_PARTIAL_WILDCARDS": 0x4,
    "MULTI_LABEL_WILDCARDS": 0x8,
    "SINGLE_LABEL_SUBDOMAINS": 0x10,
    "NEVER_CHECK_SUBJECT": 0x20,
}

_ERRORS: Final = {
    "SSL": 1,
    "WANT_READ": 2,
    "WANT_WRITE": 3,
    "WANT_X509_LOOKUP": 4,
    "SYSCALL": 5,
    "ZERO_RETURN": 6,
    "WANT_CONNECT": 7,
    "EOF": 8,
    "INVALID_ERROR_CODE": 10,
}

_PROTOCOLS: Final = {
    "SSLv23": 2,
    "TLS": 2,
    "TLSv1": 3,
    "TLSv1_1": 4,
    "TLSv1_2": 5,
    "TLS_CLIENT": 16,
    "TLS_SERVER": 17,
}

_VERSIONS: Final = {
    "MINIMUM_SUPPORTED": -2,
    "MAXIMUM_SUPPORTED": -1,
    "SSLv3": 0x0300,
    "TLSv1": 0x0301,
    "TLSv1_1": 0x0302,
    "TLSv1_2": 0x0303,
    "TLSv1_3": 0x0304,
}

#: What can be spoken. What polytls refuses when it is used is not there.
_HAS: Final = {
    "ALPN": True,
    "ECDH": True,
    "NPN": False,
    "SNI": True,
    "SSLv2": False,
    "SSLv3": False,
    "TLS_UNIQUE": False,
    "TLSv1": False,
    "TLSv1_1": False,
    "TLSv1_2": True,
    "TLSv1_3": True,
}
if sys.version_info >= (3, 13):
    _HAS["PSK"] = False


def _prefixed(prefix: str, numbers: dict[str, int] | dict[str, bool]) -> dict[str, object]:
    return {prefix + name: number for name, number in numbers.items()}


#: By name. `OPENSSL_VERSION` says what it is, in the form that programs read; the numbers are those
#: of the OpenSSL whose names, values and behaviour these are, as programs compare them.
CONSTANTS: Final[dict[str, object]] = {
    **_prefixed("ALERT_DESCRIPTION_", _ALERTS),
    **_prefixed("CERT_", {"NONE": 0, "OPTIONAL": 1, "REQUIRED": 2}),
    **_prefixed("ENCODING_", {"PEM": 1, "DER": 2}),
    **_prefixed("HAS_", _HAS),
    **_prefixed("HOSTFLAG_", _HOST_FLAGS),
    **_prefixed("OP_", _OPTIONS),
    **_prefixed("PROTOCOL_", _PROTOCOLS),
    **_prefixed("PROTO_", _VERSIONS),
    **_prefixed("SSL_ERROR_", _ERRORS),
    **_prefixed("VERIFY_", _VERIFICATION),
    "OPENSSL_VERSION": f"OpenSSL 3.0.0 (compatible; polytls {_native.__version__})",
    "OPENSSL_VERSION_INFO": (3, 0, 0, 0, 0),
    "OPENSSL_VERSION_NUMBER": 0x30000000,
    "_OPENSSL_API_VERSION": (3, 0, 0, 0, 0),
    "_DEFAULT_CIPHERS": (
        "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
    ),
}
