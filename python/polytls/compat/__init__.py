"""An `ssl` that is polytls, for programs and libraries that know `ssl.SSLContext` only.

`SSLSocket`, `SSLObject` and `MemoryBIO` stay the standard library's; what stands behind them is
polytls. There are two doors:

- Hand a context in: `SSLContext`, `create_default_context`, or `of(context)` for a context of
  PEP 748. Each is an `ssl.SSLContext`.
- Replace it for the whole process: `install()`, or `python -m polytls run PROGRAM`.

What is asked for is obeyed or refused by an `ssl.SSLError`; `docs/ssl.md` has the table.
"""

from .context import SSLContext
from .faults import Refused
from .installed import install, report, uninstall
from .making import create_default_context, of

__all__ = [
    "Refused",
    "SSLContext",
    "create_default_context",
    "install",
    "of",
    "report",
    "uninstall",
]
