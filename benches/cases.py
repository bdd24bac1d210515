"""Every line of the table, in its order."""

from __future__ import annotations

from . import asynchronous, http, in_memory, loopback, resident, starting
from .peers import Library
from .peers.pep748 import Pep748
from .peers.pyopenssl import PyOpenSSL
from .peers.ssl_shaped import Rtls, StandardLibrary
from .rounds import Case

__all__ = ["BASE", "CASES", "libraries", "library"]

CASES: list[Case] = [
    *in_memory.CASES,
    *loopback.CASES,
    *http.CASES,
    *asynchronous.CASES,
    *resident.CASES,
    *starting.CASES,
]

#: What ratios are taken to.
BASE = StandardLibrary.name

#: Peers beside it, from requirements/bench.txt.
_OTHERS: list[type[Library]] = [Rtls, PyOpenSSL]


def libraries(implementations: list[str]) -> tuple[list[Library], list[str]]:
    """The standard library, polytls, other peers; and a note for each peer that is not here."""
    found: list[Library] = [StandardLibrary(), *(Pep748(name) for name in implementations)]
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

    if name.startswith("polytls/"):
        return Pep748(name.removeprefix("polytls/"))
    by_name = {kind.name: kind for kind in (StandardLibrary, Rtls, PyOpenSSL, PlainTcp)}
    return by_name[name]()
