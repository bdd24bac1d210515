"""Locks under which other code of this thread may run: a callback's, or a signal handler's.

If that code waits for the lock, it waits for itself, for ever. So it is asked first who has it.

The locks are the interpreter's own, which know their thread. `with` itself takes them: between that
and the block there is no room for a signal's handler, whose exception would leave a lock taken.
"""

from __future__ import annotations

import threading
from typing import Any

from .errors import TLSError

__all__ = ["OwnedLock", "is_taken", "may_wait_for", "owned_lock"]

#: A `threading.RLock`; its type has no public name.
OwnedLock = Any


def owned_lock() -> OwnedLock:
    """Return a new lock."""
    return threading.RLock()


def may_wait_for(lock: OwnedLock) -> OwnedLock:
    """Return `lock`; raise TLSError in the thread that has it."""
    if lock._is_owned():
        raise TLSError(
            "a callback cannot use the connection that it is called for, nor can a signal handler "
            "use one that it has interrupted in the middle of a call: call again later"
        )
    return lock


def is_taken(lock: OwnedLock) -> bool:
    """Return whether some thread has the lock, this one included."""
    if lock._is_owned():
        return True
    if not lock.acquire(blocking=False):
        return True
    lock.release()
    return False
