"""The `_ssl` of a Python that was built without: it is imported where this folder is on the path.

The folder belongs behind everything else, so that an `_ssl` of the interpreter's own comes first
(docs/ssl.md).
"""

from polytls.compat.provided import provide

provide()
