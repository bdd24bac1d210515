"""The transport for an application's protocol: an `asyncio.Transport` without its own state.

`polytls.asyncio.protocol` implements it.
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
    """A connection protected by TLS, as an asyncio transport. Created by this package's functions.

    Extra information: that of the underlying transport ("peername", "sockname", "socket"); "tls",
    the facts of the connection as a ConnectionInfo; "tls_session", its TLSSession for other
    connections to resume; and "tls_buffer", the TLSBuffer, for anything else it reports, such as a
    channel binding. Do not read from the buffer or write to it.
    """

    def __init__(self, connection: TLSProtocol) -> None:
        super().__init__()
        self._connection = connection

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact of the connection, see the class; `default` if it is unknown."""
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
        """Deliver data to another protocol from now on."""
        self._connection.set_app(protocol)

    # --- reading ---

    def is_reading(self) -> bool:
        """Return whether data is delivered as it arrives."""
        return not (self._connection.closing or self._connection.paused)

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`; the peer is slowed down in the meantime."""
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Deliver data again."""
        self._connection.resume_reading()

    def pending(self) -> int:
        """Return how many bytes of data are buffered because the protocol has paused."""
        tls = self._connection.tls
        return tls.pending() if tls._look_ahead() else 0

    # --- writing ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`. Never blocks; the underlying transport buffers what the system does not
        accept.

        What is written after the end is dropped, as by asyncio's transports; `drain` reports it.
        Raises RuntimeError after `write_eof`, and TypeError for anything but bytes-like objects.
        """
        if type(data) is not bytes and not isinstance(data, _BYTES_LIKE):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if data:
            self._connection.write(data)

    def can_write_eof(self) -> bool:
        """Return whether one direction can be closed first: only in TLS 1.3 (RFC 8446 6.1)."""
        return self._connection.tls.negotiated_tls_version is TLSVersion.TLSv1_3

    def write_eof(self) -> None:
        """Send close_notify: the peer reads to the end of our data, and can keep sending.

        Raises NotImplementedError in TLS 1.2, where both directions end together.
        """
        if not self.can_write_eof():
            raise NotImplementedError("TLS 1.2 does not support half-close")
        self._connection.write_eof()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes of ciphertext are waiting to be sent."""
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

    # --- closing ---

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        # A broken underlying transport knows before we are told, and `StreamWriter.drain` yields to
        # the loop, which tells us, only if this is true.
        return self._connection.closing or self._connection.below.is_closing()

    def close(self) -> None:
        """Send buffered data and close_notify, and close when the peer has acknowledged all data.

        Incoming data is discarded. If nothing is acknowledged for the shutdown timeout, the
        protocol gets TimeoutError in `connection_lost`; after a reset it gets ConnectionResetError,
        if data is lost.
        """
        self._connection.close()

    def abort(self) -> None:
        """Close at once; buffered data is dropped, and the peer is not notified."""
        self._connection.abort()

    def __repr__(self) -> str:
        connection = self._connection
        state = connection.state.name.lower().replace("_", " ")
        return f"<{type(self).__name__} {state} over {getattr(connection, 'below', None)!r}>"
