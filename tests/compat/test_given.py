"""`polytls.compat.of`: the face of a context of PEP 748, of ours or of somebody else's."""

from __future__ import annotations

import gc
import ssl
import weakref
from typing import Any

import pytest

import polytls
from polytls import compat
from polytls.testing import CertificateAuthority
from polytls.testing.conformance.driven import Wrapped

from .conftest import threaded

NAME = "server.example"


class Made:
    """A context that somebody else might have written: it has buffers, and nothing else."""

    #: What its buffers are.
    kind: type[Wrapped] = Wrapped

    def __init__(self, configuration: Any) -> None:
        rustls = polytls.implementation("rustls")
        is_server = isinstance(configuration, polytls.TLSServerConfiguration)
        make: Any = rustls.server_context if is_server else rustls.client_context
        self._inner = make(configuration)
        self.configuration = configuration

    def create_buffer(self, *name: Any) -> Any:
        return self.kind(self._inner.create_buffer(*name))


class Telling(Wrapped):
    """A buffer that tells all of its handshake."""

    @property
    def info(self) -> Any:
        return self.inner.info


def contexts(files: Any, kind: type[Wrapped] = Wrapped, **more: Any) -> tuple[Made, Made]:
    client = Made(polytls.TLSClientConfiguration(trust_store=files.authority.trust_store(), **more))
    server = Made(
        polytls.TLSServerConfiguration(certificate_chain=[files.authority.issue(NAME)], **more)
    )
    client.kind = server.kind = kind
    return client, server


def given(context: Made) -> Any:
    """For `of`, whose type is that of whole contexts."""
    return compat.of(context)  # type: ignore[arg-type]


def test_the_face_of_a_context(files: Any, memory: Any, implementation: Any) -> None:
    client = implementation.client_context(
        polytls.TLSClientConfiguration(
            trust_store=files.authority.trust_store(), inner_protocols=[polytls.NextProtocol.H2]
        )
    )
    server = implementation.server_context(
        polytls.TLSServerConfiguration(
            certificate_chain=[files.authority.issue(NAME)],
            inner_protocols=[polytls.NextProtocol.H2],
        )
    )
    face, other = compat.of(client), compat.of(server)
    assert isinstance(face, ssl.SSLContext)
    assert face.verify_mode == ssl.CERT_REQUIRED
    pair = memory(face, other).handshake()
    assert pair.client.selected_alpn_protocol() == "h2"
    pair.client.write(b"hello")
    assert pair.server.read(10) == b"hello"
    # A truncated end is an error, as the configuration has it.
    pair.to_server.write_eof()
    with pytest.raises(ssl.SSLEOFError):
        pair.server.read(1)


def test_libraries_that_set_protocols_on_the_face_are_heard(files: Any, memory: Any) -> None:
    client = polytls.implementation().client_context(
        polytls.TLSClientConfiguration(trust_store=files.authority.trust_store())
    )
    face = compat.of(client)
    face.set_alpn_protocols(["http/1.1"])
    pair = memory(face, files.server_context(alpn=["http/1.1"])).handshake()
    assert pair.client.selected_alpn_protocol() == "http/1.1"


def test_libraries_that_add_authorities_to_the_face_are_heard(files: Any, memory: Any) -> None:
    other = CertificateAuthority()
    client = polytls.implementation().client_context(
        polytls.TLSClientConfiguration(trust_store=other.trust_store())
    )
    face = compat.of(client)
    with pytest.raises(ssl.SSLCertVerificationError):
        memory(face).handshake()
    face.load_verify_locations(files.ca)
    memory(face).handshake()
    face.set_ciphers("ECDHE+AESGCM")
    with pytest.raises(compat.Refused, match="differs from its configuration"):
        face.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=NAME)


def test_a_context_of_anybodys_serves_a_face(files: Any, memory: Any) -> None:
    client, server = contexts(files, inner_protocols=[polytls.NextProtocol.H2, b"other"])
    pair = memory(given(client), given(server)).handshake()
    assert pair.client.version() == pair.server.version() == "TLSv1.3"
    assert pair.client.cipher()[:2] == ("TLS_AES_256_GCM_SHA384", "TLSv1.3")
    assert pair.client.selected_alpn_protocol() == "h2"
    assert ("DNS", NAME) in pair.client.getpeercert()["subjectAltName"]
    assert pair.client.getpeercert(True) == pair.client._sslobj.get_unverified_chain()[0]._der
    assert pair.server.getpeercert(True) is None
    assert not pair.client.session_reused
    assert pair.client.session is None
    much = bytes(range(256)) * 400
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        assert sender.write(much) == len(much)
        came = b""
        while len(came) < len(much):
            came += receiver.read(1 << 16)
        assert came == much
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.read(1)
    pair.end()


