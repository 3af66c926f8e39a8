"""What operators do with single invocations: asked of the leader of its partition until it answers.

All of it may arrive twice without harm: killing what is dead is refused, and a restart gives out
an id that is drawn here, once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from restate_node.cluster.partition_calls import PartitionCalls
from restate_node.types.introspection import SYS_INVOCATION_STATUS, Table
from restate_node.types.invocation_messages import (
    Control,
    ControlInvocation,
    Controlled,
    ReadRows,
    Rows,
)
from restate_node.types.invocations import RawInvocationId, partition_key_of_id, raw_id

_UUID_BITS: Final = 128


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """What to do. `ControlInvocation` says what the rest means."""

    control: Control
    invocation: RawInvocationId
    deployment: str | None = None
    copy_entries: int = 0
    protocol_version: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an invocation stands: whose it is, and to what it is pinned, if it is."""

    service: str
    has_ended: bool
    deployment: str | None
    protocol_version: int | None


class InvocationControl:
    """Sends requests from this node; any number at once."""

    def __init__(self, calls: PartitionCalls, rng: random.Random) -> None:
        self._calls = calls
        self._rng = rng

    async def control(self, request: ControlRequest) -> Controlled:
        """What became of it. Raises Unanswered."""
        key = partition_key_of_id(request.invocation)
        new = None
        if request.control is Control.RESTART_AS_NEW:
            new = raw_id(key, self._rng.getrandbits(_UUID_BITS))
        return await self._calls.call(
            key,
            lambda partition: ControlInvocation(
                partition,
                request.invocation,
                request.control,
                request.deployment,
                new,
                request.copy_entries,
                request.protocol_version,
            ),
            Controlled,
        )

    async def standing_of(self, invocation: RawInvocationId) -> Standing | None:
        """Where it stands now; None for an unknown one. Raises Unanswered."""
        table: Table = SYS_INVOCATION_STATUS
        rows = await self._calls.call(
            partition_key_of_id(invocation),
            lambda partition: ReadRows(partition, table.name, invocation=invocation, rows_max=1),
            Rows,
        )
        for row in rows.rows:
            values = dict(zip(table.names, row, strict=True))
            return Standing(
                values["target_service_name"],
                values["status"] == "completed",
                values["pinned_deployment_id"],
                values["pinned_service_protocol_version"],
            )
        return None
