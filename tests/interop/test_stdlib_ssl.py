"""Python's `ssl` as the peer of our sockets, in both roles."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    CertificateVerificationError,
    CipherSuite,
    NextProtocol,
    PeerRejectedCertificate,
    RaggedEOF,
    TLSError,
    TLSVersion,
    VerificationFailure,
    WantReadError,
)
from polytls.testing import CertificateAuthority, KeyType

#: What nothing in these tests may take, in seconds.
PATIENCE = 20.0
MIB = 1 << 20
V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
NATIVE = {V12: ssl.TLSVersion.TLSv1_2, V13: ssl.TLSVersion.TLSv1_3}
SUITES = (
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
)

#: How a server says that it misses a certificate; the latter in TLS 1.2 (RFC 5246 7.4.6).
MISSING = r"(?i)certificate.required|handshake.failure"


class Meeting:
    """A place where our side and that of `ssl` meet, as often as it takes."""

    def __init__(self, lab: Any, files: Any, threads: ThreadPoolExecutor, role: str) -> None:
        self.lab = lab
        #: Ours: "client" or "server"; the other one is `ssl`'s.
        self.role = role
        self._files = files
        self._threads = threads
        self._closing = ExitStack()
        self._listeners: dict[int, Any] = {}

    def close(self) -> None:
        self._closing.close()
        self._listeners.clear()

    def ours(self, *chains: Any, **given: Any) -> Any:
        return getattr(self.lab, self.role)(*chains, **given)

    def theirs(
        self, chain: Any = None, version: TLSVersion | None = None, trust: Any = None
    ) -> ssl.SSLContext:
        """A context of `ssl` for the other role, which trusts our authority."""
        if self.role == "client":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            chain = chain or self.lab.chain()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=(trust or self.lab.ca).certificate_pem.decode())
        if chain is not None:
            context.load_cert_chain(*self._files(chain))
        if version is not None:
            context.minimum_version = context.maximum_version = NATIVE[version]
        return context

    def listener(self, context: Any) -> Any:
        """The one that connections of `context` come to."""
        found = self._listeners.get(id(context))
        if found is None:
            if isinstance(context, ssl.SSLContext):
                found = socket.create_server(("127.0.0.1", 0))
            else:
                found = context.connect(("127.0.0.1", 0))
            found.settimeout(PATIENCE)
            self._listeners[id(context)] = self._closing.enter_context(found)
        return found

    def meet(self, ours: Any, theirs: ssl.SSLContext, **given: Any) -> tuple[Any, Any]:
        """Our socket and theirs, handshakes done.

        Raises what `ours` raises, or else `theirs`.
        """
        name = given.pop("name", self.lab.host)
        if self.role == "client":
            listener = self.listener(theirs)
            other = self._threads.submit(self._accept, listener, theirs)
            mine = ours.connect(listener.getsockname(), server_hostname=name, timeout=PATIENCE)
            self._closing.enter_context(mine)
            peer = other.result()
        else:
            listener = self.listener(ours)
            accepting = self._threads.submit(listener.accept)
            peer = self.dial(listener.getsockname(), theirs, name, **given)
            mine = self._closing.enter_context(accepting.result()[0])
            mine.settimeout(PATIENCE)
        return mine, peer

    def dial(self, address: Any, theirs: ssl.SSLContext, name: str, **given: Any) -> ssl.SSLSocket:
        return self._wrap(socket.create_connection(address), theirs, server_hostname=name, **given)

    def accept(self, theirs: ssl.SSLContext) -> Any:
        """`ssl`'s handshake as a server, in a thread."""
        return self._threads.submit(self._accept, self.listener(theirs), theirs)

    def _accept(self, listener: socket.socket, theirs: ssl.SSLContext) -> ssl.SSLSocket:
        return self._wrap(listener.accept()[0], theirs, server_side=True)

    def _wrap(self, plain: socket.socket, theirs: ssl.SSLContext, **given: Any) -> ssl.SSLSocket:
        plain.settimeout(PATIENCE)
        try:
            wrapped = theirs.wrap_socket(plain, suppress_ragged_eofs=False, **given)
        finally:
            plain.close()
        return self._closing.enter_context(wrapped)


@pytest.fixture(params=["client", "server"], ids=["our client", "our server"])
def meeting(
    request: pytest.FixtureRequest, lab: Any, files: Any, threads: ThreadPoolExecutor
) -> Iterator[Meeting]:
    """Where both meet, for each role of ours."""
    meeting = Meeting(lab, files, threads, request.param)
    yield meeting
    meeting.close()


