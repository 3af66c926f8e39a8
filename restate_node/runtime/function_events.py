"""Requests to a function on AWS Lambda, and its answers: HTTP as JSON, like API Gateway's.

    event    {"path": "/invoke/Greeter/greet", "httpMethod": "POST", "headers": {…},
              "body": "<base64>", "isBase64Encoded": true}
    answer   {"statusCode": 200, "headers": {…}, "body": "<base64>", "isBase64Encoded": true}

SDKs read the first and write the second. A function is code of others: whatever it answers, the
outcome is an answer or a BadAnswer with a text for people.

Pure. Driven by `runtime.real.service_lambda`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec


class BadAnswer(Exception):
    """It is no HTTP response in JSON; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class FunctionAnswer:
    """What a function answered. Header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _Event(msgspec.Struct):
    path: str
    http_method: str = msgspec.field(name="httpMethod")
    headers: dict[str, str]
    body: str
    is_base64_encoded: bool = msgspec.field(name="isBase64Encoded", default=True)


class _Answer(msgspec.Struct):
    status_code: Annotated[int, msgspec.Meta(ge=100, le=599)] = msgspec.field(name="statusCode")
    headers: dict[str, str | int | float] | None = None
    body: str | None = None
    is_base64_encoded: bool | None = msgspec.field(name="isBase64Encoded", default=None)


def encode_event(method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """The request as JSON. Of headers with one name the last counts: JSON has room for one."""
    return msgspec.json.encode(_Event(path, method, dict(headers), b64encode(body).decode()))


def decode_answer(data: bytes) -> FunctionAnswer:
    """Raises BadAnswer."""
    try:
        shape = msgspec.json.decode(data, type=_Answer)
        told = shape.body or ""
        body = b64decode(told, validate=True) if shape.is_base64_encoded else told.encode()
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise BadAnswer(f"the function did not answer as a Restate SDK does: {error}") from None
    headers = tuple((name.lower(), str(value)) for name, value in (shape.headers or {}).items())
    return FunctionAnswer(shape.status_code, headers, body)
