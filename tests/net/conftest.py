"""Servers that follow a script: line protocols, with TLS from the start or from a step on."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

#: What nothing in these tests may take, in seconds.
PATIENCE = 20.0

#: The name that clients dial, and that certificates have if nothing else is said.
HOST = "localhost"

TLS = "TLS"


class Scripted:
    """A server for one client after another, each with the whole script.

    Steps are lines: `< word` reads a line and holds its beginning against `word`, in any case;
    `> text` sends text and CRLF, where `{tag}` is the first word of the last line that was read;
    `<<` reads headers up to an empty line, and `<body` what they have as Content-Length; `| data`
    sends just that, with escapes; `TLS` does the handshake; `cut` closes TCP with nothing said, and
    `hang up` after close_notify, which is also what happens at the end. `steps` may have callables,
    which get the server.
    """

    def __init__(self, context: Any, *steps: str | Callable[[Scripted], Any]) -> None:
        self.context = context
        self.steps = list(steps)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        #: What went wrong on the server, client by client, None where nothing did.
        self.errors: list[BaseException | None] = []
        #: All lines that clients sent.
        self.heard: list[str] = []
        self.tag = ""
        self.length = 0
        self.side: Any = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                self.side = self.listener.accept()[0]
            except OSError:
                return
            self.side.settimeout(PATIENCE)
            error: BaseException | None = None
            try:
                for step in self.steps:
                    self._do(step)
            except BaseException as caught:
                error = caught
            self.errors.append(error)
            if self.side.fileno() >= 0:
                with suppress(OSError):
                    self.side.close()

    def _do(self, step: str | Callable[[Scripted], Any]) -> None:
        if callable(step):
            step(self)
        elif step == TLS:
            self.side = self.context.wrap_socket(self.side)
        elif step == "cut":
            os.close(self.side.detach())
        elif step == "hang up":
            self.side.close()
        elif step == "<<":
            while line := self._line().lower():
                if line.startswith("content-length:"):
                    self.length = int(line.partition(":")[2])
        elif step == "<body":
            while self.length:
                self.length -= len(self.side.recv(self.length))
        elif step.startswith("< "):
            line = self._line()
            self.heard.append(line)
            assert (
                line.lower().startswith(step[2:].lower())
                or step[2:].lower() in (line.lower().partition(" ")[2])
            ), (step, line)
            self.tag = line.partition(" ")[0]
        elif step.startswith("> "):
            text = step[2:].replace("{tag}", self.tag)
            self.side.sendall(text.encode() + b"\r\n")
        elif step.startswith("| "):
            self.side.sendall(step[2:].encode().decode("unicode_escape").encode("latin-1"))
        else:
            raise ValueError(step)

    def _line(self) -> str:
        line = b""
        # One by one: what comes behind it may be ClientHello.
        while not line.endswith(b"\r\n"):
            piece = self.side.recv(1)
            if not piece:
                raise EOFError(line)
            line += piece
        return line.decode().removesuffix("\r\n")


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """A function that starts a server; its context, if it needs one, and its steps."""
    with ExitStack() as closing:

        def start(context: Any, *steps: Any) -> Scripted:
            server = Scripted(context, *steps)
            closing.callback(server.close)
            return server

        yield start


@pytest.fixture(scope="session")
def tls(lab: Any) -> Any:
    """A client's context that trusts the authority of these tests."""
    return lab.client()


@pytest.fixture(scope="session")
def own(lab: Any) -> Any:
    """A server's context for HOST."""
    return lab.server(lab.chain(HOST))
