"""What a handler wants of other invocations: calls, signals, outcomes."""

from __future__ import annotations

from typing import assert_never

from restate_node.protocol.partition.invocation_table import InvocationRecord
from restate_node.protocol.partition.machine import Machine
from restate_node.types import textual_ids
from restate_node.types.invocations import (
    Caller,
    Invocation,
    Origin,
    RawInvocationId,
    partition_key_of_id,
    raw_id,
)
from restate_node.types.journal import Entry
from restate_node.types.journal_commands import (
    Attach,
    Call,
    IdempotentTarget,
    OtherInvocation,
    SendSignal,
    WorkflowTarget,
)
from restate_node.types.partition_keys import (
    partition_key_of_idempotency_key,
    partition_key_of_key,
)
from restate_node.types.targets import Target
from restate_node.types.wal import AttachTo, Callee, Invoke, Notify


def call(
    machine: Machine,
    invocation: RawInvocationId,
    record: InvocationRecord,
    meaning: Call,
    callee: Callee | None,
) -> list[Entry]:
    """Send the call on its way; its id is known at once."""
    assert callee is not None, "a leader looks up whom a handler calls"
    made = Invocation(
        callee.invocation,
        Target(callee.kind, meaning.service, meaning.handler, meaning.key),
        meaning.argument,
        meaning.headers,
        Origin.SERVICE,
        Caller(invocation, record.target, meaning.completion, record.random_seed),
        meaning.idempotency_key,
        meaning.start_at_ms,
        callee.retention,
        machine.now_ms,
        seed_of(callee.invocation, invocation, meaning.id_completion),
    )
    machine.send(partition_key_of_id(callee.invocation), Invoke(made))
    return [machine.codec.id_completion(meaning.id_completion, callee.invocation)]


def seed_of(callee: RawInvocationId, caller: RawInvocationId, number: int) -> int:
    """The random seed of a call: another one for each call, though the id may be the same."""
    digest = textual_ids.digest_of(callee, caller, number.to_bytes(4, "big"))
    return digest & 0xFFFF_FFFF_FFFF_FFFF


def send_signal(machine: Machine, meaning: SendSignal) -> None:
    """Send a signal on its way; nobody hears whether it arrived."""
    signal = machine.codec.signal(meaning.signal, meaning.outcome)
    key = partition_key_of_id(meaning.invocation)
    machine.send(key, Notify(meaning.invocation, signal))


def attach(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, meaning: Attach
) -> None:
    """Ask how another invocation ended, or ends."""
    other, life = resolve(meaning.other), record.random_seed
    command = AttachTo(other, invocation, meaning.completion, meaning.wait, life)
    machine.send(partition_key_of_id(other), command)


def resolve(other: OtherInvocation) -> RawInvocationId:
    """The id that such an invocation has, if there is one."""
    match other:
        case bytes():
            return RawInvocationId(other)
        case WorkflowTarget(service, key):
            return raw_id(partition_key_of_key(key), textual_ids.workflow_uuid(service, key))
        case IdempotentTarget(service, key, handler, idempotency_key):
            uuid = textual_ids.idempotent_uuid(service, handler, idempotency_key, key)
            if key is not None:
                return raw_id(partition_key_of_key(key), uuid)
            return raw_id(partition_key_of_idempotency_key(service, idempotency_key), uuid)
        case _:
            assert_never(other)
