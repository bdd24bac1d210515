"""`polytls.compat.SSLContext` and `of`: an `ssl.SSLContext` that polytls serves."""

from __future__ import annotations

import gc
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import polytls
from polytls import _native, compat
from polytls.testing import CertificateAuthority
from polytls.testing.certificates import KeyType, pem, self_signed

from .conftest import threaded

NAME = "server.example"
BOTH = [compat.SSLContext, ssl.SSLContext]


def connected(
    files: Any,
    sockets: tuple[socket.socket, socket.socket],
    client: ssl.SSLContext,
    server: ssl.SSLContext,
    **more: Any,
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    near, far = sockets
    accepted = threaded(lambda: server.wrap_socket(far, server_side=True))
    opened = client.wrap_socket(near, server_hostname=NAME, **more)
    return opened, accepted()


# --- what a connection is ---


def test_it_is_what_ssl_calls_a_context(files: Any) -> None:
    context = files.client_context()
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("served", ["client", "server", "both"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_sides_agree_with_openssl_and_with_one_another(
    files: Any, memory: Any, served: str, version: ssl.TLSVersion
) -> None:
    client = files.client_context(compat.SSLContext if served != "server" else ssl.SSLContext)
    server = files.server_context(compat.SSLContext if served != "client" else ssl.SSLContext)
    client.maximum_version = client.minimum_version = version
    pair = memory(client, server).handshake()
    expected = version.name.replace("_", ".")
    assert pair.client.version() == pair.server.version() == expected
    assert pair.client.cipher() == pair.server.cipher()
    pair.client.write(b"hello")
    assert pair.server.read(100) == b"hello"
    pair.server.write(b"x" * 100_000)
    got = b""
    while len(got) < 100_000:
        got += pair.client.read(16_384)
    assert got == b"x" * 100_000
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.read(1)
    pair.end()


def test_facts_are_told_as_openssl_tells_them(files: Any, memory: Any) -> None:
    told = []
    for kind in BOTH:
        client, server = files.client_context(kind), files.server_context(kind)
        client.set_alpn_protocols(["h2", "http/1.1"])
        server.set_alpn_protocols(["http/1.1", "h2"])
        pair = memory(client, server).handshake()
        told.append(
            (
                pair.client.getpeercert(),
                pair.client.getpeercert(True),
                pair.client.selected_alpn_protocol(),
                pair.server.selected_alpn_protocol(),
                pair.server.getpeercert(),
                pair.client.compression(),
                pair.client.version(),
                pair.client.session_reused,
                pair.client.server_hostname,
                pair.server.server_side,
                pair.client.shared_ciphers(),
            )
        )
    assert told[0] == told[1]


def test_shared_ciphers_are_those_of_both_sides(files: Any, memory: Any) -> None:
    pair = memory().handshake()
    shared = pair.server.shared_ciphers()
    assert pair.server.cipher() in shared
    assert ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", 256) in shared


def test_chains_are_certificates(files: Any, memory: Any) -> None:
    pair = memory().handshake()
    chain = pair.client._sslobj.get_unverified_chain()
    verified = pair.client._sslobj.get_verified_chain()
    der = ssl._ssl.ENCODING_DER
    assert chain[0].public_bytes(der) == pair.client.getpeercert(True)
    assert [one.public_bytes(der) for one in verified][1:] == [files.authority.certificate_der]
    assert ssl.PEM_cert_to_DER_cert(chain[0].public_bytes()) == chain[0].public_bytes(der)


def test_before_the_handshake_nothing_is_told(files: Any, memory: Any) -> None:
    pair = memory()
    assert pair.client.version() is None
    assert pair.client.cipher() is None
    assert pair.client.selected_alpn_protocol() is None
    assert pair.client.pending() == 0
    with pytest.raises(ValueError, match="handshake not done yet"):
        pair.client.getpeercert()


# --- certificates ---


def certificates() -> Iterator[bytes]:
    authority = CertificateAuthority("An Authority, Inc.")
    for names in [("a.example", "*.b.example", "192.0.2.1", "2001:db8::1"), ()]:
        for key_type in KeyType:
            yield authority.issue(*names, key_type=key_type).leaf[0].buffer or b""
    yield authority.certificate_der
    yield authority.intermediate().certificate_der
    yield self_signed("device.example").leaf[0].buffer or b""
    yield CertificateAuthority(version=1).certificate_der


def decoded(der: bytes, folder: Path) -> Any:
    path = folder / "one.pem"
    path.write_bytes(pem("CERTIFICATE", der))
    return ssl._ssl._test_decode_cert(str(path))


def test_certificates_read_as_openssl_reads_them(tmp_path: Path) -> None:
    for der in certificates():
        assert _native.certificate_dictionary(der) == decoded(der, tmp_path)


def test_certificates_of_the_world_read_as_openssl_reads_them(tmp_path: Path) -> None:
    found = 0
    for path in [
        *Path("/etc/ssl/certs").glob("*.pem"),
        *(Path(os.__file__).parent / "test").glob("**/*.pem"),
    ]:
        data = path.read_bytes()
        for section in data.split(b"-----BEGIN CERTIFICATE-----")[1:]:
            text = b"-----BEGIN CERTIFICATE-----" + section.partition(b"-----END")[0]
            try:
                der = ssl.PEM_cert_to_DER_cert(text.decode() + "-----END CERTIFICATE-----\n")
                expected = decoded(der, tmp_path)
            except (ValueError, ssl.SSLError):
                continue
            try:
                mine = _native.certificate_dictionary(der)
            except ValueError:
                # What no handshake can come to.
                assert "badcert" in path.name
                continue
            assert mine == expected, path
            found += 1
    assert found > 20


# --- reading and writing ---


def test_reading_into_a_buffer(memory: Any) -> None:
    pair = memory().handshake()
    pair.server.write(b"0123456789")
    into = bytearray(4)
    assert pair.client.read(100, into) == 4
    assert into == b"0123"
    assert pair.client.pending() == 6
    assert pair.client.read(2, into) == 2
    assert into == b"4523"
    assert pair.client.read(0) == b""
    with pytest.raises(ValueError, match="size should not be negative"):
        pair.client.read(-1)


def test_only_the_record_under_way_is_taken_from_memory(memory: Any) -> None:
    pair = memory().handshake()
    for data in (b"one", b"two"):
        pair.server.write(data)
    assert pair.client.read(100) == b"one"
    # What is left to be read shows in the BIO, where uvloop and others look.
    assert pair.to_client.pending > 0
    assert pair.client.read(100) == b"two"
    assert pair.to_client.pending == 0


def test_an_end_that_was_not_told_counts_as_pending(memory: Any) -> None:
    pair = memory().handshake()
    pair.server.write(b"x" * 200_000)
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    got = 0
    while pair.to_client.pending + pair.client.pending() > 0:
        read = pair.client.read(65_536)
        if not read:
            break
        got += len(read)
    assert got == 200_000
    assert pair.client.read(10) == b""
    assert pair.client.pending() == 0


def test_what_follows_close_notify_is_left_in_memory(memory: Any) -> None:
    pair = memory().handshake()
    pair.server.write(b"x" * 100_000)
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    pair.to_client.write(b"plain again")
    got = 0
    while read := pair.client.read(1 << 20):
        got += len(read)
    pair.client.unwrap()
    assert got == 100_000
    assert pair.to_client.read() == b"plain again"


def test_close_notify_is_not_answered_unasked(files: Any, memory: Any) -> None:
    client, server = files.client_context(), files.server_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    pair = memory(client, server).handshake()
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    assert pair.client.read(1) == b""
    assert pair.to_server.pending == 0
    # As OpenSSL has it, data may still be sent.
    pair.client.write(b"more")
    assert pair.to_server.pending > 0


def test_after_our_close_notify_the_peers_is_an_error(memory: Any) -> None:
    pair = memory().handshake()
    for side in (pair.server, pair.client):
        with pytest.raises(ssl.SSLWantReadError):
            side.unwrap()
        break
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.read(1)
    pair.client.read(1)
    pair.client.unwrap()
    with pytest.raises(ssl.SSLZeroReturnError):
        pair.server.read(1)
    with pytest.raises(ssl.SSLError, match="PROTOCOL_IS_SHUTDOWN"):
        pair.server.write(b"x")


def test_data_after_our_close_notify_is_an_error_of_unwrap(memory: Any) -> None:
    pair = memory().handshake()
    pair.client.write(b"late")
    with pytest.raises(ssl.SSLError, match="APPLICATION_DATA_AFTER_CLOSE_NOTIFY"):
        pair.server.unwrap()


@pytest.mark.parametrize("kind", BOTH)
def test_a_truncated_end_is_what_the_options_say(files: Any, memory: Any, kind: Any) -> None:
    for ignored in (True, False):
        client = files.client_context(kind)
        if ignored:
            client.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        pair = memory(client).handshake()
        with pytest.raises(ssl.SSLWantReadError):
            pair.client.read(1)
        pair.to_client.write_eof()
        if ignored:
            assert pair.client.read(1) == b""
        else:
            with pytest.raises(ssl.SSLEOFError) as caught:
                pair.client.read(1)
            assert caught.value.reason == "UNEXPECTED_EOF_WHILE_READING"


def test_an_end_in_the_handshake_is_an_error(memory: Any) -> None:
    pair = memory()
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    pair.to_client.write_eof()
    pair.to_server.read()
    pair.to_server.write_eof()
    for side in (pair.client, pair.server):
        with pytest.raises(ssl.SSLEOFError):
            side.do_handshake()


# --- sockets ---


@pytest.mark.parametrize("client_kind", BOTH)
@pytest.mark.parametrize("server_kind", BOTH)
def test_sockets(files: Any, sockets: Any, client_kind: Any, server_kind: Any) -> None:
    client, server = connected(
        files, sockets, files.client_context(client_kind), files.server_context(server_kind)
    )
    with client, server:
        sent = threaded(lambda: client.sendall(b"x" * 1_000_000))
        got = bytearray()
        while len(got) < 1_000_000:
            got += server.recv(65_536)
        sent()
        assert got == b"x" * 1_000_000
        into = bytearray(10)
        server.send(b"short")
        assert client.recv_into(into) == 5
        unwrapped = threaded(server.unwrap)
        plain = client.unwrap()
        other = unwrapped()
        plain.sendall(b"plain")
        assert other.recv(10) == b"plain"
        plain.close()
        other.close()


def test_unwrap_takes_nothing_of_what_follows(files: Any, sockets: Any) -> None:
    client, server = connected(files, sockets, files.client_context(), files.server_context())

    def serve() -> None:
        plain = server.unwrap()
        plain.sendall(b"at once")
        plain.close()

    done = threaded(serve)
    plain = client.unwrap()
    assert plain.recv(100) == b"at once"
    plain.close()
    done()


def test_a_selector_shows_what_is_left(files: Any, sockets: Any) -> None:
    client, server = connected(files, sockets, files.client_context(), files.server_context())
    with client, server:
        for _ in range(3):
            server.send(b"x" * 16_384)
        for _ in range(3):
            # pending() is what is left of a record; a selector tells of the others.
            assert select.select([client], [], [], 5)[0]
            assert len(client.recv(16_384)) == 16_384
        assert client.pending() == 0


def test_timeouts_are_those_of_the_socket_at_each_call(files: Any, sockets: Any) -> None:
    client, server = connected(files, sockets, files.client_context(), files.server_context())
    with client, server:
        client.settimeout(0.05)
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="read operation timed out"):
            client.recv(1)
        assert 0.04 < time.monotonic() - begun < 5
        client.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            client.recv(1)
        client.settimeout(5)
        server.send(b"y")
        assert client.recv(1) == b"y"


def test_the_descriptor_decides_whether_a_call_waits(files: Any) -> None:
    """As with eventlet's sockets, whose `gettimeout` tells how long a greenlet waits."""

    class Green(socket.socket):
        def gettimeout(self) -> float:
            return 20.0

        def fileno(self) -> int:
            raise AssertionError

    mine, other = socket.socketpair()
    with Green(fileno=mine.detach()) as green, other:
        green.setblocking(False)
        made = files.client_context()._wrap_socket(green, False, NAME)
        with pytest.raises(ssl.SSLWantReadError):
            made.do_handshake()


def test_a_handshake_times_out(files: Any, sockets: Any) -> None:
    near, _ = sockets
    near.settimeout(0.05)
    with pytest.raises(TimeoutError, match="handshake operation timed out"):
        files.client_context().wrap_socket(near, server_hostname=NAME)


def test_change_cipher_spec_is_not_sent_by_itself(files: Any, sockets: Any) -> None:
    """Nagle's algorithm would hold Finished back until the peer's delayed acknowledgement."""
    raw, plain = sockets
    for one in sockets:
        one.setblocking(False)
    client = files.client_context().wrap_socket(
        plain, server_hostname=NAME, do_handshake_on_connect=False
    )
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = files.server_context(ssl.SSLContext).wrap_bio(incoming, outgoing, server_side=True)
    with client:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        incoming.write(raw.recv(16384))
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()
        # ServerHello, after which a client of TLS 1.3 changes its keys.
        first = outgoing.read(5)
        raw.sendall(first + outgoing.read(int.from_bytes(first[3:], "big")))
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        with pytest.raises(BlockingIOError):
            raw.recv(1)
        raw.sendall(outgoing.read())
        client.do_handshake()
        assert raw.recv(6) == b"\x14\x03\x03\x00\x01\x01"
        incoming.write(raw.recv(16384))
        server.do_handshake()


def test_a_write_that_would_block_goes_on_at_the_retry(files: Any, sockets: Any) -> None:
    client, server = connected(files, sockets, files.client_context(), files.server_context())
    with client, server:
        client.setblocking(False)
        data = os.urandom(5_000_000)
        with pytest.raises(ssl.SSLWantWriteError):
            client.send(data)
        with pytest.raises(ssl.SSLError, match="BAD_WRITE_RETRY"):
            client.send(b"less")
        with pytest.raises(ssl.SSLWantWriteError):
            # Forgotten by then, as it was refused: begin a connection anew to go on.
            client.send(data)


def test_a_write_is_complete_after_retries(files: Any, sockets: Any) -> None:
    client, server = connected(files, sockets, files.client_context(), files.server_context())
    with client, server:
        client.setblocking(False)
        data = os.urandom(3_000_000)
        got = bytearray()

        def receive() -> None:
            while len(got) < len(data):
                got.extend(server.recv(65_536))

        done = threaded(receive)
        while True:
            try:
                assert client.send(data) == len(data)
                break
            except ssl.SSLWantWriteError:
                select.select([], [client], [], 5)
        done()
        assert got == data


def test_one_thread_reads_while_another_writes(files: Any, sockets: Any) -> None:
    client, server = connected(files, sockets, files.client_context(), files.server_context())
    with client, server:
        read = threaded(lambda: client.recv(100))
        time.sleep(0.05)
        client.sendall(b"question")
        assert server.recv(100) == b"question"
        server.sendall(b"answer")
        assert read() == b"answer"


def test_a_client_that_closes_with_unread_tickets_does_not_reset_the_connection(files: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(20):
            sent_tickets = threading.Event()

            def serve(sent_tickets: threading.Event = sent_tickets) -> bytes:
                plain, _ = listener.accept()
                with files.server_context().wrap_socket(plain, server_side=True) as accepted:
                    sent_tickets.set()
                    got = b""
                    while data := accepted.recv(65_536):
                        got += data
                    return got

            done = threaded(serve)
            plain = socket.create_connection(listener.getsockname())
            client = files.client_context().wrap_socket(plain, server_hostname=NAME)
            client.sendall(b"z" * 100_000)
            assert sent_tickets.wait(10)
            client.close()
            assert done() == b"z" * 100_000


def test_a_client_that_goes_before_its_tickets_was_one(files: Any, sockets: Any) -> None:
    mine, other = sockets
    mine.setblocking(False)
    server = files.server_context()._wrap_socket(mine, True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = files.client_context().wrap_bio(incoming, outgoing, server_hostname=NAME)
    for _ in range(2):
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        other.sendall(outgoing.read())
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()
        incoming.write(other.recv(65536))
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
            break
    client.write(b"hello")
    other.sendall(outgoing.read())
    other.close()
    server.do_handshake()
    assert server.read(10) == b"hello"


def test_a_socket_that_is_gone_is_an_error(files: Any, sockets: Any) -> None:
    client, server = connected(files, sockets, files.client_context(), files.server_context())
    engine = client._sslobj
    client.close()
    server.close()
    with pytest.raises(ssl.SSLError, match="Underlying socket connection gone"):
        engine.read(1)


# --- errors ---


def failure(memory_pair: Any) -> dict[str, BaseException]:
    """What each side raises in a handshake that fails."""
    found: dict[str, BaseException] = {}
    for _ in range(10):
        for name in ("client", "server"):
            if name in found:
                continue
            try:
                getattr(memory_pair, name).do_handshake()
                if name == "client":
                    getattr(memory_pair, name).read(1)
                else:
                    getattr(memory_pair, name).read(1)
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLError, ssl.CertificateError) as error:
                found[name] = error
    return found


def refusals(files: Any) -> dict[str, tuple[Callable[[Any], None], Callable[[Any], None], str]]:
    other = CertificateAuthority()
    expired = polytls.testing.CertificateAuthority
    del expired
    import datetime

    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3)
    old = files.authority.issue(NAME, not_before=past - datetime.timedelta(days=3), not_after=past)
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    young = files.authority.issue(NAME, not_before=soon)
    chains = {
        "expired": old,
        "not yet valid": young,
        "unknown issuer": other.issue(NAME),
        "self-signed": self_signed(NAME),
        "self-signed above": polytls.SigningChain(
            other.issue(NAME).leaf, [polytls.Certificate.from_buffer(other.certificate_der)]
        ),
        "for clients": files.authority.issue(NAME, server=False, client=True),
    }
    nothing: Callable[[Any], None] = lambda context: None  # noqa: E731
    found = {}
    for name, chain in chains.items():
        path = files.chain(f"{name}.pem", chain)
        found[name] = (nothing, lambda context, path=path: context.load_cert_chain(path), NAME)
    found["another name"] = (nothing, nothing, "other.example")
    found["another address"] = (nothing, nothing, "192.0.2.9")

    def only_12(context: Any) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    def only_13(context: Any) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3

    def requires(context: Any) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.ca)

    found["versions"] = (only_12, only_13, NAME)
    found["versions, the other way"] = (only_13, only_12, NAME)
    found["no client certificate"] = (nothing, requires, NAME)

    def suites(names: str) -> Callable[[Any], None]:
        def set_them(context: Any) -> None:
            only_12(context)
            context.set_ciphers(names)

        return set_them

    found["suites"] = (
        suites("ECDHE-ECDSA-AES128-GCM-SHA256"),
        suites("ECDHE-ECDSA-AES256-GCM-SHA384"),
        NAME,
    )
    return found


CASES = [
    "expired",
    "not yet valid",
    "unknown issuer",
    "self-signed",
    "self-signed above",
    "for clients",
    "another name",
    "another address",
    "versions",
    "versions, the other way",
    "no client certificate",
    "suites",
]


@pytest.mark.parametrize("case", CASES)
def test_errors_are_those_of_openssl(files: Any, memory: Any, case: str) -> None:
    """Against the same peer: OpenSSL."""
    change_client, change_server, name = refusals(files)[case]
    told = []
    for kinds in (("mine", "openssl"), ("openssl", "mine"), ("openssl", "openssl")):
        client_kind, server_kind = (
            compat.SSLContext if kind == "mine" else ssl.SSLContext for kind in kinds
        )
        client, server = files.client_context(client_kind), files.server_context(server_kind)
        change_client(client)
        change_server(server)
        found = failure(memory(client, server, name=name))
        told.append(
            {
                side: (
                    type(error).__name__,
                    error.reason,
                    getattr(error, "verify_code", None),
                    getattr(error, "verify_message", None),
                )
                for side, error in found.items()
            }
        )
    mine_client, mine_server, neither = told
    assert mine_client.get("client") == neither.get("client")
    assert mine_server.get("server") == neither.get("server")


def test_an_error_has_our_own_behind_it(files: Any, memory: Any) -> None:
    found = failure(memory(name="other.example"))["client"]
    assert isinstance(found, ssl.SSLCertVerificationError)
    assert isinstance(found.__cause__, polytls.CertificateVerificationError)
    assert "other.example" in found.__cause__.explain()
    assert "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch" in str(
        found
    )


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP_REQUEST"),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", "HTTPS_PROXY_REQUEST"),
        (b"SSH-2.0-OpenSSH\r\n", "WRONG_VERSION_NUMBER"),
    ],
)
def test_what_is_no_tls_is_told(files: Any, kind: Any, said: bytes, reason: str) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = files.server_context(kind).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(said)
    with pytest.raises(ssl.SSLError) as caught:
        server.do_handshake()
    assert caught.value.reason == reason
    assert caught.value.library == "SSL"


