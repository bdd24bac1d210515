"""A server's identity that changes while it runs, over every implementation."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polytls import (
    Certificate,
    ConfigurationError,
    PrivateKey,
    ServerContext,
    SigningChain,
    SupportsExporter,
    TLSServerConfiguration,
    TLSVersion,
    WantReadError,
)
from polytls.reload import ReloadingServerContext
from polytls.testing import Pair
from polytls.testing.certificates import pem

#: What nothing in these tests may take, in seconds.
PATIENCE = 30.0

#: How many reloads; `make soak` asks for the long form.
RELOADS = 200 if "POLYTLS_SOAK" in os.environ else 20


@pytest.fixture
def reloading(lab: Any) -> Callable[..., ReloadingServerContext]:
    """A function that makes a reloading context with the given chains."""

    def make(*chains: SigningChain, **given: Any) -> ReloadingServerContext:
        configuration = TLSServerConfiguration(chains, **given)
        return ReloadingServerContext(lab.implementation, configuration)

    return make


def chain_of(lab: Any, **given: Any) -> SigningChain:
    """A chain that nobody else has."""
    chain: SigningChain = lab.ca.issue(lab.host, **given)
    return chain


def shown(lab: Any, server: Any, client: Any = None) -> bytes:
    """The certificate that a new connection is shown."""
    pair = Pair((client or lab.client()).create_buffer(lab.host), server.create_buffer())
    pair.handshake()
    certificate: bytes = pair.client.getpeercert()
    return certificate


def der(chain: SigningChain) -> bytes:
    assert chain.leaf[0].buffer
    return chain.leaf[0].buffer


def texts(chain: SigningChain) -> tuple[bytes, bytes]:
    """Certificate and key in PEM."""
    key = chain.leaf[1]
    assert key
    assert key.buffer
    return pem("CERTIFICATE", der(chain)), pem("PRIVATE KEY", key.buffer)


class Files:
    """A certificate and its key in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.chain = SigningChain(
            (Certificate.from_file(self.certificate), PrivateKey.from_file(self.key))
        )

    def write(self, chain: SigningChain) -> None:
        certificate, key = texts(chain)
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)


@pytest.fixture
def files(lab: Any, tmp_path: Path) -> Files:
    """Such files with a chain in them."""
    made = Files(tmp_path / "identity")
    made.write(chain_of(lab))
    return made


# --- by hand ---


def test_new_connections_have_the_new_identity_and_open_ones_go_on(
    lab: Any, version: TLSVersion, reloading: Callable[..., ReloadingServerContext]
) -> None:
    one, two = chain_of(lab), chain_of(lab)
    server = reloading(one)
    assert isinstance(server, ServerContext)
    client = lab.client(version=version, sessions=None)
    open_one = Pair(client.create_buffer(lab.host), server.create_buffer())
    open_one.handshake()
    half_done = Pair(client.create_buffer(lab.host), server.create_buffer())
    server.replace([two])
    assert shown(lab, server, client) == der(two)
    assert open_one.send(open_one.client, b"data") == b"data"
    half_done.handshake()
    assert half_done.client.getpeercert() == der(one)


@pytest.mark.parametrize("kind", ["nothing", "half", "mismatched", "expired", "early", "missing"])
def test_what_cannot_be_served_is_refused_and_the_last_good_identity_stays(
    lab: Any, reloading: Callable[..., ReloadingServerContext], files: Files, kind: str
) -> None:
    good = chain_of(lab)
    server = reloading(good)
    now, day = datetime.now(UTC), timedelta(days=1)
    other = chain_of(lab)
    bad = {
        "nothing": list,
        "half": lambda: [half(files)],
        "mismatched": lambda: [SigningChain((good.leaf[0], other.leaf[1]))],
        "expired": lambda: [chain_of(lab, not_before=now - 2 * day, not_after=now - day)],
        "early": lambda: [chain_of(lab, not_before=now + day, not_after=now + 2 * day)],
        "missing": lambda: [Files(files.key.parent / "none").chain],
    }[kind]()
    with pytest.raises(ConfigurationError) as refused:
        server.replace(bad)
    assert refused.value.field == "certificate_chain"
    assert shown(lab, server) == der(good)
    server.replace([other])
    assert shown(lab, server) == der(other)


