"""Makes what a release consists of, and checks it; docs/releasing.md says how to publish it.

    tools/wheels.py list                    the targets
    tools/wheels.py build [TARGET ...]      the sdist and wheels in dist/, all by default; and check
    tools/wheels.py check                   everything in dist/ once more
    tools/wheels.py links ADDRESS           make README's links absolute, below ADDRESS

Wheels are made of the sdist, so that it has all that a build takes. zig, as PyPI has it, is the C
compiler and the linker of those for Linux: it has the symbols of old C libraries, and builds for
other machines. For Windows it is MinGW-w64. Rust's standard library for a target comes from
rustup. Where rustup has none to give, it is compiled from its source (build-std), with the compiler
that Debian packages for its browsers (rustc-web), which comes with that source.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import linked

ROOT = linked.ROOT
DIST = ROOT / "dist"
#: Where wheels are made.
MADE = ROOT / "target" / "release-files"
#: Debian's compiler, unpacked.
DEBIAN = ROOT / ".tools" / "rust-web"
BIN = Path(sys.executable).parent
#: Behind a wheel's name and version: the oldest C library that it must run with, or the system.
TAGS = {
    "x86_64-unknown-linux-gnu": "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "aarch64-unknown-linux-gnu": "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "x86_64-unknown-linux-musl": "musllinux_1_2_x86_64",
    "aarch64-unknown-linux-musl": "musllinux_1_2_aarch64",
    "x86_64-pc-windows-gnu": "win_amd64",
}
#: The compiler and linker for Windows.
MINGW = "x86_64-w64-mingw32-gcc"
#: What a wheel for Windows may be linked with: parts of Windows, and what every Python brings.
WINDOWS = re.compile(
    r"(advapi32|bcrypt|bcryptprimitives|crypt32|iphlpapi|kernel32|msvcrt|ntdll|python3|secur32|userenv|ws2_32"
    r"|api-ms-win-c(ore|rt)-[-a-z0-9]+)\.dll",
    re.IGNORECASE,
)
#: musl's names: its own, and Alpine's.
MUSL = re.compile(r"libc\.so|libc\.musl-\w+\.so\.1")
#: What an sdist must have, that it can be built, tested and read without anything else.
IN_SDIST = (
    ".cargo/config.toml",
    "CHANGELOG.md",
    "Cargo.lock",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "LICENSE-THIRD-PARTY",
    "Makefile",
    "docs/identity.md",
    "python/polytls/py.typed",
    "requirements/dev.txt",
    "tests/conftest.py",
    "tools/pythons.py",
)
LICENCES = ("LICENSE-APACHE", "LICENSE-MIT", "LICENSE-THIRD-PARTY")
#: A link of README's that is good only beside README.
RELATIVE = re.compile(r"\]\((?!\w+:|#)([^\s()]+)\)")


class ReleaseError(Exception):
    """What is wrong, and what to do."""


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> None:
    """Run a command; its output is shown."""
    shown = " ".join(map(str, command))
    print(f"$ {shown}", flush=True)
    given = os.environ | environment
    done = subprocess.run([*map(str, command)], cwd=cwd, env=given, check=False)
    if done.returncode:
        raise ReleaseError(f"{shown}: status {done.returncode}")


def asked(*command: str | Path) -> str | None:
    """What a command prints; None if it fails."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


# --- compilers ---


def compiler(target: str) -> dict[str, str]:
    """The environment in which cargo can build for a target."""
    for _ in range(2):
        folder = asked("rustc", "--print", "target-libdir", "--target", target)
        if folder and any(Path(folder).glob("libstd-*.rlib")):
            return {}
        if not shutil.which("rustup") or asked("rustup", "target", "add", target) is None:
            break
    if shutil.which("apt-get"):
        return debian()
    raise ReleaseError(f"Rust has no standard library for {target}: rustup target add {target}")


def debian() -> dict[str, str]:
    """Debian's compiler, which builds the standard library as well."""
    rustc = DEBIAN / "usr" / "bin" / "rustc"
    if not rustc.exists():
        with tempfile.TemporaryDirectory() as folder:
            run("apt-get", "download", "-qq", *debian_packages(), cwd=Path(folder))
            for package in sorted(Path(folder).glob("*.deb")):
                run("dpkg-deb", "--extract", package, DEBIAN)
    (libraries,) = (DEBIAN / "usr" / "lib").glob("*-linux-gnu")
    return {
        "CARGO_UNSTABLE_BUILD_STD": "std,panic_unwind",
        "LD_LIBRARY_PATH": str(libraries),
        "RUSTC": str(rustc),
        "RUSTC_BOOTSTRAP": "1",
    }


