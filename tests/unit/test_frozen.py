"""Records are what frozen dataclasses with slots are; `dataclasses` itself is the witness."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import typing
from functools import partial
from typing import Any

import pytest

from polytls.frozen import Record, field, fill, frozen


@frozen()
class Point:
    """A record whose fields are given by position too."""

    x: int
    y: int = 2
    secret: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is negative")

    @property
    def sum(self) -> int:
        """A name that is no field."""
        return self.x + self.y


@frozen(kw_only=True)
class Named:
    """A record whose fields are given by name; one without a default may follow one with."""

    first: str | None = None
    second: bytes = field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class PointWitness:
    x: int
    y: int = 2
    secret: bytes = dataclasses.field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is negative")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NamedWitness:
    first: str | None = None
    second: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Deeper(Point):
    """A dataclass below a record."""

    z: int = 3


class Plain(Point):
    """An ordinary class below a record."""


PAIRS: list[tuple[Any, Any]] = [(Point, PointWitness), (Named, NamedWitness)]
CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    ((1, 5), {"secret": b"s"}),
    ((1, 2, b"", 4), {}),
    ((1,), {"x": 1}),
    ((-1,), {}),
    ((), {"second": b"s"}),
    ((), {"second": b"s", "first": "f"}),
    (("f",), {"second": b"s"}),
    ((), {"third": 3}),
]


def outcome(call: Any) -> tuple[type | None, str]:
    """What is shown of what a call returns, or its error; witnesses go by the record's name."""
    try:
        kind, text = None, repr(call())
    except (TypeError, ValueError, AttributeError) as error:
        kind, text = type(error), str(error)
    return kind, text.replace("Witness", "")


@pytest.mark.parametrize(("record", "witness"), PAIRS)
@pytest.mark.parametrize(("positional", "named"), CALLS)
def test_they_are_made_and_shown_and_refused_alike(
    record: Any, witness: Any, positional: tuple[Any, ...], named: dict[str, Any]
) -> None:
    assert outcome(lambda: record(*positional, **named)) == outcome(
        lambda: witness(*positional, **named)
    )


@pytest.mark.parametrize(("record", "witness"), PAIRS)
def test_they_look_alike_from_outside(record: Any, witness: Any) -> None:
    assert inspect.signature(record) == inspect.signature(witness)
    assert typing.get_type_hints(record).items() >= typing.get_type_hints(witness).items()
    assert typing.get_type_hints(record.__init__) == typing.get_type_hints(witness.__init__)
    assert record.__match_args__ == witness.__match_args__
    assert record.__slots__ == witness.__slots__
    assert record.__module__ == __name__
    assert record.__doc__.startswith("A record whose fields")
    assert dataclasses.is_dataclass(record)
    ours, theirs = dataclasses.fields(record), dataclasses.fields(witness)
    for name in ("name", "type", "default", "repr", "init", "compare", "kw_only"):
        assert [getattr(it, name) for it in ours] == [getattr(it, name) for it in theirs], name


def test_nothing_can_be_set_added_or_deleted() -> None:
    point, witness = Point(1), PointWitness(1)
    for change, *given in ((setattr, "x", 2), (delattr, "x")):
        refused, meant = (outcome(partial(change, it, *given)) for it in (point, witness))
        assert refused == meant
        assert refused[0] is dataclasses.FrozenInstanceError
    with pytest.raises(AttributeError):
        point.other = 1  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")
    assert point == Point(1)


def test_they_are_compared_and_hashed_by_value_and_class() -> None:
    assert Point(1) == Point(1, 2, b"")
    assert hash(Point(1)) == hash(Point(1, 2, b"")) == hash(PointWitness(1))
    for other in (Point(2), Point(1, secret=b"s"), Plain(1), PointWitness(1), (1, 2, b""), 1):
        assert Point(1) != other
    assert len({Point(1), Point(1), Point(2)}) == 2
    with pytest.raises(TypeError):
        iter(Point(1))  # type: ignore[call-overload]


@pytest.mark.parametrize("value", [Point(1, 5, b"s"), Plain(1, 5), Deeper(1, 5, b"s", 7)])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_copies_and_pickles_are_equal(value: Any, protocol: int) -> None:
    for again in (
        pickle.loads(pickle.dumps(value, protocol)),
        copy.copy(value),
        copy.deepcopy(value),
    ):
        assert again == value
        assert type(again) is type(value)


def test_a_copy_with_changes_goes_through_the_constructor() -> None:
    replacing = [dataclasses.replace, lambda it, **changes: it.__replace__(**changes)]
    if sys.version_info >= (3, 13):
        replacing.append(copy.replace)
    for replace in replacing:
        assert replace(Point(1, 5), x=3) == Point(3, 5)
        with pytest.raises(ValueError, match="x is negative"):
            replace(Point(1), x=-1)
        with pytest.raises(TypeError):
            replace(Point(1), z=1)


def test_the_tools_of_dataclasses_take_them() -> None:
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "secret": b""}
    assert dataclasses.astuple(Named(second=b"s")) == (None, b"s")
    assert repr(Deeper(1)) == "Deeper(x=1, y=2, z=3)"
    assert [it.name for it in dataclasses.fields(Deeper)] == ["x", "y", "secret", "z"]


def test_patterns_match_them() -> None:
    match Point(1, 5):
        case Point(x, y):
            assert (x, y) == (1, 5)
    match Named(second=b"s"):
        case Named(first=None, second=second):
            assert second == b"s"


def test_a_record_of_a_record_has_its_fields_first() -> None:
    @frozen()
    class Below(Point):
        z: int = 3

    assert Below.__slots__ == ("z",)
    assert repr(Below(1)).endswith("Below(x=1, y=2, z=3)")
    assert Below(1) == Below(1, z=3) != Below(1, z=4)
    assert not hasattr(Below(1), "__dict__")
    assert [it.name for it in dataclasses.fields(Below)] == ["x", "y", "secret", "z"]
    with pytest.raises(ValueError, match="x is negative"):
        Below(-1)


def test_a_record_of_anything_else_is_refused() -> None:
    with pytest.raises(TypeError, match="Below: a record can inherit only from records"):

        @frozen()
        class Below(Exception):
            z: int


def test_a_constructor_of_its_own_is_kept() -> None:
    @frozen()
    class Doubled(Record):
        x: int

        def __init__(self, half: int) -> None:
            fill(self, x=2 * half)

    assert Doubled(2).x == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        Doubled(2).x = 5  # type: ignore[misc]


def test_making_and_using_one_does_not_import_dataclasses() -> None:
    code = (
        "import sys, polytls\n"
        "info = polytls.ConnectionInfo(implementation='any')\n"
        "assert info == info and hash(info) == hash(info) and repr(info)\n"
        "assert 'dataclasses' not in sys.modules\n"
        "import dataclasses\n"
        "assert dataclasses.asdict(info)['implementation'] == 'any'\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
