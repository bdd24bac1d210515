"""What polytls is held to: `make bench-check` fails below a mark. Ratios are those of one run, with
the implementation that it is for; machines that are busy with something else prove nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .rounds import Figures

__all__ = ["MARKS", "Mark", "marks_of"]


@dataclass(frozen=True)
class Mark:
    """A bound for one case."""

    case: str
    #: Of what: the ratio to `ssl`, the share of the floor, or the figure itself.
    of: Literal["ssl", "floor", "figure"]
    bound: float
    #: Whether it is a least or a most.
    least: bool = True
    #: The implementation that it is for, as the report calls it.
    library: str = "polytls/rustls"
    #: Whether it is for machines that have what the case needs: elsewhere it is not missed.
    where_able: bool = False

    def applies(self, figures: Figures, name: str) -> bool:
        """Whether it is asked of this run."""
        return not (self.where_able and name in figures.unable)

    def value(self, figures: Figures, name: str, base: str) -> float | None:
        """What is held against it; None where it was not measured."""
        if self.of == "figure":
            return figures.median(name)
        if self.of == "ssl":
            return figures.ratio(name, base)
        return None if figures.case.floor is None else figures.ratio(name, figures.case.floor[0])

    def met(self, figures: Figures, name: str, base: str) -> bool:
        """Whether it holds; what could not be measured does not."""
        value = self.value(figures, name, base)
        return value is not None and (value >= self.bound if self.least else value <= self.bound)

    def __str__(self) -> str:
        bound = f"{self.bound:.0%}" if self.of == "floor" else f"{self.bound:g}"
        what = {"ssl": "", "floor": " of floor", "figure": " itself"}[self.of]
        return f"{'≥' if self.least else '≤'} {bound}{what}"


_MEMORY: Final = "memory of an idle pair"

#: What libraries other than the first are held to, as ratios to `ssl`.
_OTHERS: Final = {
    "polytls/stdlib": {
        "bulk 1,400 B, methods": 0.65,
        "bulk 16 KiB, methods": 0.85,
        "bulk 256 KiB, methods": 0.85,
        "full handshakes, X25519": 0.9,
        _MEMORY: 1.5,
    },
    "polytls/openssl": {
        "bulk 1,400 B, methods": 1.5,
        "bulk 16 KiB, methods": 1.1,
        "full handshakes, X25519": 1.05,
        "resumed handshakes, X25519": 1.5,
        _MEMORY: 1.0,
    },
    "polytls/compat": {
        "full handshakes, X25519": 2.0,
        "loopback download": 2.0,
        "loopback echo 100 B": 1.0,
        "http.client, connections 1 KiB": 1.6,
        "urllib3, requests 1 KiB": 1.0,
        "urllib3, connections 1 KiB": 1.8,
        "urllib3, download 10 MiB": 1.5,
        "requests, requests 1 KiB": 1.0,
        "httpx, requests 1 KiB": 1.0,
        "httpx, connections 1 KiB": 1.8,
        "httpx, download 10 MiB": 1.5,
        "asyncio streams download": 3.0,
        "uvloop download": 1.5,
        _MEMORY: 0.4,
    },
}

MARKS: list[Mark] = [
    Mark("bulk 1,400 B, methods", "ssl", 2.2),
    Mark("bulk 1,400 B, methods", "floor", 0.50),
    Mark("bulk 1,400 B, fused", "floor", 0.70),
    *(
        mark
        for size in ("16 KiB", "256 KiB")
        for mark in (
            Mark(f"bulk {size}, methods", "ssl", 2.4),
            Mark(f"bulk {size}, methods", "floor", 0.55),
            Mark(f"bulk {size}, fused", "ssl", 3.4),
            Mark(f"bulk {size}, fused", "floor", 0.75),
        )
    ),
    Mark("ping-pong 100 B, methods", "ssl", 2.2),
    Mark("full handshakes, X25519", "ssl", 2.6),
    Mark("full handshakes, X25519", "floor", 0.95),
    Mark("full handshakes, default group", "ssl", 2.0),
    Mark("full handshakes, default group", "floor", 0.95),
    Mark("resumed handshakes, X25519", "ssl", 3.0),
    Mark("full handshakes, key in SoftHSM", "figure", 0.8, where_able=True),
    Mark("two threads, bulk 256 KiB", "figure", 1.8),
    Mark("loopback download", "ssl", 1.3),
    Mark("loopback download", "floor", 0.70),
    Mark("loopback echo 100 B", "ssl", 1.05),
    Mark("loopback echo 100 B", "floor", 0.90),
    Mark("loopback connects", "ssl", 2.2),
    Mark("http.client, requests 1 KiB", "ssl", 1.0),
    Mark("http.client, connections 1 KiB", "ssl", 1.8),
    Mark("http.client, download 10 MiB", "ssl", 1.5),
    Mark("asyncio download", "ssl", 2.5),
    Mark("asyncio download", "floor", 0.80),
    Mark("asyncio echo 100 B", "ssl", 1.15),
    Mark("asyncio echo 100 B", "floor", 0.85),
    Mark("uvloop download", "ssl", 1.5),
    Mark("uvloop echo 100 B", "ssl", 1.0),
    Mark("uvicorn, requests 1 KiB", "ssl", 1.0, where_able=True),
    Mark("uvicorn, connections 1 KiB", "ssl", 1.8, where_able=True),
    Mark(_MEMORY, "ssl", 0.4, least=False),
    Mark("import", "ssl", 1.5, least=False),
    Mark("second client context, system's trust", "figure", 0.2, least=False),
    *(
        Mark(case, "ssl", bound, least=case != _MEMORY, library=library)
        for library, bounds in _OTHERS.items()
        for case, bound in bounds.items()
    ),
]


def marks_of(library: str, case: str) -> list[Mark]:
    """Return the marks that a library is held to in a case."""
    return [mark for mark in MARKS if (mark.library, mark.case) == (library, case)]
