"""Alerts where records are encrypted: what a peer with the right keys may not say, and is told.

The peer does its part of the handshake by `ssl`; what it says in the middle of it, or after it, is
sealed here. The alert must be sealed as well, with the keys that the peer expects: it is opened
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from polytls import (
    AlertDescription,
    CertificateVerificationError,
    NamedGroup,
    PeerIncompatible,
    PeerMisbehaved,
    TLSVersion,
    WantReadError,
)
from polytls.insecure import SecurityWarning
from polytls.testing.conformance.forger import Forger, direction13, secrets_in
from polytls.testing.conformance.hello import Hello
from polytls.testing.conformance.sealing import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    DATA,
    HANDSHAKE,
    record,
    split,
)
from polytls.testing.conformance.selection import needs

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3

FINISHED, KEY_UPDATE, CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY = 20, 24, 11, 13, 15
NEW_SESSION_TICKET, ENCRYPTED_EXTENSIONS = 4, 8


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3) + body


class Scene:
    """The side under test, and its peer."""

    def __init__(self, lab: Any, role: str, version: TLSVersion, folder: Path) -> None:
        self.lab, self.role, self.version = lab, role, version
        if role == "client":
            self.victim = lab.client(version=version).create_buffer(lab.host)
        else:
            self.victim = lab.server().create_buffer()
        self.forger = Forger(lab, "server" if role == "client" else "client", version, folder)
        #: The messages of the peer that it would send encrypted, in order.
        self.messages: list[bytes] = []
        self._established = False

    def _step(self) -> bytes:
        try:
            self.victim.do_handshake()
        except WantReadError:
            pass
        else:
            self._established = True
        return bytes(self.lab.outgoing(self.victim))

    def begin(self) -> None:
        """Go on to the first encrypted record that the peer would send, which is kept back."""
        flight = self.forger.go_on()
        while not (sealed := [one for one in split(flight) if one[0] == DATA]):
            if flight:
                self.victim.process_incoming(flight)
            flight = self.forger.go_on(self._step())
        self.victim.process_incoming(b"".join(one for one in split(flight) if one[0] != DATA))
        opening = self.forger.keys(self.forger.role, handshake=True)
        stream = b"".join(opening.open(one)[1] for one in sealed)
        while stream:
            length = 4 + int.from_bytes(stream[1:4])
            self.messages.append(stream[:length])
            stream = stream[length:]
        self.ours = self.forger.keys(self.forger.role, handshake=True)
        # A server has gone on to the keys of the data, with Finished.
        self.theirs = self.forger.keys(self.role, handshake=self.role == "client")

    def connect(self) -> None:
        """Do the handshake."""
        flight = self.forger.go_on()
        while not (self.forger.done and self._established):
            if flight:
                self.victim.process_incoming(flight)
            answer = self._step()
            if self.forger.done:
                self.forger.unread += answer
                flight = b""
            else:
                flight = self.forger.go_on(answer)
        self.ours, self.theirs = (
            self.forger.keys(self.forger.role),
            self.forger.keys(self.role),
        )
        self.forget()

    def forget(self) -> None:
        """Take what the side under test has sent by now: tickets."""
        with pytest.raises(WantReadError):
            self.victim.read(1)
        for one in split(self.forger.unread + bytes(self.lab.outgoing(self.victim))):
            # TLS 1.2 has its Finished, and what goes before it, behind the other's Finished.
            if self.version is V13:
                assert self.theirs.open(one)[0] == HANDSHAKE

    def ended(self, stream: bytes) -> AlertDescription:
        """The alert that the side under test sends for `stream`, which ends the connection."""
        self.victim.process_incoming(stream)
        with pytest.raises((PeerMisbehaved, PeerIncompatible, CertificateVerificationError)):
            self.victim.read(100)
        alerts = []
        for one in split(bytes(self.lab.outgoing(self.victim))):
            if one[0] == CHANGE_CIPHER_SPEC:
                continue
            # A client may not have changed its own keys yet: OpenSSL does so with its Finished.
            plain = self.messages and self.role == "client" and one[0] == ALERT
            kind, content = (ALERT, one[5:]) if plain else self.theirs.open(one)
            if kind == ALERT and content[0] == 2:
                alerts.append(AlertDescription(content[1]))
            else:
                assert kind in {ALERT, HANDSHAKE}
        (alert,) = alerts
        return alert


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> Any:
    """The side under test."""
    return request.param


@pytest.fixture
def begun(lab: Any, role: str, tmp_path: Path) -> Iterator[Scene]:
    """A handshake of TLS 1.3 whose next record is the peer's first that is encrypted."""
    scene = Scene(lab, role, V13, tmp_path)
    with closing(scene.forger):
        scene.begin()
        yield scene


