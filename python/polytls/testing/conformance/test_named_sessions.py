"""Sessions that are named with `session=`: what may be offered, to whom, and how often."""

from __future__ import annotations

import copy
import pickle
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polytls import (
    CertificateVerificationError,
    SupportsSession,
    TLSClientConfiguration,
    TLSError,
    TLSSession,
    TLSVersion,
    TrustStore,
    VerificationFailure,
    WantReadError,
    insecure,
)
from polytls.testing import CertificateAuthority, Pair
from polytls.testing.conformance.forked import assert_done_in_a_process
from polytls.testing.conformance.hello import offered_tickets
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs
from polytls.testing.conformance.target import Target

pytestmark = needs("named sessions")


@pytest.fixture
def quiet() -> Iterator[None]:
    """Insecure contexts warn of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", insecure.SecurityWarning)
        yield


def meet(lab: Any, client: Any, server: Any, name: str | None = None, **given: Any) -> Pair:
    """A connection that names `session`, if one is given; its client reads nothing."""
    pair = Pair(client.create_buffer(name or lab.host, **given), server.create_buffer())
    pair.handshake()
    return pair


def visit(lab: Any, client: Any, server: Any, name: str | None = None, **given: Any) -> Pair:
    """As `meet`, and the client takes in what the server gives it."""
    pair = meet(lab, client, server, name, **given)
    with pytest.raises(WantReadError):  # The tickets of TLS 1.3 come after the handshake.
        pair.client.read(1)
    return pair


def upload(lab: Any, client: Any, server: Any, session: Any) -> Pair:
    """A connection whose client sends as soon as it can, and never hears of tickets."""
    pair = Pair(client.create_buffer(lab.host, session=session), server.create_buffer())
    while True:
        with suppress(WantReadError):
            pair.client.do_handshake()
            pair.client.write(b"content")
        pair.server.process_incoming(lab.outgoing(pair.client))
        with suppress(WantReadError):
            assert pair.server.read(100) == b"content"
            return pair
        pair.client.process_incoming(lab.outgoing(pair.server))


def refusal(make: Callable[[], Any]) -> ValueError:
    with pytest.raises(ValueError, match=r"^session: ") as refused:
        make()
    return refused.value


def verdict(error: ValueError) -> CertificateVerificationError:
    assert type(error.__cause__) is CertificateVerificationError
    return error.__cause__


def offered(lab: Any, client: Any, **given: Any) -> list[bytes]:
    """The tickets in a ClientHello of TLS 1.3, which nobody answers."""
    buffer = client.create_buffer(lab.host, **given)
    with pytest.raises(WantReadError):
        buffer.do_handshake()
    return offered_tickets(lab.outgoing(buffer))


# --- the handle ---


def test_a_connection_hands_out_its_session(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    pair = lab.pair(client, server)
    assert pair.client.session is None, "before the handshake"
    pair.handshake()
    session = pair.client.session
    assert type(session) is TLSSession
    assert isinstance(pair.client, SupportsSession)
    assert pair.client.session == session
    assert hash(pair.client.session) == hash(session)
    assert pair.server.session is None, "a server has none to offer"


def test_a_session_is_resumed_where_it_is_named(lab: Any, version: TLSVersion) -> None:
    client, server = lab.client(version=version), lab.server()
    first, other = visit(lab, client, server), visit(lab, client, server)
    assert first.client.session != other.client.session
    for _ in range(3):
        again = visit(lab, client, server, session=first.client.session)
        assert again.client.info.resumed is again.server.info.resumed is True
        assert again.client.getpeercert() == first.client.getpeercert()
        assert again.client.session == first.client.session
        assert again.send(again.client, b"request") == b"request"
        assert again.send(again.server, b"response") == b"response"


def test_what_has_no_session_to_name_says_none(lab: Any, version: TLSVersion) -> None:
    keeps_none = lab.client(version=version, sessions=None)
    assert lab.connect(keeps_none, lab.server()).client.session is None
    stranger = CertificateAuthority("stranger").trust_store()
    pair = lab.pair(lab.client(version=version, trust_store=stranger), lab.server())
    assert type(lab.settle(pair).client) is CertificateVerificationError
    assert pair.client.session is None, "after a failure"


def test_a_session_cannot_be_changed_copied_or_read(lab: Any, version: TLSVersion) -> None:
    session: Any = visit(lab, lab.client(version=version), lab.server()).client.session
    for give in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            give(session)
    for name in ("anything", "_lineage", "_context"):
        with pytest.raises(AttributeError):
            setattr(session, name, None)
        with pytest.raises(AttributeError):
            delattr(session, name)
    assert not hasattr(session, "__dict__")
    assert repr(session) == f"<TLSSession of {type(session._context).__name__}>"


@pytest.mark.parametrize("wrong", [b"session", 1, object()], ids=["bytes", "int", "object"])
def test_what_is_no_session_is_a_type_error(lab: Any, wrong: object) -> None:
    client = lab.client()
    for make in (
        lambda: client.create_buffer(lab.host, session=wrong),
        lambda: client.connect(("127.0.0.1", 1), server_hostname=lab.host, session=wrong),
    ):
        with pytest.raises(TypeError, match=r"^session"):
            make()


def test_a_session_is_known_and_good_when_its_connection_is_gone(
    lab: Any, version: TLSVersion
) -> None:
    client, server = lab.client(version=version), lab.server()
    pair = visit(lab, client, server)
    with suppress(WantReadError):
        pair.client.shutdown()
    session = pair.client.session
    del pair
    assert [meet(lab, client, server, session=session).client.info.resumed for _ in range(3)] == [
        True
    ] * 3


# --- the verdict ---


def test_a_session_is_not_offered_to_a_name_that_its_certificate_is_not_for(
    lab: Any, version: TLSVersion
) -> None:
    client, server = lab.client(version=version), lab.server(lab.chain("a.example", "b.example"))
    session = visit(lab, client, server, "a.example").client.session
    before = client.statistics
    for name in ("c.example", "192.0.2.1", "sub.a.example"):
        error = verdict(
            refusal(lambda name=name: client.create_buffer(name, session=session))  # type: ignore[misc]
        )
        assert error.reason is VerificationFailure.HOSTNAME_MISMATCH
        assert error.hostname == name
    assert client.statistics == before, "nothing was begun"
    # Servers tie sessions to names, so this may be a full handshake.
    pair = meet(lab, client, server, "b.example", session=session)
    assert pair.client.info.server_name == "b.example"
    assert pair.send(pair.client, b"request") == b"request"


def test_names_and_addresses_are_not_taken_for_each_other(lab: Any, version: TLSVersion) -> None:
    client = lab.client(version=version)
    by_name = lab.server(lab.chain("a.example"))
    by_address = lab.server(lab.chain("192.0.2.1"))
    both = lab.server(lab.chain("a.example", "192.0.2.1"))
    for server, own, other in (
        (by_name, "a.example", "192.0.2.1"),
        (by_address, "192.0.2.1", "a.example"),
    ):
        session = visit(lab, client, server, own).client.session
        error = verdict(
            refusal(lambda: client.create_buffer(other, session=session))  # noqa: B023 - at once
        )
        assert error.reason is VerificationFailure.HOSTNAME_MISMATCH
    session = visit(lab, client, both, "192.0.2.1").client.session
    assert meet(lab, client, both, "a.example", session=session).client.getpeercert()


def test_a_session_is_for_its_context_alone(lab: Any, version: TLSVersion) -> None:
    server = lab.server()
    one, twin = lab.client(version=version), lab.client(version=version)
    assert one.configuration == twin.configuration
    stricter = lab.client(version=version, trust_store=CertificateAuthority("x").trust_store())
    session = visit(lab, one, server).client.session
    for other in (twin, stricter):
        error = refusal(lambda other=other: other.create_buffer(lab.host, session=session))  # type: ignore[misc]
        assert "context" in str(error)


@pytest.mark.usefixtures("quiet")
@needs("insecure contexts")
def test_a_session_of_an_insecure_context_is_for_that_alone(
    lab: Any, insecure_implementation: Any, version: TLSVersion
) -> None:
    secure, server = lab.client(version=version), lab.server()
    ones = _insecure(lab, insecure_implementation, version)
    sessions = [visit(lab, one, server).client.session for one in (secure, *ones)]
    contexts = [secure, *ones]
    for context, own in zip(contexts, sessions, strict=True):
        for session in sessions:
            if session is not own:
                error = refusal(
                    lambda it=context, s=session: it.create_buffer(lab.host, session=s)  # type: ignore[misc]
                )
                assert "context" in str(error)
        assert meet(lab, context, server, session=own).client.info.resumed is True


@pytest.mark.usefixtures("quiet")
@needs("insecure contexts")
def test_where_names_are_not_checked_a_session_is_for_its_own_name_alone(
    lab: Any, insecure_implementation: Any, version: TLSVersion
) -> None:
    server = lab.server()
    for client in _insecure(lab, insecure_implementation, version):
        for own, others in (
            (lab.host, ("other.example", "192.0.2.1", None)),
            (None, (lab.host, "192.0.2.1")),
        ):
            pair = Pair(client.create_buffer(own), server.create_buffer())
            pair.handshake()
            with pytest.raises(WantReadError):
                pair.client.read(1)
            session = pair.client.session
            for name in others:
                error = refusal(
                    lambda c=client, n=name, s=session: c.create_buffer(n, session=s)  # type: ignore[misc]
                )
                assert "name" in str(error)
            again = Pair(client.create_buffer(own, session=session), server.create_buffer())
            again.handshake()
            assert again.client.info.resumed is True


def _insecure(lab: Any, implementation: Any, version: TLSVersion) -> list[Any]:
    configuration = TLSClientConfiguration(
        trust_store=lab.ca.trust_store(),
        lowest_supported_version=version,
        highest_supported_version=version,
    )
    return [
        implementation.insecure_client_context(
            configuration, insecure.InsecureConfiguration(**switches)
        )
        for switches in (
            {"disable_hostname_check": True},
            {"disable_hostname_check": True, "disable_verification": True},
        )
    ]


@needs("peer verifier")
def test_a_verifier_that_has_learnt_of_a_revocation_keeps_the_session_from_being_offered(
    lab: Any, version: TLSVersion
) -> None:
    revoked: set[bytes] = set()
    asked: list[Any] = []

    def verifier(peer: Any) -> None:
        asked.append(peer)
        if peer.certificate.der in revoked:
            raise LookupError("revoked this morning")

    client = lab.client(version=version, peer_verifier=verifier)
    server = lab.server(lab.chain("a.example", "b.example"))
    first = visit(lab, client, server, "a.example")
    session, leaf = first.client.session, first.client.getpeercert()
    assert meet(lab, client, server, "a.example", session=session).client.info.resumed is True
    del asked[:]
    client.create_buffer("b.example", session=session)
    assert [(peer.role, peer.hostname, peer.presented_chain) for peer in asked] == [
        ("server", "b.example", (leaf,))
    ]
    revoked.add(leaf)
    error = verdict(refusal(lambda: client.create_buffer("a.example", session=session)))
    assert error.reason is VerificationFailure.REFUSED_BY_VERIFIER
    assert type(error.__cause__) is LookupError


@needs("peer verifier")
@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_what_a_verifier_raises_that_is_no_exception_is_raised_as_it_is(
    lab: Any, raised: type[BaseException]
) -> None:
    interrupted: list[bool] = []

    def verifier(_: Any) -> None:
        if interrupted:
            raise raised("now")

    client, server = lab.client(peer_verifier=verifier), lab.server()
    session = visit(lab, client, server).client.session
    interrupted.append(True)
    with pytest.raises(raised, match="now"):
        client.create_buffer(lab.host, session=session)
    del interrupted[:]
    assert meet(lab, client, server, session=session).client.info.resumed is True


@needs("pins")
def test_the_session_of_a_pinned_server_is_resumed_under_its_names(
    lab: Any, version: TLSVersion
) -> None:
    chain = lab.chain("a.example")
    store = TrustStore.pinned([chain.leaf[0]])
    client, server = lab.client(version=version, trust_store=store), lab.server(chain)
    session = visit(lab, client, server, "a.example").client.session
    assert meet(lab, client, server, "a.example", session=session).client.info.resumed is True
    error = verdict(refusal(lambda: client.create_buffer("b.example", session=session)))
    assert error.reason is VerificationFailure.HOSTNAME_MISMATCH


def test_a_session_ends_with_the_certificate_that_it_began_with(lab: Any) -> None:
    def made(end: datetime) -> tuple[Any, TrustStore]:
        validity = {"not_before": end - timedelta(days=1), "not_after": end}
        return lab.server(lab.ca.issue(lab.host, **validity)), lab.ca.trust_store()

    assert _reason_at_the_end(lab, made) is VerificationFailure.EXPIRED


@needs("CRLs")
def test_a_session_ends_with_the_revocation_list_that_it_was_judged_by(lab: Any) -> None:
    root = CertificateAuthority("root of lists")

    def made(end: datetime) -> tuple[Any, TrustStore]:
        validity = {"this_update": end - timedelta(days=1), "next_update": end}
        store = root.trust_store(crls=[root.revocation_list(**validity)])
        return lab.server(root.issue(lab.host)), store

    assert _reason_at_the_end(lab, made) is VerificationFailure.REVOCATION_UNKNOWN


def _reason_at_the_end(
    lab: Any, made: Callable[[datetime], tuple[Any, TrustStore]]
) -> VerificationFailure:
    """Why sessions of both versions are refused once it is over what they were judged by."""
    versions = (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3)
    for seconds in (2, 10, 60):
        end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
        server, store = made(end)
        clients = [lab.client(version=version, trust_store=store) for version in versions]
        try:
            sessions = [visit(lab, client, server).client.session for client in clients]
            for client, session in zip(clients, sessions, strict=True):
                assert meet(lab, client, server, session=session).client.info.resumed is True
        except (TLSError, ValueError):
            assert datetime.now(UTC) >= end, "it took longer than that lasted"
        else:
            break
    while (left := (end - datetime.now(UTC)).total_seconds()) > -1:
        time.sleep(left + 1)
    (reason,) = {
        verdict(
            refusal(
                lambda it=client, s=session: it.create_buffer(lab.host, session=s)  # type: ignore[misc]
            )
        ).reason
        for client, session in zip(clients, sessions, strict=True)
    }
    return reason


# --- which ticket ---


def test_fifty_uploads_in_a_row_resume_one_session(lab: Any, version: TLSVersion) -> None:
    """As FTPS does it: connections on which the client only sends, and so reads no ticket."""
    client, server = lab.client(version=version), lab.server()
    session = visit(lab, client, server).client.session
    for number in range(50):
        pair = upload(lab, client, server, session)
        assert pair.client.info.resumed is pair.server.info.resumed is True, number


def test_tickets_that_were_not_offered_come_first_and_then_the_last_one(lab: Any) -> None:
    client, server = lab.client(version=TLSVersion.TLSv1_3), lab.server()
    session = visit(lab, client, server).client.session
    shown = [ticket for _ in range(9) for ticket in offered(lab, client, session=session)]
    assert len(shown) == 9, "there is always one"
    fresh = list(dict.fromkeys(shown))
    assert len(fresh) < 9, "more tickets than any server gives"
    assert shown[: len(fresh)] == fresh
    assert len(set(shown[len(fresh) :])) == 1


def test_tickets_join_the_session_on_whichever_connection_they_come(lab: Any) -> None:
    client, server = lab.client(version=TLSVersion.TLSv1_3), lab.server()
    first = meet(lab, client, server)
    session = first.client.session
    assert offered(lab, client, session=session) == [], "none has come"
    with pytest.raises(WantReadError):
        first.client.read(1)
    before = {ticket for _ in range(9) for ticket in offered(lab, client, session=session)}
    assert before
    resumed = visit(lab, client, server, session=session)
    assert resumed.client.info.resumed is True
    (fresh,) = offered(lab, client, session=session)
    assert fresh not in before


def test_no_other_session_takes_the_place_of_one_that_has_nothing_to_offer(lab: Any) -> None:
    client, server = lab.client(version=TLSVersion.TLSv1_3), lab.server()
    empty = meet(lab, client, server).client.session
    visit(lab, client, server)
    assert offered(lab, client, session=empty) == []
    assert len(offered(lab, client)) == 1, "what is remembered is there"


def test_a_server_that_declines_is_verified_and_begins_a_session_of_its_own(
    lab: Any, version: TLSVersion
) -> None:
    client = lab.client(version=version)
    session = visit(lab, client, lab.server()).client.session
    other = lab.server()
    pair = visit(lab, client, other, session=session)
    assert pair.client.info.resumed is False
    own = pair.client.session
    assert own != session
    assert meet(lab, client, other, session=own).client.info.resumed is True
    stranger = lab.server(CertificateAuthority("stranger").issue(lab.host))
    refused = Pair(client.create_buffer(lab.host, session=session), stranger.create_buffer())
    assert type(lab.settle(refused).client) is CertificateVerificationError


@needs("early data")
def test_early_data_goes_with_a_ticket_once(lab: Any) -> None:
    client, server = lab.client(early_data=True), lab.server(early_data=True)
    session = visit(lab, client, server).client.session
    fresh = {ticket for _ in range(9) for ticket in offered(lab, client)}
    session = visit(lab, client, server).client.session
    allowed = []
    for _ in range(len(fresh) + 3):
        buffer = client.create_buffer(lab.host, session=session)
        allowed.append(buffer.write_early_data(b"early") == 5)
        with pytest.raises(WantReadError):
            buffer.do_handshake()
    assert allowed == sorted(allowed, reverse=True)
    assert allowed[0] is True
    assert allowed[-3:] == [False] * 3


def test_a_child_of_fork_has_nothing_to_offer(target: Target) -> None:
    assert_done_in_a_process(target.name, "named session")


# --- sockets ---


class Counted:
    """A server that asks for resumption on all connections but the first, as FTPS servers do."""

    def __init__(self, listener: Any) -> None:
        self.listener = listener
        self.content = b""

    def serve(self, connections: int) -> None:
        self.listener.settimeout(PATIENCE)
        for number in range(connections):
            accepted, _ = self.listener.accept()
            with accepted:
                accepted.settimeout(PATIENCE)
                if number and not accepted.info.resumed:
                    raise AssertionError(f"522 session reuse required, on connection {number}")
                if not number:
                    accepted.sendall(b"220 welcome\r\n")
                while data := accepted.recv(65536):
                    self.content += data


def test_uploads_over_sockets_resume_the_session_of_another_connection(
    lab: Any, version: TLSVersion, threads: ThreadPoolExecutor
) -> None:
    client, server = lab.client(version=version), lab.server()
    with server.connect(("127.0.0.1", 0)) as listener:
        counted = Counted(listener)
        serving = threads.submit(counted.serve, 11)
        address = listener.getsockname()
        with client.connect(address, server_hostname=lab.host, timeout=PATIENCE) as control:
            assert control.recv(100) == b"220 welcome\r\n"
            session = control.session
        for number in range(10):
            with client.connect(
                address, server_hostname=lab.host, timeout=PATIENCE, session=session
            ) as data:
                assert data.session == control.session == session
                data.sendall(b"%d" % number)
        serving.result()
    assert counted.content == b"0123456789"
    assert control.session == session, "known after closing"


def test_what_must_not_be_resumed_is_found_before_anything_is_dialled(
    lab: Any, version: TLSVersion
) -> None:
    client, server = lab.client(version=version), lab.server()
    session = visit(lab, client, server).client.session
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusal(
            lambda: client.connect(
                listener.getsockname(),
                server_hostname="other.example",
                timeout=PATIENCE,
                session=session,
            )
        )
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


@needs("wrap_socket")
def test_what_must_not_be_resumed_is_found_before_a_socket_is_taken(
    lab: Any, version: TLSVersion
) -> None:
    client, server = lab.client(version=version), lab.server()
    session = visit(lab, client, server).client.session
    one, other = socket.socketpair()
    with one, other:
        refusal(lambda: client.wrap_socket(one, "other.example", session=session))
        one.sendall(b"still in plaintext")
        assert other.recv(100) == b"still in plaintext"


@needs("wrap_socket")
def test_a_session_is_named_where_a_socket_is_wrapped(
    lab: Any, version: TLSVersion, threads: ThreadPoolExecutor
) -> None:
    client, server = lab.client(version=version), lab.server()
    session = visit(lab, client, server).client.session
    one, other = socket.socketpair()
    one.settimeout(PATIENCE)
    other.settimeout(PATIENCE)
    accepting = threads.submit(server.wrap_socket, one)
    with (
        client.wrap_socket(other, lab.host, session=session) as here,
        accepting.result(PATIENCE) as there,
    ):
        assert here.info.resumed is there.info.resumed is True
        assert here.session == session
        assert there.session is None
        here.sendall(b"hello")
        assert there.recv(100) == b"hello"
