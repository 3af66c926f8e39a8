"""Options as TOML text: what `--dump-config` prints and what the example files contain.

Every option stands in the text with its words, its kind and its default; one that is not set is
commented out. Reading the text gives the same options again (tested).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from restate_node.node.config_values import render
from restate_node.types.options import NodeOptions
from restate_node.types.settings import Entry, Kind, Setting, Table, entries

_EXAMPLE_UNIT = {
    Kind.DURATION: "duration, such as 250ms, 5s or 10m",
    Kind.DURATION_RANGE: "two durations, such as 250ms..1m",
    Kind.SIZE: "size, such as 64KiB or 32MiB",
}


def toml_text(options: NodeOptions, header: str = "") -> str:
    """The whole configuration, commented; `header` becomes the first comment."""
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += list(_values(options, NodeOptions(), ""))
    lines += list(_tables(options, NodeOptions(), ""))
    return "\n".join(lines).strip("\n") + "\n"


def _values(options: Any, defaults: Any, prefix: str) -> Iterator[str]:
    """Lines of the values of one class, those of prefixed classes included."""
    for entry in entries(options.__class__):
        value, default = getattr(options, entry.name), getattr(defaults, entry.name)
        if isinstance(entry.about, Setting):
            yield from _value(entry.about, prefix + entry.key, value, default)
        elif entry.about.prefix:
            yield from _values(value, default, entry.key + "-")


def _value(about: Setting, key: str, value: Any, default: Any) -> Iterator[str]:
    yield ""
    yield f"# {about.documentation}"
    yield f"# {_kind(about)}; default {_written(about, default)}"
    if value is None and about.unset is None:
        yield f"# {key} ="
    else:
        yield f"{key} = {_written(about, value)}"


def _written(about: Setting, value: Any) -> str:
    if value is None:
        return "unset" if about.unset is None else f'"{about.unset}"'
    return render(about, value)


def _kind(about: Setting) -> str:
    if about.choices is not None:
        return f"{about.kind.value} " + ", ".join(member.value for member in about.choices)
    bounds = [
        f"{word} {limit:g}"
        for word, limit in (("at least", about.minimum), ("at most", about.maximum))
        if limit and about.kind in (Kind.COUNT, Kind.RATIO)
    ]
    return ", ".join([_EXAMPLE_UNIT.get(about.kind, about.kind.value), *bounds])


def _tables(options: Any, defaults: Any, path: str) -> Iterator[str]:
    for entry in _nested(options):
        name = path + entry.key
        value, default = getattr(options, entry.name), getattr(defaults, entry.name)
        yield from ("", f"# {entry.about.documentation}", f"[{name}]")
        yield from _values(value, default, "")
        yield from _tables(value, default, name + ".")


def _nested(options: Any) -> list[Entry]:
    return [
        entry
        for entry in entries(options.__class__)
        if isinstance(entry.about, Table) and not entry.about.prefix
    ]
