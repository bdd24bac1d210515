"""What the commands print: text of others made harmless, colours where there is a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Progress", "Style", "harmless", "paint", "print_lines", "width", "wrapped"]

#: Of a line, in characters, where there is no terminal; what has no blank in it may be longer.
_WIDTH: Final = 100
#: The narrowest and the widest that text is made for a terminal.
_NARROWEST: Final = 40
_WIDEST: Final = 120

#: Of a text that somebody else chose, in characters.
_LONGEST: Final = 300


class Style(Enum):
    """How text stands out on a terminal (ECMA-48 8.3.117)."""

    GOOD = "32"
    BAD = "1;31"
    HEAD = "1"
    LABEL = "36"


def harmless(text: str, longest: int = _LONGEST) -> str:
    """Return `text` in one line that does not steer a terminal.

    Control characters, line ends, and those that change the direction of text are escaped; what
    is too long is cut.
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[: longest + 1]
    )
    return shown if len(text) <= longest else f"{shown[:longest]}..."


def paint(text: str, style: Style, stream: TextIO) -> str:
    """Return `text` in a colour if `stream` is a terminal that shows them (no-color.org)."""
    colours = (
        stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") not in ("dumb", "unknown")
    )
    return f"\x1b[{style.value}m{text}\x1b[0m" if colours else text


class Progress:
    """One line on stderr, if it is a terminal, that says what a long run is doing.

    Nothing is shown of a run of one step, unless it is `long`. The line is gone at the block's end.
    """

    def __init__(self, steps: int, *, long: bool = False) -> None:
        self._steps, self._done, self._step, self._parts = steps, 0, "", 0
        self._shown = (
            (steps > 1 or long) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, step: str) -> None:
        """Show the step that begins."""
        self._done, self._step, self._parts = self._done + 1, step, 0
        self._write(step)

    def part(self, name: str) -> None:
        """Show a part of the step, of which there may be many."""
        self._parts += 1
        self._write(f"{self._step} {name} {self._parts}")

    def _write(self, text: str) -> None:
        if self._shown:
            line = f"{self._done}/{self._steps} {harmless(text)}"
            sys.stderr.write(f"\r{line[: width(sys.stderr) - 1]}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line, so that something can be printed."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def width(stream: TextIO | None = None) -> int:
    """Return how long a line may be: as wide as the terminal, within reason; 100 without one."""
    out = stream or sys.stdout
    if not out.isatty():
        return _WIDTH
    columns = shutil.get_terminal_size((_WIDTH, 24)).columns
    return min(max(columns, _NARROWEST), _WIDEST)


def wrapped(text: str, indent: int, hanging: int = 0) -> Sequence[str]:
    """Return `text` in lines of `width` at most, `indent` blanks before each."""
    return textwrap.wrap(
        text,
        width(),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )


def print_lines(*lines: str, stream: TextIO | None = None) -> None:
    """Print what its encoding can say, and escape the rest."""
    out = stream or sys.stdout
    encoding = out.encoding or "utf-8"
    for line in lines:
        # In one piece: other threads print as well.
        out.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    out.flush()