only_our_client = pytest.mark.parametrize("meeting", ["client"], indirect=True, ids=["our client"])
only_our_server = pytest.mark.parametrize("meeting", ["server"], indirect=True, ids=["our server"])


def read(side: Any, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = side.recv(min(65536, length - len(data)))
        assert piece
        data += piece
    return bytes(data)


def assert_talk(mine: Any, peer: Any) -> None:
    for sender, receiver, data in ((mine, peer, b"from us"), (peer, mine, b"from them")):
        sender.sendall(data)
        assert read(receiver, len(data)) == data


def number_of(theirs: ssl.SSLContext, peer: ssl.SSLSocket) -> int:
    """The number of the suite in use, by OpenSSL's name for it."""
    numbers = {suite["name"]: suite["id"] & 0xFFFF for suite in theirs.get_ciphers()}
    found = peer.cipher()
    assert found
    return numbers[found[0]]


# --- handshakes ---


@pytest.mark.parametrize("key_type", list(KeyType), ids=lambda kind: kind.value)
def test_every_kind_of_key_serves(meeting: Meeting, version: TLSVersion, key_type: KeyType) -> None:
    chain = meeting.lab.chain(key_type=key_type)
    if meeting.role == "client":
        mine, peer = meeting.meet(meeting.ours(version=version), meeting.theirs(chain))
        assert mine.getpeercert() == chain.leaf[0].buffer
    else:
        mine, peer = meeting.meet(meeting.ours(chain), meeting.theirs(version=version))
        assert peer.getpeercert(binary_form=True) == chain.leaf[0].buffer
    assert_talk(mine, peer)
    assert mine.negotiated_tls_version is version
    assert peer.version() == version.value


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_suite_serves(meeting: Meeting, suite: CipherSuite) -> None:
    capabilities = meeting.lab.implementation.capabilities
    assert suite in capabilities.cipher_suites
    if capabilities.cipher_choice != "exact" and suite >> 8 == 0x13:
        pytest.skip("cannot choose among the suites of TLS 1.3, as its capabilities say")
    kind = KeyType.RSA_2048 if "_RSA_" in suite.name else KeyType.ECDSA_P256
    chain = meeting.lab.chain(key_type=kind)
    if meeting.role == "client":
        ours, theirs = meeting.ours(ciphers=[suite]), meeting.theirs(chain)
    else:
        ours, theirs = meeting.ours(chain, ciphers=[suite]), meeting.theirs()
    mine, peer = meeting.meet(ours, theirs)
    assert_talk(mine, peer)
    assert mine.cipher() is suite
    assert number_of(theirs, peer) == suite


def test_chains_with_intermediates_are_verified(meeting: Meeting, version: TLSVersion) -> None:
    chain = meeting.lab.ca.intermediate().intermediate().issue(meeting.lab.host)
    if meeting.role == "client":
        mine, peer = meeting.meet(meeting.ours(version=version), meeting.theirs(chain))
        assert len(mine.info.peer_chain) == 3
    else:
        mine, peer = meeting.meet(meeting.ours(chain), meeting.theirs(version=version))
    assert_talk(mine, peer)


def test_a_protocol_is_negotiated(meeting: Meeting, version: TLSVersion) -> None:
    theirs = meeting.theirs(version=version)
    theirs.set_alpn_protocols(["unheard/1", "http/1.1"])
    ours = meeting.ours(inner_protocols=[NextProtocol.H2, NextProtocol.HTTP1])
    mine, peer = meeting.meet(ours, theirs)
    assert mine.negotiated_protocol() is NextProtocol.HTTP1
    assert peer.selected_alpn_protocol() == "http/1.1"
    assert_talk(mine, peer)


def test_without_protocols_on_one_side_there_is_none(meeting: Meeting) -> None:
    theirs = meeting.theirs()
    theirs.set_alpn_protocols(["h2"])
    mine, peer = meeting.meet(meeting.ours(), theirs)
    assert mine.negotiated_protocol() is None
    assert peer.selected_alpn_protocol() is None
    mine, peer = meeting.meet(meeting.ours(inner_protocols=[b"h2"]), meeting.theirs())
    assert mine.negotiated_protocol() is None
    assert peer.selected_alpn_protocol() is None


@only_our_server
def test_without_a_common_protocol_our_server_refuses(meeting: Meeting, serve: Any) -> None:
    if meeting.lab.implementation.name == "stdlib":
        pytest.skip("ssl's server goes on without one: see the kit's deviations/stdlib.toml")
    served = serve(meeting.ours(inner_protocols=[NextProtocol.HTTP1]))
    theirs = meeting.theirs()
    theirs.set_alpn_protocols(["unheard/1"])
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        meeting.dial(("127.0.0.1", served.port), theirs, meeting.lab.host)
    served.failed(1)


@only_our_server
def test_our_server_chooses_the_chain_by_the_name_asked_for(
    meeting: Meeting, version: TLSVersion
) -> None:
    lab = meeting.lab
    names = ("one.example", "*.two.example", "three.example")
    chains = {name: lab.chain(name) for name in names}
    ours, theirs = meeting.ours(*chains.values()), meeting.theirs(version=version)
    for asked, served in (
        ("three.example", "three.example"),
        ("sub.two.example", "*.two.example"),
        ("one.example", "one.example"),
    ):
        mine, peer = meeting.meet(ours, theirs, name=asked)
        assert mine.info.server_name == asked
        assert peer.getpeercert(binary_form=True) == chains[served].leaf[0].buffer


@only_our_client
@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("server.example", "server.example"),
        ("SERVER.example.", "server.example"),
        ("127.0.0.1", None),
        ("::1", None),
    ],
)
def test_our_client_asks_for_names_and_never_for_addresses(
    meeting: Meeting, name: str, sent: str | None
) -> None:
    asked = []
    theirs = meeting.theirs(meeting.lab.chain("server.example", "127.0.0.1", "::1"))
    theirs.sni_callback = lambda _socket, given, _context: asked.append(given)
    meeting.meet(meeting.ours(), theirs, name=name)
    assert asked == [sent]


