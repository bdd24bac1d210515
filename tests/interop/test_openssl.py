"""OpenSSL's `s_client` and `s_server` as peers of our sockets."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    AlertDescription,
    AlertReceived,
    Certificate,
    CertificateVerificationError,
    CipherSuite,
    NamedGroup,
    NextProtocol,
    OCSPResponse,
    PeerIncompatible,
    PeerRejectedCertificate,
    PrivateKey,
    RaggedEOF,
    SignatureScheme,
    SigningChain,
    TLSVersion,
    TrustStore,
    VerificationFailure,
)
from polytls.certificates import read as read_certificate
from polytls.testing import KeyType
from polytls.testing.certificates import pem

pytestmark = pytest.mark.peers

#: What nothing in these tests may take, in seconds.
PATIENCE = 20.0
V12, V13 = TLSVersion.TLSv1_2, TLSVersion.TLSv1_3
ONLY = {V12: "-tls1_2", V13: "-tls1_3"}
#: Each suite, and what OpenSSL calls it.
SUITES = {
    CipherSuite.TLS_AES_128_GCM_SHA256: "TLS_AES_128_GCM_SHA256",
    CipherSuite.TLS_AES_256_GCM_SHA384: "TLS_AES_256_GCM_SHA384",
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256: "TLS_CHACHA20_POLY1305_SHA256",
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256",
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: "ECDHE-ECDSA-AES256-GCM-SHA384",
    CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256",
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: "ECDHE-RSA-AES256-GCM-SHA384",
    CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-RSA-CHACHA20-POLY1305",
}
each_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
each_key_type = pytest.mark.parametrize("key_type", list(KeyType), ids=lambda kind: kind.value)

Starter = Callable[..., Any]


def choice_of(suite: CipherSuite) -> tuple[str, ...]:
    """The options that leave OpenSSL this suite alone."""
    name = SUITES[suite]
    return ("-ciphersuites", name) if suite >> 8 == 0x13 else ("-tls1_2", "-cipher", name)


def key_type_for(suite: CipherSuite) -> KeyType:
    return KeyType.RSA_2048 if "_RSA_" in suite.name else KeyType.ECDSA_P256


@pytest.fixture
def connect(lab: Any) -> Iterator[Starter]:
    """A function that connects a client of ours; it is closed with the test."""
    with ExitStack() as closing:

        def connect(port: int, context: Any = None, **given: Any) -> Any:
            client = (context or lab.client(**given)).connect(
                ("127.0.0.1", port), server_hostname=lab.host, timeout=PATIENCE
            )
            return closing.enter_context(client)

        yield connect


def read(side: Any, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = side.recv(length - len(data))
        assert piece
        data += piece
    return bytes(data)


def assert_talk(client: Any, server: Any, word: bytes = b"first") -> None:
    """Our client and `s_server` exchange a line each."""
    client.sendall(b"from us, " + word + b"\n")
    server.expect(b"from us, " + word)
    answer = b"from openssl, " + word + b"\n"
    server.write(answer)
    assert read(client, len(answer)) == answer


def assert_echo(client: Any, word: bytes = b"first") -> None:
    """`s_client` gets back from our server what it says."""
    before = len(client.output)
    client.write(b"say " + word + b"\n")
    client.expect(b"say " + word, after=before)


# --- keying material ---


def test_our_client_exports_what_openssls_server_exports(
    s_server: Starter, connect: Starter, version: TLSVersion
) -> None:
    server, port = s_server(ONLY[version], *KEYING)
    client = connect(port)
    assert_talk(client, server)
    assert server.expect(EXPORTED)[1] == exported(client)


def test_our_server_exports_what_openssls_client_exports(
    lab: Any, serve: Starter, s_client: Starter, version: TLSVersion
) -> None:
    served = serve(lab.server(), lambda connection: (exported(connection), connection.recv(1)))
    client = s_client(served.port, ONLY[version], *KEYING)
    printed = client.expect(EXPORTED)[1]
    client.write(b"x\n")
    assert served.outcome()[0] == printed


#: What OpenSSL's programs export, and how they print it.
KEYING = ("-keymatexport", "EXPORTER-interop", "-keymatexportlen", "40")
EXPORTED = rb"Keying material: ([0-9A-F]{80})"


def exported(side: Any) -> bytes:
    return bytes(side.export_keying_material("EXPORTER-interop", None, 40).hex().upper(), "ascii")


# --- handshakes ---


@each_key_type
def test_our_client_with_every_version_and_kind_of_key(
    lab: Any, s_server: Starter, connect: Starter, version: TLSVersion, key_type: KeyType
) -> None:
    chain = lab.chain(key_type=key_type)
    server, port = s_server(ONLY[version], chain=chain)
    client = connect(port)
    assert client.negotiated_tls_version is version
    assert client.getpeercert() == chain.leaf[0].buffer
    assert_talk(client, server)


@each_key_type
def test_our_server_with_every_version_and_kind_of_key(
    lab: Any, serve: Starter, s_client: Starter, version: TLSVersion, key_type: KeyType
) -> None:
    served = serve(lab.server(lab.chain(key_type=key_type)))
    client = s_client(served.port, ONLY[version])
    client.expect(rb"New, TLSv1\.\d, Cipher is")
    client.expect(rb"Verif\w+( return code)?: (0 \(ok\)|OK)")
    assert_echo(client)
    client.write(b"Q\n")
    assert client.wait() == 0
    info = served.outcome()
    assert info.version is version
    assert info.server_name == lab.host


@each_suite
def test_our_client_with_every_suite(
    lab: Any, s_server: Starter, connect: Starter, suite: CipherSuite
) -> None:
    server, port = s_server(*choice_of(suite), chain=lab.chain(key_type=key_type_for(suite)))
    ciphers = {"version": V13} if suite >> 8 == 0x13 else {}
    client = connect(port, **ciphers)
    assert client.cipher() is suite
    assert_talk(client, server)


@each_suite
def test_our_server_with_every_suite(
    lab: Any, serve: Starter, s_client: Starter, suite: CipherSuite
) -> None:
    served = serve(lab.server(lab.chain(key_type=key_type_for(suite))))
    client = s_client(served.port, *choice_of(suite))
    client.expect(rb"Cipher is " + SUITES[suite].encode() + rb"\r?\n")
    assert_echo(client)
    client.write(b"Q\n")
    assert served.outcome().cipher is suite


def test_our_client_negotiates_a_protocol(
    s_server: Starter, connect: Starter, version: TLSVersion
) -> None:
    server, port = s_server(ONLY[version], "-alpn", "unheard/1,http/1.1")
    client = connect(port, inner_protocols=[NextProtocol.H2, NextProtocol.HTTP1])
    assert client.negotiated_protocol() is NextProtocol.HTTP1
    server.expect(rb"ALPN protocols selected: http/1\.1")
    assert_talk(client, server)


def test_our_server_negotiates_a_protocol(
    lab: Any, serve: Starter, s_client: Starter, version: TLSVersion
) -> None:
    served = serve(lab.server(inner_protocols=[NextProtocol.H2]))
    client = s_client(served.port, ONLY[version], "-alpn", "unheard/1,h2")
    client.expect(b"ALPN protocol: h2")
    client.write(b"Q\n")
    assert served.outcome().alpn is NextProtocol.H2
    stranger = s_client(served.port, ONLY[version], "-alpn", "unheard/1")
    stranger.expect(b"(?i)no application protocol")
    assert stranger.wait() != 0
    served.failed(1)


# --- OCSP stapling ---


@pytest.fixture
def respond(lab: Any, tmp_path: Path) -> Callable[..., Path]:
    """A function that has `openssl ocsp` answer for `lab.ca`; it returns the response's file."""
    if not lab.implementation.capabilities.staple_verification:
        pytest.skip("does not report staples, and does not staple")

    def run(chain: SigningChain, status: str = "V", *options: str) -> Path:
        certificate = chain.leaf[0].buffer or b""
        key = lab.ca.identity.leaf[1].buffer
        (tmp_path / "issuer.pem").write_bytes(lab.ca.certificate_pem)
        (tmp_path / "issuer.key").write_bytes(pem("PRIVATE KEY", key))
        (tmp_path / "leaf.pem").write_bytes(pem("CERTIFICATE", certificate))
        number = f"{read_certificate(certificate).serial_number:X}"
        revoked = "260101000000Z,keyCompromise" if status == "R" else ""
        serial_number = number.zfill(len(number) + len(number) % 2)
        line = (status, "390101000000Z", revoked, serial_number, "unknown", "/CN=leaf")
        (tmp_path / "index.txt").write_text("\t".join(line) + "\n")
        command = (
            "openssl ocsp -index index.txt -rsigner issuer.pem -rkey issuer.key -CA issuer.pem"
        )
        question = "-issuer issuer.pem -cert leaf.pem -respout response.der -ndays 1"
        subprocess.run(
            [*command.split(), *question.split(), *options],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        return tmp_path / "response.der"

    return run


@pytest.mark.parametrize("options", [(), ("-resp_key_id",)], ids=["by name", "by key"])
def test_our_client_verifies_what_openssls_server_staples(
    lab: Any,
    s_server: Starter,
    connect: Starter,
    respond: Callable[..., Path],
    version: TLSVersion,
    options: tuple[str, ...],
) -> None:
    chain = lab.chain()
    response = respond(chain, "V", *options)
    server, port = s_server(ONLY[version], "-status_file", str(response), chain=chain)
    client = connect(port, require_staple=True)
    assert client.info.staple.der == response.read_bytes()
    assert client.info.staple.signer == f"CN={lab.ca.common_name}"
    assert_talk(client, server)


def test_our_client_refuses_what_openssls_responder_says_is_revoked(
    lab: Any, s_server: Starter, connect: Starter, respond: Callable[..., Path], version: TLSVersion
) -> None:
    chain = lab.chain()
    response = respond(chain, "R")
    server, port = s_server(ONLY[version], "-status_file", str(response), chain=chain)
    with pytest.raises(CertificateVerificationError, match="keyCompromise") as refused:
        connect(port)
    assert refused.value.reason is VerificationFailure.REVOKED
    server.expect(b"(certificate revoked|bad certificate status response)")


def test_our_client_does_not_count_a_stapled_error_of_a_responder(
    lab: Any, s_server: Starter, connect: Starter, tmp_path: Path, version: TLSVersion
) -> None:
    try_later = b"\x30\x03\x0a\x01\x03"
    (tmp_path / "response.der").write_bytes(try_later)
    given = (ONLY[version], "-status_file", str(tmp_path / "response.der"))
    server, port = s_server(*given, chain=lab.chain())
    client = connect(port)
    assert client.info.staple is None
    assert client.info.ocsp_response == try_later
    assert_talk(client, server)


def test_our_server_staples_for_openssls_client(
    lab: Any, serve: Starter, s_client: Starter, respond: Callable[..., Path], version: TLSVersion
) -> None:
    chain = lab.chain()
    response = OCSPResponse.from_file(respond(chain))
    served = serve(lab.server(SigningChain(chain.leaf, chain.chain, ocsp_response=response)))
    client = s_client(served.port, ONLY[version], "-status")
    client.expect(b"OCSP Response Status: successful")
    client.expect(b"Cert Status: good")
    assert_echo(client)
    client.write(b"Q\n")
    served.outcome()


# --- records ---


def _sends_much(connection: Any) -> None:
    connection.sendall(b"x" * 20_000 + b"the end\n")
    connection.recv(1)


@pytest.mark.parametrize(
    ("asked", "limit"), [(512, None), (4_096, None), (512, 1_000), (2_048, 1_000)]
)
@pytest.mark.parametrize("version", [V12, V13])
def test_a_client_may_ask_for_short_records(
    lab: Any,
    serve: Starter,
    s_client: Starter,
    version: TLSVersion,
    asked: int,
    limit: int | None,
) -> None:
    """max_fragment_length (RFC 6066 4): OpenSSL obeys it, and our own limit counts as well."""
    implementation = lab.implementation
    if limit is not None and not implementation.capabilities.max_fragment:
        pytest.skip("no max_fragment")
    given = {} if limit is None else {"max_fragment": limit}
    served = serve(lab.server(**given), _sends_much)
    client = s_client(served.port, ONLY[version], "-maxfraglen", str(asked), "-msg")
    client.expect(rb"the end\n")
    headers = re.findall(
        rb"<<<[^\n]*\[length 0005\]\n +17 03 03 ([0-9a-f]{2}) ([0-9a-f]{2})", client.output
    )
    longest = max(int(high + low, 16) for high, low in headers)
    obeyed = asked if implementation.name != "rustls" else 16_384
    expected = min(obeyed, limit or obeyed)
    # What sealing adds: 17 bytes (TLS 1.3), 16 or 24.
    assert expected < longest <= expected + 24


# --- groups ---


def test_our_client_answers_a_hello_retry_request(s_server: Starter, connect: Starter) -> None:
    # Our first key share is of another group, so OpenSSL asks for one of this (RFC 8446 4.1.4).
    server, port = s_server("-groups", "P-384", "-msg")
    client = connect(port)
    assert client.info.group is NamedGroup.secp384r1
    assert_talk(client, server)
    assert server.output.count(b"ClientHello") == 2


def test_our_server_asks_again_for_a_key_share(lab: Any, serve: Starter, s_client: Starter) -> None:
    served = serve(lab.server(groups=[NamedGroup.secp384r1]))
    client = s_client(served.port, "-tls1_3", "-groups", "X25519:P-384", "-msg")
    client.expect(b"Server Temp Key: .*secp384r1")
    assert_echo(client)
    assert client.output.count(b"ClientHello") == 2
    client.write(b"Q\n")
    assert served.outcome().group is NamedGroup.secp384r1


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("X25519", NamedGroup.x25519),
        ("P-256", NamedGroup.secp256r1),
        ("P-384", NamedGroup.secp384r1),
    ],
)
def test_every_common_group_serves(
    lab: Any,
    s_server: Starter,
    s_client: Starter,
    serve: Starter,
    connect: Starter,
    version: TLSVersion,
    theirs: str,
    ours: NamedGroup,
) -> None:
    # In TLS 1.2 the groups are those of ECDSA certificates as well (RFC 8422 5.1.1).
    chain = lab.chain(key_type=KeyType.RSA_2048)
    server, port = s_server(ONLY[version], "-groups", theirs, chain=chain)
    client = connect(port)
    assert client.info.group is ours
    assert_talk(client, server)
    served = serve(lab.server(chain))
    other = s_client(served.port, ONLY[version], "-groups", theirs)
    assert_echo(other)
    other.write(b"Q\n")
    assert served.outcome().group is ours


