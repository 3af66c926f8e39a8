"""The snapshot repository over a simulated object store: promises under faults, rivals, crashes."""

from __future__ import annotations

import asyncio

import pytest

from restate_node.roles.worker.snapshot_errors import (
    ForeignSnapshot,
    NoSnapshot,
    SnapshotCorrupt,
    SnapshotSourceChanged,
    SnapshotTooOld,
)
from restate_node.roles.worker.snapshot_repository import (
    ORPHAN_AGE_MS_MIN,
    PublishedSnapshot,
    RepositoryIdentity,
)
from restate_node.roles.worker.snapshot_transfer import Fill, Nowhere
from restate_node.runtime.ports import ObjectStoreUnavailable, Pieces
from restate_node.sim.hosts import Incarnation
from restate_node.sim.objects import ObjectFaults
from restate_node.types.offsets import Lsn
from restate_node.types.snapshots import parse_snapshot_path
from tests.roles.worker.snapshot_world import (
    DAMAGE,
    KEYS,
    LATEST,
    P0,
    Files,
    Nodes,
    damage,
    publish,
    simulated,
    state,
)


def test_what_is_published_can_be_downloaded() -> None:
    """Goal: layout, status and content. How: publish, look at the keys, download elsewhere."""

    async def scenario() -> None:
        nodes = Nodes()
        assert await nodes.node().status(P0) is None
        published = await publish(nodes.node(), 7)
        path = published.snapshot.path
        assert parse_snapshot_path(path) == (7, published.snapshot.snapshot_id)
        names = ("000000.sst", "000001.sst", "000002.sst", "metadata.json")
        assert sorted(nodes.bucket.objects) == [
            LATEST,
            *(f"pre/fix/0/{path}/{name}" for name in names),
        ]
        assert published.is_new and published.uploaded_bytes == 4 * 700 * 3
        assert await nodes.node(2).status(P0) == published.status
        target = Files({"left.over": b"x"})
        downloaded = await nodes.node(2).download(P0, target, at_least=Lsn(7))
        assert target.contents == state(7).contents
        assert downloaded.metadata.key_range == KEYS and downloaded.passed_over == ()
        snapshot, target = published.snapshot.snapshot_id, Nowhere()
        checked = await nodes.node(2).verify(P0, snapshot, target)
        assert checked is not None and checked.problem is None
        assert target.read_bytes == published.uploaded_bytes

    simulated(1, scenario)


def test_retention() -> None:
    """Goal: as many stay as wanted, files of others go, ARCHIVED is the oldest. How: five."""

    async def scenario() -> None:
        nodes = Nodes()
        for lsn in (10, 20, 30, 40, 50):
            published = await publish(nodes.node(retained=3), lsn)
        await nodes.settled()
        assert [kept.min_applied_lsn for kept in published.status.retained] == [50, 40, 30]
        assert published.status.archived_lsn == 30
        directories = {key.split("/")[3] for key in nodes.bucket.objects if key != LATEST}
        assert directories == {kept.path for kept in published.status.retained}

    simulated(1, scenario)


@pytest.mark.parametrize("lsn", [7, 6])
def test_superfluous_snapshots(lsn: int) -> None:
    """Goal: an older or equal one changes nothing and costs no upload. How: publish after 7."""

    async def scenario() -> None:
        nodes = Nodes()
        first = await publish(nodes.node(), 7)
        before = dict(nodes.bucket.objects)
        again = await publish(nodes.node(2), lsn)
        assert (again.snapshot, again.is_new, again.uploaded_bytes) == (first.snapshot, False, 0)
        assert nodes.bucket.objects == before

    simulated(1, scenario)


@pytest.mark.parametrize("seed", range(20))
def test_racing_publishers(seed: int) -> None:
    """Goal: the newest wins, losers clean up, nothing tears. How: five at once, answers lost."""

    async def scenario() -> None:
        nodes = Nodes(seed)
        nodes.bucket.faults = ObjectFaults(answer_lost_probability=0.05)
        lsns = [20, 50, 40, 10, 30]
        results = await asyncio.gather(
            *(publish(nodes.node(n), lsn) for n, lsn in enumerate(lsns)), return_exceptions=True
        )
        failures = [r for r in results if isinstance(r, BaseException)]
        assert all(isinstance(failure, ObjectStoreUnavailable) for failure in failures)
        finished = [r for r in results if isinstance(r, PublishedSnapshot)]
        newest = max((r.status.latest.min_applied_lsn for r in finished), default=0)
        assert nodes.check_latest() >= newest
        nodes.bucket.faults = ObjectFaults()
        await nodes.settled()
        assert nodes.check_latest() >= newest
        published = await publish(nodes.node(), 60)
        await nodes.node().download(P0, target := Files())
        assert target.contents == state(60).contents
        await nodes.settled()
        assert published.is_new and nodes.check_latest() == 60

    simulated(seed, scenario)


