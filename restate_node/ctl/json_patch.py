"""JSON patches (RFC 6902) on plain values: add, remove, replace, move, copy, test.

A patch is applied whole or not at all: values are never changed in place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

OPERATIONS_MAX = 10_000
_NEEDED = {
    "add": ("value",),
    "remove": (),
    "replace": ("value",),
    "move": ("from",),
    "copy": ("from",),
    "test": ("value",),
}

Value: TypeAlias = "dict[str, Any] | list[Any] | str | int | float | bool | None"


class PatchError(ValueError):
    """The patch is malformed, or does not fit the value; the message says where."""


def parse_patch(text: str) -> list[dict[str, Any]]:
    """The operations; PatchError."""
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise PatchError(f"the patch is not JSON: {error}") from None
    if not isinstance(found, list):
        raise PatchError('a patch is a list of operations, such as [{"op": "remove", …}]')
    operations = cast("list[Any]", found)
    if len(operations) > OPERATIONS_MAX:
        raise PatchError(f"a patch may have {OPERATIONS_MAX} operations, not {len(operations)}")
    return [_checked(operation) for operation in operations]


def apply_patch(value: Value, operations: Sequence[dict[str, Any]]) -> Value:
    """The value after all operations; PatchError if one does not fit."""
    result: Value = json.loads(json.dumps(value))
    for operation in operations:
        result = _apply(result, operation)
    return result


def _checked(operation: Any) -> dict[str, Any]:
    if not isinstance(operation, dict):
        raise PatchError(f"{operation!r} is not an operation")
    known = cast("dict[str, Any]", operation)
    name = known.get("op")
    if name not in _NEEDED:
        raise PatchError(f"op {name!r} is unknown; use one of {', '.join(_NEEDED)}")
    for field in ("path", *_NEEDED[name]):
        if field not in known:
            raise PatchError(f"op {name} needs {field!r}")
    return known


def _apply(value: Value, operation: dict[str, Any]) -> Value:
    path = _tokens(operation["path"])
    match operation["op"]:
        case "add":
            return _add(value, path, operation["value"])
        case "remove":
            return _remove(value, path)
        case "replace":
            _get(value, path)
            return _put(value, path, operation["value"])
        case "move":
            source = _tokens(operation["from"])
            if path[: len(source)] == source and path != source:
                raise PatchError(f"{operation['from']} cannot be moved into itself")
            moved = _get(value, source)
            return _add(_remove(value, source), path, moved)
        case "copy":
            return _add(
                value, path, json.loads(json.dumps(_get(value, _tokens(operation["from"]))))
            )
        case _:
            if _get(value, path) != operation["value"]:
                raise PatchError(f"test failed: {operation['path']} has another value")
            return value


def _tokens(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise PatchError(f"{pointer!r} is not a JSON pointer: write one such as /nodes/0")
    return [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]


def _get(value: Value, path: Sequence[str]) -> Value:
    for token in path:
        value = _child(value, token)
    return value


def _child(value: Value, token: str) -> Value:
    if isinstance(value, dict):
        if token not in value:
            raise PatchError(f"there is no {token!r}")
        return value[token]
    if isinstance(value, list):
        return value[_index(token, len(value) - 1)]
    raise PatchError(f"{token!r} is looked for in a plain value")


def _add(value: Value, path: Sequence[str], added: Value) -> Value:
    """Into an array before the index, `-` at its end; elsewhere as replace."""
    if not path:
        return added
    parent, last = _get(value, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), added)
        return value
    return _put(value, path, added)


def _put(value: Value, path: Sequence[str], new: Value) -> Value:
    if not path:
        return new
    parent, last = _get(value, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = new
    elif isinstance(parent, list):
        parent[_index(last, len(parent) - 1)] = new
    else:
        raise PatchError(f"{last!r} cannot be set in a plain value")
    return value


def _remove(value: Value, path: Sequence[str]) -> Value:
    if not path:
        return None
    _get(value, path)
    parent, last = _get(value, path[:-1]), path[-1]
    if isinstance(parent, dict):
        del parent[last]
    elif isinstance(parent, list):
        del parent[_index(last, len(parent) - 1)]
    return value


def _index(token: str, last: int) -> int:
    if not (token.isascii() and token.isdecimal() and str(int(token)) == token):
        raise PatchError(f"{token!r} is not an index")
    if int(token) > last:
        raise PatchError(f"index {token} is beyond the end")
    return int(token)
