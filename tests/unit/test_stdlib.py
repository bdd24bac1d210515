"""The implementation on `ssl`: what is its own; the rest is held by the tests of all of them."""

from __future__ import annotations

import gc
import os
import ssl
import subprocess
import sys
import threading
import time
import warnings
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import (
    DEFAULT_CIPHER_LIST,
    AlertReceived,
    Certificate,
    CertificateVerificationError,
    CipherSuite,
    ClientAuthentication,
    ConfigurationError,
    NamedGroup,
    NextProtocol,
    PeerIncompatible,
    PeerMisbehaved,
    PeerRejectedCertificate,
    PrivateKey,
    SessionCache,
    SigningChain,
    TLSClientConfiguration,
    TLSError,
    TLSServerConfiguration,
    TLSVersion,
    TrustStore,
    WantReadError,
    insecure,
)
from polytls.streams import StreamSocket, wrap
from polytls.testing import CertificateAuthority, KeyType, Pair, tie
from polytls.testing.certificates import pem

STDLIB = polytls.implementation("stdlib")
HOST = "server.example"
CA = CertificateAuthority("stdlib tests")
CHAIN = CA.issue(HOST)
V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
MEMORY = hasattr(os, "memfd_create")

each_version = pytest.mark.parametrize("version", [V12, V13], ids=lambda each: each.value)


def client(**given: Any) -> Any:
    return STDLIB.client_context(TLSClientConfiguration(trust_store=CA.trust_store(), **given))


def server(*chains: SigningChain, **given: Any) -> Any:
    return STDLIB.server_context(TLSServerConfiguration(chains or [CHAIN], **given))


def only(version: TLSVersion) -> dict[str, TLSVersion]:
    return {"lowest_supported_version": version, "highest_supported_version": version}


def connected(a_client: Any = None, a_server: Any = None, name: str = HOST) -> Pair:
    a_client, a_server = a_client or client(), a_server or server()
    pair = tie(a_client.create_buffer(name), a_server.create_buffer())
    with pytest.raises(WantReadError):  # Takes in the tickets of TLS 1.3.
        pair.client.read(1)
    return pair


# --- being there ---


