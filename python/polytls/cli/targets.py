"""What `polytls inspect` is asked to look at: HOST[:PORT], a URL, or a file of certificates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .. import names
from ..certificates import split
from .starttls import PORTS

__all__ = ["CertificateFile", "Target", "joined", "parse"]

_HTTPS: Final = 443

#: URL schemes, with the port and the STARTTLS service.
_SCHEMES: Final[dict[str, tuple[int, str | None]]] = {
    "https": (443, None),
    "wss": (443, None),
    "ftps": (990, None),
    "imaps": (993, None),
    "pop3s": (995, None),
    "smtps": (465, None),
    "ldaps": (636, None),
    "nntps": (563, None),
    **{name: (port, name) for name, port in PORTS.items()},
    "postgresql": (PORTS["postgres"], "postgres"),
}

#: What the names of certificate files end in; no top-level domain is called so.
_SUFFIXES: Final = (".pem", ".crt", ".cer", ".der")
#: How much of a file is read, in bytes.
_LARGEST: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Target:
    """A server."""

    host: str
    port: int
    #: The name that the certificate must have.
    server_hostname: str
    #: The service that begins in plaintext; None: TLS from the first byte.
    starttls: str | None = None

    @property
    def label(self) -> str:
        """Host and port, as they are written."""
        return joined(self.host, self.port)


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A file, with the certificates in it, as DER."""

    label: str
    certificates: tuple[bytes, ...]


def parse(text: str, server_hostname: str | None, starttls: str | None) -> Target | CertificateFile:
    """Return what an argument names; files are read.

    `server_hostname`, `starttls`: what the options say, for servers.

    Raises ValueError, with the reason, and OSError for a file that cannot be read.
    """
    if "://" in text:
        host, port, starttls = _of_url(text, starttls)
    elif _is_file(text):
        return CertificateFile(text, _certificates_of(text))
    else:
        host, port = _host_and_port(text, _HTTPS if starttls is None else PORTS[starttls])
    name = server_hostname or host
    for each in (host, name):
        names.verified_name(each)
    names.port_of((host, port))
    return Target(host, port, name, starttls)


def joined(host: str, port: int) -> str:
    """Return HOST:PORT, with brackets for IPv6 addresses."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_file(text: str) -> bool:
    """Whether a file is meant. What a folder contains does not change what a host name means."""
    return text.lower().endswith(_SUFFIXES) or ("/" in text and Path(text).exists())


def _certificates_of(path: str) -> tuple[bytes, ...]:
    with Path(path).open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"{path}: the file has more than {_LARGEST >> 20} MiB")
    try:
        return split(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _of_url(text: str, starttls: str | None) -> tuple[str, int, str | None]:
    """Host, port and STARTTLS service of a URL."""
    # Takes milliseconds to import, and is only needed for URLs.
    from urllib.parse import urlsplit

    url = urlsplit(text)
    if url.scheme not in _SCHEMES:
        known = ", ".join(_SCHEMES)
        raise ValueError(
            f"{text!r}: {url.scheme} is not a supported URL scheme; supported are {known}"
        )
    if not url.hostname:
        raise ValueError(f"{text!r} names no host")
    default, service = _SCHEMES[url.scheme]
    port = default if url.port is None else url.port
    return url.hostname, port, starttls or service


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    if "/" in text:
        raise ValueError(
            f"{text!r} is neither HOST[:PORT], nor a file, nor a URL such as https://{text}"
        )
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not bracket or (rest and colon != ":"):
            raise ValueError(f"{text!r} is not [ADDRESS]:PORT")
    elif not colon or ":" in host:  # A name alone, or an IPv6 address alone.
        host, colon, port = text, "", ""
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ValueError(f"{text!r}: the port must be a number up to 65535")
    return host, int(port) if colon else default