@pytest.mark.parametrize("seed", range(26))
def test_crash_at_any_step(seed: int) -> None:
    """Goal: latest.json is valid whenever the publisher dies. How: kill it at each of 26 steps."""

    async def scenario() -> None:
        nodes = Nodes(seed)
        await publish(nodes.node(), 5)
        victim = Incarnation("victim", 1)
        nodes.bucket.mortal = (victim, seed)
        repository = nodes.node(2, incarnation=victim)
        loop = asyncio.get_running_loop()
        publishing = loop.create_task(publish(repository, 9), context=victim.context)
        await asyncio.sleep(30)
        assert not victim.alive and not publishing.done()
        assert nodes.check_latest() == (5 if seed < 25 else 9)  # the last step is the answer
        published = await publish(nodes.node(3), 12)
        assert published.status.latest.min_applied_lsn == nodes.check_latest() == 12

    simulated(seed, scenario)


@pytest.mark.parametrize("seed", range(20))
def test_unreliable_store(seed: int) -> None:
    """Goal: with retries of the caller all comes through, whole. How: every fault, many times."""

    async def scenario() -> None:
        nodes = Nodes(seed)
        nodes.bucket.faults = ObjectFaults(0.1, 0.1, 0.1, 0.1)
        repository, floor = nodes.node(retained=2), 0
        for lsn in (10, 20, 30):
            while True:
                try:
                    await publish(repository, lsn)
                    break
                except ObjectStoreUnavailable:
                    assert nodes.check_latest() >= floor
                    await asyncio.sleep(1)
            floor = lsn
            assert nodes.check_latest() == lsn
        nodes.bucket.faults = ObjectFaults(cut_probability=0.2, short_probability=0.2)
        target = Files()
        while True:
            try:
                downloaded = await repository.download(P0, target)
                break
            except (ObjectStoreUnavailable, SnapshotCorrupt):
                assert target.contents == {}
        assert target.contents == state(downloaded.min_applied_lsn).contents

    simulated(seed, scenario)


def test_orphans_are_swept_when_they_are_old() -> None:
    """Goal: what a crash left goes, what is young stays. How: two strangers, a day apart."""

    async def scenario() -> None:
        nodes = Nodes()
        first = await publish(nodes.node(), 1)
        nodes.bucket.objects["pre/fix/0/notes.txt"] = b"an operator's"
        left = f"pre/fix/0/{first.snapshot.path}/000000.sst"
        await publish(nodes.node(), 2)
        await nodes.settled()
        nodes.bucket.objects[left] = b"left"
        await publish(nodes.node(), 3)
        await nodes.settled()
        assert left in nodes.bucket.objects
        await asyncio.sleep(ORPHAN_AGE_MS_MIN / 1000 + 1)
        await publish(nodes.node(), 4)
        await nodes.settled()
        assert left not in nodes.bucket.objects
        assert "pre/fix/0/notes.txt" in nodes.bucket.objects
        assert nodes.check_latest() == 4

    simulated(1, scenario)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_bad_newest_snapshot_is_passed_over(kind: str) -> None:
    """Goal: the one before serves, and it is said. How: every kind of damage, then both bad."""

    async def scenario() -> None:
        nodes = Nodes()
        repository = nodes.node(retained=2)
        older = (await publish(repository, 10)).snapshot
        newer = (await publish(repository, 20)).snapshot
        await damage(nodes, f"pre/fix/0/{newer.path}", kind)
        target = Files()
        downloaded = await repository.download(P0, target, at_least=Lsn(10))
        assert downloaded.metadata.snapshot == older
        assert [bad.snapshot for bad in downloaded.passed_over] == [newer]
        assert target.contents == state(10).contents
        for snapshot, good in ((newer, False), (older, True)):
            checked = await repository.verify(P0, snapshot.snapshot_id, Nowhere())
            assert checked is not None and (checked.problem is None) is good
        with pytest.raises(SnapshotCorrupt):
            await repository.download(P0, target, at_least=Lsn(11))
        assert target.contents == {}
        await damage(nodes, f"pre/fix/0/{older.path}", kind)
        with pytest.raises(SnapshotCorrupt) as failure:
            await repository.download(P0, target)
        assert len(failure.value.names) == 2
        assert target.contents == {}

    simulated(1, scenario)


