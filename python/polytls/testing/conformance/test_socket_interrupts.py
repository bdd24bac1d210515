"""Ctrl-C while a socket waits: the call ends with KeyboardInterrupt, and nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.watch import interrupt_main

#: When Ctrl-C comes: the call waits by then.
SOON = 0.1


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises, even if this process was started in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_ends_recv(ends: Any, threads: ThreadPoolExecutor) -> None:
    client, accepted = ends
    waits = threading.Event()

    def interrupt() -> None:
        waits.wait(PATIENCE)
        # Nothing reports that the call waits: give it time to begin.
        threading.Event().wait(SOON)
        interrupt_main()

    def receive() -> bytes:
        waits.set()
        return accepted.recv(100)

    interrupting = threads.submit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        receive()
    interrupting.result()
    client.send(b"still here")
    assert accepted.recv(100) == b"still here"
