"""The key log: what stands in it, who may read it, and that there is none unless asked for."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from polytls import ConfigurationError, TLSVersion, key_log_from_environment
from polytls.insecure import SecurityWarning
from polytls.testing.conformance.lab import PATIENCE
from polytls.testing.conformance.selection import needs

#: The lines that a connection of each version leaves, at least.
LABELS = {
    TLSVersion.TLSv1_2: {"CLIENT_RANDOM"},
    TLSVersion.TLSv1_3: {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    },
}


def logging(make: Any, log: Any, **given: Any) -> Any:
    """A context with a key log; it warns of it."""
    with pytest.warns(SecurityWarning, match="key_log"):
        return make(key_log=log, **given)


def secrets(lines: list[str]) -> dict[str, tuple[str, str]]:
    """The client's random and the secret by label; each line must be of the format."""
    found = {}
    for line in lines:
        if line.startswith("#"):  # OpenSSL introduces itself.
            continue
        assert re.fullmatch(r"[A-Z0-9_]+ [0-9a-f]{64} ([0-9a-f]{64}|[0-9a-f]{96})", line), line
        label, client_random, secret = line.split()
        found[label] = (client_random, secret)
    return found


@needs("key log")
@pytest.mark.parametrize("side", ["client", "server"])
def test_the_file_has_the_secrets_of_either_side(
    lab: Any, version: TLSVersion, side: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    client = logging(lab.client, path, version=version) if side == "client" else lab.client()
    server = logging(lab.server, str(path), version=version) if side == "server" else lab.server()
    pair = lab.connect(client, server)
    assert pair.client.negotiated_tls_version is version
    found = secrets(path.read_text().splitlines())
    assert set(found) >= LABELS[version]
    assert len({client_random for client_random, _ in found.values()}) == 1


@needs("key log")
def test_both_sides_write_the_same_and_each_connection_something_else(
    lab: Any, version: TLSVersion, tmp_path: Path
) -> None:
    paths = tmp_path / "client", tmp_path / "server"
    client = logging(lab.client, paths[0], version=version, sessions=None)
    server = logging(lab.server, paths[1])
    lab.connect(client, server)
    first = [secrets(path.read_text().splitlines()) for path in paths]
    assert first[0] == first[1]
    lab.connect(client, server)
    second = [secrets(path.read_text().splitlines()) for path in paths]
    assert second[0] == second[1]
    assert not set(first[0].values()) & set(second[0].values())


@needs("key log")
@pytest.mark.skipif(os.name != "posix", reason="files have no such modes here")
def test_nobody_but_its_owner_can_read_the_file(lab: Any, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        logging(lab.client, tmp_path / "new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    open_to_all = tmp_path / "open"
    open_to_all.write_text("# before\n")
    open_to_all.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod") as refused, pytest.warns(SecurityWarning):
        lab.server(key_log=open_to_all)
    assert refused.value.field == "key_log"
    assert str(open_to_all) in str(refused.value)
    open_to_all.chmod(0o600)
    lab.connect(server=logging(lab.server, open_to_all))
    assert open_to_all.read_text().startswith("# before\n")
    assert secrets(open_to_all.read_text().splitlines())


@needs("key log")
def test_a_file_that_cannot_be_written_is_refused_with_its_path(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "keys"
    with pytest.raises(ConfigurationError) as refused, pytest.warns(SecurityWarning):
        lab.client(key_log=path)
    assert refused.value.field == "key_log"
    assert str(path) in str(refused.value)


def test_the_environment_alone_makes_nobody_write_secrets(
    lab: Any, version: TLSVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    pair = lab.connect(lab.client(version=version), lab.server())
    assert pair.send(pair.client, b"secret") == b"secret"
    assert not path.exists()
    assert key_log_from_environment() == str(path)


@needs("no key log")
def test_a_library_that_keeps_its_secrets_refuses_the_wish(lab: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused, pytest.warns(SecurityWarning):
        lab.client(key_log=tmp_path / "keys")
    assert refused.value.field == "key_log"
    assert not (tmp_path / "keys").exists()


# --- functions ---


@needs("key log")
def test_a_function_gets_each_line(lab: Any, version: TLSVersion) -> None:
    lines: list[str] = []
    client = logging(lab.client, lines.append, version=version)
    lab.connect(client)
    assert set(secrets(lines)) >= LABELS[version]


@needs("key log")
def test_a_function_that_raises_harms_no_connection_and_is_reported(
    lab: Any, version: TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", reported.append)

    def log(line: str) -> None:
        raise OSError(line.partition(" ")[0])

    pair = lab.connect(logging(lab.client, log, version=version))
    assert pair.send(pair.client, b"data") == b"data"
    assert {str(each.exc_value) for each in reported} >= LABELS[version]


class Interrupting:
    """A function that raises what is no `Exception`, once."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.interruption = kind("now")
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) == 1:
            raise self.interruption


@needs("key log")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_function_that_is_interrupted_ends_the_call_and_harms_no_connection(
    lab: Any, version: TLSVersion, kind: type[BaseException]
) -> None:
    log = Interrupting(kind)
    pair = lab.pair(logging(lab.client, log, version=version))
    with pytest.raises(kind) as caught:
        pair.handshake()
    assert caught.value is log.interruption
    pair.handshake()
    assert set(secrets(log.lines)) >= LABELS[version]
    assert pair.send(pair.client, b"data") == b"data"


@needs("key log")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_function_that_is_interrupted_ends_accept_and_no_handshake(
    lab: Any, kind: type[BaseException], threads: Any
) -> None:
    log = Interrupting(kind)
    with logging(lab.server, log).connect(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        address = listener.getsockname()
        client = lab.client()
        connecting = threads.submit(client.connect, address, server_hostname=lab.host)
        with pytest.raises(kind) as caught:
            listener.accept()
        assert caught.value is log.interruption
        with listener.accept()[0] as accepted, connecting.result(PATIENCE) as connected:
            connected.sendall(b"data")
            assert accepted.recv(100) == b"data"
        assert listener.failed_handshakes == 0


@needs("key log")
def test_a_function_that_is_interrupted_in_another_thread_is_reported(
    lab: Any, threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the main thread is interrupted, as by a signal.
    reported: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", reported.append)
    log = Interrupting(KeyboardInterrupt)
    pair = lab.pair(logging(lab.client, log))
    threads.submit(pair.handshake).result(PATIENCE)
    assert [each.exc_value for each in reported] == [log.interruption]
    assert pair.send(pair.client, b"data") == b"data"


@needs("key log")
def test_a_function_that_uses_the_connection_gets_an_error_and_waits_for_nothing(
    lab: Any, version: TLSVersion
) -> None:
    raised: list[Any] = []

    def log(line: str) -> None:
        del line
        try:
            pair.client.read(1)
        except Exception as error:
            raised.append(error)

    pair = lab.pair(logging(lab.client, log, version=version))
    pair.handshake()
    assert raised
    assert all("callback" in str(error) for error in raised)
    assert pair.send(pair.server, b"data") == b"data"
