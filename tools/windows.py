"""Runs tests with Windows' Python under Wine: `make test-windows`.

    tools/windows.py list                    the runs
    tools/windows.py test [RUN ...] [-- PYTEST ARGUMENTS]
    tools/windows.py python [ARGUMENT ...]   Python alone

All of it comes from registries. Wine and a compiler are Debian's (tools/install-peers.sh windows).
CPython's libraries for Windows are in the wheel panda3d, which brings them for programs that are
frozen with it; the standard library's modules in Python are those of the CPython that runs this.
What is between them is compiled here. The wheel of polytls is built for this, without the
optimisation as a whole; POLYTLS_WINDOWS_WHEEL names another one.

Wine is not Windows. What is different there is in LIMITS, with reasons. Any other failure fails the
command, and so does a limit whose test passes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import lost
import wheels

ROOT = wheels.ROOT
FOLDER = ROOT / ".tools" / "windows"
REQUIREMENTS = ROOT / "requirements" / "windows.txt"
WINE = Path("/usr/lib/wine")
COMPILER = "x86_64-w64-mingw32-"
TARGET = "x86_64-pc-windows-gnu"
MADE = ROOT / "target" / "windows"
#: It has CPython 3.11.
PANDA = "panda3d==1.10.16"
#: What `python.exe`, and DLLs that are looked for beside it, are made of.
SOURCES = {
    "python.exe": """
        #include <wchar.h>
        int Py_Main(int, wchar_t **);
        int wmain(int count, wchar_t **arguments) { return Py_Main(count, arguments); }
    """,
    # Extension modules for any CPython import python3.dll, which leads to that of the version.
    "python3.dll": "int DllMain(void *dll, unsigned reason, void *none) { return 1; }",
    # Rust's standard library takes random numbers from it, and Wine 8 lacks it.
    "bcryptprimitives.dll": """
        #include <windows.h>
        #include <ntsecapi.h>
        __declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T size)
        { return RtlGenRandom(to, (ULONG)size); }
    """,
}
#: Parts of the standard library that no test needs.
LEFT_OUT = ("__pycache__", "config-*", "ensurepip", "idlelib", "lib-dynload", "lib2to3")
LEFT_OUT += ("site-packages", "test", "tests", "tkinter", "turtledemo")

KIT = "polytls.testing.conformance"
LOOPS = "tests/drivers/loops"


def kit(implementation: str, *modules: str) -> tuple[str, ...]:
    """Modules of the kit on an implementation."""
    named = (f"{KIT}.test_{module}" for module in modules)
    return ("--pyargs", *named, "--polytls-implementation", implementation)


#: Wine 8 most often gives the end of the stream where Windows tells of a reset, even to `socket`.
NO_RESETS = ("-k", "not (a_reset_stays or a_reset_of_what or a_reset_within)")
#: Modules about sockets that run on `rustls` and `stdlib` alike.
SOCKETS = (
    *("socket_basics", "socket_connections", "socket_data", "socket_delivery", "socket_ends"),
    *("socket_files", "socket_interrupts", "socket_nonblocking", "socket_shutdown"),
    *("socket_surface", "socket_timeouts", "socket_truncated_ends", "socket_unwrap"),
)
#: The runs: arguments for pytest.
RUNS = {
    "rustls": kit(
        "rustls",
        *("basics", "buffer", "buffer_end", "fused_calls", "driven_buffers", "handshake"),
        *("certificate_compression", "handshake_facts", "server_names", "hostile_peers", "alerts"),
        *("sealed_alerts", "ech", "bad_input", "encodings", "more", "verification", "chains"),
        *("bad_certificates", "odd_certificates", "unreadable_leaves", "explanations", "pins"),
        *("revocation", "staples", "insecure_contexts", "client_authentication", "signers"),
        *("preferences", "resumption", "fleets", "exporters", "key_log", "max_fragment"),
        *("hello_retry_requests", "ech_answers", "ech_servers", "peer_verifier", "refusals"),
        *("judged_handshakes", "clocks", "events", "wrapped_verdicts", "slow_callbacks", "claims"),
        *("leftovers", "named_sessions", "retrying", "socket_client_certificates", *SOCKETS),
    )
    + NO_RESETS,
    "openssl": (
        *kit(
            "openssl",
            *("basics", "buffer", "handshake", "handshake_facts", "alerts", "bad_input", "more"),
            *("verification", "chains", "insecure_contexts", "client_authentication", "signers"),
            *("resumption", "exporters"),
        ),
        "tests/unit/test_openssl.py",
    ),
    "stdlib": kit(
        "stdlib",
        *("basics", "handshake", "buffer", "verification", "resumption", "client_authentication"),
        *SOCKETS,
    )
    + NO_RESETS,
    "units": ("tests/unit/test_key_pipe.py", "tests/unit/test_delivery.py"),
    # On both of asyncio's loops.
    "asyncio": (
        *(
            f"{LOOPS}/test_asyncio_{module}.py"
            for module in ("streams", "handshakes", "start_tls", "ends")
        ),
        # The second one asks what Windows tells after the FIN only: it passes if that is quick.
        *("-k", "rustls and not (a_reset_stays or whose_peers_are_dead)"),
    ),
    "programs": ("tests/docs/test_programs.py", "-k", "test_a_program_runs"),
}
#: The run that does not use pytest.
RUST = "rust"
BEFORE_FIN = "Windows does not tell what a peer has acknowledged before the FIN"
#: Known failures: patterns of tests, «RUN MODULE::TEST», and why they fail.
LIMITS: dict[str, str] = {
    "* test_socket_delivery::test_after_a_complete_exchange_it_does_not_matter*-reset?": BEFORE_FIN,
    "rustls test_named_sessions::test_a_child_of_fork_*": "Windows does not fork",
    "asyncio *::test_a_reset_behind_the_peers_end_is_heard_of*": BEFORE_FIN,
    "asyncio *::test_close_takes_as_long_as_data_goes_out*proactor*": (
        "nothing tells how much is on its way: neither Windows nor the proactor loop"
    ),
    "asyncio *::test_however_the_peer_ends_*proactor-False-just so?": (
        "Wine 8 gives the end of the stream where Windows tells of a reset"
    ),
    "asyncio *::test_a_client_refuses_what_was_sent_before_tls*proactor*system*": (
        "the proactor loop has received it by the time that reading is paused; it is refused as "
        "data that is not TLS"
    ),
    "programs *net.md: Servers?": "Windows does not fork: it has no socketserver.ForkingTCPServer",
    "programs *sockets.md: Forks?": "Windows does not fork",
    "programs *https-client.md: Trust your own CA*": (
        "it takes more than its 60 seconds; why is not known"
    ),
}
#: How long a run may take, in seconds.
PATIENCE = 3600


def python() -> Path:
    """CPython for Windows, put together."""
    folder = FOLDER / "python"
    program = folder / "python.exe"
    if program.exists():
        return program
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "DLLs").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        pip("download", "--no-deps", "--dest", name, PANDA)
        (wheel,) = Path(name).glob("*.whl")
        unpack_libraries(wheel, folder)
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, folder / "Lib", ignore=shutil.ignore_patterns(*LEFT_OUT))
    with tempfile.TemporaryDirectory() as name:
        compile_in(Path(name), folder)
    return program


def unpack_libraries(wheel: Path, folder: Path) -> None:
    """CPython's DLL and extension modules; api-ms-win-*.dll is Wine's."""
    with zipfile.ZipFile(wheel) as zipped:
        for member in map(Path, zipped.namelist()):
            if member.parent.name != "deploy_libs" or member.name.startswith("api-ms-"):
                continue
            beside = member.stem.lower() in (dll(), "vcruntime140")
            into = folder if beside else folder / "DLLs"
            (into / member.name).write_bytes(zipped.read(str(member)))
    if not (folder / f"{dll()}.dll").exists():
        raise wheels.ReleaseError(f"{wheel.name} has no {dll()}.dll")


def dll() -> str:
    """The name of CPython's DLL, of the version that runs this."""
    return "python{}{}".format(*sys.version_info[:2])


