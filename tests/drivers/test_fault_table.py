"""The fault table: what can go wrong with a socket, on either side of it, and what is told then.

`TABLE` has a row for each fault, and in it a cell for a client's socket and one for a server's. A
cell is here, as an outcome (the class of the error, and its facts) of a function of
`misbehaviour.py`; or in the conformance kit, by the name of its case; or it says why there is none.
Both hold for every implementation. Around each cell that is here descriptors and threads are
counted, and after the fault every byte that came before it was received.

`tests/drivers/test_every_offset.py` has cuts and resets at every byte, and delays.
"""

from __future__ import annotations

import ast
import errno
import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

import polytls
from drivers.forgery import ALERT, DATA, HANDSHAKE, Forger
from drivers.misbehaviour import (
    Stopped,
    dribbled_data,
    dribbled_handshake,
    end_in_handshake,
    half_a_record,
    keys_changed,
    no_data,
    no_descriptor_to_accept,
    no_descriptor_to_connect,
    no_goodbye,
    no_handshake,
    no_room,
    no_room_at_close,
    nothing_can_be_written,
    nothing_to_read,
    partial_send,
    refused,
    reset_in_handshake,
    reset_while_sending,
    signal_in_close,
    signal_in_recv,
    signal_in_sendall,
    signals_that_return,
    taken,
    told_by_alert,
    trickle,
)
from drivers.scene import Scene
from polytls import (
    AlertReceived,
    PeerMisbehaved,
    RaggedEOF,
    TLSVersion,
    WantReadError,
    WantWriteError,
)
from polytls.testing import conformance
from polytls.testing.conformance.tables import read, table_of

#: How long what a fault leaves behind may take to go away, in seconds.
SETTLING: Final = 2.0

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
HELLO_REQUEST = b"\0\0\0\0"
#: A well-formed one: version, random, no session, one suite, no compression.
CLIENT_HELLO = b"\x01\0\0\x29\x03\x03" + bytes(32) + b"\0\0\x02\xc0\x2f\x01\0"


@pytest.fixture
def scene(
    lab: Any,
    role: str,
    version: TLSVersion,
    threads: ThreadPoolExecutor,
    tmp_path: Path,
) -> Iterator[Scene]:
    """The place of a fault."""

    def make(scene: Scene) -> Forger:
        theirs = "server" if scene.role == "client" else "client"
        return Forger(scene.plain, lab, theirs, version, tmp_path)

    made = Scene(lab, role, version, threads, make)
    yield made
    made.close()


# --- the table ---


@dataclass(frozen=True)
class Here:
    """A cell of this file: what `act` raises, with its facts; None: nothing."""

    act: Callable[[Scene], BaseException | None]
    error: type[BaseException] | None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kit:
    """A cell of the conformance kit: its case, as `module::name`."""

    case: str


@dataclass(frozen=True)
class Nothing:
    """No cell."""

    reason: str


Cell = Here | Kit | Nothing


def kit(module: str, case: str) -> Kit:
    return Kit(f"test_socket_{module}::test_{case}")


def both(cell: Cell) -> tuple[Cell, Cell]:
    return cell, cell


NO_12 = Nothing("TLS 1.2 has no such message")

RESET = {"errno": errno.ECONNRESET}

