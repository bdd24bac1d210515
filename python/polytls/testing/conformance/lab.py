"""What cases are written with: contexts of one implementation, and connections between them."""

from __future__ import annotations

import functools
import re
import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import pytest

from polytls import (
    PrivateKey,
    Signer,
    SigningChain,
    TLSClientConfiguration,
    TLSError,
    TLSImplementation,
    TLSServerConfiguration,
    TLSVersion,
    WantReadError,
    WantWriteError,
)
from polytls.testing import CertificateAuthority, KeySigner, KeyType, Pair

__all__ = [
    "DEBUG",
    "HOST",
    "PATIENCE",
    "Lab",
    "Outcome",
    "Whole",
    "drive",
    "fill",
    "give_up",
    "ready",
    "same_error",
]

#: What the default server of these tests is called.
HOST = "server.example"

#: What no call of a case may take, in seconds.
PATIENCE = 30.0

#: What stands in a library's source, and in no sentence: identifiers, debugging output of Rust, and
#: the place in C that OpenSSL's words come from. Products and messages of TLS have such names.
DEBUG: Final = re.compile(
    r"\b(?!OpenSS[HL]\b|PowerShell\b|EdDSA\b|(Client|Server)Hello|HelloRetryRequest\b|KeyUpdate\b"
    r"|ServerKeyExchange\b|EncryptedExtensions\b|ChangeCipherSpec\b)[A-Z][a-z0-9]+[A-Z]\w*"
    r"| \{ |\w\(\w+\(|[a-z]{3}::[A-Z]|_ssl\.c|\[SSL|\bError\b"
)

#: Seconds after which the system has carried what it can.
_SETTLED = 0.1


class Whole:
    """Much data to compare with, told by where it differs: pytest's diff of it may take hours."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = data
        self._compared = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, bytes | bytearray | memoryview):
            return NotImplemented
        if other == self._data:
            return True
        pairs = enumerate(zip(self._data, other, strict=False))
        both = min(len(self._data), len(other))
        at = next((at for at, (wanted, found) in pairs if wanted != found), both)
        self._compared = f", compared to {len(other)} that agree up to {at}"
        return False

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self._data)} bytes{self._compared}>"


@dataclass
class Outcome:
    """How both sides' handshakes ended: with an error, or None if they are done or wait."""

    client: TLSError | None = None
    server: TLSError | None = None


class Lab:
    """Contexts of one implementation, and connections between them in memory."""

    host = HOST

    def __init__(
        self,
        implementation: TLSImplementation[Any, Any],
        ca: CertificateAuthority,
        signer: Callable[[PrivateKey], Signer] = KeySigner,
    ) -> None:
        self.implementation = implementation
        self.ca = ca
        #: Makes what signs with a key that is elsewhere, as `--polytls-signers` names it.
        self.signer = signer

    @functools.cache  # noqa: B019 - lives as long as the session
    def chain(
        self, *names: str, key_type: KeyType = KeyType.ECDSA_P256, **given: Any
    ) -> SigningChain:
        """A chain that `ca` issued for `names` (HOST by default); cached."""
        return self.ca.issue(*(names or (HOST,)), key_type=key_type, **given)

    def client(self, *, version: TLSVersion | None = None, **given: Any) -> Any:
        """A client's context; it trusts `ca` if nothing else is said."""
        given.setdefault("trust_store", self.ca.trust_store())
        configuration = TLSClientConfiguration(**_only(version), **given)
        return self.implementation.client_context(configuration)

    def server(self, *chains: SigningChain, version: TLSVersion | None = None, **given: Any) -> Any:
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

    def begun(self, side: str) -> Any:
        """The buffer of a side whose handshake has just begun; what it has to send was taken."""
        buffer = getattr(self.pair(), side)
        with pytest.raises(WantReadError):
            buffer.do_handshake()
        self.outgoing(buffer)
        return buffer

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
                except TLSError as error:
                    setattr(outcome, side, error)
            if not pair.transfer():
                break
        for found in (outcome.client, outcome.server):
            # What a case's own callback has raised is told by its name.
            if found is not None and found.__cause__ is None:
                assert not DEBUG.search(str(found)), "words of a library's source"
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
        return bytes(side.process_outgoing(side.outgoing_bytes_buffered()))


def _only(version: TLSVersion | None) -> dict[str, Any]:
    if version is None:
        return {}
    return {"lowest_supported_version": version, "highest_supported_version": version}


def same_error(one: BaseException, other: BaseException) -> bool:
    """Whether two errors are of one class with the same message and facts, yet not one object."""
    return (
        one is not other
        and type(one) is type(other)
        and str(one) == str(other)
        and vars(one) == vars(other)
    )


def give_up(side: Any) -> None:
    """Close a socket whatever it says: a case may leave its connection in any state."""
    with suppress(OSError):
        try:
            side.setblocking(False)
            side.close(force=True)
        finally:
            side.close(force=True)
    assert side.fileno() == -1


def ready(side: Any, events: int) -> None:
    """Wait until a selector finds `side` ready."""
    with selectors.DefaultSelector() as selector:
        selector.register(side, events)
        assert selector.select(PATIENCE), "nothing came"


def fill(side: Any) -> int:
    """Send until the system takes no more, on a socket that does not wait; return how much it took.

    A busy system takes its time to carry what it has, and then there is room again.
    """
    taken, settled = 0, False
    while True:
        try:
            taken += side.send(bytes(65536))
        except WantWriteError:
            if settled:
                return taken
            time.sleep(_SETTLED)
            settled = True
        else:
            settled = False


def drive(side: Any, call: Callable[..., Any], *given: Any) -> Any:
    """Repeat `call`, waiting with a selector for what it asks for."""
    while True:
        try:
            return call(*given)
        except WantReadError:
            ready(side, selectors.EVENT_READ)
        except WantWriteError:
            ready(side, selectors.EVENT_WRITE)
