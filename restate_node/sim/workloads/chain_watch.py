"""Notes every chain that a node comes to believe in."""

from __future__ import annotations

from typing import Final

from restate_node.sim.history import ChainSeen, SegmentSeen
from restate_node.sim.workloads.workload import Client, Stage
from restate_node.sim.world import NodeLife
from restate_node.types.logs import Chain, SealMarker


async def _run(life: NodeLife, stage: Stage) -> None:
    del stage
    logs = life.node.cache.logs
    told: dict[int, Chain] = {}
    while True:
        revision, value = logs.revision, logs.value
        for log, chain in sorted(value.chains.items(), key=lambda item: item[0]):
            if told.get(log) == chain:
                continue
            told[log] = chain
            segments = tuple(_segments(chain))
            now = life.recorder.now()
            life.recorder.add(ChainSeen(now, life.name, value.version, log, segments))
        await logs.changed(revision)


def _segments(chain: Chain) -> list[SegmentSeen]:
    return [
        SegmentSeen(segment.index, segment.base_lsn, isinstance(segment, SealMarker))
        for segment in chain.segments
    ]


CLIENT: Final = Client("chain watch", _run)
