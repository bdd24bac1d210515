"""Early data: when it is taken, that it is taken once, and never for other data."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    ClientAuthentication,
    ConfigurationError,
    NamedGroup,
    PeerMisbehaved,
    RaggedEOF,
    SupportsOpen,
    TicketKeys,
    TLSError,
    TLSVersion,
    WantReadError,
)
from polytls.testing import Pair
from polytls.testing.conformance.forked import assert_done_in_a_process
from polytls.testing.conformance.hello import (
    KEY_SHARE,
    RETRY,
    SUPPORTED_GROUPS,
    SUPPORTED_VERSIONS,
    Hello,
    groups_shared,
)
from polytls.testing.conformance.lab import PATIENCE, Whole, drive
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.target import Target

pytestmark = needs("early data")

EARLY = b"GET /early HTTP/1.1\r\n\r\n"
#: More than any record holds, and than servers usually take.
MUCH = bytes(range(256)) * 1024
APPLICATION_DATA = 23


@pytest.fixture
def client(lab: Any) -> Any:
    return lab.client(early_data=True)


@pytest.fixture
def server(lab: Any) -> Any:
    return lab.server(early_data=True)


def visit(lab: Any, client: Any, server: Any) -> Pair:
    """Connect, and let the client take in what the server gives it for the next time."""
    pair: Pair = lab.connect(client, server)
    with pytest.raises(WantReadError):
        pair.client.read(1)
    return pair


def begin(lab: Any, client: Any, server: Any, data: bytes = EARLY, **given: Any) -> Any:
    """Two buffers, and `data` on its way with the client's first flight; all of it may go."""
    pair = lab.pair(client, server, **given)
    assert pair.client.write_early_data(data) == len(data)
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    return pair


def early(side: Any, amount: int = 4096) -> bytes:
    """All early data that can be read now."""
    data = bytearray()
    try:
        while piece := side.read_early_data(amount):
            data += piece
    except WantReadError:
        pass
    return bytes(data)


def told(pair: Any) -> list[bool | None]:
    return [pair.client.info.early_data, pair.server.info.early_data]


def carries_data(pair: Any) -> bool:
    """Whether both directions do, in several records."""
    data = MUCH[:50_000]
    return all(pair.send(side, data) == Whole(data) for side in (pair.client, pair.server))


# --- taken ---


def test_it_is_there_before_the_handshake_is_done(lab: Any, client: Any, server: Any) -> None:
    visit(lab, client, server)
    pair = begin(lab, client, server)
    assert told(pair) == [None, None]
    pair.transfer()
    assert pair.server.read_early_data(4) == EARLY[:4]
    assert pair.server.negotiated_tls_version is None
    assert early(pair.server) == EARLY[4:]
    pair.handshake()
    assert pair.client.info.resumed is pair.server.info.resumed is True
    assert told(pair) == [True, True]
    assert [pair.server.read_early_data(9) for _ in range(3)] == [b""] * 3
    assert carries_data(pair)


def test_it_comes_in_order_however_it_is_written_and_cut(
    lab: Any, client: Any, server: Any
) -> None:
    visit(lab, client, server)

    def bytewise(data: bytes) -> Iterator[bytes]:
        return (data[at : at + 1] for at in range(len(data)))

    for split in (bytewise, None):
        pair = lab.pair(client, server, **({"split": split} if split else {}))
        pieces = [MUCH[:1], b"", MUCH[1:2000], MUCH[2000:2001], MUCH[2001:8000]]
        assert [pair.client.write_early_data(piece) for piece in pieces] == [*map(len, pieces)]
        pair.handshake()
        assert early(pair.server, 777) == MUCH[:8000]
        assert told(pair) == [True, True]
        assert carries_data(pair)
        visit(lab, client, server)


def test_every_ticket_is_good_for_it_and_each_connection_gives_new_ones(
    lab: Any, client: Any, server: Any
) -> None:
    visit(lab, client, server)
    for number in range(5):
        data = b"%d" % number
        pair = begin(lab, client, server, data)
        pair.handshake()
        assert early(pair.server) == data
        assert lab.drain(pair.client) == b""
        assert told(pair) == [True, True]


