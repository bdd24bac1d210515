"""Finding implementations: built in, offered by packages, unusable, unknown, in conflict."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import polytls
from polytls import ConfigurationError, insecure, registry

#: A module that registers a secure and an insecure implementation of a name.
MODULE = """
from polytls import TLSImplementation
from polytls.insecure import InsecureTLSImplementation

def validate(configuration):
    pass

IMPLEMENTATION = TLSImplementation(object, object, validate, name={name!r})
INSECURE_IMPLEMENTATION = InsecureTLSImplementation(
    object, object, validate, object, object, name={name!r}
)
"""
SECURE_ONLY = MODULE + "\ndel INSECURE_IMPLEMENTATION\n"


class Shelf:
    """A folder on `sys.path` with modules, and distributions that offer them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def module(self, name: str, text: str = MODULE) -> str:
        """Write a module called `shelf_NAME` and return its name."""
        module = f"shelf_{name}"
        (self.folder / f"{module}.py").write_text(text.format(name=name))
        self.modules.append(module)
        importlib.invalidate_caches()
        return module

    def offer(self, name: str, value: str, distribution: str = "shelf") -> None:
        """Install a distribution with one entry point."""
        info = self.folder / f"{distribution}_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}-{name}\nVersion: 1\n"
        )
        (info / "entry_points.txt").write_text(f"[polytls.implementations]\n{name} = {value}\n")
        importlib.invalidate_caches()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A registry that knows one built-in implementation, `first`, and what the test adds."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    made = Shelf(tmp_path)
    monkeypatch.setattr(registry, "_BUILT_IN", {"first": made.module("first")})
    monkeypatch.setattr(registry, "_loaded", {})
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


def shelved(names: tuple[str, ...]) -> list[str]:
    """The names without those of packages that happen to be installed here."""
    return [name for name in names if name in {"first", "second", "other", "broken"}]


def test_a_built_in_implementation_is_found_by_name_and_by_default(shelf: Shelf) -> None:
    found = polytls.implementation("first")
    assert found.name == "first"
    assert polytls.implementation() is found
    assert polytls.implementation(None) is found


def test_the_default_is_found_without_searching_packages(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search() -> None:
        pytest.fail("installed packages were searched")

    monkeypatch.setattr(registry, "_entry_points", search)
    assert polytls.implementation().name == "first"
    assert polytls.implementation("first").name == "first"


@pytest.mark.parametrize("attribute", ["", ":IMPLEMENTATION"], ids=["module", "object"])
def test_a_package_can_offer_a_module_or_an_object(shelf: Shelf, attribute: str) -> None:
    shelf.offer("other", shelf.module("other") + attribute)
    assert polytls.implementation("other").name == "other"
    assert shelved(polytls.implementations()) == ["first", "other"]
    assert polytls.implementation().name == "first"


def test_an_unknown_name_is_refused_with_the_known_ones(shelf: Shelf) -> None:
    shelf.offer("other", shelf.module("other"))
    with pytest.raises(ConfigurationError, match=r"'opnessl'; known are: first,.*other") as caught:
        polytls.implementation("opnessl")
    assert caught.value.field is None


@pytest.mark.parametrize("lookup", [polytls.implementation, registry.insecure_implementation])
@pytest.mark.parametrize("wrong", [b"first", 1, polytls])
def test_a_name_that_is_no_str_is_a_type_error(
    lookup: Callable[[object], object], wrong: object
) -> None:
    with pytest.raises(TypeError, match=r"^name must be str, not"):
        lookup(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import a_module_that_nobody_has", "No module named 'a_module_that_nobody_has'"),
        (
            "from polytls import ConfigurationError\n"
            "raise ConfigurationError('libfoo.so.3 is not here; apt install libfoo3')",
            "libfoo.so.3 is not here; apt install libfoo3",
        ),
        ("IMPLEMENTATION = None", "expected a TLSImplementation"),
        ("", "expected a TLSImplementation"),
        (MODULE + "\nIMPLEMENTATION = INSECURE_IMPLEMENTATION", "expected a TLSImplementation"),
    ],
    ids=["import error", "configuration error", "none", "nothing", "insecure"],
)
@pytest.mark.parametrize("built_in", [True, False], ids=["built in", "offered"])
def test_one_that_cannot_be_used_says_why_and_is_not_listed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, built_in: bool, text: str, said: str
) -> None:
    module = shelf.module("broken", text)
    if built_in:
        known = {"broken": module, **registry._BUILT_IN}
        monkeypatch.setattr(registry, "_BUILT_IN", known)
    else:
        shelf.offer("broken", module)
    with pytest.raises(ConfigurationError) as caught:
        polytls.implementation("broken")
    assert str(caught.value).startswith("broken cannot be used here: ")
    assert said in str(caught.value)
    assert caught.value.implementation == "broken"
    assert shelved(polytls.implementations()) == ["first"]
    assert str(registry.unusable()["broken"]) == str(caught.value)
    assert "first" not in registry.unusable()
    assert polytls.implementation().name == "first"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("shelf_broken", "no wonder"),
        ("shelf_broken:NOTHING", "no wonder"),
        ("shelf_first:NOTHING", "NOTHING"),
    ],
)
def test_a_broken_package_does_not_hide_the_others(shelf: Shelf, value: str, said: str) -> None:
    shelf.module("broken", "raise RuntimeError('no wonder')")
    shelf.offer("broken", value)
    shelf.offer("other", shelf.module("other"))
    with pytest.warns(RuntimeWarning, match=rf"^broken cannot be used here: .*{said}"):
        names = polytls.implementations()
    assert shelved(names) == ["first", "other"]
    with pytest.raises(ConfigurationError, match=said) as caught:
        polytls.implementation("broken")
    assert caught.value.__cause__ is not None


