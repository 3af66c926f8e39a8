"""What the log improvement keeps of its decisions."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from restate_node.bifrost.auto_improvement import AutoImprovement
from restate_node.bifrost.errors import LogUnavailable
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.logs import (
    Chain,
    Logs,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
)
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState
from restate_node.types.offsets import Lsn
from restate_node.types.replication import ReplicationProperty

ME = GenerationalNodeId(PlainNodeId(1), 1)
TWO = ReplicationProperty.of_nodes(2)
STATES = {1: StorageState.READ_WRITE, 2: StorageState.READ_WRITE, 3: StorageState.READ_ONLY}


class FakeBifrost:
    """Reconfigures, or cannot."""

    def __init__(self, *, works: bool) -> None:
        self.asked = asyncio.Event()
        self._works = works

    def unix_ms(self) -> int:
        return 77

    async def reconfigure(self, *_: Any) -> None:
        self.asked.set()
        if not self._works:
            raise LogUnavailable("log servers are away")


def metadata() -> MetadataCache:
    """Log 0 stands on three nodes, of which N3 has become read-only."""
    nodes = {
        PlainNodeId(n): Node(
            f"node-{n}",
            GenerationalNodeId(PlainNodeId(n), 1),
            f"http://n{n}/",
            frozenset(Role),
            storage_state=state,
        )
        for n, state in STATES.items()
    }
    params = ReplicatedParams(loglet_id(LogId(0), SegmentIndex(0)), ME, TWO, tuple(nodes))
    chain = Chain((ReplicatedSegment(Lsn(1), SegmentIndex(0), params),))
    provider = ProviderConfiguration(ProviderKind.REPLICATED, TWO)
    cache = MetadataCache("test")
    cache.joined_as(ME)
    configuration = NodesConfiguration(Version(1), "test", nodes, cluster_fingerprint=7)
    cache.install(MetadataKind.NODES_CONFIGURATION, configuration)
    cache.install(MetadataKind.LOGS, Logs(Version(1), {LogId(0): chain}, provider))
    return cache


@pytest.mark.parametrize("works", [True, False])
async def test_what_took_effect_is_kept(works: bool) -> None:
    """Goal: reason, inputs and alternatives of a move that happened; nothing of one that did not.

    How: one round, with and without log servers that answer.
    """
    bifrost = FakeBifrost(works=works)
    improvement = AutoImprovement(bifrost, metadata(), Random(0))  # type: ignore[arg-type]
    improvement.look_after(LogId(0))
    running = asyncio.ensure_future(improvement.run())
    await asyncio.wait_for(bifrost.asked.wait(), 5)
    await asyncio.sleep(0)
    running.cancel()
    events = improvement.events_of(LogId(0))
    assert len(events) == works
    assert improvement.events_of(LogId(1)) == []
    for event in events:
        assert event.at_ms == 77 and event.reason == "moves off N3 (read-only)"
        assert event.decision == "new segment with {node: 2} on [N1, N2]"
        assert event.inputs["segment nodeset"] == "[N1, N2, N3]"
        assert event.alternatives == ("N3: read-only, takes no new segments",)
