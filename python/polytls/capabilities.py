"""What a TLS library supports, and whether a configuration requires more.

Each implementation publishes a `Capabilities` record. `check` compares a configuration with it, and
returns the effective settings of a valid one as an `Effective`. So the same configuration gets the
same answer, in the same words, from every implementation. Both types belong to the Rust core.

Nothing here opens a file or parses a certificate; contexts do that. An implementation refuses what
its record cannot express, with `refusal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._native import Capabilities, Effective, check
from .errors import ConfigurationError, refusal

if TYPE_CHECKING:
    from .configuration import TLSServerConfiguration

__all__ = ["Capabilities", "Effective", "check", "check_no_early_data", "refusal"]


def check_no_early_data(configuration: TLSServerConfiguration, where: str) -> None:
    """Refuse a server configuration with early data where no program could read it.

    Raises ConfigurationError.
    """
    if configuration.early_data:
        raise ConfigurationError(
            f"early_data: {where} has no way to read it; leave it False", field="early_data"
        )
