"""Values of a configuration: from what a file, a variable or a flag says, and back to TOML text.

    "1s 500ms"  -> 1500          "32MiB"    -> 33554432         "2" | 2 | "{node: 2}" -> replication
    "[a, b]" | "a,b" | ["a"]     -> tuple   "250ms..1m"         -> DurationRange

A variable is always text while TOML has types, so every kind also takes its value as text.
Invariant: `parse(setting, render(setting, value)) == value`; text that loses precision is refused,
except sizes with a decimal fraction, which mean the nearest byte.

Every refusal is a ValueError that says what to write instead; the caller adds where it was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import Enum
from typing import Any, cast
from urllib.parse import urlsplit

from restate_node.types.nodes import NodeLocation
from restate_node.types.replication import ReplicationProperty
from restate_node.types.settings import DurationRange, Kind, Setting

_MICROSECONDS = {
    "us": 1,
    "ms": 1000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_UNIT_WORDS = {
    "sec": "s",
    "second": "s",
    "min": "m",
    "minute": "m",
    "hr": "h",
    "hour": "h",
    "day": "d",
    "week": "w",
}
_BYTES = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
_DURATION_PART = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([a-zµ]+)\s*,?", re.IGNORECASE)
_SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([a-z]*)\s*", re.IGNORECASE)
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
_DURATION_EXPECTED = "write a duration such as 100ms, 5s or 10m"
_SIZE_EXPECTED = "write a size such as 64KiB, 32MiB or 1GiB"
_TEXTS_EXPECTED = 'write a list such as ["a", "b"]'
_ADDRESS_EXPECTED = "write host:port such as 0.0.0.0:5122 or [::]:5122"
_URL_EXPECTED = "write a URL such as http://127.0.0.1:5122/"
_PORT_MAX = 65_535


def parse(setting: Setting, raw: object) -> Any:
    """The value that `raw` means for this setting; ValueError says what to write instead."""
    if setting.choices is not None:
        return _parse_choices(setting, setting.choices, raw)
    return _PARSERS[setting.kind](raw)


def render(setting: Setting, value: Any) -> str:
    """TOML text of a value, so that `parse` gives it back."""
    match setting.kind:
        case Kind.DURATION:
            return _quote(duration_text(value))
        case Kind.DURATION_RANGE:
            found = cast(DurationRange, value)
            return _quote(f"{duration_text(found.shortest_ms)}..{duration_text(found.longest_ms)}")
        case Kind.SIZE:
            return _quote(size_text(value))
        case Kind.CHOICE:
            return _quote(value.value)
        case Kind.CHOICES:
            return _list([member.value for member in value])
        case Kind.TEXTS | Kind.URLS:
            return _list(list(value))
        case Kind.FLAG | Kind.COUNT | Kind.RATIO:
            return json.dumps(value)
        case Kind.REPLICATION:
            found = cast(ReplicationProperty, value)
            return str(found.copies) if len(found.factors) == 1 else _quote(str(found))
        case Kind.TEXT | Kind.ADDRESS | Kind.URL | Kind.LOCATION:
            return _quote(str(value))


def duration_text(duration_ms: int) -> str:
    """The largest unit that needs no fraction: 90000 is `90s`, 120000 is `2m`."""
    for unit in ("d", "h", "m", "s"):
        length_ms = _MICROSECONDS[unit] // 1000
        if duration_ms and duration_ms % length_ms == 0:
            return f"{duration_ms // length_ms}{unit}"
    return f"{duration_ms}ms" if duration_ms else "0s"


def size_text(size_bytes: int) -> str:
    """The largest binary unit that needs no fraction."""
    for unit, name in (("tib", "TiB"), ("gib", "GiB"), ("mib", "MiB"), ("kib", "KiB")):
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{name}"
    return f"{size_bytes}B"


def parse_duration(raw: object) -> int:
    """Whole milliseconds."""
    written = raw.strip() if isinstance(raw, str) else ""
    microseconds, position = 0.0, 0
    while position < len(written):
        part = _DURATION_PART.match(written, position)
        unit = _duration_unit(part[2]) if part else None
        if part is None or unit is None:
            raise ValueError(_DURATION_EXPECTED)
        microseconds += float(part[1]) * _MICROSECONDS[unit]
        position = part.end()
    if not written:
        raise ValueError(_DURATION_EXPECTED)
    milliseconds = round(microseconds / 1000)
    if abs(microseconds - milliseconds * 1000) > 0.5:
        raise ValueError("durations are whole milliseconds; " + _DURATION_EXPECTED)
    return milliseconds


def _duration_unit(word: str) -> str | None:
    lower = word.lower().replace("µ", "u")
    if lower in _MICROSECONDS:
        return lower
    return _UNIT_WORDS.get(lower.removesuffix("s"))


def parse_size(raw: object) -> int:
    """Bytes."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    found = _SIZE.fullmatch(raw) if isinstance(raw, str) else None
    unit = _BYTES.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise ValueError(_SIZE_EXPECTED)
    if "." not in found[1]:
        return int(found[1]) * unit
    return round(float(found[1]) * unit)


