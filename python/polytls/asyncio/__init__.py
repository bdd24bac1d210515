"""TLS for asyncio: its functions and their signatures, with `tls=` in the place of `ssl=`.

`tls` takes a PEP 748 context of any implementation. The transports behave as asyncio documents
them for TCP, on the standard event loops and on uvloop; docs/asyncio.md has examples.

What differs from asyncio's own TLS:

- The end of the peer's data is `eof_received` after its close_notify; a connection that just ends
  is `connection_lost` with RaggedEOF. In TLS 1.3 a true result of `eof_received` keeps our
  direction open, and `write_eof` ends it alone.
- What ends a handshake is raised where it was awaited, as polytls's error, with nothing logged.
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