def test_a_record_that_was_changed_is_told(files: Any, memory: Any) -> None:
    for kind in BOTH:
        pair = memory(files.client_context(kind)).handshake()
        with pytest.raises(ssl.SSLWantReadError):
            pair.client.read(1)
        pair.server.write(b"hello")
        record = bytearray(pair.to_client.read())
        record[-1] ^= 1
        pair.to_client.write(bytes(record))
        with pytest.raises(ssl.SSLError) as caught:
            pair.client.read(1)
        assert caught.value.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_plaintext_between_records_is_told(
    files: Any, memory: Any, kind: Any, version: ssl.TLSVersion
) -> None:
    client = files.client_context(kind)
    client.maximum_version = version
    pair = memory(client).handshake()
    pair.to_client.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        pair.client.read(1)
    assert caught.value.reason == "WRONG_VERSION_NUMBER"


@pytest.mark.parametrize("kind", BOTH)
def test_a_handshake_that_nobody_asked_for_counts(files: Any, sockets: Any, kind: Any) -> None:
    """A connection that is written to, or read from, makes its handshake first."""
    client, server = files.client_context(kind), files.server_context(kind)
    theirs = server.wrap_socket(sockets[1], server_side=True, do_handshake_on_connect=False)
    answer = threaded(lambda: theirs.recv(5))
    ours = client.wrap_socket(sockets[0], server_hostname=NAME, do_handshake_on_connect=False)
    with ours, theirs:
        ours.sendall(b"hello")
        assert answer() == b"hello"
    assert client.session_stats()["connect_good"] == 1
    assert server.session_stats()["accept_good"] == 1


