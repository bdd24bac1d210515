"""Checks and normalizes arguments.

Wrong types raise a TypeError that names the parameter, like the Rust core. Calls that match no
signature raise one that says how to call (`explained_call`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "DEFAULT",
    "Default",
    "amount_of",
    "bytes_of",
    "explained_call",
    "instance_of",
    "instances_of",
    "items_of",
    "kind_of",
    "not_copied",
    "path_of",
    "seconds_of",
    "view_of",
]

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Default:
    """The type of the default for a timeout that was not given."""

    def __repr__(self) -> str:
        return "socket.getdefaulttimeout()"


DEFAULT: Final = Default()

#: Seconds are counted in 64 bits, here and in the Rust core.
_TOO_LONG: Final = 2**64


def seconds_of(timeout: float | Default | None) -> float | None:
    """Return the timeout in seconds, or the default of `socket`; None means no limit.

    Raises TypeError if it is not a number, ValueError if it is negative, and OverflowError if it is
    larger than any clock supports.
    """
    if isinstance(timeout, Default):
        # Takes milliseconds to import; buffers do not need it.
        import socket

        return socket.getdefaulttimeout()
    if timeout is None:
        return None
    if not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number or None, not {type(timeout).__name__}")
    if math.isnan(timeout):
        raise ValueError("timeout is not a number")
    if timeout < 0:
        raise ValueError("timeout must not be negative")
    if timeout >= _TOO_LONG:
        raise OverflowError("timeout is too large")
    return float(timeout)


def amount_of(name: str, value: int) -> int:
    """Return a number of bytes.

    Raises TypeError if it is not an int, and ValueError if it is negative.
    """
    if not isinstance(value, int):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must not be negative")
    return value


def view_of(name: str, value: Buffer, *, writable: bool = False) -> memoryview:
    """Return the bytes of a bytes-like object, whatever its item type.

    Raises TypeError if it is not bytes-like, or not writable although it must be; BufferError if it
    is not contiguous.
    """
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"{name} must be bytes-like, not {type(value).__name__}") from None
    if writable and view.readonly:
        raise TypeError(f"{name} must be writable")
    if not view.c_contiguous:
        raise BufferError(f"{name} must be contiguous")
    if not view.nbytes:
        return memoryview(b"")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def instance_of(name: str, value: object, kind: type[_T], hint: str = "") -> _T:
    """Return `value`, or raise a TypeError that names the parameter `name`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {kind_of(value, kind)}{hint}")
    return value


def kind_of(value: object, *wanted: type) -> str:
    """Return what `value` is, for a message that expects one of the classes `wanted`.

    Classes from other packages are shown with their package, because `ssl` shares some names with
    polytls. For an enumeration, the hint names the member that was probably meant.
    """
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    said = kind.__name__ if package in ("builtins", "polytls") else f"{package}.{kind.__name__}"
    meant = (_member_like(value, one) for one in wanted if issubclass(one, Enum))
    member = next(filter(None, meant), None)
    return f"{said} (use polytls.{type(member).__name__}.{member.name})" if member else said


def _member_like(value: object, kind: type[Enum]) -> Enum | None:
    """The member of `kind` whose name or value matches `value`, or the name of `value`."""
    said = value if isinstance(value, str) else getattr(value, "name", None)
    if not isinstance(said, str):
        return None
    names = (said, said.encode(), said.removeprefix("CERT_"))
    return next((one for one in kind if one.name in names or one.value in names), None)


def explained_call(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Raise a TypeError that says how to call, for calls that do not match the signature.

    Python's own message counts `self`, names the class that defines the method, and does not say
    which parameters are keyword-only.
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
    """Say how a call differs from the signature of `function`."""
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

    Text and bytes are sequences too, but never meant as one here. Sets have no order, and iterators
    can only be used once.
    """
    text = isinstance(value, str | bytes | bytearray | memoryview)
    if text or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a sequence of {kind}, not {kind_of(value)}{hint}")
    return tuple(value)


def instances_of(name: str, value: object, kind: type[_T], hint: str = "") -> tuple[_T, ...]:
    """Return the sequence `value` as a tuple whose items are all of `kind`; TypeError otherwise."""
    return tuple(
        instance_of(f"{name}[{index}]", item, kind)
        for index, item in enumerate(items_of(name, value, kind.__name__, hint))
    )


def bytes_of(name: str, value: Buffer) -> bytes:
    """Return a copy of a bytes-like object as `bytes`."""
    if type(value) is bytes:
        return value
    try:
        # Not bytes(value): that would accept an integer, and return that many zeros.
        return memoryview(value).tobytes()
    except TypeError:
        raise TypeError(f"{name} must be a bytes-like object, not {kind_of(value)}") from None


def path_of(name: str, value: object) -> str | None:
    """Return a path as `str`; reject the contents of a file in its place."""
    if value is None:
        return None
    # Messages and `repr` show paths, so contents given by mistake must not pass for one: they could
    # be a private key. Therefore bytes and PEM are rejected.
    if isinstance(value, bytes | bytearray | memoryview) or not isinstance(
        value, str | os.PathLike
    ):
        raise TypeError(f"{name} must be str or os.PathLike, not {kind_of(value)}")
    path = os.fsdecode(value)
    if "-----BEGIN" in path:
        raise ValueError(f"{name} holds PEM text, not a path: use from_buffer")
    return path


def not_copied(context: object) -> TypeError:
    """Return the error for copying or pickling a context."""
    return TypeError(
        f"{type(context).__name__} cannot be copied or pickled, because it holds keys and "
        "sessions in use; threads can share it, and another process can create its own from the "
        "configuration, which can be pickled"
    )
