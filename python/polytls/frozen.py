"""Immutable records: `frozen` is a faster alternative to `dataclass(frozen=True, slots=True)`.

Importing `dataclasses` takes nearly as long as the rest of `import polytls`, because it imports
`inspect`, and thus `ast`, `dis` and `tokenize`. The records are dataclasses all the same:
`dataclasses.fields`, `replace`, `asdict` and similar work, because the attributes that they look
for are created on first access.

Rules of this file:

- It imports nothing from polytls, and `dataclasses` only on demand.
- A record can inherit from another one, whose fields come first. Class bodies can use the two
  options of `field`, immutable defaults, and `__post_init__`.
- A class can have its own constructor, which takes the fields as parameters and stores the
  normalized values with `fill`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeVar, dataclass_transform

__all__ = ["Record", "field", "fill", "frozen"]

_T = TypeVar("_T")

#: No default.
_MISSING: Any = object()


class _Field(NamedTuple):
    default: Any = _MISSING
    repr: bool = True
    type: str = ""


def field(*, default: Any = _MISSING, repr: bool = True) -> Any:
    """Describe a field: its default, if any, and whether a `repr` shows it."""
    return _Field(default, repr)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(*, kw_only: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Turn a class into a record: slots for its annotated names, a constructor, and `Record`'s
    methods.

    `kw_only`: the constructor takes no positional arguments, and patterns match only by name.

    As with `dataclass`, the returned class is a new one: methods must not use `super()` without
    arguments.
    """

    def decorate(plain: type[_T]) -> type[_T]:
        bases = tuple(base for base in plain.__bases__ if issubclass(base, Record))
        if bases != plain.__bases__ != (object,):
            raise TypeError(f"{plain.__name__}: a record can inherit only from records")
        body = {
            name: value
            for name, value in vars(plain).items()
            if name not in ("__dict__", "__weakref__")
        }
        own = {}
        for name, kind in plain.__annotations__.items():
            given = body.pop(name, _MISSING)
            described = given if isinstance(given, _Field) else _Field(given)
            own[name] = described._replace(type=kind)
        inherited: dict[str, _Field] = {}
        for base in bases:
            inherited |= base._fields
        fields = inherited | own
        body |= {
            "__match_args__": () if kw_only else tuple(fields),
            "__slots__": tuple(name for name in own if name not in inherited),
            "_fields": fields,
            **{name: _AsDataclass(name, kw_only) for name in _AsDataclass.NAMES},
        }
        if "__init__" not in body and (own or not bases):
            body["__init__"] = _constructor(plain, fields, kw_only)
        made: Any = type(plain.__name__, bases or (Record,), body)
        made.__qualname__ = plain.__qualname__
        return made  # type: ignore[no-any-return]

    return decorate


def _constructor(plain: type, fields: dict[str, _Field], kw_only: bool) -> Any:
    """Generate `__init__` as source, so that its signature, errors and speed are the usual ones."""
    parameters = ["self", "*"] if kw_only else ["self"]
    parameters += [
        name if it.default is _MISSING else f"{name}=_fields[{name!r}].default"
        for name, it in fields.items()
    ]
    lines = [f"_put(self, {name!r}, {name})" for name in fields]
    if hasattr(plain, "__post_init__"):
        lines.append("self.__post_init__()")
    source = f"def make(_put, _fields):\n def __init__({', '.join(parameters)}):\n  "
    source += "\n  ".join(lines) + "\n return __init__"
    made: dict[str, Any] = {}
    # Only names from the class body, as in `dataclasses` and `collections.namedtuple`, evaluated in
    # the class's module, where the annotations have a meaning.
    exec(source, vars(sys.modules[plain.__module__]), made)  # noqa: S102
    init = made["make"](object.__setattr__, fields)
    init.__qualname__ = f"{plain.__qualname__}.__init__"
    init.__annotations__ = {name: it.type for name, it in fields.items()} | {"return": None}
    return init


def fill(record: Record, **values: object) -> None:
    """Set fields of a record under construction."""
    for name, value in values.items():
        object.__setattr__(record, name, value)


class Record:
    """What records have in common."""

    __slots__ = ()

    _fields: ClassVar[dict[str, _Field]] = {}

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._fields)

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self._values(), strict=True))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name, it in self._fields.items() if it.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise _frozen_error(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise _frozen_error(f"cannot delete field {name!r}")

    def __getstate__(self) -> object:
        return object.__getstate__(self)  # Without a word of ours, old protocols refuse slots.

    def __setstate__(self, state: tuple[dict[str, Any] | None, ...]) -> None:
        # `__dict__`, which only subclasses have, and the slots.
        for part in state:
            for name, value in (part or {}).items():
                object.__setattr__(self, name, value)

    def __replace__(self, **changes: Any) -> Any:
        """Return a copy with some fields changed, through the constructor (`copy.replace`)."""
        return type(self)(**self._asdict() | changes)


def _frozen_error(message: str) -> AttributeError:
    from dataclasses import FrozenInstanceError

    return FrozenInstanceError(message)


class _AsDataclass:
    """An attribute that `dataclasses` looks for, taken from a dataclass with the same fields."""

    NAMES = ("__dataclass_fields__", "__dataclass_params__")

    def __init__(self, name: str, kw_only: bool) -> None:
        self._name = name
        self._kw_only = kw_only

    def __get__(self, _instance: object, owner: type[Record]) -> Any:
        import dataclasses

        fields = [(name, it.type, _as_dataclass_field(it)) for name, it in owner._fields.items()]
        twin = dataclasses.make_dataclass(
            owner.__name__, fields, frozen=True, slots=True, kw_only=self._kw_only
        )
        return getattr(twin, self._name)


def _as_dataclass_field(described: _Field) -> Any:
    import dataclasses

    if described.default is _MISSING:
        return dataclasses.field(repr=described.repr)
    return dataclasses.field(default=described.default, repr=described.repr)
