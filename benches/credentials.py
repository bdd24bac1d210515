"""One throw-away authority and one ECDSA P-256 certificate for a whole run, as PEM in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from polytls.testing import CertificateAuthority
from polytls.testing.certificates import pem

__all__ = ["HOST", "Credentials"]

#: The name in the certificate.
HOST = "localhost"


@dataclass(frozen=True)
class Credentials:
    """What clients trust and servers show, all PEM."""

    authority: str
    certificate: str
    key: str

    @classmethod
    def make(cls) -> Credentials:
        """New ones."""
        ca = CertificateAuthority()
        certificate, key = ca.issue(HOST).leaf
        assert certificate.buffer is not None
        assert key is not None
        assert key.buffer is not None
        return cls(
            ca.certificate_pem.decode(),
            pem("CERTIFICATE", certificate.buffer).decode(),
            pem("PRIVATE KEY", key.buffer).decode(),
        )

    def to_json(self) -> str:
        """As one line, for another process's standard input."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Credentials:
        """What `to_json` gave."""
        return cls(**json.loads(text))

    @contextmanager
    def chain_file(self) -> Iterator[str]:
        """The path of a file with certificate and key, for libraries that insist on one."""
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write((self.certificate + self.key).encode())
            file.flush()
            yield file.name