def test_the_module_ssl_is_imported_only_when_the_implementation_is_asked_for() -> None:
    program = (
        "import sys, polytls; assert 'ssl' not in sys.modules; "
        "polytls.implementation(); assert 'ssl' not in sys.modules; "
        "polytls.implementation('stdlib'); assert 'ssl' in sys.modules; "
        "assert 'polytls.streams' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_it_says_which_openssl_it_is() -> None:
    assert STDLIB.name == "stdlib"
    assert STDLIB.version == f"ssl, {' '.join(ssl.OPENSSL_VERSION.split()[:2])}"
    assert polytls.implementations()[0] == "rustls"
    assert "stdlib" in polytls.implementations()


def test_a_buffer_costs_less_than_a_millisecond() -> None:
    contexts = [client(), server(), server(sessions=None)]
    for context in contexts:
        arguments = [HOST] if context is contexts[0] else []
        costs = []
        for _ in range(50):
            began = time.perf_counter()
            context.create_buffer(*arguments)
            costs.append(time.perf_counter() - began)
        assert sorted(costs)[len(costs) // 2] < 0.001


# --- cipher suites ---

THREE = [0x1301, 0x1302, 0x1303]


def test_a_suite_that_has_no_name_here_can_be_asked_for_by_number() -> None:
    aria = 0xC05D  # TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384
    assert aria in STDLIB.capabilities.cipher_suites
    pair = connected(client(ciphers=[aria]), server(ciphers=[aria, 0xC02B]))
    assert pair.client.cipher() == pair.server.cipher() == aria
    assert pair.send(pair.client, b"data") == b"data"


def test_a_list_with_more_suites_of_tls_1_3_than_openssl_enables_is_narrowed() -> None:
    for context in (client(ciphers=DEFAULT_CIPHER_LIST), server(ciphers=DEFAULT_CIPHER_LIST)):
        assert set(context.effective_ciphers) < set(DEFAULT_CIPHER_LIST)
        assert set(THREE) < set(context.effective_ciphers)


@pytest.mark.skipif(
    hasattr(ssl.SSLContext, "set_ciphersuites"), reason="this Python can choose them"
)
@pytest.mark.parametrize("ciphers", [[0x1301], [0x1302, 0x1303], [0x1301, 0xC02B]])
def test_suites_of_tls_1_3_cannot_be_chosen_among(ciphers: list[int]) -> None:
    configuration = TLSClientConfiguration(ciphers=ciphers)
    with pytest.raises(ConfigurationError, match="set_ciphersuites") as caught:
        STDLIB.validate_config(configuration)
    assert caught.value.field == "ciphers"
    assert "TLSv1_2" in str(caught.value), "the way out is told"
    # Where TLS 1.3 is ruled out there is nothing to choose among.
    if 0xC02B in ciphers:
        STDLIB.validate_config(configuration.replace(highest_supported_version=V12))


@pytest.mark.parametrize(
    ("ciphers", "versions"), [([0xC02B], (V12,)), (THREE, (V13,)), ([0xC02B, *THREE], (V12, V13))]
)
def test_a_list_rules_out_the_version_that_it_has_no_suite_for(
    ciphers: list[int], versions: tuple[TLSVersion, ...]
) -> None:
    assert connected(client(ciphers=ciphers)).client.negotiated_tls_version is versions[-1]
    for version in (V12, V13):
        if version not in versions:
            pair = Pair(
                client(ciphers=ciphers).create_buffer(HOST), server(**only(version)).create_buffer()
            )
            with pytest.raises((PeerIncompatible, AlertReceived)):
                pair.handshake()


def test_no_suite_without_authentication_or_encryption_can_be_asked_for() -> None:
    wrong = [0x003B, 0x0034, 0x006C, 0xC006, 0xC010, 0x008D]  # NULL, anonymous, PSK.
    assert not set(wrong) & set(STDLIB.capabilities.cipher_suites)
    with pytest.raises(ConfigurationError):
        client(ciphers=wrong)


# --- groups ---


@each_version
def test_one_group_can_be_chosen(version: TLSVersion) -> None:
    # With an ECDSA key the group would have to suit its curve, too, in TLS 1.2 (RFC 8422 5.1).
    chain = CA.issue(HOST, key_type=KeyType.RSA_2048)
    for group in STDLIB.capabilities.groups:
        if version is V12 and "MLKEM" in group.name:
            continue  # Refused: test_groups_of_tls_1_3_leave_no_other_version in the kit.
        context = client(groups=[group], **only(version))
        assert context.effective_groups == (group,)
        pair = connected(context, server(chain, groups=[group]))
        assert pair.client.info.group is pair.server.info.group is group


@pytest.mark.skipif(hasattr(ssl.SSLContext, "set_groups"), reason="this Python can choose them")
def test_several_groups_cannot_be_chosen() -> None:
    configuration = TLSClientConfiguration(groups=["x25519", "P-256"])
    with pytest.raises(ConfigurationError, match="set_groups") as caught:
        STDLIB.validate_config(configuration)
    assert caught.value.field == "groups"
    # A group that OpenSSL does not have is none.
    narrowed = client(groups=["x25519", 0xFE00])
    assert narrowed.effective_groups == (NamedGroup.x25519,)


# --- application protocols ---


def test_protocols_are_ascii() -> None:
    with pytest.raises(ConfigurationError, match="ASCII") as caught:
        STDLIB.validate_config(TLSClientConfiguration(inner_protocols=[b"h\xff"]))
    assert caught.value.field == "inner_protocols"


def test_without_a_common_protocol_ssl_goes_on() -> None:
    pair = connected(client(inner_protocols=[b"imap"]), server(inner_protocols=[NextProtocol.H2]))
    assert pair.client.negotiated_protocol() is pair.server.negotiated_protocol() is None


# --- certificates, keys and trust ---


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - numbers


@pytest.mark.skipif(not MEMORY, reason="no files in memory here")
@pytest.mark.parametrize("how", ["memory", "pipe"])
def test_keys_are_handed_over_without_a_file(
    how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if how == "pipe":
        monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = descriptors()
    context = server()
    assert descriptors() == before
    assert not [*tmp_path.iterdir()]
    connected(a_server=context)


def test_what_no_pipe_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    others = [CA.certificate] * 3000
    before = descriptors()
    with pytest.raises(ConfigurationError, match="/dev/fd") as caught:
        server(SigningChain(CHAIN.leaf, others))
    assert caught.value.field == "certificate_chain"
    assert descriptors() == before


def test_a_leaf_does_not_find_the_key_of_another_chain() -> None:
    one, other = CA.issue("one.example"), CA.issue("two.example", key_type=KeyType.RSA_2048)
    crossed = [
        SigningChain((one.leaf[0], other.leaf[1])),
        SigningChain((other.leaf[0], one.leaf[1])),
    ]
    with pytest.raises(ConfigurationError, match="does not match the"):
        server(*crossed)


def test_an_ed25519_key_of_the_second_version_is_read() -> None:
    chain = CA.issue(HOST, key_type=KeyType.ED25519)
    key = chain.leaf[1].buffer
    algorithm = bytes.fromhex("300506032b6570")
    start = key.index(algorithm)
    private = key[start + len(algorithm) :][:36]
    content = b"\x02\x01\x01" + algorithm + private + b"\x81\x21\x00" + bytes(32)
    second = bytes([0x30, len(content)]) + content
    for key_data in (second, pem("PRIVATE KEY", second)):
        chain = SigningChain((chain.leaf[0], PrivateKey(key_data)))
        connected(a_server=server(chain))


def test_anchors_may_stand_in_a_folder_by_their_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(ConfigurationError, match="ca-certificates"):
        STDLIB.client_context(TLSClientConfiguration())
    # What OpenSSL calls it is up to the subject; under this name it is not found, but looked for.
    (tmp_path / "01234567.0").write_bytes(CA.certificate_pem)
    context = STDLIB.client_context(TLSClientConfiguration())
    pair = Pair(context.create_buffer(HOST), server().create_buffer())
    with pytest.raises(CertificateVerificationError):
        pair.handshake()


@each_version
def test_the_verified_path_is_told_on_every_python(version: TLSVersion) -> None:
    chain = CA.intermediate().issue(HOST)
    pair = connected(client(**only(version)), server(chain))
    expected = (chain.leaf[0].buffer, chain.chain[0].buffer, CA.certificate_der)
    assert pair.client.info.verified_chain == expected
    assert pair.server.info.verified_chain is None


@pytest.mark.parametrize("asked", [ClientAuthentication.OPTIONAL, ClientAuthentication.REQUIRED])
def test_certificates_that_are_asked_for_are_verified_or_it_is_refused(
    asked: ClientAuthentication,
) -> None:
    configuration = TLSServerConfiguration([CHAIN], client_authentication=asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", insecure.SecurityWarning)
        made = insecure.implementation("stdlib")
        nothing = insecure.InsecureConfiguration(True, True)
        with pytest.raises(ConfigurationError, match="without verifying") as caught:
            made.insecure_server_context(configuration, nothing)
    assert caught.value.field == "client_authentication"


# --- resumption ---


def by_ssl(
    a_server: Any, session: ssl.SSLSession | None, context: ssl.SSLContext
) -> tuple[ssl.SSLObject, Any]:
    """A handshake of Python's own `ssl` with one of our servers; both sides."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = context.wrap_bio(incoming, outgoing, server_hostname=HOST, session=session)
    ours = a_server.create_buffer()
    for _ in range(5):
        for step in (theirs.do_handshake, ours.do_handshake):
            with suppress(ssl.SSLWantReadError, WantReadError):
                step()
        if outgoing.pending:
            ours.process_incoming(outgoing.read())
        incoming.write(ours.process_outgoing(1 << 20))
    assert theirs.version()
    return theirs, ours


@pytest.mark.parametrize("sessions", [None, SessionCache()], ids=["off", "on"])
@pytest.mark.parametrize("capped", ["client", "server"])
def test_a_server_without_sessions_keeps_none_for_clients_without_tickets(
    sessions: SessionCache | None, capped: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_TICKET
    context.load_verify_locations(cadata=CA.certificate_der)
    if capped == "client":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        ours = server(sessions=sessions)
    else:
        ours = server(sessions=sessions, highest_supported_version=V12)
    first, _kept = by_ssl(ours, None, context)  # OpenSSL forgets it with a side that is dropped.
    again, _ = by_ssl(ours, first.session, context)
    assert again.session_reused is (sessions is not None)


@each_version
def test_without_sessions_clients_are_still_verified_and_names_chosen_by(
    version: TLSVersion,
) -> None:
    other = CA.issue("other.example")
    strict = server(CHAIN, other, sessions=None, trust_store=CA.trust_store())
    mine = CA.issue("client.example")
    pair = connected(client(certificate_chain=mine, **only(version)), strict, "other.example")
    assert pair.client.getpeercert() == other.leaf[0].buffer
    assert pair.server.getpeercert() == mine.leaf[0].buffer
    assert pair.server.info.server_name == "other.example"
    stranger = CertificateAuthority("stranger").issue("client.example")
    for certificate_chain in (stranger, None):
        refused = Pair(
            client(certificate_chain=certificate_chain, **only(version)).create_buffer(HOST),
            strict.create_buffer(),
        )
        with suppress(TLSError):  # Whichever side it falls to.
            refused.handshake()
        with pytest.raises(CertificateVerificationError):
            refused.server.do_handshake()


def test_a_resumed_client_knows_the_whole_chain_of_its_server() -> None:
    chain = CA.intermediate().issue(HOST)
    context, ours = client(), server(chain)
    seen = [connected(context, ours).client.info for _ in range(2)]
    assert [each.resumed for each in seen] == [False, True]
    assert seen[0].peer_chain == seen[1].peer_chain
    assert len(seen[0].peer_chain or ()) == 2


# --- alerts ---


def test_alerts_are_read_from_the_wire_where_they_are_in_the_clear() -> None:
    context = client()
    for number, kind in ((120, AlertReceived), (42, PeerRejectedCertificate), (200, AlertReceived)):
        buffer = context.create_buffer(HOST)
        with pytest.raises(WantReadError):
            buffer.do_handshake()
        buffer.process_incoming(bytes([21, 3, 3, 0, 2, 2, number]))
        for _ in range(2):
            with pytest.raises(AlertReceived) as caught:
                buffer.do_handshake()
            assert type(caught.value) is kind
            assert caught.value.alert == number


# --- what is written twice, here and in Rust, says the same ---

RUSTLS = polytls.implementation("rustls")


CUT = b"-----BEGIN CERTIFICATE-----\nAAAA\n"
NO_BASE64 = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"
ENCRYPTED = (
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
    b"\x30\x06\x30\x01\x00\x04\x01\x00",
)


@pytest.mark.parametrize(
    ("data", "role"),
    [
        *((data, role) for data in (b"garbage", CUT) for role in ("certificate", "key", "both")),
        *(
            (data, role)
            for data in (b"\x30\x82\x01", NO_BASE64)
            for role in ("certificate", "both")
        ),
        (b"\x30\x02\x05\x00junk", "certificate"),
        *((data, "key") for data in ENCRYPTED),
        (2 * pem("PRIVATE KEY", CHAIN.leaf[1].buffer), "key"),
        (pem("CERTIFICATE", CHAIN.leaf[0].buffer), "both"),
    ],
    ids=lambda each: ascii(each[:20]),
)
def test_what_is_no_certificate_or_key_is_refused_in_the_same_words(data: bytes, role: str) -> None:
    certificate, key = CHAIN.leaf
    leaf = {
        "certificate": (Certificate(data), key),
        "key": (certificate, PrivateKey(data)),
        "both": (Certificate(data), None),
    }[role]
    said = []
    for made in (STDLIB, RUSTLS):
        with pytest.raises(ConfigurationError) as caught:
            made.server_context(TLSServerConfiguration([SigningChain(leaf)]))
        said.append(str(caught.value).removeprefix(f"{made.name}: "))
    assert said[0] == said[1]


# --- streams ---


def test_a_socket_runs_over_another_tls_socket() -> None:
    with server().connect(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        accepted: list[Any] = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
        thread.start()
        outer = client().connect(address, server_hostname=HOST, timeout=5)
        thread.join()
    outer_server = accepted[0]
    inner = wrap(outer, client().create_buffer(HOST), timeout=5, do_handshake_on_connect=False)
    inner_server = wrap(outer_server, server().create_buffer(), do_handshake_on_connect=False)
    echo = threading.Thread(target=lambda: inner_server.sendall(inner_server.recv(100)))
    echo.start()
    inner.sendall(b"through two layers")
    assert inner.recv(100) == b"through two layers"
    echo.join()
    assert inner.cipher() in CipherSuite
    inner.close(force=True)
    assert inner_server.recv(1) == b""
    inner_server.close(force=True)
    assert outer.fileno() == outer_server.fileno() == -1


def test_trust_is_read_from_der_and_pem_alike() -> None:
    for store in (TrustStore(CA.certificate_der), TrustStore(CA.certificate_pem)):
        trusting = TLSClientConfiguration(trust_store=store)
        pair = connected(STDLIB.client_context(trusting))
        assert pair.client.getpeercert() == CHAIN.leaf[0].buffer


@pytest.mark.parametrize("role", ["client", "server"])
def test_answers_that_a_peer_asks_for_and_does_not_take_do_not_pile_up_for_ever(role: str) -> None:
    """OpenSSL answers each KeyUpdate; rustls, which is the peer here, has one answer at a time."""
    other = polytls.implementation("rustls")
    theirs, ours = (STDLIB, other) if role == "client" else (other, STDLIB)
    trusting = TLSClientConfiguration(trust_store=CA.trust_store())
    pair = tie(
        theirs.client_context(trusting).create_buffer(HOST),
        ours.server_context(TLSServerConfiguration([CHAIN])).create_buffer(),
    )
    pair.handshake()
    asked, asking = (pair.client, pair.server) if role == "client" else (pair.server, pair.client)

    def ask() -> None:
        asking.update_keys()  # type: ignore[attr-defined]
        asking.write(b"x")
        asked.process_incoming(asking.process_outgoing(1 << 20))
        assert asked.read(10) == b"x"

    for _ in range(1000):
        ask()

    def ask_for_ever() -> None:
        while True:
            ask()

    with pytest.raises(PeerMisbehaved, match="does not read them"):
        ask_for_ever()
    assert asked.outgoing_bytes_buffered() < 1 << 20


# --- what the session does to the object of `ssl` ---


class Watched:
    """An object of `ssl`, watched. `interrupted`: the calls that a handler raises in."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.looks = 0
        self.interrupted: dict[str, BaseException] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name == "session":
            self.looks += 1
        if name not in ("read", "write", "do_handshake"):
            return found

        def call(*given: Any) -> Any:
            done: Any = None
            with suppress(ssl.SSLWantReadError):
                done = found(*given)
            # As `ssl` does where a signal's handler has raised: what the call came to is lost.
            if name in self.interrupted:
                raise self.interrupted.pop(name)
            if done is None and name != "write":
                return found(*given)
            return done

        return call


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """The objects of all connections, as they are made."""
    made: list[Watched] = []
    wrap_bio = ssl.SSLContext._wrap_bio  # type: ignore[attr-defined]

    def wrap(*given: Any, **named: Any) -> Watched:
        made.append(Watched(wrap_bio(*given, **named)))
        return made[-1]

    monkeypatch.setattr(ssl.SSLContext, "_wrap_bio", wrap)
    return made


def test_a_peer_cannot_make_a_client_look_for_sessions_for_ever(watched: list[Watched]) -> None:
    """Each look loses memory before CPython 3.12.8 and 3.13.1 (gh-116810)."""
    server = RUSTLS.server_context(TLSServerConfiguration([CHAIN]))
    pair = tie(client().create_buffer(HOST), server.create_buffer())
    pair.handshake()
    assert watched[0].looks == 0
    for _ in range(50):
        pair.server.update_keys()
        pair.server.write(b"x")
        pair.client.process_incoming(pair.server.process_outgoing(1 << 20))
        assert pair.client.read(10) == b"x"
        with suppress(WantReadError):
            pair.client.read(10)
    assert 1 <= watched[0].looks <= 4


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), TimeoutError("of a handler")])
@each_version
def test_what_a_handler_raises_in_a_handshake_is_raised_once_and_it_goes_on(
    version: TLSVersion, raised: BaseException, watched: list[Watched]
) -> None:
    pair = Pair(client(**only(version)).create_buffer(HOST), server().create_buffer())
    watched[0].interrupted["do_handshake"] = raised
    with pytest.raises(type(raised)) as caught:
        pair.client.do_handshake()
    assert caught.value is raised
    pair.handshake()
    assert pair.send(pair.client, b"data") == b"data"


def test_what_was_written_when_a_handler_raised_is_sent(watched: list[Watched]) -> None:
    pair = connected()
    for call in ("write", "seal"):
        watched[0].interrupted["write"] = raised = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt) as caught:
            getattr(pair.client, call)(b"data")
        assert caught.value is raised
        pair.server.process_incoming(pair.client.process_outgoing(1 << 20))
        assert pair.server.read(100) == b"data"


