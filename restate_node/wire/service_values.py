"""Parts that messages of the service protocol share: parsing, outcomes, headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocations import Failure, Header, RawInvocationId, parse_id_text
from restate_node.wire.pb import service_protocol_pb2 as pb

_M = TypeVar("_M", bound=Message)


def parse(message: type[_M], payload: bytes) -> _M:
    """A message of that type; raises MalformedMessage."""
    try:
        return message.FromString(payload)
    except DecodeError:
        raise MalformedMessage(f"{len(payload)} bytes are no {message.DESCRIPTOR.name}") from None


def utf8(raw: bytes, what: str) -> str:
    """Text that the protocol has as bytes; raises MalformedMessage."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MalformedMessage(f"{what} {raw[:32]!r} is not UTF-8") from None


def read_invocation(text: str) -> RawInvocationId:
    """From `inv_1…`; raises MalformedMessage."""
    try:
        return parse_id_text(text)
    except ValueError as error:
        raise MalformedMessage(str(error)) from None


def read_failure(message: pb.Failure) -> Failure:
    """A terminal error."""
    metadata = tuple((item.key, item.value) for item in message.metadata)
    return Failure(message.code, message.message, metadata)


def write_failure(failure: Failure) -> pb.Failure:
    """The inverse of `read_failure`."""
    message = pb.Failure(code=failure.code, message=failure.message)
    for key, value in failure.metadata:
        message.metadata.add(key=key, value=value)
    return message


def read_headers(messages: Iterable[pb.Header]) -> tuple[Header, ...]:
    """Headers in order."""
    return tuple(Header(message.key, message.value) for message in messages)
