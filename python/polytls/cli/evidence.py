"""What `polytls inspect` shows as others say it, and does not verify: what logs have promised about
certificates (SCTs, RFC 6962), and what an OCSP response says (RFC 6960).

Whether a stapled response counts was decided in the handshake: `ConnectionInfo.staple`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .. import _native
from ..constants import SignatureScheme

__all__ = ["OCSPAnswer", "Timestamp", "ocsp_answer", "timestamps_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A signed certificate timestamp (RFC 6962 3.2)."""

    #: 1 for v1. What other versions contain is not known.
    version: int
    #: SHA-256 of the log's public key.
    log_id: bytes | None = None
    moment: datetime | None = None
    scheme: SignatureScheme | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPAnswer:
    """What an OCSP response says of a certificate."""

    #: Why nothing can be told of it: it cannot be read, or the responder has answered with an
    #: error.
    error: str | None = None
    #: "good", "revoked" or "unknown"; None if it is about another certificate.
    status: str | None = None
    revoked_at: datetime | None = None
    #: Why it was revoked (RFC 5280 5.3.1), if it says so.
    reason: str | None = None
    produced_at: datetime | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None
    timestamps: tuple[Timestamp, ...] = ()
    #: Why the timestamps cannot be read.
    timestamps_error: str | None = None


def timestamps_of(der: bytes) -> tuple[Timestamp, ...]:
    """Return the timestamps in a certificate; empty if it has none.

    Raises ValueError if the certificate, or the list in it, cannot be read.
    """
    return _timestamps(_native.certificate_timestamps(der))


def ocsp_answer(response: bytes, leaf: bytes) -> OCSPAnswer:
    """Return what a response, in DER, says of the certificate `leaf`, by its serial number."""
    try:
        facts = _native.ocsp_facts(response, leaf)
    except ValueError as error:
        return OCSPAnswer(error=str(error))
    listed = facts.pop("timestamps")
    if isinstance(listed, str):
        return OCSPAnswer(**facts, timestamps_error=listed)
    return OCSPAnswer(**facts, timestamps=_timestamps(listed))


def _timestamps(
    listed: list[tuple[int, tuple[bytes, int, int] | None]],
) -> tuple[Timestamp, ...]:
    return (*(_timestamp(version, promise) for version, promise in listed),)


def _timestamp(version: int, promise: tuple[bytes, int, int] | None) -> Timestamp:
    if promise is None:
        return Timestamp(version + 1)
    log_id, milliseconds, number = promise
    scheme: SignatureScheme | int
    try:
        scheme = SignatureScheme(number)
    except ValueError:
        scheme = number
    return Timestamp(version + 1, log_id, _EPOCH + timedelta(milliseconds=milliseconds), scheme)
