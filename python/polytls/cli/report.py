"""The findings of `polytls inspect` as text, and as PEM. Every text of the server's is escaped."""

from __future__ import annotations

import base64
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from ..certificates import read
from ..constants import ECHStatus, NextProtocol
from ..info import CertificateInfo, ConnectionInfo
from .evidence import Timestamp, ocsp_answer, timestamps_of
from .findings import Findings
from .offers import Offer, group_name, suite_name
from .targets import CertificateFile
from .verdict import Outcome, Verdict, days_left
from .words import Style, harmless, paint, wrapped

__all__ = ["as_pem", "as_text", "fault_text", "name_of", "protocol_name", "verdict_lines"]

_LABEL: Final = 13
_INDENT: Final = 2
#: Names and certificates that are shown, if a server presents more.
_NAMES: Final = 8
_CERTIFICATES: Final = 10
_TIMESTAMPS: Final = 8

#: The steps that take time, by the name in `Findings.timings`.
_STEPS: Final = {
    "resolve": "name",
    "connect": "connect",
    "proxy": "proxy",
    "starttls": "STARTTLS",
    "handshake": "handshake",
}


def as_pem(findings: Findings) -> Iterator[str]:
    """The certificates that were presented, as lines of PEM (RFC 7468)."""
    for der in findings.chain:
        yield "-----BEGIN CERTIFICATE-----"
        yield from textwrap.wrap(base64.b64encode(der).decode(), 64)
        yield "-----END CERTIFICATE-----"


def as_text(findings: Findings, verdict: Verdict) -> Iterator[str]:
    """The lines for a person."""
    target = findings.target
    if isinstance(target, CertificateFile):
        yield paint(harmless(target.label), Style.HEAD, sys.stdout)
        count = len(findings.chain)
        yield from _line("file", f"{count} certificate{'s' if count > 1 else ''}, not verified")
        yield from _certificates(findings.chain, count)
    else:
        as_name = target.server_hostname
        asked = f" as {as_name}" if as_name != target.host else ""
        service = f", {target.starttls} with STARTTLS" if target.starttls else ""
        yield paint(harmless(f"{target.label}{asked}{service}"), Style.HEAD, sys.stdout)
        if findings.proxy is not None:
            yield from _line("proxy", findings.proxy)
        for attempt in findings.attempts:
            told = "connected" if attempt.fault is None else fault_text(attempt.fault)
            yield from _line("address", f"{attempt.address}: {told}")
        yield from _timings(findings.timings)
        if findings.info is not None:
            yield from _facts(findings, findings.info)
        yield from _staple(findings)
        for offer in findings.offers or ():
            yield from _offer(offer)
        if count := len(findings.chain):
            yield from _line("chain", f"{count} certificate{'s' if count > 1 else ''} presented")
            yield from _certificates(findings.chain, _CERTIFICATES)
    yield from verdict_lines(verdict)


def _timings(timings: dict[str, float]) -> Iterator[str]:
    if "connect" in timings:
        told = (
            f"{name} {timings[step] * 1000:.1f} ms"
            for step, name in _STEPS.items()
            if step in timings
        )
        yield from _line("timings", ", ".join(told))


def _line(label: str, text: str) -> Iterator[str]:
    first, *more = wrapped(f"{label:{_LABEL}}{harmless(text)}", _INDENT, _LABEL)
    start = len(label) + _INDENT
    yield f"{' ' * _INDENT}{paint(label, Style.LABEL, sys.stdout)}{first[start:]}"
    yield from more


def _facts(findings: Findings, info: ConnectionInfo) -> Iterator[str]:
    yield from _line("version", info.version.value if info.version else "not told")
    yield from _line("suite", name_of(info.cipher))
    yield from _line("group", name_of(info.group))
    yield from _line("ALPN", protocol_name(info.alpn) or "none")
    if info.ech is not None:
        grease = info.ech is ECHStatus.GREASE
        yield from _line("ECH", "a random extension was sent" if grease else info.ech.value)
    yield from _handshake(info)
    if findings.resumption_fault is not None:
        again = f"unknown: the second connection failed: {fault_text(findings.resumption_fault)}"
    else:
        words = {True: "the second connection resumed the first", False: "none", None: "not known"}
        again = words[findings.resumed]
    yield from _line("resumption", again)
    if info.verified_chain:
        yield from _line("verified", " <- ".join(_subject(der) for der in info.verified_chain))


def _handshake(info: ConnectionInfo) -> Iterator[str]:
    trips = info.handshake_round_trips
    if trips is not None:
        retry = ", HelloRetryRequest" if info.hello_retry_request else ""
        sent, received = info.handshake_bytes_sent, info.handshake_bytes_received
        size = f"{sent:,} bytes sent, {received:,} received"
        yield from _line("handshake", f"{trips} round trip{'s' * (trips != 1)}{retry}; {size}")
    if info.server_signature_scheme is not None:
        yield from _line("signature", name_of(info.server_signature_scheme))
    if info.client_signature_scheme is not None:
        yield from _line("ours", name_of(info.client_signature_scheme))
    if info.server_certificate_compression is not None:
        yield from _line(
            "compressed", f"certificates, {name_of(info.server_certificate_compression)}"
        )


