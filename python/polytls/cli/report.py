"""The findings of `polytls inspect` as text and as JSON. Every text of the server's is escaped."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from ..certificates import read
from ..constants import CipherSuite, NamedGroup, NextProtocol
from ..errors import Responsible
from ..info import CertificateInfo, ConnectionInfo
from .findings import Findings
from .verdict import Outcome, Verdict
from .words import Style, harmless, paint, wrapped

__all__ = ["as_json", "as_text"]

#: The version of the JSON document: what is there keeps its meaning; more may come.
_FORMAT: Final = 1
_LABEL: Final = 13
_INDENT: Final = 2
#: Names and certificates that are shown.
_NAMES: Final = 8
_CERTIFICATES: Final = 10

_RESPONSIBLE: Final = {
    Responsible.YOU: "you",
    Responsible.PEER: "server",
    Responsible.ADMINISTRATOR: "administrator",
}


# --- text ---


def as_text(findings: Findings, verdict: Verdict) -> Iterator[str]:
    """The lines for a person."""
    target = findings.target
    as_name = target.server_hostname
    asked = f" as {as_name}" if as_name != target.host else ""
    service = f", {target.starttls} with STARTTLS" if target.starttls else ""
    head = harmless(f"{_joined(target.host, target.port)}{asked}{service}")
    yield paint(head, Style.HEAD, sys.stdout)
    for attempt in findings.attempts:
        told = "connected" if attempt.fault is None else _fault(attempt.fault)
        yield from _line("address", f"{attempt.address}: {told}")
    if findings.info is not None:
        yield from _facts(findings, findings.info)
    yield from _chain(findings.chain)
    yield from _verdict(verdict)


def _line(label: str, text: str) -> Iterator[str]:
    first, *more = wrapped(f"{label:{_LABEL}}{harmless(text)}", _INDENT, _LABEL)
    start = len(label) + _INDENT
    yield f"{' ' * _INDENT}{paint(label, Style.LABEL, sys.stdout)}{first[start:]}"
    yield from more


def _facts(findings: Findings, info: ConnectionInfo) -> Iterator[str]:
    yield from _line("version", info.version.value if info.version else "not told")
    yield from _line("suite", _name(info.cipher))
    yield from _line("group", _name(info.group))
    yield from _line("ALPN", _protocol(info.alpn) or "none")
    if findings.resumption_fault is not None:
        again = f"unknown: the second connection failed: {_fault(findings.resumption_fault)}"
    else:
        words = {True: "the second connection resumed the first", False: "none", None: "not known"}
        again = words[findings.resumed]
    yield from _line("resumption", again)
    if info.verified_chain:
        yield from _line("verified", " <- ".join(_subject(der) for der in info.verified_chain))


def _chain(chain: tuple[bytes, ...]) -> Iterator[str]:
    if not chain:
        return
    yield from _line("chain", f"{len(chain)} certificate{'s' if len(chain) > 1 else ''} presented")
    for number, der in enumerate(chain[:_CERTIFICATES]):
        try:
            certificate = read(der)
        except ValueError as error:
            yield from wrapped(f"{number} cannot be read: {harmless(str(error))}", 2 * _INDENT, 2)
            continue
        yield from wrapped(f"{number} {harmless(certificate.subject or '(no name)')}", 2 * _INDENT)
        for label, text in _about(certificate):
            yield from wrapped(f"{label:{_LABEL - 4}}{text}", 3 * _INDENT, _LABEL - 4)
    if len(chain) > _CERTIFICATES:
        yield f"{' ' * 2 * _INDENT}and {len(chain) - _CERTIFICATES} more"


def _about(certificate: CertificateInfo) -> Iterator[tuple[str, str]]:
    yield "issuer", harmless(certificate.issuer or "(no name)")
    names = [*_names(certificate)]
    if names:
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        yield "names", ", ".join(harmless(name) for name in names[:_NAMES]) + more
    yield "valid", f"{_date(certificate.not_before)} to {_date(certificate.not_after)}"
    bits = f", {certificate.key_bits} bits" if certificate.key_bits else ""
    yield "key", f"{harmless(certificate.key_type)}{bits}"
    yield "SHA-256", certificate.sha256
    yield "its key", certificate.spki_sha256


def _names(certificate: CertificateInfo) -> Iterator[str]:
    yield from certificate.dns_names
    yield from certificate.ip_addresses
    yield from certificate.email_addresses
    yield from certificate.uris


def _verdict(verdict: Verdict) -> Iterator[str]:
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


def _fault(error: OSError) -> str:
    return error.strerror or str(error)


def _date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _name(number: CipherSuite | NamedGroup | int | None) -> str:
    if number is None:
        return "not told"
    return number.name if isinstance(number, CipherSuite | NamedGroup) else f"0x{number:04X}"


def _protocol(protocol: NextProtocol | bytes | None) -> str | None:
    if protocol is None:
        return None
    data = protocol.value if isinstance(protocol, NextProtocol) else protocol
    return data.decode("ascii", "backslashreplace")


# --- JSON ---


def as_json(findings: Findings, verdict: Verdict) -> str:
    """The document for programs; docs/cli.md says what is in it."""
    target, info = findings.target, findings.info
    resumption = findings.resumption_fault
    document: dict[str, Any] = {
        "format": _FORMAT,
        "target": {
            "host": target.host,
            "port": target.port,
            "server_hostname": target.server_hostname,
            "starttls": target.starttls,
        },
        "addresses": [
            {
                "address": attempt.address,
                "port": attempt.port,
                "error": None if attempt.fault is None else _fault(attempt.fault),
            }
            for attempt in findings.attempts
        ],
        "stage": findings.stage.value,
        "connection": None
        if info is None
        else {
            "implementation": info.implementation,
            "version": info.version.value if info.version else None,
            "suite": None if info.cipher is None else _name(info.cipher),
            "group": None if info.group is None else _name(info.group),
            "alpn": _protocol(info.alpn),
            "server_name": info.server_name,
        },
        "resumption": {
            "resumed": findings.resumed,
            "error": None if resumption is None else _fault(resumption),
        },
        "chain": [_certificate(der) for der in findings.chain],
        "verified_chain": None
        if info is None or info.verified_chain is None
        else [_certificate(der) for der in info.verified_chain],
        "verdict": {
            "outcome": verdict.outcome.word,
            "reason": verdict.reason,
            "responsible": None
            if verdict.responsible is None
            else _RESPONSIBLE[verdict.responsible],
            "message": verdict.message,
            "explanation": [*verdict.explanation],
            "alert": verdict.alert,
            "certificate": verdict.index,
        },
        "exit_code": verdict.outcome.exit_code,
    }
    # The one control character that it leaves as it is.
    return json.dumps(document, indent=2).replace("\x7f", "\\u007f")


def _certificate(der: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(der).decode()
    try:
        certificate = read(der)
    except ValueError as error:
        return {"der": encoded, "error": str(error)}
    return {
        "der": encoded,
        "error": None,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "common_name": certificate.common_name,
        **{
            kind: _list(getattr(certificate, kind))
            for kind in ("dns_names", "ip_addresses", "email_addresses", "uris")
        },
        "not_before": certificate.not_before.astimezone(UTC).isoformat(),
        "not_after": certificate.not_after.astimezone(UTC).isoformat(),
        "serial_number": f"{certificate.serial_number:x}",
        "key_type": certificate.key_type,
        "key_bits": certificate.key_bits,
        "is_authority": certificate.is_authority,
        "sha256": certificate.sha256,
        "spki_sha256": certificate.spki_sha256,
    }


def _list(items: Iterable[str]) -> list[str]:
    return [*items]