def test_no_more_is_taken_than_the_server_allows(lab: Any, client: Any, server: Any) -> None:
    visit(lab, client, server)
    pair = lab.pair(client, server)
    taken = pair.client.write_early_data(MUCH)
    assert 0 < taken < len(MUCH)
    assert pair.client.write_early_data(MUCH) == 0
    pair.handshake()
    assert early(pair.server) == Whole(MUCH[:taken])
    assert told(pair) == [True, True]
    assert carries_data(pair)


def test_the_server_may_answer_before_the_handshake_is_done(
    lab: Any, client: Any, server: Any
) -> None:
    visit(lab, client, server)
    pair = begin(lab, client, server)
    pair.transfer()
    assert early(pair.server) == EARLY
    try:
        answered = pair.server.write(MUCH[:40_000])
    except WantReadError:  # It takes the client's Finished.
        answered = 0
    assert pair.server.negotiated_tls_version is None
    pair.handshake()
    assert lab.drain(pair.client) == Whole(MUCH[:answered])
    assert carries_data(pair)
    assert told(pair) == [True, True]


def test_a_server_tells_that_it_was_offered_and_taken_though_nothing_came(
    lab: Any, client: Any, server: Any
) -> None:
    visit(lab, client, server)
    for reads in (False, True):
        pair = lab.pair(client, server)
        # The client offers it with its session, and sends none.
        pair.handshake()
        assert pair.client.info.resumed is True
        assert told(pair) == [None, True]
        if reads:
            assert pair.server.read_early_data(9) == b""
        assert carries_data(pair)
        visit(lab, client, server)


def test_a_server_tells_that_it_refused_what_was_offered_though_nothing_came(
    lab: Any, client: Any, server: Any
) -> None:
    visit(lab, client, server)
    # It knows nothing of the session.
    pair = lab.pair(client, lab.server(early_data=True))
    pair.handshake()
    assert pair.client.info.resumed is False
    assert told(pair) == [None, False]
    assert carries_data(pair)


# --- none, or refused ---


def test_without_a_session_none_is_sent(lab: Any, client: Any, server: Any) -> None:
    pair = lab.pair(client, server)
    assert pair.client.write_early_data(EARLY) == 0
    pair.handshake()
    assert told(pair) == [None, None]
    assert pair.server.read_early_data(9) == b""
    assert carries_data(pair)


@needs("all versions")
def test_tls12_has_none(lab: Any, server: Any) -> None:
    client = lab.client(early_data=True, version=TLSVersion.TLSv1_2)
    visit(lab, client, server)
    pair = lab.pair(client, server)
    assert pair.client.write_early_data(EARLY) == 0
    pair.handshake()
    assert pair.client.info.resumed is True
    assert told(pair) == [None, None]


def test_a_session_of_a_server_that_takes_none_allows_none(lab: Any, client: Any) -> None:
    plain = lab.server()
    visit(lab, client, plain)
    pair = lab.pair(client, plain)
    assert pair.client.write_early_data(EARLY) == 0
    pair.handshake()
    assert pair.client.info.resumed is True
    assert told(pair) == [None, None]


@pytest.mark.parametrize("amount", [1, 16_000])
@pytest.mark.parametrize(
    "other",
    [{"early_data": True}, {}, {"sessions": None}],
    ids=["another context", "without early data", "without sessions"],
)
def test_what_a_server_refuses_is_told_and_lost_and_nothing_else(
    lab: Any, client: Any, server: Any, other: dict[str, Any], amount: int
) -> None:
    visit(lab, client, server)
    pair = begin(lab, client, lab.server(**other), MUCH[:amount])
    pair.handshake()
    assert pair.client.info.resumed is False
    assert told(pair) == [False, False]
    if other.get("early_data"):
        assert pair.server.read_early_data(9) == b""
    assert lab.drain(pair.server) == b""
    assert carries_data(pair)


@pytest.mark.parametrize("size", [1, 100, 1000])
def test_many_records_that_are_refused_are_skipped(
    lab: Any, client: Any, server: Any, size: int
) -> None:
    visit(lab, client, server)
    pair = lab.pair(client, lab.server())
    pieces = [MUCH[at : at + size] for at in range(0, min(16_000, 1000 * size), size)]
    assert all(pair.client.write_early_data(piece) == len(piece) for piece in pieces)
    pair.handshake()
    assert told(pair) == [False, False]
    assert carries_data(pair)