# --- trust ---


def test_nothing_is_trusted_unasked(files: Any, memory: Any) -> None:
    found = failure(memory(compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))
    assert found["client"].verify_code == 20


def test_without_verification_anything_goes_and_nobody_warns(files: Any, memory: Any) -> None:
    client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair = memory(client, name=None).handshake()
    assert pair.client.getpeercert() == {}
    assert pair.client.getpeercert(True)


@pytest.mark.parametrize("kind", BOTH)
def test_a_whole_chain_is_needed_without_partial_chain(
    files: Any, memory: Any, kind: Any, tmp_path: Path
) -> None:
    root = CertificateAuthority()
    middle = root.intermediate()
    chain = middle.issue(NAME)
    path = tmp_path / "middle.pem"
    path.write_bytes(middle.certificate_pem)
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(pem("CERTIFICATE", chain.leaf[0].buffer or b""))
    everything = tmp_path / "both.pem"
    everything.write_bytes(middle.certificate_pem + root.certificate_pem)
    alone = polytls.SigningChain(chain.leaf)
    for trusted, partial, accepted in [
        (path, False, False),
        (path, True, True),
        (leaf, False, False),
        (leaf, True, True),
        (everything, False, True),
    ]:
        client = kind(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(str(trusted))
        if partial:
            client.verify_flags |= 0x80000
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(files.chain("partial.pem", alone))
        pair = memory(client, server)
        if accepted:
            pair.handshake()
        else:
            assert "client" in failure(pair), (trusted, partial)


@pytest.mark.parametrize("strict", [True, False])
def test_strict_rules_are_those_of_openssl(
    files: Any, memory: Any, strict: bool, tmp_path: Path
) -> None:
    authorities = {
        "in order": CertificateAuthority(),
        "no key usage": CertificateAuthority(key_usage=()),
        "version 1": CertificateAuthority(version=1),
    }
    for name, authority in authorities.items():
        told = []
        path = tmp_path / "strict.pem"
        path.write_bytes(authority.certificate_pem)
        chain = files.chain("strict-leaf.pem", authority.issue(NAME))
        for kind in BOTH:
            client = kind(ssl.PROTOCOL_TLS_CLIENT)
            client.load_verify_locations(str(path))
            if strict:
                client.verify_flags |= ssl.VERIFY_X509_STRICT
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(chain)
            found = failure(memory(client, server)).get("client")
            told.append(found and (found.verify_code, found.verify_message))
        assert told[0] == told[1], name


@pytest.mark.parametrize("kind", BOTH)
def test_revocation_lists_are_asked_for_by_flags(
    files: Any, memory: Any, kind: Any, tmp_path: Path
) -> None:
    root = CertificateAuthority()
    middle, revoked = root.intermediate(), root.intermediate()

    def lists_of(authority: CertificateAuthority, *bad: Any) -> bytes:
        return pem("X509 CRL", authority.revocation_list(*bad).buffer or b"")

    good, bad, below = middle.issue(NAME), middle.issue(NAME), revoked.issue(NAME)
    of_root = lists_of(root, below.chain[0])
    of_middle, of_revoked = lists_of(middle, bad), lists_of(revoked)
    ca, crl = tmp_path / "ca.pem", tmp_path / "crl.pem"
    ca.write_bytes(root.certificate_pem)
    leaf, whole = ssl.VERIFY_CRL_CHECK_LEAF, ssl.VERIFY_CRL_CHECK_CHAIN
    for number, (chain, crls, flags, code) in enumerate(
        [
            (good, [of_middle], leaf, None),
            (bad, [of_middle], leaf, 23),
            (bad, [of_middle], 0, None),
            (good, [], leaf, 3),
            (good, [of_middle], whole, 3),
            (good, [of_middle, of_root], whole, None),
            (bad, [of_middle, of_root], whole, 23),
            (below, [of_revoked, of_root], leaf, None),
            (below, [of_revoked, of_root], whole, 23),
        ]
    ):
        client = kind(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(str(ca))
        if crls:
            crl.write_bytes(b"".join(crls))
            client.load_verify_locations(str(crl))
        client.verify_flags |= flags
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(files.chain("revoked.pem", chain))
        found = failure(memory(client, server)).get("client")
        assert (found and found.verify_code) == code, number


def test_authorities_as_der_and_as_text(files: Any, memory: Any) -> None:
    client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=files.authority.certificate_der * 1)
    memory(client).handshake()
    client = compat.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=files.authority.certificate_pem.decode())
    memory(client).handshake()


