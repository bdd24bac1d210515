"""The command line: `polytls`, or `python -m polytls`. One file a command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .. import __version__
from ..errors import ConfigurationError
from . import demo, implementations, inspect, serve

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0 as expected, 2 for what cannot be run."""
    parser = argparse.ArgumentParser(prog="polytls", description="TLS for Python by PEP 748.")
    parser.add_argument("--version", action="version", version=f"polytls {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (demo, inspect, serve, implementations):
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").partition("\n")[0]
        own = commands.add_parser(name, help=summary, description=summary)
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    chosen = parser.parse_args(arguments)
    try:
        code: int = chosen.run(chosen)
    except ConfigurationError as error:
        parser.exit(2, f"polytls: {error}\n")
    return code