# --- refusals ---


@only_our_server
def test_a_client_that_does_not_trust_our_server_tells_it_so(
    meeting: Meeting, version: TLSVersion, threads: ThreadPoolExecutor
) -> None:
    theirs = meeting.theirs(version=version, trust=CertificateAuthority())
    with meeting.ours().connect(("127.0.0.1", 0)) as listener:
        dialling = threads.submit(meeting.dial, listener.getsockname(), theirs, meeting.lab.host)
        listener.settimeout(PATIENCE)
        # Non-blocking, so that what the handshake raises is seen.
        listener.setblocking(False)
        while True:
            with suppress(WantReadError):
                accepted, _ = listener.accept()
                break
        with accepted:
            accepted.settimeout(PATIENCE)
            with pytest.raises(PeerRejectedCertificate) as caught:
                accepted.do_handshake()
        assert caught.value.alert is AlertDescription.unknown_ca
        assert isinstance(dialling.exception(), ssl.SSLCertVerificationError)


@only_our_server
def test_a_client_that_expects_another_host_is_only_counted(meeting: Meeting, serve: Any) -> None:
    served = serve(meeting.ours())
    with pytest.raises(ssl.SSLCertVerificationError):
        meeting.dial(("127.0.0.1", served.port), meeting.theirs(), "other.example")
    served.failed(1)
    peer = meeting.dial(("127.0.0.1", served.port), meeting.theirs(), meeting.lab.host)
    peer.sendall(b"echo")
    assert read(peer, 4) == b"echo"


@only_our_client
def test_our_client_tells_a_server_why_it_is_refused(meeting: Meeting, version: TLSVersion) -> None:
    theirs = meeting.theirs(version=version)
    for given, name, reason, told in (
        (
            {"trust_store": CertificateAuthority().trust_store()},
            meeting.lab.host,
            VerificationFailure.UNKNOWN_ISSUER,
            "(?i)alert.unknown.ca",
        ),
        ({}, "other.example", VerificationFailure.HOSTNAME_MISMATCH, "(?i)alert.bad.certificate"),
    ):
        accepting = meeting.accept(theirs)
        with pytest.raises(CertificateVerificationError) as caught:
            meeting.ours(**given).connect(
                meeting.listener(theirs).getsockname(), server_hostname=name, timeout=PATIENCE
            )
        assert caught.value.reason is reason
        if version is V13 and not isinstance(accepting.exception(), ssl.SSLError):
            pytest.fail("the server has finished its handshake")
        with pytest.raises(ssl.SSLError, match=told):
            accepting.result()


