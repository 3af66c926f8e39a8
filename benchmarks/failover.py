"""What a client must wait for when the node that leads its partition dies.

    log     appends to a log whose sequencer was on the dead node: seal, find the tail, next segment
    state   a state patch for a partition that the dead node led: failure detection, a new leader

The second contains the first. A killed process resets its connections, so the log notices at once;
that a node is dead, and not only its connection, takes the failure detector its threshold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from time import monotonic

from benchmarks.world import WorldFailed
from restate_node.node.node import Node
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.processor_messages import (
    DetailedRunMode,
    GetNodeState,
    NodeState,
    PatchState,
    Proposed,
)

ATTEMPTS_MAX = 300
PAUSE_S = 0.1
RETRY_S = 0.01
PATCH_TIMEOUT_S = 1.0
GIVE_UP_S = 30.0
SERVICE = "append-benchmark"


@dataclass(frozen=True, slots=True)
class FailOver:
    """Seconds from the kill to the next acknowledgement."""

    log_s: float
    state_s: float


async def find_led_by(
    node: Node, candidates: Sequence[PlainNodeId]
) -> tuple[PartitionId, GenerationalNodeId]:
    """A partition that one of the nodes leads, and that node; raises WorldFailed."""
    for _ in range(ATTEMPTS_MAX):
        for candidate in candidates:
            found = await _leads(node, candidate)
            if found is not None:
                return found
        await asyncio.sleep(PAUSE_S)
    raise WorldFailed("no node but the benchmark's own leads a partition: run it again")


async def patch_until_committed(
    node: Node, partition: PartitionId, dead: GenerationalNodeId
) -> None:
    """Ask the survivors in turn until one of them leads the partition and commits.

    Raises WorldFailed with the last reason.
    """
    survivors = [member.id for member in node.cache.nodes.value.members() if member.id != dead.id]
    key = key_of(node, partition)
    give_up_at = monotonic() + GIVE_UP_S
    for attempt in count():
        request = PatchState(partition, SERVICE, key, {"attempt": b"%d" % attempt})
        try:
            target = survivors[attempt % len(survivors)]
            await node.fabric.call(target, request, Proposed, timeout_s=PATCH_TIMEOUT_S)
            return
        except RpcFailure as failure:
            if monotonic() > give_up_at:
                raise WorldFailed(f"nobody takes over partition {partition}: {failure}") from None
        await asyncio.sleep(RETRY_S)


async def _leads(
    node: Node, candidate: PlainNodeId
) -> tuple[PartitionId, GenerationalNodeId] | None:
    try:
        state = await node.fabric.call(candidate, GetNodeState(), NodeState)
    except RpcFailure:
        return None
    for processor in state.processors:
        if processor.detailed_mode is DetailedRunMode.LEADER:
            return processor.partition, state.node
    return None


def key_of(node: Node, partition: PartitionId) -> str:
    """A key whose state that partition keeps."""
    table = node.cache.partition_table.value
    for number in count():
        owner = table.partition_of(partition_key_of_key(f"key-{number}"))
        if owner is not None and owner.id == partition:
            return f"key-{number}"
    raise AssertionError("counting does not end")
