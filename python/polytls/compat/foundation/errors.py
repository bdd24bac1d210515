"""The exception classes of `_ssl`, as the C module has them."""

from __future__ import annotations

__all__ = [
    "SSLCertVerificationError",
    "SSLEOFError",
    "SSLError",
    "SSLSyscallError",
    "SSLWantReadError",
    "SSLWantWriteError",
    "SSLZeroReturnError",
    "no_error",
    "reasoned",
]


class SSLError(OSError):
    """An error occurred in the SSL implementation."""

    __module__ = "ssl"

    def __str__(self) -> str:
        return self.strerror if isinstance(self.strerror, str) else str(self.args)


class SSLZeroReturnError(SSLError):
    """SSL/TLS session closed cleanly."""

    __module__ = "ssl"


class SSLWantReadError(SSLError):
    """Non-blocking SSL socket needs to read more data
    before the requested operation can be completed."""

    __module__ = "ssl"


class SSLWantWriteError(SSLError):
    """Non-blocking SSL socket needs to write more data
    before the requested operation can be completed."""

    __module__ = "ssl"


class SSLSyscallError(SSLError):
    """System error when attempting SSL operation."""

    __module__ = "ssl"


class SSLEOFError(SSLError):
    """SSL/TLS connection terminated abruptly."""

    __module__ = "ssl"


class SSLCertVerificationError(SSLError, ValueError):
    """A certificate could not be verified."""

    __module__ = "ssl"


def reasoned(library: str, reason: str | None, number: int, text: str | None = None) -> SSLError:
    """Return an error that has OpenSSL's library, reason and number (openssl/err.h)."""
    if reason is None:
        made = SSLError(number, f"[{library}] {text} (polytls)")
    else:
        words = text or reason.lower().replace("_", " ")
        made = SSLError(number, f"[{library}: {reason}] {words} (polytls)")
    made.library, made.reason = library, reason  # type: ignore[attr-defined]
    return made


def no_error(text: str) -> SSLError:
    """Return an error for which OpenSSL has none."""
    made = SSLError(0, f"{text} (polytls)")
    made.library = made.reason = None  # type: ignore[attr-defined]
    return made
