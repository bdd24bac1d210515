"""Runs the conformance kit, the Rust cases and the tests of options with several OpenSSLs.

The kit's cases of external keys run once more, with keys in SoftHSM.

    tools/openssls.py list
    tools/openssls.py test [NAME ...] [-- PYTEST ARGUMENTS]

Each is made once, in .tools/openssl/NAME:

    system   what libssl.so.3 or .4 is here
    3.5      the libraries in the wheel psycopg-binary (requirements/openssl.txt)
    4.0      compiled from the crate openssl-src, which takes about four minutes of one core.
             Its shared libraries cannot be linked, so one is made of the archives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".tools" / "openssl"
REQUIREMENTS = ROOT / "requirements" / "openssl.txt"
#: OpenSSL 4.0.3.
CRATE = "400.0.2"
#: What it compresses certificates with, if the headers are installed (zlib1g-dev, libbrotli-dev).
COMPRESSION = {
    "zlib": ("zlib.h", ("-lz",)),
    "brotli": ("brotli/encode.h", ("-lbrotlienc", "-lbrotlidec", "-lbrotlicommon")),
}
KIT = ("--pyargs", "polytls.testing.conformance", "--polytls-implementation", "openssl")
#: The kit's cases of external keys, with keys in a token.
SIGNERS = ("-k", "signer or elsewhere", "--polytls-signers", "polytls.testing.softhsm:signer")
#: The tests of what only OpenSSL has.
OPTIONS = "tests/unit/test_openssl.py"


def _run(*command: str | Path, folder: Path | None = None) -> None:
    """What a command prints is shown if it fails."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()


def _wheel(into: Path) -> Path:
    """The libraries of a wheel; its libssl finds its libcrypto beside it."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--no-deps", "--target", into, "-r", REQUIREMENTS)
    (library,) = into.glob("psycopg_binary.libs/libssl-*.so.3")
    return library


def _compiled(into: Path) -> Path:
    """OpenSSL 4 as one shared library, which has libcrypto in it."""
    with tempfile.TemporaryDirectory() as made:
        package = Path(made)
        (package / "src").mkdir()
        (package / "src" / "lib.rs").touch()
        (package / "Cargo.toml").write_text(
            '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n'
            f'[dependencies]\nopenssl-src = "={CRATE}"\n[workspace]\n'
        )
        _run("cargo", "vendor", "--quiet", "vendor", folder=package)
        source = package / "vendor" / "openssl-src" / "openssl"
        options = ["no-shared", "no-tests", "no-apps", "no-docs", "no-legacy", "-fPIC"]
        libraries = ["-ldl", "-lpthread"]
        for name, (header, linked) in COMPRESSION.items():
            if (Path("/usr/include") / header).exists():
                options.append(f"enable-{name}")
                libraries += linked
        _run("perl", "./Configure", *options, f"--openssldir={_directory()}", folder=source)
        _run("make", "--silent", f"-j{os.cpu_count()}", "build_libs", folder=source)
        into.mkdir(parents=True, exist_ok=True)
        library = into / "libssl.so.4"
        archives = ("libssl.a", "libcrypto.a")
        # Its own symbols come first, whatever else the process has loaded.
        flags = ("-shared", "-Wl,-Bsymbolic", "-Wl,-soname,libssl.so.4", "-o", library)
        whole = ("-Wl,--whole-archive", *archives, "-Wl,--no-whole-archive")
        _run("gcc", *flags, *whole, *libraries, folder=source)
    return library


def _directory() -> str:
    """Where the system's OpenSSL has its configuration."""
    command = ["openssl", "version", "-d"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return told.stdout.partition('"')[2].partition('"')[0]


MAKERS: dict[str, Callable[[Path], Path] | None] = {
    "system": None,
    "3.5": _wheel,
    "4.0": _compiled,
}


def library(name: str) -> Path | None:
    """The libssl of that name, made if it was not yet; None for the system's."""
    make = MAKERS[name]
    if make is None:
        return None
    folder = FOLDER / name
    path = folder / "path"
    if not path.exists():
        shutil.rmtree(folder, ignore_errors=True)
        path_of_library = make(folder)
        path.write_text(str(path_of_library))
    return Path(path.read_text())


def test(name: str, arguments: list[str]) -> bool:
    """Whether the Rust cases and the kit pass there."""
    chosen = library(name)
    environment = dict(os.environ)
    plugin: tuple[str, ...] = ()
    if chosen is not None:
        environment["TEST_LIBSSL"] = str(chosen)
        plugin = ("-p", "tests.chosen_openssl")
    print(f"== OpenSSL: {name}", flush=True)
    pytest = (sys.executable, "-m", "pytest", "-q", *plugin)
    commands: list[tuple[str, ...]] = [(*pytest, *KIT, *arguments)]
    if not arguments:
        commands = [
            ("cargo", "test", "--quiet", "--release", "--locked", "-p", "polytls-openssl"),
            (*pytest, OPTIONS),
            (*pytest, *KIT, *SIGNERS),
            *commands,
        ]
    done = [
        subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
        for command in commands
    ]
    return all(done)


def main(arguments: list[str]) -> int:
    """Do what is asked for."""
    if arguments == ["list"]:
        print(*MAKERS, sep="\n")
        return 0
    if not arguments or arguments[0] != "test":
        print(__doc__, file=sys.stderr)
        return 2
    arguments = arguments[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    names, rest = arguments[:end] or list(MAKERS), arguments[end + 1 :]
    if unknown := [name for name in names if name not in MAKERS]:
        print(f"no such OpenSSL: {', '.join(unknown)}", file=sys.stderr)
        return 2
    failed = [name for name in names if not test(name, rest)]
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
