"""TLS sockets: the native one, and the parts that are best written in Python.

These are files, the plain socket after TLS, socket options, and the warning for a socket that
nobody closed. Calls that carry data are the native ones, unchanged. This module imports `socket`,
which takes milliseconds: contexts import it when they create the first socket.
"""

from __future__ import annotations

import io
import os
import socket
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, final

from .. import _native
from ..errors import WantWriteError
from .files import check_file, send_pieces
from .unwrapped import UnwrappedSocket

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from .carrier import Carrier

__all__ = ["ExtendedSocket", "StreamSocket", "made_of"]


class StreamSocket(_native.TLSSocket):
    """A TLS connection over a socket or any byte stream, or a listener.

    Only `connect` and `wrap_socket` of a context, `polytls.streams`, and `accept` create it.

    While files are open (`_io_refs`), `close` only sets `_closed`; closing the last file closes the
    socket. Both names are those of `socket.socket`, whose `makefile` uses them.
    """

    __slots__ = ("__weakref__", "_closed", "_io_refs")

    def __init__(self, handle: _native.SocketHandle) -> None:  # noqa: ARG002 - `__new__` has it
        self._io_refs = 0
        self._closed = False

    def __init_subclass__(cls) -> None:
        if cls.__module__ != __name__:
            raise TypeError(f"{cls.__base__} is final: contexts create it, and use no subclass")

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if self._is_closed or self._inherited:
            return
        try:
            warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:
            # A saved warning keeps the socket alive. A byte stream has its own way to end.
            descriptor = super().detach()
            if descriptor >= 0:
                socket.close(descriptor)

    # --- closing ---

    def close(self, force: bool = False) -> None:
        """Close the connection: send close_notify and, unless `force`, wait for delivery.

        See `TLSSocket.close`. While files are open, only the intention is noted; closing the last
        file, or leaving `with`, closes the connection. A listener is closed together with its
        handshakes in progress.
        """
        if self._io_refs:
            self._closed = True
        else:
            super().close(force)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """Close normally, or with `force` after an exception.

        Raises what `close` raises, except WantReadError and WantWriteError. A non-blocking socket
        is closed at once; TimeoutError if the system has not accepted all data.
        """
        if kind is not None:
            try:
                self.close(force=True)
            except WantWriteError:
                # Non-blocking, and the system accepts no more: a second call closes in any case.
                self.close(force=True)
        elif self._io_refs:
            self._closed = True
        else:
            self._end()

    def unwrap(self) -> Any:
        """End TLS in both directions, and return the underlying socket or stream
        (`SupportsUnwrap`).

        Data that arrived together with the peer's close_notify is received first
        (`UnwrappedSocket`, `UnwrappedStream`).
        """
        timeout = self.gettimeout()
        descriptor, unread = self._unwrap()
        carrier: Carrier | None = self._carrier
        if carrier is not None:
            return carrier.give_back(timeout, unread)
        try:
            if unread:
                return UnwrappedSocket(descriptor, unread, timeout)
            plain = socket.socket(fileno=descriptor)
        except BaseException:
            socket.close(descriptor)
            raise
        plain.settimeout(timeout)
        return plain

    def detach(self) -> int:
        """Return the descriptor and release it, without notifying the peer; -1 after closing.

        Calls that are waiting for the peer keep waiting for it, and then report that the socket is
        closed. Raises OSError on a byte stream without a descriptor to release.
        """
        carrier: Carrier | None = self._carrier
        if carrier is None or self._is_closed:
            return super().detach()
        carrier.check_detach()
        timeout = self.gettimeout()
        super().detach()
        return carrier.detach(timeout)

    # --- files ---

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Return a file object for the connection, like `socket.socket.makefile`.

        The connection stays open until it and all its files are closed.
        """
        self._check_connection()
        # It only needs recv_into, send, and the count of files from its socket.
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
        self._io_refs -= 1
        if self._closed and not self._io_refs:
            self.__exit__()

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send `file` from `offset`, completely or `count` bytes; return how many bytes were sent.

        A regular file is read and sent natively. The timeout applies to the call as a whole.
        Afterwards, even after an error, the position of a seekable `file` is just after the last
        byte accepted.
        """
        if self.gettimeout() == 0:
            raise ValueError("sendfile needs a blocking socket")
        check_file(file, offset, count)
        self._check_connection()
        descriptor = _regular_file(file)
        if descriptor is None:
            return self._send_pieces(file, offset, count)
        sent, error = self._send_file(descriptor, offset, count)
        file.seek(offset + sent)
        if error is not None:
            raise error
        return sent

    def _send_pieces(self, file: IO[bytes], offset: int, count: int | None) -> int:
        timeout = self.gettimeout()
        until = None if timeout is None else monotonic() + timeout

        def send(view: memoryview) -> tuple[int, bool]:
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return 0, False
            return self._send_within(view, left), True

        return send_pieces(file, offset, count, send)

    def _check_connection(self) -> None:
        self.send(b"")

    # --- the underlying socket ---

    @contextmanager
    def _below(self, name: str) -> Iterator[Any]:
        """A method of the underlying socket, on a separate descriptor, as this may be closed."""
        carrier: Carrier | None = self._carrier
        if carrier is None:
            with socket.socket(fileno=self._duplicate()) as plain:
                yield getattr(plain, name)
        else:
            self._check_connection()
            yield carrier.option_call(name)

    @property
    def family(self) -> int:
        """The address family, like `socket.socket.family`; AF_UNSPEC for anything but a socket."""
        return socket.AddressFamily(self._family_and_protocol[0])

    @property
    def type(self) -> int:
        """The socket type: `socket.SOCK_STREAM`.

        To `loop.sock_sendfile` of asyncio: TypeError.
        """
        # It would write the file to the descriptor, as plaintext. It refuses sockets of `ssl`; of
        # others it asks nothing but this.
        if sys._getframe(1).f_code.co_name == "_check_sendfile_params":
            raise TypeError("loop.sock_sendfile() would send plaintext: use loop.sock_sendall()")
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """The protocol number."""
        return self._family_and_protocol[1]

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """Return an option, like `socket.socket.getsockopt`."""
        given = (buflen,) if buflen else ()
        with self._below("getsockopt") as getsockopt:
            option: int | bytes = getsockopt(level, optname, *given)
            return option

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int = 0, /
    ) -> None:
        """Set an option, like `socket.socket.setsockopt`."""
        given = (optlen,) if value is None else ()
        with self._below("setsockopt") as setsockopt:
            setsockopt(level, optname, value, *given)


