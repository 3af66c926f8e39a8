"""A call that has ended is made again, from its input or from the middle of its journal.

    0 Input  1 Run  2 →Run  3 Call  4 →Id  5 Sleep  6 →Call  7 Run  8 →Run  9 Output
    └───────────── from=4 ───────────┘           └ kept as well: it answers 3
    The sleep and all behind it is done again.

What is kept is not done again: its calls were made, its state was written, its promises were kept.
So all of it has to be answered, or the new invocation would wait for what nobody sends to it. The
random seed is kept as well, since the handler derives the same ids and values from it that are in
the journal. It is another invocation all the same: what was made of the id of the first one, an
awakeable above all, does not fit when it is replayed.
"""

from __future__ import annotations

from restate_node.protocol.partition.commands.invoke import begin
from restate_node.protocol.partition.invocation_table import InvocationRecord, read_invocation
from restate_node.protocol.partition.journal_table import JournalRow, journal_of
from restate_node.protocol.partition.machine import Machine
from restate_node.types.invocation_messages import ControlStatus
from restate_node.types.invocations import (
    Invocation,
    Origin,
    RawInvocationId,
    partition_key_of_id,
)
from restate_node.types.journal import CompletionId, is_command, is_notification
from restate_node.types.targets import TargetKind
from restate_node.types.wal import Operate, Pinned


def restart(machine: Machine, command: Operate, record: InvocationRecord) -> ControlStatus:
    """The same call again, under a new id of the same partition. `record` has ended."""
    new, length = command.new_invocation, command.copy_entries
    if new is None or not _may_restart(command.invocation, record, new):
        return ControlStatus.UNSUPPORTED
    if read_invocation(machine.rows, new) is not None:
        return ControlStatus.DONE  # Who asks lost the answer, and asks again.
    journal = list(journal_of(machine.rows, command.invocation))
    if not journal:
        return ControlStatus.JOURNAL_MISSING
    if length and record.pinned is None:
        return ControlStatus.UNSUPPORTED
    if length and command.deployment is None:
        return ControlStatus.NOT_COMPLETED  # It had not when somebody looked where it may go.
    kept = _kept(machine, journal, length)
    if kept is None:
        return ControlStatus.PREFIX_OPEN
    begin(machine, _again(machine, command, record, new, journal[0]), kept, _pin(command, record))
    return ControlStatus.DONE


def _may_restart(
    invocation: RawInvocationId, record: InvocationRecord, new: RawInvocationId
) -> bool:
    """A workflow runs once; and only with the same key the new one belongs to this partition."""
    is_neighbor = partition_key_of_id(new) == partition_key_of_id(invocation)
    return is_neighbor and record.target.kind is not TargetKind.WORKFLOW_RUN


def _again(
    machine: Machine,
    command: Operate,
    record: InvocationRecord,
    new: RawInvocationId,
    first: JournalRow,
) -> Invocation:
    argument, headers = machine.codec.argument(first.entry)
    seed = record.random_seed if command.copy_entries else int.from_bytes(new[-8:], "big")
    return Invocation(
        new,
        record.target,
        argument,
        headers,
        Origin.RESTART_AS_NEW,
        retention=record.retention,
        created_at_ms=machine.now_ms,
        random_seed=seed,
        restarted_from=command.invocation,
    )


def _pin(command: Operate, record: InvocationRecord) -> Pinned | None:
    """A journal is read by the version that wrote it."""
    version = command.protocol_version
    if command.copy_entries and record.pinned is not None:
        version = record.pinned.protocol_version
    if command.deployment is None or version is None:
        return None
    return Pinned(command.deployment, version)


def _kept(machine: Machine, journal: list[JournalRow], length: int) -> list[JournalRow] | None:
    """The input, so many entries behind it, and what answers them later; None: it is not there."""
    if length >= len(journal):
        return None
    kept, rest = journal[: length + 1], journal[length + 1 :]
    codec, open_ids = machine.codec, set[int]()
    for row in kept:
        if is_command(row.entry.kind):
            open_ids.update(codec.completions(row.entry))
        elif isinstance(answered := codec.notification_id(row.entry), CompletionId):
            open_ids.discard(answered.number)
    for row in rest:
        if not open_ids:
            break
        if not is_notification(row.entry.kind):
            continue
        identity = codec.notification_id(row.entry)
        if isinstance(identity, CompletionId) and identity.number in open_ids:
            open_ids.remove(identity.number)
            kept.append(row)
    return None if open_ids else kept
