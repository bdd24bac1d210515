"""Runs the Python tests: this tree's, and the conformance kit on every implementation.

    tools/pythons.py list
    tools/pythons.py check        a part of both, in less than a minute
    tools/pythons.py test         under the interpreter that runs this
    tools/pythons.py test all     under every CPython from 3.11 on that this machine can run
    tools/pythons.py test peers   those with other programs, under the interpreter that runs this

Interpreters are found by running candidates, never by name alone: a name on the PATH may be a shim
that fails. Each version gets an environment of its own under .venvs/ with the pinned test tools
and the one wheel. POLYTLS_PYTHONS, such as "3.11 3.12 3.13", names versions that must be there.

Tests are run in parts, a few at a time: most that take long wait for a timeout. What fails then is
run again by itself, as some of it depends on how much else a machine does; what passes there is
told as unsteady, and many failures are never tried again. Under the newest version the kit is run
once more, on rustls without our record layer (tests/without_record_layer.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venvs"
WHEELS = ROOT / "target" / "wheels"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
KIT = ("-q", "--pyargs", "polytls.testing.conformance")
WITHOUT_RECORDS = ("-p", "tests.without_record_layer", *KIT, "--polytls-implementation", "rustls")
#: The tests of this tree.
FAULTS = ("tests/faults",)
DRIVERS = (("tests/drivers/loops",), ("tests/drivers", "--ignore=tests/drivers/loops"))
REST = (
    ("tests", *(f"--ignore=tests/{it}" for it in ("drivers", "faults", "unit"))),
    ("tests/unit",),
)
#: In place of the rest, under versions between the oldest and the newest: tests of what uses the
#: modules of the standard library that change most.
BETWEEN = ("tests/compat", "tests/net", "tests/unit/test_stdlib.py")
#: The implementation on Python's own `ssl`.
OWN = "stdlib"
#: A look at most things, for `check`: not at tests of tests and benchmarks, which take most time.
LOOK = (
    "-q",
    "tests/unit",
    *(f"--ignore=tests/unit/test_{it}.py" for it in ("conformance_kit", "bench")),
)
KIT_LOOK = (*KIT, "-k", "test_handshake or test_buffer or test_socket_data")
#: How many runs go on at a time.
AT_A_TIME = (os.cpu_count() or 1) + 2
#: How many tests of a run may have failed for them to be run again by themselves.
FEW = 3
#: What pytest remembers of each run.
CACHES = ROOT / "target" / "pytest"
OLDEST = (3, 11)
NEWEST = (3, 14)
#: Tells the names of the implementations that can be used.
IMPLEMENTATIONS = "import polytls; print(*polytls.implementations())"
PROBE = (
    "import sys; "
    "assert sys.implementation.name == 'cpython' and not hasattr(sys, 'gettotalrefcount'); "
    "assert getattr(sys, '_is_gil_enabled', bool)() in (True, False); "
    "print(*sys.version_info[:2], sys.executable)"
)


def candidates() -> list[str]:
    """What may be an interpreter: this one, names on the PATH, and those under pyenv's root."""
    names = ["python3", *(f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1))]
    found = [sys.executable, *filter(None, map(shutil.which, names))]
    root = os.environ.get("PYENV_ROOT")
    if root is None and (pyenv := shutil.which("pyenv")):
        asked = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        root = asked.stdout.strip() or None
    versions = Path(root or Path.home() / ".pyenv") / "versions"
    return found + sorted(map(str, versions.glob("3.*/bin/python")))


