"""What `ssl` has no callback for: pins, and the caller's own say in the verdict on a peer.

Rules of this file:

- A judge is asked by the buffer, before anything leaves that answers the peer's certificate
  (`StdlibBuffer._decide`): what OpenSSL has written by then is held back, and dropped if the peer
  is refused. So the peer is told nothing, and sees the connection end.
- On clients with pins OpenSSL verifies nothing but that the peer has the certificate's key
  (CERT_NONE); the rest is found here. Servers with pins have OpenSSL verify too, or it would not
  ask for a certificate.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from .. import _native
from ..certificates import read, refusal_of
from ..configuration import PeerVerifier
from ..errors import CertificateVerificationError, TLSError, VerificationFailure
from ..info import CertificateInfo, PresentedPeer
from .stdlib_credentials import Pinned

__all__ = ["Guard", "Judge"]


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the peers of one context, beyond what OpenSSL does."""

    #: The peers' role.
    role: Literal["client", "server"]
    pins: Pinned | None
    verifier: PeerVerifier | None
    #: What peers are judged by, in words.
    trust_source: str

    def judge(
        self, presented: tuple[bytes, ...], verified: tuple[bytes, ...], hostname: str | None
    ) -> None:
        """Judge a peer that presented these certificates, the leaf first.

        Raises CertificateVerificationError.
        """
        if not presented:
            said = "the peer presented no certificate"
            raise self._refusal(VerificationFailure.NO_CERTIFICATE, said, (), hostname)
        try:
            leaf = read(presented[0])
        except ValueError as error:
            leaf = None
            if self.pins is not None:
                raise self._refusal(
                    VerificationFailure.BAD_ENCODING, str(error), presented, hostname
                ) from None
        if self.pins is not None and leaf is not None:
            checked = None if self.pins.any_name else hostname
            if failure := _check_pins(self.pins, leaf, checked):
                raise self._refusal(failure, "", presented, checked)
        if self.verifier is not None:
            self._ask(self.verifier, presented, verified, hostname, leaf)

    def _ask(
        self,
        verifier: PeerVerifier,
        presented: tuple[bytes, ...],
        verified: tuple[bytes, ...],
        hostname: str | None,
        leaf: CertificateInfo | None,
    ) -> None:
        peer = PresentedPeer(
            role=self.role,
            hostname=hostname,
            certificate=leaf,
            presented_chain=presented,
            verified_chain=verified or None,
        )
        try:
            returned: object = verifier(peer)  # type: ignore[func-returns-value]
            if returned is not None:
                raise TypeError(
                    "peer_verifier must return None, or raise to refuse the peer; it returned "
                    f"{type(returned).__name__}"
                )
        except BaseException as cause:
            said = f"peer_verifier refused the certificate: {_first_line(cause)}"
            reason = VerificationFailure.REFUSED_BY_VERIFIER
            raise self._refusal(reason, said, presented, hostname) from cause

    def _refusal(
        self,
        reason: VerificationFailure,
        said: str,
        presented: tuple[bytes, ...],
        hostname: str | None,
    ) -> CertificateVerificationError:
        return refusal_of(
            reason,
            said,
            chain=presented,
            hostname=hostname,
            role=self.role,
            trust_source=self.trust_source,
        )


def _check_pins(
    pins: Pinned, leaf: CertificateInfo, hostname: str | None
) -> VerificationFailure | None:
    """Return what is wrong with a leaf; None if nothing is."""
    if leaf.der not in pins.certificates and (
        not pins.spki_sha256 or bytes.fromhex(leaf.spki_sha256) not in pins.spki_sha256
    ):
        return VerificationFailure.PIN_MISMATCH
    now = datetime.now(UTC)
    if now < leaf.not_before:
        return VerificationFailure.NOT_YET_VALID
    if now > leaf.not_after:
        return VerificationFailure.EXPIRED
    if hostname is not None and not _native.is_certificate_for(leaf.der, hostname):
        return VerificationFailure.HOSTNAME_MISMATCH
    return None


def _first_line(error: BaseException) -> str:
    """Class and text of an exception in one line; the text alone may run code, and fail."""
    name = type(error).__name__
    try:
        lines = str(error).splitlines()
    except Exception:
        lines = []
    return f"{name}: {lines[0]}" if lines else name


class Guard:
    """The lock of a connection whose peer is judged by a callback.

    The callback runs under the lock. If it uses that connection it gets an error, where it would
    wait for itself for ever.
    """

    __slots__ = ("_judging", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: The thread that runs the callback.
        self._judging: int | None = None

    def __enter__(self) -> None:
        if self._judging == threading.get_ident():
            raise TLSError("a callback cannot use the connection that it is called for")
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()

    def judge(
        self,
        judge: Judge,
        presented: tuple[bytes, ...],
        verified: tuple[bytes, ...],
        hostname: str | None,
    ) -> None:
        """Have the peer judged; the lock is held."""
        self._judging = threading.get_ident()
        try:
            judge.judge(presented, verified, hostname)
        finally:
            self._judging = None
