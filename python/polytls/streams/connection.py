"""A connected TLS socket: its data, and what is known of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from types import new_class
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

from ..arguments import amount_of, view_of
from ..constants import CipherSuite, NextProtocol, TLSVersion
from ..driver import Need
from ..errors import TLSError
from ..files import check_file, send_pieces
from ..info import ConnectionInfo
from ..interfaces import SupportsInfo, TLSBuffer
from .carrier import Carrier
from .endings import Endings
from .offers import LARGEST, offers_of
from .sockets import host_and_port, no_address, shown, spoke_too_soon, want_write
from .waiting import Deadline

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["StreamSocket"]

_T = TypeVar("_T")


class StreamSocket(Endings):
    """A TLS connection over a byte stream. Made by `connect` of a context, by `accept`, by `wrap`.

    `carrier`: closed with the connection. `peer`: what `getpeername` gives. `received`: what came
    from the peer before. `upgrade`: a client's, on a stream that was used in plaintext; what comes
    before ClientHello is refused. `accept_truncated_end`: as a client context's `connect` has it.

    Where the buffer offers more (`offers`), what is made is a subclass that offers it, too.
    """

    __slots__ = ("_peer", "_refusal", "_upgrade")

    def __new__(cls, _: Carrier, buffer: TLSBuffer, *__: object, **___: object) -> Self:
        made: Self = object.__new__(_offering(cls, type(buffer)))
        return made

    def __init__(
        self,
        carrier: Carrier,
        buffer: TLSBuffer,
        peer: tuple[str, int] | None,
        timeout: float | None,
        *,
        received: bytes = b"",
        upgrade: bool = False,
        accept_truncated_end: bool = False,
    ) -> None:
        super().__init__(carrier, buffer, timeout, accept_truncated_end=accept_truncated_end)
        self._peer = peer
        #: Whether it is still to be seen that nothing came before ClientHello; why it was refused.
        self._upgrade = upgrade
        self._refusal: TLSError | None = None
        if received:
            self._driver.receive(received)

    # --- data ---

    def do_handshake(self) -> None:
        """Complete the handshake and send its last flight. The other methods do so themselves."""
        self.handshake(Deadline.after(self._timeout))

    def handshake(self, deadline: Deadline) -> None:
        """Do so by `deadline`.

        A fatal error of ours is told to the peer first, and then the peer is read from until it
        ends the connection, for `LINGER` seconds at most: otherwise a reset could destroy the
        alert.
        """

        def attempt() -> Need | None:
            need = self._driver.handshake()
            if need is None:
                turns.transport.flush()
            return Need.WRITE if need is None and turns.transport.flight_unsent else need

        turns = self._turns
        with turns.to_receive(deadline), turns.to_send(deadline):
            if self._upgrade:
                self._begin_upgrade()
            turns.drive(attempt, deadline, sends=True)

    def _begin_upgrade(self) -> None:
        """Look whether the peer has spoken before us: nobody is to take that for its answer."""
        if self._refusal is None:
            with self._turns.lock:
                if not self._turns.transport.check_open().something_came():
                    self._upgrade = False
                    return
            self._refusal = spoke_too_soon()
        raise copy.copy(self._refusal)

    def recv(self, bufsize: int) -> bytes:
        """Receive what is there, up to `bufsize` bytes, waiting for the first."""
        size = min(amount_of("bufsize", bufsize), LARGEST)
        return self._receive(lambda: self._driver.read(size), b"") if size else self._nothing(b"")

    def recv_into(self, buffer: Buffer, nbytes: int = 0, /) -> int:
        """Receive into `buffer`, up to `nbytes` (0: as many as fit), and give the count."""
        wanted = amount_of("nbytes", nbytes)
        view = view_of("buffer", buffer, writable=True)
        if wanted > len(view):
            raise ValueError("buffer is smaller than nbytes")
        view = view[: wanted or len(view)]
        return self._receive(lambda: self._driver.read_into(view), 0) if view else self._nothing(0)

    def _receive(self, attempt: Callable[[], _T | Need], end: _T) -> _T:
        turns = self._turns
        deadline = Deadline.after(self._timeout)
        self._ensure_handshake(deadline)
        with turns.to_receive(deadline):
            return turns.drive(lambda: end if turns.receiving_ended else attempt(), deadline)

    def send(self, bytes: Buffer) -> int:
        """Send `bytes`, or up to 256 KiB of them, and give the count.

        Accepted bytes will be sent, in order and once. If the time is over before the system has
        them, the count is returned all the same, and the rest goes out with the next call of any
        kind; a non-blocking call returns at once.
        """
        view = view_of("bytes", bytes)
        if not view:
            return self._nothing(0)
        return self._send_some(view, Deadline.after(self._timeout))[0]

    def sendall(self, data: Buffer, /) -> None:
        """Send all of `data`, within one timeout; return once the system has it."""
        view = view_of("data", data)
        deadline = Deadline.after(self._timeout)
        if not view:
            self._nothing(None)
        while view:
            count, handed_over = self._send_some(view, deadline)
            view = view[count:]
            if deadline.non_blocking and not handed_over:
                if view:
                    raise want_write()
            elif not handed_over or (view and deadline.passed):
                raise TimeoutError("timed out")

    def _send_some(self, view: memoryview, deadline: Deadline) -> tuple[int, bool]:
        """How much was accepted, and whether the system has all of it."""
        turns = self._turns
        self._ensure_handshake(deadline)
        with turns.to_send(deadline):
            count = turns.drive(lambda: turns.transport.seal(view), deadline, sends=True)
            return count, turns.hand_over(deadline)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send `file` from `offset`, all of it or `count` bytes; return how many were sent.

        The timeout is for the whole. `file` then stands behind the last byte that was accepted,
        after an error as well, if it is one that can be positioned.
        """
        deadline = Deadline.after(self._timeout)
        if deadline.non_blocking:
            raise ValueError("sendfile takes its time: the socket must not be non-blocking")
        check_file(file, offset, count)
        self._nothing(None)

        def send(view: memoryview) -> tuple[int, bool]:
            taken, handed_over = self._send_some(view, deadline)
            return taken, handed_over and not (taken < len(view) and deadline.passed)

        return send_pieces(file, offset, count, send)

    def _check_connection(self) -> None:
        self._nothing(None)

    # --- what is known ---

    def pending(self) -> int:
        """Return how many bytes of plaintext can be received without the network; 0 once closed.

        Not 0 whenever there is some that the descriptor's readiness does not tell of.
        """
        turns = self._turns
        with turns.lock:
            open_ = turns.transport.carrier is not None and not turns.receiving_ended
            return self._driver.pending() if open_ and self._driver.established else 0

    def outgoing_bytes_buffered(self) -> int:
        """Return how many bytes of ciphertext wait for the descriptor to be writable."""
        with self._turns.lock:
            carrier = self._turns.transport.carrier
            return 0 if carrier is None else self._driver.unsent + carrier.unsent()

    @property
    def info(self) -> ConnectionInfo:
        """All that is known of the connection; known after closing, too."""
        buffer = self._driver.buffer
        return (
            buffer.info if isinstance(buffer, SupportsInfo) else ConnectionInfo(implementation="")
        )

    def getpeercert(self) -> bytes | None:
        """Return the peer's certificate as DER, None before the handshake or without one."""
        return self._driver.buffer.getpeercert()

    def cipher(self) -> CipherSuite | int | None:
        """Return the cipher suite agreed on."""
        return self._driver.buffer.cipher()

    def negotiated_protocol(self) -> NextProtocol | bytes | None:
        """Return the application protocol agreed on."""
        return self._driver.buffer.negotiated_protocol()

    @property
    def negotiated_tls_version(self) -> TLSVersion | None:
        """The version agreed on."""
        return self._driver.buffer.negotiated_tls_version

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed, and over a stream that has none to wait for."""
        return self._turns_there.fileno()

    def getsockname(self) -> tuple[str, int]:
        """Return the local address. Raises OSError if the stream below has none."""
        with self._turns.lock:
            address: object = getattr(self._below(), "getsockname", tuple)()
        if not isinstance(address, tuple) or not address:
            raise no_address()
        return host_and_port(address)

    def getpeername(self) -> tuple[str, int]:
        """Return the peer's address, as it was when the connection was made.

        Raises OSError if the stream below has none.
        """
        if self._peer is None:
            raise no_address()
        return self._peer

    def __repr__(self) -> str:
        try:
            name = self.info.implementation
        except TLSError:  # Of a buffer that belongs to the process that this one was forked from.
            name = "another process"
        peer = shown(self._peer)
        return f"<TLSSocket of {name}: connection with {peer}, fd={self.fileno()}>"

    # --- inside ---

    def _check_timeout(self, seconds: float | None) -> None:
        carrier = self._turns_there.transport.carrier
        if carrier is not None:
            carrier.check_timeout(seconds)

    def _ensure_handshake(self, deadline: Deadline) -> None:
        if not self._driver.established:
            self.handshake(deadline)

    def _nothing(self, result: _T) -> _T:
        """The outcome of a call about no byte at all."""
        with self._turns.lock:
            self._turns.transport.check_open()
        return result


@lru_cache
def _offering(kind: type[Any], buffer: type) -> type[Any]:
    """The class of sockets of this kind over buffers of this class."""
    offers = offers_of(buffer)
    if not offers:
        return kind
    members = {"__slots__": (), "__module__": kind.__module__, "__doc__": kind.__doc__}
    return new_class(kind.__name__, (*offers, kind), exec_body=lambda body: body.update(members))