#: Fault and version ("" is both) to a client's cell and a server's.
TABLE: Final[dict[tuple[str, str], tuple[Cell, Cell]]] = {
    # Time.
    ("nobody takes the connection", ""): (
        kit("timeouts", "connect_waits_no_longer_for_a_connection_that_nobody_takes"),
        Nothing("a server does not connect"),
    ),
    ("nobody answers the handshake", ""): both(Here(no_handshake, TimeoutError)),
    ("the handshake trickles", ""): (
        kit("timeouts", "a_server_that_trickles_does_not_prolong_connect"),
        kit("listeners", "clients_that_stall_hold_up_nobody"),
    ),
    ("accept gets no client", ""): (
        Nothing("a client does not accept"),
        kit("timeouts", "accept_waits_no_longer_and_accepts_later"),
    ),
    ("no data comes", ""): both(Here(no_data, TimeoutError)),
    ("data trickles", ""): both(Here(trickle, TimeoutError)),
    ("a record is never complete", ""): both(Here(half_a_record, TimeoutError)),
    ("the peer does not read", ""): both(Here(no_room, TimeoutError)),
    ("the peer does not read all of sendall", ""): (
        kit("timeouts", "sendalls_timeout_is_for_the_whole"),
        Nothing("it is the client's code"),
    ),
    ("the peer does not take all before close", ""): both(Here(no_room_at_close, TimeoutError)),
    ("the peer does not say goodbye", ""): both(Here(no_goodbye, None)),
    # Modes.
    ("non-blocking: nothing to read", ""): both(Here(nothing_to_read, WantReadError)),
    ("non-blocking: no room to write", ""): both(Here(nothing_can_be_written, WantWriteError)),
    ("non-blocking: a part is taken", ""): both(Here(partial_send, None)),
    ("non-blocking: with a selector", ""): both(
        kit("nonblocking", "a_selector_echoes_a_mebibyte_on_both_sides_in_one_thread")
    ),
    # Signals.
    ("a handler raises in connect or accept", ""): (
        kit("signals", "a_handler_that_raises_ends_connect_and_leaves_no_descriptor"),
        kit("signals", "a_handler_that_raises_ends_accept_and_accepting_goes_on_later"),
    ),
    ("a handler raises in recv", ""): both(Here(signal_in_recv, Stopped)),
    ("a handler raises in sendall", ""): both(Here(signal_in_sendall, Stopped)),
    ("a handler raises in close", ""): both(Here(signal_in_close, Stopped)),
    ("handlers return (EINTR)", ""): both(Here(signals_that_return, None)),
    # Peers that go away.
    ("reset in the handshake", ""): both(Here(reset_in_handshake, ConnectionResetError, RESET)),
    ("reset while nothing happens", ""): both(kit("ends", "a_reset_stays_a_reset")),
    ("reset while sending", ""): both(Here(reset_while_sending, ConnectionResetError, RESET)),
    ("reset at close", ""): both(kit("ends", "the_descriptor_is_closed_even_if_the_peer_has_gone")),
    ("gone in the handshake", ""): both(
        Here(end_in_handshake, RaggedEOF, {"during_handshake": True})
    ),
    ("gone without close_notify", ""): both(
        kit("ends", "an_end_without_close_notify_is_told_after_all_data_and_for_ever")
    ),
    ("gone within a record", ""): both(kit("ends", "an_end_within_a_record_is_ragged")),
    ("half-closed", ""): both(
        kit("ends", "after_the_peers_close_notify_only_tls_1_3_goes_on_writing")
    ),
    # Peers that are slow.
    ("the handshake comes byte by byte", ""): both(Here(dribbled_handshake, None)),
    ("data comes byte by byte", ""): both(Here(dribbled_data, None)),
    ("slow clients are many", ""): (
        Nothing("a client has one peer"),
        kit("listeners", "clients_that_stall_hold_up_nobody"),
    ),
    # Peers that say what is seldom said.
    ("empty records", ""): both(Here(taken(*[(DATA, b"")] * 20), None)),
    ("an empty message of the handshake", "TLSv1.3"): both(
        # RFC 8446 5.1.
        Here(refused((HANDSHAKE, b""), alert=10), PeerMisbehaved)
    ),
    ("renegotiation", "TLSv1.2"): (
        Here(taken((HANDSHAKE, HELLO_REQUEST)), None),
        Nothing("a server does not get HelloRequest, but a ClientHello: see below"),
    ),
    ("a second ClientHello", "TLSv1.2"): (
        Nothing("a client does not get ClientHello"),
        # no_renegotiation is the answer (RFC 5246 7.2.2), and data goes on. Of many in a row rustls
        # has enough one day; OpenSSL answers each.
        Here(taken((HANDSHAKE, CLIENT_HELLO)), None),
    ),
    ("a second ClientHello", "TLSv1.3"): both(
        Here(refused((HANDSHAKE, CLIENT_HELLO), alert=10), PeerMisbehaved)
    ),
    ("renegotiation", "TLSv1.3"): both(
        Here(refused((HANDSHAKE, HELLO_REQUEST), alert=10), PeerMisbehaved)
    ),
    ("change of keys", "TLSv1.2"): both(
        Here(refused((HANDSHAKE, bytes([24, 0, 0, 1, 0])), alert=10), PeerMisbehaved)
    ),
    ("change of keys", "TLSv1.3"): both(Here(keys_changed, None)),
    ("a change of keys that is none", "TLSv1.3"): both(
        # RFC 8446 4.6.3.
        Here(refused((HANDSHAKE, bytes([24, 0, 0, 1, 2])), alert=47), PeerMisbehaved)
    ),
    ("a warning", ""): both(
        # user_canceled (RFC 8446 6.1).
        Here(taken((ALERT, bytes([1, 90]))), None)
    ),
    ("warnings without end", ""): both(
        Here(refused(*[(ALERT, bytes([1, 90]))] * 50, alert=10), PeerMisbehaved)
    ),
    ("a fatal alert", ""): both(Here(told_by_alert, AlertReceived, {"alert": 80})),
    ("a record of an unknown kind", ""): both(
        # RFC 8446 5, RFC 5246 6.
        Here(refused((99, b"what is this"), alert=10), PeerMisbehaved)
    ),
    ("a forged record", ""): both(
        kit("ends", "a_forged_record_is_told_for_ever_and_the_peer_is_told_why")
    ),
    ("plain HTTP", ""): (
        kit("listeners", "a_server_that_is_none_is_told_from_one_that_is_broken"),
        kit("listeners", "a_client_that_speaks_http_is_not_left_waiting"),
    ),
    # The system.
    ("no descriptors (EMFILE)", ""): (
        Here(no_descriptor_to_connect, OSError, {"errno": errno.EMFILE}),
        Here(no_descriptor_to_accept, OSError, {"errno": errno.EMFILE}),
    ),
}