def compile_in(made: Path, folder: Path) -> None:
    """The program and the DLLs beside it, of sources that are written to `made`."""
    library = folder / f"{dll()}.dll"
    shown = wheels.asked(f"{COMPILER}objdump", "--private-headers", library) or ""
    table = shown.partition("[Ordinal/Name Pointer] Table")[2]
    names = re.findall(r"^\s*\[ *\d+\].*?(\w+)$", table, re.MULTILINE)
    forwarders = "".join(f"  {name}={dll()}.{name}\n" for name in names)
    (made / "python3.def").write_text(f"LIBRARY python3\nEXPORTS\n{forwarders}")
    for name, source in SOURCES.items():
        (made / f"{name}.c").write_text(source)
    gcc = f"{COMPILER}gcc"

    def linked(name: str, *options: str | Path) -> None:
        wheels.run(gcc, "-o", folder / name, made / f"{name}.c", *options)

    linked("python3.dll", made / "python3.def", "-shared", "-nostdlib", "-Wl,-e,DllMain")
    linked("bcryptprimitives.dll", "-shared", "-ladvapi32")
    linked("python.exe", library, "-municode", "-static")


def pip(command: str, *arguments: str | Path) -> None:
    """pip, for CPython on Windows."""
    version = ".".join(map(str, sys.version_info[:2]))
    options = ("--only-binary", ":all:", "--platform", "win_amd64", "--python-version", version)
    given = ("--quiet", "--disable-pip-version-check", *options)
    wheels.run(sys.executable, "-m", "pip", command, *given, *arguments)


