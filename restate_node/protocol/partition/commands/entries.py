"""What the commands of a handler do, once they are in its journal.

Each returns the completions that are known at once; the others come when what they wait for
happens: a timer, an answer of another invocation, a promise.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.commands.calls import attach, call, send_signal
from restate_node.protocol.partition.commands.promises import (
    complete_promise,
    get_promise,
    peek_promise,
)
from restate_node.protocol.partition.invocation_table import InvocationRecord
from restate_node.protocol.partition.lifecycle import owner_of
from restate_node.protocol.partition.machine import Machine
from restate_node.protocol.partition.timer_table import Timer, TimerKind
from restate_node.types import journal_commands as does
from restate_node.types.invocations import RawInvocationId, Success
from restate_node.types.journal import Entry, MessageType
from restate_node.types.wal import Callee

Performed: TypeAlias = tuple[InvocationRecord, list[Entry]]


def perform(
    machine: Machine,
    invocation: RawInvocationId,
    record: InvocationRecord,
    entry: Entry,
    callee: Callee | None,
) -> Performed:
    """Do what the entry means; the record, and the completions that are known."""
    meaning = machine.codec.meaning(entry)
    match meaning:
        case does.Nothing():
            return record, []
        case does.Output(outcome):
            return record.with_(outcome=outcome), []
        case does.SetState() | does.ClearState() | does.ClearAllState():
            _write_state(machine, invocation, record, meaning)
            return record, []
        case does.GetState() | does.GetStateKeys():
            return record, [_read_state(machine, invocation, record, meaning)]
        case does.Sleep(wake_up_ms, completion):
            life = record.random_seed
            machine.set_timer(Timer(wake_up_ms, TimerKind.SLEEP, invocation, completion, life))
            return record, []
        case does.Call():
            return record, call(machine, invocation, record, meaning, callee)
        case does.SendSignal():
            send_signal(machine, meaning)
            return record, []
        case does.Attach():
            attach(machine, invocation, record, meaning)
            return record, []
        case does.GetPromise():
            return record, get_promise(machine, invocation, record, meaning)
        case does.PeekPromise():
            return record, peek_promise(machine, invocation, record, meaning)
        case does.CompletePromise():
            return record, complete_promise(machine, invocation, record, meaning)
        case _:
            assert_never(meaning)


def _write_state(
    machine: Machine,
    invocation: RawInvocationId,
    record: InvocationRecord,
    meaning: does.SetState | does.ClearState | does.ClearAllState,
) -> None:
    """Handlers that run beside others only read; the leader does not let them write."""
    if not record.target.kind.may_write_state:
        return
    owner = owner_of(invocation, record)
    match meaning:
        case does.SetState(name, value):
            machine.put(tables.write_state(owner, name, value))
        case does.ClearState(name):
            machine.put(tables.write_state(owner, name, None))
        case does.ClearAllState():
            names = [entry.name for entry in tables.state_of(machine.rows, owner)]
            machine.put(*(tables.write_state(owner, name, None) for name in names))


def _read_state(
    machine: Machine,
    invocation: RawInvocationId,
    record: InvocationRecord,
    meaning: does.GetState | does.GetStateKeys,
) -> Entry:
    owner = owner_of(invocation, record)
    match meaning:
        case does.GetState(name, completion):
            value = tables.read_state(machine.rows, owner, name)
            outcome = None if value is None else Success(value)
            kind = MessageType.GET_LAZY_STATE_COMPLETION
            return machine.codec.completion(kind, completion, outcome)
        case does.GetStateKeys(completion):
            names = [entry.name for entry in tables.state_of(machine.rows, owner)]
            return machine.codec.keys_completion(completion, names)
