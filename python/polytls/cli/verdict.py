"""What the findings of `polytls inspect` come to: good or not, why, and who can fix it.

What is wrong with a certificate was explained where it was refused; the other errors are placed
here, where it is known what was asked for. Nothing is decided that the connection has not decided.
"""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from ..certificates import read
from ..constants import AlertDescription
from ..errors import (
    AlertReceived,
    CertificateVerificationError,
    ECHRejected,
    NotTLSError,
    PeerIncompatible,
    PeerMisbehaved,
    PeerRejectedCertificate,
    RaggedEOF,
    Responsible,
    TLSError,
    VerificationFailure,
)
from ..info import CertificateInfo
from .dialogue import DialogueError
from .findings import Findings
from .proxies import AuthenticationError
from .route import Stage
from .targets import CertificateFile

__all__ = ["EXPIRES_SOON", "Failure", "Outcome", "Verdict", "days_left", "judge", "worst"]

#: The reason of `Outcome.EXPIRING`.
EXPIRES_SOON = "expires soon"


class Outcome(Enum):
    """The verdict in a word; its number is the exit code."""

    GOOD = "good", 0
    #: The server's certificate was refused; a certificate of a file is not valid at this time.
    REFUSED = "refused", 1
    #: All is well, but a certificate expires earlier than was asked for.
    EXPIRING = "expiring", 4
    #: There was no connection, or it failed for another reason than the server's certificate.
    FAILED = "failed", 3

    def __init__(self, word: str, exit_code: int) -> None:
        self.word = word
        self.exit_code = exit_code


class Failure(Enum):
    """Why there was no connection, if the certificate is not the reason: a closed list."""

    UNKNOWN_HOST = "unknown host"
    CONNECTION_REFUSED = "connection refused"
    TIMED_OUT = "timed out"
    NO_CONNECTION = "no connection"
    PROXY = "proxy"
    NO_STARTTLS = "no STARTTLS"
    NOT_TLS = "not TLS"
    NOTHING_IN_COMMON = "nothing in common"
    ALPN_REFUSED = "ALPN refused"
    ECH_REJECTED = "ECH rejected"
    CLIENT_CERTIFICATE_DEMANDED = "client certificate demanded"
    CLIENT_CERTIFICATE_REFUSED = "client certificate refused"
    ALERT = "alert"
    CUT_OFF = "cut off"
    PROTOCOL_VIOLATED = "protocol violated"
    INTERNAL_ERROR = "internal error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict, with all that is told of it."""

    outcome: Outcome
    #: None if it is good.
    reason: str | None = None
    #: None if it is good, or if nobody can tell.
    responsible: Responsible | None = None
    message: str | None = None
    #: In lines: reason and message, what else there is to know, who can fix it.
    explanation: tuple[str, ...] = ()
    #: The alert that came from the server, by name or number.
    alert: str | None = None
    #: Which certificate of the chain is at fault.
    index: int | None = None


def _party(responsible: Responsible) -> str:
    """Who can fix it, as seen from a client."""
    return "the server's operator" if responsible is Responsible.PEER else responsible.value


def worst(verdicts: list[Verdict]) -> Outcome:
    """Return what several verdicts come to."""
    order = (Outcome.FAILED, Outcome.REFUSED, Outcome.EXPIRING)
    given = {verdict.outcome for verdict in verdicts}
    return next((outcome for outcome in order if outcome in given), Outcome.GOOD)


def days_left(certificate: CertificateInfo) -> int:
    """Return for how many whole days a certificate is valid; less than zero if it has expired."""
    return (certificate.not_after - datetime.now(UTC)) // timedelta(days=1)


