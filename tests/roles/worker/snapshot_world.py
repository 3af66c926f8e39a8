"""A bucket, repositories of several nodes on it, and files to publish: what tests of snapshots
share.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from restate_node.roles.worker.snapshot_repository import (
    PublishedSnapshot,
    RepositoryIdentity,
    RepositoryPlace,
    SnapshotRepository,
)
from restate_node.roles.worker.snapshot_transfer import Fill, SourceFile
from restate_node.runtime.ports import Pieces
from restate_node.runtime.tasks import TaskCenter
from restate_node.sim.hosts import Incarnation, SimClock, current_incarnation
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.objects import SimBucket
from restate_node.types.ids import LogId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import KeyRange
from restate_node.wire.snapshots import decode_latest, decode_metadata

P0 = PartitionId(0)
KEYS = KeyRange(0, 99)
CLUSTER = RepositoryIdentity("production", 4711, "node-1")
LATEST = "pre/fix/0/latest.json"


@dataclass
class Files:
    """Both sides of a transfer: a source with these files, a target that collects them."""

    contents: dict[str, bytes] = field(default_factory=dict)
    claimed: dict[str, int] = field(default_factory=dict)
    cleared: int = 0

    def files(self) -> Sequence[SourceFile]:
        return [
            SourceFile(name, self.claimed.get(name, len(content)))
            for name, content in self.contents.items()
        ]

    def read(self, name: str) -> Pieces:
        for start in range(0, len(self.contents[name]), 1000):
            yield self.contents[name][start : start + 1000]

    async def write(self, name: str, fill: Fill) -> None:
        content = bytearray()
        await fill(content.extend)
        self.contents[name] = bytes(content)

    async def clear(self) -> None:
        self.contents.clear()
        self.cleared += 1


class Bucket(SimBucket):
    """One that may be slow, and sees to it that a process dies on the way of a request, there or
    back.
    """

    mortal: tuple[Incarnation, int] | None = None
    extra_seconds = 0.0

    def seconds(self) -> float:
        if self.mortal is not None and current_incarnation.get() is self.mortal[0]:
            victim, left = self.mortal
            self.mortal = (victim, left - 1)
            if left == 0:
                loop = asyncio.get_running_loop()
                assert isinstance(loop, SimLoop)
                loop.call_soon(loop.kill, victim, context=Context())
        return super().seconds() + self.extra_seconds


class Nodes:
    """One bucket; repositories of several nodes."""

    def __init__(self, seed: int = 1) -> None:
        self.bucket = Bucket(random.Random(seed))
        self.tasks = TaskCenter()
        self._seed = seed

    def node(
        self,
        number: int = 1,
        retained: int = 1,
        identity: RepositoryIdentity = CLUSTER,
        incarnation: Incarnation | None = None,
    ) -> SnapshotRepository:
        return SnapshotRepository(
            self.bucket.mount(incarnation or Incarnation(f"node-{number}", 1)),
            RepositoryPlace("pre/fix", retained),
            identity,
            clock=SimClock(asyncio.get_running_loop()),
            rng=random.Random(f"{self._seed}/{number}"),
            tasks=self.tasks,
        )

    async def settled(self) -> None:
        """Wait until nothing happens in the background."""
        await asyncio.sleep(60)
        assert len(self.tasks) == 0

    def check_latest(self) -> int:
        """Invariant 1: latest.json is absent or names complete snapshots; the newest LSN or 0."""
        if LATEST not in self.bucket.objects:
            return 0
        latest = decode_latest(self.bucket.objects[LATEST])
        for known in latest.retained:
            directory = f"pre/fix/0/{known.path}"
            metadata = decode_metadata(self.bucket.objects[f"{directory}/metadata.json"])
            sizes = {
                f.name: len(self.bucket.objects[f"{directory}/{f.name}"]) for f in metadata.files
            }
            assert sizes == {f.name: f.size_bytes for f in metadata.files}
        return latest.newest.min_applied_lsn


def state(lsn: int, files: int = 3) -> Files:
    """A directory that holds the state at an LSN."""
    return Files({f"{n:06}.sst": b"%d/%d " % (lsn, n) * 700 * n for n in range(files)})


async def publish(
    repository: SnapshotRepository, lsn: int, source: Files | None = None
) -> PublishedSnapshot:
    return await repository.publish(
        P0,
        source or state(lsn),
        min_applied_lsn=Lsn(lsn),
        key_range=KEYS,
        log_id=LogId(0),
    )


def simulated(seed: int, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    simulate(seed, lambda loop: scenario())


DAMAGE = ["missing", "cut", "tampered", "longer", "no manifest", "bad manifest", "foreign manifest"]


async def damage(nodes: Nodes, directory: str, kind: str) -> None:
    objects, file = nodes.bucket.objects, f"{directory}/000002.sst"
    manifest = f"{directory}/metadata.json"
    match kind:
        case "missing":
            del objects[file]
        case "cut":
            objects[file] = objects[file][:-1]
        case "tampered":
            nodes.bucket.tamper(file)
        case "longer":
            objects[file] += b"x"
        case "no manifest":
            del objects[manifest]
        case "bad manifest":
            objects[manifest] = objects[manifest][:-3]
        case _:
            objects[manifest] = objects[manifest].replace(b"production", b"staging")
