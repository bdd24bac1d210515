"""Compressed certificates (RFC 8879): what they save, and what may not come compressed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from polytls import (
    AlertDescription,
    CertificateCompressionAlgorithm,
    CertificateVerificationError,
    ClientAuthentication,
    ConfigurationError,
    SigningChain,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority, Pair
from polytls.testing.conformance.hello import Hello
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.test_sealed_alerts import (
    CERTIFICATE,
    Scene,
    instead,
    message,
)

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
COMPRESS_CERTIFICATE: Final = 27
COMPRESSED_CERTIFICATE: Final = 25
#: No algorithm has this number.
UNHEARD_OF: Final = 0x3E3E
A = CertificateCompressionAlgorithm
#: 8,000,000 null bytes (RFC 1950, RFC 7932 9, RFC 8878 3.1.1.2.2: 62 blocks of one repeated byte).
BOMBS: Final = {
    A.zlib: zlib.compress(bytes(8_000_000)),
    A.brotli: bytes.fromhex("9fff117af82700e2b1402037410f"),
    A.zstd: bytes.fromhex("28b52ffd0068")
    + b"".join(
        (size << 3 | 1 << 1 | is_last).to_bytes(3, "little") + b"\0"
        for size, is_last in [(131_072, False)] * 61 + [(4_608, True)]
    ),
}
with_compression = needs("certificate compression")


class Chain:
    """A server and a client that both have a chain of three certificates below a root."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.root = CertificateAuthority("root of a chain")
        self.issuer = self.root.intermediate("first intermediate").intermediate("second")
        self.chain = self.issuer.issue(lab.host)

    def connect(self, client: bool, server: bool, version: TLSVersion | None = V13) -> Pair:
        contexts = (
            self.lab.client(
                version=version,
                trust_store=self.root.trust_store(),
                certificate_chain=self.chain,
                certificate_compression=client,
            ),
            self.lab.server(
                self.chain,
                trust_store=self.root.trust_store(),
                client_authentication=ClientAuthentication.REQUIRED,
                certificate_compression=server,
            ),
        )
        pair: Pair = self.lab.connect(*contexts)
        assert pair.client.info.peer_chain == pair.server.info.peer_chain
        assert len(pair.client.info.peer_chain) == 3
        return pair


@with_compression
@needs("client authentication")
def test_both_sides_certificates_are_compressed_if_both_want_it(lab: Any) -> None:
    chain = Chain(lab)
    plain, compressed = (chain.connect(wanted, wanted).client.info for wanted in (False, True))
    assert compressed.handshake_bytes_received < plain.handshake_bytes_received - 200
    assert compressed.handshake_bytes_sent < plain.handshake_bytes_sent - 200


@with_compression
@needs("client authentication")
def test_the_algorithms_are_told(lab: Any) -> None:
    pair = Chain(lab).connect(True, True)
    on_client, on_server = pair.client.info, pair.server.info
    for fact in ("server_certificate_compression", "client_certificate_compression"):
        told = getattr(on_client, fact)
        assert isinstance(told, CertificateCompressionAlgorithm)
        assert told is getattr(on_server, fact)
    assert on_client.certificate_compression_offered is True
    assert on_server.certificate_compression_offered is True


@with_compression
@needs("resumption")
def test_a_resumed_handshake_has_nothing_to_compress(lab: Any) -> None:
    client = lab.client(version=V13, certificate_compression=True)
    server = lab.server(certificate_compression=True)
    lab.drain(lab.connect(client, server).client)
    pair = lab.connect(client, server)
    assert pair.client.info.resumed
    for side in (pair.client, pair.server):
        assert side.info.certificate_compression_offered is True
        assert side.info.server_certificate_compression is None


@with_compression
@needs("selection by name")
def test_whichever_chain_is_chosen_is_compressed(lab: Any) -> None:
    issuer = lab.ca.intermediate("intermediate")
    names = ["first.example", "second.example"]
    client = lab.client(version=V13, certificate_compression=True)
    server = lab.server(*map(issuer.issue, names), certificate_compression=True)
    for name in [*names, *names]:
        info = lab.connect(client, server, name).client.info
        assert info.server_certificate_compression is not None
        assert info.peer.dns_names == (name,)


@with_compression
@needs("stapling", "staple verification")
def test_a_staple_is_not_lost(lab: Any) -> None:
    chain = lab.chain()
    response = lab.ca.ocsp_response(chain)
    stapling = SigningChain(chain.leaf, chain.chain, ocsp_response=response)
    client = lab.client(version=V13, certificate_compression=True, require_staple=True)
    pair = lab.connect(client, lab.server(stapling, certificate_compression=True))
    assert pair.client.info.staple is not None