@needs("groups")
@pytest.mark.parametrize("takes", [True, False])
def test_a_server_that_asks_for_another_group_refuses(lab: Any, server: Any, takes: bool) -> None:
    """With a HelloRetryRequest, as the client has sent its share for the group before."""
    groups = [NamedGroup.secp256r1, NamedGroup.secp384r1]
    client = lab.client(early_data=True, groups=groups)
    assert visit(lab, client, server).client.info.group is groups[0]
    pair = begin(lab, client, lab.server(early_data=takes, groups=groups[1:]), MUCH[:16_000])
    pair.handshake()
    assert pair.client.info.group is groups[1]
    assert told(pair) == [False, False]
    assert carries_data(pair)


@needs("client authentication")
def test_a_server_that_asks_for_certificates_now_refuses(lab: Any, server: Any) -> None:
    client = lab.client(early_data=True, certificate_chain=lab.chain("client.example"))
    visit(lab, client, server)
    strict = lab.server(trust_store=lab.ca.trust_store())
    pair = begin(lab, client, strict, MUCH[:16_000])
    pair.handshake()
    assert told(pair) == [False, False]
    assert pair.server.getpeercert() == lab.chain("client.example").leaf[0].buffer
    assert carries_data(pair)


@needs("all versions")
def test_a_server_that_went_back_to_tls12_fails_that_connection_alone(
    lab: Any, client: Any, server: Any
) -> None:
    """RFC 8446 D.3: the client gives up, and comes again without."""
    visit(lab, client, server)
    old = lab.server(version=TLSVersion.TLSv1_2)
    while True:
        pair = lab.pair(client, old)
        if not pair.client.write_early_data(EARLY):
            break
        with pytest.raises(WantReadError):
            pair.client.do_handshake()
        # What is behind ClientHello means nothing to such a server.
        flight = lab.outgoing(pair.client)
        pair.server.process_incoming(flight[: 5 + int.from_bytes(flight[3:5])])
        with pytest.raises(WantReadError):
            pair.server.do_handshake()
        pair.transfer()
        with pytest.raises(PeerMisbehaved):
            pair.client.do_handshake()
        pair.transfer()
        with pytest.raises(AlertReceived) as ended:
            pair.server.do_handshake()
        assert ended.value.alert is AlertDescription.protocol_version
    pair.handshake()
    assert told(pair) == [None, None]
    assert carries_data(pair)


# --- once ---


def recorded(lab: Any, client: Any) -> tuple[Any, bytes]:
    """A client's buffer, and its first flight."""
    buffer = client.create_buffer(lab.host)
    assert buffer.write_early_data(EARLY) == len(EARLY)
    with pytest.raises(WantReadError):
        buffer.do_handshake()
    return buffer, lab.outgoing(buffer)


def test_a_recorded_flight_is_not_taken_twice(lab: Any, client: Any, server: Any) -> None:
    visit(lab, client, server)
    ours, flight = recorded(lab, client)
    first, second, third = (server.create_buffer() for _ in range(3))
    first.process_incoming(flight)
    assert early(first) == EARLY
    # While the first connection lives, after it is done, and by a peer that has nothing else.
    second.process_incoming(flight)
    assert early(second) == b""
    Pair(ours, first).handshake()
    assert ours.info.early_data is True
    third.process_incoming(flight)
    assert early(third) == b""
    for replayed in (second, third):
        replayed.process_incoming(b"")
        with pytest.raises(RaggedEOF):
            replayed.read_early_data(1)


def test_a_flight_that_came_too_late_is_refused_to_its_client(
    lab: Any, client: Any, server: Any
) -> None:
    """Whoever replays is first; the client then finds out, and nothing was taken twice."""
    visit(lab, client, server)
    ours, flight = recorded(lab, client)
    replayed = server.create_buffer()
    replayed.process_incoming(flight)
    assert early(replayed) == EARLY
    late = server.create_buffer()
    late.process_incoming(flight)
    assert early(late) == b""
    pair = Pair(ours, late)
    pair.handshake()
    assert told(pair) == [False, False]
    assert carries_data(pair)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_one_process_alone_takes_it(target: Target) -> None:
    assert_done_in_a_process(target.name, "early data")


# --- apart ---


