"""Finds TLS implementations by name: the built-in ones, and those of other packages.

A package provides one with an entry point in the group "polytls.implementations". Its name is the
implementation's; its value is a `TLSImplementation`, or a module with the attribute
`IMPLEMENTATION`, and `INSECURE_IMPLEMENTATION` if it has insecure contexts.

Rules of this file:

- An implementation is loaded on request, not before, and looked up in the built-in table first.
  Installed packages are searched only for a name that is not built in, or to list all; the search
  takes milliseconds.
- The default is the first usable implementation: the built-in ones in the table's order, then the
  others by name.
- A package cannot use a built-in name: it is ignored, with a RuntimeWarning. If two packages use
  the same name, neither is used.
- Loaded implementations are cached. Failures are not, so that a repaired implementation works at
  once.
- An exception during the import of an implementation never hides the others: the implementation
  cannot be used, and requesting it by name says why. If the exception shows a bug, rather than a
  missing library, there is also a RuntimeWarning.
- No lock is held while a module is imported: that could deadlock with the import system's own
  locks. Importing twice returns the same module, and the first cached object stays.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from .arguments import instance_of
from .errors import ConfigurationError
from .interfaces import ClientContext, ServerContext, TLSImplementation

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .engines.openssl import OpensslClientContext, OpensslServerContext
    from .engines.rustls import RustlsClientContext, RustlsServerContext
    from .engines.stdlib import StdlibClientContext, StdlibServerContext
    from .interfaces.insecure import InsecureTLSImplementation

__all__ = ["implementation", "implementations", "insecure_implementation", "unusable"]

#: The name and module of each built-in implementation, the default first.
_BUILT_IN: Mapping[str, str] = {
    "rustls": "polytls.engines.rustls",
    "openssl": "polytls.engines.openssl",
    "stdlib": "polytls.engines.stdlib",
}

_GROUP: Final = "polytls.implementations"

#: The loaded implementations, by name: a module or a TLSImplementation.
_loaded: dict[str, object] = {}


def implementations() -> tuple[str, ...]:
    """Return the names of the implementations that can be used here, the default first."""
    return tuple(name for name in _names() if _passed_over(name) is None)


def unusable() -> dict[str, ConfigurationError]:
    """Return the implementations that cannot be used here, by name, each with the reason."""
    reasons = {name: _passed_over(name) for name in _names()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


# The default has the type of the first one in the table: another one is the default only if that
# one cannot be used at all.
@overload
def implementation(
    name: Literal["rustls"] | None = None,
) -> TLSImplementation[RustlsClientContext, RustlsServerContext]: ...
@overload
def implementation(
    name: Literal["openssl"],
) -> TLSImplementation[OpensslClientContext, OpensslServerContext]: ...
@overload
def implementation(
    name: Literal["stdlib"],
) -> TLSImplementation[StdlibClientContext, StdlibServerContext]: ...
@overload
def implementation(name: str | None) -> TLSImplementation[ClientContext, ServerContext]: ...
def implementation(
    name: str | None = None,
) -> TLSImplementation[ClientContext, ServerContext]:
    """Return the implementation `name`, or the default (PEP 748, "Runtime Access").

    To a type checker, the default and the built-in names have everything that these implementations
    offer, and any other name has what the PEP specifies.

    Raises ConfigurationError if there is no implementation of that name (the message lists the
    known ones), or if it cannot be used here (the message says what is missing); TypeError if
    `name` is not a str.
    """
    return _secure(_default() if name is None else instance_of("name", name, str))


def insecure_implementation(
    name: str | None = None,
) -> InsecureTLSImplementation[Any, Any, Any, Any]:
    """Return the same with its insecure contexts, for `polytls.insecure`, which warns.

    The default is that of `implementation`. Raises what that raises, and ConfigurationError if the
    implementation has no insecure contexts.
    """
    from .interfaces.insecure import InsecureTLSImplementation

    chosen = _default() if name is None else instance_of("name", name, str)
    found = getattr(_load(chosen), "INSECURE_IMPLEMENTATION", None)
    if not isinstance(found, InsecureTLSImplementation):
        raise ConfigurationError(f"{chosen} has no insecure contexts", implementation=chosen)
    return found


def _names() -> Iterator[str]:
    """The known names, the default first; lazily, because finding the others is slow."""
    yield from _BUILT_IN
    yield from sorted(_entry_points())


def _default() -> str:
    """The first usable name; if there is none, raises the first one's error."""
    first: ConfigurationError | None = None
    for name in _names():
        error = _passed_over(name)
        if error is None:
            return name
        first = first or error
    raise first or ConfigurationError("no TLS implementation is available")


def _passed_over(name: str) -> ConfigurationError | None:
    """Why an implementation cannot be used; None if it can."""
    try:
        _secure(name)
    except ConfigurationError as error:
        if not isinstance(error.__cause__, ImportError | ConfigurationError | None):
            warnings.warn(str(error), RuntimeWarning, stacklevel=3)
        return error
    return None


def _secure(name: str) -> TLSImplementation[ClientContext, ServerContext]:
    from .interfaces.insecure import InsecureTLSImplementation

    thing = _load(name)
    found = getattr(thing, "IMPLEMENTATION", None) if isinstance(thing, ModuleType) else thing
    # Insecure contexts are available only through polytls.insecure, even those of other packages.
    if not isinstance(found, TLSImplementation) or isinstance(found, InsecureTLSImplementation):
        raise ConfigurationError(
            f"{name} cannot be used here: expected a TLSImplementation, "
            "or a module with one as IMPLEMENTATION",
            implementation=name,
        )
    return found


def _load(name: str) -> object:
    """Return the module or object registered as `name`."""
    if name in _loaded:
        return _loaded[name]
    built_in = _BUILT_IN.get(name)
    load = _offer(name).load if built_in is None else partial(import_module, built_in)
    try:
        thing: object = load()
    except Exception as cause:
        said = str(cause) or type(cause).__name__
        raise ConfigurationError(
            f"{name} cannot be used here: {said}", implementation=name
        ) from cause
    return _loaded.setdefault(name, thing)


def _offer(name: str) -> EntryPoint:
    """The entry point with that name. Raises ConfigurationError if there is not exactly one."""
    offers = _entry_points()
    if name not in offers:
        names = ", ".join([*_BUILT_IN, *sorted(offers)])
        raise ConfigurationError(f"no implementation is named {name!r}; known are: {names}")
    entry_point, *others = offers[name]
    if others:
        values = " and ".join(offer.value for offer in offers[name])
        raise ConfigurationError(
            f"{name} is offered more than once, by {values}; uninstall all but one",
            implementation=name,
        )
    return entry_point


def _entry_points() -> dict[str, list[EntryPoint]]:
    """The entry points of installed packages, by name, without duplicates."""
    # Slow to import, and not needed for built-in implementations.
    from importlib.metadata import entry_points

    offers: dict[str, list[EntryPoint]] = {}
    for offer in entry_points(group=_GROUP):
        if offer.name in _BUILT_IN:
            if offer.value != _BUILT_IN[offer.name]:
                warnings.warn(
                    f"{offer.value} is offered under the built-in name {offer.name!r}: ignored",
                    RuntimeWarning,
                    stacklevel=2,
                )
            continue
        known = offers.setdefault(offer.name, [])
        if all(offer.value != other.value for other in known):
            known.append(offer)
    return offers
