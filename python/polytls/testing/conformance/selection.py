"""Tests that only run on implementations with the features that they need.

A test states its needs with `@needs(...)`. Tests that need more than an implementation's published
capabilities are deselected; other tests check that it refuses such configurations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from polytls import (
    NamedGroup,
    SupportsOpen,
    SupportsSeal,
    TLSClientConfiguration,
    TLSVersion,
    interfaces,
)
from polytls.testing import CertificateAuthority

from .basics import SOON, within
from .target import Target

__all__ = ["NEEDS", "needs", "wanting"]


@functools.cache
def _has_fused_calls(target: Target) -> bool:
    """Whether its buffers offer calls that do two steps in one; not where there are none."""
    configuration = TLSClientConfiguration(trust_store=CertificateAuthority().trust_store())

    def made() -> object:
        return target.implementation.client_context(configuration).create_buffer("server.example")

    try:
        return isinstance(within(SOON, made), SupportsOpen | SupportsSeal)
    except Exception:
        return False  # `test_basics` tells.


#: What a case may need, and how to tell whether it is there.
NEEDS: Final[Mapping[str, Callable[[Target], bool]]] = {
    "exact ciphers": lambda target: target.capabilities.cipher_choice == "exact",
    "groups": lambda target: bool(target.capabilities.groups),
    "x25519": lambda target: NamedGroup.x25519 in target.capabilities.groups,
    "client authentication": lambda target: target.capabilities.client_authentication,
    "selection by name": lambda target: target.capabilities.sni_selection,
    "resumption": lambda target: target.capabilities.resumption,
    "system trust": lambda target: "system" in target.capabilities.trust_sources,
    "pins": lambda target: "pins" in target.capabilities.trust_sources,
    "peer verifier": lambda target: target.capabilities.peer_verifier,
    "peers": lambda target: target.capabilities.peers,
    "CRLs": lambda target: target.capabilities.crl,
    "all versions": lambda target: len(target.capabilities.versions) > 1,
    "exporter": lambda target: target.capabilities.exporter,
    "no exporter": lambda target: not target.capabilities.exporter,
    "key log": lambda target: target.capabilities.key_log,
    "no key log": lambda target: not target.capabilities.key_log,
    "ticket keys": lambda target: target.capabilities.ticket_keys,
    "no ticket keys": lambda target: not target.capabilities.ticket_keys,
    "named sessions": lambda target: target.capabilities.named_sessions,
    "early data": lambda target: target.capabilities.early_data,
    "no early data": lambda target: not target.capabilities.early_data,
    "ech": lambda target: target.capabilities.ech,
    "no ech": lambda target: not target.capabilities.ech,
    "ech keys": lambda target: target.capabilities.ech_keys,
    "no ech keys": lambda target: not target.capabilities.ech_keys,
    "certificate compression": lambda target: target.capabilities.certificate_compression,
    "no certificate compression": lambda target: not target.capabilities.certificate_compression,
    "max fragment": lambda target: target.capabilities.max_fragment,
    "no max fragment": lambda target: not target.capabilities.max_fragment,
    "clock": lambda target: target.capabilities.clock,
    "no clock": lambda target: not target.capabilities.clock,
    "signature schemes": lambda target: bool(target.capabilities.signature_schemes),
    "no signature schemes": lambda target: not target.capabilities.signature_schemes,
    "events": lambda target: target.capabilities.events,
    "no events": lambda target: not target.capabilities.events,
    "CA names": lambda target: target.capabilities.certificate_authorities,
    "no CA names": lambda target: not target.capabilities.certificate_authorities,
    "signers": lambda target: "signer" in target.capabilities.key_sources,
    "no signers": lambda target: "signer" not in target.capabilities.key_sources,
    "choice among chains": lambda target: target.capabilities.client_chain_selection,
    "no choice among chains": lambda target: not target.capabilities.client_chain_selection,
    "stapling": lambda target: target.capabilities.ocsp_stapling,
    "staple verification": lambda target: target.capabilities.staple_verification,
    "no staple verification": lambda target: not target.capabilities.staple_verification,
    "no stapling": lambda target: not target.capabilities.ocsp_stapling,
    "end point binding": lambda target: (
        "tls-server-end-point" in target.capabilities.channel_bindings
    ),
    "insecure contexts": lambda target: target.insecure is not None,
    "fused calls": _has_fused_calls,
    "wrap_socket": lambda target: target.contexts_offer(
        interfaces.SupportsClientWrapSocket, interfaces.SupportsServerWrapSocket
    ),
    "unwrap": lambda target: target.sockets_offer(interfaces.SupportsUnwrap),
    "shutdown": lambda target: target.sockets_offer(interfaces.SupportsShutdown),
    "do_handshake": lambda target: target.sockets_offer(interfaces.SupportsDoHandshake),
    "makefile": lambda target: target.sockets_offer(interfaces.SupportsMakefile),
    "sendfile": lambda target: target.sockets_offer(interfaces.SupportsSendfile),
    "detach": lambda target: target.sockets_offer(interfaces.SupportsDetach),
    "socket options": lambda target: target.sockets_offer(interfaces.SupportsSocketOptions),
    "key update": lambda target: target.sockets_offer(interfaces.SupportsKeyUpdate),
    "reuse_port": lambda target: target.listeners_take("reuse_port"),
    "dual_stack": lambda target: target.listeners_take("dual_stack"),
    "do_handshake_on_accept": lambda target: target.listeners_take("do_handshake_on_accept"),
    "handshake_timeout": lambda target: target.listeners_take("handshake_timeout"),
    "handshake_limit": lambda target: target.listeners_take("handshake_limit"),
    "accept_truncated_end": lambda target: target.connections_take("accept_truncated_end"),
}


def needs(*what: str) -> pytest.MarkDecorator:
    """Ask a case only of implementations that have all of `what`, keys of `NEEDS`."""
    assert set(what) <= set(NEEDS)
    return pytest.mark.needs(*what)


def wanting(item: pytest.Item, target: Target) -> str | None:
    """Return what `target` lacks for this case, None if nothing."""
    for mark in item.iter_markers("needs"):
        for what in mark.args:
            if not NEEDS[what](target):
                return str(what)
    callspec = getattr(item, "callspec", None)
    for value in callspec.params.values() if callspec else ():
        if isinstance(value, TLSVersion) and value not in _known(target):
            return value.value
    return None


def _known(target: Target) -> set[TLSVersion]:
    open_ended = {TLSVersion.MINIMUM_SUPPORTED, TLSVersion.MAXIMUM_SUPPORTED}
    return {*target.capabilities.versions, *open_ended}
