"""The verdict on a peer of `ssl`: OpenSSL's first, then that of all implementations.

Rules of this file:

- OpenSSL verifies inside the handshake and sends the alert that tells the peer why it is refused.
  Then the verdict of the Rust core (crates/verdict) judges the same chain, the caller's own
  verifier last; both must accept. What OpenSSL takes for authorities, it takes without limits:
  every certificate that was given, a peer's too.
- `ssl` has no callback for certificates. So the judge is asked by the buffer, before anything
  leaves that answers the peer's certificate (`StdlibBuffer._decide`): what OpenSSL has written by
  then is held back, and dropped if the peer is refused. The peer is told nothing then, and sees
  the connection end.
- Of the system's certificates the verdict has none by itself: OpenSSL's path ends at one, which is
  judged as an authority like any other.
- On clients with pins OpenSSL verifies nothing but that the peer has the certificate's key
  (CERT_NONE); the rest is found here. Servers with pins have OpenSSL verify too, or it would not
  ask for a certificate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from ... import _native
from ...certificates import TrustData, read
from ...configuration import PeerVerifier
from ...errors import CertificateVerificationError, VerificationFailure
from .credentials import NAME

__all__ = ["Judge", "Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A peer that was accepted."""

    #: The path that was verified, from the leaf to the anchor, in DER; None if there is none.
    path: tuple[bytes, ...] | None
    #: Until when that holds, in seconds since 1970; None: nothing was judged that could end.
    ends: int | None
    #: The certificate of the system's that OpenSSL's path ended at.
    vouched: bytes | None = None


class Judge:
    """Judges the peers of one context, after OpenSSL.

    `role`: the peers'. `trust`: what they are verified by; None: nothing is verified, and the
    verifier alone has its say. `checks_hostname`: whether a server's name is checked.

    Raises ConfigurationError.
    """

    __slots__ = ("_asks", "_judge", "_pins", "_system", "_verifies", "role")

    def __init__(
        self,
        role: Literal["client", "server"],
        trust: TrustData | None,
        verifier: PeerVerifier | None,
        *,
        checks_hostname: bool,
    ) -> None:
        #: The peers'.
        self.role = role
        self._verifies = trust is not None
        self._system = trust is not None and trust["system"]
        self._pins = trust is not None and trust["pins"] is not None
        self._asks = verifier is not None
        self._judge = _native.Judge(
            NAME,
            trust=trust,
            verifies=self._verifies,
            checks_hostname=checks_hostname,
            peer_is_server=role == "server",
            peer_verifier=verifier,
        )

    def judge(
        self, presented: tuple[bytes, ...], verified: tuple[bytes, ...], hostname: str | None
    ) -> Verdict:
        """Judge a peer that presented these certificates, the leaf first.

        `verified`: OpenSSL's path.

        Raises CertificateVerificationError.
        """
        if not presented:
            said = "the peer presented no certificate"
            raise self.explain(VerificationFailure.NO_CERTIFICATE, said, (), hostname)
        vouched = verified[-1] if self._system and verified else None
        path, ends = self._judge.judge(presented, hostname=hostname, vouched=vouched)
        return Verdict(path, ends, vouched)

    def admit(
        self, presented: tuple[bytes, ...], before: Verdict | None, hostname: str | None
    ) -> None:
        """Give the whole verdict on a session that is named for a connection to `hostname`.

        `presented`: by its server when it began. `before`: the verdict of then.

        Raises CertificateVerificationError.
        """
        if not presented:
            said = "its server presented no certificate"
            raise self.explain(VerificationFailure.NO_CERTIFICATE, said, (), hostname)
        vouched = None if before is None else before.vouched
        self._judge.judge(presented, hostname=hostname, vouched=vouched)

    def judge_again(
        self, presented: tuple[bytes, ...], before: Verdict | None, hostname: str | None
    ) -> Verdict:
        """Judge a peer whose session was resumed, by the chain that is known of its beginning.

        `before`: the verdict of then, which a client remembers. A server's tickets hold the leaf
        alone, so that there is no path to be built: its time is looked at.

        Raises CertificateVerificationError.
        """
        if before is not None:
            if not (self._asks or self._pins):
                return before
            vouched = before.vouched
            path, ends = self._judge.judge(presented, hostname=hostname, vouched=vouched)
            return Verdict(path, ends, vouched)
        # The last second belongs to it, as in the verdict.
        if self._verifies and int(time.time()) > read(presented[0]).not_after.timestamp():
            raise self.explain(VerificationFailure.EXPIRED, "", presented, hostname)
        self._judge.ask(presented, hostname=hostname, verified=None)
        return Verdict(None, None)

    def refusal(
        self, reason: VerificationFailure, said: str, presented: tuple[bytes, ...], host: str | None
    ) -> CertificateVerificationError:
        """Return the error for a peer that OpenSSL has refused, for its own or for our reasons.

        Our verdict does not know the system's certificates before OpenSSL's path is there.
        `said`: what OpenSSL said.
        """
        if presented and not self._system:
            try:
                self._judge.verify(presented, hostname=host)
            except CertificateVerificationError as error:
                return error
        return self.explain(reason, said, presented, host)

    def explain(
        self, reason: VerificationFailure, said: str, presented: tuple[bytes, ...], host: str | None
    ) -> CertificateVerificationError:
        """Return the error for a refusal, with all that can be found out by reading."""
        return self._judge.explain(reason.name, said, presented, hostname=host)
