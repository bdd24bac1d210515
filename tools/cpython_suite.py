"""The tests of the interpreter's own suite that use TLS, with `polytls.compat` under them.

    tools/cpython_suite.py            run them all; 0 if what is lost is what the list says
    tools/cpython_suite.py test_ssl   one module, with what each lost test said

They come with the interpreter (`test` in its library), so the list of them differs by version:
tools/cpython/3.11.toml names the modules, how many of their tests pass, and the lost ones, each
with its reason. A lost test that passes is an error as well: the list says what is so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

LISTS = Path(__file__).resolve().parent / "cpython"

#: What runs in a process of its own for each module; it writes one line of JSON at the end.
RUN = """
import importlib, json, os, sys, unittest, warnings
warnings.simplefilter("ignore")
from polytls import compat
compat.install()
from test import support
support.use_resources = []
said = open(os.devnull, "w")
module = importlib.import_module("test." + sys.argv[1])
suite = unittest.defaultTestLoader.loadTestsFromModule(module)
sys.stdout, kept = said, sys.stdout
result = unittest.TextTestRunner(stream=said).run(suite)
sys.stdout = kept
lost = {case.id(): text.strip().splitlines()[-1] for case, text in result.failures + result.errors}
print(json.dumps([result.testsRun - len(result.skipped), lost, compat.report()]))
"""


def run(module: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Run a module's tests; return how many ran, what each lost one said, and who served."""
    ran = subprocess.run(
        [sys.executable, "-c", RUN, module],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{module}: {ran.stderr[-2000:]}")
    count, lost, report = json.loads(ran.stdout.splitlines()[-1])
    return count, {name.removeprefix("test."): said for name, said in lost.items()}, report


def main(arguments: list[str]) -> int:
    """Run all modules, or those that are named; return the exit code."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    listed = tomllib.loads((LISTS / f"{version}.toml").read_text())
    reasons: dict[str, str] = listed["lost"]
    total, wrong = 0, False
    for module in arguments or listed["modules"]:
        count, lost, report = run(module)
        total += count - len(lost)
        print(f"{module:32} {count - len(lost)} of {count}; {report['polytls']} connections")
        for name, said in lost.items():
            if name not in reasons:
                wrong = True
                print(f"    lost: {name}: {said}")
            elif arguments:
                print(f"    {name}: {reasons[name]}")
        for name in reasons:
            if name.startswith(f"{module}.") and name not in lost:
                wrong = True
                print(f"    not lost: {name}: take it off {version}.toml")
        if report["openssl"]:
            wrong = True
            print(f"    {report['openssl']} connections were OpenSSL's: {report['reasons']}")
    if not arguments:
        print(f"{total} tests pass; the list says at least {listed['least']}")
        wrong = wrong or total < listed["least"]
    return int(wrong)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
