"""How this implementation refuses a configuration."""

from __future__ import annotations

from functools import partial
from typing import Final

from ...errors import refusal

__all__ = ["NAME", "refuse"]

NAME: Final = "stdlib"

#: Creates the ConfigurationError for a field.
refuse: Final = partial(refusal, NAME)
