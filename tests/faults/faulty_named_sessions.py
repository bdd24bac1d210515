"""Implementations that have one fault each in sessions that are named.

As `faulty.py`, which has the honest wrapper:
`--polytls-implementation faulty_named_sessions:RUNS_OUT_OF_TICKETS`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from faulty import Client, Faulty


class _OffersUnjudged(Client):
    """What must not be offered to this name, it offers as if it were to its own."""

    def create_buffer(self, server_hostname: str, **named: Any) -> Any:
        with suppress(ValueError):
            return super().create_buffer(server_hostname, **named)
        return super().create_buffer("a.example", **named)


class _IgnoresForeignSessions(Client):
    def inside(self, named: dict[str, Any]) -> dict[str, Any]:
        session = named.get("session")
        return super().inside(named if session and session._context is self else {})


class _AsksAfterDialling(Client):
    def connect(self, address: Any, **named: Any) -> Any:
        try:
            return super().connect(address, **named)
        except ValueError:
            with suppress(OSError):
                super().connect(address, server_hostname="other.example", timeout=0.1)
            raise


class _TakesWhatIsRemembered(Client):
    def inside(self, named: dict[str, Any]) -> dict[str, Any]:
        super().inside(named)
        return {name: value for name, value in named.items() if name != "session"}


class _RunsOut(Client):
    """It has nothing to offer once the tickets that came by themselves are used up."""

    def __init__(self, configuration: Any) -> None:
        super().__init__(configuration)
        self.named = 0

    def inside(self, named: dict[str, Any]) -> dict[str, Any]:
        if named.get("session"):
            self.named += 1
        return super().inside(named if self.named < 3 else {**named, "session": None})


OFFERS_A_SESSION_TO_ANY_NAME: Final = Faulty(
    "offers a session to a server that its certificate is not for",
    "test_named_sessions::test_a_session_is_not_offered_to_a_name_that_its_certificate_is_not_for",
    client=_OffersUnjudged,
)
IGNORES_SESSIONS_OF_OTHER_CONTEXTS: Final = Faulty(
    "goes without a session that belongs to another context, and says nothing",
    "test_named_sessions::test_a_session_is_for_its_context_alone",
    client=_IgnoresForeignSessions,
)
DIALS_BEFORE_IT_JUDGES: Final = Faulty(
    "connects before it finds that a session must not be resumed",
    "test_named_sessions::test_what_must_not_be_resumed_is_found_before_anything_is_dialled",
    client=_AsksAfterDialling,
)
TAKES_WHAT_IS_REMEMBERED: Final = Faulty(
    "offers what it remembers of the server in place of the session that was named",
    "test_named_sessions::test_no_other_session_takes_the_place_of_one_that_has_nothing_to_offer",
    client=_TakesWhatIsRemembered,
)
RUNS_OUT_OF_TICKETS: Final = Faulty(
    "offers no ticket of a session again",
    "test_named_sessions::test_fifty_uploads_in_a_row_resume_one_session",
    client=_RunsOut,
)


#: Every fault by the name that the kit takes after `faulty_named_sessions:`.
FAULTS: Final[dict[str, Faulty]] = {
    name: value for name, value in list(globals().items()) if isinstance(value, Faulty)
}
