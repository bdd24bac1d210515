"""The conformance kit as a command: what it is run on, and how it is held to its deviations."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import polytls
from polytls import insecure
from polytls.testing.conformance.tables import Deviation, read, table_of, versions_of
from polytls.testing.conformance.target import load

#: What no run of these tests may take, in seconds.
PATIENCE = 120.0

#: A case of the kit that is quick.
MODULE, CASE = "test_buffer_objects", "test_a_buffer_is_what_the_interface_says"

ELSEWHERE = """
from polytls.engines.rustls import IMPLEMENTATION, INSECURE_IMPLEMENTATION
MINE = IMPLEMENTATION
class Without:
    IMPLEMENTATION = IMPLEMENTATION
"""

#: An entry of a table that is complete.
ENTRY = "[[deviation]]\npattern = 'x'\nreason = 'x'\nreference = 'x'"

#: A project with options of its own, under any name, whose run finds nothing of polytls loaded.
A_PROJECT = {
    "conftest.py": """
def pytest_addoption(parser):
    parser.addoption("--implementation")
    parser.addoption("--deviations")
""",
    "test_own.py": """
import sys
def test_own(request):
    assert request.config.getoption("--implementation") == "mine"
    assert [name for name in sys.modules if name.partition(".")[0] == "polytls"] == []
""",
}


def kit(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the kit in a folder that knows nothing of this project."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "--pyargs", "polytls.testing.conformance", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def table(folder: Path, pattern: str, versions: str | None = None) -> str:
    path = folder / "table.toml"
    where = "" if versions is None else f'versions = "{versions}"\n'
    path.write_text(
        f'[[deviation]]\npattern = "{pattern}"\nreason = "for once"\nreference = "nowhere"\n{where}'
    )
    return str(path)


@pytest.mark.parametrize("name", polytls.implementations())
def test_a_registered_implementation_is_run_by_its_name(tmp_path: Path, name: str) -> None:
    done = kit(tmp_path, "--polytls-implementation", name, "-k", CASE)
    assert done.returncode == 0, done.stdout
    told = re.escape(f"conformance: {name} ({polytls.implementation(name).version}), ")
    assert re.search(told + "1 cases, 0 deviations", done.stdout)


def test_an_implementation_of_a_module_is_run(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    for name, insecure_too in (("MINE", True), ("Without", False)):
        chosen = f"{CASE} or test_threads_may_share or test_where_names_are_checked"
        done = kit(tmp_path, "--polytls-implementation", f"elsewhere:{name}", "-k", chosen)
        assert done.returncode == 0, done.stdout
        assert f"{8 if insecure_too else 7} passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no such thing", "no implementation is named"),
        ("nowhere.at.all:IT", "No module named"),
        ("polytls:TLSVersion", "no TLSImplementation"),
    ],
)
def test_what_is_no_implementation_is_a_usage_error(tmp_path: Path, name: str, told: str) -> None:
    done = kit(tmp_path, "--polytls-implementation", name)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout
    assert told in done.stderr + done.stdout


def test_who_has_polytls_installed_keeps_pytest_as_it_was(tmp_path: Path) -> None:
    for name, text in A_PROJECT.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--implementation", "mine"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "1 passed" in done.stdout


def test_a_deviation_that_passes_fails_the_run(tmp_path: Path) -> None:
    done = kit(tmp_path, "-k", CASE, "--polytls-deviations", table(tmp_path, f"{MODULE}::{CASE}"))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "[XPASS(strict)] for once (nowhere)" in done.stdout
    assert "1 cases, 1 deviations" in done.stdout


def test_a_deviation_about_no_case_fails_a_full_run_alone(tmp_path: Path) -> None:
    given = ("--collect-only", "--polytls-deviations", table(tmp_path, "test_none::test_none"))
    done = kit(tmp_path, *given)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "deviation about no case: test_none::test_none" in done.stdout
    assert kit(tmp_path, *given, "-k", CASE).returncode == 0


def test_a_deviation_of_other_versions_is_none(tmp_path: Path) -> None:
    for versions, expected in (("Python < 3.0", 0), ("rustls >= 0.1, Python >= 3.11", 1)):
        given = table(tmp_path, f"{MODULE}::{CASE}", versions)
        run = ("--polytls-implementation", "rustls", "-k", CASE, "--polytls-deviations", given)
        done = kit(tmp_path, *run)
        assert done.returncode == expected, done.stdout
        assert f"1 cases, {expected} deviations" in done.stdout
    # It is about no case either, where it does not hold.
    given = table(tmp_path, "test_none::test_none", "Python < 3.0")
    assert kit(tmp_path, "--collect-only", "--polytls-deviations", given).returncode == 0


@pytest.mark.parametrize(
    ("versions", "holds"),
    [
        ("Python >= 3.11", True),
        ("Python < 3.11", False),
        ("OpenSSL < 3.5", True),
        ("OpenSSL < 3.0.19", False),
        ("OpenSSL >= 3.0.19", True),
        ("OpenSSL >= 3.1", False),
        ("OpenSSL<4,OpenSSL>=3", True),
        ("OpenSSL >= 3.0, Python < 3.0", False),
        ("aws-lc-rs >= 1.9", False),
    ],
)
def test_conditions_are_about_python_and_what_the_implementation_tells(
    versions: str, holds: bool
) -> None:
    deviation = Deviation("test_a::test_b", "reason", "reference", versions)
    assert deviation.holds(versions_of("ssl, OpenSSL 3.0.19")) is holds
    told = versions_of("rustls 0.23.46, aws-lc-rs 1.19.0")
    assert (told["rustls"], told["aws-lc-rs"]) == ((0, 23, 46), (1, 19, 0))
    assert versions_of(None) == {"Python": sys.version_info[:3]}


def test_brackets_of_patterns_stand_for_themselves() -> None:
    deviation = Deviation("test_a::test_b[x-*]", "reason", "reference")
    assert deviation.matches("test_a::test_b[x-y]")
    assert not deviation.matches("test_a::test_bx")


@pytest.mark.parametrize(
    "text",
    [
        "deviation",
        "[[deviation]]\npattern = 'x'",
        "deviation = 1",
        "[[other]]\n",
        "\xff",
        *(f"{ENTRY}\n{more}" for more in ("other = 'x'", "versions = 3", "versions = ''")),
        *(
            f"{ENTRY}\nversions = '{text}'"
            for text in ("Python", "Python == 3.11", "3.11", "A < 1,")
        ),
    ],
)
def test_what_is_no_table_of_deviations_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"table\.toml"):
        read([path])


@pytest.mark.parametrize("name", polytls.implementations())
def test_every_implementation_of_ours_has_a_table_that_can_be_read(name: str) -> None:
    path = table_of(name)
    assert path is not None
    read([path])
    assert isinstance(load(name).insecure, insecure.InsecureTLSImplementation)