def judge(findings: Findings, *, identified: bool = False, min_days: int | None = None) -> Verdict:
    """Return the verdict.

    `identified`: a certificate of our own was offered. `min_days`: for how many days certificates
    have to be valid.
    """
    error = findings.error
    if error is None:
        return _judge_validity(findings, min_days) or Verdict(outcome=Outcome.GOOD)
    if isinstance(error, CertificateVerificationError):
        if findings.stage is Stage.PROXY:
            return _proxy_refused(error)
        return Verdict(
            outcome=Outcome.REFUSED,
            reason=error.reason.value,
            responsible=error.responsible,
            message=str(error),
            explanation=(*error.explain().splitlines(),),
            index=error.index,
        )
    failure, responsible, advice = _place(error, findings.stage, identified)
    message = _words(error)
    lines = [f"{failure.value}: {message}"]
    alert = None
    if isinstance(error, AlertReceived):
        alert = getattr(error.alert, "name", str(error.alert))
        if meaning := getattr(error.alert, "meaning", None):
            lines.append(f"the alert means: {meaning}")
    if responsible is not None:
        lines.append(f"To fix: {_party(responsible)} must {advice}")
    return Verdict(
        outcome=Outcome.FAILED,
        reason=failure.value,
        responsible=responsible,
        message=message,
        explanation=(*lines,),
        alert=alert,
    )


def _proxy_refused(error: CertificateVerificationError) -> Verdict:
    reason, party = Failure.PROXY.value, Responsible.ADMINISTRATOR
    message = f"the proxy's certificate was refused: {error}"
    advice = "correct the proxy's certificate (or use --proxy-ca with the file of its CA)"
    return Verdict(
        outcome=Outcome.FAILED,
        reason=reason,
        responsible=party,
        message=message,
        explanation=(
            f"{reason}: {message}",
            *error.explain().splitlines()[1:-1],
            f"To fix: {_party(party)} must {advice}",
        ),
    )


def _judge_validity(findings: Findings, min_days: int | None) -> Verdict | None:
    """What is wrong with the validity of certificates; None for nothing.

    Of a connection, the path that was verified counts, without its trust anchor; of a file, every
    certificate.
    """
    ours = isinstance(findings.target, CertificateFile)
    verified = (findings.info.verified_chain if findings.info else None) or findings.chain[:1]
    counted = findings.chain if ours else verified[: max(len(verified) - 1, 1)]
    now = datetime.now(UTC)
    soon = None
    for der in counted:
        index = findings.chain.index(der) if der in findings.chain else None
        try:
            certificate = read(der)
        except ValueError as error:
            if ours:
                return _refused(VerificationFailure.BAD_ENCODING, str(error), index)
            continue
        of = f"the certificate of {certificate.subject or '(no name)'}"
        if ours and certificate.not_after < now:
            told = f"{of} expired on {_day(certificate.not_after)}"
            return _refused(VerificationFailure.EXPIRED, told, index)
        if ours and certificate.not_before > now:
            told = f"{of} is valid from {_day(certificate.not_before)} on"
            return _refused(VerificationFailure.NOT_YET_VALID, told, index)
        left = days_left(certificate)
        if soon is None and min_days is not None and left < min_days:
            days = f"{left} day{'' if left == 1 else 's'}"
            soon = index, f"{of} is valid for {days} more, until {_day(certificate.not_after)}"
    if soon is None:
        return None
    index, message = soon
    lines = [f"{EXPIRES_SOON}: {message}", f"--min-days requires {min_days}"]
    if not ours:
        lines.append(f"To fix: {_party(Responsible.PEER)} must renew the certificate")
    return Verdict(
        outcome=Outcome.EXPIRING,
        reason=EXPIRES_SOON,
        responsible=None if ours else Responsible.PEER,
        message=message,
        explanation=(*lines,),
        index=index,
    )


def _refused(reason: VerificationFailure, message: str, index: int | None) -> Verdict:
    """The verdict on a file."""
    return Verdict(
        outcome=Outcome.REFUSED,
        reason=reason.value,
        message=message,
        explanation=(f"{reason.value}: {message}",),
        index=index,
    )


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


_Place = tuple[Failure, Responsible | None, str]

_LOG = "check the server's log"
_PATH = "check the server's log, and any firewall, proxy or load balancer in between"
_MODERN = "offer TLS 1.2 or 1.3 with current suites and groups"


