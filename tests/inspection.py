"""What tests of `polytls inspect` share: servers, and documents held against the schema."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

import polytls
from polytls import SigningChain, TLSServerConfiguration

__all__ = [
    "NAME",
    "PATIENCE",
    "Handle",
    "Serve",
    "accepting",
    "doing_tls",
    "result_of",
    "results_of",
    "serving",
]

#: The name that the servers' certificate has.
NAME: Final = "server.example"
#: What nothing in these tests may take, in seconds.
PATIENCE: Final = 30.0

Handle = Callable[[socket.socket], None]
Serve = Callable[[Handle], int]

_SCHEMA: Final = Path(__file__).resolve().parents[1] / "docs" / "inspect.schema.json"


@contextmanager
def accepting(accept: Callable[[], Any], handle: Callable[[Any], None]) -> Iterator[None]:
    """Handle each connection that `accept` returns, in a thread that ends when it raises OSError.

    Whoever closes the listener, in or before the end of the block, ends it.
    """

    def run() -> None:
        while True:
            try:
                connection, _ = accept()
            except OSError:  # The listener is closed.
                return
            with connection, suppress(OSError):
                connection.settimeout(PATIENCE)
                handle(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)


@contextmanager
def serving(handle: Handle) -> Iterator[int]:
    """Serve each connection with `handle`, one after the other; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, accepting(listener.accept, handle):
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # Ends accept(2) in the thread.


def doing_tls(chain: SigningChain, **given: Any) -> Handle:
    """Do TLS on a plain socket with this chain, to the end of what the client says.

    `given`: other fields of the server's configuration.
    """
    context: Any = polytls.implementation("rustls").server_context(
        TLSServerConfiguration([chain], **given)
    )

    def handle(plain: socket.socket) -> None:
        with context.wrap_socket(plain) as connection:
            while connection.recv(4096):
                pass

    return handle


def _closed(schema: Any) -> Any:
    """A schema that allows no other fields than it names."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: _closed(part) for name, part in schema.items()}
    return parts | ({"additionalProperties": False} if "required" in parts else {})


_VALIDATOR: Final = Draft202012Validator(_closed(json.loads(_SCHEMA.read_text())))


def results_of(printed: str) -> list[dict[str, Any]]:
    """The results in a document, which has to be as the schema says."""
    document = json.loads(printed)
    _VALIDATOR.validate(document)
    return list(document["results"])


def result_of(printed: str) -> dict[str, Any]:
    """The one result in a document."""
    (result,) = results_of(printed)
    return result
