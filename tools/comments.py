"""An extension of griffe, for the reference on the site.

An attribute's docstring is what `#:` comments above it say. A native class has its docstrings in
Rust, so they are taken from the class itself. "docs/NAME.md" in a docstring is a link to that page,
and with a heading behind it in quotation marks, to the heading. Lines that begin with the name of a
parameter and a colon are a list.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

from polytls import _native

MARK = "#:"
NATIVE = "polytls._native."
PARAMETER = re.compile(r"^(`[\w.]+`(?:,\s+`[\w.]+`)*: )", re.MULTILINE)
PAGE = re.compile(r"\bdocs/([a-z-]+)\.md(?:, \"([^\"]+)\")?")


class Comments(griffe.Extension):
    """Adds the docstrings that griffe does not find, and links to pages."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        if attr.docstring is not None or attr.lineno is None or attr.module.filepath is None:
            return
        above = attr.lines_collection[attr.filepath][: attr.lineno - 1]
        text: list[str] = []
        while above and above[-1].lstrip().startswith(MARK):
            text.insert(0, above.pop().strip().removeprefix(MARK).removeprefix(" "))
        if text:
            attr.docstring = griffe.Docstring("\n".join(text), parent=attr)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is None and obj.path.startswith(NATIVE):
            found: object = _native
            for name in obj.path.removeprefix(NATIVE).split("."):
                found = getattr(found, name, None)
            text = getattr(found, "__doc__", None) if callable(found) or _described(found) else None
            if text:
                obj.docstring = griffe.Docstring(text, parent=obj)
        if obj.docstring is not None:
            paragraphs = obj.docstring.value.split("\n\n")
            obj.docstring.value = PAGE.sub(_link, "\n\n".join(map(_listed, paragraphs)))


def _described(found: object) -> bool:
    """Whether it is a property of a native class."""
    return type(found).__name__ == "getset_descriptor"


def _listed(paragraph: str) -> str:
    listed = PARAMETER.sub(r"- \1", paragraph)
    return listed if listed.startswith("- ") else listed.replace("\n- ", "\n\n- ", 1)


def _link(page: re.Match[str]) -> str:
    name, heading = page[1], " ".join((page[2] or "").split())
    anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
    return f"[{heading or name}](../{name}.md{'#' + anchor if anchor else ''})"