# --- client certificates ---


@each_key_type
def test_our_client_presents_its_certificate(
    lab: Any,
    ca_file: str,
    s_server: Starter,
    connect: Starter,
    version: TLSVersion,
    key_type: KeyType,
) -> None:
    server, port = s_server(ONLY[version], "-Verify", "2", "-CAfile", ca_file)
    mine = lab.ca.intermediate().issue(
        "client.example", common_name="our client", key_type=key_type
    )
    client = connect(port, certificate_chain=mine)
    assert_talk(client, server)
    server.expect(rb"subject=CN = our client")
    assert b"error" not in server.output.lower()


class Command:
    """A signer that has the program `openssl` sign."""

    algorithms = (SignatureScheme.ecdsa_secp521r1_sha512,)

    def __init__(self, key: Path) -> None:
        self._key = str(key)
        self.public_key = self._run("pkey", "-in", self._key, "-pubout", "-outform", "DER")

    def sign(self, data: bytes, algorithm: SignatureScheme) -> bytes:
        assert algorithm is self.algorithms[0]
        return self._run("dgst", "-sha512", "-sign", self._key, data=data)

    @staticmethod
    def _run(*arguments: str, data: bytes = b"") -> bytes:
        command = ["openssl", *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def test_a_program_signs_with_a_key_on_p_521(lab: Any, tmp_path: Path, version: TLSVersion) -> None:
    if "signer" not in lab.implementation.capabilities.key_sources:
        pytest.skip("takes no signers")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-noenc", "-days", "1")
    subprocess.run(
        [
            *("openssl", "req", "-x509", *made, "-subj", "/CN=program", "-keyout", str(key)),
            *("-addext", f"subjectAltName=DNS:{lab.host}", "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    leaf = Certificate.from_file(certificate)
    chain = SigningChain((leaf, PrivateKey.from_signer(Command(key))))
    trust = TrustStore.from_file(certificate)
    lab.connect(
        lab.client(version=version, trust_store=trust, certificate_chain=chain),
        lab.server(chain, version=version, trust_store=trust),
    )


def test_our_client_without_a_certificate_is_told_that_one_is_required(
    ca_file: str, s_server: Starter, connect: Starter, version: TLSVersion
) -> None:
    _, port = s_server(ONLY[version], "-Verify", "2", "-CAfile", ca_file)

    def use() -> None:
        connect(port).recv(1)

    with pytest.raises(AlertReceived) as caught:
        use()
    if version is V13:
        assert type(caught.value) is PeerRejectedCertificate
        assert caught.value.alert is AlertDescription.certificate_required
    else:
        # RFC 5246 7.4.6.
        assert caught.value.alert is AlertDescription.handshake_failure


def test_our_server_verifies_a_clients_certificate(
    lab: Any, files: Any, serve: Starter, s_client: Starter, version: TLSVersion
) -> None:
    mine = lab.chain("client.example")
    certificate, key = files(mine)
    served = serve(lab.server(trust_store=lab.ca.trust_store()))
    client = s_client(served.port, ONLY[version], "-cert", certificate, "-key", key)
    assert_echo(client)
    client.write(b"Q\n")
    # OpenSSL adds the authority, which it was given.
    assert served.outcome().peer_chain[0] == mine.leaf[0].buffer
    # Without one it is told so, and never comes to be accepted.
    other = s_client(served.port, ONLY[version])
    alert = {V12: b"handshake failure", V13: b"certificate required"}[version]
    other.expect(b"(?i)alert " + alert)
    assert other.wait() != 0
    served.failed(1)
    assert served.outcomes.empty()


# --- resumption ---


def test_sessions_of_our_server_are_resumed(
    lab: Any, serve: Starter, s_client: Starter, version: TLSVersion, tmp_path: Path
) -> None:
    served, kept = serve(lab.server()), str(tmp_path / "session.pem")
    first = s_client(served.port, ONLY[version], "-sess_out", kept)
    first.expect(b"New, TLSv1")
    # Tickets of TLS 1.3 come before the answer.
    assert_echo(first)
    first.write(b"Q\n")
    assert served.outcome().resumed is False
    second = s_client(served.port, ONLY[version], "-sess_in", kept)
    second.expect(b"Reused, TLSv1")
    assert_echo(second)
    second.write(b"Q\n")
    info = served.outcome()
    assert info.resumed is True
    assert info.server_name == lab.host


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "server's memory"])
def test_our_client_resumes_sessions(
    lab: Any, s_server: Starter, connect: Starter, version: TLSVersion, tickets: bool
) -> None:
    server, port = s_server(ONLY[version], *(() if tickets else ("-no_ticket",)))
    context = lab.client()
    for number, resumed in enumerate((False, True, True)):
        before = len(server.output)
        client = connect(port, context)
        assert client.info.resumed is resumed
        assert client.getpeercert() == lab.chain().leaf[0].buffer
        assert_talk(client, server, b"number %d" % number)
        assert (b"Reused session-id" in server.output[before:]) is resumed
        client.close(force=True)
        server.expect(b"CONNECTION CLOSED|ERROR|DONE", after=before)


# --- within a connection ---


@pytest.mark.parametrize("command", [b"k", b"K"], ids=["own key", "both keys"])
def test_keys_are_updated_by_the_server(
    s_server: Starter, connect: Starter, command: bytes
) -> None:
    server, port = s_server("-tls1_3", "-msg")
    client = connect(port)
    assert_talk(client, server, b"before")
    for number in range(3):
        before = len(server.output)
        server.write(command + b"\n")
        server.expect(b">>> TLS 1.3, Handshake .*KeyUpdate", after=before)
        assert_talk(client, server, b"after update %d" % number)
        # RFC 8446 4.6.3: asked for ours, we answer with our next data at the latest.
        assert_talk(client, server, b"again %d" % number)
        if command == b"K":
            server.expect(b"<<< TLS 1.3, Handshake .*KeyUpdate", after=before)


@pytest.mark.parametrize("command", [b"k", b"K"], ids=["own key", "both keys"])
def test_keys_are_updated_by_the_client(
    lab: Any, serve: Starter, s_client: Starter, command: bytes
) -> None:
    served = serve(lab.server())
    client = s_client(served.port, "-tls1_3", "-msg")
    assert_echo(client, b"before")
    for number in range(3):
        before = len(client.output)
        client.write(command + b"\n")
        client.expect(b">>> TLS 1.3, Handshake .*KeyUpdate", after=before)
        assert_echo(client, b"after update %d" % number)
        if command == b"K":
            client.expect(b"<<< TLS 1.3, Handshake .*KeyUpdate", after=before)
    client.write(b"Q\n")
    assert served.outcome().version is V13


def test_a_client_that_renegotiates_is_refused_and_harms_nobody(
    lab: Any, serve: Starter, s_client: Starter
) -> None:
    served = serve(lab.server())
    other = s_client(served.port, "-tls1_2")
    assert_echo(other)
    client = s_client(served.port, "-tls1_2")
    assert_echo(client)
    client.write(b"R\n")
    client.expect(b"(?i)no.renegotiation")
    assert client.wait() != 0
    # Its connection has ended somehow, and that is all.
    served.outcome()
    assert_echo(other, b"still here")
    third = s_client(served.port, "-tls1_2")
    assert_echo(third)
    served.failed(0)


def test_a_server_that_renegotiates_is_refused_and_data_goes_on(
    s_server: Starter, connect: Starter
) -> None:
    server, port = s_server("-tls1_2", "-msg")
    client = connect(port)
    assert_talk(client, server, b"before")
    server.write(b"r\n")
    server.expect(rb">>> TLS 1\.2, Handshake .*HelloRequest")
    client.sendall(b"still here\n")
    server.write(b"so am I\n")
    # Ours reads the request on the way to data, or is told that the connection has ended.
    try:
        data = client.recv(100)
    except AlertReceived:
        data = b""
    assert data in (b"so am I\n", b"")
    assert b"ClientHello" not in server.output[server.output.index(b"HelloRequest") :]


# --- peers that do not suit, or go ---


def test_our_client_and_a_server_of_tls_1_1_do_not_suit(
    s_server: Starter, connect: Starter
) -> None:
    _, port = s_server("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    with pytest.raises((PeerIncompatible, AlertReceived)) as caught:
        connect(port)
    if isinstance(caught.value, AlertReceived):
        assert caught.value.alert is AlertDescription.protocol_version


def test_our_server_and_a_client_of_tls_1_1_do_not_suit(
    lab: Any, serve: Starter, s_client: Starter
) -> None:
    served = serve(lab.server())
    client = s_client(served.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    client.expect(b"(?i)alert protocol version")
    assert client.wait() != 0
    served.failed(1)
    good = s_client(served.port)
    assert_echo(good)


def test_our_client_and_a_server_without_a_common_suite_do_not_suit(
    s_server: Starter, connect: Starter
) -> None:
    _, port = s_server("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256")
    with pytest.raises((PeerIncompatible, AlertReceived)) as caught:
        connect(port)
    if isinstance(caught.value, AlertReceived):
        assert caught.value.alert is AlertDescription.handshake_failure


def test_our_client_fetches_the_servers_status_page(
    s_server: Starter, connect: Starter, version: TLSVersion
) -> None:
    _, port = s_server(ONLY[version], "-www")
    client = connect(port)
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    page = bytearray()
    while data := client.recv(1000):
        page += data
    assert page.startswith(b"HTTP/1.0 200 ok\r\n")
    assert page.rstrip().endswith(b"</HTML>")
    assert client.cipher().name.encode() in page or version is V12


def test_a_server_that_quits_ends_raggedly(
    s_server: Starter, connect: Starter, version: TLSVersion
) -> None:
    server, port = s_server(ONLY[version])
    client = connect(port)
    assert_talk(client, server)
    # s_server closes the socket under the connection, and says goodbye after that.
    server.write(b"Q\n")
    with pytest.raises(RaggedEOF):
        client.recv(1)


def test_a_client_that_quits_says_goodbye(
    lab: Any, serve: Starter, s_client: Starter, version: TLSVersion
) -> None:
    served = serve(lab.server())
    client = s_client(served.port, ONLY[version])
    assert_echo(client)
    client.write(b"Q\n")
    # The echo ends with recv's b"", else it would be RaggedEOF.
    assert served.outcome().version is version


def test_a_peer_that_is_killed_ends_raggedly(
    lab: Any,
    s_server: Starter,
    s_client: Starter,
    serve: Starter,
    connect: Starter,
    version: TLSVersion,
) -> None:
    server, port = s_server(ONLY[version])
    mine = connect(port)
    assert_talk(mine, server)
    server.kill()
    with pytest.raises((RaggedEOF, ConnectionResetError)):
        mine.recv(1)
    served = serve(lab.server())
    client = s_client(served.port, ONLY[version])
    assert_echo(client)
    client.kill()
    assert isinstance(served.outcome(), RaggedEOF | ConnectionResetError)