def test_what_is_not_there() -> None:
    """Goal: typed answers. How: nothing published, then too little."""

    async def scenario() -> None:
        nodes = Nodes()
        with pytest.raises(NoSnapshot):
            await nodes.node().download(P0, Files())
        assert await nodes.node().list_snapshots(P0) == ()
        await publish(nodes.node(), 7)
        with pytest.raises(SnapshotTooOld) as failure:
            await nodes.node().download(P0, Files(), at_least=Lsn(8))
        assert failure.value.latest_lsn == 7

    simulated(1, scenario)


STRANGERS = [
    RepositoryIdentity("staging", 4711, "node-1"),
    RepositoryIdentity("production", 4712, "node-1"),
]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_two_clusters_on_one_prefix(stranger: RepositoryIdentity) -> None:
    """Goal: nothing of another cluster is read or overwritten. How: other name, other mark."""

    async def scenario() -> None:
        nodes = Nodes()
        await publish(nodes.node(), 7)
        before = dict(nodes.bucket.objects)
        repository = nodes.node(2, identity=stranger)
        with pytest.raises(ForeignSnapshot, match="choose another prefix"):
            await publish(repository, 9)
        with pytest.raises(ForeignSnapshot):
            await repository.download(P0, Files())
        with pytest.raises(ForeignSnapshot):
            await repository.status(P0)
        assert nodes.bucket.objects == before

    simulated(1, scenario)


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b'{"version":"V9"}'])
def test_unreadable_latest_is_left_alone(content: bytes) -> None:
    """Goal: what cannot be understood is not overwritten. How: files that are not latest.json."""

    async def scenario() -> None:
        nodes = Nodes()
        nodes.bucket.objects[LATEST] = content
        with pytest.raises(SnapshotCorrupt, match=r"latest\.json"):
            await publish(nodes.node(), 9)
        with pytest.raises(SnapshotCorrupt):
            await nodes.node().download(P0, Files())
        assert nodes.bucket.objects == {LATEST: content}

    simulated(1, scenario)


@pytest.mark.parametrize("claimed", [2099, 2101])
def test_a_source_that_changes(claimed: int) -> None:
    """Goal: a file read short is never published. How: sizes that are not those of the files."""

    async def scenario() -> None:
        nodes = Nodes()
        source = Files({"a.sst": b"abc" * 700}, claimed={"a.sst": claimed})
        with pytest.raises(SnapshotSourceChanged):
            await publish(nodes.node(), 9, source)
        await nodes.settled()
        assert sorted(nodes.bucket.objects) == []

    simulated(1, scenario)


def test_pruned_under_a_download() -> None:
    """Goal: a reader of a pruned snapshot finds the new one. How: publish before its first byte."""

    class Late(Files):
        pruned: asyncio.Task[None] | None = None

        async def write(self, name: str, fill: Fill) -> None:
            self.pruned = self.pruned or asyncio.create_task(self.prune())
            await self.pruned
            await super().write(name, fill)

        async def prune(self) -> None:
            await publish(nodes.node(), 20)
            await nodes.settled()

    async def scenario() -> None:
        await publish(nodes.node(), 10)
        downloaded = await nodes.node(2).download(P0, target := Late())
        assert target.pruned is not None
        assert downloaded.min_applied_lsn == 20
        assert target.contents == state(20).contents

    nodes = Nodes()
    simulated(1, scenario)


def test_memory_is_bounded_by_pieces() -> None:
    """Goal: no more files than allowed are under way. How: count readers of forty files."""

    class Counting(Files):
        open_now = 0
        open_most = 0

        def read(self, name: str) -> Pieces:
            self.open_now += 1
            self.open_most = max(self.open_most, self.open_now)
            yield from super().read(name)
            self.open_now -= 1

    async def scenario() -> None:
        nodes, source = Nodes(), Counting(state(9, files=40).contents)
        await publish(nodes.node(), 9, source)
        assert source.open_most == 8
        await nodes.node().download(P0, target := Files())
        assert target.contents == source.contents

    simulated(1, scenario)
