"""The suites of libraries that use TLS, with `polytls.compat` under them.

    tools/suites.py                 all of them; 0 if what is lost is what the lists say
    tools/suites.py trio aiohttp    some of them, with the reason of each lost test
    tools/suites.py --ssl trio      the same over `ssl` as it is, for comparison

tools/suites/NAME.toml has for each a pinned release, what its tests need, which of them are run
(those of TLS), and the lost ones, each with its reason. The tests are taken from the release's
sdist, or from the package where it has them. A lost test that passes is an error as well. A test of
TLS is one during which a connection was made, or one that is lost. 98 % of them must pass, apart
from those that ask for what is refused (docs/ssl.md). What is lost and not listed is run once more
by itself before it counts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lost import is_as_listed

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "tools" / "suites"
FOLDER = ROOT / ".venvs" / "suites"
KEPT = 0.98
#: So long may a test take, in seconds.
TIMEOUT = "60"
TOOLS = ("pip==26.3", "pytest-timeout==2.4.0", "typing_extensions==4.16.0")


def prepared(name: str, suite: dict[str, Any]) -> tuple[str, Path]:
    """Install a suite; return its interpreter, and the folder that it is run in."""
    folder = FOLDER / name
    python = str(folder / "bin" / "python")
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    wanted = json.dumps([suite["release"], suite["needs"], TOOLS])
    done = folder / ".done"
    if not done.exists() or done.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([*pip, "install", *TOOLS], check=True)
        subprocess.run([*pip, "install", suite["release"], *suite["needs"]], check=True)
        (folder / "run").mkdir()
        if "take" in suite:
            sdist = folder / "sdist"
            package = re.split(r"[\[=]", suite["release"])[0]
            bare = re.sub(r"\[.*\]", "", suite["release"])
            subprocess.run(
                [*pip, "download", "--no-deps", "--no-binary", package, "-d", str(sdist), bare],
                check=True,
            )
            (archive,) = sdist.glob("*.tar.gz")
            with tarfile.open(archive) as opened:
                opened.extractall(sdist, filter="data")
            (source,) = (path for path in sdist.iterdir() if path.is_dir())
            for taken in suite["take"]:
                path = source / taken
                copy = shutil.copytree if path.is_dir() else shutil.copy
                copy(path, folder / "run" / taken)
        done.write_text(wanted)
    (wheel,) = (ROOT / "target" / "wheels").glob("*.whl")
    subprocess.run([*pip, "install", "--force-reinstall", "--no-deps", str(wheel)], check=True)
    return python, folder / "run"


def run(
    python: str, folder: Path, suite: dict[str, Any], under: str, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Run a suite, or only some of its tests; return what its plugin wrote."""
    result = folder.parent / "result.json"
    result.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "POLYTLS_SUITE": str(result),
        "POLYTLS_SUITE_UNDER": under,
        "POLYTLS_SUITE_ONLY": json.dumps(only),
    }
    # What its authors ask of a run in general is not of use here: coverage, processes in parallel.
    command = [python, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(folder), "-c", suite.get("settings", os.devnull)]
    ran = subprocess.run(
        [*command, "-p", "over_polytls", "--timeout", TIMEOUT, *suite["arguments"]],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    (folder.parent / "output").write_text(ran.stdout)
    if not result.exists() or ran.returncode not in (0, 1):
        raise SystemExit(ran.stdout[-3000:])
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def judged(name: str, under: str, *, tell: bool) -> tuple[bool, int, int, int]:
    """Run a suite; whether all is as its list says, and how many tests of TLS pass, are lost, and
    are lost for what is refused.
    """
    suite = tomllib.loads((HERE / f"{name}.toml").read_text())
    reasons: dict[str, str] = suite.get("lost", {})
    python, folder = prepared(name, suite)
    found = run(python, folder, suite, under)
    lost: dict[str, str] = found["lost"]
    unlisted = [test for test in lost if test not in reasons]
    again = run(python, folder, suite, under, unlisted) if unlisted else None
    unsteady = [test for test in unlisted if again and test not in again["lost"]]
    for test in unsteady:
        del lost[test]
    if again:
        found["over"] += again["over"]
        found["passed"] += again["passed"]
    over: int = found["over"]
    refused = sum(reasons.get(test, "").startswith("refused: ") for test in lost)
    report = found["report"]
    print(
        f"{suite['release']:42} of TLS {over} of {over + len(lost)}, {refused} refused; "
        f"{found['passed']} in all; {report['polytls']} connections",
        flush=True,
    )
    for test in unsteady:
        print(f"    unsteady: {test}")
    right = is_as_listed(lost, reasons, report, file=f"{name}.toml", tell=tell)
    return right, over, len(lost), refused


def main(arguments: list[str]) -> int:
    """Run what is asked for; return the exit code."""
    under = "ssl" if "--ssl" in arguments else "polytls"
    named = [argument for argument in arguments if argument != "--ssl"]
    names = named or sorted(path.stem for path in HERE.glob("*.toml"))
    results = [judged(name, under, tell=bool(named)) for name in names]
    passed, lost, refused = (sum(result[index] for result in results) for index in (1, 2, 3))
    share = passed / ((passed + lost - refused) or 1)
    print(
        f"{passed} of {passed + lost} tests of TLS pass; {refused} ask for what is refused, and of "
        f"the others {share:.1%} pass",
        flush=True,
    )
    return int(share < KEPT or not all(result[0] for result in results))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
