"""Creates `ssl` contexts that use polytls: with the standard library's defaults, or for PEP 748
contexts.
"""

from __future__ import annotations

import os
import ssl
import sys
from typing import Any, Final

from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import ClientAuthentication
from ..errors import ConfigurationError
from ..interfaces import ClientContext, ServerContext
from .context import NAME, OVERRIDDEN
from .given import is_insecure
from .settings import Settings

__all__ = ["SSLContext", "create_default_context", "of"]


class SSLContext(ssl.SSLContext):
    """An `ssl.SSLContext` whose connections use polytls.

    Use it like `ssl.SSLContext`, with any library that accepts one. Settings are honoured, or
    refused with an `ssl.SSLError` that names them (docs/ssl.md has the table).
    """

    def __new__(cls, protocol: int | None = None, *args: Any, **kwargs: Any) -> SSLContext:
        """Create a context. `protocol`: as for `ssl.SSLContext`."""
        self = ssl.SSLContext.__new__(cls, protocol, *args, **kwargs)
        self.__dict__.setdefault(NAME, Settings(self))
        return self


for _name, _function in OVERRIDDEN.items():
    setattr(SSLContext, _name, _function)

_MODES: Final = {
    ClientAuthentication.NONE: ssl.CERT_NONE,
    ClientAuthentication.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientAuthentication.REQUIRED: ssl.CERT_REQUIRED,
}


def create_default_context(
    purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH,
    *,
    cafile: Any = None,
    capath: Any = None,
    cadata: Any = None,
) -> SSLContext:
    """Return an SSLContext with the defaults of `ssl.create_default_context`.

    A client context verifies certificate and name. Without `cafile`, `capath` and `cadata` it
    trusts the system's trust store.
    """
    if purpose == ssl.Purpose.SERVER_AUTH:
        context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    elif purpose == ssl.Purpose.CLIENT_AUTH:
        context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    else:
        raise ValueError(purpose)
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if cafile or capath or cadata:
        context.load_verify_locations(cafile, capath, cadata)
    elif context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs(purpose)
    key_log = os.environ.get("SSLKEYLOGFILE")
    if key_log and not sys.flags.ignore_environment:
        context.keylog_filename = key_log
    return context


def of(context: ClientContext | ServerContext) -> SSLContext:
    """Return an SSLContext whose connections are those of a PEP 748 context.

    The context's configuration applies. Libraries call `set_alpn_protocols` and
    `load_verify_locations` automatically: for a client context they change a copy of the
    configuration, for the connections created here. Any other change is refused when a connection
    is created. A truncated end of data is an error.

    The context can be of any implementation that has `create_buffer`.

    Raises TypeError for anything but a PEP 748 context, and ConfigurationError for one without
    buffers.
    """
    configuration = getattr(context, "configuration", None)
    if not isinstance(configuration, TLSClientConfiguration | TLSServerConfiguration):
        raise TypeError(f"context: expected a context of PEP 748, got {type(context).__name__}")
    if not callable(getattr(context, "create_buffer", None)):
        raise ConfigurationError(
            f"{type(context).__name__} has no create_buffer(), which is required; use a context "
            "that has it",
            field="create_buffer",
        )
    serves = isinstance(configuration, TLSServerConfiguration)
    face = SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    face.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    insecure = getattr(context, "insecure_configuration", None) if is_insecure(context) else None
    if isinstance(configuration, TLSServerConfiguration):
        asked = configuration.client_authentication
        if asked is None:
            has_store = configuration.trust_store is not None
            asked = ClientAuthentication.REQUIRED if has_store else ClientAuthentication.NONE
        face.verify_mode = _MODES[asked]
    elif insecure is not None:
        face.check_hostname = False
        if insecure.disable_verification:
            face.verify_mode = ssl.CERT_NONE
    settings = Settings(face)
    settings.give(context)
    face.__dict__[NAME] = settings
    return face
