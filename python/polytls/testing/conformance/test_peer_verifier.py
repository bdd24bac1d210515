"""Custom verification of a peer: it can refuse, and nothing is out before it."""

from __future__ import annotations

import contextlib
import io
import select
import threading
from collections.abc import Callable
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    CertificateVerificationError,
    ClientAuthentication,
    PeerRejectedCertificate,
    PresentedPeer,
    Responsible,
    SupportsHandshakeMayBlock,
    TLSError,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.lab import PATIENCE, same_error
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.upgrade import tied

pytestmark = needs("peer verifier")


class RefusedError(Exception):
    """What a verifier of these cases raises."""


class Verifier:
    """Remembers what it was shown; refuses if it is told to."""

    def __init__(self) -> None:
        self.shown: list[PresentedPeer] = []
        self.verdict: BaseException | None = None

    def __call__(self, peer: PresentedPeer) -> None:
        self.shown.append(peer)
        if self.verdict is not None:
            raise self.verdict


@pytest.fixture
def verifier() -> Verifier:
    return Verifier()


def take_tickets(pair: Any) -> None:
    with pytest.raises(WantReadError):
        pair.client.read(1)


# --- what it is shown ---


def test_it_is_shown_the_server_that_was_found_in_order(
    lab: Any, version: TLSVersion, verifier: Verifier
) -> None:
    chain = lab.ca.intermediate().issue(lab.host, common_name="the server")
    lab.connect(lab.client(version=version, peer_verifier=verifier), lab.server(chain))
    (peer,) = verifier.shown
    assert peer.role == "server"
    assert peer.hostname == lab.host
    assert peer.presented_chain == (chain.leaf[0].buffer, chain.chain[0].buffer)
    expected = (*peer.presented_chain, lab.ca.certificate_der)
    assert peer.verified_chain in (None, expected)
    assert peer.certificate is not None
    assert peer.certificate.common_name == "the server"
    assert peer.certificate.der == peer.presented_chain[0]
    with pytest.raises(AttributeError):
        peer.role = "client"  # type: ignore[misc]


@needs("client authentication")
def test_it_is_shown_the_client_on_a_server(
    lab: Any, version: TLSVersion, verifier: Verifier
) -> None:
    mine = lab.ca.intermediate().issue("client.example", common_name="a person")
    server = lab.server(trust_store=lab.ca.trust_store(), peer_verifier=verifier)
    lab.connect(lab.client(version=version, certificate_chain=mine), server)
    (peer,) = verifier.shown
    assert (peer.role, peer.hostname) == ("client", None)
    assert peer.presented_chain == (mine.leaf[0].buffer, mine.chain[0].buffer)
    assert peer.certificate is not None
    assert peer.certificate.dns_names == ("client.example",)


@needs("client authentication")
def test_it_is_not_asked_about_nobody(lab: Any, version: TLSVersion, verifier: Verifier) -> None:
    optional = lab.server(
        trust_store=lab.ca.trust_store(),
        client_authentication=ClientAuthentication.OPTIONAL,
        peer_verifier=verifier,
    )
    for server in (optional, lab.server(peer_verifier=verifier)):
        lab.connect(lab.client(version=version), server)
    assert verifier.shown == []


def test_it_cannot_accept_what_was_refused(lab: Any, verifier: Verifier) -> None:
    stranger = CertificateAuthority("stranger").issue(lab.host)
    pair = lab.pair(lab.client(peer_verifier=verifier), lab.server(stranger))
    outcome = lab.settle(pair)
    assert type(outcome.client) is CertificateVerificationError
    assert outcome.client.reason is VerificationFailure.UNKNOWN_ISSUER
    assert verifier.shown == []


# --- what it refuses ---


def assert_refused(error: TLSError | None, cause: BaseException) -> None:
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.REFUSED_BY_VERIFIER
    assert error.responsible is Responsible.YOU
    assert error.index == 0
    assert error.__cause__ is cause
    assert type(cause).__name__ in str(error)
    assert "\n" not in str(error)


