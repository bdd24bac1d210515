"""uvicorn over TLS of polytls: ASGI applications that see the client's certificate.

`run(app, tls=context)` is `uvicorn.run` with `tls=` in place of the arguments named for `ssl`. TLS
is that of `polytls.asyncio`. uvicorn itself is the extra `polytls[uvicorn]`.

Applications find the facts of the connection in `scope["extensions"]["tls"]`, as the TLS extension
of ASGI 0.2 has them (https://asgi.readthedocs.io/en/latest/specs/tls.html), for HTTP and WebSocket.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn

from ..asyncio.connections import server_protocol
from ..certificates import subject_of
from ..configuration import TLSServerConfiguration
from ..constants import TLSVersion
from ..info import ConnectionInfo
from ..interfaces import ServerContext
from .contexts import server_context

__all__ = ["Config", "Server", "run"]

#: What a program of uvicorn ends with if it cannot begin.
_STARTUP_FAILURE: Final = 3

_VERSIONS: Final = {TLSVersion.TLSv1_2: 0x0303, TLSVersion.TLSv1_3: 0x0304}
_SECURE: Final = {"http": "https", "ws": "wss"}

#: The descriptors of RFC 4514 section 3, by the names that `ssl` has for them.
_DESCRIPTORS: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}


class Config(uvicorn.Config):
    """`uvicorn.Config` with TLS of polytls.

    `tls`: a server context or configuration (`polytls.net`). Everything else is passed to
    `uvicorn.Config`.

    Raises TypeError for arguments named for `ssl` and ValueError for `workers` and `reload`, which
    serve in processes that a context cannot be sent to: run several processes with `fd`, or
    gunicorn.
    """

    def __init__(
        self, app: Any, *, tls: ServerContext | TLSServerConfiguration, **settings: Any
    ) -> None:
        for name, value in settings.items():
            if name.startswith("ssl_") and value is not None:
                raise TypeError(f"use tls instead of {name}")
        self.tls = server_context(tls)
        super().__init__(app, **settings)
        if self.workers > 1 or self.should_reload:
            raise ValueError(
                "workers and reload start other processes, which tls cannot be sent to"
            )

    @property
    def is_ssl(self) -> bool:
        """Whether it serves HTTPS, for uvicorn's messages; while it loads, it needs no files."""
        return self.loaded

    def load(self) -> None:
        """Load the application and the protocols."""
        super().load()
        make = _secured(self.http_protocol_class)
        if self.ws_protocol_class is not None:
            self.ws_protocol_class = _secured(self.ws_protocol_class)

        def protocol(**given: Any) -> asyncio.BaseProtocol:
            return server_protocol(partial(make, **given), self.tls)()

        self.http_protocol_class = protocol  # type: ignore[assignment]  # uvicorn only calls it


class Server(uvicorn.Server):
    """`uvicorn.Server` for a `Config` of this module."""

    def _log_started_message(self, listeners: Any) -> None:
        # It tells the scheme by `ssl`, of which there is none.
        self.config.ssl = True  # type: ignore[assignment]
        try:
            super()._log_started_message(listeners)
        finally:
            self.config.ssl = None


def run(app: Any, *, tls: ServerContext | TLSServerConfiguration, **settings: Any) -> None:
    """Serve `app` until a signal ends it, as `uvicorn.run` does.

    The arguments are those of `Config`. Ends the program with exit code 3 if it cannot start.
    """
    config = Config(app, tls=tls, **settings)
    config.load_app()
    server = Server(config)
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        if config.uds:
            Path(config.uds).unlink(missing_ok=True)
    if not server.started:
        sys.exit(_STARTUP_FAILURE)


def _secured(kind: Any) -> Any:
    """A protocol of uvicorn's whose application is told of TLS."""

    class Secured(kind):  # type: ignore[misc]
        app: Any

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.app = _telling(self.app, transport.get_extra_info("tls"))

    Secured.__name__ = Secured.__qualname__ = kind.__name__
    return Secured


def _telling(app: Callable[..., Any], info: ConnectionInfo) -> Callable[..., Any]:
    facts = _facts(info)

    async def told(scope: dict[str, Any], receive: Any, send: Any) -> Any:
        scope["scheme"] = _SECURE.get(scope["scheme"], scope["scheme"])
        scope.setdefault("extensions", {})["tls"] = dict(facts)
        return await app(scope, receive, send)

    return told


def _facts(info: ConnectionInfo) -> dict[str, Any]:
    chain = info.peer_chain or ()
    return {
        # A server may leave it open which of its own certificates it has sent.
        "server_cert": None,
        "client_cert_chain": [_pem(certificate) for certificate in chain],
        "client_cert_name": _name(subject_of(chain[0])) if chain else None,
        "client_cert_error": None,
        "tls_version": None if info.version is None else _VERSIONS.get(info.version),
        "cipher_suite": None if info.cipher is None else int(info.cipher),
    }


def _pem(der: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _name(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """A distinguished name as RFC 4514 writes it: the last part first, and nothing ambiguous."""
    return ",".join(
        "+".join(f"{_DESCRIPTORS.get(kind, kind)}={_escaped(value)}" for kind, value in part)
        for part in reversed(subject)
    )


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4."""
    escaped = "".join(f"\\{each}" if each in '"+,;<>\\' else each for each in value)
    escaped = escaped.replace("\0", "\\00")
    if escaped.startswith(("#", " ")):
        escaped = "\\" + escaped
    if value.endswith(" ") and len(value) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped
