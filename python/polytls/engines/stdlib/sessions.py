"""Sessions on `ssl`: what a client context remembers, and those that are named.

An `ssl.SSLSession` can be set on any connection of its SSLContext, as often as one likes; nothing
is verified then. The rules that hold for all are in docs/resumption.md; the core's counterpart is
crates/rustls/src/lineage.rs.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from ...fork import generation, renew_in_children
from .verdict import Verdict

__all__ = ["Established", "Keeper", "Lineage", "Place", "Sessions"]

#: Tickets kept for each server.
_TICKETS: Final = 8

#: The longest that sessions are resumed after a full handshake, in seconds (RFC 8446 4.6.1).
_A_WEEK: Final = 7 * 24 * 3600


class Place(NamedTuple):
    """What sessions are remembered by."""

    #: A name as `polytls.names` gives it; None keeps them out of the cache.
    host: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class Established:
    """A session that can be resumed, and what it does not keep of its handshake."""

    session: ssl.SSLSession
    #: What the server presented in the full handshake, leaf first.
    peer_chain: tuple[bytes, ...]
    #: By which the server was accepted then; None: nobody judged.
    verdict: Verdict | None
    #: Until when it may be resumed, in seconds since 1970: no longer than the verdict holds, and
    #: than a week after the handshake that it began with (RFC 8446 4.6.1).
    ends: float
    #: A ticket of TLS 1.3 is used once (RFC 8446 C.4).
    once: bool
    #: Stands for the line of tickets that it belongs to.
    line: object


class Lineage:
    """The tickets of one connection, and of all that resume it.

    Those that were not offered yet are in the cache, known by their `line`. The last one is kept
    here, to be offered again when there is no other; a child of fork(2) has none.
    """

    __slots__ = ("_generation", "_last", "line", "peer_chain", "place", "verdict")

    def __init__(
        self,
        place: Place,
        line: object,
        peer_chain: tuple[bytes, ...],
        verdict: Verdict | None,
    ) -> None:
        self.place = place
        self.line = line
        #: What the server presented when it began, and how that was judged.
        self.peer_chain = peer_chain
        self.verdict = verdict
        self._generation = generation()
        self._last: Established | None = None

    def keep(self, last: Established) -> None:
        """Remember the ticket that came last."""
        if self._generation == generation():
            self._last = last

    def again(self) -> Established | None:
        """Return the last ticket, whether or not it was offered, if it goes on."""
        last = self._last if self._generation == generation() else None
        return last if last is not None and time.time() <= last.ends else None


class Sessions:
    """What one client context remembers, by host and port; the oldest is forgotten first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Forget everything: a ticket that two processes use is used twice."""
        self._servers: OrderedDict[Place, list[Established]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, place: Place, found: Established) -> None:
        """Remember a session."""
        with self._lock:
            known_ones = self._servers.setdefault(place, [])
            if not found.once:
                known_ones[:] = [each for each in known_ones if each.once]
                known_ones.insert(0, found)
            else:
                known_ones.append(found)
                if len(known_ones) > _TICKETS:
                    del known_ones[0]
            self._servers.move_to_end(place)
            while len(self._servers) > self._capacity:
                self._servers.popitem(last=False)

    def take(self, place: Place) -> Established | None:
        """Return the newest that goes on; a ticket of TLS 1.3 is then gone."""
        with self._lock:
            known_ones = self._going_on(place)
            if not known_ones:
                return None
            self._servers.move_to_end(place)
            return known_ones.pop() if known_ones[-1].once else known_ones[-1]

    def take_of(self, lineage: Lineage) -> Established | None:
        """Return what to offer of a session that is named.

        That is its newest ticket that was not offered yet, which is then gone; else its last one.
        """
        with self._lock:
            known_ones = self._going_on(lineage.place)
            for index in reversed(range(len(known_ones))):
                found = known_ones[index]
                if found.line is lineage.line and found.once:
                    return known_ones.pop(index)
        return lineage.again()

    def _going_on(self, place: Place) -> list[Established]:
        """What is remembered, without what has ended."""
        known_ones, now = self._servers.get(place, []), time.time()
        known_ones[:] = [each for each in known_ones if now <= each.ends]
        return known_ones


class Keeper:
    """What one client connection does with the sessions that come to it."""

    __slots__ = ("_last", "_line", "_lineage", "_place", "_resumed", "_sessions")

    def __init__(
        self,
        sessions: Sessions,
        place: Place,
        lineage: Lineage | None,
        offered: Established | None,
    ) -> None:
        self._sessions = sessions
        self._place = place
        self._lineage = lineage
        #: What is resumed, until it is known that nothing is.
        self._resumed = offered
        self._line = object() if lineage is None else lineage.line
        self._last: Established | None = None

    @property
    def has_any(self) -> bool:
        """Whether a session has come."""
        return self._last is not None

    def begin_anew(self) -> None:
        """The handshake was a full one: no session is resumed."""
        self._resumed = None
        if self._lineage is not None:
            self._lineage = None
            self._line = object()

    def keep(
        self,
        session: ssl.SSLSession,
        peer_chain: tuple[bytes, ...],
        verdict: Verdict | None,
        *,
        once: bool,
    ) -> bool:
        """Keep a session that has come, and say whether later connections may find it.

        One that was resumed passes on its verdict and its end. Servers tie sessions to the name
        that was asked for: where it is not that of the lineage, the session is for that alone.
        """
        verdict, ends = self._terms(verdict)
        self._last = found = Established(session, peer_chain, verdict, ends, once, self._line)
        place = self._place
        if self._lineage is not None:
            self._lineage.keep(found)
            if self._lineage.place.host != place.host:
                return False
            place = self._lineage.place
        if place.host is None:
            return False
        self._sessions.keep(place, found)
        return True

    def _terms(self, verdict: Verdict | None) -> tuple[Verdict | None, float]:
        """The verdict by which the session began, and until when it may be resumed."""
        if self._resumed is not None:
            return self._resumed.verdict, self._resumed.ends
        ends = time.time() + _A_WEEK
        if verdict is not None and verdict.ends is not None:
            ends = min(ends, verdict.ends)
        return verdict, ends

    def lineage(self, peer_chain: tuple[bytes, ...], verdict: Verdict | None) -> Lineage:
        """Return the connection's lineage; `peer_chain` is that of its session."""
        if self._lineage is None:
            verdict, _ = self._terms(verdict)
            self._lineage = Lineage(self._place, self._line, peer_chain, verdict)
            if self._last is not None:
                self._lineage.keep(self._last)
        return self._lineage
