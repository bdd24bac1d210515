"""The modules of `polytls.net` as such: what they import, and what they rely on."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import polytls.net
from polytls.net.private import RELIED_ON, Reliance

FOLDER = Path(polytls.net.__file__).parent

#: Of ours, and of the standard library's where this Python has it.
GONE = {"nntp"} if sys.version_info >= (3, 13) else set()
SHARED = {"__init__", "connections", "contexts", "private"}
#: Those for libraries of others, which import `ssl` themselves.
FOR_OTHERS = {"uvicorn"}
MODULES = sorted({path.stem for path in FOLDER.glob("*.py")} - SHARED)

#: Which of ours another one is made of.
MADE_OF = {
    "http": {"socketserver"},
    "logging": {"http", "smtp", "socketserver"},
    "urllib": {"http", "socketserver"},
    "xmlrpc": {"http", "socketserver"},
}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in FOR_OTHERS])
def test_each_is_imported_on_its_own_and_without_ssl(name: str) -> None:
    if name in GONE:
        pytest.skip(f"this Python has no {name}lib")
    program = (
        "import sys; sys.modules['ssl'] = sys.modules['_ssl'] = None; "
        f"import polytls.net.{name}; "
        "print(*(each for each in sys.modules if each.startswith('polytls.net.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    loaded = {each.removeprefix("polytls.net.") for each in done.stdout.split()}
    assert loaded - SHARED == {name} | MADE_OF.get(name, set())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_none_names_ssl(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert "ssl" not in [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module != "ssl"


def owner_of(reliance: Reliance) -> Any:
    module, _, name = reliance.owner.rpartition(".")
    if module == "nntplib" and "nntp" in GONE:
        pytest.skip("this Python has no nntplib")
    importlib.import_module("polytls.net.nntp" if module == "nntplib" else module)
    return getattr(sys.modules[module], name)


HERE = [each for each in RELIED_ON if each.since <= sys.version_info[:2] < each.until]


@pytest.mark.parametrize("reliance", HERE, ids=lambda each: f"{each.owner}.{each.attribute}")
def test_the_standard_library_still_has_what_is_relied_on(reliance: Reliance) -> None:
    source = inspect.getsource(getattr(owner_of(reliance), reliance.used_by))
    assert re.search(rf"\.{reliance.attribute}\b", source)


#: A private attribute, and one that is defined, in source.
PRIVATE = re.compile(r"(?:\.|\bdef )(_[a-z]\w*)")


@pytest.mark.parametrize("name", MODULES)
def test_nothing_else_that_is_private_is_used(name: str) -> None:
    if name in GONE:
        pytest.skip(f"this Python has no {name}lib")
    module = importlib.import_module(f"polytls.net.{name}")
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    theirs = {
        base.__module__
        for each in classes
        if each.__module__ == module.__name__
        for base in each.__mro__
        if hasattr(sys.modules[base.__module__], "__file__") and "polytls" not in base.__module__
    }
    sources = [inspect.getsource(sys.modules[each]) for each in theirs]
    known = {found for source in sources for found in PRIVATE.findall(source)}
    used = set(PRIVATE.findall(inspect.getsource(module)))
    assert used & known <= {reliance.attribute for reliance in RELIED_ON}
