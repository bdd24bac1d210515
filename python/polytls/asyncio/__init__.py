"""TLS for asyncio: its functions and signatures, with `tls=` in place of `ssl=`.

`tls` is a PEP 748 context of any implementation. The transports behave as asyncio documents them
for TCP, on asyncio's event loops and on uvloop; docs/asyncio.md has examples.

Differences from asyncio's own TLS:

- The end of the peer's data is `eof_received` after its close_notify; a connection that just ends
  is `connection_lost` with RaggedEOF. In TLS 1.3, if `eof_received` returns a true value, our
  direction stays open, and `write_eof` ends only our direction.
- A failed handshake raises polytls's error where it was awaited; nothing is logged.
- Timeouts raise TimeoutError.
"""

from .connections import (
    HANDSHAKE_TIMEOUT,
    SHUTDOWN_TIMEOUT,
    create_connection,
    create_server,
    create_unix_connection,
    create_unix_server,
    start_tls,
)
from .protocol import LINGER
from .streams import (
    open_connection,
    open_unix_connection,
    start_server,
    start_tls_streams,
    start_unix_server,
)
from .transport import TLSTransport

__all__ = [
    "HANDSHAKE_TIMEOUT",
    "LINGER",
    "SHUTDOWN_TIMEOUT",
    "TLSTransport",
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_tls",
    "start_tls_streams",
    "start_unix_server",
]
