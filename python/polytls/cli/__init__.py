"""The command line: `polytls`, or `python -m polytls`. One file per command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from .. import __version__
from ..errors import ConfigurationError
from . import demo, implementations, inspect, run, serve, tokens

__all__ = ["main"]


#: The exit codes that shells report for programs ended by SIGINT or SIGPIPE.
_INTERRUPTED: Final = 130
_UNHEARD: Final = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0 for success, 2 for a usage error.

    Ctrl-C ends it with 130. If the reader of its output exits, as `head` does, it ends with 141.
    """
    parser = argparse.ArgumentParser(prog="polytls", description="TLS for Python by PEP 748.")
    parser.add_argument("--version", action="version", version=f"polytls {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in (demo, inspect, serve, run, implementations, tokens):
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").partition("\n")[0]
        own = commands.add_parser(name, help=summary, description=summary)
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    try:
        chosen = parser.parse_args(arguments)
        code: int = _help(parser) if chosen.command is None else chosen.run(chosen)
        sys.stdout.flush()
    except ConfigurationError as error:
        parser.exit(2, f"polytls: {error}\n")
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Nobody reads the output any more. Python flushes again at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNHEARD
    return code


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0
