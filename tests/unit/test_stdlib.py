"""The implementation on `ssl`: what is its own; the rest is held by the tests of all of them."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import (
    DEFAULT_CIPHER_LIST,
    AlertDescription,
    AlertReceived,
    Certificate,
    CertificateVerificationError,
    CipherSuite,
    ClientAuthentication,
    ConfigurationError,
    NamedGroup,
    NextProtocol,
    NotTLSError,
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
    VerificationFailure,
    WantReadError,
    insecure,
)
from polytls.certificates import trust_data
from polytls.engines.stdlib import credentials, encodings, openssl_names
from polytls.engines.stdlib.errors import blame
from polytls.engines.stdlib.records import (
    MALFORMED,
    front,
    is_only_hello,
    last_alert,
    plain_alert,
)
from polytls.engines.stdlib.verdict import Judge
from polytls.streams import wrap
from polytls.testing import CertificateAuthority, KeyType, Pair, tie

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
    assert polytls.implementations()[:2] == ("rustls", "stdlib")


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
    with pytest.raises(ConfigurationError, match="does not belong to the certificate"):
        server(*crossed)


def test_an_ed25519_key_of_the_second_version_is_read() -> None:
    chain = CA.issue(HOST, key_type=KeyType.ED25519)
    key = chain.leaf[1].buffer
    algorithm = bytes.fromhex("300506032b6570")
    start = key.index(algorithm)
    private = key[start + len(algorithm) :][:36]
    content = b"\x02\x01\x01" + algorithm + private + b"\x81\x21\x00" + bytes(32)
    second = bytes([0x30, len(content)]) + content
    for key_data in (second, encodings.pem("PRIVATE KEY", second)):
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
def test_a_server_without_sessions_keeps_none_for_clients_without_tickets(
    sessions: SessionCache | None,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    context.load_verify_locations(cadata=CA.certificate_der)
    ours = server(sessions=sessions)
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


# --- errors, from numbers and constants alone ---


@pytest.mark.parametrize("goes_on", [False, True], ids=["sends", "goes on"])
@pytest.mark.parametrize("role", ["client", "server"])
@each_version
def test_a_judgement_that_is_interrupted_is_none(
    version: TLSVersion, role: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge.judge
    judged_by = {"client": "server", "server": "client"}[role]

    def interrupted(self: Judge, *given: Any) -> Any:
        if self.role == judged_by:
            raise KeyboardInterrupt  # As a signal's handler does anywhere.
        return judge(self, *given)

    monkeypatch.setattr(Judge, "judge", interrupted)
    a_client = client(certificate_chain=CA.issue("client.example"), **only(version)).create_buffer(
        HOST
    )
    asked = {"trust_store": CA.trust_store()} if role == "server" else {}
    a_server = server(**asked).create_buffer()
    judging, judged = (a_client, a_server) if role == "client" else (a_server, a_client)
    while True:
        with suppress(WantReadError):
            judged.do_handshake()
        if sent := judged.process_outgoing(1 << 20):
            judging.process_incoming(sent)
        try:
            judging.do_handshake()
        except WantReadError:
            judged.process_incoming(judging.process_outgoing(1 << 20))
        except KeyboardInterrupt:
            break
    if goes_on:
        with pytest.raises(CertificateVerificationError, match="KeyboardInterrupt"):
            judging.do_handshake()
    assert judging.process_outgoing(1 << 20) == b""
    assert judging.info.version is None
    for call in (judging.do_handshake, lambda: judging.write(b"data"), lambda: judging.read(1)):
        with pytest.raises(CertificateVerificationError, match="KeyboardInterrupt"):
            call()
    assert judging.process_outgoing(1 << 20) == b""


def ssl_error(kind: type[ssl.SSLError] = ssl.SSLError, **facts: Any) -> ssl.SSLError:
    error = kind(1, "words that nobody should read")
    for name, value in {"reason": None, **facts}.items():
        setattr(error, name, value)
    return error


def test_every_alert_that_openssl_names_is_told_by_its_number() -> None:
    numbers = {alert.value for alert in openssl_names.ALERTS.values()}
    assert numbers == {each.value for each in AlertDescription} - {0, 121}
    for reason, alert in openssl_names.ALERTS.items():
        error = blame(ssl_error(reason=reason))
        assert isinstance(error, AlertReceived)
        assert error.alert is alert


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


def test_the_same_peer_gets_the_same_error_from_every_reason_of_verification() -> None:
    assert set(openssl_names.REASONS.values()) == set(VerificationFailure) - {
        VerificationFailure.NO_CERTIFICATE,
        VerificationFailure.OTHER,
        VerificationFailure.PIN_MISMATCH,
        VerificationFailure.REFUSED_BY_VERIFIER,
    }
    # The system's certificates are OpenSSL's: the reason is, too.
    judge = Judge("server", trust_data(None, "stdlib"), None, checks_hostname=True)
    for code in range(120):
        error = blame(
            ssl_error(ssl.SSLCertVerificationError, verify_code=code, verify_message="said"),
            hostname=HOST,
            chain=[CHAIN.leaf[0].buffer or b""],
            judge=judge,
        )
        assert type(error) is CertificateVerificationError
        assert error.reason is openssl_names.REASONS.get(code, VerificationFailure.OTHER)
        assert error.hostname == HOST
        assert error.chain == (CHAIN.leaf[0].buffer,)
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("NO_SHARED_CIPHER", PeerIncompatible),
        ("BAD_SIGNATURE", PeerMisbehaved),
        ("SOMETHING_NEW", PeerMisbehaved),
        (None, PeerMisbehaved),
        ("INTERNAL_ERROR", TLSError),
    ],
)
def test_other_reasons_say_whose_fault_it_was(reason: str | None, kind: type[TLSError]) -> None:
    assert type(blame(ssl_error(reason=reason))) is kind


def test_a_client_without_a_certificate_is_told_of_by_the_judge() -> None:
    judge = Judge("client", trust_data(CA.trust_store(), "stdlib"), None, checks_hostname=False)
    error = blame(ssl_error(reason="PEER_DID_NOT_RETURN_A_CERTIFICATE"), judge=judge)
    assert type(error) is CertificateVerificationError
    assert error.reason is VerificationFailure.NO_CERTIFICATE


# --- what is written twice, here and in Rust, says the same ---

RUSTLS = polytls.implementation("rustls")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"GET / HTTP/1.1\r\n",
        b"220 mail.example ESMTP\r\n",
        b"* OK ready\r\n",
        b"+OK ready\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"\0\1\2\3\4\5\6\7\x08",
        b"\x17\x02\x00\x00\x00",
    ],
    ids=lambda data: ascii(data[:8]),
)
def test_what_is_no_tls_is_described_in_the_same_words(data: bytes) -> None:
    errors = []
    for made in (STDLIB, RUSTLS):
        context = made.client_context(TLSClientConfiguration(trust_store=CA.trust_store()))
        buffer = context.create_buffer(HOST)
        with pytest.raises(WantReadError):
            buffer.do_handshake()
        buffer.process_incoming(data)
        with pytest.raises(NotTLSError) as caught:
            buffer.do_handshake()
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


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
        (2 * encodings.pem("PRIVATE KEY", CHAIN.leaf[1].buffer), "key"),
        (encodings.pem("CERTIFICATE", CHAIN.leaf[0].buffer), "both"),
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


def test_records_are_told_by_their_header() -> None:
    for data, expected in (
        (b"\x16\x03\x01\x00", 0),
        (b"\x16\x03\x01\x00\x01", 0),
        (b"\x16\x03\x01\x00\x01\x09\x09", 6),
        (b"\x16\x02\x01\x00\x01\x09", MALFORMED),
        (b"\x13\x03\x01\x00\x01\x09", MALFORMED),
        (b"\x17\x03\x03\x48\x00", 0),
        (b"\x17\x03\x03\x48\x01", MALFORMED),
    ):
        assert front(bytearray(b"before" + data), 6) == expected
    assert plain_alert(b"\x15\x03\x03\x00\x02\x02\x28") == 40
    assert plain_alert(b"\x15\x03\x03\x00\x02\x01\x28") is None, "a warning"
    assert plain_alert(b"\x15\x03\x03\x00\x1a" + bytes(26)) is None, "an encrypted one"


def record(kind: int, content: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(content).to_bytes(2, "big") + content


def message(kind: int, length: int) -> bytes:
    return bytes([kind]) + length.to_bytes(3, "big") + bytes(length)


@pytest.mark.parametrize(
    ("flight", "hello"),
    [
        ([], True),
        ([record(22, message(1, 500))], True),
        ([record(20, b"\x01"), record(22, message(1, 500))], True),
        ([record(22, message(1, 20_000)[:16384]), record(22, message(1, 20_000)[16384:])], True),
        ([record(21, b"\x02\x28")], True),
        ([record(22, message(16, 32))], False),
        ([record(22, message(11, 900) + message(16, 32))], False),
        ([record(22, message(1, 500) + message(16, 32))], False),
        ([record(22, message(1, 500)), record(22, message(11, 900))], False),
        ([record(22, message(1, 500)[:-1])], False),
        ([record(22, message(1, 500)), record(23, bytes(40))], False),
        ([record(20, b"\x01"), record(23, bytes(74))], False),
    ],
)
def test_what_leaves_before_a_verdict_is_client_hello(flight: list[bytes], hello: bool) -> None:
    assert is_only_hello(b"".join(flight)) is hello


def test_of_a_flight_that_failed_its_alert_leaves_alone() -> None:
    finished, plain, sealed = record(23, bytes(53)), record(21, b"\x02\x28"), record(23, bytes(19))
    for flight, expected in (
        ([], b""),
        ([finished], b""),
        ([record(22, message(16, 32)), record(20, b"\x01"), plain], plain),
        ([record(20, b"\x01"), finished, sealed], sealed),
        ([sealed, finished], b""),
    ):
        assert last_alert(b"".join(flight)) == expected


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
        assert credentials.trust_of(store).given == (CA.certificate_der,)


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

    with pytest.raises(PeerMisbehaved, match="does not take them"):
        ask_for_ever()
    assert asked.outgoing_bytes_buffered() < 1 << 20


def test_a_peer_cannot_make_a_client_look_for_sessions_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each look loses memory before CPython 3.12.8 and 3.13.1 (gh-116810)."""
    looks = 0
    session = ssl.SSLObject.session.fget  # type: ignore[attr-defined]

    def counted(tls: ssl.SSLObject) -> Any:
        nonlocal looks
        looks += 1
        return session(tls)

    monkeypatch.setattr(ssl.SSLObject, "session", property(counted))
    server = polytls.implementation("rustls").server_context(TLSServerConfiguration([CHAIN]))
    client = STDLIB.client_context(TLSClientConfiguration(trust_store=CA.trust_store()))
    pair = tie(client.create_buffer(HOST), server.create_buffer())
    pair.handshake()
    assert looks == 0
    for _ in range(50):
        pair.server.update_keys()  # type: ignore[attr-defined]
        pair.server.write(b"x")
        pair.client.process_incoming(pair.server.process_outgoing(1 << 20))
        assert pair.client.read(10) == b"x"
        with suppress(WantReadError):
            pair.client.read(10)
    assert 1 <= looks <= 4
