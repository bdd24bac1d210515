"""Run a Python program whose `ssl` is polytls.

`polytls run SCRIPT ARGUMENTS` and `polytls run -m MODULE ARGUMENTS` work like `python`, after
`polytls.compat.install()`. If Python was built without OpenSSL, it gets an `ssl` first. This also
applies to child processes that are forked, or started in the same way.
"""

from __future__ import annotations

import argparse
import runpy
import sys

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "--fallback",
        action="store_true",
        help="leave contexts that polytls cannot serve to OpenSSL, instead of refusing them",
    )
    parser.add_argument("-m", dest="module", action="store_true", help="run PROGRAM as a module")
    parser.add_argument("program", metavar="PROGRAM", help="a script, or a module with -m")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's arguments")


def run(chosen: argparse.Namespace) -> int:
    """Run the program; its exception determines the exit code."""
    # It imports `ssl`, which the other commands do not need.
    from ..compat import provide

    provide()
    from ..compat import install

    install(fallback=chosen.fallback)
    sys.argv[:] = [chosen.program, *chosen.arguments]
    if chosen.module:
        sys.path.insert(0, "")
        runpy.run_module(chosen.program, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(chosen.program, run_name="__main__")
    return 0
