"""A buffer that somebody else might have written: rustls's, wrapped in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polytls
from polytls import TLSClientConfiguration, TLSServerConfiguration, TLSVersion, TrustStore, _native
from polytls.testing.certificates import CertificateAuthority
from polytls.testing.memory import Pair

HOST = "server.example"
AUTHORITY = CertificateAuthority()
IDENTITY = AUTHORITY.issue(HOST)
_RUSTLS = polytls.implementation("rustls")


class Wrapped:
    """The interface of PEP 748, and nothing beyond it. Tests take methods' places."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.context = inner.context

    def __getattr__(self, name: str) -> Any:
        if name in _INTERFACE:
            return getattr(self.inner, name)
        raise AttributeError(name)


_INTERFACE = {
    "read",
    "write",
    "do_handshake",
    "shutdown",
    "process_incoming",
    "incoming_bytes_buffered",
    "process_outgoing",
    "outgoing_bytes_buffered",
    "getpeercert",
    "cipher",
    "negotiated_protocol",
    "negotiated_tls_version",
}

Change = Callable[[Any], None]


def client_context(version: TLSVersion = TLSVersion.TLSv1_3, **given: Any) -> Any:
    store = TrustStore.from_buffer(AUTHORITY.certificate_pem)
    configuration = TLSClientConfiguration(
        trust_store=store, highest_supported_version=version, **given
    )
    return _RUSTLS.client_context(configuration)


def server_context(version: TLSVersion = TLSVersion.TLSv1_3, **given: Any) -> Any:
    configuration = TLSServerConfiguration(
        certificate_chain=[IDENTITY], highest_supported_version=version, **given
    )
    return _RUSTLS.server_context(configuration)


def a_pair(
    version: TLSVersion = TLSVersion.TLSv1_3, kind: type[Wrapped] = Wrapped
) -> tuple[Pair[Any, Any], Wrapped]:
    """A pair that has not begun, its client driven by the core; and the client's own buffer."""
    wrapped = kind(client_context(version).create_buffer(HOST))
    server = server_context(version).create_buffer()
    return Pair(_native.connection_of(wrapped), server), wrapped  # type: ignore[arg-type]
