"""Immutable values, and the checks of what they are made of.

Wrong types are a TypeError that names the parameter, and calls that no signature allows one that
says how to call (`explained_call`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Value",
    "bytes_of",
    "explained_call",
    "instance_of",
    "items_of",
    "kind_of",
    "not_copied",
    "path_of",
]

_T = TypeVar("_T")
_P = ParamSpec("_P")


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
        raise TypeError(f"{name} must be {kind.__name__}, not {kind_of(value, kind)}{hint}")
    return value


def kind_of(value: object, *wanted: type) -> str:
    """Return what `value` is, for a message that it should be one of the classes `wanted`.

    A class of others is told with its package, as `ssl` has some of our names. Of an enumeration
    the member is named that was probably meant.
    """
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    said = kind.__name__ if package in ("builtins", "polytls") else f"{package}.{kind.__name__}"
    meant = (_member_like(value, one) for one in wanted if issubclass(one, Enum))
    member = next(filter(None, meant), None)
    return f"{said} (use polytls.{type(member).__name__}.{member.name})" if member else said


def _member_like(value: object, kind: type[Enum]) -> Enum | None:
    """The member of `kind` with the name, or the value, that `value` is or has for its name."""
    said = value if isinstance(value, str) else getattr(value, "name", None)
    if not isinstance(said, str):
        return None
    names = (said, said.encode(), said.removeprefix("CERT_"))
    return next((one for one in kind if one.name in names or one.value in names), None)


def explained_call(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let calls that the signature does not allow be a TypeError that says how to call.

    Python's own counts `self`, names the class where the method was defined, and does not say which
    parameters are given by name.
    """

    @wraps(function)
    def call(*given: _P.args, **named: _P.kwargs) -> _T:
        try:
            return function(*given, **named)
        except TypeError as error:
            entered = error.__traceback__ and error.__traceback__.tb_next
            if entered:
                raise
            wrong = _misfit(function, given, named)
        raise TypeError(wrong)

    return call


def _misfit(function: Callable[..., object], given: Sequence[object], named: Any) -> str:
    """What is wrong with a call that `function`'s signature does not allow."""
    # Takes as long to import as all of polytls.
    from inspect import Parameter, signature

    first, *own = signature(function).parameters.values()
    assert first.name in ("self", "cls")  # noqa: S101 - it is for methods
    by_position = [each.name for each in own if each.kind is Parameter.POSITIONAL_OR_KEYWORD]
    by_name = [each.name for each in own if each.kind is Parameter.KEYWORD_ONLY]
    called = function.__name__
    if called == "__init__":
        called = type(given[0]).__name__
    count = len(given) - 1
    unknown = next((name for name in named if name not in by_position + by_name), None)
    if count > len(by_position):
        takes = f"it takes {', '.join(by_position) or 'nothing'} by position"
        if by_name:
            takes += f"; give {', '.join(by_name)} by name"
        what = "1 argument is" if count == 1 else f"{count} arguments are"
        return f"{called}: {what} given by position; {takes}"
    if unknown is not None:
        takes = ", ".join(by_position + by_name) or "no arguments"
        return f"{called}: there is no argument {unknown}; it takes {takes}"
    for name in by_position[:count]:
        if name in named:
            return f"{called}: {name} is given twice"
    got = {*by_position[:count], *named}
    missing = [each.name for each in own if each.default is each.empty and each.name not in got]
    return f"{called}: {' and '.join(missing)} must be given"


def items_of(name: str, value: object, kind: str, hint: str = "") -> tuple[object, ...]:
    """Return the sequence `value` as a tuple, or raise a TypeError that names the parameter.

    Text and bytes are sequences too, but never meant as one here. Sets and iterators have no
    order, or but one use.
    """
    text = isinstance(value, str | bytes | bytearray | memoryview)
    if text or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a sequence of {kind}, not {kind_of(value)}{hint}")
    return tuple(value)


def bytes_of(name: str, value: Buffer) -> bytes:
    """Return a copy of a bytes-like object as `bytes`."""
    if type(value) is bytes:
        return value
    try:
        # Not bytes(value): that would take an integer, and make so many zeros of it.
        return memoryview(value).tobytes()
    except TypeError:
        raise TypeError(f"{name} must be a bytes-like object, not {kind_of(value)}") from None


def path_of(name: str, value: object) -> str | None:
    """Return a path as `str`; refuse what is the contents of a file rather than its path."""
    if value is None:
        return None
    # Paths are shown in messages and by `repr`, so contents given by mistake must not pass for
    # one: they could be a private key. Hence no bytes, and no PEM.
    if isinstance(value, bytes | bytearray | memoryview) or not isinstance(
        value, str | os.PathLike
    ):
        raise TypeError(f"{name} must be str or os.PathLike, not {kind_of(value)}")
    path = os.fsdecode(value)
    if "-----BEGIN" in path:
        raise ValueError(f"{name} holds PEM text, not a path: use from_buffer")
    return path


def not_copied(context: object) -> TypeError:
    """Return the error for a context that is copied or pickled."""
    return TypeError(
        f"{type(context).__name__} cannot be copied or pickled: it holds keys that are in use, and "
        "sessions; threads can share it, and another process can make its own of its "
        "configuration, which can be pickled"
    )
