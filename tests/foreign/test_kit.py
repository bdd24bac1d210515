"""The kit over an implementation that has buffers alone: its sockets are the core's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from polytls.testing import conformance

HERE = Path(__file__).parent
KIT = Path(conformance.__file__).parent

#: What buffers under a socket, a listener and a stream differ by from native ones.
MODULES = (
    "basics",
    "early_data",
    "peer_verifier",
    "socket_basics",
    "socket_connections",
    "socket_data",
    "socket_listeners",
    "socket_nonblocking",
    "socket_shutdown",
    "socket_unwrap",
    "socket_wrap",
)


def test_an_implementation_with_buffers_alone_passes(tmp_path: Path) -> None:
    own = {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "faults")]),
        "PYTEST_ADDOPTS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    options = [
        *("-q", "-x", "--pyargs", "-c", os.devnull, "--rootdir", str(KIT), "--tb=short"),
        *("-p", "no:cacheprovider", "-p", "pytest_polytls"),
        *("--polytls-implementation", "third_party:IMPLEMENTATION"),
        *("--polytls-deviations", str(KIT / "deviations" / "rustls.toml")),
    ]
    cases = [f"{conformance.__name__}.test_{module}" for module in MODULES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *cases],
        cwd=tmp_path,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
