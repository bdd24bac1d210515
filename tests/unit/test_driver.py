"""The driver's state machine: against a model with random events, and its promises one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytls import (
    PeerMisbehaved,
    RaggedEOF,
    TLSBuffer,
    TLSClientConfiguration,
    TLSError,
    TLSServerConfiguration,
    TLSVersion,
    WantReadError,
    WantWriteError,
)
from polytls.driver import Driver, Event, Need, State
from polytls.states import TABLE

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3

# What the peer can say to a fake buffer, each in one byte. Two STEPs make a handshake; later ones
# come to nothing, as tickets do.
STEP, DATA, CLOSE, BREACH = b"h", b"d", b"c", b"x"
STEPS = 2
INCOMING, OUTGOING = 4, 6


class FakeBuffer:
    """A `TLSBuffer` of a protocol in which each message is one byte."""

    context: Any = None

    def __init__(self, version: TLSVersion = V13) -> None:
        self.version = version
        self.incoming: deque[bytes] = deque()
        self.outgoing = b""
        self.steps = self.calls = 0
        self.failed = self.ended = self.closed = self.peer_closed = False

    @property
    def done(self) -> bool:
        return self.steps == STEPS

    def next(self) -> bytes:
        """The next message for a reader; raises where there is none, or a breach."""
        while self.done and self.incoming and self.incoming[0] == STEP:
            self.incoming.popleft()
        if not self.incoming:
            if self.ended:
                self.failed |= not self.done
                raise RaggedEOF("over", during_handshake=not self.done)
            raise WantReadError
        if self.incoming[0] == BREACH or (not self.done and self.incoming[0] != STEP):
            self.failed = True
            self.check()
        return self.incoming[0]

    def check(self) -> None:
        if self.failed:
            raise (
                PeerMisbehaved("a breach")
                if self.incoming
                else RaggedEOF("over", during_handshake=True)
            )

    def do_handshake(self) -> None:
        self.calls += 1
        self.check()
        while not self.done:
            self.next()
            self.incoming.popleft()
            self.steps += 1
            self.outgoing += STEP

    def read(self, amt: int, buffer: Any = None) -> bytes | int:
        self.do_handshake()
        data = b""
        amt = amt if buffer is None else min(amt, len(buffer))
        while len(data) < amt and not self.peer_closed:
            try:
                message = self.next() if not data else self.incoming[0]
            except IndexError:
                break
            if message == CLOSE and not data:
                self.incoming.popleft()
                self.peer_closed = True
                self.closed |= self.version is V12
            elif message == DATA:
                data += self.incoming.popleft()
            else:
                break
        if buffer is None:
            return data
        buffer[: len(data)] = data
        return len(data)

    def write(self, buf: Any) -> int:
        self.do_handshake()
        if self.closed:
            raise TLSError("shut down")
        room = OUTGOING - len(self.outgoing)
        if room <= 0:
            raise WantWriteError
        taken = min(room, len(buf))
        self.outgoing += DATA * taken
        return taken

    def shutdown(self) -> None:
        self.calls += 1
        self.check()
        if not self.closed:
            self.outgoing += CLOSE
            self.closed = True
        while not self.peer_closed:
            if self.next() == DATA:
                raise WantReadError
            self.incoming.popleft()
            self.peer_closed = True

    def process_incoming(self, data_from_network: Any) -> None:
        if len(self.incoming) >= INCOMING:
            raise WantReadError
        assert not self.ended, "the driver gave data after the end"
        self.ended = not data_from_network
        self.incoming.extend(bytes([byte]) for byte in data_from_network)

    def incoming_bytes_buffered(self) -> int:
        return len(self.incoming)

    def process_outgoing(self, amount_bytes_for_network: int) -> bytes:
        taken = self.outgoing[:amount_bytes_for_network]
        self.outgoing = self.outgoing[amount_bytes_for_network:]
        return taken

    def outgoing_bytes_buffered(self) -> int:
        return len(self.outgoing)

    def cipher(self) -> None:
        return None

    def negotiated_protocol(self) -> None:
        return None

    @property
    def negotiated_tls_version(self) -> TLSVersion | None:
        return self.version if self.done else None

    def getpeercert(self) -> None:
        return None


class FusedBuffer(FakeBuffer):
    """The same with calls that do two things at once."""

    def open(self, data: Any, amt: int, buffer: Any = None, /) -> bytes | int | None:
        if data is not None:
            self.process_incoming(data)
        try:
            return self.read(amt, buffer)
        except WantReadError:
            return None

    def seal(self, buf: Any, /) -> bytes:
        while buf:
            try:
                buf = buf[self.write(buf) :]
            except WantWriteError:
                self.sealed, self.outgoing = self.sealed + self.outgoing, b""
        data, self.sealed, self.outgoing = self.sealed + self.outgoing, b"", b""
        return data

    sealed = b""


def driver(
    version: TLSVersion = V13,
    said: bytes = b"",
    kind: type[FakeBuffer] = FakeBuffer,
    *,
    accepts: bool = False,
) -> tuple[Driver, FakeBuffer]:
    buffer = kind(version)
    made = Driver(buffer, accept_truncated_end=accepts)
    if said:
        made.receive(said)
    return made, buffer


def connected(version: TLSVersion = V13) -> tuple[Driver, FakeBuffer]:
    made, buffer = driver(version, STEP * STEPS)
    assert made.handshake() is None
    return made, buffer


class Model:
    """What a driver should do, told by what was said and done and not by states: no limits on what
    comes in, one list of messages, one flag for each fact."""

    def __init__(self, version: TLSVersion, *, accepts: bool) -> None:
        self.version = version
        self.accepts = accepts
        self.said: list[bytes] = []
        self.steps = 0
        self.sealed = 0
        self.over = self.begun = self.aborted = self.we_closed = False
        self.peer_closed = self.ragged = self.paused = False
        self.out_of_time = False
        self.failure: type[TLSError] | None = None

    @property
    def state(self) -> State:
        if self.failure:
            return State.FAILED
        if self.aborted:
            # A handshake that takes too long has failed; anything else that was given up is over.
            return State.FAILED if self.out_of_time and self.steps < STEPS else State.CLOSED
        if self.steps < STEPS:
            return State.HANDSHAKING if self.begun else State.OPEN
        return {
            (False, False): State.CONNECTED,
            (True, False): State.CLOSING_BY_US,
            (False, True): State.CLOSING_BY_PEER,
            (True, True): State.CLOSED,
        }[self.we_closed, self.peer_closed or self.ragged]

    def fail(self, kind: type[TLSError]) -> type[TLSError]:
        self.failure = kind
        return kind

    def may_time_out(self) -> bool:
        """There is a limit to how long a handshake takes, and a close; not to data."""
        ended = self.we_closed or self.aborted or self.failure
        return self.steps < STEPS or bool(ended)

    def handshake(self) -> Any:
        if self.aborted:
            return TimeoutError if self.out_of_time else TLSError
        if self.failure:
            return self.failure
        if self.steps < STEPS:
            self.begun = True
        while self.steps < STEPS:
            if not self.said:
                return self.fail(RaggedEOF) if self.over else Need.READ
            if self.said[0] != STEP:
                return self.fail(PeerMisbehaved)
            self.said.pop(0)
            self.steps += 1
            self.sealed += 1
        return None

    def read(self, amount: int) -> Any:
        if not amount:
            return b""
        if (need := self.handshake()) is not None:
            return need
        if self.peer_closed:
            return b""
        while self.said and self.said[0] == STEP:
            del self.said[0]
        data = b""
        while self.said and self.said[0] == DATA and len(data) < amount:
            data += self.said.pop(0)
        if data:
            return data
        if not self.said:
            self.ragged |= self.over
            return (b"" if self.accepts else RaggedEOF) if self.over else Need.READ
        if self.said[0] == BREACH:
            return self.fail(PeerMisbehaved)
        del self.said[0]
        self.peer_closed = True
        self.we_closed |= self.version is V12
        return b""

    def unread(self, data: bytes) -> None:
        self.said[:0] = [bytes([byte]) for byte in data]

    def look(self) -> None:
        """What is found by who looks for data without taking it."""
        if self.steps == STEPS and not self.aborted and self.said:
            found = self.read(1)
            if isinstance(found, bytes):
                self.unread(found)

    def write(self, amount: int) -> Any:
        if (need := self.handshake()) is not None:
            return need
        if self.we_closed:
            return TLSError
        if not amount:
            return 0
        taken = min(amount, max(0, OUTGOING - self.sealed))
        self.sealed += taken
        return taken or Need.WRITE

    def close(self) -> Any:
        if self.aborted:
            return TimeoutError if self.out_of_time else TLSError
        if self.steps < STEPS:
            return TLSError
        if self.failure:
            return self.failure
        if self.we_closed:
            return None
        self.we_closed = True
        self.sealed += 1
        while self.said and self.said[0] == STEP:
            del self.said[0]
        if self.peer_closed:
            return None
        if self.said and self.said[0] == CLOSE:
            del self.said[0]
            self.peer_closed = True
        elif self.said and self.said[0] == BREACH:
            return self.fail(PeerMisbehaved)
        elif not self.said and self.over:
            self.ragged = True
        return None

    def discard(self) -> Any:
        self.paused = False
        while True:
            found = self.read(OUTGOING)
            if found == b"" or (found is RaggedEOF and self.steps == STEPS):
                return None
            if not isinstance(found, bytes):
                return found

    def seal(self, amount: int) -> Any:
        """How much is to be sent: what waits, and all of it."""
        found = self.write(0)
        if found is Need.READ:
            return TLSError
        if found != 0:
            return found
        amount, self.sealed = amount + self.sealed, 0
        return amount


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives: its result, or the class of its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return type(error)


def compare_reading(model: Model, amount: int, given: Any) -> None:
    """Less data than is there may be given, but not none."""
    expected = model.read(amount)
    if isinstance(expected, bytes) and isinstance(given, bytes) and given:
        model.unread(expected.removeprefix(given))
        expected = expected[: len(given)]
    assert given == expected


messages = st.lists(st.sampled_from([STEP, DATA, CLOSE, BREACH]), max_size=3).map(b"".join)
handshakes = st.just(STEP * STEPS)
events = st.one_of(
    st.tuples(st.just("receive"), st.one_of(messages, handshakes, st.just(DATA * 5))),
    st.tuples(st.sampled_from(["handshake", "close", "drain", "end", "pending", "discard"])),
    st.tuples(st.sampled_from(["abort", "time_out", "pause", "resume", "take_outgoing"])),
    st.tuples(st.sampled_from(["read", "read_into", "write"]), st.integers(0, 4)),
    st.tuples(st.just("seal"), st.integers(0, 20)),
    st.tuples(
        st.sampled_from(["open", "open_into"]),
        st.one_of(st.none(), st.just(b""), messages),
        st.integers(1, 9),
    ),
)


#: Half of the scripts begin behind the handshake, where most can happen.
prefixes = st.sampled_from([(), (("receive", STEP * STEPS), ("handshake",))])


@settings(max_examples=2000, deadline=None)
@given(
    kind=st.sampled_from([FakeBuffer, FusedBuffer]),
    version=st.sampled_from([V12, V13]),
    accepts=st.booleans(),
    prefix=prefixes,
    script=st.lists(events, max_size=15),
)
def test_the_driver_does_what_the_model_says(
    kind: type[FakeBuffer],
    version: TLSVersion,
    accepts: bool,
    prefix: tuple[Any, ...],
    script: list[tuple[Any, ...]],
) -> None:
    made, _ = driver(version, kind=kind, accepts=accepts)
    model = Model(version, accepts=accepts)
    for name, *arguments in [*prefix, *script]:
        if name == "receive":
            if made.receptive and arguments[0]:
                made.receive(arguments[0])
                model.said += [bytes([byte]) for byte in arguments[0]]
            continue
        if name == "end":
            if made.receptive:
                made.receive(b"")
                model.over = True
            continue
        if name == "drain":
            sent = len(made.to_send())
            assert sent == (0 if model.aborted else model.sealed)
            made.sent += sent
            model.sealed = 0
            continue
        if name == "take_outgoing":
            assert len(made.take_outgoing()) == (0 if model.aborted else model.sealed)
            model.sealed = 0
            continue
        if name == "pending":
            if not made.ahead:
                model.look()
            assert made.pending() <= model.said.count(DATA)
        elif name == "abort":
            made.abort()
            model.aborted = True
        elif name == "time_out":
            if not model.may_time_out():
                continue
            made.time_out(TimeoutError("too long"))
            model.out_of_time |= not model.aborted
            model.aborted = True
        elif name in ("pause", "resume"):
            getattr(made, name)()
            model.paused = name == "pause"
        elif name == "seal":
            before = made.sent
            given = outcome(made.seal, bytes(arguments[0]))
            given = len(given) if isinstance(given, bytes) else given
            assert given == model.seal(arguments[0])
            assert made.sent - before == (given if isinstance(given, int) else 0)
        elif name in ("open", "open_into"):
            came, amount = arguments
            if came is not None and not made.receptive:
                continue
            view = memoryview(bytearray(amount))
            given = outcome(made.open, came, amount, view if name == "open_into" else None)
            given = bytes(view[:given]) if isinstance(given, int) else given
            if came is not None:
                model.over |= not came
                model.said += [bytes([byte]) for byte in came]
            compare_reading(model, amount, given)
        elif name == "read":
            given = outcome(made.read, arguments[0])
            compare_reading(model, arguments[0], given)
        elif name == "read_into":
            view = memoryview(bytearray(arguments[0]))
            given = outcome(made.read_into, view)
            given = bytes(view[:given]) if isinstance(given, int) else given
            compare_reading(model, arguments[0], given)
        elif name == "write":
            given = outcome(made.write, memoryview(bytes(arguments[0])))
            assert given == model.write(arguments[0])
        else:
            assert outcome(getattr(made, name)) == getattr(model, name)()
        assert made.state is model.state
        assert made.paused is model.paused
        assert not (made.paused and made.receptive)
        assert made.established is (model.steps == STEPS)


def test_the_fake_buffer_is_one() -> None:
    assert isinstance(FakeBuffer(), TLSBuffer)


# --- the table ---


def test_the_table_has_a_cell_for_every_event_in_every_state() -> None:
    assert set(TABLE) == set(State)
    assert {len(row) for row in TABLE.values()} == {len(Event)}


@pytest.mark.parametrize("state", [State.FAILED, State.CLOSED])
def test_there_is_no_way_back_from_the_end(state: State) -> None:
    assert set(TABLE[state]) <= {state, State.FAILED, None}


def test_every_state_can_be_reached_and_ended() -> None:
    reached = {State.OPEN}
    while True:
        more = {after for state in reached for after in TABLE[state] if after} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)
    column = list(Event).index(Event.ABORTED)
    assert {row[column] for row in TABLE.values()} == {State.CLOSED, State.FAILED}


def test_there_is_no_limit_to_the_time_that_data_takes() -> None:
    column = list(Event).index(Event.TIMED_OUT)
    limited = {state for state, row in TABLE.items() if row[column] is not None}
    assert limited == set(State) - {State.CONNECTED, State.CLOSING_BY_PEER}


# --- promises ---


def test_a_buffer_that_needs_more_is_not_asked_again_before_it_gets_more() -> None:
    made, buffer = connected()
    assert made.read(1) is Need.READ
    calls = buffer.calls
    assert made.read(1) is Need.READ
    assert made.read_into(memoryview(bytearray(1))) is Need.READ
    assert buffer.calls == calls
    made.receive(DATA)
    assert made.read(1) == DATA


def test_writing_goes_on_while_reading_needs_more() -> None:
    made, _ = connected()
    assert made.read(1) is Need.READ
    assert made.write(memoryview(b"ab")) == 2
    assert bytes(made.to_send()) == STEP * STEPS + DATA * 2


def test_what_a_full_buffer_refuses_is_kept_and_given_to_it_later() -> None:
    made, buffer = connected()
    for _ in range(INCOMING + 1):
        assert made.receptive
        made.receive(DATA)
    assert not made.receptive
    assert buffer.incoming_bytes_buffered() == INCOMING
    assert made.read(100) == DATA * INCOMING
    assert made.receptive
    assert made.read(100) == DATA
    assert made.read(100) is Need.READ


def test_who_brings_more_than_can_be_taken_loses_none_of_it() -> None:
    made, _ = connected()
    for piece in (DATA * INCOMING, DATA, DATA * INCOMING, CLOSE, b""):
        made.receive(piece)
    got = b""
    while (data := made.read(100)) != b"":
        assert isinstance(data, bytes)
        got += data
    assert got == DATA * (2 * INCOMING + 1)
    assert made.state is State.CLOSING_BY_PEER


def test_the_end_of_the_transport_can_wait_for_room_too() -> None:
    made, _ = connected()
    made.receive(DATA * INCOMING)
    made.receive(DATA)
    assert not made.receptive
    assert made.read(INCOMING) == DATA * INCOMING
    made.receive(b"")
    made.receive(DATA)  # The transport is over: this can only be a mistake, and is dropped.
    assert made.read(9) == DATA
    with pytest.raises(RaggedEOF):
        made.read(9)


def test_what_waits_is_sent_in_order_whatever_pieces_it_goes_in() -> None:
    made, _ = connected()
    made.write(memoryview(b"xy"))
    expected = STEP * STEPS + DATA * 2
    sent = b""
    while waiting := made.to_send():
        assert made.unsent == len(expected) - len(sent)
        sent += bytes(waiting[:1])
        made.sent += 1
        if len(sent) == 3:
            made.write(memoryview(b"z"))
            expected += DATA
    assert sent == expected
    assert made.unsent == 0


def test_an_error_is_raised_again_and_what_waits_can_still_be_sent() -> None:
    made, _ = connected()
    made.receive(BREACH)
    for call in (lambda: made.read(1), lambda: made.write(memoryview(b"x")), made.handshake):
        with pytest.raises(PeerMisbehaved):
            call()
        assert made.state is State.FAILED
    assert bytes(made.to_send()) == STEP * STEPS


def test_data_is_opened_ahead_in_search_of_what_stands_behind_it() -> None:
    made, _ = connected()
    made.receive(DATA * 2 + BREACH)
    assert made.look_ahead()
    assert made.ahead == 2
    assert not made.look_ahead()
    assert made.state is State.FAILED
    assert made.read(1) == DATA
    assert made.read_into(memoryview(bytearray(5))) == 1
    with pytest.raises(PeerMisbehaved):
        made.read(1)


def test_pending_opens_what_a_descriptor_does_not_tell_of() -> None:
    made, _ = connected()
    assert made.pending() == 0
    made.receive(DATA * 3)
    assert made.pending() == 3
    assert made.read(2) == DATA * 2
    assert made.pending() == 1


def test_nothing_is_opened_ahead_before_the_handshake() -> None:
    made, buffer = driver(said=STEP)
    assert made.pending() == 0
    assert not made.look_ahead()
    assert buffer.calls == 0
    assert made.state is State.OPEN


def test_tls_1_2_closes_both_directions_at_once() -> None:
    for version, state in ((V12, State.CLOSED), (V13, State.CLOSING_BY_PEER)):
        made, _ = connected(version)
        made.receive(CLOSE)
        assert made.read(1) == b""
        assert made.state is state
    assert made.write(memoryview(b"x")) == 1


def test_after_giving_up_nothing_is_done_any_more() -> None:
    made, buffer = connected()
    made.write(memoryview(b"x"))
    made.abort()
    assert made.state is State.CLOSED
    calls = buffer.calls
    for call in (lambda: made.read(1), lambda: made.write(memoryview(b"")), made.handshake):
        with pytest.raises(TLSError, match="given up"):
            call()
    with pytest.raises(TLSError, match="given up"):
        made.close()
    assert buffer.calls == calls
    assert not made.to_send()
    assert made.unsent == 0


def test_a_handshake_that_takes_too_long_has_failed_and_a_close_is_over() -> None:
    made, _ = driver(said=STEP)
    assert made.handshake() is Need.READ
    made.time_out(TimeoutError("too long"))
    assert made.state is State.FAILED
    with pytest.raises(TimeoutError, match="too long"):
        made.handshake()
    made, _ = connected()
    made.close()
    made.time_out(TimeoutError("too long"))
    assert made.state is State.CLOSED
    assert made.unsent == 0
    with pytest.raises(TimeoutError, match="too long"):
        made.read(1)


def test_who_has_paused_is_brought_nothing_and_who_discards_needs_nobody() -> None:
    made, _ = connected()
    made.pause()
    assert not made.receptive
    made.resume()
    assert made.receptive
    made.pause()
    made.close()
    assert made.discard() is Need.READ
    assert made.receptive
    made.receive(DATA * 3)
    assert made.discard() is Need.READ
    made.receive(DATA + CLOSE)
    assert made.discard() is None
    assert made.state is State.CLOSED


def test_what_is_discarded_cannot_be_cut_short() -> None:
    made, _ = connected()
    made.close()
    made.receive(DATA)
    made.receive(b"")
    assert made.discard() is None
    assert made.state is State.CLOSED


def test_all_is_sealed_at_once_for_a_transport_that_takes_everything() -> None:
    made, buffer = connected()
    data = bytes(OUTGOING * 3)
    assert made.seal(data) == STEP * STEPS + DATA * len(data)
    assert made.seal(b"") == b""
    assert (made.sent, made.unsent) == (STEPS + len(data), 0)
    made.write(memoryview(b"x"))
    assert made.take_outgoing() == DATA
    assert made.take_outgoing() == b""
    assert buffer.outgoing == b""
    early, _ = driver(said=STEP)
    with pytest.raises(TLSError, match="not complete"):
        early.seal(b"x")


def test_the_end_of_the_applications_data_is_known_whatever_is_sent_behind_it() -> None:
    made, _ = connected()
    assert made.data_end == 0
    made.write(memoryview(b"xy"))
    end = made.data_end
    assert end == made.sent + made.unsent
    made.take_outgoing()
    assert made.sent == end
    made.seal(b"x")
    end += 1
    assert made.data_end == made.sent == end
    made.close()
    assert made.take_outgoing()
    assert (made.sent > end, made.data_end) == (True, end)


@pytest.mark.parametrize("serves", [False, True])
@pytest.mark.parametrize("version", [V12, V13])
def test_only_the_tickets_of_a_tls_1_3_server_need_not_be_sent_for_its_handshake(
    version: TLSVersion, serves: bool
) -> None:
    made, buffer = driver(version=version)
    chosen = TLSServerConfiguration([]) if serves else TLSClientConfiguration()
    buffer.context = SimpleNamespace(configuration=chosen)
    assert not made.flight_unsent
    made.receive(STEP)
    assert made.handshake() is Need.READ
    assert made.flight_unsent
    made.receive(STEP)
    assert made.handshake() is None
    assert made.flight_unsent is not (serves and version is V13)
    made.take_outgoing()
    assert not made.flight_unsent


def test_what_comes_is_not_used_after_the_call() -> None:
    made, _ = connected()
    made.receive(DATA * INCOMING)
    lent = bytearray(DATA * 2)
    made.receive(memoryview(lent))
    lent[:] = BREACH * 2
    assert made.read(100) == DATA * INCOMING
    assert made.read(100) == DATA * 2
