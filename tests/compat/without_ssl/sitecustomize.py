"""Makes an interpreter that was built without OpenSSL: `_ssl` and `_hashlib` cannot be imported.

What is found in a source file is another thing: it may be somebody's own.
"""

import sys
from importlib.machinery import ExtensionFileLoader, PathFinder


class _Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in ("_ssl", "_hashlib"):
            return None
        for entry in sys.path:
            spec = PathFinder.find_spec(name, [entry])
            if spec is not None and not isinstance(spec.loader, ExtensionFileLoader):
                return spec
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _Without)
