"""Every line of the table, in its order."""

from __future__ import annotations

from . import asynchronous, http, in_memory, loopback, resident, serving, starting
from .peers import Library
from .peers.pep748 import Pep748
from .peers.pyopenssl import PyOpenSSL
from .peers.ssl_shaped import Face, Rtls, StandardLibrary
from .rounds import Case

__all__ = ["BASE", "CASES", "libraries", "library"]

CASES: list[Case] = [
    *in_memory.CASES,
    *loopback.CASES,
    *http.CASES,
    *asynchronous.CASES,
    *serving.CASES,
    *resident.CASES,
    *starting.CASES,
]

#: What ratios are taken to.
BASE = StandardLibrary.name

#: Peers beside it, from requirements/bench.txt.
_OTHERS: list[type[Library]] = [Rtls, PyOpenSSL]


def libraries(implementations: list[str]) -> tuple[list[Library], list[str]]:
    """The standard library, polytls, other peers; and a note for each peer that is not here."""
    found: list[Library] = [StandardLibrary(), *map(Pep748, implementations), Face()]
    notes = []
    for peer in _OTHERS:
        try:
            found.append(peer())
        except ImportError as error:
            notes.append(f"without {error.name}: pip install -r requirements/bench.txt")
    return found, notes


def library(name: str) -> Library:
    """The library of that name, for another process of the same run."""
    from .peers.plain import PlainTcp

    by_name = {kind.name: kind for kind in (StandardLibrary, Face, Rtls, PyOpenSSL, PlainTcp)}
    if name not in by_name:
        return Pep748(name.removeprefix("polytls/"))
    return by_name[name]()
