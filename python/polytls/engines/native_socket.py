"""Sockets of what the Rust core drives: the native one, and what is best said in Python.

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
from time import monotonic
from typing import IO, TYPE_CHECKING, final

from .. import _native
from ..files import MakesFiles, check_file, send_pieces

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ExtendedSocket", "NativeSocket"]


class NativeSocket(_native.TLSSocket, MakesFiles):
    """A TLS connection over a stream socket, or a listener for such.

    Made by `connect` and `wrap_socket` of a context, and by `accept`; never by hand.
    """

    __slots__ = ("__weakref__", "_closed", "_io_refs")

    def __init__(self, handle: _native.SocketHandle) -> None:  # noqa: ARG002 - `__new__` has it
        self._io_refs = 0
        self._closed = False

    def __init_subclass__(cls) -> None:
        if cls.__module__ != __name__:
            raise TypeError(f"{cls.__base__} is final: contexts make it, and know no other class")

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if self.fileno() >= 0 and not self._inherited:
            try:
                warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:
                # Who keeps warnings keeps the socket.
                os.close(self.detach())

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

    def _leave(self) -> None:
        if self._io_refs:
            self._closed = True
        else:
            self._end()

    def unwrap(self) -> socket.socket:
        """End TLS in both directions, and give the plain socket back (`SupportsUnwrap.unwrap`)."""
        timeout = self.gettimeout()
        descriptor, unread = self._unwrap()
        try:
            if unread:
                from ..streams.unwrapped import UnwrappedSocket

                return UnwrappedSocket(descriptor, unread, timeout)
            plain = socket.socket(fileno=descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        plain.settimeout(timeout)
        return plain

    # --- files ---

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send `file` from `offset`, all of it or `count` bytes; return how many were sent.

        A file of the system's is read and sent natively. The timeout is for the whole. `file` then
        stands behind the last byte that was accepted, after an error as well, if it is one that can
        be positioned.
        """
        if self.gettimeout() == 0:
            raise ValueError("sendfile takes its time: the socket must not be non-blocking")
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
    def _below(self) -> Iterator[socket.socket]:
        """The plain socket, by a descriptor of its own: this one may be closed meanwhile."""
        with socket.socket(fileno=self._duplicate()) as plain:
            yield plain

    @property
    def family(self) -> int:
        """The address family, as `socket.socket.family`."""
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
        with self._below() as plain:
            return plain.getsockopt(level, optname, *given)

    def setsockopt(
        self, level: int, optname: int, value: int | Buffer | None, optlen: int = 0, /
    ) -> None:
        """Set an option, as `socket.socket.setsockopt`."""
        with self._below() as plain:
            if value is None:
                plain.setsockopt(level, optname, None, optlen)
            else:
                plain.setsockopt(level, optname, value)


@final
class ExtendedSocket(NativeSocket):
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
