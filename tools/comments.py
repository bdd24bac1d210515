"""An extension of griffe: what `#:` comments say of an attribute is its docstring on the site."""

from __future__ import annotations

from typing import Any

import griffe

MARK = "#:"


class Comments(griffe.Extension):
    """Takes the comments above an attribute that has no docstring."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        if attr.docstring is not None or attr.lineno is None or attr.module.filepath is None:
            return
        above = attr.lines_collection[attr.filepath][: attr.lineno - 1]
        text: list[str] = []
        while above and above[-1].lstrip().startswith(MARK):
            text.insert(0, above.pop().strip().removeprefix(MARK).removeprefix(" "))
        if text:
            attr.docstring = griffe.Docstring("\n".join(text), parent=attr)
