"""Whose fault it was: the one mapping from the errors of `ssl` to polytls's.

By numbers and OpenSSL's own constants (`verify_code`, `reason`), never by wording, except where
the module has no name for an alert: OpenSSL's words are that name, in other letters. Why a
certificate was refused is told by the verdict (`verdict`).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from typing import Final

from ...constants import AlertDescription, known
from ...errors import (
    AlertReceived,
    PeerIncompatible,
    PeerMisbehaved,
    PeerRejectedCertificate,
    TLSError,
    VerificationFailure,
)
from .openssl_names import ALERTS, INCOMPATIBLE, OURS, REASONS
from .verdict import Judge

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

#: The handshake is not signed by the certificate's key (openssl/sslerr.h).
_WRONG_SIGNATURE: Final = "BAD_SIGNATURE"


def blame(
    error: ssl.SSLError,
    *,
    alert: int | None = None,
    hostname: str | None = None,
    chain: Sequence[bytes] = (),
    judge: Judge | None = None,
) -> TLSError:
    """Return polytls's error for one that ended a connection.

    `alert`: the number of the alert that was just received in the clear, if one was. `hostname`:
    the name that was asked for. `chain`: what the peer presented, as far as `ssl` tells. `judge`:
    who judges peers, and knows why one is refused.
    """
    reason = error.reason or ""
    if alert is None:
        alert = ALERTS.get(reason or _unnamed(error))
    if alert is not None:
        return _alert_received(alert)
    if judge is not None and isinstance(error, ssl.SSLCertVerificationError):
        why = REASONS.get(error.verify_code, VerificationFailure.OTHER)
        return judge.refusal(why, error.verify_message, (*chain,), hostname)
    if judge is not None and reason in _NO_CERTIFICATE:
        return judge.explain(VerificationFailure.NO_CERTIFICATE, "", (), None)
    if reason == _WRONG_SIGNATURE:
        said = "the key of its certificate has not signed the handshake"
        return PeerMisbehaved(f"the peer broke the protocol: {said}")
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


def _unnamed(error: ssl.SSLError) -> str:
    """OpenSSL's name (openssl/sslerr.h) for an alert that the module's tables lack."""
    return _words(error).replace(" ", "_").upper()


def _words(error: ssl.SSLError) -> str:
    """The reason as people write it: "no shared cipher"."""
    if error.reason:
        return error.reason.replace("_", " ").lower()
    said = str(error.strerror or error).partition(" (_ssl.c")[0]
    return re.sub(r"^\[[^]]*\] ", "", said)