def cells() -> Iterator[Any]:
    """The cells of this file, as parameters: fault, role, version, cell."""
    for (fault, only), row in TABLE.items():
        for role, cell in zip(("client", "server"), row, strict=True):
            for version in (V12, V13):
                if isinstance(cell, Here) and only in ("", version.value):
                    name = f"{fault}-{role}-{version.value}"
                    yield pytest.param(cell, role, version, id=name.replace(" ", "_"))


@pytest.mark.parametrize(("cell", "role", "version"), [*cells()])
def test_a_fault_is_told_as_the_table_says(
    cell: Here, scene: Scene, threads: ThreadPoolExecutor, outside: Any
) -> None:
    before = outside()
    error = cell.act(scene)
    assert type(error) is (type(None) if cell.error is None else cell.error), repr(error)
    for name, value in cell.facts.items():
        assert getattr(error, name) == value
    del error  # It keeps what it came through.
    scene.close()
    threads.shutdown()
    gc.collect()
    deadline = time.monotonic() + SETTLING
    while outside() != before and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    assert outside() == before


def cases_of_the_kit() -> set[str]:
    found = set()
    for path in Path(conformance.__file__).parent.glob("test_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                found.add(f"{path.stem}::{node.name}")
    return found


def test_the_cells_that_are_in_the_kit_are_there_and_hold_for_every_implementation() -> None:
    named = {cell.case for row in TABLE.values() for cell in row if isinstance(cell, Kit)}
    assert named <= cases_of_the_kit()
    for name in polytls.implementations():
        table = table_of(name)
        for deviation in read([table]) if table else ():
            assert deviation.pattern.partition("[")[0] not in named


def test_every_fault_has_a_cell_for_some_side() -> None:
    for fault, row in TABLE.items():
        assert not all(isinstance(cell, Nothing) for cell in row), fault
