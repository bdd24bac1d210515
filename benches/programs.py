"""Programs that a run starts: those of this repository, itself once more, and installed ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

from .credentials import Credentials
from .machine import Cores
from .peers import Unable

__all__ = ["ROOT", "Child", "example", "installed"]

ROOT = Path(__file__).resolve().parents[1]


def installed(program: str, package: str) -> str:
    """The path of a program that Debian has in `package`; raises Unable where it is not there."""
    for path in (None, "/usr/sbin"):
        found = shutil.which(program, path=path)
        if found is not None:
            return found
    raise Unable(f"there is no {program}: install it (Debian: apt-get install {package})")


@cache
def example(name: str) -> str:
    """The path of a program of `crates/rustls/examples`, built with the features of the whole
    workspace, so that nothing is built twice."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--workspace"]
    command += ["--example", name, "--message-format=json"]
    answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in answer.stdout.splitlines()]
    programs: list[str] = [m["executable"] for m in messages if m.get("executable")]
    return programs[-1]


class Child(AbstractContextManager["Child"]):
    """`python -m benches` with other arguments, on the last core, until its standard input ends."""

    def __init__(self, cores: Cores, credentials: Credentials, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benches", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        cores.pin(self.process.pid, -1)
        #: The line that it prints when it is ready; empty if it has ended instead.
        self.said = self.ask(credentials.to_json())

    def ask(self, line: str = "") -> str:
        """Its answer to a line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self.process.communicate()
