"""The `_ssl` of a Python that was built without it: imported if this directory is on the module
search path.

The directory belongs at the end of the path, so that the interpreter's own `_ssl` comes first
(docs/ssl.md).
"""

from polytls.compat.provided import provide

provide()
