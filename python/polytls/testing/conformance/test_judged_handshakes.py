"""Which certificate pins and verifiers are asked about: the one of this handshake, and when.

A session vouches for its own server only. Whatever a library shows of it earlier, the verdict is on
the certificate that the server presents now, or on the session's once resumption is settled.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    NamedGroup,
    PresentedPeer,
    SigningChain,
    TLSError,
    TLSVersion,
    TrustStore,
    WantReadError,
)
from polytls.testing import Pair, self_signed
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs

pytestmark = needs("resumption")


class RefusedError(Exception):
    """What the verifiers of these cases raise."""


def _by_certificate(lab: Any, first: SigningChain, second: SigningChain) -> dict[str, Any]:
    del lab, second
    return {"trust_store": TrustStore.pinned([first.leaf[0]])}


def _by_key(lab: Any, first: SigningChain, second: SigningChain) -> dict[str, Any]:
    trusting = lab.client(trust_store=TrustStore.from_buffer(first.leaf[0].buffer))
    peer = lab.connect(trusting, lab.server(first)).client.info.peer
    return {"trust_store": TrustStore.pinned(spki_sha256=[peer.spki_sha256])}


def _by_verifier(lab: Any, first: SigningChain, second: SigningChain) -> dict[str, Any]:
    def verify(peer: PresentedPeer) -> None:
        if peer.presented_chain[0] != first.leaf[0].buffer:
            raise RefusedError("not this one")

    both = (ssl.DER_cert_to_PEM_cert(each.leaf[0].buffer or b"") for each in (first, second))
    return {"trust_store": TrustStore.from_buffer("".join(both).encode()), "peer_verifier": verify}


#: What a client can be given to accept the first of two servers and refuse the second.
Judging = Callable[[Any, SigningChain, SigningChain], dict[str, Any]]

each_way_of_judging = pytest.mark.parametrize(
    "judging",
    [
        pytest.param(_by_certificate, id="a pinned certificate", marks=needs("pins")),
        pytest.param(_by_key, id="a pinned key", marks=needs("pins")),
        pytest.param(_by_verifier, id="a verifier", marks=needs("peer verifier")),
    ],
)

each_handshake = pytest.mark.parametrize(
    ("version", "groups"),
    [
        pytest.param(TLSVersion.TLSv1_2, None, id="TLSv1.2"),
        pytest.param(TLSVersion.TLSv1_3, None, id="TLSv1.3"),
        # Nobody begins with this group, so the server has to ask for it.
        pytest.param(
            TLSVersion.TLSv1_3,
            [NamedGroup.secp384r1],
            id="HelloRetryRequest",
            marks=needs("groups"),
        ),
    ],
)


def visit(lab: Any, client: Any, server: Any) -> Pair:
    """Connect, and let the client take in the tickets of TLS 1.3."""
    pair: Pair = lab.connect(client, server)
    with pytest.raises(WantReadError):
        pair.client.read(1)
    return pair


# --- another server ---


@each_way_of_judging
def test_another_server_at_the_same_address_is_refused(
    lab: Any, version: TLSVersion, judging: Judging, threads: Any
) -> None:
    first, second = self_signed(lab.host), self_signed(lab.host)
    client = lab.client(version=version, **judging(lab, first, second))
    address: Any = ("127.0.0.1", 0)
    with lab.server(first).connect(address) as listener:
        listener.settimeout(PATIENCE)
        address = listener.getsockname()
        for resumed in (False, True):
            accepting = threads.submit(listener.accept)
            with client.connect(address, server_hostname=lab.host, timeout=PATIENCE) as connection:
                accepted, _ = accepting.result(PATIENCE)
                with accepted:
                    accepted.sendall(b"x")
                    assert connection.recv(1) == b"x"
                    assert connection.info.resumed is resumed
    with lab.server(second).connect(address) as listener:
        listener.settimeout(0.5)
        accepting = threads.submit(_closing, listener.accept)
        with pytest.raises(CertificateVerificationError) as refused:
            client.connect(address, server_hostname=lab.host, timeout=PATIENCE).close(force=True)
        assert refused.value.certificate == second.leaf[0].buffer
        # Nothing that answers its certificate has come to the server.
        with pytest.raises(TimeoutError):
            accepting.result(PATIENCE)


@needs("client authentication")
@each_way_of_judging
@each_handshake
def test_another_server_gets_and_gives_nothing(
    lab: Any, version: TLSVersion, judging: Judging, groups: list[NamedGroup] | None
) -> None:
    first, second = self_signed(lab.host), self_signed(lab.host)
    mine = lab.chain("client.example")
    client = lab.client(version=version, certificate_chain=mine, **judging(lab, first, second))
    asking: dict[str, Any] = {"trust_store": lab.ca.trust_store(), "groups": groups}
    server = lab.server(first, **asking)
    assert [visit(lab, client, server).client.info.resumed for _ in range(2)] == [False, True]
    pair = lab.pair(client, lab.server(second, **asking))
    outcome = lab.settle(pair)
    assert type(outcome.client) is CertificateVerificationError
    assert outcome.client.certificate == second.leaf[0].buffer
    assert pair.server.getpeercert() is None
    assert pair.server.negotiated_tls_version is None
    assert pair.client.getpeercert() is None
    for call in (lambda: pair.client.write(b"secret data"), lambda: pair.client.read(10)):
        with pytest.raises(CertificateVerificationError):
            call()


# --- when, and of which chain ---


@needs("peer verifier")
@each_handshake
@pytest.mark.parametrize("declines", [False, True], ids=["resumes", "declines"])
def test_a_verifier_is_asked_once_and_after_the_server_has_answered(
    lab: Any, version: TLSVersion, declines: bool, groups: list[NamedGroup] | None
) -> None:
    shown: list[bytes] = []
    chains = [lab.ca.issue(lab.host), lab.ca.issue(lab.host)]
    client = lab.client(
        version=version, peer_verifier=lambda peer: shown.append(peer.presented_chain[0])
    )
    server = lab.server(chains[0], groups=groups)
    visit(lab, client, server)
    assert shown == [chains[0].leaf[0].buffer]
    # Another context has other keys for tickets, and no sessions.
    again = lab.server(chains[1], groups=groups) if declines else server
    pair = lab.pair(client, again)
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    pair.transfer()
    assert len(shown) == 1
    pair.handshake()
    assert pair.client.info.resumed is not declines
    assert shown[1:] == [pair.client.getpeercert()] == [chains[declines].leaf[0].buffer]
    assert pair.send(pair.client, b"request") == b"request"


@needs("peer verifier", "client authentication")
def test_a_record_that_says_too_much_gets_no_answer_before_the_verdict(lab: Any) -> None:
    # A library that answers ServerHelloDone, and only then reads what is behind it in the same
    # record, fails with its answer on the way out.
    shown: list[PresentedPeer] = []

    def verify(peer: PresentedPeer) -> None:
        shown.append(peer)
        raise RefusedError("not this one")

    client = lab.client(
        version=TLSVersion.TLSv1_2,
        certificate_chain=lab.chain("client.example"),
        peer_verifier=verify,
    )
    pair = lab.pair(client, lab.server(trust_store=lab.ca.trust_store()))
    with pytest.raises(WantReadError):
        pair.client.do_handshake()
    pair.transfer()
    with pytest.raises(WantReadError):
        pair.server.do_handshake()
    *before, last = _records(lab.outgoing(pair.server))
    assert last[0] == _HANDSHAKE
    last = last[:3] + (len(last) - 5 + 4).to_bytes(2, "big") + last[5:] + _SERVER_HELLO_DONE
    pair.client.process_incoming(b"".join([*before, last]))
    with pytest.raises(TLSError):
        pair.client.do_handshake()
    assert {record[0] for record in _records(lab.outgoing(pair.client))} <= {_ALERT}
    for call in (lambda: pair.client.write(b"secret data"), lambda: pair.client.read(10)):
        with pytest.raises(TLSError) as failed:
            call()
        assert not isinstance(failed.value, WantReadError)


def _closing(accept: Callable[[], Any]) -> None:
    accepted, _ = accept()
    accepted.close(force=True)


_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO_DONE = bytes([14, 0, 0, 0])


def _records(flight: bytes) -> list[bytes]:
    """What is in whole records, one by one."""
    found = []
    while flight:
        end = 5 + int.from_bytes(flight[3:5], "big")
        found.append(flight[:end])
        flight = flight[end:]
    return found
