"""The watch over the bucket: what it reads from `latest.json`, as the product writes it."""

from __future__ import annotations

from restate_node.sim.bucket_watch import BucketWatch
from restate_node.sim.history import SnapshotsKept
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.recorder import Recorder
from restate_node.sim.timeline import Timeline
from restate_node.types.ids import LogId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.snapshots import (
    LatestSnapshot,
    RetainedSnapshot,
    SnapshotId,
    SnapshotOwner,
)
from restate_node.wire.snapshots import encode_latest


def test_kept_snapshots_are_told_newest_first() -> None:
    """Goal: the history knows what is archived. Method: a real latest.json, and other objects."""
    owner = SnapshotOwner(
        cluster_name="c", cluster_fingerprint=7, partition_id=PartitionId(3), log_id=LogId(3)
    )
    retained = tuple(
        RetainedSnapshot(
            SnapshotId.create(1_750_000_000_000 + lsn, lsn), Lsn(lsn), 1_750_000_000_000
        )
        for lsn in (90, 40)
    )
    latest = encode_latest(LatestSnapshot(owner=owner, node_name="n1", retained=retained))

    async def main(loop: SimLoop) -> None:
        recorder = Recorder(loop, Timeline(loop.trace))
        watch = BucketWatch(recorder)
        watch("backup/3/lsn_90/metadata.json", b"{}")
        watch("backup/3/latest.json", latest)
        assert list(recorder.history.of(SnapshotsKept)) == [SnapshotsKept(0.0, 3, (90, 40))]
        assert watch.archived == {3: 40}

    simulate(1, main)
