"""Sockets are connected and accepted: addresses, names, and the facts that both ends know."""

from __future__ import annotations

import copy
import pickle
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

import polytls
from polytls import (
    CertificateVerificationError,
    ConnectionInfo,
    NextProtocol,
    TLSVersion,
    VerificationFailure,
)
from polytls.testing.conformance.lab import PATIENCE

LOOPBACK = "127.0.0.1"


@pytest.fixture
def tie(lab: Any) -> Iterator[Any]:
    """A function that connects two sockets; they are closed with the test."""
    with ThreadPoolExecutor() as threads, ExitStack() as closing:

        def tie(
            client: Any = None,
            server: Any = None,
            *,
            name: str | None = lab.host,
            host: str | None = LOOPBACK,
            at: str | None = LOOPBACK,
        ) -> tuple[Any, Any]:
            listener = closing.enter_context((server or lab.server()).connect((at, 0)))
            listener.settimeout(PATIENCE)
            accepting = threads.submit(listener.accept)
            one = (client or lab.client()).connect(
                (host, listener.getsockname()[1]), server_hostname=name, timeout=PATIENCE
            )
            closing.enter_context(one)
            other, address = accepting.result()
            closing.enter_context(other)
            other.settimeout(PATIENCE)
            assert address == one.getsockname()
            return one, other

        yield tie


def assert_talk(one: Any, other: Any) -> None:
    for sender, receiver, data in ((one, other, b"ping"), (other, one, b"pong")):
        assert sender.send(data) == len(data)
        assert receiver.recv(100) == data


# --- addresses ---


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_a_server_is_reached_and_verified_by_its_address(
    lab: Any, tie: Any, version: TLSVersion, host: str
) -> None:
    server = lab.server(lab.chain("127.0.0.1", "::1"))
    client, accepted = tie(lab.client(version=version), server, name=None, host=host, at=host)
    assert_talk(client, accepted)
    assert client.getpeername()[0] == client.getsockname()[0] == host
    # An address is never asked for in SNI (RFC 6066 3).
    assert client.info.server_name is None
    assert accepted.info.server_name is None


def test_an_address_in_the_certificate_is_no_other_address(lab: Any) -> None:
    with (
        ThreadPoolExecutor() as threads,
        lab.server(lab.chain("127.0.0.2", LOOPBACK + ".example")).connect((LOOPBACK, 0)) as there,
    ):
        accepting = threads.submit(there.accept)
        with pytest.raises(CertificateVerificationError) as caught:
            lab.client().connect(there.getsockname(), timeout=PATIENCE)
        there.close()
        assert isinstance(accepting.exception(), OSError)
    assert caught.value.reason is VerificationFailure.HOSTNAME_MISMATCH
    assert caught.value.hostname == LOOPBACK


@pytest.mark.parametrize("at", [LOOPBACK, "::1"])
def test_a_name_is_resolved_and_every_address_behind_it_is_tried(
    lab: Any, tie: Any, at: str
) -> None:
    client, accepted = tie(None, lab.server(lab.chain("localhost")), name=None, host="localhost")
    assert_talk(client, accepted)
    assert client.info.server_name == accepted.info.server_name == "localhost"


def test_the_name_to_verify_may_be_another_than_the_host_dialled(
    lab: Any, tie: Any, version: TLSVersion
) -> None:
    client, accepted = tie(lab.client(version=version), name=lab.host)
    assert_talk(client, accepted)
    assert client.info.server_name == accepted.info.server_name == lab.host
    assert client.getpeername()[0] == LOOPBACK


def test_no_host_is_this_machine_for_a_client_and_all_interfaces_for_a_server(tie: Any) -> None:
    client, accepted = tie(host=None, at="::1")
    assert_talk(client, accepted)
    client, accepted = tie(at=None)
    assert_talk(client, accepted)


def test_a_host_alone_is_not_enough_to_verify_nobody(lab: Any) -> None:
    with pytest.raises(ValueError, match="server_hostname"):
        lab.client().connect((None, 443))


def test_both_ends_know_both_addresses(tie: Any) -> None:
    client, accepted = tie()
    assert client.getsockname() == accepted.getpeername()
    assert client.getpeername() == accepted.getsockname()
    for host, port in (client.getsockname(), client.getpeername()):
        assert host == LOOPBACK
        assert 0 < port < 65536


def test_a_free_port_is_found_for_port_0_and_a_given_one_is_used(lab: Any) -> None:
    server = lab.server()
    with server.connect((LOOPBACK, 0)) as listener:
        address = listener.getsockname()
    assert address[1] > 0
    with server.connect(address) as listener:
        assert listener.getsockname() == address


# --- what both ends know ---


def test_both_ends_know_what_was_negotiated(lab: Any, tie: Any, version: TLSVersion) -> None:
    theirs, mine = lab.chain(), lab.chain("client.example")
    client_context = lab.client(
        version=version,
        certificate_chain=mine,
        inner_protocols=[b"unheard/1", NextProtocol.HTTP1],
    )
    server_context = lab.server(
        trust_store=lab.ca.trust_store(), inner_protocols=[NextProtocol.HTTP1]
    )
    client, accepted = tie(client_context, server_context)
    for side, context in ((client, client_context), (accepted, server_context)):
        assert side.context is context
        assert side.negotiated_tls_version is version
        assert side.negotiated_protocol() is NextProtocol.HTTP1
        info = side.info
        assert isinstance(info, ConnectionInfo)
        assert info.implementation == lab.implementation.name
        assert (info.version, info.cipher) == (version, side.cipher())
        assert info.alpn is NextProtocol.HTTP1
        assert info.resumed is False
    assert client.cipher() is accepted.cipher()
    assert client.info.group is accepted.info.group
    assert client.getpeercert() == theirs.leaf[0].buffer
    assert accepted.getpeercert() == mine.leaf[0].buffer
    assert client.info.peer_chain == (theirs.leaf[0].buffer,)
    assert accepted.info.peer_chain == (mine.leaf[0].buffer,)


