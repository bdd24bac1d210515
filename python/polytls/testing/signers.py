"""A signer with its key in memory, for tests of external keys."""

from __future__ import annotations

from .. import _native
from ..constants import SignatureScheme
from ..identity import PrivateKey

__all__ = ["KeySigner"]


class KeySigner:
    """A `polytls.Signer` for a private key in PKCS#8 DER, such as `CertificateAuthority` creates.

    Raises ValueError for a key that is not ECDSA on P-256 or P-384, RSA or Ed25519.
    """

    def __init__(self, key: PrivateKey) -> None:
        self._key = key.buffer or b""
        self._public_key, algorithms = _native.public_half(self._key)
        self._algorithms = tuple(SignatureScheme(number) for number in algorithms)

    @property
    def public_key(self) -> bytes:
        """Its public key, as SubjectPublicKeyInfo in DER."""
        return self._public_key

    @property
    def algorithms(self) -> tuple[SignatureScheme, ...]:
        """The algorithms that it can sign with."""
        return self._algorithms

    def sign(self, data: bytes, algorithm: SignatureScheme) -> bytes:
        """Return the signature over `data`."""
        return _native.sign(self._key, data, algorithm)
