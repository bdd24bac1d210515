"""Runs the kit with another Python or for another machine: aarch64.py and free_threaded.py.

Debian's packages, of any release and architecture, are unpacked in .tools and never installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import wheels

FOLDER = wheels.ROOT / ".tools"
MIRROR = "http://deb.debian.org/debian"
#: The smoke subset: over buffers and over sockets, certificates, resumption.
MODULES = (
    *("test_basics", "test_handshake", "test_buffer", "test_verification", "test_resumption"),
    *("test_client_authentication", "test_socket_connections", "test_socket_data"),
)
KIT = "polytls/testing/conformance"


def download(folder: Path, suite: str, architecture: str, *packages: str) -> None:
    """Put packages of a release of Debian into `folder`, whatever this machine has."""
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb {MIRROR} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
    }
    given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    wheels.run("apt-get", "-qq", *given, "update")
    wheels.run("apt-get", "-qq", *given, "download", *packages, cwd=folder)


def unpack(root: Path, suite: str, architecture: str, *packages: str) -> Path:
    """A folder with what is in packages; it is made once."""
    done = root / ".unpacked"
    wanted = " ".join((suite, architecture, *packages))
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as name:
            download(Path(name), suite, architecture, *packages)
            for package in sorted(Path(name).glob("*.deb")):
                wheels.run("dpkg-deb", "--extract", package, root)
        done.write_text(wanted)
    return root


def wheel(pattern: str, target: str) -> Path:
    """The wheel that `make wheels` has left in dist/."""
    found = sorted(wheels.DIST.glob(pattern))
    if not found:
        raise wheels.ReleaseError(f"dist/ has no wheel: make wheels TARGETS={target}")
    return found[-1]


def libraries(folder: Path, wheel: Path) -> Path:
    """A folder with the wheel and pytest."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    pinned = ("--constraint", wheels.ROOT / "requirements" / "dev.txt")
    wheels.run(*pip, "--target", folder, *pinned, "pytest", "typing_extensions")
    shutil.unpack_archive(wheel, folder, "zip")
    return folder


def run(
    python: Sequence[str | Path],
    packages: Path,
    implementation: str,
    *arguments: str,
    modules: Sequence[str] = (),
    **environment: str,
) -> bool:
    """Whether modules of the kit, or all of it, pass with an implementation."""
    kit = packages / KIT
    chosen = [str(kit / f"{module}.py") for module in modules] or [str(kit)]
    given = ("-q", "-p", "no:cacheprovider", "--polytls-implementation", implementation)
    print(f"{implementation}:", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*map(str, python), "-m", "pytest", *given, *chosen, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(packages)} | environment,
            check=False,
        )
    return done.returncode == 0
