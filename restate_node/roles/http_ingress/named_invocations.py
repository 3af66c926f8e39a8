"""An invocation that is named in the body of a request.

    POST /restate/lookup | /restate/attach | /restate/output

    {"target": "invocation", "invocationId": "inv_1…"}
    {"target": "idempotentInvocation", "service", "handler", "key"?, "idempotencyKey"}
    {"target": "workflow", "workflowName", "workflowKey"}

For clients whose keys are long or awkward in a path. Unknown fields do not count, so that newer
clients are understood; a scope does, as it would mean another invocation.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from restate_node.roles.http_ingress.answers import Refused
from restate_node.roles.http_ingress.paths import (
    IdempotentCall,
    InvocationName,
    WorkflowRun,
    invocation_of_text,
)
from restate_node.types.decoding import UNDECODABLE


class _Named(msgspec.Struct, tag_field="target", rename="camel"):
    scope: str | None = None


class _ById(_Named, tag="invocation", kw_only=True, rename="camel"):
    invocation_id: str


class _Idempotent(_Named, tag="idempotentInvocation", kw_only=True, rename="camel"):
    service: str
    handler: str
    idempotency_key: str
    key: str | None = None


class _Workflow(_Named, tag="workflow", kw_only=True, rename="camel"):
    workflow_name: str
    workflow_key: str


_Body: TypeAlias = _ById | _Idempotent | _Workflow
_decoder: msgspec.json.Decoder[_Body] = msgspec.json.Decoder(_Body)


def parse_invocation_name(body: bytes) -> InvocationName:
    """Raises Refused for a body that names none, BadPath for an id that is none."""
    try:
        named = _decoder.decode(body)
    except UNDECODABLE as error:
        raise Refused(400, f"the body does not name an invocation: {error}") from None
    if named.scope is not None:
        raise Refused(400, "scoped invocations are not supported: leave out the scope")
    match named:
        case _ById(invocation_id=text):
            return invocation_of_text(text)
        case _Idempotent(service=service, handler=handler, key=key):
            return IdempotentCall(service, key, handler, named.idempotency_key)
        case _Workflow():
            return WorkflowRun(named.workflow_name, named.workflow_key)
