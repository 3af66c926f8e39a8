"""A cluster of Raft cores on simulated disks and a message pool, for transcripts and random tests.

The disk holds batches: one `Ready` is one batch, atomic. Batches after the last sync may or may not
survive a crash, but only as a prefix. The driver's two halves are separate events (`begin`: take
and write, `finish`: sync, send, apply, advance), so a crash or a message can fall between them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from restate_node.protocol.metadata_kv import MetadataKv, decode_command
from restate_node.protocol.raft.core import RaftCore
from restate_node.protocol.raft.options import RaftOptions
from restate_node.protocol.raft.ready import ReadState, Ready, RestoredState
from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.metadata_kv import Outcome
from restate_node.types.raft import (
    Entry,
    EntryKind,
    HardState,
    Index,
    Members,
    RaftMessage,
    Snapshot,
    SnapshotMeta,
)


def storage_of(node: int) -> int:
    """The storage id of a node of this cluster; never changes, as its disk is never lost."""
    return node * 100


def members_of(*nodes: int) -> Members:
    """The first members of a cluster."""
    return Members(Version(1), {PlainNodeId(node): storage_of(node) for node in nodes})


@dataclass
class Disk:
    """What survives: the synced state, and the batches written since."""

    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    entries: list[Entry] = field(default_factory=list)
    unsynced: list[Ready | Snapshot] = field(default_factory=list)

    def write(self, batch: Ready | Snapshot) -> None:
        self.unsynced.append(batch)

    def sync(self, count: int | None = None) -> None:
        """Make the first `count` batches durable, all by default; forget the rest."""
        for batch in self.unsynced[:count]:
            if isinstance(batch, Snapshot):
                self._compact(batch)
            else:
                self._store(batch)
        self.unsynced.clear()

    def _compact(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.entries = [entry for entry in self.entries if entry.index > snapshot.meta.index]

    def _store(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            self.snapshot, self.entries = ready.snapshot, []
        if ready.entries:
            first = ready.entries[0].index
            self.entries = [entry for entry in self.entries if entry.index < first]
            self.entries.extend(ready.entries)
        self.hard_state = ready.hard_state or self.hard_state


class Replica:
    """A core, its disk and its state machine; `core` is None while it is down."""

    def __init__(self, node: int, members: Members, options: RaftOptions, seed: int) -> None:
        self.node = PlainNodeId(node)
        self.options = options
        self.rng = random.Random(seed * 1000 + node)
        self.disk = Disk(snapshot=Snapshot(SnapshotMeta(members=members)))
        self.core: RaftCore | None = None
        self.has_commands = True
        self.taken: Ready | None = None
        self.on_applied: Callable[[Replica, Entry, Outcome | None], None] = lambda *_: None
        self.on_read: Callable[[Replica, ReadState], None] = lambda *_: None
        self.start()

    def start(self) -> None:
        """Restore from the disk."""
        self.kv = MetadataKv()
        self.kv.restore(self.disk.snapshot.data)
        self.taken = None
        self.reads: list[ReadState] = []
        restored = RestoredState(self.disk.hard_state, self.disk.snapshot, tuple(self.disk.entries))
        self.core = RaftCore(self.node, storage_of(self.node), self.options, self.rng, restored)

    def crash(self, surviving: int = 0) -> None:
        """Stop at once; only that many of the unsynced batches reach the disk."""
        self.core = self.taken = None
        self.disk.sync(surviving)

    def begin(self) -> Ready | None:
        """Take the next batch, if none is under way, and write it."""
        if self.core is None or self.taken is not None:
            return None
        self.taken = self.core.take_ready()
        if self.taken is not None:
            self.disk.write(self.taken)
        return self.taken

    def finish(self) -> tuple[RaftMessage, ...]:
        """Sync if needed, apply, advance; the messages are for the network."""
        ready, core = self.taken, self.core
        if ready is None or core is None:
            return ()
        if ready.must_sync:
            self.disk.sync()
        if ready.snapshot is not None:
            self.kv.restore(ready.snapshot.data)
        for entry in ready.committed:
            self._apply(entry)
        core.advance(ready)
        self.taken = None
        self.reads.extend(ready.reads)
        self._answer_reads(core.status().applied)
        return ready.messages

    def _apply(self, entry: Entry) -> None:
        outcome = None
        if entry.kind is EntryKind.NORMAL and self.has_commands:
            outcome = self.kv.apply(entry.index, decode_command(entry.data))
        self.on_applied(self, entry, outcome)

    def _answer_reads(self, applied: Index) -> None:
        for read in self.reads:
            if read.index <= applied:
                self.on_read(self, read)
        self.reads = [read for read in self.reads if read.index > applied]

    def compact(self, keep: int = 0) -> None:
        """Snapshot at the applied index, keep some entries before it for slow followers."""
        assert self.core is not None
        applied = self.core.status().applied
        if self.taken is not None or applied <= self.disk.snapshot.meta.index:
            return
        snapshot = Snapshot(self.core.snapshot_meta(applied), self.kv.snapshot())
        self.disk.write(snapshot)
        self.disk.sync()
        self.core.compact(Index(max(0, applied - keep)), snapshot)


class Cluster:
    """Replicas and the messages between them."""

    def __init__(
        self,
        nodes: int,
        members: Members,
        options: RaftOptions | None = None,
        seed: int = 0,
    ) -> None:
        options = options or RaftOptions(election_ticks=4, heartbeat_ticks=1)
        self.network: list[RaftMessage] = []
        self.isolated: set[int] = set()
        self.replicas = {
            node: Replica(
                node, members if PlainNodeId(node) in members else Members(), options, seed
            )
            for node in range(1, nodes + 1)
        }

    def handle(self, node: int) -> Ready | None:
        """One whole `Ready` of a replica."""
        replica = self.replicas[node]
        ready = replica.begin() or replica.taken
        self.network.extend(replica.finish())
        return ready

    def can_pass(self, message: RaftMessage) -> bool:
        return (message.sender in self.isolated) == (message.receiver in self.isolated)

    def deliver(self, message: RaftMessage) -> None:
        core = self.replicas[message.receiver].core
        if core is not None and self.can_pass(message):
            core.receive(message)

    def settle(self, rounds_max: int = 1000) -> None:
        """Handle and deliver until nothing is left to do."""
        for _ in range(rounds_max):
            busy = [node for node in self.replicas if self.handle(node) is not None]
            messages, self.network = self.network, []
            for message in messages:
                self.deliver(message)
            if not busy and not messages:
                return
        raise AssertionError("the cluster does not come to rest")