@final
class ExtendedSocket(StreamSocket):
    """A socket whose library supports more than all implementations do."""

    __slots__ = ()

    def update_keys(self) -> None:
        """Update the sending keys (`SupportsKeyUpdate.update_keys`)."""
        self._update_keys()

    def write_early_data(self, data: Buffer) -> int:
        """Queue data to send with a client's first flight (`SupportsEarlyData`)."""
        return self._write_early_data(data)

    def read_early_data(self, amt: int) -> bytes:
        """Receive what a client sent with its first flight (`SupportsEarlyData`)."""
        return self._read_early_data(amt)

    def export_keying_material(
        self, label: str | bytes, context: Buffer | None, length: int
    ) -> bytes:
        """Export keying material of this connection (`SupportsExporter`)."""
        return self._export_keying_material(label, context, length)


def made_of(handle: _native.SocketHandle) -> StreamSocket:
    """Return the socket for parts that the core has created, with everything that its library
    supports.

    A third-party buffer may support some of it: `isinstance` shows which.
    """
    offers = frozenset(handle.offers)
    return (_offering(offers) if offers else StreamSocket)(handle)


@lru_cache
def _offering(names: frozenset[str]) -> type[StreamSocket]:
    own = {name: member for name, member in vars(ExtendedSocket).items() if name[0] != "_"}
    if names == own.keys():
        return ExtendedSocket
    members = {name: member for name, member in own.items() if name in names}
    about = {"__slots__": (), "__module__": __name__, "__doc__": StreamSocket.__doc__}
    return type("StreamSocket", (StreamSocket,), about | members)


def _regular_file(file: IO[bytes]) -> int | None:
    """The descriptor of `file`, if it reads the contents of a regular file unchanged.

    Other files have a descriptor too, for example of what they decompress or decrypt. None where
    the system has no call to read at an offset, as on Windows.
    """
    if not hasattr(os, "pread"):
        return None
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if type(raw) is not io.FileIO or not raw.readable():
        return None
    # Data written through the file object has to be sent, too.
    file.flush()
    descriptor = raw.fileno()
    return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