def test_a_server_that_it_refuses_gets_an_alert(
    lab: Any, version: TLSVersion, verifier: Verifier
) -> None:
    verifier.verdict = RefusedError("not this one")
    pair = lab.pair(lab.client(version=version, peer_verifier=verifier))
    outcome = lab.settle(pair)
    assert_refused(outcome.client, verifier.verdict)
    assert outcome.client is not None
    assert "not this one" in str(outcome.client)
    assert type(outcome.server) is PeerRejectedCertificate
    assert outcome.server.alert is AlertDescription.access_denied


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_peer_that_it_refuses_gets_nothing_more(
    lab: Any, version: TLSVersion, verifier: Verifier, side: str
) -> None:
    verifier.verdict = RefusedError("not this one")
    mine = lab.chain("client.example")
    asked = {"peer_verifier": verifier}
    client = lab.client(
        version=version, certificate_chain=mine, **(asked if side == "client" else {})
    )
    server = lab.server(trust_store=lab.ca.trust_store(), **(asked if side == "server" else {}))
    pair = lab.pair(client, server)
    lab.settle(pair)
    mine_side = getattr(pair, side)
    first = None
    for call in (
        mine_side.do_handshake,
        lambda: mine_side.read(10),
        lambda: mine_side.write(b"secret data"),
        mine_side.shutdown,
    ):
        with pytest.raises(CertificateVerificationError) as caught:
            call()
        assert_refused(caught.value, verifier.verdict)
        assert first is None or same_error(caught.value, first)
        first = caught.value
    assert len(verifier.shown) == 1
    assert mine_side.negotiated_tls_version is None
    assert mine_side.getpeercert() is None
    if side == "client":
        # So that the server never had its client's certificate.
        assert pair.server.negotiated_tls_version is None
        assert pair.server.getpeercert() is None


