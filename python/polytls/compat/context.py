"""The functions that replace those of OpenSSL's context.

This module only has names that the C class has, and does not call `super()`: the same functions are
used in a subclass of `ssl.SSLContext`, in `ssl.SSLContext` itself (`install`), and in the class
below it if Python has no OpenSSL (`provided`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .base import BASE, C
from .connection import Connection
from .faults import Refused
from .settings import Settings

if TYPE_CHECKING:
    import ssl

__all__ = [
    "NAME",
    "OVERRIDDEN",
    "counts",
    "load_deferred",
    "reasons",
    "settings_of",
    "state",
]

#: The attribute with the settings of a context.
NAME: Final = "_polytls"

#: How many connections used which library.
counts: Final = {"polytls": 0, "openssl": 0}

#: Why contexts used OpenSSL, and how many connections that were.
reasons: Final[dict[str, int]] = {}

_BEFORE: Final = "the context was created before install()"
_NEVER_CHECK_SUBJECT: Final = getattr(BASE, "HOSTFLAG_NEVER_CHECK_SUBJECT", 0x20)


class _State:
    #: Whether contexts with unsupported settings use OpenSSL.
    fallback = False


state: Final = _State()


def settings_of(context: ssl.SSLContext) -> Settings | None:
    """Return the settings of a context that uses polytls; None for one that uses OpenSSL."""
    found: Settings | None = context.__dict__.get(NAME)
    return found


def _told(context: ssl.SSLContext, call: Callable[[Settings], None]) -> None:
    settings = settings_of(context)
    if settings is not None:
        call(settings)


def load_cert_chain(
    self: ssl.SSLContext,
    certfile: Any,
    keyfile: Any = None,
    password: Any = None,
) -> None:
    given = password
    kept: list[Any] = []
    if callable(password):

        def asked() -> Any:
            kept.append(password())
            return kept[-1]

        given = asked
    C.load_cert_chain(self, certfile, keyfile, given)
    secret = kept[-1] if kept else None if callable(password) else password
    _told(self, lambda settings: settings.add_chain(certfile, keyfile, secret))


def load_verify_locations(
    self: ssl.SSLContext, cafile: Any = None, capath: Any = None, cadata: Any = None
) -> None:
    C.load_verify_locations(self, cafile, capath, cadata)
    settings = settings_of(self)
    if settings is None:
        return
    if cafile is not None:
        with open(cafile, "rb") as file:
            settings.add_trust(file.read())
    if capath is not None:
        settings.add_folder(capath)
    if cadata is not None:
        settings.add_trust(cadata.encode() if isinstance(cadata, str) else bytes(cadata))


def set_default_verify_paths(self: ssl.SSLContext) -> None:
    settings = settings_of(self)
    if settings is None:
        C.set_default_verify_paths(self)
    else:
        # OpenSSL would parse all of them, which takes longer than a handshake.
        settings.add_system()


def load_deferred(context: ssl.SSLContext) -> None:
    """Load the system's certificates into OpenSSL's own context, if that was deferred."""
    settings = settings_of(context)
    if settings is not None and settings.deferred:
        settings.deferred = False
        C.set_default_verify_paths(context)


def _load_used(context: ssl.SSLContext) -> None:
    """Load what OpenSSL's own context would have loaded by now."""
    load_deferred(context)
    settings = settings_of(context)
    used = settings.take_used() if settings is not None else b""
    if used:
        C.load_verify_locations(context, None, None, used)


def get_ca_certs(self: ssl.SSLContext, binary_form: bool = False) -> Any:
    _load_used(self)
    return C.get_ca_certs(self, binary_form)


def cert_store_stats(self: ssl.SSLContext) -> Any:
    _load_used(self)
    return C.cert_store_stats(self)


def _set_alpn_protocols(self: ssl.SSLContext, protocols: Any, /) -> None:
    C._set_alpn_protocols(self, protocols)
    _told(self, lambda settings: settings.set_protocols(bytes(protocols)))


def set_ciphers(self: ssl.SSLContext, ciphers: str, /) -> None:
    C.set_ciphers(self, ciphers)
    _told(self, lambda settings: settings.set_suites())


def set_ecdh_curve(self: ssl.SSLContext, name: Any, /) -> None:
    C.set_ecdh_curve(self, name)
    text = name if isinstance(name, str) else bytes(name).decode()
    _told(self, lambda settings: settings.set_curve(text))


def session_stats(self: ssl.SSLContext) -> Any:
    settings = settings_of(self)
    if settings is None or settings.fallen is not None:
        return C.session_stats(self)
    return settings.session_stats()


def set_psk_client_callback(self: ssl.SSLContext, callback: Any) -> None:
    C.set_psk_client_callback(self, callback)
    _told(self, lambda settings: settings.refuse("pre-shared keys; use certificates"))


