"""The interface of a TLS implementation: PEP 748's protocol classes, and polytls's extensions.

`ClientContext`, `ServerContext`, `TLSSocket` and `TLSBuffer` have only the PEP's methods
(`pep748.py`). Their docstrings define what the PEP leaves open, and the conformance kit tests it.
Each extension is a separate protocol, `Supports...` (`connections.py`, `contexts.py`), so that
other implementations can offer it and callers can check for it: `isinstance(connection,
SupportsInfo)`. For `with`, check `contextlib.AbstractContextManager`. `Connection` and `Listener`
(`whole.py`) are for annotations: they have everything that polytls's own sockets have.

`isinstance` only checks the names of members. It can tell a socket from a buffer, but not a client
context from a server context; check their `configuration` for that.

Rules for every call:

- After a fatal error (the peer's misconduct, its certificate, its alert) a connection stays failed:
  every later call raises the same class with the same facts, except `TLSBuffer.process_outgoing`,
  which still returns the alert for the peer.
- The peer is verified inside the handshake. No application data is exchanged before that, except
  early data, if the configuration enables it (`SupportsEarlyData`).
- Threads can share contexts. One thread can read from a connection while another writes to it.
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
