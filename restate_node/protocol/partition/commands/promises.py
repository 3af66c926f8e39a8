"""Promises of a workflow: completed once, by any of its handlers, and awaited by any."""

from __future__ import annotations

from restate_node.protocol.partition.invocation_table import InvocationRecord
from restate_node.protocol.partition.lifecycle import owner_of, respond
from restate_node.protocol.partition.machine import Machine
from restate_node.protocol.partition.promise_table import (
    PromiseRecord,
    PromiseWaiter,
    read_promise,
    write_promise,
)
from restate_node.types.invocations import Failure, RawInvocationId
from restate_node.types.journal import Entry, MessageType
from restate_node.types.journal_commands import CompletePromise, GetPromise, PeekPromise

ALREADY_COMPLETED = Failure(409, "promise was already completed")


def get_promise(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, meaning: GetPromise
) -> list[Entry]:
    """Its outcome, or a place among those who wait."""
    owner = owner_of(invocation, record)
    promise = read_promise(machine.rows, owner, meaning.name)
    kind = MessageType.GET_PROMISE_COMPLETION
    if promise.outcome is not None:
        return [machine.codec.completion(kind, meaning.completion, promise.outcome)]
    waiter = PromiseWaiter(invocation, meaning.completion, record.random_seed)
    awaited = PromiseRecord(None, (*promise.waiters, waiter))
    machine.put(write_promise(owner, meaning.name, awaited))
    return []


def peek_promise(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, meaning: PeekPromise
) -> list[Entry]:
    """Its outcome, or nothing, at once."""
    promise = read_promise(machine.rows, owner_of(invocation, record), meaning.name)
    kind = MessageType.PEEK_PROMISE_COMPLETION
    return [machine.codec.completion(kind, meaning.completion, promise.outcome)]


def complete_promise(
    machine: Machine,
    invocation: RawInvocationId,
    record: InvocationRecord,
    meaning: CompletePromise,
) -> list[Entry]:
    """The first outcome stays; a second one is an error for its caller."""
    owner = owner_of(invocation, record)
    promise = read_promise(machine.rows, owner, meaning.name)
    kind = MessageType.COMPLETE_PROMISE_COMPLETION
    if promise.outcome is not None:
        return [machine.codec.completion(kind, meaning.completion, ALREADY_COMPLETED)]
    machine.put(write_promise(owner, meaning.name, PromiseRecord(meaning.outcome)))
    for waiter in promise.waiters:
        respond(
            machine,
            waiter.invocation,
            waiter.completion,
            MessageType.GET_PROMISE_COMPLETION,
            meaning.outcome,
            waiter.life,
        )
    return [machine.codec.completion(kind, meaning.completion, None)]
