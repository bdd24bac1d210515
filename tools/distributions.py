"""Runs the conformance kit on other distributions than this machine's: other Pythons and OpenSSLs.

    tools/distributions.py list
    tools/distributions.py test [NAME ... | turn]

Each distribution is a folder under .distributions/, made by debootstrap and entered by chroot. That
needs root, on a Debian machine or a relative of it. debootstrap is installed if it is missing. A
folder is made once and kept; `make clean` removes it, and after `MAX_AGE` it is made anew.

The wheel is this machine's (target/wheels). It and the pinned test tools go into an environment
inside. The kit runs there on every implementation, and so do the tests of what is the own of
`stdlib`, which stands on that Python and OpenSSL. Without names all distributions are tested.
`turn` is one of them, chosen by the commit's hash: CI has no time for all.

What is mounted inside is mounted in a namespace of its own. It goes away with the last process in
there, however that ends, so a folder can always be removed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pythons import IMPLEMENTATIONS, KIT, REQUIREMENTS, ROOT, WHEELS, Run, together

FOLDERS = ROOT / ".distributions"
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Seconds after which a folder is made anew: sid changes daily.
MAX_AGE = 14 * 24 * 3600
#: What the tests need there; versions are those of `make test`.
TOOLS = ("pytest", "typing_extensions")
#: Inside. None of this machine's settings counts there.
ENVIRONMENT = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
VERSIONS = "import platform, ssl; print(platform.python_version(), ssl.OPENSSL_VERSION, sep=', ')"


@dataclass(frozen=True)
class Distribution:
    """A Debian release, and which of its Pythons is tested."""

    suite: str
    newest: bool = False

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return FOLDERS / self.suite


DISTRIBUTIONS = {
    "trixie": Distribution("trixie"),
    "sid": Distribution("sid"),
    "sid-newest": Distribution("sid", newest=True),
}


class CannotError(Exception):
    """What this machine cannot do, and why."""


# --- folders ---


def check() -> None:
    """Install what is missing. Raises CannotError where this machine cannot do it."""
    if not shutil.which("apt-get"):
        raise CannotError("tests on other distributions need a Debian machine or a relative of it")
    if os.geteuid():
        raise CannotError(
            "tests on other distributions need root, for debootstrap, mounts and chroot: use sudo"
        )
    missing = [] if KEYRING.exists() else ["debian-archive-keyring"]
    missing += [] if shutil.which("debootstrap") else ["debootstrap"]
    if missing:
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-qq", "--no-install-recommends", *missing], quiet)
    run(["unshare", "--mount", "--pid", "--fork", "true"])


def prepare(suite: str) -> None:
    """Make the folder of a Debian release, unless it is there."""
    folder = FOLDERS / suite
    made = folder / "root" / ".made"
    if made.exists() and time.time() - made.stat().st_mtime < MAX_AGE:
        return
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    packages = FOLDERS / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", "--include=python3-venv"]
    options += [f"--keyring={KEYRING}", f"--cache-dir={packages}"]
    # It mounts /proc and /sys there. Nothing needs to be safe on the disk, which takes long.
    quiet = os.environ | {"DPKG_FORCE": "unsafe-io", "DEBIAN_FRONTEND": "noninteractive"}
    run(["unshare", "--mount", "debootstrap", *options, suite, str(folder), MIRROR], quiet)
    found = re.findall(
        r"^(python3\.\d+)-venv$", inside(folder, "apt-cache", "pkgnames", "python3."), re.MULTILINE
    )
    newest = max(found, key=minor)
    if newest != pythons(folder)[-1]:
        install = ("apt-get", "install", "-qq", "--no-install-recommends", f"{newest}-venv")
        run(entering(folder, *install), quiet | ENVIRONMENT)
    made.touch()
    print(f"{suite}: made {folder} in {time.monotonic() - started:.0f} s", flush=True)


def pythons(folder: Path) -> list[str]:
    """The Pythons of a folder as `python3.N`, the newest last."""
    names = (path.name for path in (folder / "usr" / "bin").glob("python3.*"))
    return sorted((name for name in names if re.fullmatch(r"python3\.\d+", name)), key=minor)


def minor(python: str) -> int:
    """The N of `python3.N`."""
    return int(python.partition(".")[2])


# --- processes ---


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What a command prints. Raises CannotError, with the end of that, if it fails."""
    done = completed(command, environment)
    if done.returncode:
        raise CannotError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def completed(
    command: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command that has ended, with all it printed as `stdout`."""
    return subprocess.run(
        command,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def entering(folder: Path, *command: str) -> list[str]:
    """A command inside. All processes there end with it, and with them what was mounted."""
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    # The first process there gets only signals that it has a handler for, so that is a shell.
    shell = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
    return [*enter, f"--mount-proc={folder / 'proc'}", "chroot", str(folder), *shell, *command]


def inside(folder: Path, *command: str) -> str:
    """What a command inside prints. Raises CannotError if it fails."""
    return run(entering(folder, *command), ENVIRONMENT)


# --- tests ---


def tools() -> Path:
    """A folder with the pinned test tools, which are the same for every Python."""
    folder, wanted = FOLDERS / "tools", REQUIREMENTS.read_text()
    done = folder / "requirements.txt"
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        run([*pip, "-d", str(folder), "--only-binary", ":all:", "-c", str(REQUIREMENTS), *TOOLS])
        done.write_text(wanted)
    return folder


def install(name: str, distribution: Distribution) -> str:
    """The interpreter of a new environment inside, with the tools and the wheel of now."""
    folder = distribution.folder
    given = folder / "root" / name
    (wheel,) = WHEELS.glob("*.whl")
    shutil.rmtree(given, ignore_errors=True)
    shutil.copytree(tools(), given)
    shutil.copytree(ROOT / "tests", given / "tests")
    for path in (wheel, ROOT / "pyproject.toml"):
        shutil.copy(path, given)
    python = pythons(folder)[-1] if distribution.newest else "python3"
    inside(folder, python, "-m", "venv", "--clear", f"/opt/{name}")
    python = f"/opt/{name}/bin/python"
    pip = (python, "-m", "pip", "install", "--quiet", "--no-index", f"--find-links=/root/{name}")
    inside(folder, *pip, *TOOLS, f"/root/{name}/{wheel.name}")
    return python


def test(name: str, distribution: Distribution) -> bool:
    """Whether all tests pass there. Prints what they print."""
    folder, python = distribution.folder, install(name, distribution)
    print(f"{name}: CPython {inside(folder, python, '-c', VERSIONS)}", flush=True)

    def run(chdir: str, *arguments: str) -> Run:
        pytest = entering(folder, "env", f"--chdir={chdir}", python, "-m", "pytest")
        return Run(name, (*pytest,), arguments, folder, ENVIRONMENT)

    # Only tests of our own may see the settings of our project.
    runs = [run(f"/root/{name}", "-q", "tests/unit/test_stdlib.py")]
    for implementation in inside(folder, python, "-c", IMPLEMENTATIONS).split():
        runs.append(run("/root", *KIT, "--polytls-implementation", implementation))
    return together(runs) == 0


def turn() -> str:
    """The distribution whose turn it is at this commit."""
    commit = run(["git", "-C", str(ROOT), "rev-parse", "HEAD"])
    return list(DISTRIBUTIONS)[int(commit[:8], 16) % len(DISTRIBUTIONS)]


def main(arguments: list[str]) -> int:
    match arguments:
        case ["list"]:
            print(*DISTRIBUTIONS)
            return 0
        case ["test", *names] if names == ["turn"] or set(names) <= set(DISTRIBUTIONS):
            pass
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    failed = []
    try:
        check()
        for name in [turn()] if names == ["turn"] else names or DISTRIBUTIONS:
            prepare(DISTRIBUTIONS[name].suite)
            if not test(name, DISTRIBUTIONS[name]):
                failed.append(name)
    except CannotError as error:
        print(error, file=sys.stderr)
        return 1
    if failed:
        print(f"tests failed on {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