@pytest.fixture
def established(lab: Any, role: str, version: TLSVersion, tmp_path: Path) -> Iterator[Scene]:
    """A connection."""
    scene = Scene(lab, role, version, tmp_path)
    with closing(scene.forger):
        scene.connect()
        yield scene


# --- records ---

Forge = Callable[[Scene], bytes]


def sealed(kind: int, content: bytes) -> Forge:
    return lambda scene: scene.ours.seal(kind, content)


def within_a_message(kind: int, content: bytes) -> Forge:
    """This behind the first bytes of a message that may come."""
    return lambda scene: (
        scene.ours.seal(HANDSHAKE, first_bytes(scene)) + scene.ours.seal(kind, content)
    )


def first_bytes(scene: Scene) -> bytes:
    if scene.messages:
        return scene.messages[0][:3]
    return bytes([KEY_UPDATE])


#: What is wrong with a record of TLS 1.3, in the handshake and after it, and what it is told by.
RECORDS: Final[dict[str, tuple[Forge, AlertDescription]]] = {
    "nothing but padding (8446 5.4)": (
        sealed(0, bytes(20)),
        AlertDescription.unexpected_message,
    ),
    "an empty handshake record (8446 5.4)": (
        sealed(HANDSHAKE, b""),
        AlertDescription.unexpected_message,
    ),
    "an empty alert (8446 5.4)": (sealed(ALERT, b""), AlertDescription.unexpected_message),
    "half an alert": (sealed(ALERT, b"\2"), AlertDescription.decode_error),
    "a content type that there is not (8446 5)": (
        sealed(99, b"what is this"),
        AlertDescription.unexpected_message,
    ),
    "a protected ChangeCipherSpec (8446 5)": (
        sealed(CHANGE_CIPHER_SPEC, b"\1"),
        AlertDescription.unexpected_message,
    ),
    "data within a message (8446 5.1)": (
        within_a_message(DATA, b"data"),
        AlertDescription.unexpected_message,
    ),
    "an alert within a message (8446 5.1)": (
        within_a_message(ALERT, bytes([1, 90])),
        AlertDescription.unexpected_message,
    ),
    "a ciphertext above 2^14 + 256 (8446 5.2)": (
        lambda _: record(DATA, bytes((1 << 14) + 257)),
        AlertDescription.record_overflow,
    ),
    "a content above 2^14 (8446 5.4)": (
        lambda scene: scene.ours.seal(HANDSHAKE, first_bytes(scene) + bytes(1 << 14)),
        AlertDescription.record_overflow,
    ),
    "a ciphertext that does not open (8446 5.2)": (
        lambda _: record(DATA, bytes(100)),
        AlertDescription.bad_record_mac,
    ),
    "user_canceled without end": (
        lambda scene: b"".join(scene.ours.seal(ALERT, bytes([1, 90])) for _ in range(50)),
        AlertDescription.unexpected_message,
    ),
    "a message of an unknown kind (8446 4)": (
        sealed(HANDSHAKE, message(0xFE, b"")),
        AlertDescription.unexpected_message,
    ),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_wrong_record_in_the_handshake_is_answered_by_its_alert(begun: Scene, what: str) -> None:
    forge, alert = RECORDS[what]
    assert begun.ended(forge(begun)) is alert


@pytest.mark.parametrize("version", [V13], ids=["TLSv1.3"])
@pytest.mark.parametrize("what", RECORDS)
def test_a_wrong_record_after_the_handshake_is_answered_by_its_alert(
    established: Scene, what: str
) -> None:
    forge, alert = RECORDS[what]
    assert established.ended(forge(established)) is alert


#: What is wrong with a ticket, by its extensions and what it ends with, and what it is told by.
TICKETS: Final[dict[str, tuple[bytes, AlertDescription]]] = {
    "early_data twice (8446 4.2)": (
        b"\0\x10" + b"\0\x2a\0\4\0\0\0\0" * 2,
        AlertDescription.illegal_parameter,
    ),
    "an unknown extension twice (8446 4.2)": (
        b"\0\x08" + b"\x5a\x5a\0\0" * 2,
        AlertDescription.illegal_parameter,
    ),
    "cut short": (b"\0", AlertDescription.decode_error),
    "something behind it": (b"\0\0\0", AlertDescription.decode_error),
}


@pytest.mark.parametrize("role", ["client"], indirect=True)
@pytest.mark.parametrize("version", [V13], ids=["TLSv1.3"])
@pytest.mark.parametrize("what", TICKETS)
def test_a_ticket_that_is_wrong_is_answered_by_its_alert(established: Scene, what: str) -> None:
    extensions, alert = TICKETS[what]
    ticket = message(NEW_SESSION_TICKET, bytes(4) + b"\1\2\3\4\0\0\1\7" + extensions)
    assert established.ended(established.ours.seal(HANDSHAKE, ticket)) is alert


#: What is wrong with a record of TLS 1.2, after the handshake.
RECORDS_OF_TLS12: Final[dict[str, tuple[Forge, AlertDescription]]] = {
    "a content type that there is not (5246 6)": (
        sealed(99, b"what is this"),
        AlertDescription.unexpected_message,
    ),
    "a ciphertext above 2^14 + 2048 (5246 6.2.3)": (
        lambda _: record(DATA, bytes((1 << 14) + 2049)),
        AlertDescription.record_overflow,
    ),
    "a content above 2^14 (5246 6.2.3)": (
        sealed(DATA, bytes((1 << 14) + 1)),
        AlertDescription.record_overflow,
    ),
    "a ciphertext that does not open (5246 6.2.3.3)": (
        lambda _: record(DATA, bytes(100)),
        AlertDescription.bad_record_mac,
    ),
    "a message that may not come": (
        sealed(HANDSHAKE, message(FINISHED, bytes(12))),
        AlertDescription.unexpected_message,
    ),
    "warnings without end": (
        lambda scene: b"".join(scene.ours.seal(ALERT, bytes([1, 90])) for _ in range(50)),
        AlertDescription.unexpected_message,
    ),
}


@needs("all versions")
@pytest.mark.parametrize("version", [V12], ids=["TLSv1.2"])
@pytest.mark.parametrize("what", RECORDS_OF_TLS12)
def test_a_wrong_record_of_tls12_is_answered_by_its_alert(established: Scene, what: str) -> None:
    forge, alert = RECORDS_OF_TLS12[what]
    assert established.ended(forge(established)) is alert


# --- in the handshake ---


def instead(kind: int, *replacement: bytes) -> Forge:
    """The peer's messages with others in place of that kind."""

    def forge(scene: Scene) -> bytes:
        messages = [
            part for one in scene.messages for part in (replacement if one[0] == kind else (one,))
        ]
        return b"".join(scene.ours.seal(HANDSHAKE, one) for one in messages)

    return forge


#: What comes of either peer in the handshake and may not.
IN_THE_HANDSHAKE: Final[dict[str, tuple[Forge, AlertDescription]]] = {
    "data before Finished (8446 5.1)": (
        sealed(DATA, b"data"),
        AlertDescription.unexpected_message,
    ),
    "ChangeCipherSpec of another value (8446 5)": (
        lambda _: record(CHANGE_CIPHER_SPEC, b"\2"),
        AlertDescription.unexpected_message,
    ),
    "ChangeCipherSpec without end (8446 5)": (
        lambda _: record(CHANGE_CIPHER_SPEC, b"\1") * 40,
        AlertDescription.unexpected_message,
    ),
    "a wrong Finished (8446 4.4.4)": (
        instead(FINISHED, message(FINISHED, bytes(48))),
        AlertDescription.decrypt_error,
    ),
    "KeyUpdate before Finished (8446 4.6.3)": (
        sealed(HANDSHAKE, message(KEY_UPDATE, b"\0")),
        AlertDescription.unexpected_message,
    ),
    "a change of keys within a record (8446 5.1)": (
        lambda scene: scene.ours.seal(HANDSHAKE, b"".join(scene.messages) + b"\x18"),
        AlertDescription.unexpected_message,
    ),
}


@pytest.mark.parametrize("what", IN_THE_HANDSHAKE)
def test_what_may_not_come_in_the_handshake_is_answered_by_its_alert(
    begun: Scene, what: str
) -> None:
    forge, alert = IN_THE_HANDSHAKE[what]
    assert begun.ended(forge(begun)) is alert


def test_a_message_that_is_too_large_is_answered(begun: Scene) -> None:
    """No RFC says by which alert."""
    stream = begun.ours.seal(HANDSHAKE, first_bytes(begun)[:1] + b"\xff\xff\xff")
    stream += b"".join(begun.ours.seal(HANDSHAKE, bytes(1000)) for _ in range(60))
    assert begun.ended(stream) in {
        AlertDescription.illegal_parameter,
        AlertDescription.decode_error,
        AlertDescription.unexpected_message,
    }


#: What a client gets of a server and may not.
OF_A_SERVER: Final[dict[str, tuple[Forge, AlertDescription]]] = {
    "an extension that nobody asked for (8446 4.2)": (
        instead(ENCRYPTED_EXTENSIONS, message(ENCRYPTED_EXTENSIONS, b"\0\x04\x5a\x5a\0\0")),
        AlertDescription.unsupported_extension,
    ),
    "an extension twice (8446 4.2)": (
        instead(
            ENCRYPTED_EXTENSIONS,
            message(ENCRYPTED_EXTENSIONS, b"\0\x08\x00\x00\0\0\x00\x00\0\0"),
        ),
        AlertDescription.illegal_parameter,
    ),
    "an extension of another message (8446 4.2)": (
        instead(
            ENCRYPTED_EXTENSIONS,
            message(ENCRYPTED_EXTENSIONS, b"\0\x06\x00\x2b\0\2\3\4"),
        ),
        AlertDescription.illegal_parameter,
    ),
    "a message cut short": (
        instead(ENCRYPTED_EXTENSIONS, message(ENCRYPTED_EXTENSIONS, b"\0")),
        AlertDescription.decode_error,
    ),
    "no certificate (8446 4.4.2.4)": (
        instead(CERTIFICATE, message(CERTIFICATE, bytes(4))),
        AlertDescription.decode_error,
    ),
    "no authority in certificate_authorities (8446 4.2.4)": (
        instead(
            ENCRYPTED_EXTENSIONS,
            message(ENCRYPTED_EXTENSIONS, b"\0\0"),
            message(
                CERTIFICATE_REQUEST,
                b"\0\0\x0e" + b"\0\x0d\0\4\0\2\4\3" + b"\0\x2f\0\2\0\0",
            ),
        ),
        AlertDescription.decode_error,
    ),
    "CertificateRequest without signature_algorithms (8446 4.3.2)": (
        instead(
            ENCRYPTED_EXTENSIONS,
            message(ENCRYPTED_EXTENSIONS, b"\0\0"),
            message(CERTIFICATE_REQUEST, b"\0\0\0"),
        ),
        AlertDescription.missing_extension,
    ),
    "a signature that is wrong (8446 4.4.3)": (
        lambda scene: instead(
            CERTIFICATE_VERIFY,
            *(one[:-1] + bytes([one[-1] ^ 1]) for one in scene.messages if one[0] == 15),
        )(scene),
        AlertDescription.decrypt_error,
    ),
    "Finished without a certificate": (
        instead(CERTIFICATE),
        AlertDescription.unexpected_message,
    ),
}


@pytest.mark.parametrize("role", ["client"], indirect=True)
@pytest.mark.parametrize("what", OF_A_SERVER)
def test_what_a_server_may_not_send_is_answered_by_its_alert(begun: Scene, what: str) -> None:
    forge, alert = OF_A_SERVER[what]
    assert begun.ended(forge(begun)) is alert


@pytest.mark.parametrize("role", ["server"], indirect=True)
def test_a_certificate_that_nobody_asked_for_is_an_unexpected_message(begun: Scene) -> None:
    forge = instead(FINISHED, message(CERTIFICATE, bytes(4)))
    assert begun.ended(forge(begun)) is AlertDescription.unexpected_message


# --- early data ---


@needs("early data", "key log")
def test_early_data_that_was_refused_may_not_come_within_a_message(
    lab: Any, tmp_path: Path
) -> None:
    """RFC 8446 5.1; behind a message it would be skipped (4.2.10)."""
    log = tmp_path / "secrets"
    with pytest.warns(SecurityWarning, match="key_log"):
        client = lab.client(early_data=True, key_log=log)
    known = lab.connect(client, lab.server(early_data=True))
    with pytest.raises(WantReadError):
        known.client.read(1)
    # A server that does not know the session.
    pair = lab.pair(client, lab.server(early_data=True))
    assert pair.client.write_early_data(b"early")
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    hello, *_, early = split(lab.outgoing(pair.client))
    assert early[0] == DATA
    pair.server.process_incoming(hello)
    with pytest.raises(WantReadError):
        pair.server.do_handshake()
    flight = lab.outgoing(pair.server)
    pair.client.process_incoming(flight)
    pair.client.do_handshake()
    secrets, suite = secrets_in(log), Hello.of(flight).suites
    ours = direction13(secrets["CLIENT_HANDSHAKE_TRAFFIC_SECRET"], suite)
    pair.server.process_incoming(ours.seal(HANDSHAKE, bytes([FINISHED, 0])) + early)
    with pytest.raises(PeerMisbehaved):
        pair.server.do_handshake()
    (sent,) = split(lab.outgoing(pair.server))
    theirs = direction13(secrets["SERVER_TRAFFIC_SECRET_0"], suite)
    told = bytes([2, AlertDescription.unexpected_message])
    assert theirs.open(sent) == (ALERT, told)


@needs("early data", "groups")
def test_a_client_whose_early_data_was_refused_by_another_hello_is_understood(lab: Any) -> None:
    """What comes behind HelloRetryRequest is in the clear again (RFC 8446 4.1.2)."""
    groups = [NamedGroup.secp256r1, NamedGroup.secp384r1]
    client = lab.client(early_data=True, groups=groups)
    known = lab.connect(client, lab.server(early_data=True))
    with pytest.raises(WantReadError):
        known.client.read(1)
    pair = lab.pair(client, lab.server(early_data=True, groups=groups[1:]))
    assert pair.client.write_early_data(b"early")
    for side in (pair.client, pair.server, pair.client):
        pair.transfer()
        with pytest.raises(WantReadError):
            side.do_handshake()
    assert split(lab.outgoing(pair.client))[-1][0] == HANDSHAKE
    pair.client.process_incoming(record(HANDSHAKE, b""))
    with pytest.raises(PeerMisbehaved):
        pair.client.do_handshake()
    assert lab.outgoing(pair.client) == record(
        ALERT, bytes([2, AlertDescription.unexpected_message])
    )
