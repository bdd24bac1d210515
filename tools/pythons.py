"""Runs the Python tests under every CPython from 3.11 on that this machine can run.

    tools/pythons.py list
    tools/pythons.py test -- PYTEST ARGUMENTS

After the run that the arguments ask for comes one of the conformance kit for each implementation,
and under the newest version one of rustls without our record layer (tests/without_record_layer.py).
Interpreters are found by running candidates, never by name alone: a name on the PATH may be a shim
that fails. Each version gets an environment of its own under .venvs/ with the pinned test tools
and the one wheel. POLYTLS_PYTHONS, such as "3.11 3.12 3.13", names versions that must be there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venvs"
WHEELS = ROOT / "target" / "wheels"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
KIT = ("-q", "--pyargs", "polytls.testing.conformance")
WITHOUT_RECORDS = ("-p", "tests.without_record_layer", *KIT, "--polytls-implementation", "rustls")
OLDEST = (3, 11)
NEWEST = (3, 14)
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


def test(
    version: str, executable: str, options: list[str], further: list[list[str]]
) -> tuple[bool, str]:
    """Whether one version's tests pass, and `further` runs of its own, and what they print."""
    python = environment(version, executable)
    listing = "import polytls; print(*polytls.implementations())"
    asked = subprocess.run([python, "-c", listing], capture_output=True, text=True, check=True)
    runs = [options, *([*KIT, "--polytls-implementation", name] for name in asked.stdout.split())]
    passed, printed = True, ""
    for run in [*runs, *further]:
        done = subprocess.run(
            [python, "-m", "pytest", *run],
            cwd=ROOT,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        passed = passed and done.returncode == 0
        printed += done.stdout
    return passed, printed


def main(arguments: list[str]) -> int:
    found = interpreters()
    required = os.environ.get("POLYTLS_PYTHONS", "").split()
    missing = [version for version in required if version not in found]
    print(f"CPython here: {', '.join(found) or 'none'}", flush=True)
    if missing or not found:
        print(f"missing: {', '.join(missing) or 'any from 3.11 on'}", file=sys.stderr)
        return 1
    match arguments:
        case ["list"]:
            return 0
        case ["test", "--", *options]:
            pass
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    # Side by side: most tests that take long wait for a timeout.
    with ThreadPoolExecutor(len(found)) as pool:
        # The kit itself is proved once: its faulty implementations are plain Python.
        oldest, newest = next(iter(found)), next(reversed(found))
        runs = {
            version: pool.submit(
                test,
                version,
                path,
                options if version == oldest else [*options, "--ignore=tests/faults"],
                [[*WITHOUT_RECORDS]] if version == newest else [],
            )
            for version, path in found.items()
        }
        failed = []
        for version, run in runs.items():
            passed, printed = run.result()
            print(f"CPython {version}: {found[version]}\n{printed}", flush=True)
            if not passed:
                failed.append(version)
    if failed:
        print(f"tests failed under CPython {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
