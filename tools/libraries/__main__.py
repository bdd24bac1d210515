"""Libraries that know nothing but `ssl.SSLContext`, each over loopback with polytls under it.

    tools/libraries                    a table; 0 if every connection was polytls's
    tools/libraries requests gevent    some of them
    tools/libraries --quick            those that need no server of the system
    tools/libraries --without          where `_ssl` cannot be imported, and polytls's is on the path
    tools/libraries --list             their names and doors, as JSON

Door 1 hands a context in, door 2 is `compat.install()`, door 3 hands a `polytls.TLSSocket` in.
Each runs in a process of its own, with both peers in it or with a server of the system
(`tools/install-peers.sh libraries`), and fails if a connection was OpenSSL's.
`make test-libraries` installs the libraries (requirements/libraries.txt) beside the built wheel,
and runs this. docs/ssl.md has the line for each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: What replaces blocking calls does so before anything else is imported, as its manual says.
PATCHED: dict[str, tuple[str, str]] = {
    "gevent": ("gevent.monkey", "patch_all"),
    "eventlet": ("eventlet", "monkey_patch"),
}
#: So long may the test of one library take, in seconds.
TIMEOUT = 150
#: What tells requests, pip and `ssl` which certificates to trust in place of what they are told.
OTHERS = {
    *("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE"),
    *("SSL_CERT_DIR", "SSL_CERT_FILE"),
}
MODULES = ("web", "serving", "databases", "messages", "others")


def one(name: str, door: int) -> dict[str, Any]:
    """Run the test of a library behind a door (0: neither can reach it) in this process."""
    if name in PATCHED:
        module, function = PATCHED[name]
        getattr(import_module(module), function)()
    from place import LIBRARIES, Place

    from polytls import compat

    for module in MODULES:
        import_module(module)
    if door in (0, 2):
        compat.install()
    place = Place(door)
    outcome = "ok"
    try:
        with place.closing:
            LIBRARIES[name].call(place)
    except Exception:
        outcome = traceback.format_exc()
    without = "polytls" in import_module("ssl").OPENSSL_VERSION
    report: dict[str, Any] = {"outcome": outcome, "without": without, **compat.report()}
    report["polytls"] += sum(it.statistics.full + it.statistics.resumed for it in place.contexts)
    return report


def path_without() -> dict[str, str]:
    """The path of modules for an interpreter that has no OpenSSL (tests/compat/without_ssl)."""
    found = find_spec("polytls.compat")
    assert found is not None
    assert found.origin is not None
    folders = (
        Path(__file__).resolve().parents[2] / "tests" / "compat" / "without_ssl",
        Path(found.origin).parent / "path",
    )
    return {"PYTHONPATH": os.pathsep.join(map(str, folders))}


def apart(name: str, door: int, more: dict[str, str]) -> dict[str, Any]:
    """The same in a process of its own. `more`: of its environment."""
    failed = {"polytls": 0, "openssl": 0, "without": bool(more)}
    kept = {name: value for name, value in os.environ.items() if name not in OTHERS}
    try:
        ran = subprocess.run(
            [sys.executable, __file__, "--one", name, str(door)],
            stdin=subprocess.DEVNULL,
            env=kept | more,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        return {"outcome": f"no end: {expired.stderr or b''!r}", **failed}
    try:
        found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"outcome": f"ended with {ran.returncode}: {ran.stderr[-2000:]}", **failed}
    return found


def main(arguments: list[str]) -> int:
    """Run what is asked for; return the exit code."""
    if arguments[:1] == ["--one"]:
        found = one(arguments[1], int(arguments[2]))
        print()
        print(json.dumps(found), flush=True)
        # Servers' threads serve for ever.
        os._exit(0)
    from place import LIBRARIES

    for module in MODULES:
        import_module(module)
    if arguments == ["--list"]:
        print(json.dumps({name: found.doors for name, found in LIBRARIES.items()}))
        return 0
    more = path_without() if "--without" in arguments else {}
    names = [name for name in arguments if not name.startswith("--")] or list(LIBRARIES)
    rows = [
        (LIBRARIES[name], door)
        for name in names
        for door in LIBRARIES[name].doors or (0,)
        if "--quick" not in arguments or LIBRARIES[name].needs is None
        # What serves there serves all contexts.
        if door == 2 or not more
    ]
    wrong, right = 0, 0
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        call: Callable[..., Any] = apart
        outcomes = pool.map(lambda row: call(row[0].name, row[1], more), rows)
        for (library, door), found in zip(rows, outcomes, strict=True):
            enough = found["polytls"] >= library.sides if door else found["polytls"] == 0
            ok = found["outcome"] == "ok" and enough and not found["openssl"]
            ok = ok and found["without"] is bool(more)
            right, wrong = right + ok, wrong + (not ok)
            said = f"{found['polytls']} connections of polytls, {found['openssl']} of OpenSSL"
            told = f"door {door}" if door else "cannot"
            print(f"{told:7} {library.name:28} {'ok' if ok else 'WRONG'}, {said}", flush=True)
            if found["outcome"] != "ok":
                print(found["outcome"])
    print(f"{right} passed, {wrong} failed")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
