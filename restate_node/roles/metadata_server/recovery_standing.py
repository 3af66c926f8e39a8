"""Whether a metadata group may be continued from one member: who else answers, and who knows more.

    a majority answers          nothing is lost: wait for its leader, or remove who is gone
    another one has more        continue from that one

Both can be overridden: an operator may know that the others only seem to answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from restate_node.fabric.fabric import Fabric
from restate_node.protocol.raft.ready import RaftStatus
from restate_node.protocol.raft.voters import majority_count
from restate_node.roles.metadata_server.recovery import RecoveryRefused
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import PlainNodeId, plain_text
from restate_node.types.metadata_messages import (
    MetadataServerPhase,
    MetadataServerStatus,
    MetadataServerStatusRequest,
)

STATUS_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class RecoveryStanding:
    """A member and those of the others that answer."""

    me: PlainNodeId
    status: RaftStatus
    answering: tuple[PlainNodeId, ...]
    objection: str | None


async def standing_of(me: PlainNodeId, status: RaftStatus, fabric: Fabric) -> RecoveryStanding:
    """Ask all other members. Raises RecoveryRefused if there are none."""
    others = sorted(node for node in status.members.created_at_millis if node != me)
    if not others:
        raise RecoveryRefused(f"{plain_text(me)} is the only member already: nothing to recover")
    answers = await asyncio.gather(*(_ask(fabric, node) for node in others))
    present = {
        node: answer
        for node, answer in zip(others, answers, strict=True)
        if answer is not None
        and answer.phase is MetadataServerPhase.MEMBER
        and answer.storage == status.members.created_at_millis[node]
    }
    return RecoveryStanding(me, status, tuple(present), _objection(status, present))


async def _ask(fabric: Fabric, node: PlainNodeId) -> MetadataServerStatus | None:
    request = MetadataServerStatusRequest()
    try:
        return await fabric.call(node, request, MetadataServerStatus, timeout_s=STATUS_TIMEOUT_S)
    except RpcFailure:
        return None


def _objection(status: RaftStatus, present: dict[PlainNodeId, MetadataServerStatus]) -> str | None:
    names = ", ".join(plain_text(node) for node in present)
    if len(present) + 1 >= majority_count(status.members):
        return (
            f"a majority of the members answers, with {names}: nothing is lost. Wait for a leader; "
            "remove members that are gone with `restatectl metadata-server remove-node`"
        )
    for node, answer in present.items():
        if answer.last_index > status.last_index:
            name = plain_text(node)
            return (
                f"{name} has more entries ({answer.last_index} against {status.last_index}): use "
                f"--from {name}"
            )
    return None
