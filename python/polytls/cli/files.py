"""Requests for files in a directory, and nothing outside: the standard library's handler with one
more rule.

`http.server` removes `..` from paths, and escapes directory listings. It follows symbolic links,
which may lead anywhere: here they must not lead out of the directory.
"""

from __future__ import annotations

import http.server
import io
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Final

__all__ = ["FileHandler"]

_INDEXES: Final = ("index.html", "index.htm")


class FileHandler(http.server.SimpleHTTPRequestHandler):
    """Answers GET and HEAD, one request per connection."""

    def __init__(
        self, connection: Any, peer: tuple[str, int], root: Path, log: Callable[[str], None]
    ) -> None:
        self._root = root
        self._log = log
        # It requests nothing from its server.
        super().__init__(connection, peer, None, directory=str(root))  # type: ignore[arg-type]

    def version_string(self) -> str:
        """Do not report the version of Python."""
        return "polytls"

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Refuse what is outside the directory after all links are followed."""
        if not self._is_inside(self.translate_path(self.path)):
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return None
        return super().send_head()

    def _is_inside(self, path: str) -> bool:
        try:
            found = Path(path).resolve()
            # `http.server` looks for an index file in a directory.
            served = [
                found,
                *(at for name in _INDEXES if (at := (found / name).resolve()).exists()),
            ]
            return all(
                each.is_relative_to(self._root) and (each.is_file() or each.is_dir())
                for each in served
            )
        except (OSError, ValueError, RuntimeError):  # A null byte, or links that go round.
            return False

    def log_message(self, format: str, *args: object) -> None:
        """One line, with the client's text escaped."""
        self._log(f"{self.client_address[0]}:{self.client_address[1]} {format % args}")
