"""What base cases are written with: one sentence for whatever goes wrong, and no long wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import pytest

__all__ = ["SOON", "Late", "has_all_of", "told", "within"]

_T = TypeVar("_T")

#: What no call of a base case may take, in seconds.
SOON = 5.0


class Late(Exception):
    """A call has not returned in time, and goes on in a thread that nobody waits for."""


def within(seconds: float, call: Callable[[], _T]) -> _T:
    """Return what `call` returns, or raise what it raises; Late after so many seconds."""
    outcome: list[tuple[_T | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise Late
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # There was no error.


def told(what: str, call: Callable[..., _T], *given: Any, **named: Any) -> _T:
    """Return what `call` returns, soon; otherwise the case fails with a sentence about `what`."""
    try:
        return within(SOON, lambda: call(*given, **named))
    except Late:
        sentence = f"{what} did not return within {SOON:.0f} seconds"
    except NotImplementedError as error:
        sentence = f"{what} raised {_shown(error)}"
    except Exception as error:
        # Here the way to the error is of interest, too.
        pytest.fail(f"{what} raised {_shown(error)}")
    return fail(sentence)


def fail(sentence: str) -> NoReturn:
    """Let the case fail with that sentence and nothing else."""
    pytest.fail(sentence, pytrace=False)


def has_all_of(what: str, made: Any, interface: type) -> None:
    """Let the case fail unless `made` has all that `interface`, a protocol, asks for."""
    if made is None:
        fail(f"{what} is None: it has to be a {interface.__name__}")
    asked = sorted(
        name
        for kind in interface.__mro__
        for name, member in vars(kind).items()
        if getattr(member, "__isabstractmethod__", False) and name != "__init__"
    )
    if missing := [name for name in asked if not hasattr(type(made), name)]:
        fail(
            f"{what}, of type {type(made).__name__}, is no {interface.__name__}: "
            f"it has no {', '.join(missing)}"
        )


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
