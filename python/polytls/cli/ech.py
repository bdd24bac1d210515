"""What `polytls inspect --ech` is given: configurations for Encrypted ClientHello, in any form that
they come in.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Final, Literal

from ..ech import from_https_record

__all__ = ["GREASE", "configurations"]

#: The word for an extension that only looks like Encrypted ClientHello.
GREASE: Final = "grease"

#: How much is read of a file, in bytes: a list in Base64 has less (RFC 9849 4).
_LARGEST: Final = 1 << 17
#: As `openssl ech` writes it, also behind a private key.
_PEM: Final = re.compile(rb"-----BEGIN ECHCONFIG-----(.*?)-----END ECHCONFIG-----", re.DOTALL)


def configurations(text: str) -> bytes | Literal["grease"]:
    """Return the list that an argument has, or names: a file, Base64, or an HTTPS record.

    Whether the list is usable is checked by the connection.

    Raises ValueError, with the reason, and OSError for a file that cannot be read.
    """
    if text == GREASE:
        return GREASE
    if _is_file(text):
        with Path(text).open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ValueError(f"--ech: {text} has more than {_LARGEST >> 10} KiB")
        if found := _PEM.search(data):
            data = found[1]
        elif not data.isascii() or b"\0" in data:
            return data
        text = data.decode("ascii", "replace")
    return _from_text(text.strip())


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # Base64 is too long for a name.
        return False


def _from_text(text: str) -> bytes:
    words = text.split()
    if len(words) > 1 and (words[0] == r"\#" or words[0].isdecimal()):
        try:
            found = from_https_record(text)
        except ValueError as error:
            raise ValueError(f"--ech: {error}") from None
        if found is None:
            raise ValueError("--ech: the HTTPS record has no ECH configuration")
        return found
    try:
        data = base64.b64decode("".join(words), validate=True)
    except ValueError:
        data = b""
    # A wrong path can be Base64, too, but not that of a list (RFC 9849 4).
    if len(data) < 2 or int.from_bytes(data[:2]) != len(data) - 2:
        raise ValueError(
            "--ech: expected the configurations of the server (a file, Base64, or the data of its "
            f"HTTPS record), or {GREASE}"
        )
    return data