def calls_that_read(side: Any) -> list[Callable[[], object]]:
    calls: list[Callable[[], object]] = [
        lambda: side.read(9),
        lambda: side.read(9, bytearray(9)),
    ]
    if isinstance(side, SupportsOpen):
        calls += [lambda: side.open(None, 9), lambda: side.open(None, 9, bytearray(9))]
    return calls


@pytest.mark.parametrize("done", [True, False])
def test_other_data_is_not_read_past_it(lab: Any, client: Any, server: Any, done: bool) -> None:
    visit(lab, client, server)
    pair = begin(lab, client, server)
    if done:
        pair.handshake()
        pair.client.write(b"later")
        pair.transfer()
        # Which may look at what has come, and must not bring it forward.
        pair.server.write(b"answer")
        pair.transfer()
        assert lab.drain(pair.client) == b"answer"
    else:
        pair.transfer()
    for call in calls_that_read(pair.server) * 2:
        with pytest.raises(TLSError, match="read_early_data") as refused:
            call()
        assert type(refused.value) is TLSError
    assert early(pair.server) == EARLY
    if not done:
        pair.handshake()
        pair.client.write(b"later")
        pair.transfer()
    assert pair.server.read(99) == b"later"
    assert carries_data(pair)


def test_calls_at_the_wrong_time_say_so_and_do_no_harm(lab: Any, client: Any, server: Any) -> None:
    visit(lab, client, server)
    pair = begin(lab, client, server)
    for call in (
        lambda: pair.client.write_early_data(b"late"),
        lambda: pair.client.read_early_data(1),
        lambda: pair.server.write_early_data(b"back"),
    ):
        with pytest.raises(TLSError) as refused:
            call()
        assert type(refused.value) is TLSError
    with pytest.raises(ValueError, match="amt"):
        pair.server.read_early_data(-1)
    with pytest.raises(TypeError):
        pair.client.write_early_data("text")
    assert pair.server.read_early_data(0) == b""
    pair.handshake()
    with pytest.raises(TLSError):
        pair.client.write_early_data(b"late")
    assert early(pair.server) == EARLY
    assert carries_data(pair)


def test_where_it_was_not_asked_for_it_is_refused_by_name(lab: Any) -> None:
    pair = lab.pair()
    for call in (
        lambda: pair.client.write_early_data(EARLY),
        lambda: pair.server.read_early_data(1),
    ):
        with pytest.raises(ConfigurationError) as refused:
            call()
        assert refused.value.field == "early_data"
    pair.handshake()
    assert told(pair) == [None, None]
    assert carries_data(pair)


def test_what_must_not_be_together_is_refused(lab: Any) -> None:
    keys = TicketKeys.from_secret(bytes(32))
    trust = lab.ca.trust_store()
    requests: list[tuple[Any, dict[str, Any]]] = [
        (lab.server, {"sessions": None}),
        (lab.client, {"sessions": None}),
        (lab.server, {"ticket_keys": keys}),
        (lab.server, {"trust_store": trust}),
        (
            lab.server,
            {"trust_store": trust, "client_authentication": ClientAuthentication.OPTIONAL},
        ),
        (lab.client, {"peer_verifier": lambda _: None}),
    ]
    for make, given in requests:
        with pytest.raises(ConfigurationError) as refused:
            make(early_data=True, **given)
        assert refused.value.field in {"early_data", *given}


# --- bad input ---


def early_records(flight: bytes) -> list[tuple[int, int]]:
    """Where the protected records of a flight begin and end."""
    found, at = [], 0
    while at < len(flight):
        end = at + 5 + int.from_bytes(flight[at + 3 : at + 5])
        if flight[at] == APPLICATION_DATA:
            found.append((at, end))
        at = end
    return found


@pytest.mark.parametrize("where", [5, -17, -1], ids=["first", "last", "tag"])
def test_garbled_early_data_is_never_given(lab: Any, client: Any, server: Any, where: int) -> None:
    visit(lab, client, server)
    buffer = client.create_buffer(lab.host)
    for piece in (b"first", b"second"):
        assert buffer.write_early_data(piece) == len(piece)
    with pytest.raises(WantReadError):
        buffer.do_handshake()
    flight = bytearray(lab.outgoing(buffer))
    start, end = early_records(flight)[1]
    flight[(start if where > 0 else end) + where] ^= 0x40
    side = server.create_buffer()
    side.process_incoming(flight)
    assert side.read_early_data(99) == b"first"
    for _ in range(2):
        with pytest.raises(PeerMisbehaved):
            side.read_early_data(99)
    with pytest.raises(PeerMisbehaved):
        side.read(99)
    assert lab.outgoing(side)


