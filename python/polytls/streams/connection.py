"""A connected TLS socket: its data, what is known of it, and its end."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from ..arguments import amount_of, view_of
from ..constants import CipherSuite, NextProtocol, TLSVersion
from ..driver import Driver, Need, State
from ..errors import TLSError, WantReadError, WantWriteError
from ..info import ConnectionInfo
from ..interfaces import SupportsInfo, TLSBuffer
from .sockets import SocketBase, host_and_port, shown, want_write
from .transport import RECORD, ByteStream
from .turns import Turns
from .waiting import WRITE, Deadline, Interest

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["CLOSE_TIMEOUT", "StreamSocket"]

_T = TypeVar("_T")

#: How long `close` may take where there is no timeout, in seconds.
CLOSE_TIMEOUT: Final = 5.0

#: `recv` gives at most this much in one piece, whatever is asked for.
_LARGEST: Final = 256 * 1024


class StreamSocket(SocketBase):
    """A TLS connection over a byte stream. Made by `connect` of a context, and by `accept`.

    `stream` must not block; it is closed with the connection. `peer`: what `getpeername` gives.
    """

    __slots__ = ("_close_tried", "_driver", "_peer", "_turns")

    _kind = "connection; connect() of a server context gives listeners"

    def __init__(
        self, stream: ByteStream, buffer: TLSBuffer, peer: tuple[str, int], timeout: float | None
    ) -> None:
        super().__init__(buffer.context, timeout)
        self._driver = Driver(buffer)
        self._turns = Turns(self._driver, stream)
        self._peer = peer
        #: A forced close has said that it would block.
        self._close_tried = False

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
            return Need.WRITE if need is None and self._turns.transport.has_unsent else need

        with self._turns.to_receive(deadline), self._turns.to_send(deadline):
            self._turns.drive(attempt, deadline, sends=True)

    def recv(self, bufsize: int) -> bytes:
        """Receive what is there, up to `bufsize` bytes, waiting for the first."""
        size = min(amount_of("bufsize", bufsize), _LARGEST)
        return self._receive(lambda: self._driver.read(size)) if size else self._nothing(b"")

    def recv_into(self, buffer: Buffer, nbytes: int = 0, /) -> int:
        """Receive into `buffer`, up to `nbytes` (0: as many as fit), and give the count."""
        wanted = amount_of("nbytes", nbytes)
        view = view_of("buffer", buffer, writable=True)
        if wanted > len(view):
            raise ValueError("buffer is smaller than nbytes")
        view = view[: wanted or len(view)]
        return self._receive(lambda: self._driver.read_into(view)) if view else self._nothing(0)

    def _receive(self, attempt: Callable[[], _T | Need]) -> _T:
        deadline = Deadline.after(self._timeout)
        self._ensure_handshake(deadline)
        with self._turns.to_receive(deadline):
            return self._turns.drive(attempt, deadline)

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
        self._ensure_handshake(deadline)
        with self._turns.to_send(deadline):
            count = self._turns.drive(
                lambda: self._turns.transport.seal(view), deadline, sends=True
            )
            return count, self._turns.hand_over(deadline)

    # --- what is known ---

    def pending(self) -> int:
        """Return how many bytes of plaintext can be received without the network; 0 once closed.

        Not 0 whenever there is some that the descriptor's readiness does not tell of.
        """
        with self._turns.lock:
            known = self._turns.transport.stream is not None and self._driver.established
            return self._driver.pending() if known else 0

    def outgoing_bytes_buffered(self) -> int:
        """Return how many bytes of ciphertext wait for the descriptor to be writable."""
        with self._turns.lock:
            return 0 if self._turns.transport.stream is None else self._driver.unsent

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
        """Return the descriptor, -1 once closed."""
        stream = self._turns.transport.stream
        return -1 if stream is None else stream.fileno()

    def getsockname(self) -> tuple[str, int]:
        """Return the local address."""
        with self._turns.lock:
            stream = self._turns.transport.check_open()
            if not isinstance(stream, socket.socket):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
            return host_and_port(stream.getsockname())

    def getpeername(self) -> tuple[str, int]:
        """Return the peer's address, as it was when the connection was made."""
        return self._peer

    def __repr__(self) -> str:
        name, peer = self.info.implementation, shown(self._peer)
        return f"<TLSSocket of {name}: connection with {peer}, fd={self.fileno()}>"

    # --- the end ---

    def close(self, force: bool = False) -> None:
        """End the connection: send close_notify and, unless `force`, wait for the peer's.

        The timeout holds for all of it; none means `CLOSE_TIMEOUT` here. A connection that failed,
        or whose handshake is not complete, is just closed.
        """
        try:
            with self._turns.lock:
                if self._turns.transport.stream is None:
                    return
                orderly = self._driver.established and not self._turns.transport.failed
                if not orderly:
                    self._turns.transport.flush()
            if orderly:
                timeout = self._timeout
                deadline = Deadline.after(CLOSE_TIMEOUT if timeout is None else timeout)
                if force:
                    self._say_goodbye(deadline)
                else:
                    self._exchange_goodbyes(deadline)
        except (WantReadError, WantWriteError):
            raise
        except BaseException:
            if not self._turns.release():
                return  # Another thread has closed it meanwhile.
            raise
        else:
            self._turns.release()

    def _say_goodbye(self, deadline: Deadline) -> None:
        """Send close_notify; that the peer has gone is no error."""
        while True:
            with self._turns.lock:
                with suppress(TLSError):
                    self._driver.close()
                self._turns.transport.flush()
                if not self._turns.transport.has_unsent:
                    return
                if deadline.non_blocking and self._close_tried:
                    return
                self._close_tried = deadline.non_blocking
            self._turns.wait(WRITE, deadline)

    def _exchange_goodbyes(self, deadline: Deadline) -> None:
        """Send close_notify and read until the peer's; late data is discarded."""

        def attempt() -> Need | None:
            self._turns.transport.flush()
            while (data := self._driver.read(RECORD)) != b"":
                if isinstance(data, Need):
                    return data
            return Need.WRITE if self._turns.transport.has_unsent else None

        try:
            with self._turns.lock:
                self._driver.close()
                self._turns.closing = True
                self._turns.transport.flush()
        except TLSError as error:
            told = self._turns.told(error, deadline)
            raise told from told.__cause__
        try:
            with self._turns.to_receive(deadline):
                self._turns.drive(attempt, deadline, sends=True)
        except (TLSError, TimeoutError):
            raise
        except OSError:
            # Both have said what there was to say, the peer has only not waited for ours.
            if self._driver.state is not State.CLOSED:
                raise

    def abandon(self) -> None:
        """Close the descriptor without a word to the peer, as dropping the socket does."""
        self._turns.release()

    def farewell(self) -> Interest | None:
        """Go on telling the peer of a failure; return what that waits for, None when it is done."""
        return self._turns.farewell()

    def __del__(self) -> None:
        # Whoever waits holds the socket, so nobody does. A constructor may have failed.
        turns: Turns | None = getattr(self, "_turns", None)
        stream = None if turns is None else turns.transport.stream
        if isinstance(stream, socket.socket):
            stream.close()

    # --- inside ---

    def _ensure_handshake(self, deadline: Deadline) -> None:
        if not self._driver.established:
            self.handshake(deadline)

    def _nothing(self, result: _T) -> _T:
        """The outcome of a call about no byte at all."""
        with self._turns.lock:
            self._turns.transport.check_open()
        return result