def test_the_systems_certificates_are_read_when_somebody_asks() -> None:
    context = compat.create_default_context()
    assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()


# --- configuration of servers ---


def test_a_client_is_asked_for_a_certificate(files: Any, memory: Any) -> None:
    for mode in (ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED):
        server = files.server_context()
        server.verify_mode = mode
        server.load_verify_locations(files.ca)
        client = files.client_context(ssl.SSLContext)
        client.load_cert_chain(files.client)
        pair = memory(client, server).handshake()
        assert ("DNS", "client.example") in pair.server.getpeercert()["subjectAltName"]


def test_alpn_without_a_common_protocol_goes_on_without(files: Any, memory: Any) -> None:
    pair = memory(
        files.client_context(alpn=["h2"]), files.server_context(alpn=["http/1.1"])
    ).handshake()
    assert pair.client.selected_alpn_protocol() is None


@pytest.mark.parametrize("kind", BOTH)
def test_a_callback_chooses_by_the_name(files: Any, memory: Any, kind: Any) -> None:
    other = CertificateAuthority()
    second = files.server_context(kind)
    second.load_cert_chain(files.chain("second.pem", other.issue("second.example")))
    first = files.server_context(kind)
    asked = []

    def choose(sslobj: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        asked.append((name, type(sslobj).__name__, context is first))
        if name == "second.example":
            sslobj.context = second
        return None if name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    first.sni_callback = choose
    client = files.client_context()
    client.load_verify_locations(cadata=other.certificate_pem.decode())
    for name in (NAME, "second.example"):
        pair = memory(client, first, name=name).handshake()
        names = pair.client.getpeercert()["subjectAltName"]
        assert ("DNS", name) in names
    assert asked == [(NAME, "SSLObject", True), ("second.example", "SSLObject", True)]
    client.check_hostname = False
    found = failure(memory(client, first, name=None))
    assert found["client"].reason == "TLSV1_UNRECOGNIZED_NAME"
    assert found["server"].reason == "CALLBACK_FAILED"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("answer", "reason"), [(1 / 1, "TLSV1_ALERT_INTERNAL_ERROR"), (None, None)]
)
def test_what_a_callback_does_wrong_refuses_the_client(
    files: Any, memory: Any, answer: Any, reason: str | None
) -> None:
    server = files.server_context()

    def choose(*_: Any) -> Any:
        if answer is None:
            raise ZeroDivisionError
        return answer

    server.sni_callback = choose
    found = failure(memory(server=server))
    assert found["client"].reason == (reason or "SSLV3_ALERT_HANDSHAKE_FAILURE")


