"""Random walks: two protocols over a wire in memory, a loop that does what it is told, and anything
that can happen to them in any order. What protocols are promised holds whatever happens."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from polytls import TLSVersion
from polytls.asyncio import endings
from polytls.asyncio.connections import _done
from polytls.asyncio.protocol import State, TLSProtocol
from polytls.asyncio.transport import TLSTransport
from polytls.testing.conformance.lab import Lab

WALKS, STEPS = 150, 60
#: What a wire takes before its sender is held back.
HIGH = 20_000


class Work:
    """A step in a worker thread: it is done when the walk says so."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.error: BaseException | None = None
        self.value: Any = None
        self.then: Any = None

    def add_done_callback(self, then: Any) -> None:
        self.then = then

    def cancelled(self) -> bool:
        return False

    def exception(self) -> BaseException | None:
        return self.error

    def result(self) -> Any:
        return self.value

    def run(self) -> None:
        try:
            self.value = self.call()
        except Exception as error:
            self.error = error
        self.then(self)


class Loop:
    """As much of an event loop as a connection uses."""

    def __init__(self) -> None:
        self.soon: deque[Callable[[], None]] = deque()
        self.timers: list[Any] = []
        self.work: list[Work] = []
        self.now = 0.0
        self.complaints: list[Any] = []

    def get_debug(self) -> bool:
        return False

    def call_soon(self, call: Any, *given: Any, context: Any = None) -> None:
        self.soon.append(partial(call, *given))

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Any) -> Any:
        timer = SimpleNamespace(call=call, when=self.now + seconds)
        timer.cancel = lambda: timer in self.timers and self.timers.remove(timer)
        self.timers.append(timer)
        return timer

    def call_exception_handler(self, what: Any) -> None:
        self.complaints.append(what)

    def run_in_executor(self, _: None, call: Any) -> Work:
        self.work.append(Work(call))
        return self.work[-1]

    def run(self) -> None:
        while self.soon:
            self.soon.popleft()()

    def fire(self) -> None:
        """The next timer has run out."""
        if self.timers:
            timer = min(self.timers, key=lambda each: each.when)
            self.timers.remove(timer)
            self.now = timer.when
            timer.call()


class Socket:
    """What can be asked what the peer has acknowledged: here, all that was carried."""

    def fileno(self) -> int:
        return -1


def unacknowledged(known: Any, *, after_fin: bool) -> int | None:
    return None if known is None else 0


class Wire(asyncio.Transport):
    """One side's transport: what it was given to send waits until it is carried."""

    def __init__(self, loop: Loop, socket: Socket | None) -> None:
        super().__init__()
        self.loop = loop
        self.socket = socket
        #: How much was never carried.
        self.dropped = 0
        self.waiting = bytearray()
        self.closing = self.lost = self.full = self.paused = False
        self.ended = self.told_end = False
        self.limits = (0, HIGH)
        self.top: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default

    def write(self, data: Any) -> None:
        assert type(data) is bytes
        assert not self.ended
        if not self.lost:
            self.waiting += data
            self.look()

    def look(self) -> None:
        size = len(self.waiting)
        if not self.full and size > self.limits[1]:
            self.full = True
            self.top.pause_writing()
        elif self.full and size <= self.limits[0]:
            self.full = False
            self.top.resume_writing()
        if self.closing and not self.waiting:
            self.lose(None)

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (low or 0, HIGH if high is None else high)
        self.look()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.look()

    def abort(self) -> None:
        self.closing = True
        self.lose(None)

    def lose(self, error: OSError | None) -> None:
        if not self.lost:
            self.dropped = len(self.waiting)
            self.waiting.clear()
            self.lost = self.closing = True
            self.loop.call_soon(self.top.connection_lost, error)


