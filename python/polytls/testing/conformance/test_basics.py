"""The first steps of an implementation, in order: where one fails, nothing after it can succeed."""

from __future__ import annotations

from typing import Any

import pytest

from polytls import (
    ClientContext,
    ServerContext,
    TLSBuffer,
    TLSClientConfiguration,
    TLSServerConfiguration,
    WantReadError,
)
from polytls.testing.conformance.basics import fail, has_all_of, told
from polytls.testing.conformance.lab import HOST, Lab

#: More turns than any handshake takes.
TURNS = 20

SIDES = ["client", "server"]


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """Nothing is asked here: a call that does not return is what a case tells."""


def made(lab: Lab, side: str) -> tuple[Any, Any]:
    """A context of that side, and its configuration."""
    configuration: Any
    if side == "client":
        configuration = TLSClientConfiguration(trust_store=lab.ca.trust_store())
        kind = lab.implementation.client_context
    else:
        configuration = TLSServerConfiguration([lab.chain()])
        kind = lab.implementation.server_context
    return told(f"{side}_context(configuration)", kind, configuration), configuration


def buffer(lab: Lab, side: str) -> Any:
    context, _ = made(lab, side)
    if side == "client":
        return told("create_buffer(name) of a client", context.create_buffer, HOST)
    return told("create_buffer() of a server", context.create_buffer)


def pair(lab: Lab) -> dict[str, Any]:
    return {side: buffer(lab, side) for side in SIDES}


def carried(ends: dict[str, Any]) -> int:
    """Carry what waits on either side over to the other; return how many bytes that is."""
    count = 0
    for side, other in (("client", "server"), ("server", "client")):
        source, target = ends[side], ends[other]
        waiting = told(f"outgoing_bytes_buffered() of a {side}", source.outgoing_bytes_buffered)
        data = told(f"process_outgoing({waiting})", source.process_outgoing, waiting)
        if len(data) != waiting:
            fail(
                f"a {side}'s process_outgoing({waiting}) returned {len(data)} bytes, though "
                f"outgoing_bytes_buffered() had told {waiting}"
            )
        if data:
            told("process_incoming(data)", target.process_incoming, data)
        count += len(data)
    return count


def step(what: str, call: Any) -> bool:
    """Whether `call` got through; False: it needs more from the peer."""

    def attempt() -> bool:
        try:
            call()
        except WantReadError:
            return False
        return True

    return told(what, attempt)


def shaken(lab: Lab) -> dict[str, Any]:
    """A pair whose handshake is done."""
    ends = pair(lab)
    for _ in range(TURNS):
        done = [step(f"do_handshake() of a {side}", ends[side].do_handshake) for side in SIDES]
        count = carried(ends)
        if all(done) and not count:
            return ends
        if not count:
            waits = " and ".join(
                side for side, at_end in zip(SIDES, done, strict=True) if not at_end
            )
            fail(
                f"the handshake stands still: do_handshake() of {waits} wants to read, and nothing "
                "waits to be sent"
            )
    return fail(f"the handshake is not done after {TURNS} turns")


@pytest.mark.parametrize("side", SIDES)
def test_a_context_is_made(lab: Lab, side: str) -> None:
    context, configuration = made(lab, side)
    kind = ClientContext if side == "client" else ServerContext
    has_all_of(f"what {side}_context(configuration) made", context, kind)
    if context.configuration != configuration:
        fail(f"`configuration` of a {side}'s context is not the configuration it was made from")


@pytest.mark.parametrize("side", SIDES)
def test_a_context_makes_buffers(lab: Lab, side: str) -> None:
    has_all_of(f"what create_buffer of a {side} returned", buffer(lab, side), TLSBuffer)


def test_a_client_begins_with_a_handshake_record(lab: Lab) -> None:
    client = buffer(lab, "client")
    if step("do_handshake() of a client", client.do_handshake):
        fail("do_handshake() of a client returned, though its server has not said a word")
    waiting = told("outgoing_bytes_buffered()", client.outgoing_bytes_buffered)
    data = told("process_outgoing(...)", client.process_outgoing, waiting)
    if data[:2] != b"\x16\x03":
        fail(
            "after do_handshake() of a client, process_outgoing(...) has to return ClientHello in "
            f"a handshake record, which begins with 16 03; it returned {data[:16]!r}"
        )


def test_a_handshake_completes(lab: Lab) -> None:
    for side, end in shaken(lab).items():
        if end.negotiated_tls_version is None:
            fail(f"negotiated_tls_version of a {side} is None after the handshake")


@pytest.mark.parametrize("sender", SIDES)
def test_data_goes_over(lab: Lab, sender: str) -> None:
    ends = shaken(lab)
    one = ends[sender]
    other = ends["server" if sender == "client" else "client"]
    taken = told("write(b'hello')", one.write, b"hello")
    if taken != 5:
        fail(f"write(b'hello') returned {taken!r}: it has to return how many bytes were taken, 5")
    carried(ends)
    data = told("read(100)", other.read, 100)
    if data != b"hello":
        fail(f"the peer of who wrote b'hello' reads {data!r}")


def test_a_connection_ends(lab: Lab) -> None:
    ends = shaken(lab)
    if step("shutdown() of a client", ends["client"].shutdown):
        fail("shutdown() returned before the peer's close_notify had come: WantReadError is due")
    carried(ends)
    data = told("read(100) behind close_notify", ends["server"].read, 100)
    if data != b"":
        fail(f"read(100) behind the peer's close_notify returned {data!r}: it has to return b''")
    step("shutdown() of a server", ends["server"].shutdown)
    carried(ends)
    if not step("shutdown() of a client", ends["client"].shutdown):
        fail("shutdown() still wants to read after the peer's close_notify has come")
