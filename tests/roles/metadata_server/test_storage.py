"""The database of a metadata server: what a restart gets back."""

from __future__ import annotations

import asyncio
import random

import pytest

from restate_node.protocol.raft.ready import Ready
from restate_node.roles.metadata_server.storage import (
    DIRECTORY,
    LOG,
    CorruptMetadata,
    RaftStorage,
    StorageMark,
)
from restate_node.runtime.ports import StoreOptions
from restate_node.sim.disk import DiskFaults, SimMedium
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.metadata_kv import ClusterIdentity
from restate_node.types.raft import (
    Entry,
    EntryKind,
    HardState,
    Index,
    Members,
    Snapshot,
    SnapshotMeta,
    Term,
)

MEMBERS = Members(Version(1), {PlainNodeId(1): 7})


def entry(index: int, term: int = 1) -> Entry:
    return Entry(Index(index), Term(term), EntryKind.NORMAL, b"%d/%d" % (index, term))


def ready(
    *entries: Entry, hard_state: HardState | None = None, snapshot: Snapshot | None = None
) -> Ready:
    return Ready(hard_state, snapshot, entries, True, (), (), (), None)


def image(index: int) -> Snapshot:
    return Snapshot(SnapshotMeta(Index(index), Term(1), MEMBERS), b"image %d" % index)


def test_what_is_written_is_loaded() -> None:
    """Goal: each kind of write, after a restart. Method: blank, mark, entries, replaced entries,
    compaction, installed snapshot; reload after each.
    """

    async def main(loop: SimLoop) -> None:
        medium = SimMedium("n1", random.Random(1))

        def reopen() -> RaftStorage:
            loop.kill(lives["n1"])
            lives["n1"] = loop.boot("n1")
            return RaftStorage.open(medium.mount(lives["n1"]))

        lives = {"n1": loop.boot("n1")}
        storage = reopen()
        assert storage.load().is_blank and storage.load().mark is None
        mark = StorageMark(7, PlainNodeId(1), ClusterIdentity("test", (1 << 63) + 5))
        await storage.write_mark(mark)
        state = HardState(Term(2), PlainNodeId(1), Index(2))
        await storage.persist(ready(*(entry(n) for n in range(1, 6)), hard_state=state))
        await storage.persist(ready(entry(4, 2)))
        storage = reopen()
        stored = storage.load()
        assert stored.mark == mark and stored.raft.hard_state == state
        assert stored.raft.entries == (entry(1), entry(2), entry(3), entry(4, 2))
        await storage.compact(image(3), Index(2))
        storage = reopen()
        assert storage.load().raft.entries == (entry(3), entry(4, 2))
        assert storage.load().raft.snapshot == image(3) and storage.snapshot_bytes > 0
        await storage.persist(ready(entry(10), snapshot=image(9)))
        stored = reopen().load()
        assert stored.raft.snapshot == image(9) and stored.raft.entries == (entry(10),)
        assert not stored.is_blank

    simulate(1, main)


@pytest.mark.parametrize("seed", range(8))
def test_founding_is_all_or_nothing(seed: int) -> None:
    """Goal: no half cluster after a crash. Method: die right after the write, before its sync; a
    restart sees a blank storage or the whole foundation.
    """

    async def main(loop: SimLoop) -> None:
        medium = SimMedium("n1", loop.streams.stream("disk"))
        life = loop.boot("n1")
        storage = RaftStorage.open(medium.mount(life))
        mark = StorageMark(7, PlainNodeId(1), ClusterIdentity("test", 5))
        hard_state = HardState(Term(1), PlainNodeId(1), Index(1))
        work = storage.found(mark, image(0), hard_state, entry(1))
        loop.spawn(life, work).add_done_callback(lambda _: None)
        await _turns(3)
        loop.kill(life)
        stored = RaftStorage.open(medium.mount(loop.boot("n1"))).load()
        whole = (mark, hard_state, (entry(1),))
        found = (stored.mark, stored.raft.hard_state, stored.raft.entries)
        assert found == whole or (stored.is_blank and stored.mark is None)

    simulate(seed, main)


def test_a_busy_store_is_waited_for() -> None:
    """Goal: a pause of the store is no failure. Method: it is busy half of the time."""

    async def main(loop: SimLoop) -> None:
        medium = SimMedium("n1", random.Random(1))
        storage = RaftStorage.open(medium.mount(loop.boot("n1")))
        medium.faults = DiskFaults(busy_probability=0.5)
        for index in range(1, 20):
            await storage.persist(ready(entry(index)))
        assert len(storage.load().raft.entries) == 19

    simulate(1, main)


def test_damage_is_reported_with_the_way_out() -> None:
    """Goal: never vote from garbage. Method: a value that is no entry."""

    async def main(loop: SimLoop) -> None:
        medium = SimMedium("n1", random.Random(1))
        disk = medium.mount(loop.boot("n1"))
        store = disk.open_store(DIRECTORY, StoreOptions(("state", LOG)))
        batch = store.batch()
        batch.put(LOG, (1).to_bytes(8, "big"), b"garbage")
        store.write(batch)
        with pytest.raises(CorruptMetadata, match="add it again"):
            RaftStorage(store).load()

    simulate(1, main)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
