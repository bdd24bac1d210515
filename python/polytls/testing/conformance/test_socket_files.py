"""Sockets as files, and files over sockets: `makefile` and `sendfile`."""

from __future__ import annotations

import hashlib
import io
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from polytls import RaggedEOF
from polytls.testing.conformance.lab import PATIENCE, Whole
from polytls.testing.conformance.selection import needs

#: The timeout that is waited for.
SHORT = 0.2


def received(side: Any, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = side.recv(min(65536, length - len(data)))
        assert piece, f"the end after {len(data)} of {length} bytes"
        data += piece
    return bytes(data)


# --- makefile ---


@needs("makefile")
def test_a_binary_file_is_read_by_lines_and_amounts(ends: Any) -> None:
    client, accepted = ends
    client.sendall(b"first\r\nsecond\nbinary\0\xff and the rest")
    with accepted.makefile("rb") as file:
        assert file.readline() == b"first\r\n"
        assert file.readline() == b"second\n"
        assert file.read(8) == b"binary\0\xff"
        client.close(force=True)
        assert file.read() == b" and the rest"
        assert file.read() == b""


@needs("makefile")
def test_a_text_file_is_decoded_and_read_by_lines(ends: Any) -> None:
    client, accepted = ends
    with accepted.makefile("r", encoding="utf-8") as file:
        assert file.readable()
        assert not file.writable()
        client.sendall("größer\r\nschöner\n".encode())
        assert file.readline() == "größer\n"
        assert file.readline() == "schöner\n"
        client.close(force=True)
        assert [*file] == []


@needs("makefile")
def test_a_text_file_is_encoded(ends: Any) -> None:
    client, accepted = ends
    with client.makefile("w", encoding="utf-8", newline="\r\n") as file:
        file.write("größer\nschöner\n")
        file.flush()
        expected = "größer\r\nschöner\r\n".encode()
        assert received(accepted, len(expected)) == Whole(expected)


@needs("makefile")
def test_one_file_can_read_and_write(ends: Any) -> None:
    client, accepted = ends
    with client.makefile("rwb") as one, accepted.makefile("rwb") as other:
        for number in range(20):
            one.write(b"%d\n" % number)
            one.flush()
            assert other.readline() == b"%d\n" % number
            other.write(b"again %d\n" % number)
            other.flush()
            assert one.readline() == b"again %d\n" % number


@needs("makefile")
def test_what_is_written_is_kept_until_it_is_flushed(ends: Any) -> None:
    client, accepted = ends
    accepted.setblocking(False)
    with client.makefile("wb") as file:
        file.write(b"data")
        with pytest.raises(OSError, match=r"."):
            accepted.recv(100)
        accepted.settimeout(PATIENCE)
        file.flush()
        assert accepted.recv(100) == b"data"


@needs("makefile")
def test_without_buffering_a_file_is_raw(ends: Any) -> None:
    client, accepted = ends
    with client.makefile("wb", buffering=0) as writing, accepted.makefile("rb", 0) as reading:
        assert isinstance(writing, io.RawIOBase)
        assert writing.write(b"at once") == 7
        room = bytearray(100)
        assert reading.readinto(room) == 7
        assert room[:7] == b"at once"


@needs("makefile")
def test_much_data_goes_through_files(ends: Any, threads: ThreadPoolExecutor, rng: Any) -> None:
    client, accepted = ends
    data = rng.randbytes(2_000_000)

    def write() -> None:
        with client.makefile("wb") as file:
            file.write(data)

    writing = threads.submit(write)
    with accepted.makefile("rb") as file:
        assert file.read(len(data)) == Whole(data)
    writing.result(PATIENCE)


@needs("makefile")
@pytest.mark.parametrize("mode", ["x", "a", "rr+", "", "rt"])
def test_what_is_no_mode_is_refused(ends: Any, mode: str) -> None:
    # Those, and no more, that `socket.socket.makefile` refuses.
    with socket.socket() as plain:
        try:
            plain.makefile(mode).close()
        except ValueError:
            with pytest.raises(ValueError, match=r"."):
                ends[0].makefile(mode)
        else:
            ends[0].makefile(mode).close()
    with pytest.raises(ValueError, match=r"."):
        ends[0].makefile("r", buffering=0)


@needs("makefile")
def test_the_connection_stays_open_until_its_files_are_closed(
    ends: Any, threads: ThreadPoolExecutor
) -> None:
    client, accepted = ends
    first, second = accepted.makefile("rb"), accepted.makefile("wb")
    accepted.close()
    client.sendall(b"after the close\n")
    assert first.readline() == b"after the close\n"
    first.close()
    second.write(b"and back")
    second.flush()
    assert client.recv(100) == b"and back"
    closing = threads.submit(second.close)
    assert client.recv(100) == b""
    client.close()
    closing.result(PATIENCE)
    assert accepted.fileno() == -1


@needs("makefile")
def test_closing_a_file_does_not_close_the_socket(ends: Any) -> None:
    client, accepted = ends
    accepted.makefile("rwb").close()
    client.sendall(b"still")
    assert accepted.recv(100) == b"still"
    accepted.sendall(b"open")
    assert client.recv(100) == b"open"


@needs("makefile")
def test_a_file_whose_read_timed_out_cannot_be_read_from_again(ends: Any) -> None:
    client, accepted = ends
    accepted.settimeout(SHORT)
    with accepted.makefile("rb") as file:
        with pytest.raises(TimeoutError):
            file.readline()
        client.sendall(b"too late\n")
        with pytest.raises(OSError, match="timed out") as caught:
            file.readline()
        assert not isinstance(caught.value, TimeoutError)
    # The socket can.
    accepted.settimeout(PATIENCE)
    assert accepted.recv(100) == b"too late\n"


@needs("makefile")
def test_a_ragged_end_is_told_through_a_file_too(one: Any) -> None:
    ours, peer = one
    peer.drive(peer.buffer.write, b"whole line\ncut sho")
    peer.plain.shutdown(socket.SHUT_WR)
    with ours.makefile("rb") as file:
        assert file.readline() == b"whole line\n"
        with pytest.raises(RaggedEOF):
            file.read()


@needs("makefile")
def test_a_listener_has_no_file(lab: Any) -> None:
    with (
        lab.server().connect(("127.0.0.1", 0)) as listener,
        pytest.raises(OSError, match="listener"),
    ):
        listener.makefile()


# --- sendfile ---


@pytest.fixture
def content(rng: Any, tmp_path: Path) -> tuple[bytes, Path]:
    """Some bytes, and the path of a file of them."""
    data = rng.randbytes(300_000)
    path = tmp_path / "content"
    path.write_bytes(data)
    return data, path


def opened(kind: str, content: tuple[bytes, Path]) -> Any:
    return content[1].open("rb") if kind == "file" else io.BytesIO(content[0])


@needs("sendfile")
@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.parametrize(
    ("offset", "count"),
    [(0, None), (0, 10), (0, 1_000_000), (12_345, None), (299_999, None), (5, 20_000)],
)
def test_a_file_is_sent_from_its_offset(
    ends: Any,
    content: Any,
    threads: ThreadPoolExecutor,
    kind: str,
    offset: int,
    count: int | None,
) -> None:
    client, accepted = ends
    expected = content[0][offset:][:count]
    with opened(kind, content) as file:
        file.seek(77)
        sending = threads.submit(client.sendfile, file, offset, count)
        assert received(accepted, len(expected)) == Whole(expected)
        assert sending.result(PATIENCE) == len(expected)
        assert file.tell() == offset + len(expected)
    client.send(b"behind it")
    assert accepted.recv(100) == b"behind it"


@needs("sendfile")
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_nothing_of_a_file_can_be_sent(ends: Any, content: Any, kind: str) -> None:
    client, accepted = ends
    with opened(kind, content) as file:
        assert client.sendfile(file, len(content[0])) == 0
        assert client.sendfile(file, 10 * len(content[0])) == 0
    client.send(b"behind it")
    assert accepted.recv(100) == b"behind it"


@needs("sendfile")
def test_a_large_file_arrives_unchanged(
    ends: Any, tmp_path: Path, threads: ThreadPoolExecutor, rng: Any
) -> None:
    client, accepted = ends
    data = rng.randbytes(5_000_011)
    path = tmp_path / "large"
    path.write_bytes(data)
    with path.open("rb") as file:
        sending = threads.submit(client.sendfile, file)
        got = received(accepted, len(data))
        assert sending.result(PATIENCE) == len(data)
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


@needs("sendfile")
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_after_an_error_the_file_stands_behind_what_was_sent(
    ends: Any, tmp_path: Path, threads: ThreadPoolExecutor, kind: str
) -> None:
    client, accepted = ends
    data = bytes(64 << 20)
    path = tmp_path / "zeros"
    path.write_bytes(data)
    client.settimeout(SHORT)
    with opened(kind, (data, path)) as file:
        with pytest.raises(TimeoutError):
            client.sendfile(file)
        sent = file.tell()
    assert 0 < sent < len(data)
    client.settimeout(PATIENCE)

    def count() -> int:
        total, room = 0, bytearray(1 << 20)
        while number := accepted.recv_into(room):
            total += number
        return total

    counting = threads.submit(count)
    client.close(force=True)
    assert counting.result(PATIENCE) == sent


@needs("sendfile")
def test_what_cannot_be_sent_as_a_file_is_refused(ends: Any, content: Any) -> None:
    client, accepted = ends
    for no_file in (str(content[1]), content[1], None, 0):
        with pytest.raises(TypeError, match="file must be"):
            client.sendfile(no_file)
    with content[1].open("rb") as file:
        for wrong in (0, -1):
            with pytest.raises(ValueError, match="count"):
                client.sendfile(file, 0, wrong)
        with pytest.raises(TypeError):
            client.sendfile(file, 0, 1.5)
        client.setblocking(False)
        with pytest.raises(ValueError, match="blocking"):
            client.sendfile(file)
        client.settimeout(PATIENCE)
    with content[1].open("r", encoding="latin-1") as file, pytest.raises(ValueError, match=r"."):
        client.sendfile(file)
    client.send(b"nothing else")
    assert accepted.recv(100) == b"nothing else"


@needs("sendfile")
def test_a_listener_sends_no_file(lab: Any, content: Any) -> None:
    with (
        lab.server().connect(("127.0.0.1", 0)) as listener,
        content[1].open("rb") as file,
        pytest.raises(OSError, match="listener"),
    ):
        listener.sendfile(file)
