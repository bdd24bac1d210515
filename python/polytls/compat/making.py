"""Contexts of `ssl` that polytls serves: with the standard library's defaults, or of PEP 748's."""

from __future__ import annotations

import os
import ssl
import sys
from functools import partial
from typing import Any, Final

from .. import _native
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..constants import ClientAuthentication
from ..errors import ConfigurationError
from ..identity import Certificate, TrustStore
from ..interfaces import ClientContext, ServerContext
from .context import NAME, SSLContext
from .faults import Refused
from .settings import Settings

__all__ = ["create_default_context", "of"]

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

    A client's verifies certificate and name. Without `cafile`, `capath` and `cadata` it trusts the
    system's certificates.
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
    """Return the face of a PEP 748 context: an SSLContext whose connections are that context's.

    Its configuration stays what decides. Libraries call `set_alpn_protocols` and
    `load_verify_locations` unasked: on a client of rustls they change a copy of the configuration,
    for the connections made here. Whatever else differs from what the face had is refused when a
    connection is made. A truncated end of data is an error.

    Raises TypeError for what is no context of PEP 748 that the Rust core drives.
    """
    engine = getattr(context, "_engine", None)
    if engine is None or not isinstance(context, ClientContext | ServerContext):
        raise TypeError(
            f"a context of an implementation that the Rust core drives (rustls, stdlib), not "
            f"{type(context).__name__}"
        )
    configuration = context.configuration
    serves = isinstance(configuration, TLSServerConfiguration)
    face = SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    face.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    insecure = getattr(context, "insecure_configuration", None) if _is_insecure(context) else None
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
    remakes = isinstance(configuration, TLSClientConfiguration)
    settings = Settings(face)
    settings.give(engine, partial(_remade, context) if remakes else None)
    face.__dict__[NAME] = settings
    return face


def _remade(
    context: Any, alpn: tuple[bytes, ...] | None, trusted: list[bytes]
) -> _native.ClientEngine:
    """Make an engine of a client's context with other protocols and more authorities."""
    configuration: TLSClientConfiguration = context.configuration
    if alpn is not None:
        configuration = configuration.replace(inner_protocols=alpn)
    if trusted:
        store = configuration.trust_store or TrustStore.system()
        if store.pins is not None:
            raise Refused(
                "load_verify_locations on the face of a PEP 748 context with pins, which alone "
                "decide; use another trust_store="
            )
        more = [*store.extra, *map(Certificate.from_buffer, trusted)]
        store = TrustStore(
            store.buffer,
            None if store.buffer is not None else store.path,
            extra=more,
            crls=store.crls,
            peers=store.peers,
            v1_authorities=store.v1_authorities,
        )
        configuration = configuration.replace(trust_store=store)
    more_of_it = (context.insecure_configuration,) if _is_insecure(context) else ()
    try:
        made: _native.ClientEngine = type(context)(configuration, *more_of_it)._engine
    except ConfigurationError as error:
        raise Refused(str(error)) from error
    return made


def _is_insecure(context: object) -> bool:
    return "insecure_configuration" in dir(type(context))
