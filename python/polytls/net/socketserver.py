"""`socketserver` over TLS: handshakes are done where requests are handled, outside the accept loop.

A client that does not finish its handshake therefore only blocks its own thread or process, for at
most `handshake_timeout`.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..configuration import TLSServerConfiguration
from ..errors import RaggedEOF, TLSError
from ..interfaces import ServerContext
from .connections import accepted
from .contexts import server_context

__all__ = ["OneAtATimeMixIn", "TCPServer", "TLSMixIn", "ThreadingTCPServer"]

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    _Server = socketserver.TCPServer
else:
    _Server = object


class TLSMixIn(_Server):
    """Turns a stream server of `socketserver` or `http.server` into a TLS server.

    Put it first: `class Server(TLSMixIn, socketserver.ForkingTCPServer)`. A handler's `request` is
    then the TLS socket. When the handler returns, the connection is closed normally, so that the
    client gets everything. When the handler raises, it is closed without close_notify, so that the
    client does not mistake partial data for all of it.

    `tls`: a server context or configuration. Failed handshakes, and later client errors
    (`TLSError`), are logged by this module's logger, one line each; other errors go to
    `socketserver`'s `handle_error`.
    """

    #: How long a handshake may take, in seconds.
    handshake_timeout: float = 10.0

    def __init__(
        self, *given: Any, tls: ServerContext | TLSServerConfiguration, **named: Any
    ) -> None:
        self._tls_context = server_context(tls)
        super().__init__(*given, **named)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the handshake, handle the request, and end the connection."""
        timeout = request.gettimeout()
        connection = accepted(request, self._tls_context)
        try:
            connection.settimeout(self.handshake_timeout)
            connection.do_handshake()
        except BaseException as error:
            # Sends the alert, if there is one.
            connection.close(force=True)
            if not isinstance(error, OSError):
                raise
            _log.info("the handshake of %s failed: %s", client_address, error)
            return
        try:
            connection.settimeout(timeout)
            super().finish_request(connection, client_address)
        except BaseException as error:
            _break_off(connection, error)
            raise
        # The client has gone, or takes too long.
        with suppress(OSError):
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a client's error; leave anything else to `socketserver`."""
        error = sys.exc_info()[1]
        if isinstance(error, TLSError):
            _log.info("the connection of %s failed: %s", client_address, error)
        else:
            super().handle_error(request, client_address)


class OneAtATimeMixIn(socketserver.ThreadingMixIn):
    """Does handshakes in threads, one for each client, and handles one request at a time.

    Put it after `TLSMixIn`.
    """

    daemon_threads = True
    _latest: threading.Thread | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        self._handling = threading.Lock()
        super().__init__(*given, **named)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Continue with `request` in a thread."""
        self._latest = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._latest.start()

    def handle_request(self) -> None:
        """Handle one request, and return when that is complete."""
        self._latest = None
        super().handle_request()  # type: ignore[misc]  # the server's
        if self._latest is not None:
            self._latest.join()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handle the request when its turn comes."""
        with self._handling:
            super().finish_request(request, client_address)  # type: ignore[misc]


class TCPServer(TLSMixIn, OneAtATimeMixIn, socketserver.TCPServer):
    """`socketserver.TCPServer` over TLS: one request at a time."""


class ThreadingTCPServer(TLSMixIn, socketserver.ThreadingTCPServer):
    """`socketserver.ThreadingTCPServer` over TLS: a thread for each request."""


def _break_off(connection: Any, error: BaseException) -> None:
    """End a failed connection, without close_notify."""
    if isinstance(error, TLSError) and not isinstance(error, RaggedEOF):
        # There is no close_notify after an alert; this way the client gets the alert.
        connection.close(force=True)
        return
    descriptor = connection.detach()
    if descriptor >= 0:
        socket.close(descriptor)
