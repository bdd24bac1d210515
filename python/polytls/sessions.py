"""TLS sessions that one connection provides for others to resume."""

from __future__ import annotations

from typing import Any, NoReturn, final

__all__ = ["TLSSession", "lineage_of"]


@final
class TLSSession:
    """The session of a connection, for other connections of the same context to resume.

    Opaque: get it from `connection.session` and pass it as `session=`. Two handles are equal if
    they represent the same session. It cannot be changed, copied or pickled, because it refers to
    secrets in this process. docs/resumption.md says what is verified before a session is offered.

    `context`: the context it belongs to.
    `lineage`: for implementations, which create these: their internal data.
    """

    __slots__ = ("__weakref__", "_context", "_lineage")
    _context: Any
    _lineage: Any

    def __init__(self, context: object, lineage: object) -> None:
        object.__setattr__(self, "_context", context)
        object.__setattr__(self, "_lineage", lineage)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("TLSSession is final: only connections create sessions")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"TLSSession is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"TLSSession is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not TLSSession:
            return NotImplemented
        return self._context is other._context and bool(self._lineage == other._lineage)

    def __hash__(self) -> int:
        return hash((id(self._context), self._lineage))

    def __repr__(self) -> str:
        return f"<TLSSession of {type(self._context).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a TLS session cannot be pickled or copied: it is only valid in this process"
        )


def lineage_of(session: TLSSession, context: object) -> Any:
    """Return what `context` stored in a session that was passed for one of its connections.

    Raises TypeError for anything but a session, and ValueError for a session of another context.
    """
    if type(session) is not TLSSession:
        raise TypeError(f"session must be a connection's session, not {type(session).__name__}")
    if session._context is not context:
        raise ValueError(
            "session: it belongs to another context; only the context that created a session can "
            "resume it"
        )
    return session._lineage
