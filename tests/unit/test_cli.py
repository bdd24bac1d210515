"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

import polytls
from polytls import CipherSuite, registry
from polytls.cli import demo, implementations, main
from polytls.cli.words import wrapped
from polytls.constants import known
from polytls.testing import CertificateAuthority

#: What no command may take, in seconds.
PATIENCE = 60.0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m polytls` as a person would."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "polytls", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def assert_fits(text: str) -> None:
    assert max(map(len, text.splitlines())) <= 100


# --- demo ---


def test_the_demonstration_goes_as_expected() -> None:
    done = run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert_fits(done.stdout)
    *_, last = done.stdout.splitlines()
    counted = re.fullmatch(r"(\d+) of (\d+) as expected", last)
    assert counted
    assert counted[1] == counted[2]
    assert int(counted[1]) >= 8


def test_the_demonstration_shows_what_it_promises() -> None:
    shown = run("demo").stdout
    for what in ("socket", "buffer", "TLSv1.2", "TLSv1.3", "http/1.1", "mutual TLS"):
        assert what in shown
    assert re.search(r"second visit .* yes .*200 OK", shown)
    for connection, reason in (
        ("wrong host", "hostname mismatch"),
        ("unknown CA", "unknown issuer"),
        ("expired certificate", "expired"),
    ):
        assert re.search(rf"{connection} +refused\n +{reason}: ", shown)


@pytest.mark.parametrize("name", polytls.implementations())
def test_the_demonstration_can_be_given_an_implementation(name: str) -> None:
    done = run("demo", "--implementation", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert polytls.implementation(name).version in done.stdout.splitlines()[0]


def test_the_demonstration_of_an_unknown_implementation_cannot_be_run() -> None:
    done = run("demo", "--implementation", "nosuch")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("polytls: ")
    assert "nosuch" in done.stderr
    assert "rustls" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_connection_that_is_not_as_expected_is_shown_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # «Another CA», which the demonstration does not expect to be trusted, is the same one.
    only = CertificateAuthority("the one and only")
    monkeypatch.setattr(demo, "CertificateAuthority", lambda name: only)
    assert main(["demo"]) == 1
    shown = capsys.readouterr().out
    assert_fits(shown)
    assert re.search(r"unknown CA +accepted\n +NOT AS EXPECTED\n", shown)
    expected, of = map(int, re.findall(r"^(\d+) of (\d+) as expected$", shown, re.M)[0])
    assert expected == of - 1


# --- implementations ---


def test_the_implementations_are_listed_the_default_first() -> None:
    done = run("implementations")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert_fits(done.stdout)
    heads = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    names = polytls.implementations()
    assert len(heads) == len(names) + len(registry.unusable())
    for number, (head, name) in enumerate(zip(heads, names, strict=False)):
        assert head.startswith(f"{name} (default):" if number == 0 else f"{name}:")
        assert polytls.implementation(name).version in head


def test_one_that_cannot_be_used_is_listed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {**registry._BUILT_IN, "broken": "a_module_that_nobody_has"}
    monkeypatch.setattr(registry, "_BUILT_IN", known)
    assert implementations.run(argparse.Namespace(markdown=False)) == 0
    shown = capsys.readouterr().out
    assert_fits(shown)
    assert re.search(r"^rustls \(default\): rustls ", shown)
    assert re.search(
        r"^broken cannot be used here: No module named\s+'a_module_that_nobody_has'$", shown, re.M
    )


def test_capabilities_are_listed() -> None:
    shown = run("implementations").stdout
    for name in polytls.implementations():
        capabilities = polytls.implementation(name).capabilities
        assert capabilities is not None
        for version in capabilities.versions:
            assert version.value in shown
        for suite in capabilities.cipher_suites:
            assert getattr(known(CipherSuite, suite), "name", f"0x{suite:04X}") in shown


# --- the rest ---


def test_the_version_is_told() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout == f"polytls {polytls.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [(), ("--help",), *((name, "-h") for name in ("demo", "implementations", "inspect", "serve"))],
)
def test_there_is_help(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    assert "usage: polytls" in done.stdout


@pytest.mark.parametrize(
    "arguments", [("nosuch",), ("demo", "--nosuch"), ("demo", "more"), ("implementations", "x")]
)
def test_what_is_no_command_cannot_be_run(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: polytls" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["demo", "implementations"])
def test_a_reader_that_has_gone_ends_it_without_a_word(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "polytls", command],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_ends_it_without_a_word() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        target = f"{host}:{port}"
        with subprocess.Popen(
            [sys.executable, "-m", "polytls", "inspect", target],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Jobs in the background of a shell ignore it, and so do their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            plain, _ = listening.accept()
            with plain:
                assert plain.recv(1)  # It waits for an answer to ClientHello.
                process.send_signal(signal.SIGINT)
                assert process.communicate(timeout=PATIENCE) == (b"", b"")
    assert process.returncode == 130


def test_text_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "word " * 100
    assert max(map(len, wrapped(long, 2))) <= 100
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for columns, widest in (("60", 60), ("10", 40), ("500", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        assert widest - 5 <= max(map(len, wrapped(long, 2))) <= widest


def test_the_demonstration_keeps_the_lines_of_an_explanation() -> None:
    shown = run("demo").stdout
    for beginning in ("expired: ", "this machine's clock says ", "To fix: "):
        assert f"\n    {beginning}" in shown


def test_the_installed_script_is_the_same_program() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="polytls")
    assert script.load() is main
