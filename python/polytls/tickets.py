"""Ticket keys that several servers share, so that each can resume the others' sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .arguments import bytes_of
from .errors import ConfigurationError
from .frozen import Record, fill, frozen

if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Self

    from typing_extensions import Buffer

__all__ = ["TicketKeys"]

#: As many bytes as the derived keys have.
_SHORTEST_SECRET: Final = 32

#: The maximum lifetime of a ticket, in seconds (RFC 8446 4.6.1).
_A_WEEK: Final = 7 * 24 * 60 * 60


@frozen()
class TicketKeys(Record):
    """The keys that a server encrypts tickets with, derived from a secret; see `from_secret`.

    Immutable, and equal by value. A `repr` does not show the secrets; a pickle contains them.
    """

    #: The secret that keys are derived from.
    secret: bytes
    #: How long one key is used, and how long a ticket is accepted, in seconds.
    rotation: int
    lifetime: int
    #: Another secret whose tickets are still accepted.
    previous: bytes | None

    def __init__(
        self,
        secret: Buffer,
        *,
        rotation: float | timedelta = 6 * 60 * 60,
        lifetime: float | timedelta = 12 * 60 * 60,
        previous: Buffer | None = None,
    ) -> None:
        fill(
            self,
            secret=_secret_of("secret", secret),
            rotation=_seconds_of("rotation", rotation),
            lifetime=_seconds_of("lifetime", lifetime),
            previous=None if previous is None else _secret_of("previous", previous),
        )

    @classmethod
    def from_secret(
        cls,
        secret: Buffer,
        *,
        rotation: float | timedelta = 6 * 60 * 60,
        lifetime: float | timedelta = 12 * 60 * 60,
        previous: Buffer | None = None,
    ) -> Self:
        """Derive the keys from `secret`: servers with the same secret resume each other's sessions.

        `secret`: at least 32 random bytes (`secrets.token_bytes(32)`), known only to those servers.
        Anyone who knows it can impersonate a server to clients that resume, and decrypt TLS 1.2
        connections that resumed or issued tickets under it, including past ones. Those of TLS 1.3
        stay secret, because each performs a new key exchange.
        `rotation`: how long one key is used, in whole seconds. Keys change by the clock, on all
        servers at the same time; clocks may differ by a minute.
        `lifetime`: how long a ticket is accepted, in whole seconds; at most a week (RFC 8446
        4.6.1).
        `previous`: another secret whose tickets are still accepted. To replace a secret, give all
        servers the old one with the new one as `previous`, then the new one with the old one as
        `previous`, and after the lifetime only the new one.

        Raises TypeError for wrong types, and ConfigurationError for a secret that is too short and
        for invalid times.
        """
        return cls(secret, rotation=rotation, lifetime=lifetime, previous=previous)

    def __repr__(self) -> str:
        previous = "" if self.previous is None else f", previous=<{len(self.previous)} bytes>"
        return (
            f"TicketKeys(secret=<{len(self.secret)} bytes>, rotation={self.rotation}, "
            f"lifetime={self.lifetime}{previous})"
        )


def _secret_of(name: str, value: Buffer) -> bytes:
    secret = bytes_of(name, value)
    if len(secret) < _SHORTEST_SECRET:
        raise _wrong(
            f"{name} has {len(secret)} bytes; it needs at least {_SHORTEST_SECRET} random bytes, "
            "such as secrets.token_bytes(32)"
        )
    return secret


def _seconds_of(name: str, value: object) -> int:
    if not isinstance(value, int | float):
        # Takes milliseconds to import; seconds do not need it.
        from datetime import timedelta

        if isinstance(value, timedelta):
            value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be seconds or timedelta, not {type(value).__name__}")
    if not 1 <= value <= _A_WEEK or value != int(value):
        raise _wrong(f"{name} must be whole seconds, 1 to {_A_WEEK} (a week), not {value}")
    return int(value)


def _wrong(message: str) -> ConfigurationError:
    return ConfigurationError(f"ticket_keys: {message}", field="ticket_keys")
