"""What all tests share: a watch over descriptors and threads, and connections quick to make.

Test modules are collected with `--import-mode=importlib` and cannot import one another: what two
of them need is a fixture here. A test that takes `implementation`, or any fixture built on it, runs
once for each implementation that can be used on this machine.
"""

from __future__ import annotations

import functools
import gc
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import polytls
from polytls import TLSClientConfiguration, TLSServerConfiguration, TLSVersion, WantReadError
from polytls.testing import CertificateAuthority, KeyType, Pair

#: What the default server of these tests is called.
HOST = "server.example"

#: How long what a test leaves behind may take to go away, in seconds.
_SETTLING = 2.0

_DESCRIPTORS = next(filter(os.path.isdir, ("/proc/self/fd", "/dev/fd")), None)


def pytest_collection_finish() -> None:
    """Spare the collector what is there before the first test: it runs around each of them."""
    gc.collect()
    gc.freeze()


def _open_descriptors() -> dict[int, tuple[int, int]]:
    """The open descriptors, each with what tells its file; empty where they cannot be listed."""
    found = {}
    for name in os.listdir(_DESCRIPTORS) if _DESCRIPTORS else ():  # noqa: PTH208 - numbers
        try:
            status = os.fstat(int(name))
        except OSError:  # The one that the listing itself used.
            continue
        found[int(name)] = (status.st_dev, status.st_ino)
    return found


def _outside() -> tuple[dict[int, tuple[int, int]], set[threading.Thread]]:
    return _open_descriptors(), set(threading.enumerate())


@pytest.fixture(autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    """Hold descriptors and threads after each test against those before it."""
    gc.collect()
    before = _outside()
    yield
    deadline = time.monotonic() + _SETTLING
    gc.collect()
    while (after := _outside()) != before and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    assert after == before, "descriptors or threads differ before and after the test"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers, the same in every run of one test."""
    return random.Random(request.node.name)


@pytest.fixture(scope="session", params=polytls.implementations())
def implementation(request: pytest.FixtureRequest) -> polytls.TLSImplementation[Any, Any]:
    """Each implementation that can be used here."""
    return polytls.implementation(request.param)


@pytest.fixture(params=[TLSVersion.TLSv1_2, TLSVersion.TLSv1_3], ids=lambda version: version.value)
def version(request: pytest.FixtureRequest) -> TLSVersion:
    """Each version of TLS."""
    return request.param


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    """The authority that clients and servers trust if nothing else is said."""
    return CertificateAuthority()


@dataclass
class Outcome:
    """How both sides' handshakes ended: with an error, or None if they are done or wait."""

    client: polytls.TLSError | None = None
    server: polytls.TLSError | None = None


class Lab:
    """Contexts of one implementation, and connections between them in memory."""

    host = HOST

    def __init__(
        self, implementation: polytls.TLSImplementation[Any, Any], ca: CertificateAuthority
    ) -> None:
        self.implementation = implementation
        self.ca = ca

    @functools.cache  # noqa: B019 - lives as long as the session
    def chain(
        self, *names: str, key_type: KeyType = KeyType.ECDSA_P256, **given: Any
    ) -> polytls.SigningChain:
        """A chain that `ca` issued for `names` (HOST by default), the same for the same wish."""
        return self.ca.issue(*(names or (HOST,)), key_type=key_type, **given)

    def client(self, *, version: TLSVersion | None = None, **given: Any) -> Any:
        """A client's context; it trusts `ca` if nothing else is said."""
        given.setdefault("trust_store", self.ca.trust_store())
        configuration = TLSClientConfiguration(**_only(version), **given)
        return self.implementation.client_context(configuration)

    def server(
        self, *chains: polytls.SigningChain, version: TLSVersion | None = None, **given: Any
    ) -> Any:
        """A server's context; it is HOST if nothing else is said."""
        configuration = TLSServerConfiguration(chains or [self.chain()], **_only(version), **given)
        return self.implementation.server_context(configuration)

    def pair(self, client: Any = None, server: Any = None, name: str = HOST, **given: Any) -> Pair:
        """Two buffers whose handshake has not begun."""
        client, server = client or self.client(), server or self.server()
        return Pair(client.create_buffer(name), server.create_buffer(), **given)

    def connect(
        self, client: Any = None, server: Any = None, name: str = HOST, **given: Any
    ) -> Pair:
        """Two buffers whose handshake is done on both sides."""
        pair = self.pair(client, server, name, **given)
        pair.handshake()
        return pair

    @staticmethod
    def settle(pair: Pair) -> Outcome:
        """Drive both sides until nothing moves, whatever either finds."""
        outcome = Outcome()
        while True:
            for side in ("client", "server"):
                try:
                    getattr(pair, side).do_handshake()
                except WantReadError:
                    continue
                except polytls.TLSError as error:
                    setattr(outcome, side, error)
            if not pair.transfer():
                return outcome

    @staticmethod
    def drain(side: Any, amount: int = 65536) -> bytes:
        """All that `side` can read now; it must not have come to its end."""
        data = bytearray()
        while True:
            try:
                piece = side.read(amount)
            except WantReadError:
                return bytes(data)
            assert piece, "the peer has sent close_notify"
            data += piece

    @staticmethod
    def outgoing(side: Any) -> bytes:
        """All that `side` has for the network."""
        return side.process_outgoing(side.outgoing_bytes_buffered())


def _only(version: TLSVersion | None) -> dict[str, TLSVersion]:
    if version is None:
        return {}
    return {"lowest_supported_version": version, "highest_supported_version": version}


@pytest.fixture(scope="session")
def lab(implementation: polytls.TLSImplementation[Any, Any], ca: CertificateAuthority) -> Lab:
    """Contexts and connections of each implementation."""
    return Lab(implementation, ca)


@pytest.fixture
def connected(lab: Lab, version: TLSVersion) -> Pair:
    """A connection of each version with its handshake done and nothing on the wire."""
    pair = lab.connect(lab.client(version=version), lab.server())
    with pytest.raises(WantReadError):  # Takes in the tickets of TLS 1.3.
        pair.client.read(1)
    return pair
