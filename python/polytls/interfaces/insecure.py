"""The types of `polytls.insecure`: contexts that verify less (PEP 748, "Insecure Usage").

They are defined here so that implementations can have such contexts. Nothing else imports this
module.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from ..arguments import instance_of
from ..configuration import TLSClientConfiguration, TLSServerConfiguration
from ..frozen import frozen
from .pep748 import ClientContext, ServerContext, TLSImplementation

if TYPE_CHECKING:
    from ..capabilities import Capabilities

__all__ = [
    "InsecureClientContext",
    "InsecureConfiguration",
    "InsecureServerContext",
    "InsecureTLSImplementation",
    "SecurityWarning",
    "warn",
]


class SecurityWarning(Warning):
    """Something disabled part of TLS's protection. Python shows this warning by default.

    It is not a UserWarning, so a filter that silences those does not silence it.
    """


def warn(step: str, stacklevel: int = 1) -> None:
    """Issue the SecurityWarning for one step towards an insecure connection.

    `step`: what was done, such as "InsecureClientContext.connect".
    `stacklevel`: the frame to report, counted as in `warnings.warn`: 1 is the caller of this
    function, 2 the caller's caller.
    """
    warnings.warn(
        f"{step}: verification is partly or fully turned off, so TLS does not protect this "
        "connection; use it only in tests",
        SecurityWarning,
        stacklevel=stacklevel + 1,
    )


@frozen()
class InsecureConfiguration:
    """Which protection to disable; compared by value.

    `disable_hostname_check`: a client accepts a valid certificate for any name.
    `disable_verification`: any certificate is accepted; a server that requires one still does. A
    name in an unverified certificate proves nothing, so this requires the first one too.

    Raises ValueError for the second without the first, and TypeError for anything but bool. Issues
    a SecurityWarning.
    """

    disable_hostname_check: bool = False
    disable_verification: bool = False

    def __post_init__(self) -> None:
        instance_of("disable_hostname_check", self.disable_hostname_check, bool)
        instance_of("disable_verification", self.disable_verification, bool)
        if self.disable_verification and not self.disable_hostname_check:
            raise ValueError("disable_verification requires disable_hostname_check")
        # Skips this method and the generated constructor.
        warn("InsecureConfiguration", stacklevel=3)


@runtime_checkable
class InsecureClientContext(ClientContext, Protocol):
    """A `ClientContext` with protection disabled. Creating it or a connection issues a warning."""

    @abstractmethod
    def __init__(
        self,
        tls_configuration: TLSClientConfiguration,
        insecure_configuration: InsecureConfiguration,
    ) -> None:
        """Create a context. Raises what `ClientContext` raises."""
        ...

    @property
    @abstractmethod
    def insecure_configuration(self) -> InsecureConfiguration:
        """The insecure configuration that it was created from."""
        ...


@runtime_checkable
class InsecureServerContext(ServerContext, Protocol):
    """A `ServerContext` with protection disabled. Creating it or a connection issues a warning."""

    @abstractmethod
    def __init__(
        self,
        tls_configuration: TLSServerConfiguration,
        insecure_configuration: InsecureConfiguration,
    ) -> None:
        """Create a context. Raises what `ServerContext` raises."""
        ...

    @property
    @abstractmethod
    def insecure_configuration(self) -> InsecureConfiguration:
        """The insecure configuration that it was created from."""
        ...


_Client = TypeVar("_Client", bound=ClientContext, covariant=True)
_Server = TypeVar("_Server", bound=ServerContext, covariant=True)
_InsecureClient = TypeVar("_InsecureClient", bound=InsecureClientContext, covariant=True)
_InsecureServer = TypeVar("_InsecureServer", bound=InsecureServerContext, covariant=True)


class InsecureTLSImplementation(
    TLSImplementation[_Client, _Server],
    Generic[_Client, _Server, _InsecureClient, _InsecureServer],
):
    """A `TLSImplementation` that also has insecure contexts.

    Creating one issues no warning, so that a module can define it; `implementation` does.
    """

    __slots__ = ("_insecure_client_context", "_insecure_server_context")

    def __init__(
        self,
        client_context: type[_Client],
        server_context: type[_Server],
        validate_config: Callable[[TLSClientConfiguration | TLSServerConfiguration], None],
        insecure_client_context: type[_InsecureClient],
        insecure_server_context: type[_InsecureServer],
        *,
        name: str | None = None,
        version: str | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        super().__init__(
            client_context,
            server_context,
            validate_config,
            name=name,
            version=version,
            capabilities=capabilities,
        )
        self._insecure_client_context = insecure_client_context
        self._insecure_server_context = insecure_server_context

    @property
    def insecure_client_context(self) -> type[_InsecureClient]:
        """The class of insecure client contexts."""
        return self._insecure_client_context

    @property
    def insecure_server_context(self) -> type[_InsecureServer]:
        """The class of insecure server contexts."""
        return self._insecure_server_context
