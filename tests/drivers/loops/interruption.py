"""Coroutines, cut off where they wait for the n-th time, for every n until they are through.

What runs inside is a coroutine by hand: each value that it yields is one wait of its task's.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

__all__ = ["Cut", "at_every_wait"]


@dataclass
class Cut:
    """Where to cut: at wait number `at`, counted from one. `waits`: how many there were."""

    at: int
    waits: int = 0

    @types.coroutine
    def during(
        self, call: Coroutine[Any, Any, Any], cancel: Callable[[Any], None]
    ) -> Generator[Any, Any, Any]:
        """Run `call`, and `cancel` with what it waits for when it does so for that time."""
        resume: Callable[[Any], Any] = call.send
        given: Any = None
        while True:
            try:
                waited = resume(given)
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self.at:
                cancel(waited)
            try:
                given = yield waited
                resume = call.send
            except BaseException as error:  # The task's business: it goes where it belongs.
                resume, given = call.throw, error

    @property
    def through(self) -> bool:
        """Whether nothing was cut: there were not so many waits."""
        return self.waits < self.at


async def at_every_wait(attempt: Callable[[Cut], Awaitable[None]], *, least: int = 1) -> None:
    """Make attempts that are cut later and later, until one is through.

    Fails if there were not even `least` waits to cut at.
    """
    cut = Cut(0)
    while cut.at == 0 or not cut.through:
        cut = Cut(cut.at + 1)
        try:
            await attempt(cut)
        except BaseException as error:
            error.add_note(f"cut at wait {cut.at}")
            raise
    assert cut.at > least, f"there were {cut.at - 1} waits"
