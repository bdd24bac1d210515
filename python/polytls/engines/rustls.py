"""PEP 748 on rustls and aws-lc-rs: the default implementation.

Contexts read files and pass plain values to the Rust core, which parses everything once. The core
also has the buffers and sockets (`contexts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .. import _native
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..interfaces import TLSImplementation
from ..interfaces.insecure import InsecureTLSImplementation
from .contexts import Client, InsecureClient, InsecureServer, Server, validate

if TYPE_CHECKING:
    from ..streams import ExtendedSocket  # noqa: F401 - in a base, as a string

__all__ = [
    "CAPABILITIES",
    "IMPLEMENTATION",
    "INSECURE_IMPLEMENTATION",
    "RustlsClientContext",
    "RustlsInsecureClientContext",
    "RustlsInsecureServerContext",
    "RustlsServerContext",
    "validate_config",
]

_BACKEND: Final = _native.backend("rustls")

CAPABILITIES: Final = _BACKEND.capabilities


def validate_config(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Refuse what this implementation does not support, as far as that is known without files.

    Raises ConfigurationError with the field, and TypeError for anything but a configuration.
    """
    validate(_BACKEND, configuration)


class RustlsClientContext(Client[_native.ExtendedTLSBuffer, "ExtendedSocket"]):
    __slots__ = ()
    __doc__ = Client.__doc__
    _backend = _BACKEND


class RustlsServerContext(Server[_native.ExtendedTLSBuffer, "ExtendedSocket"]):
    __slots__ = ()
    __doc__ = Server.__doc__
    _backend = _BACKEND


class RustlsInsecureClientContext(
    InsecureClient[_native.ExtendedTLSBuffer, "ExtendedSocket"], RustlsClientContext
):
    __slots__ = ()
    __doc__ = InsecureClient.__doc__


class RustlsInsecureServerContext(
    InsecureServer[_native.ExtendedTLSBuffer, "ExtendedSocket"], RustlsServerContext
):
    __slots__ = ()
    __doc__ = InsecureServer.__doc__


_FACTS: Final[dict[str, Any]] = {
    "name": _BACKEND.id,
    "version": _BACKEND.version,
    "capabilities": CAPABILITIES,
}

IMPLEMENTATION: Final = TLSImplementation(
    RustlsClientContext, RustlsServerContext, validate_config, **_FACTS
)

INSECURE_IMPLEMENTATION: Final = InsecureTLSImplementation(
    RustlsClientContext,
    RustlsServerContext,
    validate_config,
    RustlsInsecureClientContext,
    RustlsInsecureServerContext,
    **_FACTS,
)
