"""Keys and configurations of Encrypted ClientHello (RFC 9849 4)."""

from __future__ import annotations

import secrets
import struct
from typing import Final

from .. import ECHKey, _native
from .certificates import pem

__all__ = ["AES_128_GCM", "ECH", "HKDF_SHA256", "X25519", "config", "ech_key", "vector"]

#: The extension, and the version of configurations.
ECH: Final = 0xFE0D
#: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM (RFC 9180 7).
X25519, HKDF_SHA256, AES_128_GCM = 0x20, 1, 1
#: What comes before the key in PKCS#8 (RFC 8410 7).
_PKCS8_X25519: Final = bytes.fromhex("302e020100300506032b656e04220420")


def ech_key(public_name: str, *, identifier: int | None = None) -> tuple[ECHKey, bytes]:
    """Return a new key for a server, and its list of configurations: `ech` of a client.

    `public_name`: what observers see, and what the server is verified for if it has lost the key.
    `identifier`: by which a server finds the key, 0 to 255; None: a random number.
    """
    secret, public = _native.x25519()
    number = secrets.randbelow(256) if identifier is None else identifier
    configs = vector(config(public_name.encode(), key=public, identifier=number))
    sections = pem("PRIVATE KEY", _PKCS8_X25519 + secret) + pem("ECHCONFIG", configs)
    return ECHKey.from_buffer(sections), configs


def vector(content: bytes, width: int = 2) -> bytes:
    """Return `content` with its length in `width` bytes before it."""
    return len(content).to_bytes(width) + content


def config(
    public_name: bytes,
    *,
    key: bytes,
    version: int = ECH,
    kem: int = X25519,
    aead: int = AES_128_GCM,
    extensions: bytes = b"",
    identifier: int = 7,
) -> bytes:
    """Return a configuration; a list is the `vector` of one or more."""
    suites = struct.pack("!HH", HKDF_SHA256, aead)
    contents = struct.pack("!BH", identifier, kem) + vector(key) + vector(suites) + b"\0"
    contents += vector(public_name, 1) + vector(extensions)
    return version.to_bytes(2) + vector(contents)
