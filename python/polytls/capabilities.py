"""What a TLS library can do, and whether a configuration asks for more.

Each implementation publishes a `Capabilities` record. `check` is the one judge that compares a
configuration with it, and tells in an `Effective` what a valid one comes to; so that the same wish
gets the same answer, in the same words, from every implementation. Both are the Rust core's.

Nothing here opens a file or parses a certificate: that is a context's task. What a record cannot
express, an implementation refuses by itself, with `refusal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._native import Capabilities, Effective, check
from .errors import ConfigurationError, refusal

if TYPE_CHECKING:
    from .configuration import TLSServerConfiguration

__all__ = ["Capabilities", "Effective", "check", "check_no_early_data", "refusal"]


def check_no_early_data(configuration: TLSServerConfiguration, where: str) -> None:
    """Refuse a server's early data where nobody could read it.

    Raises ConfigurationError.
    """
    if configuration.early_data:
        raise ConfigurationError(
            f"early_data: {where} has no way to read it; leave it False", field="early_data"
        )
