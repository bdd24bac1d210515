"""Runs a part of the kit on ARM64 under qemu-user: `make test-aarch64`.

The wheel is what `make wheels TARGETS=aarch64-unknown-linux-gnu` has left in dist/. Debian's Python
for ARM64, with its OpenSSL, is unpacked in .tools and not installed. Modules whose tests start
other processes are left out: the system would have to know how to run them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import wheels

FOLDER = wheels.ROOT / ".tools" / "aarch64"
SUITE = "bookworm"
VERSION = "3.11"
#: Python, and what it and `openssl` are linked with.
PACKAGES = (
    *(f"python{VERSION}-minimal", f"libpython{VERSION}-minimal", f"libpython{VERSION}-stdlib"),
    *("libc6", "libgcc-s1", "libssl3", "zlib1g", "libffi8", "libexpat1", "libbz2-1.0"),
    *("liblzma5", "libsqlite3-0", "libuuid1"),
)
#: The smoke subset, with rustls: over buffers and over sockets, certificates, resumption.
MODULES = (
    *("test_basics", "test_handshake", "test_buffer", "test_verification", "test_resumption"),
    *("test_client_authentication", "test_socket_connections", "test_socket_data"),
)
KIT = "polytls/testing/conformance"


def python() -> Path:
    """Debian's Python for ARM64, unpacked."""
    root = FOLDER / "root"
    program = root / "usr" / "bin" / f"python{VERSION}"
    if program.exists():
        return program
    with tempfile.TemporaryDirectory() as name:
        apt = Path(name)
        (apt / "lists" / "partial").mkdir(parents=True)
        (apt / "cache" / "archives" / "partial").mkdir(parents=True)
        (apt / "sources.list").write_text(f"deb http://deb.debian.org/debian {SUITE} main\n")
        options = {
            "Dir::Etc::sourcelist": apt / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": apt / "lists",
            "Dir::Cache": apt / "cache",
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "",
        }
        given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        wheels.run("apt-get", "-qq", *given, "update")
        wheels.run("apt-get", "-qq", *given, "download", *PACKAGES, cwd=apt)
        root.mkdir(parents=True, exist_ok=True)
        for package in sorted(apt.glob("*.deb")):
            wheels.run("dpkg-deb", "--extract", package, root)
    return program


def libraries(wheel: Path) -> Path:
    """A folder with the wheel and pytest."""
    folder = FOLDER / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    pinned = ("--constraint", wheels.ROOT / "requirements" / "dev.txt")
    wheels.run(*pip, "--target", folder, *pinned, "pytest", "typing_extensions")
    with zipfile.ZipFile(wheel) as zipped:
        zipped.extractall(folder)
    return folder


def main(arguments: list[str]) -> int:
    found = sorted(wheels.DIST.glob("*manylinux*aarch64*.whl"))
    if not found:
        print("dist/ has no wheel: make wheels TARGETS=aarch64-unknown-linux-gnu", file=sys.stderr)
        return 1
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        print("qemu-user is missing: apt-get install qemu-user-static", file=sys.stderr)
        return 1
    try:
        program = python()
        packages = libraries(found[-1])
    except wheels.ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    kit = packages / KIT
    chosen = arguments or [str(kit / f"{module}.py") for module in MODULES]
    root = program.parents[2]
    command = [qemu, "-L", root, "-E", f"PYTHONPATH={packages}", program, "-m", "pytest", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        given = [*map(str, command), "-p", "no:cacheprovider", *chosen]
        return subprocess.run(given, cwd=folder, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