def _place(error: OSError, stage: Stage, identified: bool) -> _Place:
    if stage is Stage.PROXY:
        if isinstance(error, NotTLSError):
            advice = "use http:// for a proxy without TLS (or check its port)"
            return Failure.PROXY, Responsible.YOU, advice
        if isinstance(error, AuthenticationError):
            advice = "give a user name and password that the proxy accepts: USER:PASSWORD@HOST:PORT"
            return Failure.PROXY, Responsible.YOU, advice
        advice = "check the proxy, and that it allows connections to this host and port"
        return Failure.PROXY, Responsible.ADMINISTRATOR, advice
    if stage is Stage.RESOLVING:
        if error.errno == socket.EAI_AGAIN:
            advice = "check this machine's resolver and network"
            return Failure.UNKNOWN_HOST, Responsible.ADMINISTRATOR, advice
        return Failure.UNKNOWN_HOST, Responsible.YOU, "check the name"
    if isinstance(error, DialogueError):
        advice = "offer STARTTLS (or check the service and port)"
        return Failure.NO_STARTTLS, Responsible.PEER, advice
    if isinstance(error, TLSError):
        return _place_tls(error, identified)
    if isinstance(error, ConnectionRefusedError):
        return (
            Failure.CONNECTION_REFUSED,
            Responsible.PEER,
            "start the service (or check the host and port)",
        )
    if isinstance(error, TimeoutError):
        if stage is Stage.CONNECTING:
            advice = "start the service, and allow connections to it (or check the host and port)"
        else:
            advice = f"{_PATH} (or check the port)"
        return Failure.TIMED_OUT, Responsible.PEER, advice
    if stage is Stage.CONNECTING:
        return Failure.NO_CONNECTION, Responsible.ADMINISTRATOR, "check this machine's network"
    return Failure.CUT_OFF, Responsible.PEER, _PATH


def _place_tls(error: TLSError, identified: bool) -> _Place:
    if isinstance(error, AlertReceived):
        return _place_alert(error, identified)
    if isinstance(error, RaggedEOF):
        return Failure.CUT_OFF, Responsible.PEER, _PATH
    if isinstance(error, ECHRejected):
        advice = "look up the server's HTTPS record again (without --ech, the host name is visible)"
        if error.retry_configs is not None:
            given = base64.b64encode(error.retry_configs).decode()
            advice = f"use the configurations that the server sent: --ech {given}"
        return Failure.ECH_REJECTED, Responsible.YOU, advice
    if isinstance(error, PeerIncompatible):
        return Failure.NOTHING_IN_COMMON, Responsible.PEER, _MODERN
    if isinstance(error, NotTLSError):
        advice = "check the port; use --starttls for services that start in plaintext"
        return Failure.NOT_TLS, Responsible.YOU, advice
    if isinstance(error, PeerMisbehaved):
        advice = f"{_PATH} (use --starttls for services that start in plaintext)"
        return Failure.PROTOCOL_VIOLATED, Responsible.PEER, advice
    return Failure.INTERNAL_ERROR, error.responsible, "report it"


def _place_alert(error: AlertReceived, identified: bool) -> _Place:
    if isinstance(error, PeerRejectedCertificate):
        if identified:
            advice = "ask the server's operator which certificates the server accepts"
            return Failure.CLIENT_CERTIFICATE_REFUSED, Responsible.YOU, advice
        return Failure.CLIENT_CERTIFICATE_DEMANDED, Responsible.YOU, "offer one with --client-cert"
    if error.alert == AlertDescription.no_application_protocol:
        advice = "use --alpn with a protocol that the server supports, or omit it"
        return Failure.ALPN_REFUSED, Responsible.YOU, advice
    if error.alert in (
        AlertDescription.handshake_failure,
        AlertDescription.protocol_version,
        AlertDescription.insufficient_security,
    ):
        return Failure.NOTHING_IN_COMMON, Responsible.PEER, _MODERN
    return Failure.ALERT, Responsible.PEER, _LOG


def _words(error: OSError) -> str:
    """The error in words, without a number."""
    if isinstance(error, TimeoutError):
        return "nothing arrived in time"
    if isinstance(error, ECHRejected):
        others = "none" if error.retry_configs is None else "other configurations"
        return f"the server, verified as {error.public_name}, rejected it and sent {others}"
    if isinstance(error, TLSError | socket.gaierror | DialogueError) or not error.strerror:
        return str(error.strerror or error)
    return error.strerror