def _staple(findings: Findings) -> Iterator[str]:
    """What the server stapled: what became of it, and what it says."""
    der, info = findings.ocsp_response, findings.info
    verified = None if info is None else info.staple
    if der is None:
        if findings.tells_staple:
            yield from _line("staple", "none")
        return
    told = ocsp_answer(der, findings.chain[0])
    if verified is not None:
        said = f"verified, signed by {verified.signer}"
    else:
        said = "refused" if findings.error is not None else "not verified"
    if told.error is not None:
        yield from _line("staple", f"{said}; {told.error}")
        return
    status = told.status or "about another certificate"
    if told.revoked_at is not None:
        reason = f" ({told.reason})" if told.reason else ""
        status = f"revoked on {_date(told.revoked_at)}{reason}"
    yield from _line("staple", f"{status}; {said}")
    spans = [
        f"{words} {_date(moment)}"
        for words, moment in (
            ("produced", told.produced_at),
            ("this update", told.this_update),
            ("next update", told.next_update),
        )
        if moment is not None
    ]
    yield from _line("", ", ".join(spans))
    for text in _promises(told.timestamps, told.timestamps_error):
        yield from _line("", f"SCTs: {text}")


def _promises(found: tuple[Timestamp, ...], error: str | None) -> Iterator[str]:
    """What there is to say of timestamps of logs."""
    if error is not None:
        yield f"cannot be read: {error}"
    if found:
        yield f"{len(found)}, not verified"
    for timestamp in found[:_TIMESTAMPS]:
        if timestamp.log_id is None or timestamp.moment is None:
            yield f"v{timestamp.version}, which is not supported"
            continue
        log = base64.b64encode(timestamp.log_id).decode()
        yield f"{_date(timestamp.moment)}, log {log}, {name_of(timestamp.scheme)}"
    if len(found) > _TIMESTAMPS:
        yield f"and {len(found) - _TIMESTAMPS} more"


def _offer(offer: Offer) -> Iterator[str]:
    word = {True: "accepted", False: "not accepted", None: "not known"}[offer.accepted]
    fault = "" if offer.error is None else f"; stopped: {fault_text(offer.error)}"
    yield from _line(offer.version, f"{word}{fault}")
    if offer.suites:
        orders = {True: " (the server's order)", False: " (the client's order decides)", None: ""}
        yield from wrapped(f"suites{orders[offer.server_order]}", 2 * _INDENT)
        for number in offer.suites:
            yield from wrapped(suite_name(number), 3 * _INDENT)
    if offer.groups is not None:
        told = ", ".join(group_name(number) for number in offer.groups) or "none"
        yield from wrapped(f"{'groups':{_LABEL - 2}}{told}", 2 * _INDENT, _LABEL - 2)


def _certificates(chain: tuple[bytes, ...], most: int) -> Iterator[str]:
    for number, der in enumerate(chain[:most]):
        try:
            certificate = read(der)
        except ValueError as error:
            yield from wrapped(f"{number} cannot be read: {harmless(str(error))}", 2 * _INDENT, 2)
            continue
        yield from wrapped(f"{number} {harmless(certificate.subject or '(no name)')}", 2 * _INDENT)
        for label, text in _about(certificate):
            yield from wrapped(f"{label:{_LABEL - 4}}{text}", 3 * _INDENT, _LABEL - 4)
    if len(chain) > most:
        yield f"{' ' * 2 * _INDENT}and {len(chain) - most} more"


def _about(certificate: CertificateInfo) -> Iterator[tuple[str, str]]:
    yield "issuer", harmless(certificate.issuer or "(no name)")
    names = [*_names(certificate)]
    if names:
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        yield "names", ", ".join(harmless(name) for name in names[:_NAMES]) + more
    validity = f"{_date(certificate.not_before)} to {_date(certificate.not_after)}"
    yield "valid", f"{validity} ({_left(certificate)})"
    bits = f", {certificate.key_bits} bits" if certificate.key_bits else ""
    yield "key", f"{harmless(certificate.key_type)}{bits}"
    yield "SHA-256", certificate.sha256
    yield "its key", certificate.spki_sha256
    try:
        promises = [*_promises(timestamps_of(certificate.der), None)]
    except ValueError as error:
        promises = [*_promises((), str(error))]
    yield from zip(("SCTs", *([""] * _TIMESTAMPS), ""), promises, strict=False)


def _names(certificate: CertificateInfo) -> Iterator[str]:
    yield from certificate.dns_names
    yield from certificate.ip_addresses
    yield from certificate.email_addresses
    yield from certificate.uris


def _left(certificate: CertificateInfo) -> str:
    days = days_left(certificate)
    if days < 0:
        return "expired"
    return f"{days} day{'' if days == 1 else 's'} left"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """The verdict, and what explains it."""
    style = Style.GOOD if verdict.outcome is Outcome.GOOD else Style.BAD
    label = paint("verdict", Style.LABEL, sys.stdout)
    word = paint(verdict.outcome.word, style, sys.stdout)
    yield f"{' ' * _INDENT}{label}{' ' * (_LABEL - len('verdict'))}{word}"
    for line in verdict.explanation:
        yield from wrapped(harmless(line, 2000), 2 * _INDENT, 2)


def _subject(der: bytes) -> str:
    try:
        return read(der).subject or "(no name)"
    except ValueError:
        return "(cannot be read)"


def fault_text(error: OSError) -> str:
    """An error in words."""
    return error.strerror or str(error)


def _date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def name_of(number: int | None) -> str:
    """The name of a suite, group, signature scheme or algorithm, or its number."""
    if number is None:
        return "not told"
    return number.name if isinstance(number, IntEnum) else f"0x{number:04X}"


def protocol_name(protocol: NextProtocol | bytes | None) -> str | None:
    """A protocol of ALPN as text."""
    if protocol is None:
        return None
    data = protocol.value if isinstance(protocol, NextProtocol) else protocol
    return data.decode("ascii", "backslashreplace")
