"""What a handler asks for, before it is in its journal: may it, and whom does it call?

Replicas apply a command without looking anything up, for they may know different schemas; so the
leader refuses what is not for this handler, and puts into the record of a call what it found: the
kind of the target, the id, how long its traces stay.
"""

from __future__ import annotations

from random import Random
from typing import Final

from restate_node.types import textual_ids
from restate_node.types.attempts import ATTEMPT_FAILED, AttemptFailure, ErrorCode
from restate_node.types.invocations import raw_id
from restate_node.types.journal import MessageType
from restate_node.types.journal_commands import Call
from restate_node.types.partition_keys import SERVICE_BUCKETS
from restate_node.types.schema import HandlerDefaults, ResolvedHandler, Schema
from restate_node.types.targets import ServiceType, Target, TargetKind
from restate_node.types.wal import Callee


class Refused(Exception):
    """The attempt fails; the next one may find a new deployment, or other code."""

    def __init__(self, message: str, error_code: ErrorCode) -> None:
        super().__init__(message)
        self.failure = AttemptFailure(ATTEMPT_FAILED, message, error_code=error_code)


def check(kind: int, handler: ResolvedHandler) -> None:
    """Whether a handler may give such a command; raises Refused. SDKs offer a handler only what is
    for it, but not all languages can hold it to that.
    """
    if misuse := _misuse(kind, handler.kind):
        text = f"{handler.service}/{handler.handler} {misuse}"
        raise Refused(text, ErrorCode.UNSUPPORTED_COMMAND)


def look_up(call: Call, schema: Schema, defaults: HandlerDefaults, rng: Random) -> Callee:
    """Raises Refused."""
    resolved = schema.handler(call.service, call.handler, defaults)
    if resolved is None:
        text = f"{call.service}/{call.handler} is called, and was not found: register a deployment"
        raise Refused(f"{text} that has it", ErrorCode.UNKNOWN_CALLEE)
    if call.key and not resolved.kind.is_keyed:
        text = f"{call.service} is called with a key, and is a service: call it without one"
        raise Refused(text, ErrorCode.UNSUPPORTED_COMMAND)
    target = Target(resolved.kind, call.service, call.handler, call.key)
    key = target.partition_key(call.idempotency_key, rng.randrange(SERVICE_BUCKETS))
    identity = raw_id(key, _uuid(target, call.idempotency_key, rng))
    return Callee(identity, resolved.kind, resolved.retention())


def _misuse(kind: int, handler: TargetKind) -> str | None:
    if kind in _PROMISES and handler.service_type is not ServiceType.WORKFLOW:
        return "asks for a promise: only workflows have promises"
    if kind in _STATE and not handler.is_keyed:
        return "asks for state: only virtual objects and workflows have state"
    if kind in _WRITES and not handler.may_write_state:
        return "writes state, and is shared: write it in an exclusive handler"
    return None


def _uuid(target: Target, idempotency_key: str | None, rng: Random) -> int:
    if target.kind is TargetKind.WORKFLOW_RUN:
        return textual_ids.workflow_uuid(target.service, target.key)
    if idempotency_key:
        key = target.key if target.kind.is_keyed else None
        return textual_ids.idempotent_uuid(target.service, target.handler, idempotency_key, key)
    return rng.getrandbits(128) or 1


_PROMISES: Final = frozenset(
    {
        MessageType.GET_PROMISE_COMMAND,
        MessageType.PEEK_PROMISE_COMMAND,
        MessageType.COMPLETE_PROMISE_COMMAND,
    }
)
_WRITES: Final = frozenset(
    {
        MessageType.SET_STATE_COMMAND,
        MessageType.CLEAR_STATE_COMMAND,
        MessageType.CLEAR_ALL_STATE_COMMAND,
    }
)
_STATE: Final = _WRITES | {
    MessageType.GET_LAZY_STATE_COMMAND,
    MessageType.GET_LAZY_STATE_KEYS_COMMAND,
    MessageType.GET_EAGER_STATE_COMMAND,
    MessageType.GET_EAGER_STATE_KEYS_COMMAND,
}