class App(asyncio.Protocol):
    """Holds a connection to what it is promised."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.transport: Any = None
        self.wrote, self.got = bytearray(), bytearray()
        self.paused = self.held_back = False
        self.ends = self.losses = 0
        #: What it was told at the end, and whether it has given up.
        self.error: BaseException | None = None
        self.aborted = False

    def connection_made(self, transport: Any) -> None:
        assert self.transport is None
        self.transport = transport
        self.sometimes()

    def data_received(self, data: bytes) -> None:
        self.check()
        assert data
        assert not self.paused
        assert not self.ends
        self.got += data
        self.sometimes()

    def eof_received(self) -> bool:
        self.check()
        assert not self.paused
        self.ends += 1
        self.sometimes()
        return self.rng.random() < 0.5

    def pause_writing(self) -> None:
        self.check()
        assert not self.held_back
        self.held_back = True

    def resume_writing(self) -> None:
        self.check()
        assert self.held_back
        self.held_back = False

    def connection_lost(self, exc: BaseException | None) -> None:
        self.check()
        self.losses += 1
        self.error = exc

    def check(self) -> None:
        assert self.transport is not None
        assert not self.losses

    def sometimes(self) -> None:
        if self.rng.random() < 0.15:
            self.act()

    def act(self) -> None:
        """Anything that an application may do, at any time, within a call or not."""
        if self.transport is None:
            return
        what = self.rng.choices(
            ["write", "pause", "resume", "close", "abort", "write_eof"], [10, 4, 6, 1, 0.3, 1]
        )[0]
        if what == "write":
            data = self.rng.randbytes(self.rng.choice([1, 100, 30_000]))
            open_to_us = self.transport._connection.state is State.OPEN
            try:
                self.transport.write(data)
            except RuntimeError:
                assert not open_to_us
            if open_to_us:
                self.wrote += data
        elif what == "write_eof":
            if self.transport.can_write_eof():
                self.transport.write_eof()
        elif what in ("pause", "resume"):
            if not self.transport.is_closing():
                getattr(self.transport, what + "_reading")()
                self.paused = what == "pause"
        else:
            self.paused = False
            self.aborted |= what == "abort"
            getattr(self.transport, what)()


class Connecting:
    """Who awaits a handshake, as `create_connection` and `start_tls` do: a task, by hand."""

    def __init__(self, loop: Any) -> None:
        self.waiter: asyncio.Future[None] = asyncio.Future(loop=loop)
        self.outcome: Any = None

    def begin(self, connection: TLSProtocol) -> None:
        self.connection = connection
        self.call: Any = _done(connection, self.waiter)
        assert self.call.send(None) is self.waiter

    def cancel(self) -> None:
        """Even if the handshake has just ended, and nobody knows yet."""
        if self.outcome is None:
            self.resume(partial(self.call.throw, asyncio.CancelledError()))
            assert self.connection.closing
            assert self.connection.below.is_closing()

    def look(self) -> None:
        if self.outcome is None and self.waiter.done():
            self.resume(partial(self.call.send, None))

    def resume(self, go_on: Any) -> None:
        try:
            go_on()
        except StopIteration as end:
            self.outcome = end.value
        except (OSError, asyncio.CancelledError) as error:
            self.outcome = error


class Walk:
    """Two sides, and what can happen between them."""

    def __init__(self, lab: Lab, version: TLSVersion, rng: random.Random) -> None:
        self.rng = rng
        self.loop = Loop()
        self.apps = [App(rng), App(rng)]
        # Some transports have a socket that can be measured, some have none.
        socket = Socket() if rng.random() < 0.5 else None
        self.wires = [Wire(self.loop, socket), Wire(self.loop, socket)]
        buffers = [
            lab.client(version=version).create_buffer(lab.host),
            lab.server(version=version).create_buffer(),
        ]
        loop: Any = self.loop
        # A server's connections have nobody who awaits them.
        self.connecting = Connecting(loop)
        waiters = [self.connecting.waiter, None]
        for app, wire, buffer, waiter in zip(self.apps, self.wires, buffers, waiters, strict=True):
            wire.top = TLSProtocol(loop, app, buffer, 60.0, 30.0, waiter=waiter)
            wire.top._may_block = rng.random() < 0.3
        for wire in self.wires:
            wire.top.connection_made(wire)
        self.connecting.begin(self.wires[0].top)

    def step(self) -> None:
        what = self.rng.choices(
            ["carry", "act", "run", "work", "look", "fire", "reset", "cancel"],
            [12, 6, 6, 4, 4, 0.15, 0.1, 0.15],
        )[0]
        if what == "carry":
            self.carry(self.rng.randrange(2), self.rng.choice([1, 50, 5000, 100_000]))
        elif what == "act":
            self.rng.choice(self.apps).act()
        elif what == "run":
            self.loop.run()
        elif what == "work" and self.loop.work:
            self.loop.work.pop(0).run()
        elif what == "fire":
            self.loop.fire()
        elif what in ("look", "cancel"):
            getattr(self.connecting, what)()
        elif what == "reset":
            self.rng.choice(self.wires).lose(ConnectionResetError("reset"))

    def carry(self, sender: int, most: int) -> bool:
        """Carry some of what waits, or the end behind it."""
        wire, other = self.wires[sender], self.wires[1 - sender]
        if wire.waiting and other.lost:
            wire.lose(ConnectionResetError("the other side is gone"))
            return True
        # Some transports hand over a last piece after they were told to pause.
        if other.lost or (other.paused and self.rng.random() < 0.9):
            return False
        if wire.waiting:
            room = other.top.get_buffer(-1)
            count = min(most, len(room), len(wire.waiting))
            room[:count] = wire.waiting[:count]
            del wire.waiting[:count]
            other.top.buffer_updated(count)
            wire.look()
            return True
        if (wire.lost or wire.ended) and not other.told_end:
            other.told_end = True
            assert other.top.eof_received() is True
            return True
        return False

    def settle(self) -> None:
        """Do what there is to do, without help from timers."""
        more = True
        while more:
            self.loop.run()
            more = self.carry(0, 1 << 20) | self.carry(1, 1 << 20) | bool(self.loop.work)
            while self.loop.work:
                self.loop.work.pop(0).run()

    def end(self) -> None:
        """Everybody leaves."""
        self.settle()
        for app in self.apps:
            if app.transport is not None:
                app.paused = False
                app.transport.close()
        self.settle()
        for _ in range(10_000):
            self.loop.fire()
            self.settle()
            if not self.loop.timers:
                break
        self.connecting.look()
        assert not self.loop.timers


@pytest.mark.parametrize("number", range(4))
def test_what_protocols_are_promised_holds_whatever_happens(
    number: int,
    lab: Lab,
    version: TLSVersion,
    rng: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endings, "unacknowledged", unacknowledged)
    for _ in range(WALKS // 4):
        seed = rng.randrange(1 << 32)
        try:
            walk = Walk(lab, version, random.Random(seed))
            for _ in range(STEPS):
                walk.step()
            walk.end()
            check(walk)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def check(walk: Walk) -> None:
    for complaint in walk.loop.complaints:
        raise complaint["exception"]
    # Whoever awaited it has the transport, or knows why not.
    outcome = walk.connecting.outcome
    assert isinstance(outcome, OSError | asyncio.CancelledError | TLSTransport)
    cancelled = isinstance(outcome, asyncio.CancelledError)
    if isinstance(outcome, TLSTransport):
        assert outcome is walk.apps[0].transport
    for app, peer, wire in zip(walk.apps, reversed(walk.apps), walk.wires, strict=True):
        assert wire.lost
        assert app.losses == (app.transport is not None)
        assert peer.wrote.startswith(app.got)
        if app.ends:
            assert app.got == peer.wrote
        # What was written has left, or an error tells. close_notify is no data.
        if app.losses and app.error is None and not (app.aborted or cancelled):
            assert wire.dropped <= wire.top.tls._sent - wire.top.tls._data_end
        assert not wire.top._came
        assert wire.top._scratch is None
