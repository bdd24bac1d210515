"""fork(2): what a child process may go on with, and what it may not.

A child has all of the parent's memory and one of its threads. Locks that other threads held are
held for ever there; and a connection that two processes go on with is worth nothing to either: the
same keys and sequence numbers would protect different data.

So processes are counted. What must not be shared remembers `generation()` and compares it before it
takes any lock; nobody asks for a process id. What can be made anew is, once, in the child, before
anything else runs there: `renew_in_children`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import Protocol
from weakref import WeakSet

from .errors import TLSError

__all__ = ["Renewable", "generation", "inherited", "renew_in_children"]


class Renewable(Protocol):
    """Something that a child cannot take over, and can do without."""

    @abstractmethod
    def renew(self) -> None:
        """Begin anew; no lock of before is worth waiting for. Called by the child's only thread."""
        ...


_generation = 0
_renewable: WeakSet[Renewable] = WeakSet()


def generation() -> int:
    """Return how many forks lie between the first process and this one."""
    return _generation


def renew_in_children(thing: Renewable) -> None:
    """Have `thing` renewed in each child, for as long as somebody holds it."""
    _renewable.add(thing)


def inherited(what: str, instead: str) -> TLSError:
    """Return the error of a call on what belongs to the process that this one was forked from."""
    return TLSError(
        f"this {what} was inherited through fork(), and its keys and locks belong to the process "
        f"that made it: {instead}"
    )


def _entered_child() -> None:
    global _generation
    _generation += 1
    for thing in [*_renewable]:
        thing.renew()


if hasattr(os, "register_at_fork"):  # Not on Windows, which has no fork.
    os.register_at_fork(after_in_child=_entered_child)
