"""One TLS interface for Python, several TLS libraries behind it: PEP 748 made real.

The public names, and nothing else; `polytls.insecure` is imported on its own.
"""

from .capabilities import Capabilities
from .configuration import SessionCache, TLSClientConfiguration, TLSServerConfiguration
from .constants import (
    DEFAULT_CIPHER_LIST,
    AlertDescription,
    CipherSuite,
    ClientAuthentication,
    NamedGroup,
    NextProtocol,
    TLSVersion,
)
from .errors import (
    AlertReceived,
    CertificateVerificationError,
    ConfigurationError,
    NotTLSError,
    PeerIncompatible,
    PeerMisbehaved,
    PeerRejectedCertificate,
    RaggedEOF,
    TLSError,
    VerificationFailure,
    WantReadError,
    WantWriteError,
)
from .identity import Certificate, PrivateKey, SigningChain, TrustStore
from .info import ConnectionInfo
from .interfaces import (
    ClientContext,
    ServerContext,
    SupportsEffectiveCiphers,
    SupportsFileno,
    SupportsInfo,
    SupportsPending,
    SupportsRecvInto,
    SupportsSendall,
    SupportsTimeout,
    TLSBuffer,
    TLSImplementation,
    TLSSocket,
)
from .registry import implementation, implementations

__all__ = [
    "DEFAULT_CIPHER_LIST",
    "AlertDescription",
    "AlertReceived",
    "Capabilities",
    "Certificate",
    "CertificateVerificationError",
    "CipherSuite",
    "ClientAuthentication",
    "ClientContext",
    "ConfigurationError",
    "ConnectionInfo",
    "NamedGroup",
    "NextProtocol",
    "NotTLSError",
    "PeerIncompatible",
    "PeerMisbehaved",
    "PeerRejectedCertificate",
    "PrivateKey",
    "RaggedEOF",
    "ServerContext",
    "SessionCache",
    "SigningChain",
    "SupportsEffectiveCiphers",
    "SupportsFileno",
    "SupportsInfo",
    "SupportsPending",
    "SupportsRecvInto",
    "SupportsSendall",
    "SupportsTimeout",
    "TLSBuffer",
    "TLSClientConfiguration",
    "TLSError",
    "TLSImplementation",
    "TLSServerConfiguration",
    "TLSSocket",
    "TLSVersion",
    "TrustStore",
    "VerificationFailure",
    "WantReadError",
    "WantWriteError",
    "__version__",
    "implementation",
    "implementations",
]

__version__ = "0.1.0"
