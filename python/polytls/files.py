"""Files over a socket, as `makefile` makes them, and files that are sent.

Of the latter: what is refused, and the loop for what is no file of the system's.
"""

from __future__ import annotations

import io
import socket
from abc import abstractmethod
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final

from .arguments import amount_of
from .errors import WantWriteError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["MakesFiles", "check_file", "send_pieces"]

#: Read at a time.
_PIECE: Final = 256 * 1024


class MakesFiles:
    """A socket that files can be made over, and that `with` closes.

    While files are open (`_io_refs`), `close` only remembers (`_closed`); the last file that is
    closed closes the socket, as leaving `with` does.
    """

    __slots__ = ()

    # Two names are those of `socket.socket`, whose `makefile` uses them.
    _io_refs: int
    _closed: bool

    @abstractmethod
    def close(self, force: bool = False) -> None:
        """Close it, or remember to."""

    @abstractmethod
    def _leave(self) -> None:
        """Close it in order, or remember to, with no error that asks for another call."""

    @abstractmethod
    def _check_connection(self) -> None:
        """Raise OSError for a listener, and for what is closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """Close in order, or, where an exception passes, with `force`.

        Raises what `close` raises, but for WantReadError and WantWriteError. A non-blocking socket
        is closed at once; TimeoutError if the system has not taken all data by then.
        """
        if kind is None:
            self._leave()
            return
        try:
            self.close(force=True)
        except WantWriteError:
            # Non-blocking, and the system takes no more: a second time closes in any case.
            self.close(force=True)

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Return a file object over the connection, as `socket.socket.makefile` does.

        The connection stays open until it and all its files are closed.
        """
        self._check_connection()
        # It needs of its socket what this one has: recv_into, send, and the count of files.
        made: IO[Any] = socket.socket.makefile(
            self,  # type: ignore[call-overload]
            mode,
            buffering,
            encoding=encoding,
            errors=errors,
            newline=newline,
        )
        return made

    def _decref_socketios(self) -> None:
        """Called by a file that is closed (`socket.SocketIO`)."""
        self._io_refs -= 1  # type: ignore[misc]  # a slot of the classes that have files
        if self._closed and not self._io_refs:
            self.__exit__()


def check_file(file: IO[bytes], offset: int, count: int | None) -> None:
    """Refuse what cannot be sent, as `socket.socket.sendfile` does: ValueError, TypeError."""
    if not hasattr(file, "read"):
        wrong = type(file).__name__
        raise TypeError(f"file must be a file that is open for reading bytes, not {wrong}")
    if "b" not in str(getattr(file, "mode", "b")) or isinstance(file, io.TextIOBase):
        raise ValueError("file must be open for reading bytes")
    if count is not None and not amount_of("count", count):
        raise ValueError("count must be positive")
    amount_of("offset", offset)


def send_pieces(
    file: IO[bytes],
    offset: int,
    count: int | None,
    send: Callable[[memoryview], tuple[int, bool]],
) -> int:
    """Read `file` from `offset` and send it, all of it or `count` bytes; return how many were sent.

    `send` returns how much it took, and whether there is time for more; if not, this raises
    TimeoutError. `file` then stands behind the last byte that was taken, after an error as well, if
    it is one that can be positioned.
    """
    seekable = file.seekable()
    if seekable or offset:
        file.seek(offset)
    sent = 0
    try:
        while count is None or sent < count:
            view = memoryview(file.read(_PIECE if count is None else min(_PIECE, count - sent)))
            if not view:
                break
            while view:
                taken, in_time = send(view)
                view = view[taken:]
                sent += taken
                if not in_time:
                    raise TimeoutError("timed out")
    finally:
        if seekable:
            file.seek(offset + sent)
    return sent
