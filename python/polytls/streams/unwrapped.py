"""What `unwrap` returns if plaintext arrived together with the peer's close_notify.

The plaintext was received with TLS records, and cannot be returned to the system. So these objects
return it first, and then the rest of the stream. A selector does not see it: use `pending`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..interfaces import ByteStream

__all__ = ["UnwrappedSocket", "UnwrappedStream"]


class UnwrappedSocket(socket.socket):
    """The plain socket with `descriptor`, which it owns; `unread` is received first.

    Like any socket, except for `pending`. While that is not 0, `detach` and `dup` raise OSError,
    because the data would be lost.
    """

    __slots__ = ("_unread",)

    def __init__(self, descriptor: int, unread: bytes, timeout: float | None) -> None:
        super().__init__(fileno=descriptor)
        self._unread = memoryview(unread)
        self.settimeout(timeout)

    def pending(self) -> int:
        """Return how many bytes are waiting here, which a selector does not see."""
        return len(self._unread)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Like `socket.socket.recv`."""
        if not self._unread or bufsize < 0:
            return super().recv(bufsize, flags)
        return self._take(bufsize, flags).tobytes()

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Like `socket.socket.recv_into`."""
        return self.recvfrom_into(buffer, nbytes, flags)[0]

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Like `socket.socket.recvfrom`."""
        if not self._unread or bufsize < 0:
            return super().recvfrom(bufsize, flags)
        return self._take(bufsize, flags).tobytes(), None

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Like `socket.socket.recvfrom_into`."""
        with memoryview(buffer) as given, given.cast("B") as view:
            if not self._unread or nbytes < 0 or nbytes > len(view):
                return super().recvfrom_into(view, nbytes, flags)
            return self._fill([view[: nbytes or len(view)]], flags), None

    if sys.platform != "win32":  # It has no such calls.

        def recvmsg(
            self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
        ) -> tuple[bytes, list[Any], int, Any]:
            """Like `socket.socket.recvmsg`."""
            if not self._unread or bufsize < 0:
                return super().recvmsg(bufsize, ancbufsize, flags)
            return self._take(bufsize, flags).tobytes(), [], 0, None

        def recvmsg_into(
            self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
        ) -> tuple[int, list[Any], int, Any]:
            """Like `socket.socket.recvmsg_into`."""
            if not self._unread:
                return super().recvmsg_into(buffers, ancbufsize, flags)
            return self._fill([memoryview(each).cast("B") for each in buffers], flags), [], 0, None

    def detach(self) -> int:
        """Like `socket.socket.detach`; raises OSError while data is pending."""
        self._refuse_to_lose()
        return super().detach()

    def dup(self) -> socket.socket:  # type: ignore[override]  # What it gives is plain.
        """Like `socket.socket.dup`; raises OSError while data is pending."""
        self._refuse_to_lose()
        made = socket.socket(self.family, self.type, self.proto, fileno=socket.dup(self.fileno()))
        made.settimeout(self.gettimeout())
        return made

    def _real_close(self) -> None:
        # Called by `close`, or when the last file of it is closed.
        self._unread = memoryview(b"")
        super()._real_close()  # type: ignore[misc]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a socket cannot be pickled or copied")

    def _take(self, amount: int, flags: int) -> memoryview:
        taken = self._unread[:amount]
        if not flags & socket.MSG_PEEK:
            self._unread = self._unread[amount:]
        return taken

    def _fill(self, views: list[memoryview], flags: int) -> int:
        data = self._take(sum(map(len, views)), flags)
        filled = 0
        for view in views:
            part = data[filled : filled + len(view)]
            view[: len(part)] = part
            filled += len(part)
        return filled

    def _refuse_to_lose(self) -> None:
        if self._unread:
            raise OSError(
                f"{len(self._unread)} bytes were already received and would be lost: call recv "
                "first"
            )


class UnwrappedStream:
    """The byte stream `stream`; `unread` is received first. Everything else is the stream's."""

    def __init__(self, stream: ByteStream, unread: bytes) -> None:
        self._stream = stream
        self._unread = unread

    def recv(self, bufsize: int, /) -> bytes:
        """Return up to `bufsize` bytes, `b""` at the end."""
        if not self._unread:
            return self._stream.recv(bufsize)
        data, self._unread = self._unread[:bufsize], self._unread[bufsize:]
        return data

    def recv_into(self, buffer: Buffer, nbytes: int = 0, /) -> int:
        """Fill `buffer` with at most `nbytes` bytes (0: as many as fit), and return the number."""
        with memoryview(buffer) as given, given.cast("B") as view:
            data = self.recv(nbytes or len(view))
            view[: len(data)] = data
            return len(data)

    def send(self, data: bytes, /) -> int:
        """Send some of `data`, and return the number of bytes sent."""
        return self._stream.send(data)

    def close(self) -> None:
        """Close the stream."""
        self._unread = b""
        self._stream.close()

    def pending(self) -> int:
        """Return how many bytes can be received without blocking."""
        return len(self._unread) + getattr(self._stream, "pending", int)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
