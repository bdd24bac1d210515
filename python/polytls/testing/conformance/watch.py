"""A watch over the case that runs: one that does not end is interrupted.

A call of an implementation that waits for ever, with no timeout of its own, would otherwise hold up
the run without a word. First the main thread gets what Ctrl-C gives, so that pytest tells what has
happened until then. Where threads of the case keep the process from ending, it is ended.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .lab import PATIENCE

__all__ = ["Watch", "interrupt_main"]

#: What no case may take, in seconds.
LIMIT: Final = 3 * PATIENCE
#: How long the process may go on after that, in seconds.
GRACE: Final = 10.0


def interrupt_main() -> None:
    """Give the main thread what Ctrl-C gives."""
    if hasattr(signal, "pthread_kill"):
        # Wakes it from what it waits in.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


class Watch:
    """Interrupts a case that takes longer than `LIMIT`. One thread watches over all cases."""

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        #: The case that runs.
        self._case: str | None = None
        self._thread: threading.Thread | None = None
        #: The case that was interrupted.
        self.interrupted: str | None = None

    @contextmanager
    def over(self, case: str) -> Iterator[None]:
        """Watch over a case."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        self._turn_to(case)
        try:
            yield
        finally:
            self._turn_to(None)

    def _turn_to(self, case: str | None) -> None:
        with self._changed:
            self._case = case
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while self._changed.wait(None if self._case is None else self._limit):
                pass
            self.interrupted = self._case
        self._interrupt()

    def _interrupt(self) -> None:
        faulthandler.dump_traceback(sys.__stderr__ or 2)
        interrupt_main()
        time.sleep(GRACE)
        os._exit(1)
