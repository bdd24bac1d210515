"""`on_event`: what is told of a connection, in which order, and what a listener may do."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    CertificateVerificationError,
    ConfigurationError,
    ConnectionEvent,
    HandshakeType,
    RaggedEOF,
    TLSVersion,
    WantReadError,
)
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
H = HandshakeType

#: What both sides send in the clear, in a full handshake without client certificates.
IN_THE_CLEAR = {
    V12: [
        (H.client_hello, "client"),
        (H.server_hello, "server"),
        (H.certificate, "server"),
        (H.server_key_exchange, "server"),
        (H.server_hello_done, "server"),
        (H.client_key_exchange, "client"),
    ],
    V13: [(H.client_hello, "client"), (H.server_hello, "server")],
}
#: What a library adds that shows encrypted messages, up to the end of the handshake.
ENCRYPTED = {
    V12: [(H.finished, "client"), (H.finished, "server")],
    V13: [
        (H.encrypted_extensions, "server"),
        (H.certificate, "server"),
        (H.certificate_verify, "server"),
        (H.finished, "server"),
        (H.finished, "client"),
    ],
}


class Events(list[ConnectionEvent]):
    """A listener that keeps what it is told."""

    def __call__(self, event: ConnectionEvent) -> None:
        self.append(event)

    def of(self, kind: str) -> list[ConnectionEvent]:
        return [event for event in self if event.kind == kind]

    def messages(self) -> list[tuple[Any, str]]:
        """Handshake messages with who sent them; without tickets."""
        other = {"client": "server", "server": "client"}
        return [
            (event.message, event.role if event.sent else other[event.role])
            for event in self.of("message")
            if event.message is not H.new_session_ticket
        ]


@pytest.fixture
def events() -> Events:
    return Events()


each_side = pytest.mark.parametrize("side", ["client", "server"])


def connected(lab: Any, side: str, listener: Any, **given: Any) -> Any:
    """A pair of which one side has a listener."""
    return lab.connect(*contexts(lab, side, listener, **given))


def contexts(lab: Any, side: str, listener: Any, **given: Any) -> tuple[Any, Any]:
    own = {side: {"on_event": listener}}
    client = lab.client(**given, **own.get("client", {}))
    return client, lab.server(**own.get("server", {}))


@each_side
@needs("events")
def test_the_messages_of_a_handshake_are_told_in_order(
    lab: Any, version: TLSVersion, side: str, events: Events
) -> None:
    connected(lab, side, events, version=version)
    told = events.messages()
    if told != IN_THE_CLEAR[version]:
        assert told == IN_THE_CLEAR[version] + ENCRYPTED[version]
    assert {event.role for event in events} == {side}
    assert len({event.connection for event in events}) == 1
    assert all(event.size is not None and event.size >= 4 for event in events.of("message"))


@each_side
@needs("events")
def test_the_size_of_a_message_is_told(
    lab: Any, version: TLSVersion, side: str, events: Events
) -> None:
    pair = lab.pair(*contexts(lab, side, events, version=version))
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    # One message in one record.
    flight = lab.outgoing(pair.client)
    assert flight[0] == 22
    pair.server.process_incoming(flight)
    with pytest.raises(WantReadError):
        pair.server.do_handshake()
    first = events.of("message")[0]
    assert first.message is H.client_hello
    assert first.sent is (side == "client")
    assert first.size == len(flight) - 5


@each_side
@needs("events")
def test_a_complete_handshake_is_told_with_its_facts(
    lab: Any, version: TLSVersion, side: str, events: Events
) -> None:
    pair = connected(lab, side, events, version=version)
    (established,) = events.of("established")
    assert established.info == getattr(pair, side).info
    assert established.info is not None
    assert established.info.version is version
    assert not events.of("alert")
    assert not events.of("end")


@each_side
@needs("events")
def test_nothing_secret_is_told_and_data_is_no_event(
    lab: Any, version: TLSVersion, side: str, events: Events
) -> None:
    pair = connected(lab, side, events, version=version)
    lab.drain(pair.client)
    before = len(events)
    assert pair.send(pair.client, b"swordfish") == pair.send(pair.server, b"swordfish")
    assert len(events) == before
    assert "swordfish" not in repr(events)


@needs("events")
def test_a_refused_certificate_is_told_with_the_alert(
    lab: Any, version: TLSVersion, events: Events
) -> None:
    theirs = Events()
    client = lab.client(version=version, on_event=events)
    server = lab.server(on_event=theirs)
    outcome = lab.settle(lab.pair(client, server, "other.example"))
    assert type(outcome.client) is CertificateVerificationError
    (end,) = events.of("end")
    assert events[-1] is end
    assert type(end.error) is CertificateVerificationError
    assert str(end.error) == str(outcome.client)
    for event in events.of("alert"):
        assert event.sent is True
    (alert,) = theirs.of("alert")
    assert alert.sent is False
    assert isinstance(alert.alert, AlertDescription)
    assert theirs[-1].kind == "end"
    assert not events.of("established")


@each_side
@needs("events")
def test_both_close_notify_alerts_end_a_connection(
    lab: Any, version: TLSVersion, side: str, events: Events
) -> None:
    pair = connected(lab, side, events, version=version)
    lab.drain(pair.client)
    with pytest.raises(WantReadError):
        pair.client.shutdown()
    pair.transfer()
    assert pair.server.read(1) == b""
    pair.server.shutdown()
    pair.transfer()
    pair.client.shutdown()
    assert [event.alert for event in events.of("alert")] == [AlertDescription.close_notify] * 2
    assert {event.sent for event in events.of("alert")} == {True, False}
    assert events[-1].kind == "end"
    assert events[-1].error is None
    assert len(events.of("end")) == 1


@each_side
@needs("events", "key update")
def test_key_updates_are_told_where_the_library_shows_them(
    lab: Any, side: str, events: Events
) -> None:
    pair = connected(lab, side, events, version=V13)
    lab.drain(pair.client)
    pair.client.update_keys()
    assert pair.send(pair.client, b"a") == pair.send(pair.server, b"a") == b"a"
    told = [event for event in events.of("message") if event.message is H.key_update]
    if (H.encrypted_extensions, "server") in events.messages():
        assert [event.sent for event in told] == [side == "client", side != "client"]
        assert {event.size for event in told} == {5}
    else:
        assert not told


@needs("events")
def test_each_connection_has_a_number_of_its_own(lab: Any, events: Events) -> None:
    client, server = lab.client(on_event=events), lab.server(on_event=events)
    for _ in range(3):
        lab.connect(client, server)
    assert len({event.connection for event in events}) == 6


@needs("events")
def test_a_socket_that_is_closed_has_ended(lab: Any, threads: Any) -> None:
    ours, theirs = Events(), Events()
    with lab.server(on_event=theirs).connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        client = lab.client(on_event=ours)
        address = listener.getsockname()
        connecting = threads.submit(client.connect, address, server_hostname=lab.host)
        accepted, _ = listener.accept()
        with accepted, connecting.result(PATIENCE) as connected:
            connected.sendall(b"data")
            assert accepted.recv(10) == b"data"
            assert len(ours.of("established")) == len(theirs.of("established")) == 1
            assert not ours.of("end")
    for events in (ours, theirs):
        assert len(events.of("end")) == 1
        assert events[-1].kind == "end"


@needs("events")
def test_a_peer_that_leaves_is_no_error_of_the_connection(lab: Any, events: Events) -> None:
    pair = connected(lab, "client", events)
    pair.client.process_incoming(b"")
    with pytest.raises(RaggedEOF):
        lab.drain(pair.client)
    assert not events.of("alert")


# --- what a listener may do ---


@needs("events")
def test_a_listener_that_raises_harms_no_connection_and_is_reported(
    lab: Any, version: TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", reported.append)

    def listener(event: ConnectionEvent) -> None:
        raise OSError(event.kind)

    pair = connected(lab, "client", listener, version=version)
    assert pair.send(pair.client, b"data") == b"data"
    assert {str(each.exc_value) for each in reported} >= {"message", "established"}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@needs("events")
def test_a_listener_that_is_interrupted_ends_the_call_and_harms_no_connection(
    lab: Any, version: TLSVersion, kind: type[BaseException]
) -> None:
    interruption = kind("now")
    told: list[ConnectionEvent] = []

    def listener(event: ConnectionEvent) -> None:
        told.append(event)
        if len(told) == 1:
            raise interruption

    pair = lab.pair(*contexts(lab, "client", listener, version=version))
    with pytest.raises(kind) as caught:
        pair.handshake()
    assert caught.value is interruption
    pair.handshake()
    assert told[-1].kind in ("established", "message")
    assert pair.send(pair.client, b"data") == b"data"


@needs("events")
def test_a_listener_may_use_the_connection(lab: Any, version: TLSVersion) -> None:
    """No lock is held while it is called."""
    pair: Any = None
    found: list[Any] = []

    def listener(event: ConnectionEvent) -> None:
        if event.kind == "established":
            found.append(pair.client.info == event.info)
            found.append(pair.client.outgoing_bytes_buffered() >= 0)

    pair = lab.pair(*contexts(lab, "client", listener, version=version))
    pair.handshake()
    assert found == [True, True]
    assert pair.send(pair.client, b"data") == b"data"


@each_side
@needs("events")
def test_contexts_do_not_leak_their_listener(lab: Any, side: str) -> None:
    class Owner:
        context: Any = None

        def listener(self, event: ConnectionEvent) -> None:
            del event

    owner = Owner()
    owner.context = getattr(lab, side)(on_event=owner.listener)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("make", ["client", "server"])
@needs("no events")
def test_a_library_that_tells_nothing_refuses_a_listener(lab: Any, make: str) -> None:
    listener: Callable[[ConnectionEvent], None] = Events()
    with pytest.raises(ConfigurationError) as refused:
        getattr(lab, make)(on_event=listener)
    assert refused.value.field == "on_event"
