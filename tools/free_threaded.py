"""Runs the kit without a GIL, on a free-threaded CPython 3.14: `make test-free-threaded`.

Neither Debian nor PyPI has such an interpreter. But panda3d's wheel for CPython 3.14t has CPython
itself, with its extension modules, in the program that starts what its users have frozen. With the
standard library in Python from Debian, OpenSSL 3.5 as `make test-openssl` takes it, and
free_threaded.c in place of that program's main, that is `python`, in .tools.

The module says that it needs the GIL (crates/python/src/lib.rs); PYTHON_GIL=0 overrules it.

    tools/free_threaded.py [MODULE ...]    all modules of the kit by default, such as test_basics
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import elsewhere
import openssls
import wheels

FOLDER = elsewhere.FOLDER / "free-threaded"
VERSION = "3.14"
#: The release of Debian that has this version of the standard library, and of the headers.
SUITE = "forky"
PACKAGES = tuple(f"libpython{VERSION}-{part}" for part in ("minimal", "stdlib", "dev"))
WHEEL = "panda3d==1.10.16"
TAG = f"cp{VERSION.replace('.', '')}t"
IMPLEMENTATIONS = ("rustls", "openssl", "stdlib")
#: Programs that tests start have little time: the library is compiled once.
ENVIRONMENT = {"PYTHON_GIL": "0", "PYTHONDONTWRITEBYTECODE": ""}
LAUNCHER = """\
#!/bin/sh
LD_LIBRARY_PATH='{modules}' LD_PRELOAD='{main}' exec '{stub}' "$@"
"""


def python() -> Path:
    """The interpreter, put together if it was not yet."""
    home = FOLDER / "home"
    program = home / "bin" / f"python{VERSION}t"
    if program.exists():
        return program
    debian = elsewhere.unpack(FOLDER / "debian", SUITE, "amd64", *PACKAGES) / "usr"
    library = home / "lib" / f"python{VERSION}t"
    shutil.rmtree(home, ignore_errors=True)
    other = shutil.ignore_patterns("lib-dynload", "_sysconfig*data_*", "sitecustomize.py")
    shutil.copytree(debian / "lib" / f"python{VERSION}", library, ignore=other)
    modules = library / "lib-dynload"
    modules.mkdir()
    stub = home / "deploy-stub"
    with tempfile.TemporaryDirectory() as folder:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        kind = ("--platform", "manylinux2014_x86_64", "--python-version", VERSION, "--abi", TAG)
        wheels.run(*pip, "--no-deps", "--only-binary", ":all:", *kind, "-d", folder, WHEEL)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as zipped:
            stub.write_bytes(zipped.read("panda3d_tools/deploy-stub"))
            for name in zipped.namelist():
                place, _, file = name.rpartition("/")
                if place == "deploy_libs":
                    into = library if file.startswith("_sysconfigdata") else modules
                    (into / file).write_bytes(zipped.read(name))
    stub.chmod(0o755)
    for kind in ("ssl", "crypto"):
        (found,) = openssls.library("3.5").parent.glob(f"lib{kind}-*.so.3")
        (modules / f"lib{kind}.so.3").symlink_to(found)
    include = debian / "include"
    folders = (include / f"python{VERSION}", include)
    own = ("x86_64-linux-gnu", f"x86_64-linux-gnu/python{VERSION}")
    main = home / "main.so"
    wheels.run(
        *("gcc", "-shared", "-fPIC", "-O1", f'-DHOME="{home}"', f'-DPROGRAM="{program}"'),
        *(f"-I{folder}" for folder in (*folders, *(include / part for part in own))),
        *("-o", main, Path(__file__).with_suffix(".c"), "-ldl"),
    )
    program.parent.mkdir()
    program.write_text(LAUNCHER.format(modules=modules, main=main, stub=stub))
    program.chmod(0o755)
    return program


def wheel(program: Path) -> Path:
    """The wheel for it: the stable ABI has none without a GIL."""
    made = FOLDER / "wheels"
    shutil.rmtree(made, ignore_errors=True)
    wheels.run(
        *(wheels.BIN / "maturin", "build", "--quiet", "--release", "--locked"),
        *("--interpreter", program, "--compatibility", "linux", "--out", made),
        *("--", "-C", "debuginfo=0"),
        CARGO_TARGET_DIR=str(wheels.ROOT / "target" / "free-threaded"),
    )
    (found,) = made.glob(f"*{TAG}*.whl")
    return found


def main(arguments: list[str]) -> int:
    try:
        program = python()
        packages = elsewhere.libraries(FOLDER / "packages", wheel(program))
    except wheels.ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    done = [
        elsewhere.run([program], packages, implementation, modules=arguments, **ENVIRONMENT)
        for implementation in IMPLEMENTATIONS
    ]
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