def debian_packages() -> list[str]:
    """The compiler, what it is linked with, and the source of the standard library."""
    packages = ["rustc-web", "rust-web-src"]
    for package in ("rustc-web", "libstd-rust-web-dev"):
        shown = asked("apt-cache", "show", "--no-all-versions", package) or ""
        (depends,) = re.findall(r"^Depends: (.*)$", shown, re.MULTILINE) or [""]
        packages += re.findall(r"\blibstd-rust-web[-.\w]*", depends)
    shown = asked("apt-cache", "depends", "--no-recommends", packages[-1]) or ""
    return [*dict.fromkeys(packages), *re.findall(r"Depends: (libllvm\d+)", shown)]


def flags(source: Path) -> str:
    """What rustc is given: `.cargo/config.toml` has the first, and nothing is told of folders."""
    metadata = json.loads(linked.cargo("metadata", "--format-version", "1", "--locked"))
    crates = {
        Path(each["manifest_path"]).parent.parent
        for each in metadata["packages"]
        if each["source"] is not None
    }
    folders = dict.fromkeys(map(str, sorted(crates)), "crates.io")
    folders |= {str(MADE): "target", str(source): "polytls", str(DEBIAN): "rustc"}
    folders |= {sysroot(): "rustc"}
    remapped = (f"--remap-path-prefix={folder}=/{name}" for folder, name in folders.items())
    return "\x1f".join(["-C", "embed-bitcode=yes", *remapped])


def sysroot() -> str:
    found = asked("rustc", "--print", "sysroot")
    if found is None:
        raise ReleaseError("rustc does not run")
    return found


# --- building ---


def build(targets: list[str]) -> None:
    if not linked.is_current():
        raise ReleaseError("LICENSE-THIRD-PARTY is out of date: make licences")
    shutil.rmtree(DIST, ignore_errors=True)
    run(BIN / "maturin", "sdist", "--out", DIST)
    (archive,) = DIST.glob("*.tar.gz")
    unpacked = MADE / "source"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as sdist:
        sdist.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    bill = MADE / "polytls.cyclonedx.json"
    bill.write_text(linked.sbom())
    for target in targets:
        run(
            *(BIN / "maturin", "build", "--release", "--locked", "--target", target),
            *toolchain(TAGS[target]),
            *("--sbom-include", bill, "--out", DIST),
            cwd=source,
            PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}",
            CARGO_TARGET_DIR=str(MADE / "target"),
            CARGO_ENCODED_RUSTFLAGS=flags(source),
            **compiler(target),
        )
    check()


def toolchain(tag: str) -> tuple[str, ...]:
    """What maturin is told of the compiler, and of a tag.

    For Windows that is MinGW-w64, which rustc and cc take by themselves: with zig, maturin 1.16 has
    the linker export `PyInit_polytls._native`, package and all, which nobody defines.
    """
    if tag.startswith("win"):
        if not shutil.which(MINGW):
            raise ReleaseError(f"{MINGW} is missing: sh tools/install-peers.sh windows")
        return ()
    return ("--zig", "--compatibility", tag.partition(".")[0], "--auditwheel", "check")


# --- checking ---


def check() -> None:
    wheels = sorted(DIST.glob("*.whl"))
    archives = sorted(DIST.glob("*.tar.gz"))
    if not wheels or len(archives) != 1:
        raise ReleaseError("dist/ has no release: make wheels")
    _check_sdist(archives[0])
    for wheel in wheels:
        _check_wheel(wheel)
    run(BIN / "twine", "check", "--strict", *archives, *wheels)
    run(BIN / "abi3audit", "--strict", *wheels)
    _try(wheels)
    if RELATIVE.search((ROOT / "README.md").read_text()):
        print("warning: README has relative links, which lead nowhere on PyPI: docs/releasing.md")
    for file in (*archives, *wheels):
        print(f"{file.stat().st_size:>10,}  {file.name}")


