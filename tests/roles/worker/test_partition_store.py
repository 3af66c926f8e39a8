"""The store of a partition on a disk that forgets what was not flushed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from restate_node.protocol.partition.tables import CorruptTable, Mutation, write_applied
from restate_node.roles.worker.partition_store import PartitionStore, state_hash, store_path
from restate_node.roles.worker.recent_rows import ROW_BYTES_MAX, ROWS_MAX
from restate_node.runtime.ports import StoreBusy, StoreError
from restate_node.sim.disk import DiskFaults, SimMedium
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.ids import PartitionId
from restate_node.types.offsets import Lsn

P = PartitionId(3)


class Host:
    """A disk, and the one process that uses it."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.medium = SimMedium("node", loop.streams.stream("disk"))
        self.process = loop.boot("node")

    async def open(self) -> PartitionStore:
        return await PartitionStore.open(self.medium.mount(self.process), P)

    async def crash(self) -> PartitionStore:
        self.loop.kill(self.process)
        self.process = self.loop.boot("node")
        return await self.open()


def write(store: PartitionStore, lsn: int, **rows: str | None) -> None:
    transaction = store.begin()
    transaction.put([write_applied(P, Lsn(lsn))])
    transaction.put(
        Mutation(key.encode(), None if value is None else value.encode())
        for key, value in rows.items()
    )
    store.commit(transaction)


def run(main: Callable[[Host], Awaitable[None]]) -> None:
    async def build(loop: SimLoop) -> None:
        await main(Host(loop))

    simulate(1, build)


def test_a_crash_goes_back_to_the_last_flush() -> None:
    """Goal: rows and applied LSN stay together. Method: flush in between, crash, look."""

    async def main(host: Host) -> None:
        store = await host.open()
        assert (store.applied, store.durable) == (0, 0)
        write(store, 4, a="1", b="1")
        await store.flush()
        write(store, 6, a="2", b=None)
        assert (store.applied, store.durable) == (6, 4)
        assert (store.get(b"a"), store.get(b"b")) == (b"2", None)
        assert store.unflushed_bytes > 0
        store = await host.crash()
        assert (store.applied, store.durable, store.unflushed_bytes) == (4, 4, 0)
        assert (store.get(b"a"), store.get(b"b")) == (b"1", b"1")

    run(main)


def test_the_applied_lsn_only_rises() -> None:
    """Goal: no transaction is written twice. Method: commit the same LSN again."""

    async def main(host: Host) -> None:
        store = await host.open()
        write(store, 4)
        with pytest.raises(AssertionError, match="from 4 to 4"):
            write(store, 4)

    run(main)


def test_a_refused_write_may_be_repeated() -> None:
    """Goal: StoreBusy changes nothing. Method: refuse once, then commit the same transaction."""

    async def main(host: Host) -> None:
        store = await host.open()
        transaction = store.begin()
        transaction.put([write_applied(P, Lsn(1)), Mutation(b"a", b"1")])
        host.medium.faults = DiskFaults(busy_probability=1.0)
        with pytest.raises(StoreBusy):
            store.commit(transaction)
        assert store.applied == 0 and store.get(b"a") is None
        host.medium.faults = DiskFaults()
        store.commit(transaction)
        assert store.applied == 1 and store.get(b"a") == b"1"

    run(main)


def test_a_failed_flush_makes_nothing_durable() -> None:
    """Goal: the durable LSN never lies. Method: let the flush fail."""

    async def main(host: Host) -> None:
        store = await host.open()
        write(store, 2)
        host.medium.faults = DiskFaults(sync_error_probability=1.0)
        with pytest.raises(StoreError):
            await store.flush()
        assert store.durable == 0

    run(main)


def test_a_damaged_store_is_closed_again() -> None:
    """Goal: after a refusal to open, the files are free. Method: damage the LSN, open twice."""

    async def main(host: Host) -> None:
        store = await host.open()
        write(store, 2)
        await store.flush()
        await store.close()
        mutation = write_applied(P, Lsn(2))
        host.medium.stores[store_path(P)].families["data"].put(mutation.key, b"?")
        for _ in range(2):
            with pytest.raises(CorruptTable):
                await host.open()

    run(main)


def test_hashes_tell_stores_apart() -> None:
    """Goal: the hash sees every row and where keys end. Method: step by step, and look-alikes."""

    async def main(host: Host) -> None:
        store = await host.open()
        hashes = [state_hash(store)]
        for lsn, rows in enumerate(({"a": "bc"}, {"a": None, "ab": "c"}, {"ab": "d"}), 1):
            write(store, lsn, **rows)
            hashes.append(state_hash(store))
        assert len(set(hashes)) == 4
        assert state_hash(store) == hashes[-1]

    run(main)


def test_what_was_written_last_is_read_as_it_is() -> None:
    """Goal: rows that are kept in memory never differ from those of the store. Method: overwrite,
    outgrow and delete rows of a kept kind, more of them than are kept, and compare each with what a
    scan finds; a write that the store refused leaves no trace."""

    async def main(host: Host) -> None:
        store = await host.open()
        names = [f"iv{number:04}" for number in range(ROWS_MAX + 20)]
        write(store, 1, **dict.fromkeys(names, "old"))
        changed = {names[0]: "new", names[-1]: "new", names[-2]: None}
        write(store, 2, **changed, **{names[-3]: "x" * (ROW_BYTES_MAX + 1)})
        rows = dict(store.scan(b"iv", b"iw", rows_max=10_000))
        assert len(rows) == len(names) - 1
        for name in names:
            assert store.get(name.encode()) == rows.get(name.encode())

    run(main)
