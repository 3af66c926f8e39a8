"""Eyes inside the product, where clients cannot look: Raft logs and applied commands.

Each is wrapped around a public function and only ever reads what that function was given or
returned. Who it was is told by the context: every callback knows whose life it belongs to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from hashlib import blake2b

from restate_node.bifrost.log import Bifrost
from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import (
    Effect,
    LeaderAnnounced,
    PatchRejected,
    StatePatched,
)
from restate_node.protocol.partition.machine import JournalCodec
from restate_node.protocol.partition.transaction import Transaction
from restate_node.protocol.raft.core import RaftCore
from restate_node.protocol.raft.ready import Ready
from restate_node.roles.worker import replay
from restate_node.roles.worker.bootstrap import Bootstrap
from restate_node.roles.worker.partition_store import PartitionStore, state_hash
from restate_node.sim.history import (
    CommandApplied,
    EpochBegan,
    RaftApplied,
    RaftEntry,
    RaftLeader,
    RecordApplied,
    StateDumped,
    StateSeen,
    StoreFlushed,
    Trimming,
)
from restate_node.sim.hosts import current_incarnation
from restate_node.sim.recorder import Recorder
from restate_node.sim.substitution import Substitution
from restate_node.sim.workloads.state_writes import ID, SERVICE
from restate_node.types.ids import LogId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition
from restate_node.types.raft import Entry, Role
from restate_node.types.wal import Envelope, IngressProducer, PatchState, SelfProposal

TakeReady = Callable[[RaftCore], Ready | None]
Apply = Callable[[Partition, JournalCodec, Lsn, Envelope, Transaction], list[Effect]]
Commit = Callable[[PartitionStore, Transaction], None]
Flush = Callable[[PartitionStore], Awaitable[None]]
Opened = Callable[[Bootstrap, PartitionStore], None]
Trim = Callable[[Bifrost, LogId, Lsn], Awaitable[Lsn]]


def probes(recorder: Recorder) -> list[Substitution]:
    """All of them, for one run."""
    return [
        Substitution(RaftCore, "take_ready", lambda inner: _watch_raft(recorder, inner)),
        Substitution(replay, "apply", lambda inner: _watch_commands(recorder, inner)),
        Substitution(PartitionStore, "commit", lambda inner: _watch_states(recorder, inner)),
        Substitution(PartitionStore, "flush", lambda inner: _watch_flushes(recorder, inner)),
        Substitution(Bootstrap, "opened", lambda inner: _watch_openings(recorder, inner)),
        Substitution(Bifrost, "trim", lambda inner: _watch_trims(recorder, inner)),
    ]


def _who() -> str:
    return repr(current_incarnation.get())


# ---------------------------------------------------------------- metadata servers


def _watch_raft(recorder: Recorder, inner: TakeReady) -> TakeReady:
    @wraps(inner)
    def take_ready(core: RaftCore) -> Ready | None:
        ready = inner(core)
        if ready is not None:
            _tell_raft(recorder, core, ready)
        return ready

    return take_ready


def _tell_raft(recorder: Recorder, core: RaftCore, ready: Ready) -> None:
    now, who = recorder.now(), _who()
    for entry in ready.entries:
        recorder.add(RaftEntry(now, who, entry.index, entry.term, _digest(entry)))
    if ready.soft_state is not None and ready.soft_state.role is Role.LEADER:
        status = core.status()
        recorder.add(RaftLeader(now, who, status.term, status.last_index))
    for entry in ready.committed:
        recorder.add(RaftApplied(now, who, entry.index, entry.term, _digest(entry)))


def _digest(entry: Entry) -> str:
    return blake2b(entry.data, digest_size=6, person=entry.kind.name.encode()[:16]).hexdigest()


# ---------------------------------------------------------------- partitions


def _watch_commands(recorder: Recorder, inner: Apply) -> Apply:
    @wraps(inner)
    def apply(
        partition: Partition,
        codec: JournalCodec,
        lsn: Lsn,
        envelope: Envelope,
        transaction: Transaction,
    ) -> list[Effect]:
        effects = inner(partition, codec, lsn, envelope, transaction)
        _tell_record(recorder, partition.id, lsn, envelope)
        for effect in effects:
            _tell_effect(recorder, partition.id, lsn, envelope, effect)
        return effects

    return apply


def _tell_effect(
    recorder: Recorder, partition: PartitionId, lsn: Lsn, envelope: Envelope, effect: Effect
) -> None:
    now, who = recorder.now(), _who()
    match effect:
        case LeaderAnnounced(node, epoch):
            recorder.add(EpochBegan(now, who, partition, lsn, epoch, str(node)))
        case StatePatched() | PatchRejected():
            command = envelope.command
            assert isinstance(command, PatchState)
            name = command.new_state.get(ID, b"?").decode()
            recorder.add(CommandApplied(now, who, partition, lsn, f"{command.key} {name}"))
        case _:
            pass


def _tell_record(recorder: Recorder, partition: PartitionId, lsn: Lsn, envelope: Envelope) -> None:
    """What the record says, before anybody judges whether it is new."""
    where = (recorder.now(), _who(), partition, lsn)
    command, dedup = envelope.command, envelope.dedup
    writer, number = "", (0, 0)
    match dedup:
        case SelfProposal(epoch, sequence):
            writer, number = "leader", (epoch, sequence)
        case IngressProducer(producer, sequence):
            writer, number = producer.hex(), (0, sequence)
        case _:
            pass
    key = value = ""
    if isinstance(command, PatchState):
        key, value = command.key, command.new_state.get(ID, b"?").decode()
    recorder.add(RecordApplied(*where, writer, number, key, value))


def dump_state(recorder: Recorder, who: str, store: PartitionStore) -> None:
    """Tell all of the state that clients have patched in a store."""
    rows = tuple(
        (entry.owner.key, entry.value.decode())
        for entry in tables.all_state(store)
        if entry.owner.service == SERVICE
    )
    now = recorder.now()
    recorder.add(StateDumped(now, who, store.partition, store.applied, rows))


def _watch_openings(recorder: Recorder, inner: Opened) -> Opened:
    @wraps(inner)
    def opened(bootstrap: Bootstrap, store: PartitionStore) -> None:
        where = (recorder.now(), _who(), store.partition, store.applied)
        recorder.add(StoreFlushed(*where))
        dump_state(recorder, _who(), store)
        inner(bootstrap, store)

    return opened


def _watch_flushes(recorder: Recorder, inner: Flush) -> Flush:
    @wraps(inner)
    async def flush(store: PartitionStore) -> None:
        applied = store.applied
        await inner(store)
        recorder.add(StoreFlushed(recorder.now(), _who(), store.partition, applied))

    return flush


def _watch_trims(recorder: Recorder, inner: Trim) -> Trim:
    @wraps(inner)
    async def trim(bifrost: Bifrost, log: LogId, trim_point: Lsn) -> Lsn:
        recorder.add(Trimming(recorder.now(), _who(), log, trim_point))
        return await inner(bifrost, log, trim_point)

    return trim


def _watch_states(recorder: Recorder, inner: Commit) -> Commit:
    @wraps(inner)
    def commit(store: PartitionStore, transaction: Transaction) -> None:
        inner(store, transaction)
        digest = state_hash(store)[:12]
        seen = StateSeen(recorder.now(), _who(), store.partition, store.applied, digest)
        recorder.add(seen)

    return commit
