"""The implementation that the kit is run on, as `--polytls-implementation` names it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import Any

from polytls import (
    Capabilities,
    ConfigurationError,
    PrivateKey,
    Signer,
    TLSImplementation,
    TLSServerConfiguration,
    WantReadError,
    implementation,
    interfaces,
)
from polytls.insecure import InsecureTLSImplementation
from polytls.registry import insecure_implementation
from polytls.testing import CertificateAuthority, KeySigner

from .basics import SOON, within

__all__ = ["Target", "load", "signers"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """An implementation, and how it was found."""

    #: What `--polytls-implementation` takes to find it again, in another process too.
    name: str
    implementation: TLSImplementation[Any, Any]
    #: The same with its insecure contexts; None if it has none.
    insecure: InsecureTLSImplementation[Any, Any, Any, Any] | None
    capabilities: Capabilities
    #: Whether polytls knows it by this name.
    registered: bool

    def contexts_offer(self, *protocols: type) -> bool:
        """Whether a client's and a server's context have, in turn, what each protocol says."""
        pair = (self.implementation.client_context, self.implementation.server_context)
        return all(map(issubclass, pair, protocols))

    def listeners_take(self, option: str) -> bool:
        """Whether `connect` of a server's context has a parameter of that name."""
        return _takes(self.implementation.server_context, option)

    def connections_take(self, option: str) -> bool:
        """Whether `connect` of either side's context has a parameter of that name."""
        pair = (self.implementation.client_context, self.implementation.server_context)
        return all(_takes(each, option) for each in pair)

    def sockets_offer(self, protocol: type) -> bool:
        """Whether a connection has what `protocol`, one of `polytls.interfaces`, says."""
        return protocol in self._offered

    @cached_property
    def _offered(self) -> frozenset[type]:
        """What a connection offers; nothing if none is to be had: `test_socket_basics` tells."""
        chain = CertificateAuthority().issue("server.example")
        every = [getattr(interfaces, name) for name in interfaces.__all__]

        def offered() -> frozenset[type]:
            context = self.implementation.server_context(TLSServerConfiguration([chain]))
            with context.connect(("127.0.0.1", 0)) as listener:
                listener.setblocking(False)
                with (
                    socket.create_connection(listener.getsockname()),
                    accepted(listener) as connection,
                ):
                    return frozenset(
                        each
                        for each in every
                        if each.__name__.startswith("Supports") and isinstance(connection, each)
                    )

        try:
            return within(SOON, offered)
        except Exception:
            return frozenset()


def _takes(context: type, option: str) -> bool:
    """Whether `connect` of a context has a parameter of that name."""
    connect = getattr(context, "connect", None)
    return connect is not None and option in signature(connect).parameters


def accepted(listener: Any) -> Any:
    """A connection that is waiting at a non-blocking listener."""
    while True:
        with suppress(WantReadError):
            return listener.accept()[0]


def load(name: str | None) -> Target:
    """Return the implementation of that registered name, or at `package.module:ATTRIBUTE`.

    None is the default of polytls. The attribute is a TLSImplementation; insecure contexts are
    looked for at `INSECURE_IMPLEMENTATION` next to it. A module, or a class, with `IMPLEMENTATION`
    and `INSECURE_IMPLEMENTATION` will do as well.

    Raises ConfigurationError that says what is missing, ImportError if there is no such module.
    """
    if name is not None and ":" in name:
        found, insecure = _at(name)
    else:
        found = implementation(name)
        name = name or str(found.name)
        try:
            insecure = insecure_implementation(name)
        except ConfigurationError:
            insecure = None
    if found.name is None or found.capabilities is None:
        raise ConfigurationError(f"{name}: the kit needs an implementation's name and capabilities")
    return Target(
        name=name,
        implementation=found,
        insecure=insecure,
        capabilities=found.capabilities,
        registered=":" not in name,
    )


def signers(name: str | None) -> Callable[[PrivateKey], Signer]:
    """Return what makes signers of private keys, at `package.module:ATTRIBUTE`; None: `KeySigner`.

    Raises ConfigurationError if there is no such thing, ImportError if there is no such module.
    """
    if name is None:
        return KeySigner
    path, _, attribute = name.partition(":")
    made: Callable[[PrivateKey], Signer] | None = getattr(import_module(path), attribute, None)
    if not callable(made):
        raise ConfigurationError(f"{name}: there is nothing that makes signers")
    return made


def _at(name: str) -> tuple[TLSImplementation[Any, Any], Any]:
    path, _, attribute = name.partition(":")
    module = import_module(path)
    thing = getattr(module, attribute, None)
    where: object = module
    if isinstance(thing, ModuleType | type):
        where, thing = thing, getattr(thing, "IMPLEMENTATION", None)
    if not isinstance(thing, TLSImplementation):
        raise ConfigurationError(f"{name}: there is no TLSImplementation")
    insecure = getattr(where, "INSECURE_IMPLEMENTATION", None)
    return thing, insecure if isinstance(insecure, InsecureTLSImplementation) else None
