"""A peer that speaks TLS correctly as far as a case lets it, and then says whatever the case says.

`ssl` does its handshake and logs its secrets. With these, records are sealed and opened here.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final

from polytls import TLSVersion
from polytls.testing.certificates import pem

from .hello import Hello
from .sealing import Direction12, Direction13, directions12

__all__ = ["Forger", "direction13", "secrets_in"]

#: Suites with AES-GCM: the hash, and the length of the keys.
_SUITES: Final = {
    b"\x13\x01": ("sha256", 16),
    b"\x13\x02": ("sha384", 32),
    b"\xc0\x2b": ("sha256", 16),
    b"\xc0\x2c": ("sha384", 32),
    b"\xc0\x2f": ("sha256", 16),
    b"\xc0\x30": ("sha384", 32),
}


def direction13(secret: bytes, suite: bytes) -> Direction13:
    """Return the keys that come of a traffic secret of a suite with AES-GCM."""
    return Direction13(secret, *_SUITES[suite])


def secrets_in(log: Path) -> dict[str, bytes]:
    """Return the secrets in a key log by their labels, of the last connection that has one."""
    found = {}
    for line in log.read_text().splitlines():
        if not line.startswith("#"):
            label, _, secret = line.split()
            found[label] = bytes.fromhex(secret)
    return found


class Forger:
    """The peer, in memory. `role` is its own; `folder` is for files that `ssl` wants or makes."""

    def __init__(self, lab: Any, role: str, version: TLSVersion, folder: Path) -> None:
        server = role == "server"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=lab.ca.certificate_pem.decode())
        if server:
            certificate, key = lab.chain().leaf
            (folder / "cert").write_bytes(pem("CERTIFICATE", certificate.buffer))
            (folder / "key").write_bytes(pem("PRIVATE KEY", key.buffer))
            context.load_cert_chain(folder / "cert", folder / "key")
            context.num_tickets = 0  # They would count as records.
        native = {
            TLSVersion.TLSv1_2: ssl.TLSVersion.TLSv1_2,
            TLSVersion.TLSv1_3: ssl.TLSVersion.TLSv1_3,
        }[version]
        context.minimum_version = context.maximum_version = native
        context.set_ciphers("ECDHE+AESGCM")
        self._context, self._log = context, folder / "secrets"
        context.keylog_filename = str(self._log)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._side = context.wrap_bio(
            self._incoming, self._outgoing, server, None if server else lab.host
        )
        self.role, self.version = role, version
        #: What each side has sent in the handshake.
        self._sent = {"client": b"", "server": b""}
        #: Whether the handshake is done.
        self.done = False
        #: What came behind it.
        self.unread = b""

    def close(self) -> None:
        """Close the file that `ssl` writes secrets to."""
        self._context.keylog_filename = None  # type: ignore[assignment]

    @property
    def other(self) -> str:
        """The role of the other side."""
        return "client" if self.role == "server" else "server"

    def go_on(self, data: bytes = b"") -> bytes:
        """Take what the other side has sent, and return what is to be sent for it."""
        assert not self.done
        self._sent[self.other] += data
        self._incoming.write(data)
        try:
            self._side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            self.done, self.unread = True, self._incoming.read()
        flight = self._outgoing.read()
        self._sent[self.role] += flight
        return flight

    def keys(self, role: str, *, handshake: bool = False) -> Direction13 | Direction12:
        """The keys that this side seals with, after the handshake or, in TLS 1.3, during it.

        They are as at their first use.
        """
        secrets = self._secrets()
        hello = {name: Hello.of(self._sent[name]) for name in ("client", "server")}
        if self.version is TLSVersion.TLSv1_3:
            name = "HANDSHAKE_TRAFFIC_SECRET" if handshake else "TRAFFIC_SECRET_0"
            return direction13(secrets[f"{role.upper()}_{name}"], hello["server"].suites)
        digest, length = _SUITES[hello["server"].suites]
        both = directions12(
            secrets["CLIENT_RANDOM"], hello["client"].random, hello["server"].random, digest, length
        )
        return both[role == "server"]

    def _secrets(self) -> dict[str, bytes]:
        return secrets_in(self._log)
