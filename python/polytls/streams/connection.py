"""TLS sockets: the native one, and what is best said in Python.

That is files over it, plain sockets out of it, its options, and a warning where nobody closed it.
Calls that carry data are the native ones, unchanged. Importing this takes `socket` along, which
costs milliseconds: contexts do so when they make the first socket.
"""

from __future__ import annotations

import io
import os
import socket
import stat
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
    """A TLS connection over a socket or any byte stream, or a listener for such.

    Made by `connect` and `wrap_socket` of a context, by `polytls.streams`, and by `accept`; never
    by hand.

    While files are open (`_io_refs`), `close` only remembers (`_closed`); the last file that is
    closed closes the socket. Both names are those of `socket.socket`, whose `makefile` uses them.
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
            # Who keeps warnings keeps the socket. A byte stream has its own way to end.
            descriptor = super().detach()
            if descriptor >= 0:
                os.close(descriptor)

    # --- the end ---

    def close(self, force: bool = False) -> None:
        """End the connection: send close_notify and, unless `force`, wait until all is delivered.

        `TLSSocket.close` says how. While files are open it only remembers; the last one that is
        closed closes it, as leaving `with` does. A listener is closed with the handshakes it has in
        progress.
        """
        if self._io_refs:
            self._closed = True
        else:
            super().close(force)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """Close in order, or, where an exception passes, with `force`.

        Raises what `close` raises, but for WantReadError and WantWriteError. A non-blocking socket
        is closed at once; TimeoutError if the system has not taken all data by then.
        """
        if kind is not None:
            try:
                self.close(force=True)
            except WantWriteError:
                # Non-blocking, and the system takes no more: a second time closes in any case.
                self.close(force=True)
        elif self._io_refs:
            self._closed = True
        else:
            self._end()

    def unwrap(self) -> Any:
        """End TLS in both directions, and give back what is below it (`SupportsUnwrap.unwrap`).

        That is the plain socket, or the stream that was wrapped. What came together with the peer's
        close_notify is received first (`UnwrappedSocket`, `UnwrappedStream`).
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
            os.close(descriptor)
            raise
        plain.settimeout(timeout)
        return plain

    def detach(self) -> int:
        """Return the descriptor and let go of it, with nothing said to the peer; -1 once closed.

        Calls that wait for the peer go on waiting for it, and then say that it is closed. Raises
        OSError over a byte stream that has no descriptor to give away.
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
        self._io_refs -= 1
        if self._closed and not self._io_refs:
            self.__exit__()

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send `file` from `offset`, all of it or `count` bytes; return how many were sent.

        A file of the system's is read and sent natively. The timeout is for the whole. `file` then
        stands behind the last byte that was accepted, after an error as well, if it is one that can
        be positioned.
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

    # --- the socket below ---

    @contextmanager
    def _below(self, name: str) -> Iterator[Any]:
        """A method of the socket below: by a descriptor of its own, as this may be closed."""
        carrier: Carrier | None = self._carrier
        if carrier is None:
            with socket.socket(fileno=self._duplicate()) as plain:
                yield getattr(plain, name)
        else:
            self._check_connection()
            yield carrier.option_call(name)

    @property
    def family(self) -> int:
        """The address family, as `socket.socket.family`; AF_UNSPEC over what is no socket."""
        return socket.AddressFamily(self._family_and_protocol[0])

    @property
    def type(self) -> int:
        """The kind of socket: `socket.SOCK_STREAM`."""
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """The protocol's number."""
        return self._family_and_protocol[1]

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """Return an option, as `socket.socket.getsockopt`."""
        given = (buflen,) if buflen else ()
        with self._below("getsockopt") as getsockopt:
            option: int | bytes = getsockopt(level, optname, *given)
            return option

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int = 0, /
    ) -> None:
        """Set an option, as `socket.socket.setsockopt`."""
        given = (optlen,) if value is None else ()
        with self._below("setsockopt") as setsockopt:
            setsockopt(level, optname, value, *given)


@final
class ExtendedSocket(StreamSocket):
    """One whose library can do more than those of all implementations."""

    __slots__ = ()

    def update_keys(self) -> None:
        """Change the keys for sending (`SupportsKeyUpdate.update_keys`)."""
        self._update_keys()

    def write_early_data(self, data: Buffer) -> int:
        """Queue data to leave with a client's first flight (`SupportsEarlyData`)."""
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
    """Return the socket that the core has made the parts of, with all that its library can do.

    Somebody else's buffer may be able to do some of it: `isinstance` tells what.
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
    """The descriptor behind `file`, if what it reads is what stands in the system's file.

    Others have a descriptor too, of what they decompress or decrypt, say.
    """
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if type(raw) is not io.FileIO or not raw.readable():
        return None
    # What was written through the file object is to be sent, too.
    file.flush()
    descriptor = raw.fileno()
    return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
