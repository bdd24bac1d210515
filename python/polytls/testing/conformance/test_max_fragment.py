"""`max_fragment`: how much plaintext a record holds that a side sends (RFC 8446 5.1)."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Final

import pytest

from polytls import ClientAuthentication, ConfigurationError, TLSVersion, WantReadError
from polytls.testing import CertificateAuthority, KeyType, Pair
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.sealing import DATA, split
from polytls.testing.conformance.selection import needs

V13: Final = TLSVersion.TLSv1_3
#: What sealing adds to a record at most: header, explicit nonce (TLS 1.2), content type, tag.
OVERHEAD: Final = 5 + 8 + 1 + 16
with_limits = needs("max fragment")
each_side = pytest.mark.parametrize("side", ["client", "server"])
#: Over several whole records, and a part of one.
AMOUNT: Final = 10_000


def limited(lab: Any, side: str, length: int, **given: Any) -> tuple[Any, Any]:
    """A client's and a server's context, of which one has a limit."""
    own = {"client": {}, "server": {}, side: {"max_fragment": length}}
    return lab.client(**given, **own["client"]), lab.server(**own["server"])


def checked(stream: bytes, length: int) -> list[bytes]:
    """The records of a stream, none of which is longer."""
    records = split(stream)
    assert records
    assert max(map(len, records)) <= length + OVERHEAD
    return records


@with_limits
@each_side
@pytest.mark.parametrize("length", [512, 1_000, 4_096])
def test_data_is_cut_into_records_of_that_length(
    lab: Any, version: TLSVersion, side: str, length: int
) -> None:
    pair = lab.connect(*limited(lab, side, length, version=version))
    sender, receiver = (
        (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
    )
    lab.drain(pair.client)
    sent = bytes(range(250)) * (AMOUNT // 250)
    assert sender.write(sent) == AMOUNT
    stream = lab.outgoing(sender)
    # Each is as full as it may be.
    assert len(checked(stream, length)) == -(-AMOUNT // length)
    receiver.process_incoming(stream)
    assert lab.drain(receiver, AMOUNT) == sent


@with_limits
@needs("fused calls")
@each_side
def test_calls_without_buffers_keep_to_it(lab: Any, version: TLSVersion, side: str) -> None:
    pair = lab.connect(*limited(lab, side, 700, version=version))
    lab.drain(pair.client)
    stream = getattr(pair, side).seal(bytes(AMOUNT))
    assert len(checked(stream, 700)) == -(-AMOUNT // 700)


@with_limits
@needs("client authentication")
def test_messages_of_the_handshake_are_cut_too(lab: Any, version: TLSVersion) -> None:
    root = CertificateAuthority("root", key_type=KeyType.RSA_2048)
    chain = root.intermediate("intermediate", key_type=KeyType.RSA_2048).issue(lab.host)
    given = {"trust_store": root.trust_store(), "max_fragment": 512}
    client = lab.client(version=version, certificate_chain=chain, **given)
    server = lab.server(chain, client_authentication=ClientAuthentication.REQUIRED, **given)
    pair: Pair = lab.pair(client, server)
    for _ in range(6):
        for side, other in ((pair.client, pair.server), (pair.server, pair.client)):
            with contextlib.suppress(WantReadError):
                side.do_handshake()
            stream = lab.outgoing(side)
            if stream:
                checked(stream, 512)
                other.process_incoming(stream)
    assert pair.client.info.peer_chain is not None
    assert pair.server.info.peer_chain == pair.client.info.peer_chain


@with_limits
@needs("early data")
def test_early_data_is_cut_too(lab: Any) -> None:
    client = lab.client(version=V13, early_data=True, max_fragment=512)
    server = lab.server(early_data=True)
    lab.drain(lab.connect(client, server).client)
    pair = lab.pair(client, server)
    assert pair.client.write_early_data(bytes(3_000)) == 3_000
    records = checked(lab.outgoing(pair.client), 512)
    assert sum(record[0] == DATA for record in records) == 6
    pair.client.write_early_data(b"")


@with_limits
@needs("wrap_socket")
def test_sockets_keep_to_it(lab: Any, version: TLSVersion) -> None:
    client, server = limited(lab, "client", 512, version=version)
    ours, wire = socket.socketpair()
    peer = server.create_buffer()
    stream, came = bytearray(), bytearray()

    def answer() -> None:
        while len(came) < AMOUNT and (data := wire.recv(65_536)):
            stream.extend(data)
            peer.process_incoming(data)
            came.extend(lab.drain(peer))
            if answered := lab.outgoing(peer):
                wire.sendall(answered)

    with ours, wire:
        ours.settimeout(PATIENCE)
        wire.settimeout(PATIENCE)
        thread = threading.Thread(target=answer)
        thread.start()
        connection = client.wrap_socket(ours, server_hostname=lab.host)
        connection.sendall(bytes(AMOUNT))
        thread.join()
        connection.close(force=True)
    records = checked(bytes(stream), 512)
    assert sum(record[0] == DATA for record in records) >= AMOUNT // 512


@with_limits
@each_side
@pytest.mark.parametrize("length", [-1, 0, 511, 16_385, 1 << 70])
def test_lengths_that_no_record_can_have_are_refused(lab: Any, side: str, length: int) -> None:
    with pytest.raises(ConfigurationError, match="512 to 16384 bytes") as refused:
        getattr(lab, side)(max_fragment=length)
    assert refused.value.field == "max_fragment"


@with_limits
@each_side
def test_the_longest_is_what_there_is_without(lab: Any, side: str) -> None:
    pair = lab.connect(*limited(lab, side, 16_384))
    lab.drain(pair.client)
    sender = getattr(pair, side)
    sender.write(bytes(20_000))
    assert len(split(lab.outgoing(sender))) == 2


@needs("no max fragment")
@each_side
def test_a_library_without_limits_says_so(lab: Any, side: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot limit the records") as refused:
        getattr(lab, side)(max_fragment=4_096)
    assert refused.value.field == "max_fragment"
