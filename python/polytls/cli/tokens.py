"""Show the PKCS#11 tokens of this machine, or try a private key in one.

polytls tokens list [MODULE]
polytls tokens check URI
"""

from __future__ import annotations

import argparse
import getpass
import sys

from ..errors import TokenError
from ..tokens import PinRequest, private_key, tokens

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    commands = parser.add_subparsers(dest="tokens_command", metavar="COMMAND", required=True)
    listing = commands.add_parser("list", help="show tokens, their objects, and the URI of each")
    listing.add_argument("module", nargs="?", help="the path of a PKCS#11 module (p11-kit's)")
    listing.add_argument(
        "--login", action="store_true", help="ask for the PIN of each token, to show private keys"
    )
    check = commands.add_parser(
        "check", help="sign once with a private key, and verify the signature"
    )
    check.add_argument("uri", help="the pkcs11: URI of the key (RFC 7512)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return 0, or 1 if a token cannot be used."""
    try:
        if arguments.tokens_command == "list":
            _list(arguments.module, login=arguments.login)
        else:
            _check(arguments.uri)
    except TokenError as error:
        print(f"polytls: {error}", file=sys.stderr)
        return 1
    return 0


def _ask(request: PinRequest) -> str:
    last = " (last try)" if request.is_final_try else ""
    return getpass.getpass(f"PIN of the token {request.token}{last}: ")


def _list(module: str | None, *, login: bool) -> None:
    found = tokens(module, pin=_ask if login else None)
    if not found:
        print("no token")
    for token in found:
        print(token.uri)
        for uri in token.objects:
            print(f"  {uri}")
        if token.needs_pin and not login:
            print("  (private keys are shown with --login)")


def _check(uri: str) -> None:
    if (signer := private_key(uri, pin=_ask).signer) is not None:
        algorithms = ", ".join(algorithm.name for algorithm in signer.algorithms)
        print(f"signed, and verified with the public key; signature algorithms: {algorithms}")
