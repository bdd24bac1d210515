"""Serve the files of a directory over HTTPS, or echo incoming data: for tests, not for the
internet.

A thread pool does handshakes and requests, so a client that stalls does not delay others. Press
Ctrl-C to stop.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .. import names, registry
from ..certificates import read
from ..configuration import TLSServerConfiguration
from ..constants import NextProtocol
from ..errors import ConfigurationError
from ..identity import Certificate, PrivateKey, SigningChain, TrustStore
from ..testing import self_signed
from ..testing.certificates import pem
from .words import harmless, print_lines

__all__ = ["add_arguments", "run"]

_LOOPBACK: Final = "127.0.0.1"
_NAMES: Final = ("localhost", "127.0.0.1", "::1")
#: They mean all addresses, and cannot be connected to.
_ALL: Final = ("0.0.0.0", "::")  # noqa: S104 - that is what --host may ask for
#: Of connections in progress; further ones wait in the system's queue.
_THREADS: Final = 32
#: For the handshake, and for each read and write, in seconds.
_PATIENCE: Final = 30.0
_PIECE: Final = 65536

_Serve = Callable[[Any, Any], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "folder",
        nargs="?",
        default=".",
        metavar="FOLDER",
        help="the directory to serve (default: the current directory)",
    )
    what.add_argument(
        "--echo", action="store_true", help="echo incoming data instead of serving files"
    )
    identity = parser.add_mutually_exclusive_group(required=True)
    identity.add_argument("--cert", metavar="FILE", help="certificate and chain (PEM)")
    identity.add_argument(
        "--self-signed",
        action="store_true",
        help="create a temporary certificate for this machine, and show how clients can trust it",
    )
    parser.add_argument(
        "--key", metavar="FILE", help="the private key, if it is not in the certificate file"
    )
    parser.add_argument(
        "--client-ca", metavar="FILE", help="require client certificates from these CAs (PEM)"
    )
    parser.add_argument(
        "--host", default=_LOOPBACK, help="the address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8443,
        help="the port; 0 for any free port (default: %(default)s)",
    )
    parser.add_argument(
        "--implementation",
        metavar="NAME",
        help="the TLS implementation (default: the default implementation)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    if arguments.key is not None and arguments.cert is None:
        raise ConfigurationError("--key needs --cert")
    address = _address(arguments)
    chain = _self_signed(arguments.host) if arguments.self_signed else _chain(arguments)
    configuration = TLSServerConfiguration(
        [chain],
        inner_protocols=[] if arguments.echo else [NextProtocol.HTTP1],
        trust_store=None
        if arguments.client_ca is None
        else TrustStore.from_file(arguments.client_ca),
    )
    serve = _echo if arguments.echo else _files(arguments.folder)
    context = registry.implementation(arguments.implementation).server_context(configuration)
    try:
        # Not part of the PEP: the thread that serves a connection does its handshake.
        listener: Any = context.connect(address, do_handshake_on_accept=False)
    except OSError as error:
        where = f"{arguments.host} port {arguments.port}"
        raise ConfigurationError(f"cannot listen on {where}: {error.strerror or error}") from None
    with _Server(listener, serve) as server:
        _announce(arguments, chain, *listener.getsockname())
        with suppress(KeyboardInterrupt):
            server.accept()
    return 0


def _address(arguments: argparse.Namespace) -> tuple[str, int]:
    address = arguments.host, arguments.port
    try:
        names.verified_name(arguments.host)
        names.port_of(address)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return address


def _self_signed(host: str) -> SigningChain:
    own = [*_NAMES]
    if host not in (*own, *_ALL):
        own.append(host)
    return self_signed(*own, common_name="polytls serve")


def _chain(arguments: argparse.Namespace) -> SigningChain:
    key = None if arguments.key is None else PrivateKey.from_file(arguments.key)
    return SigningChain((Certificate.from_file(arguments.cert), key))


def _announce(arguments: argparse.Namespace, chain: SigningChain, host: str, port: int) -> None:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if arguments.echo:
        print_lines(f"echoing on {where}; press Ctrl-C to stop")
    else:
        folder = harmless(str(Path(arguments.folder).resolve()))
        print_lines(f"serving {folder} on https://{where}/; press Ctrl-C to stop")
    if arguments.self_signed:
        der = chain.leaf[0].buffer or b""
        pin = read(der).spki_sha256
        to = f"localhost:{port}" if host in _ALL else where
        print_lines(
            "",
            "The certificate is temporary and valid for a week. To trust only this certificate:",
            f"  polytls inspect {to} --pin-sha256 {pin}",
            "Or save it to a file, for polytls inspect --ca or curl --cacert:",
            "",
            *pem("CERTIFICATE", der).decode().splitlines(),
        )


# --- connections ---


class _Server:
    """Serves connections in threads, and ends them all when the block is left."""

    def __init__(self, listener: Any, serve: _Serve) -> None:
        self._listener = listener
        self._serve = serve
        self._free = threading.Semaphore(_THREADS)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="polytls serve")
        self._lock = threading.Lock()
        self._open: set[Any] = set()
        self._ended = False

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        with self._lock:
            self._ended = True
            connections = [*self._open]
        for connection in connections:
            # Ends waits in other threads; during a handshake there is nothing to shut down.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                connection.close(force=True)
        self._pool.shutdown()

    def accept(self) -> None:
        """Accept clients indefinitely."""
        while True:
            self._free.acquire()
            try:
                connection, peer = self._listener.accept()
            except OSError as error:  # Too many open files, say; the listener itself has paused.
                self._free.release()
                _log(f"cannot accept: {error}")
                continue
            with self._lock:
                self._open.add(connection)
            self._pool.submit(self._handle, connection, peer)

    def _handle(self, connection: Any, peer: tuple[str, int]) -> None:
        try:
            connection.settimeout(_PATIENCE)
            connection.do_handshake()
            self._serve(connection, peer)
            connection.close()
        except Exception as error:  # One client's trouble is not the others'.
            if not self._ended:
                _log(f"{peer[0]}:{peer[1]} failed: {error}")
        finally:
            with suppress(OSError):
                connection.close(force=True)
            with self._lock:
                self._open.discard(connection)
            self._free.release()


def _log(text: str) -> None:
    print_lines(harmless(text), stream=sys.stderr)


def _echo(connection: Any, _: object) -> None:
    while data := connection.recv(_PIECE):
        connection.sendall(data)


def _files(folder: str) -> _Serve:
    """The handler for one request for a file in `folder`."""
    root = Path(folder).resolve()
    if not root.is_dir():
        raise ConfigurationError(f"{folder} is not a directory")
    # Takes milliseconds to import; other commands do not need it.
    from .files import FileHandler

    def serve(connection: Any, peer: tuple[str, int]) -> None:
        FileHandler(connection, peer, root, _log)

    return serve