def set_psk_server_callback(
    self: ssl.SSLContext, callback: Any, identity_hint: str | None = None
) -> None:
    C.set_psk_server_callback(self, callback, identity_hint)
    _told(self, lambda settings: settings.refuse("pre-shared keys; use certificates"))


def _get_host_flags(self: ssl.SSLContext) -> int:
    return int(C._host_flags.__get__(self))


def _set_host_flags(self: ssl.SSLContext, flags: int) -> None:
    C._host_flags.__set__(self, flags)
    if not flags & _NEVER_CHECK_SUBJECT:
        what = (
            "hostname_checks_common_name = True: host names are only checked against the subject "
            "alternative name (RFC 9525 2); do not set it, and use a certificate with a subject "
            "alternative name"
        )
        _told(self, lambda settings: settings.refuse(what))


def _check(context: ssl.SSLContext, server_side: bool, name: str | None) -> None:
    """What the C class checks first."""
    kind = "server" if server_side else "client"
    wrong = "PROTOCOL_TLS_CLIENT" if server_side else "PROTOCOL_TLS_SERVER"
    if context.protocol == getattr(BASE, wrong):
        raise BASE.SSLError(1, f"Cannot create a {kind} socket with a {wrong} context (polytls)")
    if name is not None:
        if not name or name.startswith("."):
            raise ValueError(
                "server_hostname cannot be an empty string or start with a leading dot."
            )
        if "\0" in name:
            raise TypeError("embedded null character")
    elif not server_side and C.check_hostname.__get__(context):
        # `ssl.SSLSocket` refuses this itself. For an `ssl.SSLObject`, OpenSSL would verify no name.
        raise Refused(
            "check_hostname without server_hostname: there is no name to verify; pass "
            "server_hostname=, or set check_hostname = False"
        )


def _served(context: ssl.SSLContext, server_side: bool) -> bool:
    """Whether polytls creates this connection. Raises Refused."""
    settings = settings_of(context)
    why = _BEFORE if settings is None else settings.fallen
    if settings is not None and why is None:
        try:
            settings.check(server_side)
        except Refused as refused:
            if not state.fallback:
                raise
            why = settings.fallen = str(refused)
    if why is None:
        counts["polytls"] += 1
        return True
    load_deferred(context)
    counts["openssl"] += 1
    reasons[why] = reasons.get(why, 0) + 1
    return False


def _wrap_socket(
    self: ssl.SSLContext,
    sock: Any,
    server_side: bool,
    server_hostname: str | None = None,
    *,
    owner: Any = None,
    session: Any = None,
) -> Any:
    if not _served(self, server_side):
        return C._wrap_socket(
            self, sock, server_side, server_hostname, owner=owner, session=session
        )
    _check(self, server_side, server_hostname)
    made = Connection.over(
        self,
        settings_of,
        server_side=bool(server_side),
        server_hostname=server_hostname,
        owner=owner,
        socket=sock,
    )
    if session is not None:
        made.session = session
    return made


def _wrap_bio(
    self: ssl.SSLContext,
    incoming: Any,
    outgoing: Any,
    server_side: bool = False,
    server_hostname: str | None = None,
    *,
    owner: Any = None,
    session: Any = None,
) -> Any:
    if not _served(self, server_side):
        return C._wrap_bio(
            self,
            incoming,
            outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
            owner=owner,
            session=session,
        )
    for bio in (incoming, outgoing):
        if not isinstance(bio, BASE.MemoryBIO):
            raise TypeError(f"expected ssl.MemoryBIO, not {type(bio).__name__}")
    _check(self, server_side, server_hostname)
    made = Connection.over(
        self,
        settings_of,
        server_side=bool(server_side),
        server_hostname=server_hostname,
        owner=owner,
        incoming=incoming,
        outgoing=outgoing,
    )
    if session is not None:
        made.session = session
    return made


def _overridden() -> dict[str, Any]:
    functions: tuple[Callable[..., Any], ...] = (
        load_cert_chain,
        load_verify_locations,
        set_default_verify_paths,
        get_ca_certs,
        cert_store_stats,
        _set_alpn_protocols,
        set_ciphers,
        set_ecdh_curve,
        session_stats,
        set_psk_client_callback,
        set_psk_server_callback,
        _wrap_socket,
        _wrap_bio,
    )
    found: dict[str, Any] = {function.__name__: function for function in functions}
    found["_host_flags"] = property(_get_host_flags, _set_host_flags)
    # They differ by minor version.
    return {name: found[name] for name in found if hasattr(C, name)}


#: The replacements of OpenSSL's functions, by name.
OVERRIDDEN: Final = _overridden()
