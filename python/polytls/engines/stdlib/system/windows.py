r"""Windows: named pipes for keys, and the stores of the system.

Windows has no memory files with a path, and no /dev/fd. A named pipe leaves nothing on a disk
either. crates/io/src/windows/key_pipe.rs lists what keeps others away from it.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from .... import _native

assert sys.platform == "win32"  # noqa: S101 - type checkers read it

__all__ = ["NO_PATH", "load_store", "path_to", "store"]

#: What a message says if `path_to` raises OSError.
NO_PATH: Final = "a named pipe could not pass them on"


@contextmanager
def path_to(data: bytes) -> Iterator[str]:
    """A path that leads to `data`, for one reader of this process, but not to a disk.

    Raises OSError if another process has opened it.
    """
    pipe = _native.KeyPipe(data)
    try:
        yield pipe.path
    finally:
        process = pipe.close()
        if process is not None:
            raise OSError(
                f"process {process} has opened {pipe.path}, which is only for this process; it "
                "got nothing: find out what it is"
            ) from None


def store() -> tuple[list[bytes], str | None]:
    """Nothing: `ssl` reads the system's stores itself."""
    return [], None


def load_store(
    context: ssl.SSLContext,
    anchors: Sequence[bytes],  # noqa: ARG001 - other systems have some
    folders: str | None,  # noqa: ARG001
) -> None:
    """Make `context` trust the stores CA and ROOT, for its purpose."""
    server = context.protocol is ssl.PROTOCOL_TLS_SERVER
    context.load_default_certs(ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH)
