"""Pairs whose client is a buffer that somebody else might have written."""

from __future__ import annotations

from typing import Any

import polytls
from polytls import TLSClientConfiguration, TLSServerConfiguration, TLSVersion, TrustStore
from polytls.testing.certificates import CertificateAuthority
from polytls.testing.conformance.driven import Wrapped, driven
from polytls.testing.memory import Pair

HOST = "server.example"
AUTHORITY = CertificateAuthority()
IDENTITY = AUTHORITY.issue(HOST)
_RUSTLS = polytls.implementation("rustls")


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
    client = client_context(version).create_buffer(HOST)
    wrapped = kind(client)
    return driven(Pair(client, server_context(version).create_buffer()), wrapped), wrapped
