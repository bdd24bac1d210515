"""Whose fault it was: the one mapping from the errors of `ssl` to polytls's.

By numbers and OpenSSL's own constants (`verify_code`, `reason`), never by wording. The sentences
about certificates are those of the Rust core's (crates/rustls/src/error.rs).
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ..constants import AlertDescription, known
from ..errors import (
    AlertReceived,
    CertificateVerificationError,
    PeerIncompatible,
    PeerMisbehaved,
    PeerRejectedCertificate,
    TLSError,
    VerificationFailure,
)
from .encodings import Facts, Malformed, facts
from .openssl_names import ALERTS, INCOMPATIBLE, OURS, REASONS

__all__ = ["blame"]

#: Alerts by which the peer says that it does not accept our certificate, or the lack of one.
_REJECTIONS: Final = frozenset(
    {
        AlertDescription.no_certificate,
        AlertDescription.bad_certificate,
        AlertDescription.unsupported_certificate,
        AlertDescription.certificate_revoked,
        AlertDescription.certificate_expired,
        AlertDescription.certificate_unknown,
        AlertDescription.unknown_ca,
        AlertDescription.access_denied,
        AlertDescription.certificate_required,
    }
)

#: A client presented none (openssl/sslerr.h).
_NO_CERTIFICATE: Final = frozenset(
    {"PEER_DID_NOT_RETURN_A_CERTIFICATE", "NO_CERTIFICATES_RETURNED"}
)

#: At most this many names of a stranger's certificate are told.
_NAMES_TOLD: Final = 8


def blame(
    error: ssl.SSLError,
    *,
    alert: int | None = None,
    hostname: str | None = None,
    chain: Sequence[bytes] = (),
) -> TLSError:
    """Return polytls's error for one that ended a connection.

    `alert`: the number of the alert that was just received in the clear, if one was. `hostname`:
    the name that was checked. `chain`: what the peer presented, as far as `ssl` tells.
    """
    reason = error.reason or ""
    if alert is None:
        alert = ALERTS.get(reason)
    if alert is not None:
        return _alert_received(alert)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _refusal(error, hostname, tuple(chain))
    if reason in _NO_CERTIFICATE:
        return CertificateVerificationError(
            "the peer presented no certificate, and one is required",
            reason=VerificationFailure.NO_CERTIFICATE,
        )
    said = _words(error)
    if reason in INCOMPATIBLE:
        return PeerIncompatible(f"nothing in common with the peer: {said}")
    # A session that was cut short on our side has no peer to blame.
    if reason in OURS or isinstance(error, ssl.SSLSyscallError):
        return TLSError(f"internal error: {said}")
    return PeerMisbehaved(f"the peer broke the protocol: {said}")


def _alert_received(number: int) -> AlertReceived:
    alert = known(AlertDescription, number)
    name = alert.name if isinstance(alert, AlertDescription) else f"alert {number}"
    if alert in _REJECTIONS:
        return PeerRejectedCertificate(f"the peer refused our certificate: {name}", alert=alert)
    return AlertReceived(f"the peer sent a fatal alert: {name}", alert=alert)


def _words(error: ssl.SSLError) -> str:
    """The reason as people write it: "no shared cipher"."""
    if error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error.strerror or error).partition(" (_ssl.c")[0]


def _refusal(
    error: ssl.SSLCertVerificationError, hostname: str | None, chain: tuple[bytes, ...]
) -> CertificateVerificationError:
    reason = REASONS.get(error.verify_code, VerificationFailure.OTHER)
    return CertificateVerificationError(
        _describe(reason, error.verify_message, hostname, chain),
        reason=reason,
        hostname=hostname,
        chain=chain,
    )


def _describe(
    reason: VerificationFailure, said: str, hostname: str | None, chain: tuple[bytes, ...]
) -> str:
    """What was found, in one sentence."""
    read = [fact for fact in map(_readable, chain) if fact is not None]
    leaf = read[0] if read else None
    now = datetime.now(UTC)
    if reason is VerificationFailure.HOSTNAME_MISMATCH and leaf:
        names = [*leaf.dns_names, *map(str, leaf.ip_addresses)]
        asked = hostname or "the name asked for"
        return f"the certificate is valid for {_listed(names)}, not for {asked}"
    if reason is VerificationFailure.UNKNOWN_ISSUER and leaf:
        if leaf.issuer == leaf.subject:
            return f"the certificate of {leaf.subject} is self-signed and not in the trust store"
        return (
            f"the certificate was issued by {leaf.issuer}, and nothing leads from there to a "
            "trusted certificate"
        )
    # The peer's certificates alone are at hand, so the one at fault may be an anchor of ours.
    if reason is VerificationFailure.EXPIRED:
        for fact in read:
            if fact.not_after < now:
                return (
                    f"a certificate of the chain expired on {_date(fact.not_after)} "
                    f"(it is {_date(now)} now)"
                )
    if reason is VerificationFailure.NOT_YET_VALID:
        for fact in read:
            if fact.not_before > now:
                return (
                    f"a certificate of the chain is not valid before {_date(fact.not_before)} "
                    f"(it is {_date(now)} now)"
                )
    return f"the certificate was not accepted: {said}"


def _readable(der: bytes) -> Facts | None:
    try:
        return facts(der)
    except Malformed:
        return None


def _listed(names: Sequence[str]) -> str:
    told = [ascii(name)[1:-1] for name in names[:_NAMES_TOLD]]
    if not told:
        return "no name at all"
    if len(names) > _NAMES_TOLD:
        return f"{', '.join(told)} and {len(names) - _NAMES_TOLD} more"
    *before, last = told
    return f"{', '.join(before)} and {last}" if before else last


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
