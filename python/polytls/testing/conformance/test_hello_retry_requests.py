"""HelloRetryRequests that a server may not send, and clients that do not heed one (RFC 8446 4.1.4).

Each ends the handshake with an error, so that no peer keeps another in a loop.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from polytls import (
    AlertDescription,
    PeerIncompatible,
    PeerMisbehaved,
    TLSVersion,
    WantReadError,
)
from polytls.testing.conformance.hello import (
    KEY_SHARE,
    RETRY,
    SUPPORTED_GROUPS,
    SUPPORTED_VERSIONS,
    Hello,
    groups_shared,
)
from polytls.testing.conformance.sealing import ALERT, split
from polytls.testing.conformance.selection import needs

V13: Final = TLSVersion.TLSv1_3
TLS13: Final = (SUPPORTED_VERSIONS, b"\x03\x04")
COOKIE: Final = 44
AES_128_GCM: Final = b"\x13\x01"


class Client:
    """A client that has sent its ClientHello, and what a server may ask of it."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.side = lab.client(version=V13).create_buffer(lab.host)
        with pytest.raises(WantReadError):
            self.side.do_handshake()
        self.hello = Hello.of(lab.outgoing(self.side))
        offered = dict(self.hello.extensions)
        listed = offered[SUPPORTED_GROUPS][2:]
        self.groups = [listed[at : at + 2] for at in range(0, len(listed), 2)]
        self.shared = groups_shared(offered[KEY_SHARE])

    @property
    def unshared(self) -> bytes:
        """A group that it has offered without a key share."""
        return next(group for group in self.groups if group not in self.shared)

    @property
    def unknown(self) -> bytes:
        """A group that it has not offered."""
        numbers = (number.to_bytes(2) for number in range(1, 0x200))
        return next(number for number in numbers if number not in self.groups)

    def retry(self, *extensions: tuple[int, bytes]) -> bytes:
        """A HelloRetryRequest."""
        return Hello(
            kind=2,
            version=0x0303,
            random=RETRY,
            session=self.hello.session,
            suites=AES_128_GCM,
            compression=b"\0",
            extensions=[TLS13, *extensions],
        ).record()

    def asked(self, retry: bytes) -> None:
        """It answers with another ClientHello."""
        self.side.process_incoming(retry)
        with pytest.raises(WantReadError):
            self.side.do_handshake()
        assert self.lab.outgoing(self.side)

    def refuses(self, retry: bytes) -> AlertDescription:
        """The alert that it ends the handshake with."""
        self.side.process_incoming(retry)
        for _ in range(2):
            with pytest.raises(PeerMisbehaved):
                self.side.do_handshake()
        return alert_of(self.lab.outgoing(self.side))


def alert_of(flight: bytes) -> AlertDescription:
    """The fatal alert that a flight ends with."""
    *_, last = split(flight)
    assert (last[0], len(last), last[5]) == (ALERT, 7, 2)
    return AlertDescription(last[6])


@pytest.fixture
def client(lab: Any) -> Client:
    return Client(lab)


@needs("all versions")
def test_a_client_answers_one_request_and_refuses_the_next(client: Client) -> None:
    retry = client.retry((KEY_SHARE, client.unshared))
    client.asked(retry)
    assert client.refuses(retry) is AlertDescription.unexpected_message


@needs("all versions")
def test_a_client_refuses_to_be_asked_for_what_it_has_sent(client: Client) -> None:
    retry = client.retry((KEY_SHARE, client.shared[0]))
    assert client.refuses(retry) is AlertDescription.illegal_parameter


@needs("all versions")
def test_a_client_refuses_a_group_that_it_has_not_offered(client: Client) -> None:
    retry = client.retry((KEY_SHARE, client.unknown))
    assert client.refuses(retry) is AlertDescription.illegal_parameter


@needs("all versions")
def test_a_client_refuses_a_request_for_nothing(client: Client) -> None:
    assert client.refuses(client.retry()) is AlertDescription.illegal_parameter


@needs("all versions")
def test_a_client_brings_a_cookie_once(client: Client) -> None:
    retry = client.retry((COOKIE, b"\0\4once"))
    client.asked(retry)
    assert client.refuses(retry) is AlertDescription.unexpected_message


@needs("groups")
def test_a_server_does_not_ask_twice(lab: Any) -> None:
    client = Client(lab)
    server = lab.server(version=V13, groups=["secp384r1"]).create_buffer()
    # The same again, whatever it is asked for.
    server.process_incoming(client.hello.record())
    with pytest.raises(WantReadError):
        server.do_handshake()
    first = Hello.of(lab.outgoing(server))
    assert first.random == RETRY
    server.process_incoming(client.hello.record())
    for _ in range(2):
        with pytest.raises((PeerMisbehaved, PeerIncompatible)):
            server.do_handshake()
    assert alert_of(lab.outgoing(server)) in {
        AlertDescription.illegal_parameter,
        AlertDescription.handshake_failure,
    }