def packages(wheel: Path) -> Path:
    """A folder with the wheel, pytest, and what the tests import."""
    folder = FOLDER / "packages"
    done = FOLDER / "requirements"
    wanted = REQUIREMENTS.read_text()
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        pip("install", "--target", folder, "-r", REQUIREMENTS)
        done.write_text(wanted)
    for old in folder.glob("*polytls*"):
        shutil.rmtree(old)
    with zipfile.ZipFile(wheel) as zipped:
        zipped.extractall(folder)
    return folder


def environment() -> dict[str, str]:
    """What programs under Wine get. It is short: Wine 8 takes 32,767 characters at most."""
    return {
        "HOME": str(Path.home()),
        "PATH": os.defpath,
        "PYTHONPATH": f"Z:{FOLDER / 'packages'}",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=;bcryptprimitives=n",
        "WINEPREFIX": str(FOLDER / "prefix"),
    }


def wine(folder: Path, *command: str | Path, timeout: float = PATIENCE) -> tuple[int, str]:
    """Run a program for Windows in `folder`, without a terminal; return its status and output."""
    done = subprocess.run(
        [str(WINE / "wine64"), *map(str, command)],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout


def build(*command: str | Path, rest: tuple[str, ...] = ()) -> None:
    """Run what builds for Windows; `rest` is for the compiler."""
    wheels.run(
        *(*command, "--quiet", "--release", "--locked", "--target", TARGET, *rest),
        CARGO_TARGET_DIR=str(MADE),
        CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=f"{COMPILER}gcc",
        **wheels.compiler(TARGET),
    )


def built() -> Path:
    """The wheel of this tree."""
    if given := os.environ.get("POLYTLS_WINDOWS_WHEEL"):
        return Path(given)
    into = FOLDER / "wheels"
    shutil.rmtree(into, ignore_errors=True)
    build(wheels.BIN / "maturin", "build", "--out", into, rest=("--", "-C", "debuginfo=0"))
    (wheel,) = into.glob("*.whl")
    return wheel


def test_rust() -> bool:
    """Whether the tests in Rust pass of what crates/io has for Windows."""
    print(f"== {RUST}: cargo test -p polytls-io --lib system::", flush=True)
    folder = MADE / TARGET / "release" / "deps"
    for old in folder.glob("polytls_io-*.exe"):
        old.unlink()
    build("cargo", "test", "-p", "polytls-io", "--lib", "--no-run")
    (program,) = folder.glob("polytls_io-*.exe")
    status, told = wine(python().parent, program, "system::")
    print(told.rstrip().rpartition("\n")[2] if status == 0 else told)
    return status == 0


def ready() -> None:
    """Put everything together that is not there yet."""
    wheels.run("sh", "tools/install-peers.sh", "windows")
    python()
    packages(built())
    if not (FOLDER / "prefix" / "system.reg").exists():
        wine(ROOT, "wineboot", "--init")
    status, told = wine(ROOT, python(), "-c", "import polytls; print(*polytls.implementations())")
    if status:
        raise wheels.ReleaseError(told)
    print(f"implementations: {told.strip()}")


def test(name: str, arguments: Iterable[str]) -> bool:
    """Whether a run fails only as LIMITS says."""
    arguments = tuple(arguments)
    print(f"== {name}: pytest {' '.join((*RUNS[name], *arguments))}", flush=True)
    results = FOLDER / "results.xml"
    results.unlink(missing_ok=True)
    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junit-xml=Z:{results}",
        "-o",
        "junit_family=xunit1",
    )
    try:
        status, told = wine(ROOT, python(), "-m", "pytest", *options, *RUNS[name], *arguments)
    except subprocess.TimeoutExpired as error:
        print(error.stdout, f"{name}: not done after {PATIENCE} seconds", sep="\n")
        return False
    if status not in (0, 1) or not results.exists():
        print(told, f"{name}: status {status}", sep="\n")
        return False
    outcomes = read(results)
    failed = {test: said for test, said in outcomes.items() if said is not None}
    reasons = {
        test: reason
        for test in outcomes
        for pattern, reason in LIMITS.items()
        if fnmatchcase(f"{name} {test}", pattern)
    }
    print(told.rstrip().rpartition("\n")[2])
    return lost.is_as_listed(failed, reasons, None, file="tools/windows.py", tell=True)


