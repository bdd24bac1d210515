"""The arrows of ARCHITECTURE.md: who may depend on whom. Everything else is refused."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import polytls

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "polytls"

#: What each crate may depend on, of ours; dev-dependencies add `conformance`.
CRATES = {
    "polytls-core": set(),
    "polytls-x509": {"polytls-core"},
    "polytls-verdict": {"polytls-core", "polytls-x509"},
    "polytls-pkcs11": {"polytls-core", "polytls-x509"},
    "polytls-io": {"polytls-core"},
    "polytls-records": {"polytls-core"},
    "polytls-rustls": {"polytls-core", "polytls-records", "polytls-verdict", "polytls-x509"},
    "polytls-openssl": {"polytls-core", "polytls-verdict", "polytls-x509"},
    "polytls-conformance": {"polytls-core"},
    "polytls-python": {
        "polytls-core",
        "polytls-io",
        "polytls-openssl",
        "polytls-rustls",
        "polytls-pkcs11",
        "polytls-verdict",
        "polytls-x509",
    },
}

VALUES = {
    "arguments",
    "frozen",
    "errors",
    "constants",
    "identity",
    "configuration",
    "info",
    "sessions",
    "capabilities",
    "tickets",
}
BELOW_DRIVERS = VALUES | {"interfaces"}

#: What each module may import, of ours. Packages stand for all their modules.
MODULES = {
    "arguments": set(),
    "errors": set(),
    "frozen": set(),
    "constants": {"errors"},
    "identity": {"constants", "arguments", "errors", "frozen"},
    "configuration": {
        "_native",
        "arguments",
        "constants",
        "errors",
        "frozen",
        "identity",
        "info",
        "tickets",
    },
    "info": {"constants", "frozen"},
    "sessions": set(),
    "tickets": {"arguments", "errors", "frozen"},
    "capabilities": {"configuration", "errors", "_native"},
    "interfaces": VALUES | {"capabilities"},
    "insecure": BELOW_DRIVERS | {"engines", "registry"},
    "certificates": {"configuration", "errors", "identity", "info", "_native"},
    "tokens": {"arguments", "errors", "frozen", "identity", "_native"},
    "names": {"errors", "_native"},
    "delivery": {"_native"},
    "ech": {"arguments", "_native"},
    "streams": BELOW_DRIVERS | {"arguments", "_native"},
    "tracing": {"constants", "info"},
    "unread": set(),
    "handles": BELOW_DRIVERS | {"_native"},
    "asyncio": BELOW_DRIVERS | {"delivery", "handles", "unread"},
    "anyio": BELOW_DRIVERS | {"delivery", "handles", "unread"},
    "engines": BELOW_DRIVERS
    | {
        "arguments",
        "certificates",
        "names",
        "streams",
        "_native",
    },
    "compat": BELOW_DRIVERS | {"_native"},
    "reload": BELOW_DRIVERS | {"arguments", "certificates", "handles", "names", "streams"},
    "registry": BELOW_DRIVERS | {"engines"},
    "net": BELOW_DRIVERS | {"asyncio", "certificates", "registry", "streams"},
    "testing": BELOW_DRIVERS | {"__init__", "insecure", "registry", "reload", "tokens", "_native"},
    "cli": BELOW_DRIVERS
    | {
        "__init__",
        "certificates",
        "compat",
        "ech",
        "names",
        "registry",
        "testing",
        "tokens",
        "_native",
    },
    "__init__": BELOW_DRIVERS | {"registry"},
    "__main__": {"cli"},
}


def module_of(path: Path) -> str:
    """The module, or the package below `polytls`, that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it."""
    depth = len(path.relative_to(PACKAGE).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                # The package that the dots lead to, as seen from `polytls`.
                inner = path.relative_to(PACKAGE).parts[: depth - node.level]
                base = ["polytls", *inner, *base]
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        found |= {top(name) for name in names if name.split(".")[0] == "polytls"}
    return found - {module_of(path)}


def top(name: str) -> str:
    """`polytls.testing.memory.tie` is of `testing`; a name of `polytls` itself is of `__init__`."""
    part = name.partition(".")[2].partition(".")[0]
    is_module = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()
    return part if part and (is_module or part == "_native") else "__init__"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_modules_import_only_what_stands_below_them(path: Path) -> None:
    allowed = MODULES[module_of(path)]
    assert imported(path) <= allowed


def test_every_module_has_its_place() -> None:
    assert {module_of(path) for path in PACKAGE.rglob("*.py")} == set(MODULES)


def test_no_module_leads_back_to_itself() -> None:
    """Imports within functions and for type checkers included: they hide a circle, no more."""
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        graph.setdefault(module_of(path), set()).update(imported(path))
    graph.setdefault("_native", set())
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("kind", [polytls.TLSClientConfiguration, polytls.TLSServerConfiguration])
def test_every_field_of_a_configuration_crosses_into_rust(kind: type) -> None:
    """None is ignored in silence; `key_log`, whose file is opened first, comes as an argument."""
    crossing = ("requirements.rs", "configuration.rs")
    read = "".join((ROOT / "crates/python/src" / name).read_text() for name in crossing)
    missing = [it.name for it in dataclasses.fields(kind) if f'"{it.name}"' not in read]
    assert missing == []


def test_importing_polytls_leaves_the_door_to_insecurity_shut() -> None:
    program = "import sys, polytls; print([name for name in sys.modules if 'insecure' in name])"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"


def packages() -> dict[str, dict[str, list[str]]]:
    """Each crate of the workspace with its dependencies, by kind."""
    command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--offline"]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {
        package["name"]: {
            kind: [d["name"] for d in package["dependencies"] if (d["kind"] or "normal") == kind]
            for kind in ("normal", "dev", "build")
        }
        for package in json.loads(answer.stdout)["packages"]
    }


def test_crates_depend_only_on_what_stands_below_them() -> None:
    found = packages()
    assert set(found) == set(CRATES)
    for name, dependencies in found.items():
        ours = {kind: set(names) & set(CRATES) for kind, names in dependencies.items()}
        assert ours["normal"] <= CRATES[name], name
        assert ours["dev"] <= CRATES[name] | {"polytls-conformance"}, name
        assert not ours["build"], name


def test_only_the_extension_module_knows_python() -> None:
    users = {
        name for name, kinds in packages().items() if any("pyo3" in kind for kind in kinds.values())
    }
    assert users == {"polytls-python"}


def test_no_tls_library_and_no_socket_stands_in_the_core() -> None:
    outside = set(packages()["polytls-core"]["normal"])
    assert outside == {"idna", "rustls-pki-types", "zeroize"}


#: Crates whose modules still form circles.
CIRCLES = {"polytls-openssl", "polytls-python", "polytls-verdict"}


def rust_modules(crate: Path) -> dict[str, set[str]]:
    """The modules of a crate, each with those that it names; a folder is one with its module."""
    found: dict[str, set[str]] = {}
    for path in (crate / "src").rglob("*.rs"):
        inner = path.relative_to(crate / "src").parts
        if inner == ("lib.rs",) or "tests" in path.stem or "differential" in path.as_posix():
            continue
        text, _, _ = re.sub(r"//.*", "", path.read_text()).partition("#[cfg(test)]")
        named = set(re.findall(r"\bcrate::(\w+)", text))
        for group in re.findall(r"\buse crate::\{([^;]*)\};", text):
            # What is in inner braces is of the module before them.
            while "{" in group:
                group = re.sub(r"::\{[^{}]*\}", "", group)
            named |= {part.strip().partition("::")[0].split(" ")[0] for part in group.split(",")}
        found.setdefault(inner[0].removesuffix(".rs"), set()).update(named)
    return {module: named & set(found) - {module} for module, named in found.items()}


def circle(modules: dict[str, set[str]]) -> set[str]:
    """The modules that name each other in circles, and those between two circles."""
    left = dict(modules)
    while True:
        named = set().union(*left.values()) if left else set()
        ends = {module for module, names in left.items() if not names & set(left)}
        ends |= set(left) - named
        if not ends:
            return set(left)
        left = {module: names for module, names in left.items() if module not in ends}


@pytest.mark.parametrize("crate", sorted(CRATES))
def test_modules_of_a_crate_form_no_circle(crate: str) -> None:
    modules = rust_modules(ROOT / "crates" / crate.removeprefix("polytls-"))
    assert modules
    if crate not in CIRCLES:
        assert not circle(modules)


#: The files that call C. SECURITY.md names them, and why.
UNSAFE = {
    "crates/io/src/fork.rs",
    "crates/io/src/unix/delivery.rs",
    "crates/io/src/unix/fork.rs",
    "crates/io/src/unix/number.rs",
    "crates/io/src/windows/delivery.rs",
    "crates/io/src/windows/key_pipe.rs",
    "crates/io/src/windows/number.rs",
    "crates/io/src/windows/socket.rs",
    "crates/io/src/windows/wait.rs",
    "crates/openssl/src/lib.rs",
    "crates/pkcs11/src/one_shot.rs",
    "crates/pkcs11/src/session.rs",
    "crates/python/src/bytes.rs",
    "crates/python/src/calls.rs",
    "crates/python/src/descriptors.rs",
    "crates/python/src/interpreters.rs",
    "crates/python/src/system/unix.rs",
    "crates/python/src/system/windows.rs",
}

ALLOWS_UNSAFE = re.compile(r"\b(allow|expect|warn)\(\s*unsafe_code\b")


def test_unsafe_rust_is_allowed_only_in_the_files_that_security_names() -> None:
    allowed = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("crates/*/**/*.rs")
        if ALLOWS_UNSAFE.search(path.read_text()) and "tests" not in path.parts
    }
    assert allowed == UNSAFE
    named = (ROOT / "SECURITY.md").read_text()
    assert all(path.removeprefix("crates/io/src/") in named for path in UNSAFE)
    assert 'unsafe_code = "deny"' in (ROOT / "Cargo.toml").read_text()
    for manifest in ROOT.glob("crates/*/Cargo.toml"):
        assert "workspace = true" in manifest.read_text().partition("[lints]")[2], manifest