def half(files: Files) -> SigningChain:
    data = files.certificate.read_bytes()
    files.certificate.write_bytes(data[: len(data) // 2])
    return files.chain


def test_an_identity_that_cannot_be_served_is_refused_from_the_start(
    lab: Any, reloading: Callable[..., ReloadingServerContext]
) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    with pytest.raises(ConfigurationError, match="expired"):
        reloading(chain_of(lab, not_before=now - 2 * day, not_after=now - day))
    with pytest.raises(TypeError, match="chains"):
        reloading(chain_of(lab)).replace(chain_of(lab))  # type: ignore[arg-type]


def test_sessions_outlive_a_change_of_identity_where_ticket_keys_can_be_given(
    lab: Any, version: TLSVersion, reloading: Callable[..., ReloadingServerContext]
) -> None:
    server = reloading(chain_of(lab))
    client = lab.client(version=version)

    def resumed() -> bool:
        pair = Pair(client.create_buffer(lab.host), server.create_buffer())
        pair.handshake()
        with pytest.raises(WantReadError):
            pair.client.read(1)
        told: bool = pair.client.info.resumed
        return told

    assert [resumed(), resumed()] == [False, True]
    server.replace([chain_of(lab)])
    assert resumed() is lab.implementation.capabilities.ticket_keys


# --- files ---


@pytest.fixture
def changed(lab: Any) -> Callable[[ReloadingServerContext, SigningChain], None]:
    """A function that waits until new connections are shown a chain."""

    def wait(server: ReloadingServerContext, chain: SigningChain) -> None:
        deadline = time.monotonic() + PATIENCE
        while shown(lab, server) != der(chain):
            assert time.monotonic() < deadline, "the change was not seen"
            time.sleep(0.05)

    return wait


def test_files_that_are_written_over_are_read_again(
    lab: Any, reloading: Callable[..., ReloadingServerContext], files: Files, changed: Any
) -> None:
    server = reloading(files.chain)
    with server.watch():
        for _ in range(2):
            chain = chain_of(lab)
            files.write(chain)
            changed(server, chain)


def test_files_behind_symbolic_links_are_read_again_when_the_links_change(
    lab: Any, reloading: Callable[..., ReloadingServerContext], tmp_path: Path, changed: Any
) -> None:
    """As Kubernetes does it: tls.crt -> ..data/tls.crt, ..data -> a folder with a time stamp."""
    mount = tmp_path / "mount"
    first = chain_of(lab)
    Files(tmp_path / "mount").chain  # noqa: B018 - makes the folder
    Files(mount / "..2026_1").write(first)
    (mount / "..data").symlink_to("..2026_1")
    for name in ("tls.crt", "tls.key"):
        (mount / name).symlink_to(Path("..data") / name)
    server = reloading(Files(mount).chain)
    with server.watch():
        for number in (2, 3):
            chain = chain_of(lab)
            Files(mount / f"..2026_{number}").write(chain)
            (mount / "..data_tmp").symlink_to(f"..2026_{number}")
            os.replace(mount / "..data_tmp", mount / "..data")  # noqa: PTH105 - as Kubernetes does
            changed(server, chain)


def test_bad_files_are_logged_and_the_last_good_identity_stays(
    lab: Any,
    reloading: Callable[..., ReloadingServerContext],
    files: Files,
    changed: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = reloading(files.chain)
    before = shown(lab, server)
    good = chain_of(lab)
    certificate, key = texts(good)
    with caplog.at_level(logging.ERROR, "polytls.reload"), server.watch():
        files.certificate.write_bytes(certificate)  # The key is still that of the other.
        deadline = time.monotonic() + PATIENCE
        while not caplog.records:
            assert time.monotonic() < deadline, "nothing was logged"
            assert shown(lab, server) == before
            time.sleep(0.05)
        assert "PRIVATE" not in caplog.text
        files.key.write_bytes(key)
        changed(server, good)


def test_watching_needs_files(lab: Any, reloading: Callable[..., ReloadingServerContext]) -> None:
    with pytest.raises(ValueError, match="paths"):
        reloading(chain_of(lab)).watch()


# --- under load ---


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that are joined at the end of the test."""
    with ThreadPoolExecutor() as executor:
        yield executor


@pytest.mark.soak
def test_no_connection_is_refused_while_identities_change(
    lab: Any,
    reloading: Callable[..., ReloadingServerContext],
    threads: ThreadPoolExecutor,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chains = [chain_of(lab) for _ in range(5)]
    server = reloading(chains[0])
    done = threading.Event()
    served: list[bytes] = []

    def visit(client: Any) -> bytes:
        with client.connect(
            listener.getsockname(), server_hostname=lab.host, timeout=PATIENCE
        ) as connection:
            assert connection.recv(1) == b"x"
            certificate: bytes = connection.getpeercert()
            return certificate

    def load() -> None:
        client = lab.client(sessions=None)
        while not done.is_set():
            served.append(visit(client))

    def accept() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:  # It is closed.
                return
            with accepted:
                accepted.settimeout(PATIENCE)
                accepted.sendall(b"x")

    with ExitStack() as closing:
        listener = closing.enter_context(server.connect(("127.0.0.1", 0)))
        accepting = threads.submit(accept)
        closing.callback(accepting.result, PATIENCE)
        closing.callback(listener.close)
        loads = [threads.submit(load) for _ in range(3)]
        began = time.monotonic()
        try:
            own = lab.client(sessions=None)
            for number in range(RELOADS):
                chain = chains[(number + 1) % len(chains)]
                server.replace([chain])
                assert visit(own) == der(chain), "a connection that begins after the change"
        finally:
            done.set()
        for each in loads:
            each.result(PATIENCE)  # No connection has failed.
        rate = len(served) / (time.monotonic() - began)
    assert set(served) <= {der(chain) for chain in chains}
    assert listener.failed_handshakes == 0
    with capsys.disabled():
        print(f"\nreload: {RELOADS} reloads, {len(served)} connections, {rate:.0f} a second")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no dual stack")
def test_its_listeners_take_all_options(lab: Any, reloading: Any) -> None:
    server = reloading(chain_of(lab))
    options = {"reuse_port": True, "dual_stack": True, "handshake_limit": 7}
    with (
        server.connect(("::", 0), **options) as listener,
        server.connect(("::", listener.getsockname()[1]), **options) as other,
    ):
        assert other.getsockname()[1] == listener.getsockname()[1]
    for wrong in ({"handshake_limit": 0}, {"handshake_timeout": 0}, {"dual_stack": True}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            server.connect(("127.0.0.1", 0), **wrong)
    with (
        ThreadPoolExecutor() as threads,
        server.connect(("127.0.0.1", 0), do_handshake_on_accept=False) as listener,
    ):
        listener.settimeout(PATIENCE)
        connecting = threads.submit(
            lab.client().connect,
            listener.getsockname(),
            server_hostname=lab.host,
            timeout=PATIENCE,
        )
        accepted, _ = listener.accept()
        with accepted:
            can_export = isinstance(server.create_buffer(), SupportsExporter)
            assert isinstance(accepted, SupportsExporter) is can_export
            assert accepted.negotiated_tls_version is None
            accepted.settimeout(PATIENCE)
            accepted.do_handshake()
            connecting.result(PATIENCE).close(force=True)
    with (
        server.connect(("127.0.0.1", 0), handshake_timeout=0.2) as listener,
        socket.create_connection(listener.getsockname()) as silent,
    ):
        listener.settimeout(1.0)
        with pytest.raises(TimeoutError):
            listener.accept()
        assert listener.failed_handshakes == 1
        assert silent.recv(1) == b""


def test_wrap_socket_serves_the_current_identity(lab: Any, reloading: Any) -> None:
    server = reloading(chain_of(lab))
    new = chain_of(lab)
    server.replace([new])
    with ThreadPoolExecutor() as threads:
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        theirs.settimeout(PATIENCE)
        connecting = threads.submit(lab.client().wrap_socket, theirs, lab.host)
        with server.wrap_socket(ours), connecting.result(PATIENCE) as client:
            assert client.getpeercert() == der(new)
