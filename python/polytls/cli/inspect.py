"""Connect to TLS servers, show what happened, and explain what went wrong.

`targets` reads the arguments, `findings` (and `starttls`) make the connections, `verdict` evaluates
them, and `report` and `document` have the result as text and as JSON.
"""

from __future__ import annotations

import argparse
import math
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Final, Literal, TypeVar

from .. import registry
from ..configuration import TLSClientConfiguration
from ..constants import CipherSuite, NextProtocol, TLSVersion
from ..errors import ConfigurationError
from ..identity import Certificate, PrivateKey, RevocationList, SigningChain, TrustStore
from ..interfaces import SupportsClientWrapSocket
from . import proxies
from .document import as_json
from .ech import GREASE, configurations
from .findings import Findings, gather, of_file
from .offers import Wanted
from .report import as_pem, as_text, verdict_lines
from .route import Route
from .starttls import PORTS
from .targets import CertificateFile, Target, parse
from .verdict import Outcome, Verdict, judge, worst
from .words import Progress, harmless, print_lines

__all__ = ["add_arguments", "run"]

_SECONDS: Final = 10.0
_MOST_DAYS: Final = 100_000
_VERSIONS: Final = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}

_T = TypeVar("_T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.epilog = (
        "Exit codes: 0: success; 1: the server's certificate was refused; 2: usage error, or an "
        "unreadable file; 3: no TLS connection for another reason; 4: a certificate has fewer days "
        "left than --min-days. Of several targets: 3 before 1 before 4."
    )
    parser.add_argument(
        "targets",
        metavar="TARGET",
        nargs="+",
        help="a server, HOST[:PORT] or a URL, or a file of certificates (PEM or DER); put an IPv6 "
        "address with a port in brackets; the default port is 443, or that of the STARTTLS "
        "service; of a URL, host and port are used; a file has a name that ends in .pem, .crt, "
        ".cer or .der, or a path with a slash",
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
    family = parser.add_mutually_exclusive_group()
    for number, kind in (("4", socket.AF_INET), ("6", socket.AF_INET6)):
        family.add_argument(
            f"-{number}",
            f"--ipv{number}",
            dest="family",
            action="store_const",
            const=kind,
            help=f"use IPv{number} addresses only",
        )
    parser.add_argument(
        "--proxy",
        metavar="URL",
        help="connect through this proxy: http://[USER:PASSWORD@]HOST:PORT, https://... or "
        "socks5://...; it resolves the server's name",
    )
    parser.add_argument(
        "--proxy-ca",
        metavar="FILE",
        help="trust the CAs in this file (PEM) for an https:// proxy, instead of the system's "
        "trust store",
    )
    for end in ("lowest", "highest"):
        parser.add_argument(
            f"--{end}-version",
            choices=[*_VERSIONS],
            help=f"the {end} version to offer (default: the implementation's)",
        )
    parser.add_argument(
        "--ciphers",
        metavar="SUITES",
        type=suites,
        help="offer these cipher suites, by their IANA names or numbers, separated by commas",
    )
    parser.add_argument(
        "--groups",
        metavar="GROUPS",
        type=groups,
        help="offer these groups, by their names or numbers, separated by commas",
    )
    parser.add_argument(
        "--certificate-compression",
        action="store_true",
        help="accept compressed certificates; off by default",
    )
    parser.add_argument(
        "--ech",
        metavar="CONFIGS",
        help="encrypt the ClientHello: the server's ECH configurations as Base64, or a file with "
        "them (a list, Base64, PEM, or the data of its HTTPS record); grease: only send an "
        "extension that looks like it; offers TLS 1.3 only",
    )
    parser.add_argument(
        "--enumerate",
        metavar="WHAT",
        type=wanted,
        help="find out what the server accepts, by asking for it in connections of their own: "
        "versions, suites, groups, or all; also what no implementation here supports",
    )
    parser.add_argument(
        "--min-days",
        metavar="DAYS",
        type=days,
        help="exit code 4 if a certificate is valid for fewer days",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=_SECONDS,
        help="timeout for each address, for the STARTTLS dialogue, and for the handshake "
        "(default: %(default)s)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON document: docs/cli.md")
    form.add_argument(
        "--pem",
        action="store_true",
        help="print the presented certificates as PEM, even if they were refused; verdicts other "
        "than good go to stderr",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return the verdict as an exit code."""
    targets = [_asked(partial(_target, arguments, text)) for text in arguments.targets]
    if arguments.ech is not None:
        arguments.ech = _asked(partial(_ech, arguments))
    configuration = _asked(lambda: _configuration(arguments))
    route = _asked(lambda: _route(arguments))
    results: list[tuple[Findings, Verdict]] = []
    with Progress(len(targets), long=arguments.enumerate is not None) as progress:
        for target in targets:
            progress.show(target.label)
            findings = _look_at(target, configuration, route, arguments, progress)
            identified = arguments.client_cert is not None
            verdict = judge(findings, identified=identified, min_days=arguments.min_days)
            results.append((findings, verdict))
            progress.clear()
            _print(findings, verdict, arguments, len(results) > 1)
    if arguments.json:
        print_lines(as_json(results))
    return worst([verdict for _, verdict in results]).exit_code


def _look_at(
    target: Target | CertificateFile,
    configuration: TLSClientConfiguration,
    route: Route,
    arguments: argparse.Namespace,
    progress: Progress,
) -> Findings:
    if isinstance(target, CertificateFile):
        return of_file(target)
    # One for each: no target resumes another's session.
    context = _context(arguments, configuration)
    can = registry.implementation(arguments.implementation).capabilities
    return gather(
        target,
        context,
        route,
        arguments.enumerate,
        progress.part,
        ech=arguments.ech if isinstance(arguments.ech, bytes) else None,
        tells_staple=can is not None and can.staple_verification,
    )


def _context(
    arguments: argparse.Namespace, configuration: TLSClientConfiguration
) -> SupportsClientWrapSocket:
    context = registry.implementation(arguments.implementation).client_context(configuration)
    if not isinstance(context, SupportsClientWrapSocket):
        raise ConfigurationError("this implementation does not support wrap_socket")
    return context


def _ech(arguments: argparse.Namespace) -> bytes | Literal["grease"]:
    if arguments.enumerate is not None and arguments.ech != GREASE:
        raise ValueError(
            "--ech cannot be combined with --enumerate, which sends the host name unencrypted"
        )
    return configurations(arguments.ech)


def _route(arguments: argparse.Namespace) -> Route:
    proxy = None if arguments.proxy is None else proxies.parse(arguments.proxy)
    context = None
    if proxy is not None and proxy.kind == "https":
        ca = arguments.proxy_ca
        store = TrustStore.system() if ca is None else TrustStore.from_file(ca)
        protocols = [NextProtocol.HTTP1]
        context = _context(
            arguments, TLSClientConfiguration(trust_store=store, inner_protocols=protocols)
        )
    elif arguments.proxy_ca is not None:
        raise ValueError("--proxy-ca needs --proxy https://...")
    return Route(arguments.timeout, arguments.family, proxy, context)


def _print(
    findings: Findings, verdict: Verdict, arguments: argparse.Namespace, another: bool
) -> None:
    """Print one result; a JSON document is printed at the end, in one piece."""
    if arguments.pem:
        print_lines(*as_pem(findings))
        if verdict.outcome is not Outcome.GOOD:
            print_lines(harmless(findings.target.label), *verdict_lines(verdict), stream=sys.stderr)
    elif not arguments.json:
        print_lines(*([""] if another else []), *as_text(findings, verdict))


def _asked(make: Callable[[], _T]) -> _T:
    """An invalid value on a command line, or a file that cannot be read, is unusable."""
    try:
        return make()
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {error.filename}: {error.strerror or error}"
        ) from None


def _target(arguments: argparse.Namespace, text: str) -> Target | CertificateFile:
    return parse(text, arguments.server_hostname, arguments.starttls)


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
    lowest = arguments.lowest_version or ("" if arguments.ech is None else "1.3")
    protocols = [name.strip() for given in arguments.alpn for name in given.split(",")]
    return TLSClientConfiguration(
        chain,
        arguments.ciphers,
        inner_protocols=[name.encode() for name in protocols if name],
        lowest_supported_version=_VERSIONS.get(lowest),
        highest_supported_version=_VERSIONS.get(arguments.highest_version),
        groups=arguments.groups,
        certificate_compression=arguments.certificate_compression,
        ech=GREASE if arguments.ech == GREASE else None,
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


def days(text: str) -> int:
    value = int(text)
    if not 0 <= value <= _MOST_DAYS:
        raise ValueError
    return value


def suites(text: str) -> list[CipherSuite | int]:
    given = [name.strip() for name in text.split(",")]
    return [
        CipherSuite[name] if name in CipherSuite.__members__ else int(name, 16) for name in given
    ]


def groups(text: str) -> list[str | int]:
    given = [name.strip() for name in text.split(",")]
    return [int(name, 16) if name.lower().startswith("0x") else name for name in given]


def wanted(text: str) -> Wanted:
    given = {name.strip() for name in text.split(",")}
    if not given <= {"versions", "suites", "groups", "all"}:
        raise ValueError
    every = "all" in given
    return Wanted(suites=every or "suites" in given, groups=every or "groups" in given)
