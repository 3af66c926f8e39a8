"""How an option is described: its kind, its unit, its bounds, its words.

Every field of the option classes carries, in its annotation, one `Setting` (a value) or one `Table`
(a nested class):

    tick_ms: Annotated[int, duration("How often …", minimum=1)] = 100

The annotation is the one source for four readers, so that they cannot drift apart: the parser of
configuration files, the printer of `--dump-config`, the generated example files, and the rules.

The key in a file is the field's name without its unit, in kebab case: `connect_timeout_ms` is
written `connect-timeout = "3s"`. A field whose key differs (Restate's word order is not always
ours) names it.

Invariant: a description never changes a value. Reading and printing text live with the loader.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, get_args, get_type_hints


class Kind(Enum):
    """What a value is, and therefore how it is written."""

    TEXT = "text"
    TEXTS = "list of texts"
    FLAG = "true or false"
    COUNT = "whole number"
    RATIO = "number"
    DURATION = "duration"
    DURATION_RANGE = "two durations"
    SIZE = "size"
    CHOICE = "one of"
    CHOICES = "list of"
    ADDRESS = "host:port"
    URL = "URL"
    URLS = "list of URLs"
    REPLICATION = "replication property"
    LOCATION = "region.zone"


_UNIT_SUFFIX = {Kind.DURATION: "_ms", Kind.DURATION_RANGE: "_ms", Kind.SIZE: "_bytes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value. Bounds are inclusive and in the unit of the field."""

    kind: Kind
    documentation: str
    minimum: float | None = None
    maximum: float | None = None
    choices: type[Enum] | None = None
    key: str | None = None
    unset: str | None = None
    """The word that stands for None, for a value whose default is not None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A nested class: a TOML table, or with `prefix` keys of the table around it."""

    documentation: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of an option class, ready for a reader."""

    name: str
    key: str
    about: Setting | Table
    optional: bool


@dataclass(frozen=True, slots=True)
class DurationRange:
    """From the shortest to the longest duration, both included."""

    shortest_ms: int
    longest_ms: int


def text(documentation: str, key: str | None = None) -> Setting:
    """Any text."""
    return Setting(kind=Kind.TEXT, documentation=documentation, key=key)


def flag(documentation: str, key: str | None = None) -> Setting:
    """`true` or `false`."""
    return Setting(kind=Kind.FLAG, documentation=documentation, key=key)


def count(
    documentation: str,
    key: str | None = None,
    minimum: int = 0,
    maximum: int | None = None,
    unset: str | None = None,
) -> Setting:
    """A whole number."""
    return Setting(
        kind=Kind.COUNT,
        documentation=documentation,
        key=key,
        minimum=minimum,
        maximum=maximum,
        unset=unset,
    )


def ratio(documentation: str, minimum: float = 0.0, maximum: float | None = None) -> Setting:
    """A number with a fraction."""
    return Setting(kind=Kind.RATIO, documentation=documentation, minimum=minimum, maximum=maximum)


def duration(documentation: str, key: str | None = None, minimum: int = 1) -> Setting:
    """Milliseconds, written as in `100ms`."""
    return Setting(kind=Kind.DURATION, documentation=documentation, key=key, minimum=minimum)


def duration_range(documentation: str) -> Setting:
    """Two durations, written as in `250ms..1m`."""
    return Setting(kind=Kind.DURATION_RANGE, documentation=documentation, minimum=1)


def size(documentation: str, key: str | None = None, minimum: int = 1) -> Setting:
    """Bytes, written as in `32MiB`."""
    return Setting(kind=Kind.SIZE, documentation=documentation, key=key, minimum=minimum)


def choice(documentation: str, choices: type[Enum], key: str | None = None) -> Setting:
    """One member of an enumeration, written as its value."""
    return Setting(kind=Kind.CHOICE, documentation=documentation, choices=choices, key=key)


def of_kind(kind: Kind, documentation: str, choices: type[Enum] | None = None) -> Setting:
    """A kind that needs no bounds."""
    return Setting(kind=kind, documentation=documentation, choices=choices)


def table(documentation: str) -> Table:
    """A nested table."""
    return Table(documentation=documentation)


def prefixed(documentation: str) -> Table:
    """Nested here, but keys with the field's name as prefix in a file."""
    return Table(documentation=documentation, prefix=True)


@cache
def entries(options: type[Any]) -> tuple[Entry, ...]:
    """The described fields of an option class, in order; every field must be described."""
    hints = get_type_hints(options, include_extras=True)
    return tuple(_entry(item.name, hints[item.name]) for item in fields(options))


def _entry(name: str, hint: Any) -> Entry:
    found = [about for about in hint.__metadata__ if isinstance(about, (Setting, Table))]
    assert len(found) == 1, f"option {name} needs exactly one description"
    about = found[0]
    if isinstance(about, Table):
        return Entry(name, name.replace("_", "-"), about, False)
    optional = type(None) in get_args(hint.__origin__)
    return Entry(name, about.key or _key(name, about.kind), about, optional)


def _key(name: str, kind: Kind) -> str:
    return name.removesuffix(_UNIT_SUFFIX.get(kind, "")).replace("_", "-")


def walk(options: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Setting, Any]]:
    """Every value below `options` with its dotted key."""
    assert is_dataclass(options) and not isinstance(options, type)
    for entry in entries(type(options)):
        value = getattr(options, entry.name)
        if isinstance(entry.about, Table):
            yield from walk(value, (*path, entry.key + ("-" if entry.about.prefix else ".")))
        else:
            yield "".join((*path, entry.key)), entry.about, value


def secrets(options: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Dotted keys of values that nobody may be shown: those that `repr` leaves out."""
    assert is_dataclass(options) and not isinstance(options, type)
    hidden = {item.name for item in fields(options) if not item.repr}
    for entry in entries(type(options)):
        if isinstance(entry.about, Table):
            between = "-" if entry.about.prefix else "."
            yield from secrets(getattr(options, entry.name), (*path, entry.key + between))
        elif entry.name in hidden:
            yield "".join((*path, entry.key))


def out_of_bounds(key: str, about: Setting, value: Any) -> str | None:
    """What is wrong with the value's magnitude, in one line, or nothing."""
    match value:
        case DurationRange(shortest, longest):
            if shortest > longest:
                return f"{key} = {shortest}ms..{longest}ms: the first must not exceed the second"
            numbers: tuple[float, ...] = (shortest, longest)
        case bool():
            return None
        case int() | float():
            numbers = (value,)
        case _:
            return None
    for number in numbers:
        if about.minimum is not None and number < about.minimum:
            return f"{key} = {number}: must be at least {about.minimum}"
        if about.maximum is not None and number > about.maximum:
            return f"{key} = {number}: must be at most {about.maximum}"
    return None