def parse_address(raw: object) -> str:
    """`host:port`; an IPv6 host stands in brackets."""
    found = _ADDRESS.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if found is None or int(found[2]) > _PORT_MAX:
        raise ValueError(_ADDRESS_EXPECTED)
    return f"{found[1]}:{int(found[2])}"


def split_address(address: str) -> tuple[str, int]:
    """Host without brackets, and port, of a parsed address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets where IPv6 needs them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse_url(raw: object) -> str:
    written = raw.strip() if isinstance(raw, str) else ""
    if written.startswith("unix:") and len(written) > len("unix:"):
        return written
    try:
        parts = urlsplit(written)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        valid = False
    if not valid or any(character.isspace() for character in written):
        raise ValueError(_URL_EXPECTED)
    return written if "/" in written.split("://", 1)[1] else written + "/"


def _parse_urls(raw: object) -> tuple[str, ...]:
    return tuple(_parse_url(item) for item in _parse_texts(raw))


def _parse_text(raw: object) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return str(raw)
    raise ValueError("write a text in quotes")


def _parse_texts(raw: object) -> tuple[str, ...]:
    items: object = _split_list(raw) if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple):
        raise ValueError(_TEXTS_EXPECTED)
    found = cast("list[object] | tuple[object, ...]", items)
    if not all(isinstance(item, str) for item in found):
        raise ValueError(_TEXTS_EXPECTED)
    return cast("tuple[str, ...]", tuple(found))


def _split_list(written: str) -> object:
    """A list from one text: JSON, `[a, b]` or `a,b`."""
    stripped = written.strip()
    if not stripped:
        return []
    bare = stripped[1:-1] if stripped.startswith("[") and stripped.endswith("]") else stripped
    try:
        return json.loads(stripped) if bare != stripped else bare.replace(" ", "").split(",")
    except ValueError:
        return [item.strip().strip("\"'") for item in bare.split(",")]


def _parse_flag(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in ("true", "false"):
        return raw.strip().lower() == "true"
    raise ValueError("write true or false")


def _parse_count(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", raw):
        return int(raw)
    raise ValueError("write a whole number")


def _parse_ratio(raw: object) -> float:
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(raw, str) and re.fullmatch(r"\s*-?[0-9]{1,18}(\.[0-9]{1,18})?\s*", raw):
        return float(raw)
    raise ValueError("write a number such as 0.5")


def _parse_duration_range(raw: object) -> DurationRange:
    shortest, separator, longest = raw.partition("..") if isinstance(raw, str) else ("", "", "")
    if not separator:
        raise ValueError("write two durations such as 250ms..1m")
    return DurationRange(parse_duration(shortest), parse_duration(longest))


def _parse_replication(raw: object) -> ReplicationProperty:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError('write a number such as 2, or scopes such as "{node: 3, zone: 2}"')
    return ReplicationProperty.parse(str(raw))


def _parse_location(raw: object) -> NodeLocation:
    return NodeLocation.parse(_parse_text(raw))


def _parse_choices(setting: Setting, choices: type[Enum], raw: object) -> Any:
    if setting.kind is Kind.CHOICES:
        return tuple(_parse_choice(choices, item) for item in _parse_texts(raw))
    return _parse_choice(choices, raw)


def _parse_choice(choices: type[Enum], raw: object) -> Enum:
    for member in choices:
        if raw == member.value:
            return member
    raise ValueError(f"{raw!r} is not one of " + ", ".join(member.value for member in choices))


def _quote(written: str) -> str:
    """A TOML basic string; JSON's escapes are a subset of TOML's but for DEL."""
    return json.dumps(written, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(items: list[str]) -> str:
    return "[" + ", ".join(_quote(item) for item in items) + "]"


_PARSERS: dict[Kind, Callable[[object], Any]] = {
    Kind.TEXT: _parse_text,
    Kind.TEXTS: _parse_texts,
    Kind.FLAG: _parse_flag,
    Kind.COUNT: _parse_count,
    Kind.RATIO: _parse_ratio,
    Kind.DURATION: parse_duration,
    Kind.DURATION_RANGE: _parse_duration_range,
    Kind.SIZE: parse_size,
    Kind.ADDRESS: parse_address,
    Kind.URL: _parse_url,
    Kind.URLS: _parse_urls,
    Kind.REPLICATION: _parse_replication,
    Kind.LOCATION: _parse_location,
}