def test_a_protocol_without_a_name_here_is_told_as_bytes(lab: Any, tie: Any) -> None:
    protocols = {"inner_protocols": [b"unheard/1"]}
    for side in tie(lab.client(**protocols), lab.server(**protocols)):
        assert side.negotiated_protocol() == side.info.alpn == b"unheard/1"


def test_without_alpn_and_client_certificate_there_is_none(tie: Any) -> None:
    client, accepted = tie()
    assert client.negotiated_protocol() is None
    assert accepted.negotiated_protocol() is None
    assert accepted.getpeercert() is None


def test_a_second_connection_is_resumed(lab: Any, tie: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    # Sessions are kept per host and port, so it must be one listener.
    with ThreadPoolExecutor() as threads, server.connect((LOOPBACK, 0)) as listener:
        for resumed in (False, True, True):
            accepting = threads.submit(listener.accept)
            with client.connect(
                listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
            ) as one:
                other, _ = accepting.result()
                with other:
                    assert_talk(one, other)
                    assert one.info.resumed is other.info.resumed is resumed
                    assert one.getpeercert() == lab.chain().leaf[0].buffer


# --- what a socket is ---


def test_sockets_offer_the_peps_methods_and_the_extensions(tie: Any) -> None:
    for side in tie():
        for protocol in (
            polytls.TLSSocket,
            polytls.SupportsRecvInto,
            polytls.SupportsSendall,
            polytls.SupportsPending,
            polytls.SupportsTimeout,
            polytls.SupportsFileno,
            polytls.SupportsInfo,
        ):
            assert isinstance(side, protocol), protocol
        assert not isinstance(side, polytls.TLSBuffer)


def test_sockets_cannot_be_pickled_copied_or_made_by_hand(tie: Any) -> None:
    client, _ = tie()
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="connection"):
            attempt(client)
    with pytest.raises(TypeError):
        type(client)()


def test_a_repr_says_where_to_and_shows_no_secret(lab: Any, tie: Any) -> None:
    client, accepted = tie()
    client.send(b"do not tell")
    accepted.recv(3)
    for side in (client, accepted):
        text = repr(side)
        assert str(side.getpeername()[1]) in text
        assert f"fd={side.fileno()}" in text
        assert "tell" not in text
        assert len(text) < 200
        side.close(force=True)
        assert "fd=-1" in repr(side)
    with lab.server().connect((LOOPBACK, 0)) as listener:
        assert str(listener.getsockname()[1]) in repr(listener)


# --- what cannot be connected ---


def test_a_refused_connection_says_so(lab: Any) -> None:
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        with pytest.raises(ConnectionRefusedError) as caught:
            lab.client().connect(unused.getsockname(), timeout=PATIENCE)
    assert not isinstance(caught.value, polytls.TLSError)


def test_a_name_that_cannot_be_resolved_says_so(lab: Any) -> None:
    with pytest.raises(socket.gaierror):
        lab.client().connect(("unknown.invalid", 443), timeout=PATIENCE)
    with pytest.raises(socket.gaierror):
        lab.server().connect(("unknown.invalid", 0))


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize(
    ("address", "error", "told"),
    [
        ("localhost", TypeError, "address"),
        (None, TypeError, "address"),
        (("localhost",), TypeError, "address"),
        ({"localhost", 443}, TypeError, "address"),
        ((b"localhost", 443), TypeError, "host must be str or None, not bytes"),
        ((1, 443), TypeError, "host must be str or None, not int"),
        (("localhost", "443"), TypeError, "port must be int, not str"),
        (("localhost", 443.0), TypeError, "port must be int, not float"),
        (("localhost", None), TypeError, "port must be int, not NoneType"),
        (("localhost", True), TypeError, "port must be int, not bool"),
        (("localhost", -1), ValueError, "port"),
        (("localhost", 65536), ValueError, "port"),
        (("local host", 443), ValueError, "address"),
        (("local\0host", 443), ValueError, "address"),
        (("x" * 64 + ".example", 443), ValueError, "address"),
    ],
)
def test_what_is_no_address_is_refused_by_name(
    lab: Any, side: str, address: Any, error: type[Exception], told: str
) -> None:
    context = getattr(lab, side)()
    given = {"server_hostname": lab.host} if side == "client" else {}
    with pytest.raises(error, match=told):
        context.connect(address, **given)


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"server_hostname": 7}, TypeError, "server_hostname must be str"),
        ({"server_hostname": b"server.example"}, TypeError, "server_hostname must be str"),
        ({"server_hostname": ""}, ValueError, "server_hostname"),
        ({"server_hostname": "a\0b"}, ValueError, "server_hostname"),
        ({"timeout": "1"}, TypeError, "timeout"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"timeout": float("nan")}, ValueError, "timeout"),
        ({"timeout": 1e300}, OverflowError, "timeout"),
    ],
)
def test_what_is_no_name_or_timeout_is_refused_by_name(
    lab: Any, given: dict[str, Any], error: type[Exception], told: str
) -> None:
    with lab.server().connect((LOOPBACK, 0)) as listener, pytest.raises(error, match=told):
        lab.client().connect(listener.getsockname(), **given)
