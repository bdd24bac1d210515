"""TLS with its protection disabled, for tests (PEP 748, "Insecure Usage").

Without verification, anyone on the path can read and change everything. A device with a self-signed
certificate does not need this: add it to `peers` of a `TrustStore`.

To prevent accidental use, `import polytls` does not import this module, and every step issues a
`SecurityWarning`: looking up an implementation, creating an `InsecureConfiguration`, creating a
context, and creating a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from . import registry
from .interfaces import ClientContext, ServerContext
from .interfaces.insecure import (
    InsecureClientContext,
    InsecureConfiguration,
    InsecureServerContext,
    InsecureTLSImplementation,
    SecurityWarning,
    warn,
)

if TYPE_CHECKING:
    from .engines.openssl import (
        OpensslClientContext,
        OpensslInsecureClientContext,
        OpensslInsecureServerContext,
        OpensslServerContext,
    )
    from .engines.rustls import (
        RustlsClientContext,
        RustlsInsecureClientContext,
        RustlsInsecureServerContext,
        RustlsServerContext,
    )
    from .engines.stdlib import (
        StdlibClientContext,
        StdlibInsecureClientContext,
        StdlibInsecureServerContext,
        StdlibServerContext,
    )

__all__ = [
    "InsecureClientContext",
    "InsecureConfiguration",
    "InsecureServerContext",
    "InsecureTLSImplementation",
    "SecurityWarning",
    "implementation",
    "warn",
]


# With the types of the built-in names, like `polytls.implementation`.
@overload
def implementation(
    name: Literal["rustls"] | None = None,
) -> InsecureTLSImplementation[
    RustlsClientContext,
    RustlsServerContext,
    RustlsInsecureClientContext,
    RustlsInsecureServerContext,
]: ...
@overload
def implementation(
    name: Literal["openssl"],
) -> InsecureTLSImplementation[
    OpensslClientContext,
    OpensslServerContext,
    OpensslInsecureClientContext,
    OpensslInsecureServerContext,
]: ...
@overload
def implementation(
    name: Literal["stdlib"],
) -> InsecureTLSImplementation[
    StdlibClientContext,
    StdlibServerContext,
    StdlibInsecureClientContext,
    StdlibInsecureServerContext,
]: ...
@overload
def implementation(
    name: str | None,
) -> InsecureTLSImplementation[
    ClientContext, ServerContext, InsecureClientContext, InsecureServerContext
]: ...
def implementation(name: str | None = None) -> InsecureTLSImplementation[Any, Any, Any, Any]:
    """Return the implementation `name`, or the default, with its insecure contexts.

    Raises ConfigurationError if there is no implementation of that name, if it cannot be used here,
    or if it has no insecure contexts. Issues a SecurityWarning.
    """
    found = registry.insecure_implementation(name)
    warn("polytls.insecure.implementation", stacklevel=2)
    return found
