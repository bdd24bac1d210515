"""Temporary certificates, created in memory by the Rust core (rcgen)."""

from __future__ import annotations

import base64
import secrets
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, Literal

from .. import _native
from ..identity import (
    Certificate,
    OCSPResponse,
    PrivateKey,
    RevocationList,
    SigningChain,
    TrustStore,
)

__all__ = ["CertificateAuthority", "KeyType", "pem", "self_signed"]

#: Certificates are valid from one day ago, so that clocks can differ, for this many days in total.
_LIFETIME: Final = timedelta(days=8)
_BEFORE_NOW: Final = timedelta(days=1)


class KeyType(Enum):
    """The types of keys that can be created."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    ED25519 = "ed25519"
    RSA_2048 = "rsa-2048"


#: The default key usage of CAs and leaves.
_AUTHORITY: Final = ("certificate signing", "CRL signing", "digital signature")
_LEAF: Final = ("digital signature",)


class CertificateAuthority:
    """A temporary certificate authority: a new key, and a self-signed certificate.

    `common_name`: its name; the default is unique.
    `key_type`: the type of its key.
    `not_before`, `not_after`: its validity period, aware datetimes; the default is eight days from
    yesterday.
    `path_length`: how many CAs can be below it; None: any number.
    `permitted`, `excluded`: its name constraints (RFC 5280 4.2.1.10): DNS names, networks such as
    "192.0.2.0/24", and directory names such as "CN=name".
    `key_usage`: the uses of its key (RFC 5280 4.2.1.3): "certificate signing", "CRL signing",
    "digital signature", "key agreement"; empty: no restriction.
    `server`, `client`: its extended key usage; neither: no restriction.
    `authority`: False creates one with CA:FALSE, and None one without basic constraints; both issue
    anyway.
    `names`: its own DNS names and addresses, so that it can also be a peer (`identity`).
    `version`: 3, or 1, which has no names and no restrictions.

    Raises ValueError for what rcgen does not support.
    """

    def __init__(
        self,
        common_name: str | None = None,
        *,
        key_type: KeyType = KeyType.ECDSA_P256,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        path_length: int | None = None,
        permitted: tuple[str, ...] = (),
        excluded: tuple[str, ...] = (),
        key_usage: tuple[str, ...] = _AUTHORITY,
        authority: bool | None = True,
        server: bool = False,
        client: bool = False,
        names: Sequence[str] = (),
        version: Literal[1, 3] = 3,
        _parent: CertificateAuthority | None = None,
    ) -> None:
        start, end = _validity(not_before, not_after)
        self._parent = _parent
        self._common_name = common_name or f"polytls throw-away CA {secrets.token_hex(4)}"
        self._authority: _native.CertificateAuthority = _native.CertificateAuthority(
            self._common_name,
            [*names],
            key_type.value,
            start,
            end,
            None if _parent is None else _parent._authority,
            path_length,
            list(permitted),
            list(excluded),
            list(key_usage),
            authority,
            server,
            client,
            version,
        )

    @property
    def common_name(self) -> str:
        """Its name."""
        return self._common_name

    @property
    def certificate_der(self) -> bytes:
        """Its own certificate."""
        return self._authority.certificate

    @property
    def certificate_pem(self) -> bytes:
        """Its own certificate, in PEM."""
        return pem("CERTIFICATE", self.certificate_der)

    @property
    def certificate(self) -> Certificate:
        """Its own certificate, for a chain."""
        return Certificate.from_buffer(self.certificate_der)

    @property
    def identity(self) -> SigningChain:
        """Its own certificate with its key, as a device presents it."""
        return SigningChain((self.certificate, PrivateKey.from_buffer(self._authority.key)))

    def trust_store(self, *, crls: Sequence[RevocationList] = ()) -> TrustStore:
        """Return a trust store that only contains this CA."""
        return TrustStore.from_buffer(self.certificate_pem, crls=crls)

    def intermediate(self, common_name: str | None = None, **given: Any) -> CertificateAuthority:
        """Return a CA below this one; chains that it issues include its certificate.

        It takes the arguments of the constructor.
        """
        return CertificateAuthority(common_name, _parent=self, **given)

    def cross_sign(self, other: CertificateAuthority) -> Certificate:
        """Return a certificate for the name and key of `other`, issued by this CA."""
        start, end = _validity(None, None)
        return Certificate.from_buffer(
            self._authority.cross_sign(other._authority, other._common_name, start, end)
        )

    def revocation_list(
        self,
        *revoked: SigningChain | Certificate,
        this_update: datetime | None = None,
        next_update: datetime | None = None,
    ) -> RevocationList:
        """Return a CRL, in DER, that revokes these certificates.

        `this_update`, `next_update`: when it becomes and stops being current; the default is eight
        days from yesterday.
        """
        start, end = _validity(this_update, next_update)
        certificates = [
            item.leaf[0] if isinstance(item, SigningChain) else item for item in revoked
        ]
        serials = [
            _native.read_certificate(each.buffer or b"").serial_number for each in certificates
        ]
        return RevocationList.from_buffer(
            self._authority.revocation_list(
                [number.to_bytes(number.bit_length() // 8 + 1, "big") for number in serials],
                start,
                end,
            )
        )

    def ocsp_response(
        self,
        subject: SigningChain | Certificate,
        *,
        status: Literal["good", "revoked", "unknown"] = "good",
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        open_ended: bool = False,
        sha256: bool = False,
        responder: SigningChain | None = None,
    ) -> OCSPResponse:
        """Return an OCSP response about a certificate, for its server to staple.

        `this_update`, `next_update`: when it becomes and stops being current; the default is eight
        days from yesterday. `open_ended`: it does not say when it stops.
        `sha256`: it identifies the issuer by SHA-256 hashes; otherwise by SHA-1, as is usual.
        `responder`: who signs it; None: this CA. A response contains its responder's certificate,
        which should be issued with `ocsp_signing`.
        """
        start, end = _validity(this_update, next_update)
        certificate = subject.leaf[0] if isinstance(subject, SigningChain) else subject
        signer: tuple[bytes, bytes] | None = None
        if responder is not None:
            of_responder, key = responder.leaf
            signer = (of_responder.buffer or b"", (key and key.buffer) or b"")
        return OCSPResponse.from_buffer(
            self._authority.ocsp_response(
                certificate.buffer or b"",
                status,
                start,
                None if open_ended else end,
                sha256,
                signer,
            )
        )

    def issue(
        self,
        *names: str,
        common_name: str = "polytls throw-away certificate",
        key_type: KeyType = KeyType.ECDSA_P256,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        server: bool = True,
        client: bool = True,
        key_usage: tuple[str, ...] = _LEAF,
        authority: bool = False,
        unknown_extension: tuple[bool, int] | None = None,
        ocsp_signing: bool = False,
        must_staple: bool = False,
    ) -> SigningChain:
        """Return a certificate for `names` with a new key, and the intermediates above it.

        `names`: DNS names (also wildcards) and IP addresses; with the prefix "DNS:", an address
        becomes a DNS name.
        `server`, `client`, `ocsp_signing`: its extended key usage; none of them: no restriction.
        `key_usage`: as for a CA.
        `must_staple`: whether its server must staple an OCSP response (RFC 7633).
        `authority`: whether it also claims to be a CA.
        `unknown_extension`: add an unknown extension: whether it is critical, and its size in
        bytes.

        Raises ValueError for what rcgen does not support.
        """
        start, end = _validity(not_before, not_after)
        certificate, key = self._authority.issue(
            list(names),
            common_name,
            key_type.value,
            start,
            end,
            server,
            client,
            list(key_usage),
            authority,
            unknown_extension,
            ocsp_signing,
            must_staple,
        )
        above: list[Certificate] = []
        issuer = self
        while issuer._parent is not None:
            above.append(issuer.certificate)
            issuer = issuer._parent
        return SigningChain(
            (Certificate.from_buffer(certificate), PrivateKey.from_buffer(key)), above
        )


def self_signed(
    *names: str,
    common_name: str = "polytls throw-away device",
    key_type: KeyType = KeyType.ECDSA_P256,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    authority: bool | None = None,
) -> SigningChain:
    """Return a self-signed certificate for `names`, as devices on a local network have.

    `authority`: whether it claims to be a CA, as many do; None: it has no basic constraints.
    Otherwise like `CertificateAuthority.issue`.
    """
    start, end = _validity(not_before, not_after)
    certificate, key = _native.self_signed(
        list(names), common_name, key_type.value, start, end, authority
    )
    return SigningChain((Certificate.from_buffer(certificate), PrivateKey.from_buffer(key)))


def pem(label: str, der: bytes) -> bytes:
    """Return `der` as a PEM section (RFC 7468)."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _validity(not_before: datetime | None, not_after: datetime | None) -> tuple[int, int]:
    """Both ends of the validity period in seconds since 1970."""
    start = not_before or datetime.now(UTC) - _BEFORE_NOW
    end = not_after or start + _LIFETIME
    for name, moment in (("not_before", start), ("not_after", end)):
        if moment.tzinfo is None:
            raise ValueError(f"{name} must be an aware datetime, such as one in UTC")
    return int(start.timestamp()), int(end.timestamp())
