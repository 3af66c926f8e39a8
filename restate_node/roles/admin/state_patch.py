"""Replacing the state of a virtual object: find the leader of its partition and ask it.

    key ─▶ partition ─▶ leader, if it is alive ─▶ PatchState ─▶ committed
                 ▲             │ none yet, not ready, not reached
                 └── a moment ─┘                                      until the deadline

A request that certainly had no effect is tried again, with whoever leads by then. One that may have
had is not: applied twice, it could undo what another client wrote in between. The caller is told
that the outcome is open.
"""

from __future__ import annotations

import asyncio
from typing import Final

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.roles.admin.liveness import Liveness
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import GenerationalNodeId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.processor_messages import PatchState, Proposed

PATCH_DEADLINE_S: Final = 10.0
PAUSE_S: Final = 0.05


class NoLeader(Exception):
    """Nothing was written: nobody could take the request in time."""


class OutcomeUnknown(Exception):
    """The request was not confirmed; it may have been applied."""


class StatePatcher:
    """Sends patches from this node; any number at once."""

    def __init__(
        self,
        metadata: MetadataCache,
        liveness: Liveness,
        fabric: Fabric,
        deadline_s: float = PATCH_DEADLINE_S,
    ) -> None:
        self._metadata = metadata
        self._liveness = liveness
        self._fabric = fabric
        self._deadline_s = deadline_s

    async def patch(
        self, service: str, key: str, new_state: dict[str, bytes], expected_version: str | None
    ) -> Lsn:
        """The LSN at which it is committed. Raises NoLeader, OutcomeUnknown.

        Cancellation leaves the outcome open.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline_s
        reason = "the cluster is not provisioned yet"
        while (left := deadline - loop.time()) > 0:
            partition = self._metadata.partition_table.value.partition_of(partition_key_of_key(key))
            if partition is not None:
                request = PatchState(partition.id, service, key, new_state, expected_version)
                answer = await self._try(request, left)
                if isinstance(answer, Proposed):
                    return answer.lsn
                reason = answer
            await asyncio.sleep(min(PAUSE_S, max(0.0, deadline - loop.time())))
        raise NoLeader(f"nothing was written: {reason}; try again later")

    async def _try(self, request: PatchState, timeout_s: float) -> Proposed | str:
        """The answer, or why there was certainly no effect. Raises OutcomeUnknown."""
        leader = self._leader(request.partition)
        if leader is None:
            return f"partition {request.partition} has no leader"
        try:
            return await self._fabric.call(leader, request, Proposed, timeout_s=timeout_s)
        except RpcFailure as failure:
            if failure.maybe_executed:
                text = (
                    f"{leader} did not confirm the change, which may have been applied: {failure}"
                )
                raise OutcomeUnknown(text) from None
            return f"{leader} answered: {failure}"

    def _leader(self, partition: PartitionId) -> GenerationalNodeId | None:
        leadership = self._liveness.leaders.value.get(partition)
        if leadership is None or leadership.node not in self._liveness.alive.value:
            return None
        return leadership.node
