"""Sending files: which files are refused, and the loop for files without a system file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Final

from ..arguments import amount_of

__all__ = ["check_file", "send_pieces"]

#: Read at a time.
_PIECE: Final = 256 * 1024


def check_file(file: IO[bytes], offset: int, count: int | None) -> None:
    """Refuse what cannot be sent, like `socket.socket.sendfile`: ValueError, TypeError."""
    if not hasattr(file, "read"):
        wrong = type(file).__name__
        raise TypeError(f"file must be a file that is open for reading bytes, not {wrong}")
    if "b" not in str(getattr(file, "mode", "b")) or isinstance(file, io.TextIOBase):
        raise ValueError("file must be open for reading bytes")
    if count is not None and not amount_of("count", count):
        raise ValueError("count must be positive")
    amount_of("offset", offset)


def send_pieces(
    file: IO[bytes],
    offset: int,
    count: int | None,
    send: Callable[[memoryview], tuple[int, bool]],
) -> int:
    """Read `file` from `offset` and send it, completely or `count` bytes; return the number sent.

    `send` returns how much it accepted, and whether there is time for more; if not, this raises
    TimeoutError. Afterwards, even after an error, the position of a seekable `file` is just after
    the last byte accepted.
    """
    seekable = file.seekable()
    if seekable or offset:
        file.seek(offset)
    sent = 0
    try:
        while count is None or sent < count:
            view = memoryview(file.read(_PIECE if count is None else min(_PIECE, count - sent)))
            if not view:
                break
            while view:
                taken, in_time = send(view)
                view = view[taken:]
                sent += taken
                if not in_time:
                    raise TimeoutError("timed out")
    finally:
        if seekable:
            file.seek(offset + sent)
    return sent