def test_a_package_whose_module_is_gone_does_not_hide_the_others(shelf: Shelf) -> None:
    shelf.offer("broken", "shelf_absent")
    shelf.offer("other", shelf.module("other"))
    assert shelved(polytls.implementations()) == ["first", "other"]
    with pytest.raises(ConfigurationError, match="shelf_absent"):
        polytls.implementation("broken")


@pytest.mark.parametrize(
    "bug", ["RuntimeError('a bug')", "OSError(5, 'a bug')", "TLSError('a bug')"]
)
def test_a_bug_of_a_built_in_implementation_does_not_hide_the_others(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    module = shelf.module("broken", f"from polytls import TLSError\nraise {bug}")
    monkeypatch.setattr(registry, "_BUILT_IN", {"broken": module, **registry._BUILT_IN})
    for ask in (polytls.implementations, polytls.implementation, registry.insecure_implementation):
        with pytest.warns(RuntimeWarning, match=r"^broken cannot be used here: .*a bug"):
            found = ask()
        assert shelved(found) == ["first"] if isinstance(found, tuple) else found.name == "first"
    with pytest.raises(ConfigurationError, match="a bug") as caught:
        polytls.implementation("broken")
    assert caught.value.implementation == "broken"
    assert type(caught.value.__cause__).__name__ in bug


def test_where_none_can_be_used_the_default_says_why(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_entry_points", dict)
    table = {
        "broken": shelf.module("broken", "raise ImportError('no engine')"),
        "second": shelf.module("second", "raise ImportError('no fuel')"),
    }
    monkeypatch.setattr(registry, "_BUILT_IN", table)
    assert polytls.implementations() == ()
    with pytest.raises(ConfigurationError, match=r"^broken cannot be used here: no engine$"):
        polytls.implementation()


def test_what_was_mended_can_be_used_at_once(shelf: Shelf) -> None:
    shelf.offer("other", "shelf_other")
    with pytest.raises(ConfigurationError):
        polytls.implementation("other")
    shelf.module("other")
    assert polytls.implementation("other").name == "other"


def test_a_package_cannot_take_a_built_in_name(shelf: Shelf) -> None:
    shelf.offer("first", shelf.module("other"))
    with pytest.warns(RuntimeWarning, match=r"^shelf_other is offered under .* 'first': ignored"):
        names = polytls.implementations()
    assert shelved(names) == ["first"]
    assert polytls.implementation("first").name == "first"
    assert "shelf_other" not in sys.modules


def test_a_package_may_offer_the_built_in_module_itself(shelf: Shelf) -> None:
    shelf.offer("first", registry._BUILT_IN["first"])
    assert shelved(polytls.implementations()) == ["first"]


def test_a_name_that_two_packages_offer_is_refused(shelf: Shelf) -> None:
    shelf.offer("other", shelf.module("other"), "one")
    shelf.offer("other", shelf.module("second"), "two")
    with pytest.raises(ConfigurationError, match="offered more than once") as caught:
        polytls.implementation("other")
    assert "shelf_other" in str(caught.value)
    assert "shelf_second" in str(caught.value)
    assert shelved(polytls.implementations()) == ["first"]


def test_insecure_contexts_come_through_the_insecure_lookup_alone(shelf: Shelf) -> None:
    found = registry.insecure_implementation("first")
    assert isinstance(found, insecure.InsecureTLSImplementation)
    assert registry.insecure_implementation() is found
    assert not isinstance(polytls.implementation("first"), insecure.InsecureTLSImplementation)


@pytest.mark.parametrize("attribute", ["", ":IMPLEMENTATION"], ids=["module", "object"])
def test_one_without_insecure_contexts_says_so(shelf: Shelf, attribute: str) -> None:
    shelf.offer("other", shelf.module("other", SECURE_ONLY) + attribute)
    with pytest.raises(ConfigurationError, match="other has no insecure contexts") as caught:
        registry.insecure_implementation("other")
    assert caught.value.implementation == "other"


def test_threads_that_ask_at_once_get_the_same_object(shelf: Shelf) -> None:
    count = 8
    barrier = threading.Barrier(count)
    found: list[object] = []

    def ask() -> None:
        barrier.wait()
        found.append(polytls.implementation("first"))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == count
    assert len(set(map(id, found))) == 1


#: Imports each module of polytls, and tells the public names of `polytls` that a module then hides.
HIDDEN_NAMES = """
import importlib, pkgutil, sys, types
import polytls
before = {name: getattr(polytls, name) for name in polytls.__all__}
left_out = ["polytls.testing"]
if sys.version_info >= (3, 13):
    left_out.append("polytls.net.nntp") # nntplib ended with Python 3.12.
another = "posix" if sys.platform == "win32" else "windows"
left_out.append(f"polytls.engines.stdlib.system.{another}")
for module in pkgutil.walk_packages(polytls.__path__, "polytls."):
    if not module.name.endswith("__main__") and not module.name.startswith(tuple(left_out)):
        importlib.import_module(module.name)
print([name for name, was in before.items() if getattr(polytls, name) is not was])
"""


def test_no_module_hides_a_public_name() -> None:
    told = subprocess.run(
        [sys.executable, "-c", HIDDEN_NAMES], capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"