@pytest.mark.parametrize(
    "raised",
    [
        RefusedError(),
        RefusedError("two\nlines"),
        ValueError("x" * 10_000),
        WantReadError("not to be taken for one of ours"),
        type("Odd", (Exception,), {"__str__": lambda self: 1 / 0})(),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_whatever_it_raises_refuses(lab: Any, verifier: Verifier, raised: BaseException) -> None:
    verifier.verdict = raised
    outcome = lab.settle(lab.pair(lab.client(peer_verifier=verifier)))
    assert_refused(outcome.client, raised)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("side", ["client", "server"])
def test_what_is_no_exception_is_raised_as_it_is_and_refuses(
    lab: Any, version: TLSVersion, verifier: Verifier, side: str, raised: type[BaseException]
) -> None:
    verifier.verdict = raised("now")
    asked = {"peer_verifier": verifier}
    mine = lab.chain("client.example")
    client = lab.client(
        version=version, certificate_chain=mine, **(asked if side == "client" else {})
    )
    server = lab.server(trust_store=lab.ca.trust_store(), **(asked if side == "server" else {}))
    pair = lab.pair(client, server)
    with pytest.raises(raised) as caught:
        pair.handshake()
    assert caught.value is verifier.verdict
    # It was no verdict, and the peer is refused for good.
    refused = getattr(pair, side)
    for call in (refused.do_handshake, lambda: refused.write(b"secret data")):
        with pytest.raises(CertificateVerificationError) as error:
            call()
        assert_refused(error.value, verifier.verdict)
    assert len(verifier.shown) == 1


@pytest.mark.parametrize("returned", [False, True, 0, "", "yes", [], NotImplemented], ids=repr)
def test_whatever_it_returns_but_none_refuses(lab: Any, returned: object) -> None:
    pair = lab.pair(lab.client(peer_verifier=lambda _: returned))
    error = lab.settle(pair).client
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.REFUSED_BY_VERIFIER
    assert type(error.__cause__) is TypeError
    assert type(returned).__name__ in str(error)


def test_one_that_cannot_be_called_so_refuses(lab: Any) -> None:
    error = lab.settle(lab.pair(lab.client(peer_verifier=lambda: None))).client
    assert type(error) is CertificateVerificationError
    assert type(error.__cause__) is TypeError


def test_an_error_keeps_what_was_raised_with_its_traceback(lab: Any) -> None:
    def deep(peer: PresentedPeer) -> None:
        raise RefusedError(peer.role)

    error = lab.settle(lab.pair(lab.client(peer_verifier=deep))).client
    assert error.__cause__.__traceback__ is not None
    frame = error.__cause__.__traceback__
    names = []
    while frame is not None:
        names.append(frame.tb_frame.f_code.co_name)
        frame = frame.tb_next
    assert names[-1] == "deep"


# --- resumed sessions ---


@needs("resumption")
@pytest.mark.parametrize("refuses", [False, True], ids=["accepted", "refused"])
def test_it_is_asked_about_resumed_servers_too(
    lab: Any, version: TLSVersion, verifier: Verifier, refuses: bool
) -> None:
    chain = lab.ca.intermediate().issue(lab.host)
    client, server = lab.client(version=version, peer_verifier=verifier), lab.server(chain)
    take_tickets(lab.connect(client, server))
    if refuses:
        verifier.verdict = RefusedError("no longer")
    pair = lab.pair(client, server)
    outcome = lab.settle(pair)
    first, again = verifier.shown
    assert again.presented_chain == first.presented_chain
    assert (again.role, again.hostname) == (first.role, first.hostname)
    if refuses:
        assert_refused(outcome.client, verifier.verdict)  # type: ignore[arg-type]
        assert pair.server.negotiated_tls_version is None
        with pytest.raises(CertificateVerificationError):
            pair.client.write(b"secret data")
    else:
        assert outcome.client is None
        assert pair.client.info.resumed is True
        assert pair.send(pair.client, b"request") == b"request"


@needs("resumption", "client authentication")
@pytest.mark.parametrize("refuses", [False, True], ids=["accepted", "refused"])
def test_it_is_asked_about_resumed_clients_too(
    lab: Any, version: TLSVersion, verifier: Verifier, refuses: bool
) -> None:
    mine = lab.chain("client.example")
    client = lab.client(version=version, certificate_chain=mine)
    server = lab.server(trust_store=lab.ca.trust_store(), peer_verifier=verifier)
    take_tickets(lab.connect(client, server))
    if refuses:
        verifier.verdict = RefusedError("no longer")
    pair = lab.pair(client, server)
    outcome = lab.settle(pair)
    assert len(verifier.shown) == 2
    assert verifier.shown[1].presented_chain[0] == mine.leaf[0].buffer
    if refuses:
        assert_refused(outcome.server, verifier.verdict)  # type: ignore[arg-type]
        for call in (lambda: pair.server.read(10), lambda: pair.server.write(b"data")):
            with pytest.raises(CertificateVerificationError):
                call()
    else:
        assert pair.server.info.resumed is True
        assert pair.send(pair.server, b"response") == b"response"


@needs("resumption")
def test_a_resumed_server_that_it_refuses_gets_an_alert(
    lab: Any, version: TLSVersion, verifier: Verifier
) -> None:
    client, server = lab.client(version=version, peer_verifier=verifier), lab.server()
    take_tickets(lab.connect(client, server))
    verifier.verdict = RefusedError("no longer")
    outcome = lab.settle(lab.pair(client, server))
    assert type(outcome.server) is PeerRejectedCertificate


@needs("resumption")
def test_data_that_comes_with_the_handshake_is_not_released_to_a_refused_side(
    lab: Any, version: TLSVersion, verifier: Verifier
) -> None:
    client, server = lab.client(version=version, peer_verifier=verifier), lab.server()
    take_tickets(lab.connect(client, server))
    verifier.verdict = RefusedError("no longer")
    pair = lab.pair(client, server)
    lab.settle(pair)
    with pytest.raises(CertificateVerificationError):
        pair.client.read(100)
    with pytest.raises((PeerRejectedCertificate, WantReadError)):
        pair.server.write(b"for a client that will never be there")


# --- its own connection, other connections, and time ---


@pytest.mark.parametrize(
    "use",
    [
        lambda side: side.do_handshake(),
        lambda side: side.read(1),
        lambda side: side.write(b"x"),
        lambda side: side.shutdown(),
        lambda side: side.process_incoming(b"x"),
        lambda side: side.process_outgoing(100),
    ],
    ids=["do_handshake", "read", "write", "shutdown", "process_incoming", "process_outgoing"],
)
def test_its_own_connection_is_out_of_its_reach(lab: Any, use: Callable[[Any], object]) -> None:
    found: list[BaseException] = []

    def reach(_: PresentedPeer) -> None:
        try:
            use(pair.client)
        except TLSError as error:
            found.append(error)

    pair = lab.pair(lab.client(peer_verifier=reach))
    pair.handshake()
    assert [type(error) for error in found] == [TLSError]
    assert pair.send(pair.client, b"request") == b"request"


def test_it_may_use_other_connections(lab: Any) -> None:
    received = []

    def consult(_: PresentedPeer) -> None:
        other = lab.connect()
        received.append(other.send(other.client, b"may I?"))

    lab.connect(lab.client(peer_verifier=consult))
    assert received == [b"may I?"]


def test_one_that_takes_long_holds_up_no_other_connection(lab: Any, threads: Any) -> None:
    started, released = threading.Event(), threading.Event()

    def linger(_: PresentedPeer) -> None:
        started.set()
        assert released.wait(PATIENCE)

    client, server = lab.client(peer_verifier=linger), lab.server()
    lingering = threads.submit(lab.connect, client, server)
    try:
        assert started.wait(PATIENCE)
        pair = lab.connect(server=server)
        assert pair.send(pair.client, b"meanwhile") == b"meanwhile"
        assert not lingering.done()
    finally:
        released.set()
    pair = lingering.result(PATIENCE)
    assert pair.send(pair.client, b"afterwards") == b"afterwards"


def test_a_context_tells_that_its_handshakes_may_take_long(lab: Any, verifier: Verifier) -> None:
    for made in (lab.client, lab.server):
        assert isinstance(made(), SupportsHandshakeMayBlock)
        assert made(peer_verifier=verifier).handshake_may_block is True


# --- sockets ---


@pytest.mark.parametrize("refuses", [False, True], ids=["accepted", "refused"])
def test_it_has_its_say_in_connect(
    lab: Any, version: TLSVersion, verifier: Verifier, refuses: bool, threads: Any
) -> None:
    verifier.verdict = RefusedError("not this one") if refuses else None
    with lab.server().connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5 if refuses else PATIENCE)
        accepting = threads.submit(listener.accept)
        client = lab.client(version=version, peer_verifier=verifier)
        address = listener.getsockname()
        if refuses:
            with pytest.raises(CertificateVerificationError) as caught:
                client.connect(address, server_hostname=lab.host, timeout=PATIENCE)
            assert_refused(caught.value, verifier.verdict)  # type: ignore[arg-type]
            with pytest.raises(TimeoutError):
                accepting.result(PATIENCE)
        else:
            with client.connect(address, server_hostname=lab.host, timeout=PATIENCE) as connected:
                accepted, _ = accepting.result(PATIENCE)
                with accepted:
                    connected.sendall(b"request")
                    assert accepted.recv(100) == b"request"
    assert len(verifier.shown) == 1


@needs("client authentication")
def test_a_listener_goes_on_after_a_client_that_it_refused(
    lab: Any, version: TLSVersion, threads: Any
) -> None:
    refused = lab.chain("refused.example")

    def choose(peer: PresentedPeer) -> None:
        if peer.presented_chain[0] == refused.leaf[0].buffer:
            raise RefusedError("not this one")

    server = lab.server(trust_store=lab.ca.trust_store(), peer_verifier=choose)
    with server.connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        accepting = threads.submit(listener.accept)
        for chain in (refused, lab.chain("client.example")):
            client = lab.client(version=version, certificate_chain=chain)
            try:
                connected = client.connect(
                    listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
                )
            except (TLSError, ConnectionError):
                assert chain is refused
                continue
            with connected:
                if chain is refused:
                    with pytest.raises((TLSError, ConnectionError)):
                        connected.recv(1)
                    continue
                accepted, _ = accepting.result(PATIENCE)
                with accepted:
                    assert accepted.info.peer.dns_names == ("client.example",)


@needs("client authentication")
@pytest.mark.parametrize(
    "use",
    [
        lambda side: side.do_handshake(),
        lambda side: side.recv(1),
        lambda side: side.send(b"x"),
        lambda side: side.close(force=True),
    ],
    ids=["do_handshake", "recv", "send", "close"],
)
def test_its_own_socket_is_out_of_its_reach(
    lab: Any, use: Callable[[Any], object], threads: Any
) -> None:
    found: list[BaseException] = []
    accepted: list[Any] = []

    def reach(_: PresentedPeer) -> None:
        try:
            use(accepted[0])
        except TLSError as error:
            found.append(error)

    server = lab.server(trust_store=lab.ca.trust_store(), peer_verifier=reach)
    with server.connect(("127.0.0.1", 0)) as listener:
        client = lab.client(certificate_chain=lab.chain("client.example"))
        address = listener.getsockname()
        connecting = threads.submit(
            client.connect, address, server_hostname=lab.host, timeout=PATIENCE
        )
        listener.setblocking(False)
        accepted.append(accept_unfinished(listener))
        with accepted[0]:
            accepted[0].settimeout(PATIENCE)
            accepted[0].do_handshake()
            with connecting.result(PATIENCE) as connected:
                connected.sendall(b"request")
                assert accepted[0].recv(100) == b"request"
    assert [type(error) for error in found] == [TLSError]


def accept_unfinished(listener: Any) -> Any:
    """The next connection, its handshake not done, of a listener that does not wait."""
    while True:
        select.select([listener], [], [], PATIENCE)
        with contextlib.suppress(WantReadError):
            return listener.accept()[0]


# --- what it must not touch ---


@needs("wrap_socket", "do_handshake", "sendfile")
@pytest.mark.parametrize("begin", ["do_handshake", "recv", "send", "sendall", "sendfile"])
@pytest.mark.parametrize(
    "use", ["pending", "recv", "send", "getsockname", "do_handshake", "close", "sendfile"]
)
def test_one_that_uses_its_own_connection_gets_an_error_and_waits_for_nothing(
    lab: Any, threads: Any, begin: str, use: str
) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "pending": lambda: over.pending(),
        "recv": lambda: over.recv(1),
        "send": lambda: over.send(b"x"),
        "sendall": lambda: over.sendall(b"x"),
        "sendfile": lambda: over.sendfile(io.BytesIO(b"x")),
        "getsockname": lambda: over.getsockname(),
        "do_handshake": lambda: over.do_handshake(),
        "close": lambda: over.close(force=True),
    }
    raised: list[BaseException] = []

    def verify(_: PresentedPeer) -> None:
        try:
            calls[use]()
        except TLSError as error:
            raised.append(error)

    with tied() as (plain, other):
        server = threads.submit(lab.server().wrap_socket, other)
        over = lab.client(peer_verifier=verify).wrap_socket(
            plain, server_hostname=lab.host, do_handshake_on_connect=False
        )
        with over:
            over.settimeout(PATIENCE)
            if begin == "recv":
                answering = threads.submit(lambda: server.result(PATIENCE).sendall(b"x"))
                calls[begin]()
                answering.result(PATIENCE)
            else:
                calls[begin]()
            (error,) = raised
            assert "callback" in str(error)
            over.close(force=True)
        server.result(PATIENCE).close(force=True)
