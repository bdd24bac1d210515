"""PEP 748 on OpenSSL 3.0 to 4: the system's libssl, loaded together with this module.

Contexts, buffers and sockets are those of every native library. If Python's own `ssl` uses a
libssl, that copy is loaded first and shared: a process has only one library of a name, and `_ssl`
may need a newer one than the system's.

`with_options` adds what only OpenSSL has: property queries, security levels, providers and library
contexts (docs/openssl.md).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .. import _native
from ..arguments import instance_of, items_of, path_of
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
    "with_options",
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


def with_options(
    *,
    properties: str | None = None,
    security_level: int | None = None,
    providers: Sequence[str] = (),
    library_context: bool = False,
    configuration_file: str | os.PathLike[str] | None = None,
) -> TLSImplementation[OpensslClientContext, OpensslServerContext]:
    """Return this implementation with what an application asks of OpenSSL beyond configurations.

    `properties`: a property query (property(7)) that every algorithm has to meet, as in
    `"fips=yes"`. `security_level`: the least one, 0 to 5 (SSL_CTX_set_security_level(3)); the
    system's may be higher, and the paths of peers are held to it too.

    `library_context`: OpenSSL's algorithms come from a library context of its own, not from the one
    that `ssl` and `hashlib` use (OSSL_LIB_CTX(3)). `providers` are loaded there by name, instead of
    the default one, and `configuration_file` (config(5)) is; both make such a context. It stays
    until the process ends, and is the same for the same options.

    Raises ConfigurationError, naming the option: a provider or a file that OpenSSL cannot load, a
    property query that it has no algorithms for, and a file with a section `ssl_conf`, which in
    OpenSSL 3 would change all connections of the process. TypeError for wrong types.
    """
    if properties is not None:
        instance_of("properties", properties, str)
    if security_level is not None:
        instance_of("security_level", security_level, int)
    backend = _native.openssl_backend(
        properties=properties,
        security_level=security_level,
        providers=[
            instance_of("providers", name, str)
            for name in items_of("providers", providers, "provider names")
        ],
        library_context=instance_of("library_context", library_context, bool),
        configuration_file=path_of("configuration_file", configuration_file),
    )

    class ClientContext(OpensslClientContext):
        __slots__ = ()
        __doc__ = OpensslClientContext.__doc__
        _backend = backend

    class ServerContext(OpensslServerContext):
        __slots__ = ()
        __doc__ = OpensslServerContext.__doc__
        _backend = backend

    def validate_there(configuration: TLSClientConfiguration | TLSServerConfiguration) -> None:
        validate(backend, configuration)

    return TLSImplementation(
        ClientContext,
        ServerContext,
        validate_there,
        name=backend.id,
        version=backend.version,
        capabilities=backend.capabilities,
    )
