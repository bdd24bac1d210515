"""The findings of `polytls inspect` as JSON, for programs.

docs/inspect.schema.json has the schema; docs/cli.md says what the fields mean.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from .. import __version__
from ..certificates import read
from ..constants import ECHStatus
from ..errors import ECHRejected, Responsible
from ..info import ConnectionInfo
from .evidence import OCSPAnswer, Timestamp, ocsp_answer, timestamps_of
from .findings import Findings
from .offers import Offer, group_name, suite_name
from .report import fault_text, name_of, protocol_name
from .targets import CertificateFile, Target
from .verdict import Verdict, days_left, worst

__all__ = ["as_json"]

#: The version of the document: what is there keeps its meaning; more may come.
_FORMAT: Final = 1

_RESPONSIBLE: Final = {
    Responsible.YOU: "you",
    Responsible.PEER: "server",
    Responsible.ADMINISTRATOR: "administrator",
}


def as_json(results: Sequence[tuple[Findings, Verdict]]) -> str:
    """The document of all targets."""
    document = {
        "format": _FORMAT,
        "polytls": __version__,
        "results": [_result(findings, verdict) for findings, verdict in results],
        "exit_code": worst([verdict for _, verdict in results]).exit_code,
    }
    # The one control character that it leaves as it is.
    return json.dumps(document, indent=2).replace("\x7f", "\\u007f")


def _result(findings: Findings, verdict: Verdict) -> dict[str, Any]:
    info, resumption = findings.info, findings.resumption_fault
    verified = None if info is None else info.verified_chain
    return {
        "target": _target(findings.target),
        "proxy": findings.proxy,
        "addresses": [
            {
                "address": attempt.address,
                "port": attempt.port,
                "error": None if attempt.fault is None else fault_text(attempt.fault),
            }
            for attempt in findings.attempts
        ],
        "stage": findings.stage.value,
        "timings": {
            step: findings.timings.get(step)
            for step in ("resolve", "connect", "proxy", "starttls", "handshake")
        },
        "connection": None if info is None else _connection(info),
        "resumption": {
            "resumed": findings.resumed,
            "error": None if resumption is None else fault_text(resumption),
        },
        "ech": _ech(findings),
        "staple": _staple(findings),
        "offers": None if findings.offers is None else [_offer(offer) for offer in findings.offers],
        "chain": [_certificate(der) for der in findings.chain],
        "verified_chain": None if verified is None else [_certificate(der) for der in verified],
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


def _target(target: Target | CertificateFile) -> dict[str, Any]:
    if isinstance(target, CertificateFile):
        nothing = dict.fromkeys(("host", "port", "server_hostname", "starttls"))
        return {"file": target.label, **nothing}
    return {
        "file": None,
        "host": target.host,
        "port": target.port,
        "server_hostname": target.server_hostname,
        "starttls": target.starttls,
    }


def _connection(info: ConnectionInfo) -> dict[str, Any]:
    numbers = {
        name: None if number is None else name_of(number)
        for name, number in (
            ("server_signature_scheme", info.server_signature_scheme),
            ("client_signature_scheme", info.client_signature_scheme),
            ("server_certificate_compression", info.server_certificate_compression),
            ("client_certificate_compression", info.client_certificate_compression),
        )
    }
    return {
        "implementation": info.implementation,
        "version": info.version.value if info.version else None,
        "suite": None if info.cipher is None else name_of(info.cipher),
        "group": None if info.group is None else name_of(info.group),
        "alpn": protocol_name(info.alpn),
        "server_name": info.server_name,
        **numbers,
        "certificate_compression_offered": info.certificate_compression_offered,
        "early_data_offered": info.early_data_offered,
        "hello_retry_request": info.hello_retry_request,
        "handshake_bytes_sent": info.handshake_bytes_sent,
        "handshake_bytes_received": info.handshake_bytes_received,
        "handshake_round_trips": info.handshake_round_trips,
    }


def _offer(offer: Offer) -> dict[str, Any]:
    suites, groups = offer.suites, offer.groups
    return {
        "version": offer.version,
        "accepted": offer.accepted,
        "error": None if offer.error is None else fault_text(offer.error),
        "suites": None if suites is None else [suite_name(number) for number in suites],
        "server_order": offer.server_order,
        "groups": None if groups is None else [group_name(number) for number in groups],
    }


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
            kind: [*getattr(certificate, kind)]
            for kind in ("dns_names", "ip_addresses", "email_addresses", "uris")
        },
        "not_before": _moment(certificate.not_before),
        "not_after": _moment(certificate.not_after),
        "days_left": days_left(certificate),
        "serial_number": f"{certificate.serial_number:x}",
        "key_type": certificate.key_type,
        "key_bits": certificate.key_bits,
        "is_authority": certificate.is_authority,
        "sha256": certificate.sha256,
        "spki_sha256": certificate.spki_sha256,
        **_scts_of(der),
    }


def _ech(findings: Findings) -> dict[str, Any]:
    rejected = findings.error if isinstance(findings.error, ECHRejected) else None
    status = findings.info.ech if findings.info else rejected and ECHStatus.REJECTED
    retry = rejected.retry_configs if rejected else None
    return {
        "status": status.value if status else None,
        "public_name": rejected.public_name if rejected else None,
        "retry_configs": None if retry is None else base64.b64encode(retry).decode(),
    }


def _staple(findings: Findings) -> dict[str, Any]:
    der, info = findings.ocsp_response, findings.info
    verified = None if info is None else info.staple
    told = OCSPAnswer() if der is None else ocsp_answer(der, findings.chain[0])
    moments = ("revoked_at", "produced_at", "this_update", "next_update")
    return {
        "stapled": True if der is not None else False if findings.tells_staple else None,
        "der": None if der is None else base64.b64encode(der).decode(),
        "verified": None if der is None else verified is not None,
        "signer": None if verified is None else verified.signer,
        "error": told.error,
        "status": told.status,
        "reason": told.reason,
        **{name: _moment(getattr(told, name)) for name in moments},
        "scts": [_sct(timestamp) for timestamp in told.timestamps],
        "scts_error": told.timestamps_error,
    }


def _scts_of(der: bytes) -> dict[str, Any]:
    try:
        found = timestamps_of(der)
    except ValueError as error:
        return {"scts": [], "scts_error": str(error)}
    return {"scts": [_sct(timestamp) for timestamp in found], "scts_error": None}


def _sct(timestamp: Timestamp) -> dict[str, Any]:
    log_id, scheme = timestamp.log_id, timestamp.scheme
    return {
        "version": timestamp.version,
        "log_id": None if log_id is None else base64.b64encode(log_id).decode(),
        "timestamp": _moment(timestamp.moment),
        "signature_scheme": None if scheme is None else name_of(scheme),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
