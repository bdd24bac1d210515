"""PEP 748 on OpenSSL 3.0 to 4: the system's libssl, loaded together with this module.

Contexts, buffers and sockets are those of every native library. If Python's own `ssl` uses a
libssl, that copy is loaded first and shared: a process has only one library of a name, and `_ssl`
may need a newer one than the system's.
"""

from __future__ import annotations

from contextlib import suppress
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
    "OpensslClientContext",
    "OpensslInsecureClientContext",
    "OpensslInsecureServerContext",
    "OpensslServerContext",
    "validate_config",
]

with suppress(ImportError):
    import _ssl  # noqa: F401 - for the library that it loads

_BACKEND: Final = _native.backend("openssl")

CAPABILITIES: Final = _BACKEND.capabilities


def validate_config(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
    """Refuse what this implementation does not support, as far as that is known without files.

    Raises ConfigurationError with the field, and TypeError for anything but a configuration.
    """
    validate(_BACKEND, configuration)


class OpensslClientContext(Client[_native.ExtendedTLSBuffer, "ExtendedSocket"]):
    __slots__ = ()
    __doc__ = Client.__doc__
    _backend = _BACKEND


class OpensslServerContext(Server[_native.ExtendedTLSBuffer, "ExtendedSocket"]):
    __slots__ = ()
    __doc__ = Server.__doc__
    _backend = _BACKEND


class OpensslInsecureClientContext(
    InsecureClient[_native.ExtendedTLSBuffer, "ExtendedSocket"], OpensslClientContext
):
    __slots__ = ()
    __doc__ = InsecureClient.__doc__


class OpensslInsecureServerContext(
    InsecureServer[_native.ExtendedTLSBuffer, "ExtendedSocket"], OpensslServerContext
):
    __slots__ = ()
    __doc__ = InsecureServer.__doc__


_FACTS: Final[dict[str, Any]] = {
    "name": _BACKEND.id,
    "version": _BACKEND.version,
    "capabilities": CAPABILITIES,
}

IMPLEMENTATION: Final = TLSImplementation(
    OpensslClientContext, OpensslServerContext, validate_config, **_FACTS
)

INSECURE_IMPLEMENTATION: Final = InsecureTLSImplementation(
    OpensslClientContext,
    OpensslServerContext,
    validate_config,
    OpensslInsecureClientContext,
    OpensslInsecureServerContext,
    **_FACTS,
)
