"""The code on README and on the pages of docs/, as programs.

    tools/pages.py check      hold their types against mypy and pyright, and those of tests/typed

What stands below one heading is a program, behind what stands below the page's title, which all of
the page shares. The lines of a program have the numbers that they have on the page.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Where programs are written to be checked.
FOLDER = ROOT / "target" / "pages"

#: What is checked with them: the types that the public API gives its users.
TYPED = ROOT / "tests" / "typed"

#: A heading, with its level and text, or a block of code, with its language and text.
_PARTS = re.compile(r"^(#+) ([^\n]+)$|^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Program:
    """Code of a page that runs together."""

    page: Path
    heading: str
    code: str

    @property
    def name(self) -> str:
        """A name for a module."""
        return re.sub(r"\W+", "_", f"{self.page.stem} {self.heading}").strip("_").lower()


def pages() -> list[Path]:
    """README and everything in docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def programs(page: Path) -> dict[str, Program]:
    """The programs of a page by heading; one by the page's title, if all of the page is that."""
    text = page.read_text()
    blocks: dict[str, list[tuple[int, str]]] = {}
    title = heading = ""
    for part in _PARTS.finditer(text):
        level, words, language, code = part.groups()
        if level:
            heading = words
            title = title or words
        elif language == "python":
            line = text.count("\n", 0, part.start()) + 1  # Of the fence.
            blocks.setdefault(heading, []).append((line, code))
    shared = blocks.pop(title, [])
    return {
        heading: Program(page, heading, _placed([*shared, *own]))
        for heading, own in (blocks or {title: []}).items()
        if shared or own
    }


def _placed(blocks: list[tuple[int, str]]) -> str:
    """The blocks, each in the lines that it has on its page."""
    code = ""
    for line, text in blocks:
        code += "\n" * (line - code.count("\n")) + text
    return code


def check() -> int:
    """Check the types of all programs; return 0 if they are in order."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    shown: dict[str, Program] = {}
    for program in (program for page in pages() for program in programs(page).values()):
        path = FOLDER / f"{program.name}.py"
        path.write_text(program.code)
        shown[str(path)] = program
    paths = [*shown, *map(str, sorted(TYPED.glob("*.py")))]
    with ThreadPoolExecutor() as both:
        said = [
            line for lines in both.map(lambda run: run(paths), (_mypy, _pyright)) for line in lines
        ]
    for line in said:
        path, _, rest = line.partition(":")
        where = shown[path].page if path in shown else Path(path)
        print(f"{where.relative_to(ROOT)}:{rest}")
    print(f"{len(shown)} programs of {len(pages())} pages: {len(said)} errors in their types")
    return bool(said)


def _mypy(paths: list[str]) -> list[str]:
    options = ["--no-error-summary", "--show-absolute-path", "--hide-error-context", "--no-pretty"]
    command = [sys.executable, "-m", "mypy", *options, *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout.splitlines()


def _pyright(paths: list[str]) -> list[str]:
    settings = {
        "include": sorted({str(Path(path).parent) for path in paths}),
        "typeCheckingMode": "strict",
        # What all of a page shares need not be used by each program.
        "reportUnusedImport": False,
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT / "python")],
    }
    project = FOLDER / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    options = ["--outputjson", "--pythonpath", sys.executable, "--project", str(project)]
    command = [str(Path(sys.executable).parent / "basedpyright"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    return [
        f"{found['file']}:{found['range']['start']['line'] + 1}: {found['severity']}: "
        f"{found['message']}  [pyright: {found.get('rule', '')}]"
        for found in json.loads(done.stdout)["generalDiagnostics"]
    ]


if __name__ == "__main__":
    if sys.argv[1:] != ["check"]:
        raise SystemExit(__doc__)
    raise SystemExit(check())
