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
    """What to do. `deployment` names the one to go on at; None: where it is."""

    control: Control
    invocation: RawInvocationId
    deployment: str | None = None
    copy_entries: int = 0


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
            ),
            Controlled,
        )

    async def service_of(self, invocation: RawInvocationId) -> str | None:
        """The service that it is a call of; None for an unknown one. Raises Unanswered."""
        table: Table = SYS_INVOCATION_STATUS
        rows = await self._calls.call(
            partition_key_of_id(invocation),
            lambda partition: ReadRows(partition, table.name, invocation=invocation, rows_max=1),
            Rows,
        )
        names = [column.name for column in table.columns]
        place = names.index("target_service_name")
        return next((row[place] for row in rows.rows), None)
