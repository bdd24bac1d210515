"""What sockets have in common with plain ones: options, kinds, descriptors; and changing keys."""

from __future__ import annotations

import errno
import gc
import selectors
import socket
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from polytls import TLSError, TLSVersion, WantReadError
from polytls.interfaces import SupportsSocketOptions
from polytls.testing.conformance.lab import PATIENCE, Whole
from polytls.testing.conformance.selection import needs

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3

#: The timeout that is waited for.
SHORT = 0.3

# --- options ---


@needs("socket options")
@pytest.mark.parametrize("at", ["127.0.0.1", "::1"])
def test_sockets_tell_their_kind_as_plain_ones_do(
    lab: Any, at: str, threads: ThreadPoolExecutor
) -> None:
    with lab.server().connect((at, 0)) as listener:
        accepting = threads.submit(listener.accept)
        with (
            lab.client().connect(
                listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
            ) as client,
            accepting.result(PATIENCE)[0] as accepted,
        ):
            for side in (client, accepted, listener):
                with socket.socket(fileno=side.fileno()) as plain:
                    assert side.family == plain.family
                    assert side.type == plain.type == socket.SOCK_STREAM
                    assert side.proto == socket.IPPROTO_TCP
                    assert plain.detach() == side.fileno()
            family = listener.family
    for side in (client, accepted, listener):
        # They are closed now.
        assert isinstance(side, SupportsSocketOptions)
        assert (side.family, side.type, side.proto) == (
            family,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
        )


@needs("socket options")
def test_options_are_those_of_the_socket_below(lab: Any, ends: Any) -> None:
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        for side in (*ends, listener):
            for wanted in (1, 0):
                keep_alive = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert side.setsockopt(*keep_alive, wanted) is None
                assert side.getsockopt(*keep_alive) == wanted
                with socket.socket(fileno=side.fileno()) as plain:
                    assert plain.getsockopt(*keep_alive) == wanted
                    plain.detach()


@needs("socket options")
def test_options_are_given_and_told_as_bytes_too(ends: Any) -> None:
    client, _ = ends
    linger = (socket.SOL_SOCKET, socket.SO_LINGER)
    for value in (bytes([1, 0, 0, 0, 7, 0, 0, 0]), bytearray(8)):
        client.setsockopt(*linger, value)
        with socket.socket(fileno=client.fileno()) as plain:
            expected = plain.getsockopt(*linger, 8)
            plain.detach()
        assert client.getsockopt(*linger, 8) == expected
        assert expected[:4] == value[:4]


@needs("socket options")
def test_options_that_are_none_are_refused_as_by_plain_sockets(ends: Any) -> None:
    client, _ = ends
    for call, error in (
        (lambda side: side.getsockopt(socket.SOL_SOCKET, 9999), OSError),
        (lambda side: side.setsockopt(socket.SOL_SOCKET, 9999, 1), OSError),
        (lambda side: side.getsockopt("1", 1), TypeError),
        (lambda side: side.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, "1"), TypeError),
        (lambda side: side.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, -1), OSError),
        (lambda side: side.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 1 << 20), OSError),
    ):
        with socket.socket() as plain, pytest.raises(error):
            call(plain)
        with pytest.raises(error) as caught:
            call(client)
        assert not isinstance(caught.value, TLSError)
    client.close(force=True)
    with pytest.raises(OSError, match="closed") as caught:
        client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert caught.value.errno == errno.EBADF


# --- descriptors ---


@needs("detach")
def test_a_descriptor_that_is_given_away_stays_open_and_nothing_is_said(one: Any) -> None:
    ours, peer = one
    ours.send(b"x")
    assert peer.read(1) == b"x"  # Takes in the tickets of TLS 1.3.
    descriptor = ours.fileno()
    assert ours.detach() == descriptor
    assert ours.fileno() == -1
    with socket.socket(fileno=descriptor) as plain:
        assert plain.getpeername() == peer.plain.getsockname()
        plain.sendall(b"in the clear")
        plain.shutdown(socket.SHUT_WR)
        data = b""
        while piece := peer.plain.recv(100):
            data += piece
        assert data == b"in the clear"
    with pytest.raises(OSError, match="closed") as caught:
        ours.recv(1)
    assert caught.value.errno == errno.EBADF
    assert ours.close() is None
    assert ours.detach() == -1


@needs("detach")
def test_a_listener_gives_its_descriptor_away_once(lab: Any) -> None:
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        address, descriptor = listener.getsockname(), listener.fileno()
        assert listener.detach() == descriptor
        assert listener.detach() == listener.fileno() == -1
    with socket.socket(fileno=descriptor) as plain:
        assert plain.getsockname() == address


