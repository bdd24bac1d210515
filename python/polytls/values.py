"""Immutable values, and the checks of what they are made of.

Wrong types are a TypeError that names the parameter.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Value", "bytes_of", "instance_of", "items_of", "path_of"]

_T = TypeVar("_T")


class Value:
    """An immutable object, compared by value: the base of identities and configurations.

    A subclass lists its constructor's parameters in `_fields`, keeps each in a slot of the same
    name with an underscore before it, and fills the slots with `_fill`.
    """

    __slots__ = ()

    _fields: ClassVar[tuple[str, ...]] = ()

    def _fill(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, f"_{name}", value)

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, f"_{name}") for name in self._fields}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), *self._values().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._values())


def _rebuild(kind: type[Value], values: dict[str, Any]) -> Value:
    """Make a copied or unpickled value through its constructor, so that types are checked."""
    return kind(**values)


def instance_of(name: str, value: object, kind: type[_T], hint: str = "") -> _T:
    """Return `value`, or raise a TypeError that names the parameter `name`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}{hint}")
    return value


def items_of(name: str, value: object, kind: str, hint: str = "") -> tuple[object, ...]:
    """Return the sequence `value` as a tuple, or raise a TypeError that names the parameter.

    Text and bytes are sequences too, but never meant as one here. Sets and iterators have no
    order, or but one use.
    """
    text = isinstance(value, str | bytes | bytearray | memoryview)
    if text or not isinstance(value, Sequence):
        wrong = type(value).__name__
        raise TypeError(f"{name} must be a sequence of {kind}, not {wrong}{hint}")
    return tuple(value)


def bytes_of(name: str, value: Buffer) -> bytes:
    """Return a copy of a bytes-like object as `bytes`."""
    if type(value) is bytes:
        return value
    try:
        # Not bytes(value): that would take an integer, and make so many zeros of it.
        return memoryview(value).tobytes()
    except TypeError:
        wrong = type(value).__name__
        raise TypeError(f"{name} must be a bytes-like object, not {wrong}") from None


def path_of(name: str, value: object) -> str | None:
    """Return a path as `str`; refuse what is the contents of a file rather than its path."""
    if value is None:
        return None
    # Paths are shown in messages and by `repr`, so contents given by mistake must not pass for
    # one: they could be a private key. Hence no bytes, and no PEM.
    if isinstance(value, bytes | bytearray | memoryview) or not isinstance(
        value, str | os.PathLike
    ):
        raise TypeError(f"{name} must be str or os.PathLike, not {type(value).__name__}")
    path = os.fsdecode(value)
    if "-----BEGIN" in path:
        raise ValueError(f"{name} holds PEM text, not a path: use from_buffer")
    return path
