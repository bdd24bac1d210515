"""Keying material and channel bindings: the same at both ends, and nowhere else."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import pytest

from polytls import (
    ConfigurationError,
    PeerMisbehaved,
    TLSError,
    TLSVersion,
    WantReadError,
)
from polytls.testing import Pair
from polytls.testing.conformance.lab import same_error
from polytls.testing.conformance.selection import needs

LABEL = "EXPORTER-polytls-conformance"


def exported(side: Any, label: Any = LABEL, context: Any = None, length: int = 32) -> bytes:
    return side.export_keying_material(label, context, length)


def visit(lab: Any, client: Any, server: Any) -> Any:
    """Connect, and let the client take in what the server gives it."""
    pair = lab.connect(client, server)
    with pytest.raises(WantReadError):
        pair.client.read(1)
    return pair


# --- keying material ---


@needs("exporter")
@pytest.mark.parametrize("length", [1, 20, 32, 48, 1000, 8160])
def test_both_ends_export_the_same(connected: Pair, length: int) -> None:
    material = exported(connected.client, length=length)
    assert len(material) == length
    assert exported(connected.server, length=length) == material
    assert exported(connected.client, length=length) == material


@needs("exporter")
def test_label_context_and_connection_each_make_a_difference(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    found = []
    for pair in (lab.connect(client, server) for _ in range(2)):
        for label, context in [(LABEL, None), (LABEL + "2", None), (LABEL, b"1"), (LABEL, b"2")]:
            material = exported(pair.client, label, context)
            assert exported(pair.server, label.encode(), bytearray(context or b"") or None) == (
                material
            )
            found.append(material)
    assert len(set(found)) == len(found) == 8


@needs("exporter", "all versions")
def test_no_context_and_an_empty_one_are_two_things_in_tls_1_2_alone(
    connected: Pair, version: TLSVersion
) -> None:
    without, empty = exported(connected.client), exported(connected.client, context=b"")
    assert (without == empty) is (version is TLSVersion.TLSv1_3)
    assert exported(connected.server, context=b"") == empty


@needs("exporter", "all versions")
def test_an_empty_label_is_for_tls_1_2_alone(connected: Pair, version: TLSVersion) -> None:
    """RFC 5705 sets no limit; RFC 8446 7.1 has labels of 7 bytes at least, 6 of them "tls13 "."""
    if version is TLSVersion.TLSv1_3:
        for side in (connected.client, connected.server):
            with pytest.raises(ValueError, match=r"label.*TLS 1\.3"):
                exported(side, "")
    else:
        assert exported(connected.client, "") == exported(connected.server, b"")
        assert exported(connected.client, "") != exported(connected.client)


@needs("exporter", "resumption")
def test_a_resumed_connection_exports_material_of_its_own(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    first, second = visit(lab, client, server), visit(lab, client, server)
    assert second.client.info.resumed is True
    material = exported(second.client)
    assert material == exported(second.server) != exported(first.client)


@needs("exporter")
def test_data_changes_nothing_and_material_is_there_after_the_end(connected: Pair) -> None:
    material = exported(connected.client)
    connected.send(connected.client, b"data" * 9999)
    for side in (connected.client, connected.server):
        with contextlib.suppress(WantReadError):
            side.shutdown()
    connected.transfer()
    assert exported(connected.client) == exported(connected.server) == material


@needs("exporter")
def test_there_is_no_material_before_the_handshake_is_done(lab: Any, version: TLSVersion) -> None:
    pair = lab.pair(lab.client(version=version))
    for side in (pair.client, pair.server):
        with pytest.raises(TLSError, match="handshake"):
            exported(side)
        with pytest.raises(TLSError, match="handshake"):
            side.channel_binding("tls-exporter")
    pair.handshake()  # It has done no harm.


@needs("exporter")
def test_a_connection_that_failed_exports_nothing(connected: Pair) -> None:
    connected.client.process_incoming(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(PeerMisbehaved) as failure:
        connected.client.read(1)
    with pytest.raises(PeerMisbehaved) as again:
        exported(connected.client)
    assert same_error(again.value, failure.value)


@needs("exporter")
@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"label": ""}, ValueError),
        ({"label": "EXPORTER-é"}, ValueError),
        ({"label": "x" * 250}, ValueError),
        ({"label": "key expansion"}, ValueError),
        ({"label": b"master secret"}, ValueError),
        ({"label": 1}, TypeError),
        ({"context": "text"}, TypeError),
        ({"context": bytes(65536)}, ValueError),
        ({"length": 0}, ValueError),
        ({"length": -1}, ValueError),
        ({"length": 8161}, ValueError),
    ],
    # pytest has the name of a test in its environment, which Windows limits.
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_exported_is_refused_by_name(
    lab: Any, given: dict[str, Any], error: type[Exception]
) -> None:
    pair = lab.connect()
    with pytest.raises(error, match=next(iter(given))):
        exported(pair.client, **given)
    assert exported(pair.client) == exported(pair.server)


@needs("exporter")
def test_sockets_export_the_same_at_both_ends(ends: tuple[Any, Any]) -> None:
    client, accepted = ends
    assert exported(client) == exported(accepted)
    assert client.channel_binding("tls-exporter") == accepted.channel_binding("tls-exporter")


@needs("no exporter", "end point binding")
def test_a_library_without_an_exporter_says_so(lab: Any, version: TLSVersion) -> None:
    pair = lab.connect(lab.client(version=version))
    for side in (pair.client, pair.server):
        with pytest.raises(ConfigurationError, match="export"):
            side.channel_binding("tls-exporter")


# --- channel bindings ---


@needs("exporter")
def test_the_binding_by_exporter_is_that_of_rfc_9266(connected: Pair) -> None:
    expected = exported(connected.client, "EXPORTER-Channel-Binding", b"", 32)
    for side in (connected.client, connected.server):
        assert side.channel_binding("tls-exporter") == expected


@needs("end point binding")
def test_the_binding_to_the_end_point_is_a_hash_of_its_certificate(
    lab: Any, version: TLSVersion
) -> None:
    pair = lab.connect(lab.client(version=version), lab.server())
    expected = hashlib.sha256(lab.chain().leaf[0].buffer).digest()
    for side in (pair.client, pair.server):
        assert side.channel_binding("tls-server-end-point") == expected


@needs("end point binding", "selection by name")
def test_a_server_with_several_certificates_binds_to_the_one_that_it_presents(lab: Any) -> None:
    chains = lab.chain("a.example"), lab.chain("b.example")
    server = lab.server(*chains)
    for name, chain in zip(["a.example", "b.example"], chains, strict=True):
        pair = lab.connect(lab.client(), server, name)
        expected = hashlib.sha256(chain.leaf[0].buffer).digest()
        for side in (pair.client, pair.server):
            assert side.channel_binding("tls-server-end-point") == expected


@needs("end point binding", "resumption")
def test_the_binding_to_the_end_point_is_there_on_resumption(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    pairs = [visit(lab, client, server) for _ in range(2)]
    assert pairs[1].client.info.resumed is True
    found = {
        side.channel_binding("tls-server-end-point")
        for pair in pairs
        for side in (pair.client, pair.server)
    }
    assert found == {hashlib.sha256(lab.chain().leaf[0].buffer).digest()}


@needs("end point binding")
def test_sockets_bind_to_the_end_point_as_buffers_do(lab: Any, ends: tuple[Any, Any]) -> None:
    expected = hashlib.sha256(lab.chain().leaf[0].buffer).digest()
    for side in ends:
        assert side.channel_binding("tls-server-end-point") == expected


@needs("end point binding")
def test_tls_unique_is_refused_and_others_are_unknown(connected: Pair) -> None:
    for side in (connected.client, connected.server):
        with pytest.raises(TLSError, match="tls-unique"):
            side.channel_binding("tls-unique")
        with pytest.raises(ValueError, match="tls-other"):
            side.channel_binding("tls-other")


@needs("end point binding")
def test_there_is_no_end_point_before_the_handshake_is_done(lab: Any) -> None:
    pair = lab.pair()
    for side in (pair.client, pair.server):
        with pytest.raises(TLSError, match="handshake"):
            side.channel_binding("tls-server-end-point")
