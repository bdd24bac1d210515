"""A peer that presents what polytls's own sides would refuse to load: `ssl` with its guard down.

It has as much of a buffer as `Lab.settle` needs.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from polytls import AlertReceived, SigningChain, TLSError, TLSVersion, WantReadError
from polytls.testing.certificates import pem

__all__ = ["UnguardedPeer", "write"]


def write(path: Path, chain: SigningChain) -> Path:
    """Write a PEM file of a chain and its key, for an `UnguardedPeer`, and return its path."""
    certificate, key = chain.leaf
    assert key is not None
    sections = [pem("CERTIFICATE", each.buffer or b"") for each in (certificate, *chain.chain)]
    path.write_bytes(b"".join([*sections, pem("PRIVATE KEY", key.buffer or b"")]))
    return path


class UnguardedPeer:
    """One side of a connection that presents the chain of a PEM file, whatever it is.

    `version`: the only one it has; None: any.
    """

    def __init__(
        self, path: Path, *, server: bool = True, version: TLSVersion | None = None
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # Keys and digests of any strength (SSL_CTX_set_security_level(3)).
        context.set_ciphers("ALL:@SECLEVEL=0")
        if version is not None:
            only = getattr(ssl.TLSVersion, version.name)
            context.minimum_version = context.maximum_version = only
        context.load_cert_chain(path)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server)

    def do_handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            raise WantReadError("more is needed") from None
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):
                raise AlertReceived(error.reason or "", alert=0) from None
            raise TLSError(error.reason or "") from None

    def process_incoming(self, data: bytes) -> None:
        self._incoming.write(data)

    def process_outgoing(self, amount: int) -> bytes:
        return self._outgoing.read(amount)

    def outgoing_bytes_buffered(self) -> int:
        return self._outgoing.pending
