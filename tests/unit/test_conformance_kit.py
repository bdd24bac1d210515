"""The conformance kit as a command: what it is run on, and how it is held to its deviations."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import polytls
from pages import pages, programs
from polytls import insecure
from polytls.testing import conformance
from polytls.testing.conformance.features import FEATURES
from polytls.testing.conformance.lab import PATIENCE as OF_A_CASE
from polytls.testing.conformance.progress import MOST_LATE, Progress
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


#: One with all that rustls has, but for what a line takes away.
HALF = """
from polytls import TLSImplementation
from polytls.engines.rustls import IMPLEMENTATION as WHOLE

class Client(WHOLE.client_context):
    {0}

class Server(WHOLE.server_context):
    {0}

MINE = TLSImplementation(
    Client, Server, WHOLE.validate_config,
    name="half", version="0", capabilities=WHOLE.capabilities,
)
"""

#: What is taken away, and the sentence at which the run stops.
STOPS = {
    "create_buffer = lambda *_, **__: None": (
        "what create_buffer of a client returned is None: it has to be a TLSBuffer"
    ),
    "create_buffer = lambda *_, **__: object()": (
        "what create_buffer of a client returned, of type object, is no TLSBuffer: it has no "
        "cipher, context, do_handshake, "
    ),
    "create_buffer = lambda *_, **__: 1 / 0": (
        "create_buffer(name) of a client raised ZeroDivisionError: division by zero"
    ),
    "create_buffer = lambda *_, **__: __import__('time').sleep(1000)": (
        "create_buffer(name) of a client did not return within 5 seconds"
    ),
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


def test_the_skeleton_of_the_docs_is_told_in_a_sentence_what_it_lacks(tmp_path: Path) -> None:
    (page,) = (each for each in pages() if each.name == "conformance.md")
    codes = [each.code for each in programs(page).values()]
    (skeleton,) = (code for code in codes if "class ClientContext" in code)
    (tmp_path / "mytls.py").write_text(skeleton)
    done = kit(tmp_path, "--polytls-implementation", "mytls:IMPLEMENTATION")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert re.search(
        r"^!+ stopped, as nothing else can succeed: "
        r"create_buffer\(name\) of a client raised NotImplementedError: create_buffer !+$",
        done.stdout,
        re.MULTILINE,
    )
    assert "1 failed, 2 passed" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("line", STOPS)
def test_a_run_stops_at_the_first_base_case_that_fails(tmp_path: Path, line: str) -> None:
    (tmp_path / "half.py").write_text(HALF.format(line))
    done = kit(tmp_path, "--polytls-implementation", "half:MINE")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert f"stopped, as nothing else can succeed: {STOPS[line]}" in done.stdout
    assert "1 failed, 2 passed" in done.stdout


def test_an_implementation_that_is_half_done_gets_a_summary_by_feature(tmp_path: Path) -> None:
    line = "def connect(self, address, **_): raise NotImplementedError('to be done')"
    (tmp_path / "half.py").write_text(HALF.format(line))
    some = f"basics or {CASE} or goes_on_writing or no_session_outlives"
    done = kit(tmp_path, "--polytls-implementation", "half:MINE", "-k", some)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    told = "connect(address) of a server raised NotImplementedError: to be done"
    assert f"stopped, as nothing else can succeed: {told}" in done.stdout
    rows = [re.split("  +", row) for row in done.stdout.splitlines() if "  " in row]
    table = {row[0]: row[1:] for row in rows}
    assert table["feature"][:2] == ["passed", "failed"]
    assert table["feature"][-1] == "not reached"
    assert table["the first steps"][:2] == ["9", "0"]
    assert table["buffers"][:2] == ["1", "0"]
    assert table["the first steps of sockets"] == [
        "0",
        "1",
        *["0"] * (len(table["feature"]) - 3),
        "2",
    ]
    assert table["the ends of connections"][:2] == ["0", "0"]
    assert int(table["the ends of connections"][-1]) > 0


def test_every_module_of_the_kit_has_its_place() -> None:
    there = {path.stem for path in Path(conformance.__file__).parent.glob("test_*.py")}
    placed = [f"test_{module}" for feature in FEATURES for module in feature.modules]
    assert sorted(placed) == sorted(there)


def test_a_feature_whose_cases_run_out_of_time_is_given_up() -> None:
    progress = Progress()
    item: Any = SimpleNamespace(path=Path("test_socket_data.py"), nodeid="")
    other: Any = SimpleNamespace(path=Path("test_socket_ends.py"), nodeid="other")
    for number in range(MOST_LATE):
        progress.begin(item)
        item.nodeid = str(number)
        report: Any = SimpleNamespace(failed=True, duration=OF_A_CASE, when="call", longrepr="")
        call: Any = SimpleNamespace(excinfo=None)
        progress.note(item, call, report)
    with pytest.raises(pytest.skip.Exception, match="run out of time before"):
        progress.begin(item)
    progress.begin(other)


HANGS = """
import threading
from polytls.testing.conformance import watch
watch.GRACE = 0.5
watched = watch.Watch(0.2)
with watched.over("a quick case"):
    pass
if {stubborn}:
    threading.Thread(target=threading.Event().wait).start()
try:
    with watched.over("a case"):
        threading.Event().wait()
except KeyboardInterrupt:
    print("interrupted", watched.interrupted, flush=True)
"""


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_case_that_does_not_end_is_interrupted_and_told(stubborn: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS.format(stubborn=stubborn)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "interrupted a case\n"
    assert "Current thread" in done.stderr  # Where all of them stood.
    assert done.returncode == (1 if stubborn else 0)


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