@with_compression
@needs("client authentication")
@pytest.mark.parametrize(("client", "server"), [(True, False), (False, True)])
def test_one_side_compresses_nothing(lab: Any, client: bool, server: bool) -> None:
    chain = Chain(lab)
    # Signatures of ECDSA have one of a few lengths.
    plain = chain.connect(False, False).client.info.handshake_bytes_received
    pair = chain.connect(client, server)
    assert abs(plain - pair.client.info.handshake_bytes_received) < 100
    for side in (pair.client, pair.server):
        assert side.info.certificate_compression_offered is client
        assert side.info.server_certificate_compression is None
        assert side.info.client_certificate_compression is None


@with_compression
@needs("client authentication")
def test_tls12_has_no_compressed_certificates(lab: Any) -> None:
    assert Chain(lab).connect(True, True, V12).client.info.version is V12


@with_compression
def test_a_compressed_certificate_is_verified(lab: Any) -> None:
    client = lab.client(version=V13, certificate_compression=True)
    server = lab.server(CertificateAuthority().issue(lab.host), certificate_compression=True)
    error = lab.settle(lab.pair(client, server)).client
    assert isinstance(error, CertificateVerificationError)
    assert error.reason is VerificationFailure.UNKNOWN_ISSUER


class Compressed(Scene):
    """A client that may get compressed certificates, and a peer that says what the case says."""

    def __init__(self, lab: Any, wanted: bool, folder: Path) -> None:
        super().__init__(lab, "client", V13, folder)
        client = lab.client(version=V13, certificate_compression=wanted)
        self.victim = client.create_buffer(lab.host)
        self.begin()

    def certificate(self) -> bytes:
        """The peer's message without its header."""
        (found,) = (one[4:] for one in self.messages if one[0] == CERTIFICATE)
        return found

    def compressed(self, compressed: bytes, length: int, algorithm: int = A.zlib) -> Any:
        body = algorithm.to_bytes(2) + length.to_bytes(3) + len(compressed).to_bytes(3)
        forge = instead(CERTIFICATE, message(COMPRESSED_CERTIFICATE, body + compressed))
        return self.ended(forge(self))


@pytest.fixture
def forged(lab: Any, tmp_path: Path) -> Iterator[Compressed]:
    scene = Compressed(lab, True, tmp_path)
    with closing(scene.forger):
        yield scene


def offered(lab: Any) -> list[CertificateCompressionAlgorithm]:
    """What a client offers to decompress."""
    client = lab.client(version=V13, certificate_compression=True).create_buffer(lab.host)
    with pytest.raises(WantReadError):
        client.do_handshake()
    (listed,) = (
        content[1:]
        for kind, content in Hello.of(lab.outgoing(client)).extensions
        if kind == COMPRESS_CERTIFICATE
    )
    numbers = struct.unpack(f"!{len(listed) // 2}H", listed)
    return [CertificateCompressionAlgorithm(number) for number in numbers]


@with_compression
@pytest.mark.parametrize("algorithm", BOMBS, ids=lambda one: one.name)
@pytest.mark.parametrize("length", [60_000, 8_000_000], ids=["short", "true"])
def test_a_bomb_is_a_bad_certificate(
    lab: Any, tmp_path: Path, algorithm: CertificateCompressionAlgorithm, length: int
) -> None:
    if algorithm not in offered(lab):
        pytest.skip(f"no {algorithm.name}")
    scene = Compressed(lab, True, tmp_path)
    with closing(scene.forger):
        alert = scene.compressed(BOMBS[algorithm], length, algorithm)
        assert alert is AlertDescription.bad_certificate


@with_compression
@pytest.mark.parametrize("what", ["a short length", "a long length", "no zlib", "nothing"])
def test_what_does_not_decompress_to_its_length_is_a_bad_certificate(
    forged: Compressed, what: str
) -> None:
    plain = forged.certificate()
    compressed, length = {
        "a short length": (zlib.compress(plain), len(plain) - 1),
        "a long length": (zlib.compress(plain), len(plain) + 1),
        "no zlib": (plain, len(plain)),
        "nothing": (b"\0", 0),
    }[what]
    assert forged.compressed(compressed, length) is AlertDescription.bad_certificate


@with_compression
def test_an_algorithm_that_was_not_offered_is_refused(forged: Compressed) -> None:
    plain = forged.certificate()
    alert = forged.compressed(plain, len(plain), UNHEARD_OF)
    assert alert in {AlertDescription.bad_certificate, AlertDescription.illegal_parameter}


def test_a_compressed_certificate_that_was_not_asked_for_is_unexpected(
    lab: Any, tmp_path: Path
) -> None:
    scene = Compressed(lab, False, tmp_path)
    with closing(scene.forger):
        plain = scene.certificate()
        alert = scene.compressed(zlib.compress(plain), len(plain))
        assert alert is AlertDescription.unexpected_message


@needs("no certificate compression")
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_library_that_does_not_compress_says_so(lab: Any, side: str) -> None:
    with pytest.raises(ConfigurationError, match="does not compress") as refused:
        getattr(lab, side)(certificate_compression=True)
    assert refused.value.field == "certificate_compression"
