"""Looks up whom a handler calls, for the record of the call.

Replicas apply a call without looking anything up, for they may know different schemas; so the
leader puts into the record what it found: the kind of the target, the id, how long its traces stay.
"""

from __future__ import annotations

from random import Random

from restate_node.types import textual_ids
from restate_node.types.attempts import AttemptFailure, ErrorCode
from restate_node.types.invocations import raw_id
from restate_node.types.journal_commands import Call
from restate_node.types.partition_keys import SERVICE_BUCKETS
from restate_node.types.schema import HandlerDefaults, Schema
from restate_node.types.targets import Target, TargetKind
from restate_node.types.wal import Callee


class UnknownCallee(Exception):
    """There is no such handler; the attempt fails, and may find it the next time."""

    def __init__(self, failure: AttemptFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def look_up(call: Call, schema: Schema, defaults: HandlerDefaults, rng: Random) -> Callee:
    """Raises UnknownCallee."""
    resolved = schema.handler(call.service, call.handler, defaults)
    if resolved is None:
        raise UnknownCallee(_unknown(call, schema))
    target = Target(resolved.kind, call.service, call.handler, call.key)
    key = target.partition_key(call.idempotency_key, rng.randrange(SERVICE_BUCKETS))
    identity = raw_id(key, _uuid(target, call.idempotency_key, rng))
    return Callee(identity, resolved.kind, resolved.retention())


def _uuid(target: Target, idempotency_key: str | None, rng: Random) -> int:
    if target.kind is TargetKind.WORKFLOW_RUN:
        return textual_ids.workflow_uuid(target.service, target.key)
    if idempotency_key:
        key = target.key if target.kind.is_keyed else None
        return textual_ids.idempotent_uuid(target.service, target.handler, idempotency_key, key)
    return rng.getrandbits(128) or 1


def _unknown(call: Call, schema: Schema) -> AttemptFailure:
    known = schema.service(call.service) is not None
    what = f"handler {call.service}/{call.handler}" if known else f"service {call.service}"
    return AttemptFailure(
        404,
        f"{what} is called, and is not registered: register a deployment that has it",
        error_code=ErrorCode.NO_DEPLOYMENT,
    )
