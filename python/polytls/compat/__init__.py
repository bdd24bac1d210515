"""polytls through `ssl`, for programs and libraries that only know `ssl.SSLContext`.

`SSLSocket`, `SSLObject` and `MemoryBIO` stay the standard library's; what stands behind them is
polytls. There are three doors:

- Hand a context in: `SSLContext`, `create_default_context`, or `of(context)` for a context of
  PEP 748. Each is an `ssl.SSLContext`.
- Replace it for the whole process: `install()`, or `python -m polytls run PROGRAM`.
- Where Python was built without OpenSSL, and `import ssl` fails: `provide()`, or the same command.

A setting is honoured, or refused with an `ssl.SSLError`; docs/ssl.md has the table.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faults import Refused
    from .installed import install, report, uninstall
    from .making import SSLContext, create_default_context, of
    from .provided import provide
else:
    _PLACES = {
        "Refused": "faults",
        "SSLContext": "making",
        "create_default_context": "making",
        "install": "installed",
        "of": "making",
        "provide": "provided",
        "report": "installed",
        "uninstall": "installed",
    }

    def __getattr__(name: str) -> object:
        """Import what is asked for: `ssl` may be what imports this package, by way of `_ssl`."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        return found


__all__ = [
    "Refused",
    "SSLContext",
    "create_default_context",
    "install",
    "of",
    "provide",
    "report",
    "uninstall",
]