def _check_sdist(archive: Path) -> None:
    with tarfile.open(archive) as sdist:
        names = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in sdist.getnames()}
    if missing := set(IN_SDIST) - names:
        raise ReleaseError(f"{archive.name} lacks {', '.join(sorted(missing))}")


def _check_wheel(wheel: Path) -> None:
    _check_tag(wheel)
    cargo = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    folders = [folder.encode() for folder in (str(ROOT), cargo, sysroot())]
    with zipfile.ZipFile(wheel) as zipped:
        names = zipped.namelist()
        for name in names:
            data = zipped.read(name)
            if found := [folder.decode() for folder in folders if folder in data]:
                raise ReleaseError(f"{wheel.name}: {name} has the path {found[0]}")
    for wanted in (*(f"licenses/{name}" for name in LICENCES), "sboms/polytls.cyclonedx.json"):
        if not any(name.endswith(f".dist-info/{wanted}") for name in names):
            raise ReleaseError(f"{wheel.name} has no {wanted}")


def _check_tag(wheel: Path) -> None:
    tags = wheel.stem.split("-", 4)[4].split(".")
    if tags[0].startswith("win"):
        # Nothing that only the machine of the build has.
        strangers = [name for name in _imported(wheel) if not WINDOWS.fullmatch(name)]
        if strangers:
            raise ReleaseError(f"{wheel.name} needs {', '.join(strangers)}")
        return
    if tags[0].startswith("musllinux"):
        # auditwheel knows musl only by the name that Alpine gives it, and maturin has checked the
        # rest. musl's loader takes both names for itself (load_library in ldso/dynlink.c).
        strangers = [name for name in _needed(wheel) if not MUSL.fullmatch(name)]
        if strangers:
            raise ReleaseError(f"{wheel.name} needs {', '.join(strangers)}")
        return
    told = asked(BIN / "auditwheel", "show", wheel) or ""
    if not any(f'"{tag}"' in told for tag in tags):
        raise ReleaseError(f"{wheel.name} is not of its tag, auditwheel says:\n{told}")


def _needed(wheel: Path) -> list[str]:
    """The libraries that a wheel's module is linked with (DT_NEEDED)."""
    # It comes with auditwheel, which only `make wheels` installs.
    from elftools.elf.elffile import ELFFile

    with zipfile.ZipFile(wheel) as zipped:
        (name,) = (name for name in zipped.namelist() if name.endswith(".so"))
        module = ELFFile(io.BytesIO(zipped.read(name)))
    entries = module.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")
    return [entry.needed for entry in entries]


def _imported(wheel: Path) -> list[str]:
    """The DLLs that a wheel's module is linked with."""
    # It comes with abi3audit.
    from pefile import PE

    with zipfile.ZipFile(wheel) as zipped:
        (name,) = (name for name in zipped.namelist() if name.endswith(".pyd"))
        module = PE(data=zipped.read(name))
    return [entry.dll.decode() for entry in module.DIRECTORY_ENTRY_IMPORT]


def _try(wheels: list[Path]) -> None:
    """Install what this machine can run, and run it, where nothing of this tree is."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "venv", folder)
        python = Path(folder) / "bin" / "python"
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        tags = asked(python, "-m", "pip", "debug", "--verbose") or ""
        if not any(wheel.stem.split("-", 2)[2].rpartition(".")[2] in tags for wheel in wheels):
            print("No wheel is for this machine: none was tried.")
            return
        run(*pip, "--no-index", f"--find-links={DIST}", "--only-binary", ":all:", "polytls")
        run(python, "-I", "-m", "polytls", "demo", cwd=Path(folder))


# --- README ---


def links(address: str) -> None:
    """Make README's links absolute: PyPI shows it where there are no files beside it."""
    page = ROOT / "README.md"
    page.write_text(absolute(page.read_text(), address))


def absolute(text: str, address: str) -> str:
    """The text with its relative links below `address`."""
    base = address.rstrip("/")
    return RELATIVE.sub(lambda link: f"]({base}/{link[1]})", text)


def main(arguments: list[str]) -> int:
    try:
        match arguments:
            case ["list"]:
                print(*TAGS, sep="\n")
            case ["build", *targets] if set(targets) <= set(TAGS):
                build(targets or list(TAGS))
            case ["check"]:
                check()
            case ["links", address]:
                links(address)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