def interpreters() -> dict[str, str]:
    """Version to executable, for each version that runs."""
    found: dict[tuple[int, int], str] = {}
    for candidate in candidates():
        try:
            run = subprocess.run(
                [candidate, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False
            )
        except OSError:
            continue
        if run.returncode:
            continue
        major, minor, executable = run.stdout.split(maxsplit=2)
        version = (int(major), int(minor))
        if version >= OLDEST:
            found.setdefault(version, executable.strip())
    return {f"{major}.{minor}": path for (major, minor), path in sorted(found.items())}


def environment(version: str, executable: str) -> str:
    """The interpreter of an environment with the tools and the wheel of now."""
    folder = ENVIRONMENTS / version
    python = folder / "bin" / "python"
    wanted = REQUIREMENTS.read_text()
    done = folder / ".requirements"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not done.exists() or done.read_text() != wanted:
        subprocess.run([executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
        done.write_text(wanted)
    (wheel,) = WHEELS.glob("*.whl")
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(wheel)], check=True)
    return str(python)


@dataclass(frozen=True)
class Run:
    """One run of pytest: `pytest` is the command, and `root` the folder that is its `/`."""

    place: str
    pytest: tuple[str, ...]
    arguments: tuple[str, ...]
    root: Path = Path("/")
    environment: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.place}: pytest {' '.join(self.arguments)}"

    @property
    def cache(self) -> Path:
        """What pytest remembers of this run, as a path under `root`."""
        return Path(CACHES, sha256(str(self).encode()).hexdigest()[:16])

    def failures(self) -> list[str]:
        """The tests that failed when it was last run."""
        remembered = self.here() / "v" / "cache" / "lastfailed"
        try:
            return list(json.loads(remembered.read_text()))
        except FileNotFoundError:
            return []

    def here(self) -> Path:
        """`cache` as a path of this process."""
        return self.root / self.cache.relative_to("/")

    def run(self, *more: str) -> tuple[bool, str]:
        """Whether it passes, and what it prints.

        Each has a folder of its own for temporary files: pytest deletes there what earlier runs
        have left, and fails where another deletes the same.
        """
        if not more:
            shutil.rmtree(self.here(), ignore_errors=True)
        files = tempfile.mkdtemp(prefix="polytls-", dir=self.root / "tmp")
        # Like /tmp: some servers that tests start run as users of their own.
        Path(files).chmod(0o1777)
        environment = os.environ if self.environment is None else self.environment
        try:
            done = subprocess.run(
                [*self.pytest, "-o", f"cache_dir={self.cache}", *self.arguments, *more],
                cwd=ROOT,
                env={**environment, "TMPDIR": f"/{Path(files).relative_to(self.root)}"},
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        finally:
            shutil.rmtree(files, ignore_errors=True)
        return done.returncode == 0, done.stdout


def under(version: str, python: str, *arguments: str) -> Run:
    """A run under one version."""
    return Run(f"CPython {version}", (python, "-m", "pytest"), arguments)


def implementations(python: str) -> list[str]:
    """The names of those that can be used there."""
    command = [python, "-c", IMPLEMENTATIONS]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    return asked.stdout.split()


def runs_of(
    version: str,
    executable: str,
    *,
    proves_kit: bool,
    goes_without: bool,
    own_only: bool = False,
    between: bool = False,
) -> Iterator[Run]:
    """All runs under one version.

    `proves_kit`: whether the kit itself is tested, too. `goes_without`: whether rustls is tested
    without our record layer as well. `own_only`: whether the kit is run only on the implementation
    whose library is the interpreter's own. `between`: whether an older and a newer version are
    tested, too.
    """
    python = environment(version, executable)
    rest = (BETWEEN,) if between else REST
    for part in (*((FAULTS,) if proves_kit else ()), *rest, *DRIVERS):
        yield under(version, python, "-q", *part, "-m", "not peers")
    for name in [OWN] if own_only else implementations(python):
        yield under(version, python, *KIT, "--polytls-implementation", name)
    if goes_without:
        yield under(version, python, *WITHOUT_RECORDS)


def looks(version: str, executable: str) -> Iterator[Run]:
    """The runs of `check`."""
    python = environment(version, executable)
    yield under(version, python, *LOOK)
    for name in implementations(python):
        yield under(version, python, *KIT_LOOK, "--polytls-implementation", name)


def peers() -> Iterator[Run]:
    """The tests with other programs, in parts of about the same size."""
    files = sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "tests/interop").glob("test_*.py")
    )
    for part in range(AT_A_TIME):
        arguments = ("-q", *files[part::AT_A_TIME], "-m", "peers")
        yield Run("peers", (sys.executable, "-m", "pytest"), arguments)


def together(runs: Iterable[Run]) -> int:
    """Run all, a few at a time, and what failed once more by itself; how many have failed."""
    failed = []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        begun = {pool.submit(run.run): run for run in runs}
        for done in as_completed(begun):
            passed, printed = done.result()
            print(f"== {begun[done]}\n{printed}", flush=True)
            if not passed:
                failed.append(begun[done])
    for run in [run for run in failed if 0 < len(run.failures()) <= FEW]:
        unsteady = ", ".join(run.failures())
        passed, printed = run.run("--last-failed")
        print(f"== again: {run}\n{printed}", flush=True)
        if passed:
            print(f"unsteady: {unsteady}", file=sys.stderr)
            failed.remove(run)
    for run in failed:
        print(f"failed: {run}", file=sys.stderr)
    return len(failed)


def main(arguments: list[str]) -> int:
    found = interpreters()
    required = os.environ.get("POLYTLS_PYTHONS", "").split()
    missing = [version for version in required if version not in found]
    print(f"CPython here: {', '.join(found) or 'none'}", flush=True)
    if missing or not found:
        print(f"missing: {', '.join(missing) or 'any from 3.11 on'}", file=sys.stderr)
        return 1
    here = ".".join(map(str, sys.version_info[:2]))
    match arguments:
        case ["list"]:
            return 0
        case ["check"]:
            return min(together(looks(here, sys.executable)), 1)
        case ["test"]:
            runs = runs_of(here, sys.executable, proves_kit=True, goes_without=True)
            return min(together(runs), 1)
        case ["test", "peers"]:
            return min(together(peers()), 1)
        case ["test", "all"]:
            # The kit itself is proved once: its faulty implementations are plain Python. Native
            # libraries are one binary for all versions: the oldest has it here, and newer ones on
            # distributions (tools/distributions.py).
            oldest, newest = next(iter(found)), next(reversed(found))
            with ThreadPoolExecutor(len(found)) as pool:
                all_runs = pool.map(
                    lambda version: [
                        *runs_of(
                            version,
                            found[version],
                            proves_kit=version == oldest,
                            goes_without=version == newest,
                            own_only=version != oldest,
                            between=version not in (oldest, newest),
                        )
                    ],
                    found,
                )
            return min(together(run for runs in all_runs for run in runs), 1)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