def test_what_came_before_the_end_of_the_transport_is_given_first(
    lab: Any, client: Any, server: Any
) -> None:
    visit(lab, client, server)
    _, flight = recorded(lab, client)
    side = server.create_buffer()
    side.process_incoming(flight + b"\x17\x03\x03")
    side.process_incoming(b"")
    assert side.read_early_data(99) == EARLY
    for call in (lambda: side.read_early_data(99), lambda: side.read(99), side.do_handshake):
        with pytest.raises(RaggedEOF) as ended:
            call()
        assert ended.value.during_handshake


# --- sockets ---


class Tunnel:
    """A byte stream that is no socket, though one carries it."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


def wrapped(context: Any, stream: Any, *name: str) -> Any:
    return context.wrap_socket(stream, *name, do_handshake_on_connect=False)


@pytest.fixture(params=[lambda plain: plain, Tunnel], ids=["socket", "stream"])
def tied(request: pytest.FixtureRequest, lab: Any, client: Any, server: Any) -> Iterator[Any]:
    """Makes both ends of a connection over sockets, whose handshake has not begun."""
    with ExitStack() as closing:

        def make(timeout: float) -> tuple[Any, Any]:
            plain = socket.socketpair()
            for end in plain:
                end.settimeout(timeout)
            below = [request.param(end) for end in plain]
            ends = wrapped(client, below[0], lab.host), wrapped(server, below[1])
            for end in ends:
                closing.callback(end.close, force=True)
            return ends

        yield make


def served(end: Any) -> bytes:
    """Take early data, and what comes after it up to a full stop; answer both."""
    data = bytearray()
    while piece := end.read_early_data(7):
        data += piece
    came_early = bytes(data)
    while not data.endswith(b"."):
        data += end.recv(100)
    end.sendall(bytes(data))
    return came_early


@needs("wrap_socket")
def test_blocking_sockets_wait_for_it(tied: Any, threads: ThreadPoolExecutor) -> None:
    for visits in range(3):
        ours, theirs = tied(PATIENCE)
        serving = threads.submit(served, theirs)
        sent = ours.write_early_data(EARLY)
        assert sent == (len(EARLY) if visits else 0)
        ours.sendall(b"rest.")
        answer = EARLY[:sent] + b"rest."
        assert ours.recv(len(answer)) == answer
        assert serving.result() == EARLY[:sent]
        assert ours.info.early_data is theirs.info.early_data is (True if visits else None)
        with pytest.raises(TLSError):
            ours.write_early_data(b"late")
        ours.close(force=True)
        assert theirs.recv(1) == b""


@needs("wrap_socket")
def test_non_blocking_sockets_say_what_they_want(tied: Any, threads: ThreadPoolExecutor) -> None:
    for visits in range(2):
        ours, theirs = tied(0.0)
        with pytest.raises(WantReadError):
            theirs.read_early_data(9)
        sent = ours.write_early_data(EARLY)
        dialling = threads.submit(drive, ours, ours.do_handshake)
        data = bytearray()
        while piece := drive(theirs, theirs.read_early_data, 5):
            data += piece
        assert bytes(data) == EARLY[:sent]
        dialling.result(PATIENCE)
        assert ours.info.early_data is theirs.info.early_data is (True if visits else None)
        assert drive(theirs, theirs.send, b"x") == 1
        assert drive(ours, ours.recv, 9) == b"x"


@needs("wrap_socket")
def test_a_socket_does_not_read_past_it_and_closes_with_it(
    tied: Any, threads: ThreadPoolExecutor
) -> None:
    for visits in range(2):
        ours, theirs = tied(PATIENCE)
        serving = threads.submit(theirs.do_handshake)
        sent = ours.write_early_data(EARLY)
        ours.sendall(b"rest")
        serving.result(PATIENCE)
        theirs.sendall(b"x")
        assert ours.recv(9) == b"x"
        if visits:
            assert sent
            with pytest.raises(TLSError, match="read_early_data"):
                theirs.recv(9)
            assert theirs.read_early_data(3) == EARLY[:3]
        closing = threads.submit(theirs.close)
        assert ours.recv(9) == b""
        ours.close()
        closing.result(PATIENCE)


@needs("wrap_socket")
def test_a_connection_ends_in_order_though_nothing_but_early_data_was_read(
    tied: Any, threads: ThreadPoolExecutor
) -> None:
    for visits in range(2):
        ours, theirs = tied(PATIENCE)
        sent = ours.write_early_data(EARLY)
        dialling = threads.submit(ours.do_handshake)
        data = bytearray()
        while piece := theirs.read_early_data(9):
            data += piece
        assert bytes(data) == EARLY[:sent]
        assert bool(sent) is bool(visits)
        dialling.result()
        # A close_notify, not an end that might have been cut off.
        theirs.close(force=True)
        assert ours.recv(9) == b""


@needs("wrap_socket")
def test_tls_does_not_end_past_early_data(tied: Any, threads: ThreadPoolExecutor) -> None:
    for visits in range(2):
        ours, theirs = tied(PATIENCE)
        sent = ours.write_early_data(EARLY)
        serving = threads.submit(theirs.do_handshake)
        ours.sendall(b"rest")
        serving.result()
        if visits:
            assert sent
            with pytest.raises(TLSError):
                theirs.unwrap()
            assert theirs.read_early_data(99) == EARLY
        # Nothing was said yet.
        theirs.sendall(b"x")
        assert ours.recv(9) == b"x"
        assert theirs.recv(9) == b"rest"


@needs("wrap_socket")
@pytest.mark.parametrize("below", [lambda plain: plain, Tunnel], ids=["socket", "stream"])
def test_nothing_leaves_a_socket_that_is_closed_before_its_handshake(
    lab: Any, tied: Any, client: Any, threads: ThreadPoolExecutor, below: Any
) -> None:
    ours, theirs = tied(PATIENCE)
    serving = threads.submit(served, theirs)
    ours.sendall(b"rest.")
    assert ours.recv(9) == b"rest."
    serving.result(PATIENCE)
    near, far = socket.socketpair()
    with far:
        far.settimeout(PATIENCE)
        again = wrapped(client, below(near), lab.host)
        assert again.write_early_data(EARLY) == len(EARLY)
        again.close()
        assert far.recv(1) == b""


@needs("wrap_socket")
def test_a_listener_keeps_it_for_whoever_accepts(
    lab: Any, client: Any, server: Any, threads: ThreadPoolExecutor
) -> None:
    with server.connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        for visits in range(3):
            plain = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
            accepting = threads.submit(listener.accept)
            with wrapped(client, plain, lab.host) as ours:
                sent = ours.write_early_data(EARLY)
                assert sent == (len(EARLY) if visits else 0)
                ours.sendall(b"rest.")
                theirs, _ = accepting.result()
                with theirs:
                    theirs.settimeout(PATIENCE)
                    assert served(theirs) == EARLY[:sent]
                    assert ours.recv(100) == EARLY[:sent] + b"rest."
                    assert ours.info.early_data is theirs.info.early_data


def test_between_a_retry_and_server_hello_a_client_speaks_in_the_clear(
    lab: Any, client: Any, server: Any
) -> None:
    """Its keys for early data end with the retry (RFC 8446 4.2.10), and there are no others yet."""
    suite = visit(lab, client, server).client.info.cipher
    pair = begin(lab, client, server)
    first = Hello.of(lab.outgoing(pair.client))
    offered = dict(first.extensions)
    group = offered[SUPPORTED_GROUPS][-2:]
    shared = groups_shared(offered[KEY_SHARE])
    assert group not in shared, "a retry asks for a group that has no share yet"
    retry = Hello(
        kind=2,
        version=first.version,
        random=RETRY,
        session=first.session,
        suites=int(suite).to_bytes(2),
        compression=b"\0",
        extensions=[(SUPPORTED_VERSIONS, b"\x03\x04"), (KEY_SHARE, group)],
    )
    pair.client.process_incoming(retry.record())
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    assert lab.outgoing(pair.client)
    pair.client.process_incoming(retry.record())  # Once is enough.
    with pytest.raises(PeerMisbehaved):
        pair.client.do_handshake()
    alert = bytes([21, 3, 3, 0, 2, 2, AlertDescription.unexpected_message])
    assert lab.outgoing(pair.client) == alert
