"""Pins and verifiers decide on connections over sockets that were there before, too."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    PresentedPeer,
    TLSError,
    TrustStore,
    VerificationFailure,
)
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs

pytestmark = needs("wrap_socket")


def outcomes(lab: Any, client: Any, server: Any, threads: Any) -> list[Any]:
    """How wrapping both ends of a connection goes, client first: a socket or an error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        ours, _ = listener.accept()
    ours.settimeout(PATIENCE)

    def guarded(wrap: Any, *given: Any) -> Any:
        try:
            return wrap(*given)
        except (TLSError, OSError) as error:
            return error

    serving = threads.submit(guarded, server.wrap_socket, ours)
    return [guarded(client.wrap_socket, theirs, lab.host), serving.result(PATIENCE)]


def assert_talks(ends: list[Any]) -> None:
    client, server = ends
    with client, server:
        client.sendall(b"request")
        assert server.recv(100) == b"request"


def assert_refused(ends: list[Any], at: int) -> CertificateVerificationError:
    """The end at `at` has refused the other, which gets nothing."""
    other = ends[1 - at]
    if not isinstance(other, Exception):
        with other, pytest.raises((TLSError, OSError)):
            other.recv(1)
    refused = ends[at]
    assert isinstance(refused, CertificateVerificationError)
    return refused


@needs("pins")
def test_a_client_accepts_the_server_that_is_pinned_alone(lab: Any, threads: Any) -> None:
    pinned, other = lab.ca.issue(lab.host), lab.ca.issue(lab.host)
    client = lab.client(trust_store=TrustStore.pinned(certificates=[pinned.leaf[0]]))
    assert_talks(outcomes(lab, client, lab.server(pinned), threads))
    refused = assert_refused(outcomes(lab, client, lab.server(other), threads), 0)
    assert refused.reason is VerificationFailure.PIN_MISMATCH


@needs("pins", "client authentication")
def test_a_server_accepts_the_client_that_is_pinned_alone(lab: Any, threads: Any) -> None:
    pinned, other = lab.ca.issue("client.example"), lab.ca.issue("client.example")
    server = lab.server(trust_store=TrustStore.pinned(certificates=[pinned.leaf[0]]))
    client = lab.client(certificate_chain=pinned)
    assert_talks(outcomes(lab, client, server, threads))
    # Why, in the library's words: OpenSSL says that it knows no issuer (test_pins).
    assert_refused(outcomes(lab, lab.client(certificate_chain=other), server, threads), 1)


@needs("peer verifier", "client authentication")
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_verifier_has_its_say(lab: Any, side: str, threads: Any) -> None:
    shown: list[PresentedPeer] = []
    verdict: list[BaseException] = []

    def verify(peer: PresentedPeer) -> None:
        shown.append(peer)
        if verdict:
            raise verdict[0]

    given: dict[str, Any] = {"peer_verifier": verify}
    client = lab.client(
        certificate_chain=lab.chain("client.example"), **(given if side == "client" else {})
    )
    server = lab.server(
        trust_store=lab.ca.trust_store(), sessions=None, **(given if side == "server" else {})
    )
    assert_talks(outcomes(lab, client, server, threads))
    verdict.append(LookupError("not this one"))
    at = ["client", "server"].index(side)
    refused = assert_refused(outcomes(lab, client, server, threads), at)
    assert refused.reason is VerificationFailure.REFUSED_BY_VERIFIER
    assert refused.__cause__ is verdict[0]
    assert [peer.role for peer in shown] == [["server", "client"][at]] * 2