def test_without_a_common_version_neither_goes_on(meeting: Meeting, serve: Any) -> None:
    theirs = meeting.theirs(version=V12)
    ours = meeting.ours(version=V13)
    if meeting.role == "server":
        served = serve(ours)
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            meeting.dial(("127.0.0.1", served.port), theirs, meeting.lab.host)
        served.failed(1)
        return
    accepting = meeting.accept(theirs)
    with pytest.raises(TLSError) as caught:
        ours.connect(
            meeting.listener(theirs).getsockname(),
            server_hostname=meeting.lab.host,
            timeout=PATIENCE,
        )
    assert caught.value.alert is AlertDescription.protocol_version
    assert isinstance(accepting.exception(), ssl.SSLError)


# --- client certificates ---


@pytest.mark.parametrize("key_type", list(KeyType), ids=lambda kind: kind.value)
def test_both_can_be_authenticated(
    meeting: Meeting, version: TLSVersion, key_type: KeyType
) -> None:
    lab = meeting.lab
    client = lab.chain("client.example", key_type=key_type)
    if meeting.role == "client":
        theirs = meeting.theirs()
        theirs.verify_mode = ssl.CERT_REQUIRED
        mine, peer = meeting.meet(meeting.ours(version=version, certificate_chain=client), theirs)
        seen = peer.getpeercert(binary_form=True)
    else:
        theirs = meeting.theirs(client, version=version)
        mine, peer = meeting.meet(meeting.ours(trust_store=lab.ca.trust_store()), theirs)
        seen = mine.getpeercert()
    assert seen == client.leaf[0].buffer
    assert_talk(mine, peer)


@only_our_client
@pytest.mark.parametrize("kind", ["none", "unknown"])
def test_our_client_is_told_that_its_certificate_is_refused(
    meeting: Meeting, version: TLSVersion, kind: str
) -> None:
    chain = None if kind == "none" else CertificateAuthority().issue("client.example")
    theirs = meeting.theirs()
    theirs.verify_mode = ssl.CERT_REQUIRED
    accepting = meeting.accept(theirs)
    address = meeting.listener(theirs).getsockname()

    def use() -> None:
        context = meeting.ours(version=version, certificate_chain=chain)
        with context.connect(address, server_hostname=meeting.lab.host, timeout=PATIENCE) as mine:
            assert version is V13
            mine.recv(1)

    with pytest.raises(TLSError) as caught:
        use()
    assert isinstance(accepting.exception(), ssl.SSLError)
    if kind == "unknown":
        assert type(caught.value) is PeerRejectedCertificate
        assert caught.value.alert is AlertDescription.unknown_ca
    elif version is V13:
        assert type(caught.value) is PeerRejectedCertificate
        assert caught.value.alert is AlertDescription.certificate_required
    else:
        # OpenSSL follows RFC 5246 7.4.6.
        assert caught.value.alert is AlertDescription.handshake_failure


@only_our_server
@pytest.mark.parametrize("kind", ["none", "unknown"])
def test_our_server_tells_a_client_that_its_certificate_is_refused(
    meeting: Meeting, version: TLSVersion, kind: str, serve: Any
) -> None:
    chain = None if kind == "none" else CertificateAuthority().issue("client.example")
    served = serve(meeting.ours(trust_store=meeting.lab.ca.trust_store()))

    def use() -> None:
        theirs = meeting.theirs(chain, version=version)
        peer = meeting.dial(("127.0.0.1", served.port), theirs, meeting.lab.host)
        assert version is V13
        peer.recv(1)

    told = MISSING if kind == "none" else "(?i)unknown.ca"
    with pytest.raises(ssl.SSLError, match=told):
        use()
    served.failed(1)
    assert served.outcomes.empty()


# --- resumption ---


@only_our_server
def test_sessions_of_our_server_are_resumed(meeting: Meeting, version: TLSVersion) -> None:
    ours, theirs = meeting.ours(), meeting.theirs(version=version)
    session = None
    for resumed in (False, True, True):
        mine, peer = meeting.meet(ours, theirs, session=session)
        # Tickets of TLS 1.3 come with the first data.
        assert_talk(mine, peer)
        assert mine.info.resumed is peer.session_reused is resumed
        assert mine.info.server_name == meeting.lab.host
        session = peer.session


@only_our_server
def test_a_server_without_sessions_resumes_none(meeting: Meeting, version: TLSVersion) -> None:
    ours, theirs = meeting.ours(sessions=None), meeting.theirs(version=version)
    session = None
    for _ in range(2):
        mine, peer = meeting.meet(ours, theirs, session=session)
        assert_talk(mine, peer)
        assert mine.info.resumed is peer.session_reused is False
        session = peer.session
    assert not session.has_ticket


