"""What a TLS implementation offers: PEP 748's protocol classes, and polytls's extensions to them.

`ClientContext`, `ServerContext`, `TLSSocket` and `TLSBuffer` have the PEP's methods and no more
(`pep748.py`). The docstrings say what each call means where the PEP leaves it open; polytls's
conformance kit holds implementations to it. What goes beyond the PEP is a protocol of its own,
`Supports...` (`connections.py`, `contexts.py`), so that others can offer it and drivers can ask for
it: `isinstance(connection, SupportsInfo)`. For `with` there is `contextlib.AbstractContextManager`.
`Connection` and `Listener` (`whole.py`) are for annotations: all that polytls's own sockets have.

`isinstance` looks at the names of the members alone. It tells a socket from a buffer, but not a
client's context from a server's: their `configuration` does.

Rules that hold for every call:

- After a fatal error (the peer's misconduct, its certificate, its alert) a connection stays
  failed: every later call raises the same class with the same facts, except
  `TLSBuffer.process_outgoing`, which still yields the alert for the peer.
- The peer is verified inside the handshake. No byte of data is exchanged before it is done, but for
  early data where a configuration asks for that (`SupportsEarlyData`).
- Contexts may be shared between threads. One connection may be read by one thread and written by
  another at the same time.
"""

from .connections import (
    ByteStream,
    SupportsChannelBinding,
    SupportsDetach,
    SupportsDoHandshake,
    SupportsEarlyData,
    SupportsExporter,
    SupportsFileno,
    SupportsInfo,
    SupportsKeyUpdate,
    SupportsMakefile,
    SupportsOpen,
    SupportsPending,
    SupportsRecvInto,
    SupportsSeal,
    SupportsSendall,
    SupportsSendfile,
    SupportsSession,
    SupportsShutdown,
    SupportsSocketOptions,
    SupportsTimeout,
    SupportsUnwrap,
)
from .contexts import (
    SupportsClientWrapSocket,
    SupportsEffectiveCiphers,
    SupportsHandshakeMayBlock,
    SupportsServerWrapSocket,
    SupportsStatistics,
)
from .pep748 import ClientContext, ServerContext, TLSBuffer, TLSImplementation, TLSSocket
from .whole import Connection, Listener

__all__ = [
    "ByteStream",
    "ClientContext",
    "Connection",
    "Listener",
    "ServerContext",
    "SupportsChannelBinding",
    "SupportsClientWrapSocket",
    "SupportsDetach",
    "SupportsDoHandshake",
    "SupportsEarlyData",
    "SupportsEffectiveCiphers",
    "SupportsExporter",
    "SupportsFileno",
    "SupportsHandshakeMayBlock",
    "SupportsInfo",
    "SupportsKeyUpdate",
    "SupportsMakefile",
    "SupportsOpen",
    "SupportsPending",
    "SupportsRecvInto",
    "SupportsSeal",
    "SupportsSendall",
    "SupportsSendfile",
    "SupportsServerWrapSocket",
    "SupportsSession",
    "SupportsShutdown",
    "SupportsSocketOptions",
    "SupportsStatistics",
    "SupportsTimeout",
    "SupportsUnwrap",
    "TLSBuffer",
    "TLSImplementation",
    "TLSSocket",
]
