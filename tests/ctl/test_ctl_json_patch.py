"""JSON patches against the examples of RFC 6902 and against misuse."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from restate_node.ctl.json_patch import PatchError, apply_patch, parse_patch

CASES: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": 1}], {"foo": "bar", "baz": 1}),
    ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
    ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
    ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
    ({"a": 1}, [{"op": "replace", "path": "/a", "value": None}], {"a": None}),
    (
        {"a": {"b": 1}, "c": {}},
        [{"op": "move", "from": "/a/b", "path": "/c/d"}],
        {"a": {}, "c": {"d": 1}},
    ),
    ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    ({"a/b": {"~": 1}}, [{"op": "test", "path": "/a~1b/~0", "value": 1}], {"a/b": {"~": 1}}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
]


@pytest.mark.parametrize(("value", "operations", "expected"), CASES)
def test_patches(value: Any, operations: list[dict[str, Any]], expected: Any) -> None:
    """Goal: each operation does what the RFC says, and the value given stays as it is."""
    before = copy.deepcopy(value)
    assert apply_patch(value, parse_patch(json.dumps(operations))) == expected
    assert value == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "not JSON"),
        ("{}", "list of operations"),
        ("[1]", "not an operation"),
        ('[{"op": "paint", "path": ""}]', "unknown"),
        ('[{"op": "add", "path": "/a"}]', "needs 'value'"),
        ('[{"op": "remove"}]', "needs 'path'"),
    ],
)
def test_malformed_patches(text: str, said: str) -> None:
    """Goal: the message says what is wrong before anything is read."""
    with pytest.raises(PatchError, match=said):
        parse_patch(text)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/no"},
        {"op": "replace", "path": "/no", "value": 1},
        {"op": "replace", "path": "/list/5", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/plain/x", "value": 1},
        {"op": "test", "path": "/plain", "value": 2},
        {"op": "move", "from": "/list", "path": "/list/0"},
        {"op": "add", "path": "plain", "value": 1},
    ],
)
def test_patches_that_do_not_fit(operation: dict[str, Any]) -> None:
    """Goal: nothing is guessed."""
    with pytest.raises(PatchError):
        apply_patch({"plain": 1, "list": [1]}, [operation])