@pytest.mark.parametrize("call", ["read", "open", "shutdown"])
def test_a_read_that_a_handler_cuts_short_ends_the_connection(
    call: str, watched: list[Watched]
) -> None:
    pair = connected()
    pair.server.write(b"data")
    watched[0].interrupted["read"] = raised = KeyboardInterrupt()
    pair.client.process_incoming(pair.server.process_outgoing(1 << 20))
    given = {"read": [100], "open": [None, 100], "shutdown": []}[call]
    with pytest.raises(KeyboardInterrupt) as caught:
        getattr(pair.client, call)(*given)
    assert caught.value is raised
    for again in (lambda: pair.client.read(100), lambda: pair.client.write(b"x")):
        with pytest.raises(TLSError, match="a signal handler raised") as later:
            again()
        assert later.value.__cause__ is raised


def test_ctrl_c_in_the_handshake_of_a_client_ends_accept_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[Watched] = []
    wrap_bio = ssl.SSLContext._wrap_bio  # type: ignore[attr-defined]

    def wrap(context: Any, *given: Any, **named: Any) -> Watched:
        made = Watched(wrap_bio(context, *given, **named))
        if given[2]:
            if not served:
                made.interrupted["do_handshake"] = KeyboardInterrupt()
            served.append(made)
        return made

    monkeypatch.setattr(ssl.SSLContext, "_wrap_bio", wrap)
    told: list[bytes] = []

    def dial() -> None:
        with client().connect(address, server_hostname=HOST, timeout=5) as made:
            told.append(made.recv(10))

    with server().connect(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        dialling = threading.Thread(target=dial)
        dialling.start()
        with pytest.raises(KeyboardInterrupt):
            listener.accept()
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"served")
        dialling.join()
    assert told == [b"served"]
    assert len(served) == 1


def test_its_sockets_are_the_native_ones_without_what_ssl_cannot_do() -> None:
    context = server()
    with context.connect(("127.0.0.1", 0)) as listener:
        assert type(listener) is StreamSocket
        for absent in ("export_keying_material", "update_keys", "read_early_data"):
            assert not hasattr(listener, absent)
            assert not hasattr(context.create_buffer(), absent)


def test_a_server_without_tickets_and_its_connections_are_forgotten() -> None:
    def choices() -> int:
        gc.collect()
        return sum(type(each).__name__ == "Choice" for each in gc.get_objects())

    before = choices()
    context = server(sessions=None)
    pair = connected(a_server=context)
    made = weakref.ref(context)
    assert choices() == before + 1
    del context, pair
    assert choices() == before
    assert made() is None
