"""polytls through `ssl`, for programs and libraries that only know `ssl.SSLContext`.

`SSLSocket`, `SSLObject` and `MemoryBIO` remain the standard library's, but use polytls. There are
three ways to use it:

- Pass a context: `SSLContext`, `create_default_context`, or `of(context)` for a PEP 748 context.
  Each is an `ssl.SSLContext`.
- Patch the whole process: `install()`, or `python -m polytls run PROGRAM`.
- If Python was built without OpenSSL, and `import ssl` fails: `provide()`, or the same command.

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
        """Import on first access: `ssl` itself may import this package, through `_ssl`."""
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
