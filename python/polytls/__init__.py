"""A TLS interface for Python that works with several TLS libraries: PEP 748.

Exports the public names, except `polytls.insecure`, which has to be imported explicitly.
"""

from typing import TYPE_CHECKING

from .configuration import (
    EventListener,
    PeerVerifier,
    SessionCache,
    TLSClientConfiguration,
    TLSServerConfiguration,
    key_log_from_environment,
)
from .constants import (
    DEFAULT_CIPHER_LIST,
    AlertDescription,
    CertificateCompressionAlgorithm,
    CipherSuite,
    ClientAuthentication,
    ECHStatus,
    HandshakeType,
    NamedGroup,
    NextProtocol,
    SignatureScheme,
    TLSVersion,
)
from .errors import (
    AlertReceived,
    CertificateVerificationError,
    ConfigurationError,
    ECHRejected,
    NotTLSError,
    PeerIncompatible,
    PeerMisbehaved,
    PeerRejectedCertificate,
    RaggedEOF,
    Responsible,
    TLSError,
    TokenError,
    TokenFailure,
    VerificationFailure,
    WantReadError,
    WantWriteError,
    is_retryable,
)
from .identity import (
    Certificate,
    ECHKey,
    OCSPResponse,
    Pins,
    PrivateKey,
    RevocationList,
    Signer,
    SigningChain,
    TrustStore,
)
from .info import (
    CertificateInfo,
    ConnectionEvent,
    ConnectionInfo,
    PresentedPeer,
    SessionStatistics,
    Staple,
)
from .interfaces import (
    ByteStream,
    ClientContext,
    Connection,
    Listener,
    ServerContext,
    SupportsChannelBinding,
    SupportsClientWrapSocket,
    SupportsDetach,
    SupportsDoHandshake,
    SupportsEarlyData,
    SupportsEffectiveCiphers,
    SupportsExporter,
    SupportsFileno,
    SupportsHandshakeMayBlock,
    SupportsInfo,
    SupportsKeyUpdate,
    SupportsMakefile,
    SupportsOpen,
    SupportsPending,
    SupportsRecvInto,
    SupportsSeal,
    SupportsSendall,
    SupportsSendfile,
    SupportsServerWrapSocket,
    SupportsSession,
    SupportsShutdown,
    SupportsSocketOptions,
    SupportsStatistics,
    SupportsTimeout,
    SupportsUnwrap,
    TLSBuffer,
    TLSImplementation,
    TLSSocket,
)
from .registry import implementation, implementations
from .sessions import TLSSession
from .tickets import TicketKeys

__all__ = [
    "DEFAULT_CIPHER_LIST",
    "AlertDescription",
    "AlertReceived",
    "ByteStream",
    "Capabilities",
    "Certificate",
    "CertificateCompressionAlgorithm",
    "CertificateInfo",
    "CertificateVerificationError",
    "CipherSuite",
    "ClientAuthentication",
    "ClientContext",
    "ConfigurationError",
    "Connection",
    "ConnectionEvent",
    "ConnectionInfo",
    "ECHKey",
    "ECHRejected",
    "ECHStatus",
    "EventListener",
    "HandshakeType",
    "Listener",
    "NamedGroup",
    "NextProtocol",
    "NotTLSError",
    "OCSPResponse",
    "PeerIncompatible",
    "PeerMisbehaved",
    "PeerRejectedCertificate",
    "PeerVerifier",
    "Pins",
    "PresentedPeer",
    "PrivateKey",
    "RaggedEOF",
    "Responsible",
    "RevocationList",
    "ServerContext",
    "SessionCache",
    "SessionStatistics",
    "SignatureScheme",
    "Signer",
    "SigningChain",
    "Staple",
    "SupportsChannelBinding",
    "SupportsClientWrapSocket",
    "SupportsDetach",
    "SupportsDoHandshake",
    "SupportsEarlyData",
    "SupportsEffectiveCiphers",
    "SupportsExporter",
    "SupportsFileno",
    "SupportsHandshakeMayBlock",
    "SupportsInfo",
    "SupportsKeyUpdate",
    "SupportsMakefile",
    "SupportsOpen",
    "SupportsPending",
    "SupportsRecvInto",
    "SupportsSeal",
    "SupportsSendall",
    "SupportsSendfile",
    "SupportsServerWrapSocket",
    "SupportsSession",
    "SupportsShutdown",
    "SupportsSocketOptions",
    "SupportsStatistics",
    "SupportsTimeout",
    "SupportsUnwrap",
    "TLSBuffer",
    "TLSClientConfiguration",
    "TLSError",
    "TLSImplementation",
    "TLSServerConfiguration",
    "TLSSession",
    "TLSSocket",
    "TLSVersion",
    "TicketKeys",
    "TokenError",
    "TokenFailure",
    "TrustStore",
    "VerificationFailure",
    "WantReadError",
    "WantWriteError",
    "__version__",
    "implementation",
    "implementations",
    "is_retryable",
    "key_log_from_environment",
]

if TYPE_CHECKING:
    from .capabilities import Capabilities

    __version__: str
else:

    def __getattr__(name: str) -> object:
        """Load on first access what takes time: the Rust core, and the version.

        The version is set in Cargo.toml; the installed package takes it from there.
        """
        if name == "Capabilities":
            from .capabilities import Capabilities as value
        elif name == "__version__":
            from importlib.metadata import version

            value = version("polytls")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value
