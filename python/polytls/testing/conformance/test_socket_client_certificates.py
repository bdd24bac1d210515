"""Client certificates over sockets: in TLS 1.3 a refusal comes when the client is done already.

RFC 8446 4.4.2: the server judges the client's certificate after the client has finished. The
alert is then the first thing to be read, and a reset must not overtake it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    ClientAuthentication,
    PeerRejectedCertificate,
    TLSVersion,
)
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import PATIENCE, same_error
from polytls.testing.conformance.selection import needs

pytestmark = needs("client authentication")

V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3


@contextmanager
def serving(lab: Any, **given: Any) -> Iterator[Any]:
    """A listener that requires certificates of `lab.ca`, and a thread that accepts and echoes."""
    given.setdefault("trust_store", lab.ca.trust_store())

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(PATIENCE)
                while data := accepted.recv(65536):
                    accepted.sendall(data)

    with ThreadPoolExecutor() as threads, lab.server(**given).connect(("127.0.0.1", 0)) as listener:
        task = threads.submit(serve)
        yield listener
        listener.close()
        task.result()


def connect(lab: Any, listener: Any, version: TLSVersion, chain: Any) -> Any:
    context = lab.client(version=version, certificate_chain=chain)
    return context.connect(listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE)


def bad_chain(lab: Any, kind: str) -> Any:
    if kind == "unknown CA":
        return CertificateAuthority("somebody's").issue("client.example")
    if kind == "expired":
        yesterday = datetime.now(UTC) - timedelta(days=1)
        start = yesterday - timedelta(days=9)
        return lab.ca.issue("client.example", not_before=start, not_after=yesterday)
    return None


REFUSALS = {
    "unknown CA": AlertDescription.unknown_ca,
    "expired": AlertDescription.certificate_expired,
    "none": AlertDescription.certificate_required,
}


def test_a_good_certificate_is_taken(lab: Any, version: TLSVersion) -> None:
    with (
        serving(lab) as listener,
        connect(lab, listener, version, lab.chain("client.example")) as client,
    ):
        client.sendall(b"echo")
        assert client.recv(100) == b"echo"


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("first", ["recv", "recv_into"])
def test_in_tls_1_3_the_first_to_receive_is_told_of_the_refusal(
    lab: Any, kind: str, first: str
) -> None:
    with serving(lab) as listener, connect(lab, listener, V13, bad_chain(lab, kind)) as client:
        call, given = getattr(client, first), 100 if first == "recv" else bytearray(100)
        with pytest.raises(PeerRejectedCertificate) as caught:
            call(given)
        assert caught.value.alert is REFUSALS[kind]
        for again, what in ((client.recv, 1), (client.send, b"x"), (client.sendall, b"x")):
            with pytest.raises(PeerRejectedCertificate) as later:
                again(what)
            assert same_error(caught.value, later.value)


@pytest.mark.parametrize("kind", REFUSALS)
def test_in_tls_1_3_who_only_sends_is_told_of_the_refusal(lab: Any, kind: str) -> None:
    with serving(lab) as listener, connect(lab, listener, V13, bad_chain(lab, kind)) as client:
        deadline = time.monotonic() + PATIENCE
        error: OSError | None = None
        # What is sent before the alert is here goes nowhere, and no call can know.
        while error is None:
            assert time.monotonic() < deadline
            try:
                client.sendall(bytes(10_000))
            except OSError as raised:
                error = raised
        assert isinstance(error, PeerRejectedCertificate)
        assert error.alert is REFUSALS[kind]


@pytest.mark.parametrize("kind", REFUSALS)
def test_data_sent_before_the_refusal_is_known_does_not_hide_it(lab: Any, kind: str) -> None:
    with serving(lab) as listener, connect(lab, listener, V13, bad_chain(lab, kind)) as client:
        # The server is refusing at this moment, so the data may or may not be taken.
        def exchange() -> None:
            client.send(bytes(200_000))
            client.recv(100)

        with pytest.raises(PeerRejectedCertificate) as caught:
            exchange()
        assert caught.value.alert is REFUSALS[kind]


@pytest.mark.parametrize("kind", REFUSALS)
def test_in_tls_1_2_connect_is_told_of_the_refusal(lab: Any, kind: str) -> None:
    with serving(lab) as listener, pytest.raises(AlertReceived) as caught:
        connect(lab, listener, V12, bad_chain(lab, kind))
    if kind == "none" and caught.value.alert is AlertDescription.handshake_failure:
        return  # What TLS 1.2 has for it (RFC 5246 7.4.6).
    assert type(caught.value) is PeerRejectedCertificate
    assert caught.value.alert is REFUSALS[kind]


def test_many_refusals_do_not_hold_up_a_good_client(lab: Any) -> None:
    bad = bad_chain(lab, "unknown CA")
    with serving(lab) as listener:
        refused = [connect(lab, listener, V13, bad) for _ in range(20)]
        start = time.monotonic()
        with connect(lab, listener, V13, lab.chain("client.example")) as client:
            client.sendall(b"echo")
            assert client.recv(100) == b"echo"
        # The refused ones do not read; each would be waited for 2 seconds.
        assert time.monotonic() - start < 10
        for one in refused:
            with one, pytest.raises(PeerRejectedCertificate):
                one.recv(1)
        assert listener.failed_handshakes == len(refused)


def test_where_a_certificate_is_optional_none_is_fine_and_a_bad_one_is_not(
    lab: Any, version: TLSVersion
) -> None:
    optional = {"client_authentication": ClientAuthentication.OPTIONAL}
    with serving(lab, **optional) as listener:
        with connect(lab, listener, version, None) as client:
            client.sendall(b"echo")
            assert client.recv(100) == b"echo"

        def use() -> None:
            with connect(lab, listener, version, bad_chain(lab, "unknown CA")) as client:
                client.recv(1)

        with pytest.raises(PeerRejectedCertificate):
            use()
