"""The life of an invocation: begin, wait for a key, run, wait for news, end, be forgotten.

Whatever moves an invocation from one stage to another is here, whoever asks for it; the commands
only decide which of these steps is due. Each step takes the record as it is and returns it as it is
now, already written.
"""

from __future__ import annotations

from restate_node.protocol.invocation.awaiting import Arrival, Known, wakes
from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import (
    Ended,
    RunInvocation,
    StopRun,
    Stored,
)
from restate_node.protocol.partition.invocation_table import (
    InvocationRecord,
    Stage,
    read_invocation,
    write_invocation,
    write_running,
)
from restate_node.protocol.partition.journal_table import (
    read_entry,
    read_notification,
    without_journal,
    write_entry,
    write_notification,
)
from restate_node.protocol.partition.machine import JournalCodec, Machine
from restate_node.protocol.partition.promise_table import without_promises
from restate_node.protocol.partition.queue_table import (
    first_waiting,
    read_lock,
    write_inbox,
    write_lock,
)
from restate_node.protocol.partition.tables import StateOwner, TableReader
from restate_node.protocol.partition.timer_table import Timer, TimerKind
from restate_node.types.invocations import (
    Caller,
    Failure,
    Origin,
    Outcome,
    RawInvocationId,
    partition_key_of_id,
)
from restate_node.types.journal import (
    Entry,
    MessageType,
    NotificationId,
    is_repeatable,
)
from restate_node.types.targets import TargetKind
from restate_node.types.wal import Respond

ANSWER_KEPT_MS = 60_000
"""An outcome that nothing retains is kept so long for an ingress that lost its answer: it asks
again with the same id, and must not start the invocation anew.
"""


def owner_of(invocation: RawInvocationId, record: InvocationRecord) -> StateOwner:
    """Whose state, lock and promises the invocation works with."""
    target = record.target
    return StateOwner(partition_key_of_id(invocation), target.service, target.key)


def update(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, **changes: object
) -> InvocationRecord:
    """Write the record with changes, as modified now."""
    changed = record.with_(modified_at_ms=machine.now_ms, **changes)
    machine.put(write_invocation(invocation, changed))
    return changed


# ---------------------------------------------------------------- begin


def enqueue(machine: Machine, invocation: RawInvocationId, record: InvocationRecord) -> None:
    """It may begin: at once, or when the key of its object is free."""
    if not record.target.kind.is_exclusive:
        run(machine, invocation, record)
        return
    owner = owner_of(invocation, record)
    if read_lock(machine.rows, owner) is None:
        machine.put(write_lock(owner, invocation))
        run(machine, invocation, record)
        return
    number = tables.read_inbox_number(machine.rows, machine.partition.id)
    machine.put(
        tables.write_inbox_number(machine.partition.id, number + 1),
        write_inbox(owner, number, invocation),
    )
    update(
        machine,
        invocation,
        record,
        stage=Stage.INBOXED,
        inboxed_at_ms=machine.now_ms,
        inbox_number=number,
    )


def run(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord
) -> InvocationRecord:
    """Give it to the leader, for the first time or once more."""
    machine.put(write_running(invocation, True))
    machine.effects.append(RunInvocation(invocation, record.run + 1))
    return update(
        machine,
        invocation,
        record,
        stage=Stage.INVOKED,
        run=record.run + 1,
        awaiting=None,
        running_at_ms=record.running_at_ms or machine.now_ms,
    )


def stop(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, stage: Stage
) -> InvocationRecord:
    """Take it from the leader. What was on its way to the journal will be dropped."""
    machine.put(write_running(invocation, False))
    machine.effects.append(StopRun(invocation))
    return update(machine, invocation, record, stage=stage, run=record.run + 1, awaiting=None)


# ---------------------------------------------------------------- news


def notify(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, entry: Entry
) -> InvocationRecord:
    """Add a notification to the journal, once, and wake the invocation if it waits for it."""
    record, is_new = add_notification(machine, invocation, record, entry)
    if not is_new:
        return record
    if record.stage is Stage.INVOKED:
        counts = record.entries, record.commands
        machine.effects.append(Stored(invocation, record.run, *counts, (entry,)))
    elif record.stage is Stage.SUSPENDED:
        assert record.awaiting is not None, "a suspended invocation waits for something"
        arrived = machine.codec.notification_id(entry)
        known = arrivals(machine.rows, machine.codec, invocation, record.told)
        if wakes(record.awaiting, arrived, known):
            record = run(machine, invocation, record)
    return record


def add_notification(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, entry: Entry
) -> tuple[InvocationRecord, bool]:
    """Add it, unless it is of those that come once, and has come: the first one counts."""
    identity = machine.codec.notification_id(entry)
    has_come = read_notification(machine.rows, invocation, identity) is not None
    if has_come and not is_repeatable(identity):
        return record, False
    index = record.entries
    machine.put(
        write_entry(invocation, index, entry, machine.now_ms),
        write_notification(invocation, identity, index),
    )
    return update(machine, invocation, record, entries=index + 1), True


