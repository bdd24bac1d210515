"""The drawings: bars, as SVG by hand, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from .cases import BASE
from .marks import marks_of
from .report import Report

__all__ = ["draw"]

_STYLE = """
 text { font: 12px system-ui, sans-serif; fill: #1f2328 }
 .title { font-size: 14px; font-weight: 600 }
 .value, .axis { font-size: 10px; fill: #59636e }
 .line { stroke: #8c959f; stroke-width: 1 }
 .mark { stroke: #cf222e; stroke-width: 2 }
 .s0 { fill: #0969da } .s1 { fill: #8c959f } .s2 { fill: #bf8700 } .s3 { fill: #8250df }
 .s4 { fill: #1a7f37 }
 @media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .value, .axis { fill: #9198a1 }
  .line { stroke: #656c76 }
  .mark { stroke: #ff7b72 }
  .s0 { fill: #4493f8 } .s1 { fill: #9198a1 } .s2 { fill: #d29922 } .s3 { fill: #ab7df8 }
  .s4 { fill: #3fb950 }
 }
"""
_WIDTH, _LEFT, _RIGHT = 900, 310, 70
_BAR, _GAP, _TOP = 11, 9, 58
#: Longer bars are cut: their value stands behind them.
_MOST = 6.0


class Row(NamedTuple):
    """One case: a value for each series, where there is one, and the mark."""

    label: str
    values: list[float | None]
    mark: float | None


def draw(report: Report, folder: Path) -> list[Path]:
    """Write both drawings into `folder`; returns their paths."""
    ratios = folder / "performance-ratio.svg"
    floors = folder / "performance-floor.svg"
    ratios.write_text(_ratios(report))
    floors.write_text(_floors(report))
    return [ratios, floors]


def _ratios(report: Report) -> str:
    series = [report.ours, *(n for n in report.versions if n not in (report.ours, BASE))]
    rows = []
    for figures in report.figures:
        # Where less is better, so many times less is so many times as good.
        good = [figures.ratio(name, BASE) for name in series]
        if not figures.case.more:
            good = [None if it is None else 1 / it for it in good]
        marks = [m for m in marks_of(report.ours, figures.case.name) if m.of == "ssl"]
        mark = next((m.bound if m.least else 1 / m.bound for m in marks), None)
        if any(it is not None for it in good):
            rows.append(Row(figures.case.name, good, mark))
    return _bars(
        f"Times as good as {BASE}, in the same run", series, rows, lambda it: f"{it:.2f}", 1
    )


def _floors(report: Report) -> str:
    series = [report.ours, BASE]
    rows = []
    for figures in report.figures:
        if figures.case.floor is None:
            continue
        shares = [figures.ratio(name, figures.case.floor[0]) for name in series]
        marks = [m for m in marks_of(report.ours, figures.case.name) if m.of == "floor"]
        mark = next((m.bound for m in marks), None)
        if shares[0] is not None:
            label = f"{figures.case.name} / {figures.case.floor[0]}"
            rows.append(Row(label, shares, mark))
    title = "Share of what the machine does without TLS, or without Python"
    return _bars(title, series, rows, lambda it: f"{it:.0%}", 1)


def _bars(
    title: str, series: list[str], rows: list[Row], told: Callable[[float], str], reference: float
) -> str:
    """Bars from the left, the mark as a red line, the reference as a grey one."""
    seen = [value for row in rows for value in (*row.values, row.mark) if value is not None]
    most = min(_MOST, max([reference, *seen]))
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    parts = [f'<text class="title" x="12" y="20">{escape(title)}</text>']
    x = 12
    for number, name in enumerate(series):
        parts.append(f'<rect class="s{number}" x="{x}" y="31" width="10" height="10"/>')
        parts.append(f'<text x="{x + 15}" y="40">{escape(name)}</text>')
        x += 34 + 7 * len(name)
    parts.append(f'<line class="mark" x1="{x + 5}" x2="{x + 5}" y1="30" y2="42"/>')
    parts.append(f'<text x="{x + 13}" y="40">mark</text>')
    y = _TOP
    for row in rows:
        begin = y
        for number, value in enumerate(row.values):
            if value is None:
                continue
            width = min(value, most) * scale
            label = told(value) if value <= most else f"… {told(value)}"
            parts.append(
                f'<rect class="s{number}" x="{_LEFT}" y="{y}" width="{width:.1f}" '
                f'height="{_BAR - 1}"/>'
                f'<text class="value" x="{_LEFT + width + 5:.1f}" y="{y + 9}">{label}</text>'
            )
            y += _BAR
        middle = (begin + y) / 2 + 4
        parts.append(
            f'<text x="{_LEFT - 8}" y="{middle:.0f}" text-anchor="end">{escape(row.label)}</text>'
        )
        if row.mark is not None:
            at = _LEFT + min(row.mark, most) * scale
            parts.append(
                f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{begin - 2}" y2="{y + 1}"/>'
            )
        y += _GAP
    at = _LEFT + reference * scale
    parts.append(f'<line class="line" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 4}" y2="{y - 4}"/>')
    parts.append(
        f'<text class="axis" x="{at:.1f}" y="{y + 8}" text-anchor="middle">{told(reference)}</text>'
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 16}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n{body}\n</svg>\n'
    )
