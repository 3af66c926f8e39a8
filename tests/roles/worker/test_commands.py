"""What handlers may ask for, and whom they call."""

from __future__ import annotations

from random import Random
from typing import Final

import pytest

from restate_node.roles.worker.invoker.commands import Refused, check, look_up
from restate_node.types.attempts import ErrorCode
from restate_node.types.ids import Version
from restate_node.types.journal import FIRST_CUSTOM, MessageType
from restate_node.types.journal_commands import Call
from restate_node.types.schema import (
    Deployment,
    Handler,
    HandlerDefaults,
    HttpVersion,
    ProtocolMode,
    Schema,
    Service,
)
from restate_node.types.targets import TargetKind

DEFAULTS: Final = HandlerDefaults()
READ: Final = MessageType.GET_LAZY_STATE_COMMAND
WRITE: Final = MessageType.SET_STATE_COMMAND
PROMISE: Final = MessageType.PEEK_PROMISE_COMMAND


def schema() -> Schema:
    """A service, an object and a workflow, whose handlers are called as their kinds."""
    services = {
        kind.service_type.value: Service(
            name=kind.service_type.value,
            type=kind.service_type,
            handlers={
                each.name: Handler(name=each.name, kind=each)
                for each in TargetKind
                if each.service_type is kind.service_type
            },
        )
        for kind in TargetKind
    }
    deployment = Deployment(
        id="dp_1",
        uri="http://service:9080",
        mode=ProtocolMode.BIDIRECTIONAL,
        http_version=HttpVersion.HTTP_2,
        protocol_version_min=5,
        protocol_version_max=7,
        services=services,
    )
    return Schema(Version(1), {"dp_1": deployment})


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        (TargetKind.SERVICE, set[MessageType]()),
        (TargetKind.OBJECT_EXCLUSIVE, {READ, WRITE}),
        (TargetKind.OBJECT_SHARED, {READ}),
        (TargetKind.WORKFLOW_RUN, {READ, WRITE, PROMISE}),
        (TargetKind.WORKFLOW_SHARED, {READ, PROMISE}),
    ],
)
def test_a_handler_gets_what_its_kind_has(kind: TargetKind, allowed: set[MessageType]) -> None:
    """Goal: nobody reads state that is not there, nor writes beside its writer, and a user is told.
    Method: each kind of handler gives each kind of command.
    """
    handler = schema().handler(kind.service_type.value, kind.name, DEFAULTS)
    assert handler is not None, "the schema has all kinds"
    for command in (READ, WRITE, PROMISE):
        if command in allowed:
            check(command, handler)
            continue
        with pytest.raises(Refused, match=f"{handler.service}/{kind.name} .*: ") as refused:
            check(command, handler)
        assert refused.value.failure.error_code is ErrorCode.UNSUPPORTED_COMMAND
    for command in (MessageType.RUN_COMMAND, MessageType.OUTPUT_COMMAND, FIRST_CUSTOM):
        check(command, handler)


@pytest.mark.parametrize(
    ("service", "handler", "key", "code", "text"),
    [
        ("Nobody", "x", "", ErrorCode.UNKNOWN_CALLEE, "Nobody/x is called, and was not found"),
        ("service", "x", "", ErrorCode.UNKNOWN_CALLEE, "service/x is called, and was not found"),
        ("service", "SERVICE", "k", ErrorCode.UNSUPPORTED_COMMAND, "service is called with a key"),
    ],
)
def test_calls_that_cannot_be(
    service: str, handler: str, key: str, code: ErrorCode, text: str
) -> None:
    """Goal: a wrong call fails the attempt with its reason. Method: a table of wrong calls."""
    call = Call(service, handler, key, b"", (), None, 1, 2)
    with pytest.raises(Refused, match=text) as refused:
        look_up(call, schema(), DEFAULTS, Random(1))
    assert refused.value.failure.error_code is code


def test_an_object_may_have_an_empty_key() -> None:
    """Goal: the empty text is a key like others. Method: call an object with it."""
    call = Call("virtual_object", "OBJECT_SHARED", "", b"", (), None, 1, 2)
    assert look_up(call, schema(), DEFAULTS, Random(1)).kind is TargetKind.OBJECT_SHARED