def test_what_a_buffer_tells_of_its_handshake_is_passed_on(files: Any, memory: Any) -> None:
    client, server = contexts(files, Telling, inner_protocols=[b"other"])
    faces = given(client), given(server)
    first = memory(*faces).handshake()
    assert first.client.selected_alpn_protocol() == "other"
    presented = first.client._sslobj.get_unverified_chain()
    verified = first.client._sslobj.get_verified_chain()
    assert len(verified) == len(presented) + 1
    with pytest.raises(ssl.SSLWantReadError):
        first.client.read(1)
    # Its own context keeps the session.
    assert memory(*faces).handshake().client.session_reused


def test_sockets_of_a_context_of_anybodys(files: Any, sockets: Any) -> None:
    client, server = contexts(files)
    ours, theirs = sockets
    face = given(server)
    answered = threaded(lambda: face.wrap_socket(theirs, server_side=True))
    with given(client).wrap_socket(ours, server_hostname=NAME) as connection:
        other = answered()
        connection.sendall(bytes(100_000))
        into, came = bytearray(65536), 0
        while came < 100_000:
            came += other.recv_into(into)
        assert came == 100_000
        other.close()


def test_its_errors_are_those_of_ssl(files: Any, memory: Any) -> None:
    _, server = contexts(files)
    stranger = Made(
        polytls.TLSClientConfiguration(trust_store=CertificateAuthority().trust_store())
    )
    pair = memory(given(stranger), given(server))
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed") as caught:
        pair.handshake()
    assert caught.value.verify_code in (19, 20)
    assert isinstance(caught.value.__cause__, polytls.CertificateVerificationError)
    with pytest.raises(ssl.SSLError, match="TLSV1_ALERT_UNKNOWN_CA"):
        pair.server.do_handshake()


def test_an_end_without_close_notify_is_an_error_of_ssl(files: Any, memory: Any) -> None:
    client, server = contexts(files)
    pair = memory(given(client), given(server)).handshake()
    pair.to_server.write_eof()
    with pytest.raises(ssl.SSLEOFError):
        pair.server.read(1)


def test_what_is_no_tls_is_told_so(files: Any, memory: Any) -> None:
    client, _ = contexts(files)
    pair = memory(given(client))
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    pair.to_client.write(b"HTTP/1.1 400 Bad Request")
    with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
        pair.client.do_handshake()


class Odd(Exception):
    """Of somebody's own."""


class Failing(Wrapped):
    def do_handshake(self) -> None:
        raise Odd


class Misbehaving(Wrapped):
    #: What is raised.
    raised: polytls.TLSError

    def do_handshake(self) -> None:
        raise self.raised


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (polytls.PeerMisbehaved("why"), "BAD_RECORD_TYPE"),
        (polytls.PeerIncompatible("why"), "BAD_RECORD_TYPE"),
        (polytls.TLSError("why"), "INTERNAL_ERROR"),
    ],
)
def test_errors_that_it_raises_itself_are_those_of_ssl(
    files: Any, memory: Any, raised: polytls.TLSError, reason: str
) -> None:
    client, _ = contexts(files, type("Kind", (Misbehaving,), {"raised": raised}))
    with pytest.raises(ssl.SSLError, match=reason) as caught:
        memory(given(client)).client.do_handshake()
    assert type(caught.value.__cause__) is type(raised)


def test_what_is_no_error_of_tls_is_raised_as_it_is(files: Any, memory: Any) -> None:
    client, _ = contexts(files, Failing)
    with pytest.raises(Odd):
        memory(given(client)).client.do_handshake()


def test_protocols_and_authorities_that_libraries_set_reach_it(files: Any, memory: Any) -> None:
    face = given(Made(polytls.TLSClientConfiguration()))
    face.load_verify_locations(files.ca)
    face.set_alpn_protocols(["http/1.1"])
    pair = memory(face, files.server_context(alpn=["http/1.1"])).handshake()
    assert pair.client.selected_alpn_protocol() == "http/1.1"


def test_its_buffers_go_when_nobody_has_them(files: Any, memory: Any) -> None:
    kept: list[weakref.ref[Any]] = []

    class Known(Wrapped):
        def __init__(self, inner: Any) -> None:
            super().__init__(inner)
            self.me = self
            kept.append(weakref.ref(self))

    client, server = contexts(files, Known)
    pair = memory(given(client), given(server)).handshake()
    # A cycle through the connection.
    for ref, side in zip(kept, (pair.client, pair.server), strict=True):
        ref().other = side
    del pair, side
    gc.collect()
    assert [ref() for ref in kept] == [None, None]


def test_what_is_no_context_has_no_face() -> None:
    with pytest.raises(TypeError, match="a context of PEP 748, got object"):
        compat.of(object())  # type: ignore[arg-type]


def test_a_context_without_buffers_has_none_either() -> None:
    class Bare:
        configuration = polytls.TLSClientConfiguration()

    with pytest.raises(polytls.ConfigurationError, match="create_buffer") as caught:
        compat.of(Bare())  # type: ignore[arg-type]
    assert caught.value.field == "create_buffer"
