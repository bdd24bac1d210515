"""Subinterpreters: they are refused in words, and the main interpreter does not suffer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Interpreters that share the GIL, and those that do not.
PRELUDE = """
import sys
try:
    import _interpreters
except ImportError:  # Before Python 3.13.
    import _xxsubinterpreters as _interpreters

def make(shared):
    if sys.version_info >= (3, 13):
        return _interpreters.create("legacy" if shared else "isolated")
    return _interpreters.create(isolated=not shared)

def run(interpreter, code):
    run = getattr(_interpreters, "exec", None) or _interpreters.run_string
    assert run(interpreter, f"import sys\\nsys.path[:] = {sys.path!r}\\n{code}") is None

ATTEMPT = '''
import polytls
try:
    import polytls._native
except ImportError as error:
    assert "subinterpreter" in str(error), error
else:
    raise AssertionError("it was loaded")
try:
    polytls.implementation()
except polytls.ConfigurationError as error:
    assert "subinterpreter" in str(error), error
else:
    raise AssertionError("it was loaded")
assert polytls.implementations() == ()
'''

def refuse():
    for shared in (True, False, True):
        interpreter = make(shared)
        run(interpreter, ATTEMPT)
        _interpreters.destroy(interpreter)

def use():
    import polytls
    from polytls.testing import CertificateAuthority

    ca = CertificateAuthority()
    tls = polytls.implementation()
    configuration = polytls.TLSClientConfiguration(trust_store=ca.trust_store())
    buffer = tls.client_context(configuration).create_buffer("server.example")
    try:
        buffer.read(1)
    except polytls.WantReadError:
        pass
    assert buffer.process_outgoing(10)
"""


@pytest.mark.parametrize(
    "order", ["refuse() or use() or refuse() or use()", "use() or refuse() or use()"]
)
def test_subinterpreters_are_refused_whoever_comes_first(order: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}\n{order}\nprint('done')"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
