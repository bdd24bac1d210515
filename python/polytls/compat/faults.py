"""Errors in the form that `ssl` raises. The Rust core selects them; this module creates them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .base import BASE

if TYPE_CHECKING:
    from ssl import SSLError
else:
    SSLError = BASE.SSLError

__all__ = ["Fault", "Refused", "error"]

#: What the Rust core raises without a call of Python code.
SSLWantReadError: Final[Any] = BASE.SSLWantReadError
SSLWantWriteError: Final[Any] = BASE.SSLWantWriteError

_CLASSES: Final[dict[int, Any]] = {
    6: BASE.SSLZeroReturnError,
    8: BASE.SSLEOFError,
}


class Refused(SSLError):
    """A setting that polytls does not support; the message names it and says what to do."""

    library: str
    reason: str

    def __init__(self, what: str) -> None:
        super().__init__(1, f"[POLYTLS: NOT_HONOURED] {what}")
        #: The setting.
        self.what = what
        self.library = "POLYTLS"
        self.reason = "NOT_HONOURED"


def error(reason: str, text: str | None = None) -> SSLError:
    """Return an SSLError for one of OpenSSL's reasons."""
    return Fault.exception(1, reason, text or reason.lower().replace("_", " "), None)


class Fault:
    """Creates exceptions for the Rust core."""

    @staticmethod
    def exception(
        number: int, reason: str | None, text: str, refused: tuple[int, str] | None
    ) -> SSLError:
        """Return the exception for a number of `ssl.SSLErrorNumber`.

        `reason`: OpenSSL's name for it.
        `refused`: `verify_code` and `verify_message` of a refused certificate.
        """
        named = text if reason is None else f"[SSL: {reason}] {text}"
        kind = _CLASSES.get(number, SSLError)
        if refused is not None:
            kind = BASE.SSLCertVerificationError
        made: SSLError = kind(number, f"{named} (polytls)")
        made.library = "SSL"
        made.reason = reason  # type: ignore[assignment]
        if refused is not None:
            made.verify_code, made.verify_message = refused  # type: ignore[attr-defined]
        return made