def arrivals(
    rows: TableReader, codec: JournalCodec, invocation: RawInvocationId, told: int
) -> Known:
    """What the journal knows of each notification. Who was told that many entries and waits for a
    signal that may come again has taken those that came before.
    """

    def known(identity: NotificationId) -> Arrival:
        index = read_notification(rows, invocation, identity)
        if index is None or (is_repeatable(identity) and index < told):
            return Arrival.PENDING
        entry = read_entry(rows, invocation, index)
        assert entry is not None, "a notification that is indexed is in the journal"
        is_failure = isinstance(codec.outcome(entry), Failure)
        return Arrival.FAILURE if is_failure else Arrival.SUCCESS

    return known


# ---------------------------------------------------------------- end


def complete(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, outcome: Outcome
) -> None:
    """It has ended like this: pass its key on, tell who waits, and keep what is to be kept."""
    if record.stage is Stage.INVOKED:
        machine.put(write_running(invocation, False))
    owner = owner_of(invocation, record)
    if record.target.kind.is_exclusive:
        _pass_on(machine, invocation, record, owner)
    tell(machine, record.caller, outcome)
    for waiter in record.waiters:
        kind = MessageType.ATTACH_INVOCATION_COMPLETION
        if waiter.is_call:
            kind = MessageType.CALL_COMPLETION
        respond(machine, waiter.invocation, waiter.completion, kind, outcome, waiter.life)
    ended = _keep(machine, invocation, record, outcome)
    expires = ended.expires_at_ms
    assert expires is not None, "it has just ended"
    machine.effects.append(Ended(invocation, record.target, outcome, expires))


def _keep(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, outcome: Outcome
) -> InvocationRecord:
    retention = record.retention
    ended = update(
        machine,
        invocation,
        record,
        stage=Stage.COMPLETED,
        run=record.run + 1,
        outcome=outcome,
        completed_at_ms=machine.now_ms,
        awaiting=None,
        inbox_number=None,
        waiters=(),
    )
    if ended.is_forgotten and record.has_begun:
        _clear_workflow(machine, invocation, record)
    kept_ms = max(retention.outcome_ms, retention.journal_ms)
    if not kept_ms and record.origin is Origin.INGRESS:
        kept_ms = ANSWER_KEPT_MS
    if retention.journal_ms <= 0:
        machine.put(*without_journal(machine.rows, invocation))
        ended = update(machine, invocation, ended, entries=0, commands=0)
    elif retention.journal_ms < kept_ms:
        at_ms = machine.now_ms + retention.journal_ms
        machine.set_timer(Timer(at_ms, TimerKind.FORGET_JOURNAL, invocation))
    if kept_ms:
        machine.set_timer(Timer(machine.now_ms + kept_ms, TimerKind.FORGET, invocation))
    else:
        forget(machine, invocation, ended)
    return ended


def _pass_on(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, owner: StateOwner
) -> None:
    """Leave the inbox, or give the key to the next in it."""
    if record.inbox_number is not None and record.stage is Stage.INBOXED:
        machine.put(write_inbox(owner, record.inbox_number, None))
    if read_lock(machine.rows, owner) != invocation:
        return
    following = first_waiting(machine.rows, owner)
    if following is None:
        machine.put(write_lock(owner, None))
        return
    successor = read_invocation(machine.rows, following.invocation)
    assert successor is not None, "who waits in an inbox exists"
    machine.put(write_inbox(owner, following.number, None), write_lock(owner, following.invocation))
    run(machine, following.invocation, successor.with_(inbox_number=None))


def tell(machine: Machine, caller: Caller | None, outcome: Outcome) -> None:
    """Complete the Call of a caller that waits."""
    if caller is not None and caller.completion is not None:
        kind = MessageType.CALL_COMPLETION
        respond(machine, caller.invocation, caller.completion, kind, outcome, caller.life)


def respond(
    machine: Machine,
    waiter: RawInvocationId,
    completion: int,
    kind: MessageType,
    outcome: Outcome | None,
    life: int | None,
) -> None:
    """Tell another invocation what it waits for."""
    machine.send(partition_key_of_id(waiter), Respond(waiter, completion, kind, outcome, life))


def forget(machine: Machine, invocation: RawInvocationId, record: InvocationRecord) -> None:
    """As if it had never been; a workflow takes its state and promises along, unless it has done so
    at its end and these are not its own any more.
    """
    machine.put(write_invocation(invocation, None), *without_journal(machine.rows, invocation))
    if not record.is_forgotten:
        _clear_workflow(machine, invocation, record)


def _clear_workflow(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord
) -> None:
    if record.target.kind is TargetKind.WORKFLOW_RUN:
        owner = owner_of(invocation, record)
        gone = [entry.name for entry in tables.state_of(machine.rows, owner)]
        machine.put(*(tables.write_state(owner, name, None) for name in gone))
        machine.put(*without_promises(machine.rows, owner))
