"""What a build needs is told before it begins, and what a release says of itself is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import linked
import polytls
import wheels
from pages import ROOT


def needs(python: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What tools/needs.sh says, with the programs of a folder before those of the system."""
    before = f"{path}{os.pathsep}" if path else ""
    return subprocess.run(
        ["sh", str(ROOT / "tools" / "needs.sh"), python],
        env=os.environ | {"PATH": before + os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder, with blanks and letters beyond ASCII in its name, for programs."""
    folder = tmp_path / "Prográmme und mehr"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_nothing_is_said_where_a_build_works() -> None:
    done = needs(sys.executable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_too_old_is_told_by_name(programs: Path) -> None:
    old = program(programs, "python3", "echo 3.9.2")
    program(programs, "rustc", 'echo "rustc 1.63.0 (4b91a6ea7 2022-08-08)"')
    done = needs(old, programs)
    assert done.returncode == 1
    python, rust = done.stderr.splitlines()
    assert python.startswith(f"Python 3.9.2 is too old ({old}): install 3.11 or later")
    assert rust.startswith("Rust 1.63.0 is too old: install 1.88 or later with rustup")


def test_what_is_missing_is_told_with_what_installs_it(programs: Path) -> None:
    for name in ("cc", "rustc"):
        program(programs, name, "exit 127")
    # The first question is for its version, the second for venv.
    found = 'case "$2" in *venv*) exit 1 ;; *) echo 3.11.2 ;; esac'
    done = needs(program(programs, "python3", found), programs)
    assert done.returncode == 1
    venv, compiler, rust = done.stderr.splitlines()
    assert venv.startswith("Python's venv is missing")
    assert "python3-venv" in venv
    assert compiler.startswith("A C compiler with the system's headers is missing (cc)")
    assert rust == "Rust is missing: install 1.88 or later with rustup (https://rustup.rs)"
    assert needs("no-such-python").stderr.startswith("Python is missing (no-such-python")


def test_versions_are_compared_as_numbers(programs: Path) -> None:
    newer = program(programs, "python3", 'case "$2" in *venv*) ;; *) echo 3.100.0 ;; esac')
    program(programs, "rustc", 'echo "rustc 1.100.0-nightly (4b91a6ea7 2027-08-08)"')
    assert needs(newer, programs).stderr == ""


def test_the_version_is_that_of_cargo() -> None:
    with open(ROOT / "Cargo.toml", "rb") as file:
        assert polytls.__version__ == tomllib.load(file)["workspace"]["package"]["version"]


def test_the_bill_of_materials_has_every_crate_with_its_hash_and_no_path() -> None:
    text = linked.sbom()
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    bill = json.loads(text)
    components = {each["name"]: each for each in bill["components"]}
    assert {"rustls", "aws-lc-sys", "polytls-core"} <= set(components)
    # They build others, and are not in the module.
    assert not {"cc", "pyo3-macros", "proptest"} & set(components)
    for name, each in components.items():
        assert name.startswith("polytls-") or len(each["hashes"][0]["content"]) == 64
    known = {bill["metadata"]["component"]["bom-ref"]} | {
        each["bom-ref"] for each in bill["components"]
    }
    for each in bill["dependencies"]:
        assert {each["ref"], *each["dependsOn"]} <= known


def test_links_beside_readme_become_absolute() -> None:
    text = "[a](docs/a.md#b) [c](#c) [d](https://d.example/) [e](LICENSE)"
    made = wheels.absolute(text, "https://example.org/main/")
    assert made == (
        "[a](https://example.org/main/docs/a.md#b) [c](#c) [d](https://d.example/) "
        "[e](https://example.org/main/LICENSE)"
    )


@pytest.mark.parametrize(
    ("libraries", "stranger"),
    [
        (["libc.so"], None),
        (["libc.musl-x86_64.so.1"], None),
        (["libc.so", "libz.so.1"], "libz.so.1"),
        (["libc.so.6"], "libc.so.6"),  # glibc's.
        (["libgcc_s.so.1"], "libgcc_s.so.1"),
    ],
)
def test_a_wheel_for_musl_needs_musl_alone(
    monkeypatch: pytest.MonkeyPatch, libraries: list[str], stranger: str | None
) -> None:
    monkeypatch.setattr(wheels, "_needed", lambda _: libraries)
    wheel = Path("polytls-0.1.0-cp311-abi3-musllinux_1_2_x86_64.whl")
    if stranger is None:
        wheels._check_tag(wheel)
    else:
        with pytest.raises(wheels.ReleaseError, match=f"needs {stranger}"):
            wheels._check_tag(wheel)