@needs("detach")
def test_a_socket_that_was_closed_has_no_descriptor_to_give(lab: Any, ends: Any) -> None:
    closed = [*ends, lab.server().connect(("127.0.0.1", 0))]
    for side in closed:
        side.close(force=True)
        assert side.detach() == -1


# --- what is forgotten ---


def warned(make: Any) -> list[str]:
    """What dropping what `make` returns warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
        gc.collect()
    return [str(each.message) for each in caught if issubclass(each.category, ResourceWarning)]


def test_a_listener_that_was_not_closed_gives_a_warning(lab: Any) -> None:
    (message,) = warned(lambda: lab.server().connect(("127.0.0.1", 0)))
    assert "unclosed" in message
    assert "127.0.0.1" in message


def test_a_connection_that_was_not_closed_gives_a_warning(lab: Any) -> None:
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with (
            socket.create_connection(listener.getsockname()) as plain,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(listener, selectors.EVENT_READ)
            selector.select(PATIENCE)
            (message,) = warned(listener.accept)
            assert "unclosed" in message
            assert str(plain.getsockname()[1]) in message
            plain.settimeout(PATIENCE)
            assert plain.recv(1) == b""


def test_what_was_closed_gives_no_warning(lab: Any) -> None:
    def make() -> None:
        listener = lab.server().connect(("127.0.0.1", 0))
        listener.setblocking(False)
        with socket.create_connection(listener.getsockname()):
            with selectors.DefaultSelector() as selector:
                selector.register(listener, selectors.EVENT_READ)
                selector.select(PATIENCE)
            with listener.accept()[0]:
                pass
        listener.close()

    assert warned(make) == []


# --- changing keys ---


@needs("key update")
def test_keys_can_be_changed_again_and_again_and_data_flows(ends: Any, version: Any) -> None:
    client, accepted = ends
    if version is V12:
        for side in ends:
            with pytest.raises(TLSError):
                side.update_keys()
    for number in range(30):
        if version is V13:
            (client, accepted)[number % 2].update_keys()
            if number % 5 == 0:
                client.update_keys()
                accepted.update_keys()
        for sender, receiver in (ends, ends[::-1]):
            sender.sendall(b"%03d" % number)
            assert receiver.recv(100) == b"%03d" % number


@needs("key update")
@pytest.mark.parametrize("version", [V13], ids=["TLSv1.3"])
def test_the_peer_is_asked_to_change_its_keys_too(one: Any) -> None:
    ours, peer = one
    ours.update_keys()
    ours.sendall(b"x")
    data = b""
    while not data:
        peer.buffer.process_incoming(peer.plain.recv(65536))
        try:
            data = peer.buffer.read(100)
        except WantReadError:
            continue
    assert data == b"x"
    # It changes its own before it says anything else (RFC 8446 4.6.3).
    peer.buffer.write(b"with new keys")
    answer = peer.take()
    first = 5 + int.from_bytes(answer[3:5])
    assert len(answer) > first
    peer.plain.sendall(answer)
    assert ours.recv(100) == b"with new keys"


@needs("key update")
def test_keys_that_are_not_there_cannot_be_changed(lab: Any, ends: Any) -> None:
    client, _ = ends
    client.close(force=True)
    with pytest.raises(OSError, match=r"."):
        client.update_keys()
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        with pytest.raises(OSError, match=r"."):
            listener.update_keys()
        listener.setblocking(False)
        with (
            socket.create_connection(listener.getsockname()),
            selectors.DefaultSelector() as selector,
        ):
            selector.register(listener, selectors.EVENT_READ)
            selector.select(PATIENCE)
            with listener.accept()[0] as unfinished, pytest.raises(TLSError):
                unfinished.update_keys()


@needs("key update")
@pytest.mark.parametrize("version", [V13], ids=["TLSv1.3"])
def test_keys_change_while_both_directions_are_busy(
    ends: Any, threads: ThreadPoolExecutor, rng: Any
) -> None:
    data = rng.randbytes(8 << 20)

    def send(side: Any) -> None:
        for at in range(0, len(data), 200_000):
            side.sendall(data[at : at + 200_000])
            side.update_keys()

    def receive(side: Any) -> bytes:
        got = bytearray()
        while len(got) < len(data):
            got += side.recv(200_000)
        return bytes(got)

    sending = [threads.submit(send, side) for side in ends]
    receiving = [threads.submit(receive, side) for side in ends]
    for task in receiving:
        assert task.result(PATIENCE) == Whole(data)
    for task in sending:
        task.result(PATIENCE)


# --- options of listeners ---


@needs("reuse_port")
@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")
def test_a_port_can_be_shared_by_listeners_that_all_ask_for_it(lab: Any) -> None:
    server = lab.server()
    with server.connect(("127.0.0.1", 0), reuse_port=True) as first:
        address = first.getsockname()
        with server.connect(address, reuse_port=True) as second:
            assert second.getsockname() == address
        with pytest.raises(OSError, match="in use"):
            server.connect(address)
    with server.connect(("127.0.0.1", 0)) as alone, pytest.raises(OSError, match="in use"):
        server.connect(alone.getsockname(), reuse_port=True)


@needs("dual_stack")
def test_a_dual_stack_listener_takes_clients_of_both_families(
    lab: Any, threads: ThreadPoolExecutor
) -> None:
    with lab.server().connect(("::", 0), dual_stack=True) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            accepting = threads.submit(listener.accept)
            with (
                lab.client().connect(
                    (host, port), server_hostname=lab.host, timeout=PATIENCE
                ) as client,
                accepting.result(PATIENCE)[0] as accepted,
            ):
                client.send(b"hello")
                assert accepted.recv(100) == b"hello"
    with lab.server().connect(("::", 0), dual_stack=False) as listener:
        address = ("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(ConnectionRefusedError):
            lab.client().connect(address, server_hostname=lab.host, timeout=PATIENCE)


@needs("do_handshake_on_accept")
def test_a_blocking_accept_can_leave_the_handshake_to_others(
    lab: Any, threads: ThreadPoolExecutor
) -> None:
    with lab.server().connect(("127.0.0.1", 0), do_handshake_on_accept=False) as listener:
        listener.settimeout(PATIENCE)
        # One that says nothing is accepted as well.
        with socket.create_connection(listener.getsockname()) as silent:
            stalling, address = listener.accept()
            with stalling:
                assert address == silent.getsockname()
                assert stalling.negotiated_tls_version is None
                connecting = threads.submit(
                    lab.client().connect,
                    listener.getsockname(),
                    server_hostname=lab.host,
                    timeout=PATIENCE,
                )
                with listener.accept()[0] as accepted:
                    assert accepted.negotiated_tls_version is None
                    accepted.settimeout(PATIENCE)
                    accepted.do_handshake()
                    assert accepted.negotiated_tls_version is V13
                    with connecting.result(PATIENCE) as client:
                        client.send(b"hello")
                        assert accepted.recv(100) == b"hello"


def assert_served(lab: Any, listener: Any, accepting: Any) -> None:
    with (
        lab.client().connect(
            listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
        ) as client,
        accepting.result(PATIENCE)[0] as accepted,
    ):
        client.send(b"hello")
        assert accepted.recv(100) == b"hello"


@needs("handshake_timeout")
def test_a_handshake_takes_no_longer_than_the_listener_was_told(
    lab: Any, threads: ThreadPoolExecutor
) -> None:
    with lab.server().connect(("127.0.0.1", 0), handshake_timeout=SHORT) as listener:
        accepting = threads.submit(listener.accept)
        with socket.create_connection(listener.getsockname()) as silent:
            silent.settimeout(PATIENCE / 6)
            assert silent.recv(1) == b""
        assert listener.failed_handshakes == 1
        assert_served(lab, listener, accepting)
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="handshake_timeout"):
            lab.server().connect(("127.0.0.1", 0), handshake_timeout=wrong)
    with pytest.raises(TypeError, match="number"):
        lab.server().connect(("127.0.0.1", 0), handshake_timeout="1")


@needs("handshake_limit")
def test_clients_that_stall_give_way_where_there_is_room_for_few(
    lab: Any, threads: ThreadPoolExecutor
) -> None:
    with lab.server().connect(("127.0.0.1", 0), handshake_limit=2) as listener, ExitStack() as all_:
        accepting = threads.submit(listener.accept)
        for _ in range(5):
            all_.enter_context(socket.create_connection(listener.getsockname()))
        assert_served(lab, listener, accepting)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="handshake_limit"):
            lab.server().connect(("127.0.0.1", 0), handshake_limit=wrong)
    for no_number in (1.5, "1"):
        with pytest.raises(TypeError):
            lab.server().connect(("127.0.0.1", 0), handshake_limit=no_number)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("backlog", "5"), ("backlog", None), ("reuse_port", 1), ("dual_stack", "no")],
)
def test_what_is_no_keyword_of_a_listener_is_refused_by_its_name(
    lab: Any, keyword: str, value: Any
) -> None:
    with pytest.raises(TypeError, match=keyword):
        lab.server().connect(("127.0.0.1", 0), **{keyword: value})
