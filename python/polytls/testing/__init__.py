"""Tools for testing code that uses TLS: temporary certificates, connections in memory.

Nothing here is fit for production: keys are in memory, and certificates expire soon.
"""

from .._native import Clock
from .certificates import CertificateAuthority, KeyType, self_signed
from .ech import ech_key
from .memory import Pair, tie
from .signers import KeySigner

__all__ = [
    "CertificateAuthority",
    "Clock",
    "KeySigner",
    "KeyType",
    "Pair",
    "ech_key",
    "self_signed",
    "tie",
]
