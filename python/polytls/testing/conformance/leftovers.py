"""What connections leave behind whose handshakes ask the application.

A callback that raises leaves a traceback. Its frames lead to the caller, and so to the connection,
which keeps the error. The garbage collector must be able to see this cycle.
"""

from __future__ import annotations

import gc
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import pytest

from polytls import PresentedPeer
from polytls.insecure import SecurityWarning

from .elsewhere import elsewhere

__all__ = ["CALLBACKS", "RAISED", "Census", "RefusedError", "Session", "Stop", "tolerating"]

#: How often a connection is made: one that stays may be a spare, three are a leak.
_TIMES: Final = 3

#: How long what other threads are about to let go of may take to go, in seconds.
_SETTLING: Final = 5.0
_PAUSE: Final = 0.01


class RefusedError(Exception):
    """What a callback raises to refuse."""


class Stop(BaseException):
    """What is no `Exception`, such as KeyboardInterrupt, which would end pytest."""


#: How a callback ends, and what it raises then.
RAISED: Final[Mapping[str, type[BaseException] | None]] = {
    "success": None,
    "refusal": RefusedError,
    "exception": Stop,
}


class Session:
    """An object of the application that the frame around a connection holds."""

    connection: Any = None


class Census:
    """Counts the objects of a connection's classes, and the sessions that are still alive."""

    def __init__(self) -> None:
        self._kinds: set[type] = set()
        self._sessions: list[weakref.ref[Session]] = []

    def session(self, *connections: Any) -> Session:
        """Return a session; none like it, or like `connections`, may be left."""
        session = Session()
        self._sessions.append(weakref.ref(session))
        session.connection = connections
        self._kinds |= {type(each) for each in connections}
        return session

    def assert_nothing_stays(self, attempt: Callable[[], None]) -> None:
        """Call `attempt` several times; all that it has made must go."""
        attempt()
        before = self._left()
        for _ in range(_TIMES):
            attempt()
        # Other threads may be about to let go.
        for _ in self._while_more_than(before):
            time.sleep(_PAUSE)

    async def assert_nothing_stays_of(
        self, attempt: Callable[[], Awaitable[None]], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """The same of a coroutine function; `sleep` is that of its loop."""
        await attempt()
        before = self._left()
        for _ in range(_TIMES):
            await attempt()
        for _ in self._while_more_than(before):
            await sleep(_PAUSE)

    def _left(self) -> Counter[Any]:
        gc.collect()
        left = Counter(type(each) for each in gc.get_objects() if type(each) in self._kinds)
        left[Session] = sum(session() is not None for session in self._sessions)
        return left

    def _while_more_than(self, before: Counter[Any]) -> Iterator[None]:
        deadline = time.monotonic() + _SETTLING
        while not self._left() <= before:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self._left()} are left, and {before} were before")
            yield


@contextmanager
def tolerating(raised: type[BaseException] | None) -> Iterator[None]:
    """A peer that was refused, or what the callback raised, is nothing unexpected."""
    expected = (OSError,) if raised is None else (OSError, raised)
    with suppress(*expected):
        yield


def _verifying(lab: Any, side: str, raised: type[BaseException] | None) -> tuple[Any, Any]:
    def verify(peer: PresentedPeer) -> None:
        del peer
        if raised is not None:
            raise raised

    if side == "client":
        return lab.client(peer_verifier=verify), lab.server()
    server = lab.server(trust_store=lab.ca.trust_store(), peer_verifier=verify)
    return lab.client(certificate_chain=lab.chain("client.example")), server


def _signing(lab: Any, side: str, raised: type[BaseException] | None) -> tuple[Any, Any]:
    chain = lab.chain("client.example") if side == "client" else lab.chain()
    signer = lab.signer(chain.leaf[1])

    def sign(data: bytes, algorithm: Any) -> bytes:
        if raised is not None:
            raise raised
        made: bytes = signer.sign(data, algorithm)
        return made

    chain, _ = elsewhere(lab, chain, sign)
    if side == "server":
        return lab.client(), lab.server(chain)
    return lab.client(certificate_chain=chain), lab.server(trust_store=lab.ca.trust_store())


def _telling(lab: Any, side: str, raised: type[BaseException] | None) -> tuple[Any, Any]:
    def log(line: str) -> None:
        del line
        if raised is not None:
            raise raised

    make = lab.client if side == "client" else lab.server
    with pytest.warns(SecurityWarning, match="key_log"):
        made = make(key_log=log)
    return (made, lab.server()) if side == "client" else (lab.client(), made)


#: Each makes a client's and a server's context from a lab, the side that has the callback, and what
#: the callback raises.
CALLBACKS: Final[Mapping[str, Callable[..., tuple[Any, Any]]]] = {
    "verifier": _verifying,
    "signer": _signing,
    "key log": _telling,
}