def test_a_server_without_a_certificate_refuses(files: Any, memory: Any) -> None:
    for kind in BOTH:
        found = failure(memory(server=kind(ssl.PROTOCOL_TLS_SERVER)))
        assert found["server"].reason == "NO_SHARED_CIPHER"
        assert found["client"].reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


def test_chains_of_one_kind_of_key_replace_one_another(files: Any, memory: Any) -> None:
    server = files.server_context()
    server.load_cert_chain(files.chain("newer.pem", files.authority.issue(NAME, "newer.example")))
    pair = memory(server=server).handshake()
    assert ("DNS", "newer.example") in pair.client.getpeercert()["subjectAltName"]


def test_a_lone_leaf_is_completed_from_what_is_trusted(files: Any, memory: Any) -> None:
    middle = files.authority.intermediate()
    server = compat.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.chain("lone.pem", polytls.SigningChain(middle.issue(NAME).leaf)))
    server.load_verify_locations(cadata=middle.certificate_pem.decode())
    memory(server=server).handshake()


def test_sessions_are_named_and_can_be_used_again(files: Any, memory: Any) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client, server = files.client_context(), files.server_context()
        client.minimum_version = client.maximum_version = version
        pair = memory(client, server).handshake()
        with pytest.raises(ssl.SSLWantReadError):
            pair.client.read(1)
        session = pair.client.session
        assert not pair.client.session_reused
        assert memory(client, server).handshake().client.session_reused is False
        for _ in range(2):
            again = memory(client, server, session=session).handshake()
            assert again.client.session_reused
            assert again.client.session == session
        with pytest.raises(ValueError, match="different SSLContext"):
            memory(files.client_context(), server, session=session)
        assert client.session_stats()["hits"] == 2
        assert server.session_stats()["accept"] == 4


