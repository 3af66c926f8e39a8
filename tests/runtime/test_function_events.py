"""Events and answers of functions: what SDKs read, what they answer, what is no answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from restate_node.runtime.function_events import (
    BadAnswer,
    FunctionAnswer,
    decode_answer,
    encode_event,
)


@pytest.mark.parametrize(
    ("headers", "body", "event"),
    [
        (
            (("accept", "x/y"),), b"",
            {"path": "/p", "httpMethod": "GET", "headers": {"accept": "x/y"}, "body": "",
             "isBase64Encoded": True},
        ),
        (
            (("a", "1"), ("b", "2"), ("a", "3")), b"\0\xff",
            {"path": "/p", "httpMethod": "GET", "headers": {"a": "3", "b": "2"}, "body": "AP8=",
             "isBase64Encoded": True},
        ),
    ],
)  # fmt: skip
def test_events(headers: Any, body: bytes, event: dict[str, Any]) -> None:
    """Goal: the same JSON, in the same order, as Restate 1.7.12 sends. How: without and with a
    body, and a header that comes twice.
    """
    assert encode_event("GET", "/p", headers, body) == _dense(event)


def _dense(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"statusCode": 200, "headers": {"Content-Type": "a/b"}, "body": "aGk=",
             "isBase64Encoded": True},
            FunctionAnswer(200, (("content-type", "a/b"),), b"hi"),
        ),
        (
            {"statusCode": 500, "headers": {"x": 1}, "body": "hé",
             "isBase64Encoded": False},
            FunctionAnswer(500, (("x", "1"),), "hé".encode()),
        ),
        (
            {"statusCode": 503, "headers": None, "body": None, "isBase64Encoded": None,
             "multiValueHeaders": None},
            FunctionAnswer(503, (), b""),
        ),
        ({"statusCode": 404}, FunctionAnswer(404, (), b"")),
    ],
)  # fmt: skip
def test_answers(told: Any, expected: FunctionAnswer) -> None:
    """Goal: whatever an SDK leaves out is nothing. How: a table."""
    assert decode_answer(_dense(told)) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b'"hi"',
        b"{}",
        b'{"statusCode": "200"}',
        b'{"statusCode": 99}',
        b'{"statusCode": 200, "headers": {"a": ["b"]}}',
        b'{"statusCode": 200, "body": "a", "isBase64Encoded": true}',
        b'{"statusCode": 200, "body": "a*==", "isBase64Encoded": true}',
        b'{"statusCode": 200, "body": "\xc3\xa9", "isBase64Encoded": true}',
        b'{"statusCode": 200, "body": "\\ud800"}',
        b'{"statusCode": 200, "body": "\xff"}',
        b"[" * 100_000,
    ],
)
def test_no_answers(data: bytes) -> None:
    """Goal: code of others cannot break a node. How: what is no response, or half of one."""
    with pytest.raises(BadAnswer, match="did not answer as a Restate SDK"):
        decode_answer(data)
