"""What clients do to servers: they hang up, say nothing, speak something else."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from polytls import CertificateVerificationError, WantReadError
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.raw_peer import RawPeer, reset

__all__ = ["MISDEEDS", "misbehaving"]

Address = tuple[str, int]

#: What a request may begin with, in HTTP and in lines.
BEGINNING = b"GET / HT"


def _plain(address: Address) -> socket.socket:
    return socket.create_connection(address, PATIENCE)


def _secured(address: Address, client: Any, name: str) -> RawPeer:
    """A connection whose handshake is done."""
    peer = RawPeer(client.create_buffer(name), _plain(address))
    peer.drive(peer.buffer.do_handshake)
    return peer


def resets_before_a_word(address: Address, client: Any, name: str) -> None:
    reset(_plain(address))


def hangs_up_before_a_word(address: Address, client: Any, name: str) -> None:
    _plain(address).close()


def resets_within_its_hello(address: Address, client: Any, name: str) -> None:
    buffer = client.create_buffer(name)
    with suppress(WantReadError):
        buffer.do_handshake()
    plain = _plain(address)
    plain.sendall(buffer.process_outgoing(100))
    reset(plain)


def speaks_plain_http(address: Address, client: Any, name: str) -> None:
    with _plain(address) as plain, suppress(ConnectionError):
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while plain.recv(4096):
            pass


def refuses_its_certificate(address: Address, client: Any, name: str) -> None:
    with _plain(address) as plain, suppress(CertificateVerificationError):
        client.wrap_socket(plain, "nobody.example").close()


#: A server that waits for no request may have answered and closed by now.
ENDED = (BrokenPipeError, ConnectionResetError)


def resets_after_the_handshake(address: Address, client: Any, name: str) -> None:
    reset(_secured(address, client, name).plain)


def resets_within_its_request(address: Address, client: Any, name: str) -> None:
    peer = _secured(address, client, name)
    with suppress(*ENDED):
        peer.drive(peer.buffer.write, BEGINNING)
    reset(peer.plain)


def hangs_up_within_its_request(address: Address, client: Any, name: str) -> None:
    """With no close_notify: a ragged end."""
    peer = _secured(address, client, name)
    with peer.plain, suppress(*ENDED):
        peer.drive(peer.buffer.write, BEGINNING)


def ends_within_its_request(address: Address, client: Any, name: str) -> None:
    """With close_notify."""
    peer = _secured(address, client, name)
    with peer.plain, suppress(*ENDED):
        peer.drive(peer.buffer.write, BEGINNING)
        with suppress(WantReadError):
            peer.buffer.shutdown()
        peer.flush()


def forges_a_record(address: Address, client: Any, name: str) -> None:
    with _secured(address, client, name).plain as plain, suppress(ConnectionError):
        plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        while plain.recv(4096):
            pass


Misdeed = Callable[[Address, Any, str], None]

#: All of them, but for saying nothing.
MISDEEDS: tuple[Misdeed, ...] = (
    resets_before_a_word,
    hangs_up_before_a_word,
    resets_within_its_hello,
    speaks_plain_http,
    refuses_its_certificate,
    resets_after_the_handshake,
    resets_within_its_request,
    hangs_up_within_its_request,
    ends_within_its_request,
    forges_a_record,
)


@contextmanager
def misbehaving(address: Address, client: Any, name: str = "localhost") -> Iterator[None]:
    """Do all of that to a server; while the block runs there are silent clients as well.

    `client`: a context that trusts the server. `name`: what the server's certificate is for.
    """
    with ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(_plain(address))
            silent.enter_context(_secured(address, client, name).plain)
        for misdeed in MISDEEDS:
            misdeed(address, client, name)
        yield
