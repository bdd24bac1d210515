"""How far a connection has come, what happens to it, and what then: the table of the driver.

`polytls.driver` tells what the rows and columns mean, and is alone in walking from one to another.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

__all__ = ["COLUMNS", "TABLE", "WE_HAVE_CLOSED", "Event", "Need", "State"]


class State(Enum):
    """How far a connection has come."""

    #: Nothing has been done yet.
    OPEN = auto()
    HANDSHAKING = auto()
    #: Data flows both ways.
    CONNECTED = auto()
    #: We have sent close_notify; the peer's data still comes.
    CLOSING_BY_US = auto()
    #: The peer has ended its direction; ours is open.
    CLOSING_BY_PEER = auto()
    #: Both directions are at their end, in order or not.
    CLOSED = auto()
    #: A fatal error, which every later call raises again.
    FAILED = auto()


class Event(Enum):
    """What happens to a connection, in the order of the table's columns."""

    STARTED = auto()
    #: The handshake is done, the peer verified.
    ESTABLISHED = auto()
    #: Our close_notify is queued.
    CLOSE_SENT = auto()
    #: A read came to the peer's close_notify,
    PEER_CLOSED = auto()
    #: or to the end of the transport in its place.
    TRANSPORT_ENDED = auto()
    #: A fatal error, of our finding or of the peer's telling.
    ERROR = auto()
    #: The caller has given up; nothing is sent any more.
    ABORTED = auto()
    #: A handshake or a close has taken too long. Data has all the time in the world.
    TIMED_OUT = auto()


class Need(Enum):
    """What has to be done before a call can go on."""

    #: Bring more from the peer; first send what waits, as the peer may wait for that.
    READ = auto()
    #: Send what waits.
    WRITE = auto()


_OPEN, _SHAKING, _BOTH, _US, _PEER, _CLOSED, _FAILED = State
_NEVER: Final = None

#: Rows: the state before. Columns: the event, in the order of `Event`. `_NEVER`: cannot happen.
TABLE: Final[dict[State, tuple[State | None, ...]]] = {
    # before   STARTED   ESTABL.  CLOSE_SENT  PEER_CL.  ENDED    ERROR    ABORTED   TIMED_OUT
    _OPEN:    (_SHAKING, _NEVER,  _NEVER,     _NEVER,   _NEVER,  _NEVER,  _CLOSED,  _FAILED),
    _SHAKING: (_SHAKING, _BOTH,   _NEVER,     _NEVER,   _NEVER,  _FAILED, _CLOSED,  _FAILED),
    _BOTH:    (_NEVER,   _BOTH,   _US,        _PEER,    _PEER,   _FAILED, _CLOSED,  _NEVER),
    _US:      (_NEVER,   _US,     _US,        _CLOSED,  _CLOSED, _FAILED, _CLOSED,  _CLOSED),
    _PEER:    (_NEVER,   _PEER,   _CLOSED,    _PEER,    _PEER,   _FAILED, _CLOSED,  _NEVER),
    _CLOSED:  (_NEVER,   _CLOSED, _CLOSED,    _CLOSED,  _CLOSED, _FAILED, _CLOSED,  _CLOSED),
    _FAILED:  (_NEVER,   _NEVER,  _FAILED,    _FAILED,  _FAILED, _FAILED, _FAILED,  _FAILED),
}  # fmt: skip

COLUMNS: Final = {event: column for column, event in enumerate(Event)}
WE_HAVE_CLOSED: Final = frozenset({State.CLOSING_BY_US, State.CLOSED})
