"""What `_ssl` knows of ASN.1 objects: the purposes of certificates (openssl/obj_mac.h)."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["nid2obj", "txt2obj"]


class _Object(NamedTuple):
    nid: int
    shortname: str
    longname: str
    oid: str


_PURPOSES: Final = (
    _Object(126, "extendedKeyUsage", "X509v3 Extended Key Usage", "2.5.29.37"),
    _Object(129, "serverAuth", "TLS Web Server Authentication", "1.3.6.1.5.5.7.3.1"),
    _Object(130, "clientAuth", "TLS Web Client Authentication", "1.3.6.1.5.5.7.3.2"),
    _Object(131, "codeSigning", "Code Signing", "1.3.6.1.5.5.7.3.3"),
    _Object(132, "emailProtection", "E-mail Protection", "1.3.6.1.5.5.7.3.4"),
    _Object(133, "timeStamping", "Time Stamping", "1.3.6.1.5.5.7.3.8"),
    _Object(180, "OCSPSigning", "OCSP Signing", "1.3.6.1.5.5.7.3.9"),
    _Object(910, "anyExtendedKeyUsage", "Any Extended Key Usage", "2.5.29.37.0"),
)


def txt2obj(txt: str, name: bool = False) -> _Object:
    """Look an object up by its OID, or with `name` by its names as well.

    Raises ValueError for anything but a purpose of certificates.
    """
    if not isinstance(txt, str):
        raise TypeError(f"txt2obj() argument 'txt' must be str, not {type(txt).__name__}")
    for known in _PURPOSES:
        if txt == known.oid or (name and txt in (known.shortname, known.longname)):
            return known
    raise ValueError(f"unknown object '{txt:.100}'")


def nid2obj(nid: int, /) -> _Object:
    """Look an object up by OpenSSL's number.

    Raises ValueError for anything but a purpose of certificates.
    """
    if nid < 0:
        raise ValueError("NID must be positive.")
    for known in _PURPOSES:
        if nid == known.nid:
            return known
    raise ValueError(f"unknown NID {nid}")
