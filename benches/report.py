"""A run as a table, as JSON, and on the page docs/performance.md."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .cases import BASE, CASES
from .marks import Mark, marks_of
from .rounds import Figures
from .scaling import Table

__all__ = ["Printer", "Report", "line", "number", "ratio", "write_figures"]

#: A process that had less of its core was disturbed.
_UNDISTURBED = 0.95
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass
class Report:
    """All that one run found."""

    machine: dict[str, object]
    #: Each library and its version, in the order of columns.
    versions: dict[str, str]
    #: The library that ratios are told of in every case; others where they have a mark.
    ours: str
    rounds: int
    figures: list[Figures] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def header(self) -> list[str]:
        """The machine, the versions, and how many rounds."""
        machine = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        versions = "; ".join(f"{name} {version}" for name, version in self.versions.items())
        return [
            machine,
            versions,
            f"Medians of {self.rounds} interleaved rounds; ratios are those of {self.ours}, or of "
            f"the library that a line begins with, to {BASE}: the median of the rounds' ratios, "
            "with the least and the greatest.",
        ]

    def footer(self) -> list[str]:
        """What could not be measured, and what disturbed."""
        lines = [
            f"{figures.case.name}: {name}: {reason}"
            for figures in self.figures
            for name, reason in figures.unable.items()
        ]
        disturbed = [
            f"{figures.case.name} ({figures.share_of_core:.0%})"
            for figures in self.figures
            if figures.share_of_core < _UNDISTURBED
        ]
        if disturbed:
            lines.append(
                "The machine was busy with something else; the least share of a core that this "
                "process had: " + ", ".join(disturbed)
            )
        return [*self.notes, *lines]

    def columns(self) -> list[str]:
        """The head of the table."""
        tail = ["ratio", "least to greatest", "floor", "of floor", "mark", "met"]
        return ["case", "unit", *self.versions, *tail]

    def rows(self, figures: Figures) -> list[list[str]]:
        """The lines of a case: one of ours, one of each other library that is held to a mark."""
        return [
            self._row(figures, name)
            for name in self.versions
            if name == self.ours or self._marks(figures, name)
        ]

    def _row(self, figures: Figures, library: str) -> list[str]:
        case = figures.case
        floor = case.floor[0] if case.floor else ""
        quotient = figures.ratio(library, BASE)
        spread = figures.spread(library, BASE)
        share = figures.ratio(library, floor)
        marks = self._marks(figures, library)
        first = library == self.ours
        return [
            case.name if first else f"… {library}",
            case.unit if first else "",
            *(number(figures.median(name)) if first else "" for name in self.versions),
            ratio(quotient),
            "–" if spread is None else f"{ratio(spread[0])} to {ratio(spread[1])}",
            f"{number(figures.median(floor))} {floor}" if floor else "–",
            "–" if share is None else f"{share:.0%}",
            ", ".join(map(str, marks)),
            ", ".join("yes" if _met(mark, figures) else "no" for mark in marks),
        ]

    def missed(self) -> list[str]:
        """The marks that do not hold, of the cases that were run."""
        return [
            f"{figures.case.name}: {name}: {mark}, found {number(mark.value(figures, name, BASE))}"
            for figures in self.figures
            for name in self.versions
            for mark in self._marks(figures, name)
            if not _met(mark, figures)
        ]

    def _marks(self, figures: Figures, library: str) -> list[Mark]:
        marks = marks_of(library, figures.case.name)
        return [mark for mark in marks if mark.applies(figures, library)]

    def to_json(self) -> str:
        """Everything, every round of it."""
        figures = [
            {
                "case": it.case.name,
                "unit": it.case.unit,
                "more is better": it.case.more,
                "floor": it.case.floor[0] if it.case.floor else None,
                "medians": {name: it.median(name) for name in it.values},
                "values": it.values,
                "unable": it.unable,
                "share of core": it.share_of_core,
            }
            for it in self.figures
        ]
        return json.dumps(
            {
                "machine": self.machine,
                "versions": self.versions,
                "ours": self.ours,
                "rounds": self.rounds,
                "notes": self.notes,
                "figures": figures,
                "scaling": [asdict(table) for table in self.tables],
            },
            indent=1,
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Report:
        """What `to_json` gave; cases that are no more are left out."""
        found: dict[str, Any] = json.loads(text)
        cases = {case.name: case for case in CASES}
        figures = [
            Figures(cases[it["case"]], it["values"], it["unable"], it["share of core"])
            for it in found["figures"]
            if it["case"] in cases
        ]
        return cls(
            found["machine"],
            found["versions"],
            found["ours"],
            found["rounds"],
            figures,
            [Table(**table) for table in found["scaling"]],
            found["notes"],
        )

    def markdown(self) -> str:
        """The part of the page that is made."""
        columns = self.columns()
        lines = [line + "\n" for line in self.header()]
        lines += [line(columns), line(["---", "---", *["---:"] * (len(columns) - 2)])]
        lines += [line(row) for figures in self.figures for row in self.rows(figures)]
        footer = [f"- {line}" for line in self.footer()]
        lines += ["", "What is missing, and why:", "", *footer] if footer else []
        for table in self.tables:
            lines += ["", f"**{table.name}**, {table.unit}", ""]
            lines += [line(["", *self.versions]), line(["---", *["---:"] * len(self.versions)])]
            lines += [
                line([size, *(number(row.get(name)) for name in self.versions)])
                for size, row in table.rows.items()
            ]
        return "\n".join(lines)

    def write_page(self, page: Path) -> None:
        """Put the figures between the two markers of a page."""
        write_figures(page, self.markdown())


class Printer:
    """The table on a terminal, a line as soon as it is known."""

    def __init__(self, report: Report) -> None:
        self._report = report
        names = len(report.versions)
        self._widths = [39, 6, *[15] * names, 7, 18, 21, 9, 24, 8]

    def head(self) -> None:
        print(*self._report.header(), "", sep="\n")
        self._print(self._report.columns())

    def figures(self, figures: Figures) -> None:
        for row in self._report.rows(figures):
            self._print(row)

    def end(self) -> None:
        for table in self._report.tables:
            print(f"\n{table.name}, {table.unit}")
            for size, row in table.rows.items():
                costs = "  ".join(f"{name} {number(cost)}" for name, cost in row.items())
                print(f"  {size:>9}  {costs}")
        print("", *self._report.footer(), sep="\n")

    def _print(self, cells: list[str]) -> None:
        last = len(cells) - 2
        padded = [
            cell.ljust(width) if at < 2 or at >= last else cell.rjust(width) + " "
            for at, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
        ]
        print("".join(padded).rstrip(), flush=True)


def write_figures(page: Path, markdown: str) -> None:
    """Put figures between the two markers of a page."""
    text = page.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise SystemExit(f"{page.name}: there is no {_BEGIN} before a {_END}")
    page.write_text(f"{before}{begin}\n\n{markdown}\n\n{end}{after}")


def _met(mark: Mark, figures: Figures) -> bool:
    return mark.met(figures, mark.library, BASE)


def number(value: float | None) -> str:
    """With three digits, or with all before the point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(value: float | None) -> str:
    """With two digits after the point, or more where it is small."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def line(cells: list[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"