def test_secrets_are_logged(files: Any, memory: Any, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    client = files.client_context()
    client.keylog_filename = str(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        memory(client).handshake()
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()


# --- what is refused ---


def refused(context: Any, what: str, *, server: bool = False) -> None:
    with pytest.raises(ssl.SSLError, match=what) as caught:
        context.wrap_bio(
            ssl.MemoryBIO(),
            ssl.MemoryBIO(),
            server_side=server,
            server_hostname=None if server else NAME,
        )
    assert isinstance(caught.value, compat.Refused)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_honoured_is_refused(files: Any, memory: Any) -> None:
    context = files.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    refused(context, "TLS below 1.2")
    context = files.client_context()
    context.set_ciphers("AES128-SHA256")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    refused(context, "set_ciphers")
    context = files.client_context()
    context.set_ecdh_curve("brainpoolP256r1")
    refused(context, "set_ecdh_curve")
    context = files.client_context()
    context.hostname_checks_common_name = True
    refused(context, "hostname_checks_common_name")
    context = files.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.post_handshake_auth = True
    refused(context, "post_handshake_auth", server=True)
    context = files.client_context()
    context._msg_callback = lambda *_: None
    refused(context, "_msg_callback")
    pair = memory().handshake()
    with pytest.raises(compat.Refused, match="tls-unique"):
        pair.client.get_channel_binding()
    with pytest.raises(compat.Refused, match="post-handshake"):
        pair.server.verify_client_post_handshake()


def test_sides_must_fit_their_protocol(files: Any) -> None:
    with pytest.raises(ssl.SSLError, match="Cannot create a server socket"):
        files.client_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    with pytest.raises(ssl.SSLError, match="Cannot create a client socket"):
        files.server_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    with pytest.raises(ValueError, match="empty string or start with a leading dot"):
        files.client_context()._wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=".a")


# --- life ---


def test_connections_and_contexts_go_when_nobody_has_them(files: Any, memory: Any) -> None:
    pair = memory().handshake()
    gone = [
        weakref.ref(thing)
        for thing in (pair.client._sslobj, pair.server._sslobj, pair.client.context)
    ]
    del pair
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]


def test_importing_polytls_imports_no_ssl() -> None:
    code = "import polytls, sys; raise SystemExit('ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
