"""The implementation that the kit is run on, as `--implementation` names it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from polytls import Capabilities, ConfigurationError, TLSImplementation, implementation
from polytls.insecure import InsecureTLSImplementation
from polytls.registry import insecure_implementation

__all__ = ["Target", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An implementation, and how it was found."""

    #: What `--implementation` takes to find it again, in another process too.
    name: str
    implementation: TLSImplementation[Any, Any]
    #: The same with its insecure contexts; None if it has none.
    insecure: InsecureTLSImplementation[Any, Any, Any, Any] | None
    capabilities: Capabilities
    #: Whether polytls knows it by this name.
    registered: bool


def load(name: str | None) -> Target:
    """Return the implementation of that registered name, or at `package.module:ATTRIBUTE`.

    None is the default of polytls. The attribute is a TLSImplementation; insecure contexts are
    looked for at `INSECURE_IMPLEMENTATION` next to it. A module, or a class, with `IMPLEMENTATION`
    and `INSECURE_IMPLEMENTATION` will do as well.

    Raises ConfigurationError that says what is missing, ImportError if there is no such module.
    """
    if name is not None and ":" in name:
        found, insecure = _at(name)
    else:
        found = implementation(name)
        name = name or str(found.name)
        try:
            insecure = insecure_implementation(name)
        except ConfigurationError:
            insecure = None
    if found.name is None or found.capabilities is None:
        raise ConfigurationError(f"{name}: the kit needs an implementation's name and capabilities")
    return Target(
        name=name,
        implementation=found,
        insecure=insecure,
        capabilities=found.capabilities,
        registered=":" not in name,
    )


def _at(name: str) -> tuple[TLSImplementation[Any, Any], Any]:
    path, _, attribute = name.partition(":")
    module = import_module(path)
    thing = getattr(module, attribute, None)
    where: object = module
    if isinstance(thing, ModuleType | type):
        where, thing = thing, getattr(thing, "IMPLEMENTATION", None)
    if not isinstance(thing, TLSImplementation):
        raise ConfigurationError(f"{name}: there is no TLSImplementation")
    insecure = getattr(where, "INSECURE_IMPLEMENTATION", None)
    return thing, insecure if isinstance(insecure, InsecureTLSImplementation) else None