def read(results: Path) -> dict[str, str | None]:
    """What each test that was not skipped said as it failed; None if it passed."""
    found: dict[str, str | None] = {}
    for case in ET.parse(results).iter("testcase"):  # noqa: S314 - pytest has just written it
        module = case.get("classname", "").rpartition(".")[2]
        wrong = [each for each in case if each.tag in ("failure", "error")]
        if wrong or not any(each.tag == "skipped" for each in case):
            said = wrong[0].get("message", "").partition("\n")[0] if wrong else None
            found[f"{module}::{case.get('name')}"] = said
    return found


def main(arguments: list[str]) -> int:
    """Do what is asked for."""
    if arguments == ["list"]:
        print(RUST, *RUNS, sep="\n")
        return 0
    if not arguments or arguments[0] not in ("test", "python"):
        print(__doc__, file=sys.stderr)
        return 2
    doing, arguments = arguments[0], arguments[1:]
    try:
        ready()
        if doing == "python":
            status, told = wine(Path.cwd(), python(), *arguments)
            print(told, end="")
            return status
        end = arguments.index("--") if "--" in arguments else len(arguments)
        names, rest = arguments[:end] or [RUST, *RUNS], arguments[end + 1 :]
        if unknown := [name for name in names if name not in (RUST, *RUNS)]:
            print(f"no such run: {', '.join(unknown)}", file=sys.stderr)
            return 2
        failed = [name for name in names if not (test_rust() if name == RUST else test(name, rest))]
    except wheels.ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        # Wine's own services go on for a while otherwise.
        subprocess.run([WINE / "wineserver64", "--kill"], env=environment(), check=False)
    print(f"failed: {', '.join(failed)}" if failed else "all as listed")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
