"""Servers of pages as a reader would start them: in a process of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polytls.testing.conformance.lab import PATIENCE

__all__ = ["PORT", "started"]

#: Where servers on the pages listen.
PORT = "8443"


@contextmanager
def started(code: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """Run a program in `folder` that serves at PORT, at a free one; give it once it listens.

    It is killed at the end of the block.
    """
    with socket.create_server(("localhost", 0)) as plain:
        port: int = plain.getsockname()[1]
    assert PORT in code
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code.replace(PORT, str(port))],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    socket.create_connection(("localhost", port)).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, process.communicate()[1]
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield process, ("localhost", port)
        finally:
            process.kill()
