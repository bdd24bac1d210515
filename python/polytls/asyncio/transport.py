"""The transport that an application's protocol gets: `asyncio.Transport`, and no state of its own.

What it does stands in `polytls.asyncio.protocol`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ..constants import TLSVersion

if TYPE_CHECKING:
    from .protocol import TLSProtocol

__all__ = ["TLSTransport"]

_BYTES_LIKE: Final = (bytes, bytearray, memoryview)


class TLSTransport(asyncio.Transport):
    """A connection that TLS protects, as asyncio has transports. Made by this package's functions.

    Extra information: what the transport below has ("peername", "sockname", "socket"), "tls", the
    facts of the connection as a ConnectionInfo, "tls_session", its TLSSession for other connections
    to resume, and "tls_buffer", the TLSBuffer, for what else it can tell (a channel binding, say).
    Nothing may be read from it or written to it.
    """

    def __init__(self, connection: TLSProtocol) -> None:
        super().__init__()
        self._connection = connection

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact of the connection, see the class; `default` for what is not known."""
        if name == "tls":
            return self._connection.tls.info
        if name == "tls_session":
            return getattr(self._connection.buffer, "session", default)
        if name == "tls_buffer":
            return self._connection.buffer
        return self._connection.below.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the application's protocol."""
        return self._connection.app  # type: ignore[no-any-return]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give data to another protocol from now on."""
        self._connection.set_app(protocol)

    # --- reading ---

    def is_reading(self) -> bool:
        """Return whether data is handed over as it comes."""
        return not (self._connection.closing or self._connection.paused)

    def pause_reading(self) -> None:
        """Hand over nothing more until `resume_reading`; the peer is held back meanwhile."""
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Hand over data again."""
        self._connection.resume_reading()

    def pending(self) -> int:
        """Return how many bytes of data are here that the protocol has not got: it has paused."""
        tls = self._connection.tls
        return tls.pending() if tls._look_ahead() else 0

    # --- writing ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`. Never blocks; what the system does not take waits below.

        What is written after the end is dropped, as asyncio's transports do; a `drain` tells.
        Raises RuntimeError after `write_eof`, TypeError for what is not bytes-like.
        """
        if type(data) is not bytes and not isinstance(data, _BYTES_LIKE):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if data:
            self._connection.write(data)

    def can_write_eof(self) -> bool:
        """Return whether one direction can end alone: in TLS 1.3 (RFC 8446 6.1)."""
        return self._connection.tls.negotiated_tls_version is TLSVersion.TLSv1_3

    def write_eof(self) -> None:
        """Send close_notify: the peer comes to the end of our data, and may go on sending.

        Raises NotImplementedError in TLS 1.2, where one end is that of both.
        """
        if not self.can_write_eof():
            raise NotImplementedError("TLS 1.2 does not support half-close")
        self._connection.write_eof()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent, as ciphertext."""
        connection = self._connection
        if connection.transport is None:
            return 0
        return connection.tls.outgoing_bytes_buffered() + connection.below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high watermark, in bytes of ciphertext."""
        return self._connection.below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the watermarks: above `high` the protocol is told to pause, at `low` to resume."""
        if self._connection.transport is not None:
            self._connection.below.set_write_buffer_limits(high, low)

    # --- the end ---

    def is_closing(self) -> bool:
        """Return whether the connection is being closed, or is."""
        # A transport below that is broken knows before we hear of it, and `StreamWriter.drain`
        # gives way to the loop, which tells us, only where this is true.
        return self._connection.closing or self._connection.below.is_closing()

    def close(self) -> None:
        """Send what waits and close_notify, and close when the peer has acknowledged all data.

        What still comes is discarded. When nothing is acknowledged for the shutdown timeout, the
        protocol gets TimeoutError in `connection_lost`; after a reset ConnectionResetError, if data
        is lost.
        """
        self._connection.close()

    def abort(self) -> None:
        """Close at once; what waits is dropped, and the peer is told nothing."""
        self._connection.abort()

    def __repr__(self) -> str:
        connection = self._connection
        state = connection.state.name.lower().replace("_", " ")
        return f"<{type(self).__name__} {state} over {getattr(connection, 'below', None)!r}>"
