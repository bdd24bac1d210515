"""Alerts in the clear: what ends a handshake before records are encrypted, and what says so.

Where RFC 8446 or RFC 5246 fixes the alert, it is that one; where neither does, any of those that
the case names. `test_sealed_alerts.py` goes on where records are encrypted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    ClientAuthentication,
    PeerIncompatible,
    PeerMisbehaved,
    TLSError,
    TLSVersion,
    WantReadError,
)
from polytls.testing.conformance.hello import (
    CERTIFICATE_AUTHORITIES,
    KEY_SHARE,
    SIGNATURE_ALGORITHMS,
    SUPPORTED_GROUPS,
    SUPPORTED_VERSIONS,
    Hello,
)
from polytls.testing.conformance.sealing import ALERT, DATA, HANDSHAKE, record, split
from polytls.testing.conformance.selection import needs

#: The most that a record in the clear may hold (RFC 8446 5.1).
LONGEST = 1 << 14


def alert_in(flight: bytes) -> AlertDescription:
    """The fatal alert, in the clear, that a flight ends with; it is the only one."""
    (alert,) = (one[5:] for one in split(flight) if one[0] == ALERT)
    assert alert[:-1] == b"\2"
    return AlertDescription(alert[-1])


def ended(lab: Any, side: Any, flight: bytes) -> tuple[TLSError, AlertDescription]:
    """The error by which `flight` ends the handshake of `side`, and the alert it sends for it."""
    side.process_incoming(flight)
    with pytest.raises((PeerMisbehaved, PeerIncompatible)) as caught:
        side.do_handshake()
    return caught.value, alert_in(lab.outgoing(side))


# --- records ---

#: The beginning of a message, in a record of its own: what comes behind it, and what it is told by.
BEHIND: Final[dict[str, tuple[bytes, AlertDescription]]] = {
    "a record above 2^14 (8446 5.1)": (
        record(HANDSHAKE, bytes(LONGEST + 1)),
        AlertDescription.record_overflow,
    ),
    "a record as long as TLS 1.2 encrypts": (
        record(HANDSHAKE, bytes(LONGEST + 2048)),
        AlertDescription.record_overflow,
    ),
    "a content type that there is not (8446 5)": (
        record(99, b"data"),
        AlertDescription.unexpected_message,
    ),
    "heartbeat, which nobody agreed on": (
        record(24, b"\x01\x00\x00" + bytes(16)),
        AlertDescription.unexpected_message,
    ),
    "data (8446 5.1)": (record(DATA, bytes(100)), AlertDescription.unexpected_message),
}


@pytest.fixture(params=["client", "server"])
def begun(request: pytest.FixtureRequest, lab: Any) -> Any:
    """A side that has had the first bytes of its peer's hello, and nothing that answers them."""
    side = lab.begun(request.param)
    side.process_incoming(record(HANDSHAKE, b"\x02" if request.param == "client" else b"\x01"))
    with pytest.raises(WantReadError):
        side.do_handshake()
    assert not lab.outgoing(side)
    return side


@pytest.mark.parametrize("what", BEHIND)
def test_a_record_that_may_not_come_is_answered_by_its_alert(
    lab: Any, begun: Any, what: str
) -> None:
    flight, alert = BEHIND[what]
    assert ended(lab, begun, flight)[1] is alert


