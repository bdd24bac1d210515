"""What a context says if it is used as an `ssl.SSLContext`: what to use instead.

A library that gets one of our contexts as its `ssl` accesses attributes of an SSLContext. Without
this module, that would raise an AttributeError about a name that the caller has never heard of.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, NoReturn

__all__ = ["NotSSLContext"]

_TRUST: Final = "use trust_store= in the configuration"
_PROTOCOLS: Final = "use inner_protocols= in the configuration"
_NAMES: Final = "certificate_chain= in a server's configuration takes a chain for each name"

#: What to use instead of an attribute of an SSLContext.
_INSTEAD: Final[Mapping[str, str]] = {
    "wrap_bio": (
        "with asyncio and uvloop use polytls.asyncio, whose functions take it as tls=; with anyio "
        "and trio use polytls.anyio; for a library that only accepts an ssl.SSLContext use "
        "polytls.compat.of(context)"
    ),
    "load_cert_chain": "use certificate_chain= in the configuration",
    "load_verify_locations": _TRUST,
    "load_default_certs": _TRUST,
    "set_default_verify_paths": _TRUST,
    "cert_store_stats": _TRUST,
    "get_ca_certs": _TRUST,
    "verify_flags": _TRUST,
    "set_ciphers": "use ciphers= in the configuration",
    "get_ciphers": "use effective_ciphers",
    "set_alpn_protocols": _PROTOCOLS,
    "set_npn_protocols": _PROTOCOLS,
    **dict.fromkeys(
        ("set_ecdh_curve", "set_groups", "get_groups"), "use groups= in the configuration"
    ),
    "load_dh_params": "finite-field Diffie-Hellman is not supported",
    "set_ciphersuites": "use ciphers= in the configuration",
    **dict.fromkeys(
        ("set_psk_client_callback", "set_psk_server_callback"), "keys of your own are not offered"
    ),
    **dict.fromkeys(
        ("set_client_sigalgs", "set_server_sigalgs"), "signature algorithms cannot be chosen"
    ),
    "minimum_version": "use lowest_supported_version= in the configuration",
    "maximum_version": "use highest_supported_version= in the configuration",
    "verify_mode": (
        "clients always verify; for a server use client_authentication= in its configuration"
    ),
    "check_hostname": "clients always verify the host name",
    "hostname_checks_common_name": "common names are never checked",
    "sni_callback": _NAMES,
    "set_servername_callback": _NAMES,
    "keylog_filename": "use key_log= in the configuration",
    "num_tickets": "use sessions= in the configuration",
    "session_stats": "use statistics",
    "post_handshake_auth": "clients are authenticated only in the handshake",
    **dict.fromkeys(
        ("options", "protocol", "security_level", "sslobject_class", "sslsocket_class"),
        "options are set in the configuration",
    ),
}

#: The modules of asyncio that accept a server's `ssl`.
_ASYNCIO: Final = ("asyncio.base_events", "asyncio.unix_events")


class NotSSLContext:
    """A base class of contexts: SSLContext's attributes raise an error that says what to use."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(_wrong(self, name), name=name, obj=self)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _INSTEAD:
            raise AttributeError(_wrong(self, name), name=name, obj=self)
        object.__setattr__(self, name, value)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class; TypeError for asyncio, which has been given the context as `ssl`."""
        # All that `asyncio.start_server` does with `ssl` is `isinstance(ssl, bool)`, which looks at
        # `__class__`. It would then serve, and every client would fail silently: CPython shows what
        # `wrap_bio` raises only in debug mode. `polytls.compat.of(context)` can be used as `ssl`.
        if sys._getframe(1).f_globals.get("__name__") in _ASYNCIO:
            raise TypeError(_wrong(self, "wrap_bio"))
        return type(self)


def _wrong(context: NotSSLContext, name: str) -> str:
    kind = type(context).__name__
    if name not in _INSTEAD:
        return f"{kind!r} object has no attribute {name!r}"
    return f"{kind} is a polytls context, not an ssl.SSLContext, which has {name}; {_INSTEAD[name]}"
