"""What differs between operating systems: how `ssl` gets keys and the system's trust store.

There is one module for each kind of system, and all have the same names. crates/io has what differs
in Rust.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from .windows import NO_PATH, load_store, path_to, store
else:
    from .posix import NO_PATH, load_store, path_to, store

__all__ = ["NO_PATH", "load_store", "path_to", "store"]
