"""Connect to a TLS server, show what happened, and explain what went wrong.

`findings` (and `starttls`) make the connections, `verdict` evaluates them, and `report` prints the
result.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Final, TypeVar

from .. import names, registry
from ..configuration import TLSClientConfiguration
from ..errors import ConfigurationError
from ..identity import Certificate, PrivateKey, RevocationList, SigningChain, TrustStore
from ..interfaces import SupportsClientWrapSocket
from .findings import Target, gather
from .report import as_json, as_text
from .starttls import PORTS
from .verdict import judge
from .words import print_lines

__all__ = ["add_arguments", "run"]

_HTTPS: Final = 443
_SECONDS: Final = 10.0

_T = TypeVar("_T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.epilog = (
        "Exit codes: 0: success; 1: the server's certificate was refused; 2: usage error, or an "
        "unreadable file; 3: no TLS connection for another reason."
    )
    parser.add_argument(
        "target",
        metavar="HOST[:PORT]",
        help="the server; put an IPv6 address with a port in brackets; the default port is 443, "
        "or that of the STARTTLS service; a URL also works: its host and port are used",
    )
    parser.add_argument(
        "--starttls", choices=[*PORTS], help="the service starts in plaintext and switches to TLS"
    )
    parser.add_argument(
        "--implementation",
        metavar="NAME",
        help="the TLS implementation (default: the default implementation)",
    )
    parser.add_argument(
        "--server-hostname", metavar="NAME", help="the name to send and verify, if it is not HOST"
    )
    parser.add_argument(
        "--alpn",
        metavar="PROTOCOLS",
        action="append",
        default=[],
        help="offer these ALPN protocols, in order of preference, such as h2,http/1.1; can be "
        "repeated",
    )
    parser.add_argument(
        "--ca",
        metavar="FILE",
        help="trust the CAs in this file (PEM) instead of the system's trust store",
    )
    parser.add_argument(
        "--pin-sha256",
        metavar="HASH",
        action="append",
        default=[],
        help="accept only a certificate with this key (SHA-256 over SubjectPublicKeyInfo, in "
        "hexadecimal); can be repeated",
    )
    parser.add_argument(
        "--crl",
        metavar="FILE",
        action="append",
        default=[],
        help="CRLs; can be repeated; certificates with unknown status are then refused",
    )
    parser.add_argument(
        "--client-cert", metavar="FILE", help="the client certificate and its chain (PEM)"
    )
    parser.add_argument(
        "--client-key", metavar="FILE", help="the private key, if it is not in the certificate file"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=_SECONDS,
        help="timeout for each address, for the STARTTLS dialogue, and for the handshake "
        "(default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document: docs/cli.md")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return the verdict as an exit code."""
    if "://" in arguments.target:
        _asked(lambda: _take_url(arguments))
    target = _asked(lambda: _target(arguments))
    configuration = _asked(lambda: _configuration(arguments))
    context = registry.implementation(arguments.implementation).client_context(configuration)
    if not isinstance(context, SupportsClientWrapSocket):
        raise ConfigurationError("this implementation does not support wrap_socket")
    findings = gather(target, context, arguments.timeout)
    verdict = judge(findings, identified=arguments.client_cert is not None)
    if arguments.json:
        print_lines(as_json(findings, verdict))
    else:
        print_lines(*as_text(findings, verdict))
    return verdict.outcome.exit_code


def _asked(make: Callable[[], _T]) -> _T:
    """An invalid value on a command line is an unusable configuration."""
    try:
        return make()
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _target(arguments: argparse.Namespace) -> Target:
    host, port = _host_and_port(arguments.target, PORTS.get(arguments.starttls, _HTTPS))
    name = arguments.server_hostname or host
    for each in (host, name):
        names.verified_name(each)
    names.port_of((host, port))
    return Target(host, port, name, arguments.starttls)


#: URL schemes, with the port and the STARTTLS service.
_SCHEMES: Final[dict[str, tuple[int, str | None]]] = {
    "https": (443, None),
    "wss": (443, None),
    "ftps": (990, None),
    "imaps": (993, None),
    "pop3s": (995, None),
    "smtps": (465, None),
    "ldaps": (636, None),
    **{name: (port, name) for name, port in PORTS.items()},
}


def _take_url(arguments: argparse.Namespace) -> None:
    """Replace a URL by host and port, and select STARTTLS if its scheme requires it."""
    # Takes milliseconds to import, and is only needed for URLs.
    from urllib.parse import urlsplit

    url = urlsplit(arguments.target)
    if url.scheme not in _SCHEMES:
        known = ", ".join(_SCHEMES)
        raise ValueError(
            f"{arguments.target!r}: {url.scheme} is not a supported URL scheme; supported are "
            f"{known}"
        )
    if not url.hostname:
        raise ValueError(f"{arguments.target!r} names no host")
    default, service = _SCHEMES[url.scheme]
    port = default if url.port is None else url.port
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    arguments.target = f"{host}:{port}"
    arguments.starttls = arguments.starttls or service


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    if "/" in text:
        raise ValueError(f"{text!r} is neither HOST[:PORT] nor a URL such as https://{text}")
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


def _configuration(arguments: argparse.Namespace) -> TLSClientConfiguration:
    chain = None
    if arguments.client_cert is not None:
        key = arguments.client_key
        chain = SigningChain(
            (
                Certificate.from_file(arguments.client_cert),
                None if key is None else PrivateKey.from_file(key),
            )
        )
    elif arguments.client_key is not None:
        raise ValueError("--client-key needs --client-cert")
    protocols = [name.strip() for given in arguments.alpn for name in given.split(",")]
    return TLSClientConfiguration(
        chain,
        inner_protocols=[name.encode() for name in protocols if name],
        trust_store=_trust_store(arguments),
    )


def _trust_store(arguments: argparse.Namespace) -> TrustStore:
    if arguments.pin_sha256:
        if arguments.ca is not None or arguments.crl:
            raise ValueError("--pin-sha256 cannot be combined with --ca or --crl")
        return TrustStore.pinned(spki_sha256=arguments.pin_sha256)
    lists = [RevocationList.from_file(path) for path in arguments.crl]
    if arguments.ca is not None:
        return TrustStore.from_file(arguments.ca, crls=lists)
    return TrustStore.system(crls=lists)


def seconds(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError
    return value