@only_our_server
def test_a_session_made_without_a_certificate_is_none_where_one_is_required(
    meeting: Meeting, version: TLSVersion, serve: Any
) -> None:
    theirs = meeting.theirs(version=version)
    mine, peer = meeting.meet(meeting.ours(), theirs)
    assert_talk(mine, peer)
    served = serve(meeting.ours(trust_store=meeting.lab.ca.trust_store()))

    def use() -> None:
        address = ("127.0.0.1", served.port)
        meeting.dial(address, theirs, meeting.lab.host, session=peer.session).recv(1)

    with pytest.raises(ssl.SSLError, match=MISSING):
        use()
    served.failed(1)


@only_our_client
def test_our_client_resumes_sessions(meeting: Meeting, version: TLSVersion) -> None:
    ours, theirs = meeting.ours(version=version), meeting.theirs()
    for resumed in (False, True, True):
        mine, peer = meeting.meet(ours, theirs)
        assert_talk(mine, peer)
        assert mine.info.resumed is peer.session_reused is resumed
        assert mine.getpeercert() == meeting.lab.chain().leaf[0].buffer


@only_our_client
def test_our_client_without_sessions_resumes_none(meeting: Meeting, version: TLSVersion) -> None:
    ours, theirs = meeting.ours(version=version, sessions=None), meeting.theirs()
    for _ in range(2):
        mine, peer = meeting.meet(ours, theirs)
        assert_talk(mine, peer)
        assert mine.info.resumed is peer.session_reused is False


# --- ends ---


def test_unwrap_is_answered_by_close(
    meeting: Meeting, version: TLSVersion, threads: ThreadPoolExecutor
) -> None:
    mine, peer = meeting.meet(meeting.ours(version=version), meeting.theirs())
    peer.sendall(b"last words")
    unwrapping = threads.submit(peer.unwrap)
    assert read(mine, 10) == b"last words"
    assert mine.recv(1) == mine.recv(1) == b""
    mine.close()
    with unwrapping.result() as plain:
        assert plain.recv(1) == b""


def test_close_is_answered_by_unwrap(
    meeting: Meeting, version: TLSVersion, threads: ThreadPoolExecutor
) -> None:
    mine, peer = meeting.meet(meeting.ours(version=version), meeting.theirs())
    mine.sendall(b"last words")
    closing = threads.submit(mine.close)
    assert read(peer, 10) == b"last words"
    # It would raise for a ragged end.
    assert peer.recv(1) == b""
    peer.unwrap().close()
    closing.result()
    assert mine.fileno() == -1


def test_a_forced_close_says_goodbye(meeting: Meeting, version: TLSVersion) -> None:
    mine, peer = meeting.meet(meeting.ours(version=version), meeting.theirs())
    mine.sendall(b"last words")
    mine.close(force=True)
    assert read(peer, 10) == b"last words"
    assert peer.recv(1) == b""


def test_an_end_without_goodbye_is_ragged(meeting: Meeting, version: TLSVersion) -> None:
    mine, peer = meeting.meet(meeting.ours(version=version), meeting.theirs())
    peer.sendall(b"cut sho")
    peer.shutdown(socket.SHUT_WR)
    assert read(mine, 7) == b"cut sho"
    for _ in range(2):
        with pytest.raises(RaggedEOF):
            mine.recv(1)


# --- data ---


def test_much_data_arrives_unchanged(
    meeting: Meeting, version: TLSVersion, threads: ThreadPoolExecutor, rng: Any
) -> None:
    mine, peer = meeting.meet(meeting.ours(version=version), meeting.theirs())
    data = rng.randbytes(5 * MIB + 3)
    expected = hashlib.sha256(data).digest()
    for sender, receiver in ((mine, peer), (peer, mine)):
        sending = threads.submit(sender.sendall, data)
        assert hashlib.sha256(read(receiver, len(data))).digest() == expected
        sending.result()


def test_many_small_messages_arrive_in_order(meeting: Meeting, version: TLSVersion) -> None:
    mine, peer = meeting.meet(meeting.ours(version=version), meeting.theirs())
    for number in range(300):
        message = b"%d" % number
        for sender, receiver in ((mine, peer), (peer, mine)):
            sender.sendall(message)
            assert read(receiver, len(message)) == message