@pytest.mark.parametrize("kind", [ALERT, HANDSHAKE], ids=["alert", "handshake"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_an_empty_record_is_an_unexpected_message(lab: Any, side: str, kind: int) -> None:
    """RFC 8446 5.1 and 5.4: only data may be empty."""
    victim = lab.begun(side)
    assert ended(lab, victim, record(kind, b""))[1] is AlertDescription.unexpected_message


@pytest.mark.parametrize("side", ["client", "server"])
def test_half_an_alert_is_a_decode_error(lab: Any, side: str) -> None:
    victim = lab.begun(side)
    assert ended(lab, victim, record(ALERT, b"\x02"))[1] is AlertDescription.decode_error


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_message_that_is_too_large_is_answered(lab: Any, side: str) -> None:
    """No RFC says by which alert: OpenSSL and BoringSSL, or else rustls and Go, do the same."""
    victim = lab.begun(side)
    kind = b"\x02" if side == "client" else b"\x01"
    victim.process_incoming(record(HANDSHAKE, kind + b"\xff\xff\xff"))
    outcome: type[TLSError] = WantReadError
    for _ in range(20):
        victim.process_incoming(record(HANDSHAKE, bytes(10_000)))
        with pytest.raises((WantReadError, PeerMisbehaved)) as caught:
            victim.do_handshake()
        outcome = type(caught.value)
        if outcome is PeerMisbehaved:
            break
    assert outcome is PeerMisbehaved
    assert alert_in(lab.outgoing(victim)) in {
        AlertDescription.illegal_parameter,
        AlertDescription.decode_error,
    }


# --- ClientHello ---


def with_extension(kind: int, content: bytes) -> Callable[[Hello], object]:
    """Put it first: pre_shared_key would have to be last."""
    return lambda hello: hello.extensions.insert(0, (kind, content))


def without(*kinds: int) -> Callable[[Hello], object]:
    return lambda hello: hello.without(*kinds)


def having(**fields: Any) -> Callable[[Hello], object]:
    def change(hello: Hello) -> None:
        for name, value in fields.items():
            setattr(hello, name, value)

    return change


def repeat_extension(hello: Hello) -> None:
    hello.extensions.append(hello.extensions[0])


def replace(kind: int, content: bytes) -> Callable[[Hello], object]:
    def change(hello: Hello) -> None:
        hello.extensions = [
            (one, content if one == kind else before) for one, before in hello.extensions
        ]

    return change


#: What is wrong with a ClientHello of TLS 1.3, and what it is told by.
CLIENT_HELLOS: Final[dict[str, tuple[Callable[[Hello], object], AlertDescription]]] = {
    "without key_share (8446 9.2)": (without(KEY_SHARE), AlertDescription.missing_extension),
    "without supported_groups (8446 9.2)": (
        without(SUPPORTED_GROUPS),
        AlertDescription.missing_extension,
    ),
    "without either (8446 9.2)": (
        without(SUPPORTED_GROUPS, KEY_SHARE),
        AlertDescription.missing_extension,
    ),
    "without signature_algorithms (8446 9.2)": (
        without(SIGNATURE_ALGORITHMS),
        AlertDescription.missing_extension,
    ),
    "legacy_version of SSL 3.0 (8446 D.5)": (
        having(version=0x0300),
        AlertDescription.protocol_version,
    ),
    "supported_versions of none that is spoken (8446 4.2.1)": (
        replace(SUPPORTED_VERSIONS, b"\x02\x03\x02"),
        AlertDescription.protocol_version,
    ),
    "an extension twice (8446 4.2)": (repeat_extension, AlertDescription.illegal_parameter),
    "compression (8446 4.1.2)": (
        having(compression=b"\x01\x00"),
        AlertDescription.illegal_parameter,
    ),
    "no suite in common (8446 4.1.1)": (
        having(suites=b"\x0a\x0a"),
        AlertDescription.handshake_failure,
    ),
    "no authority in certificate_authorities (8446 4.2.4)": (
        with_extension(CERTIFICATE_AUTHORITIES, b"\0\0"),
        AlertDescription.decode_error,
    ),
    "an extension cut short": (
        replace(SUPPORTED_GROUPS, b"\x00\x04\x00\x1d"),
        AlertDescription.decode_error,
    ),
}


@needs("all versions")
@pytest.mark.parametrize("what", CLIENT_HELLOS)
def test_a_client_hello_that_is_wrong_is_answered_by_its_alert(lab: Any, what: str) -> None:
    change, alert = CLIENT_HELLOS[what]
    pair = lab.pair()
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    hello = Hello.of(lab.outgoing(pair.client))
    change(hello)
    assert ended(lab, pair.server, hello.record())[1] is alert


@pytest.mark.parametrize("spoken", [0x0300, 0x0301, 0x0302], ids=["SSL 3.0", "1.0", "1.1"])
def test_a_client_of_an_older_version_is_told_so(lab: Any, spoken: int) -> None:
    """RFC 8446 appendix D.2; such a client knows few of the extensions."""
    pair = lab.pair()
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    hello = Hello.of(lab.outgoing(pair.client))
    hello.version, hello.extensions = spoken, []
    hello.suites = b"\xc0\x2b\xc0\x2f\x00\x2f"
    error, alert = ended(lab, pair.server, hello.record())
    assert alert is AlertDescription.protocol_version
    assert isinstance(error, PeerIncompatible)


@needs("all versions")
def test_a_client_of_tls12_is_told_of_no_extension_that_came_with_tls13(lab: Any) -> None:
    """RFC 5246 has no missing_extension: nothing is in common."""
    pair = lab.pair(lab.client(version=TLSVersion.TLSv1_2))
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    hello = Hello.of(lab.outgoing(pair.client)).without(SUPPORTED_VERSIONS)
    replace(SUPPORTED_GROUPS, b"\0\x02\x0a\x0a")(hello)
    assert ended(lab, pair.server, hello.record())[1] is AlertDescription.handshake_failure


# --- ServerHello ---

#: What is wrong with a ServerHello of TLS 1.3, and what it is told by.
SERVER_HELLOS: Final[dict[str, tuple[Callable[[Hello], object], AlertDescription]]] = {
    "legacy_version of SSL 3.0 (8446 D.5)": (
        having(version=0x0300),
        AlertDescription.protocol_version,
    ),
    "a version that was not offered (8446 4.2.1)": (
        replace(SUPPORTED_VERSIONS, b"\x03\x05"),
        AlertDescription.illegal_parameter,
    ),
    "another session id (8446 4.1.3)": (
        having(session=bytes(32)),
        AlertDescription.illegal_parameter,
    ),
    "a suite that was not offered (8446 4.1.3)": (
        having(suites=b"\x13\x05"),
        AlertDescription.illegal_parameter,
    ),
    "compression (8446 4.1.3)": (having(compression=b"\x01"), AlertDescription.illegal_parameter),
    "an extension twice (8446 4.2)": (repeat_extension, AlertDescription.illegal_parameter),
    "an extension that nobody asked for (8446 4.2)": (
        with_extension(0x5A5A, b""),
        AlertDescription.unsupported_extension,
    ),
    "without key_share (8446 9.2)": (without(KEY_SHARE), AlertDescription.missing_extension),
}


@pytest.mark.parametrize("what", SERVER_HELLOS)
def test_a_server_hello_that_is_wrong_is_answered_by_its_alert(lab: Any, what: str) -> None:
    change, alert = SERVER_HELLOS[what]
    pair = lab.pair(lab.client(version=TLSVersion.TLSv1_3))
    for side in (pair.client, pair.server):
        with pytest.raises(WantReadError):
            side.do_handshake()
        flight = lab.outgoing(side)
        if side is pair.client:
            pair.server.process_incoming(flight)
    hello = Hello.of(flight)
    change(hello)
    assert ended(lab, pair.client, hello.record())[1] is alert


# --- without a certificate ---


@needs("client authentication")
@pytest.mark.parametrize(
    ("spoken", "alert"),
    [
        # RFC 5246 7.4.6.
        (TLSVersion.TLSv1_2, AlertDescription.handshake_failure),
        # RFC 8446 4.4.2.4.
        (TLSVersion.TLSv1_3, AlertDescription.certificate_required),
    ],
    ids=["TLSv1.2", "TLSv1.3"],
)
def test_a_client_without_the_certificate_that_is_required_is_told_so(
    lab: Any, spoken: TLSVersion, alert: AlertDescription
) -> None:
    server = lab.server(
        client_authentication=ClientAuthentication.REQUIRED, trust_store=lab.ca.trust_store()
    )
    pair = lab.pair(lab.client(version=spoken), server)
    lab.settle(pair)
    with pytest.raises(AlertReceived) as caught:
        pair.client.read(1)
    assert caught.value.alert is alert
