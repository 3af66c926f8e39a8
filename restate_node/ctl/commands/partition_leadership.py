"""`restatectl partitions leadership`: where leaders should be, and whether they may move."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.commands.partitions import node_text, processors
from restate_node.ctl.epoch_edits import change_epochs, chosen_partitions
from restate_node.ctl.errors import CtlError
from restate_node.ctl.metadata_store import epoch_metadata, read
from restate_node.ctl.methods import GET_CLUSTER_STATE
from restate_node.ctl.node_lists import known_nodes, parse_node
from restate_node.ctl.render import CellLike, Json, Report, Table
from restate_node.types.ids import PartitionId, plain_text
from restate_node.types.nodes import Role
from restate_node.types.partitions import (
    EpochMetadata,
    LeaderAffinity,
    LeadershipPolicy,
    NodeAffinity,
)
from restate_node.wire.pb.cluster_ctrl_pb2 import ClusterStateRequest

COLUMNS = ("PARTITION", "LEADER", "PINNED", "FREEZE")
ABSENT = "-"
UNPLACED = "MISSING"

app = noun("Where the leaders of partitions should be, and whether they may move.")

Ranges = Annotated[
    list[str], typer.Argument(metavar="RANGES", help="Partition ids: 0, 1-4 or 0-3,7.")
]


@command(app, "pin")
async def pin(
    session: Session,
    ranges: Ranges,
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="A worker, such as N2.")],
) -> Report:
    """Let a node lead partitions whenever it can: it must be one of their replicas.

    \b
    Example:
      restatectl partitions leadership pin 0-3 --node N2

    \b
    JSON:
      {"partitions": [{"partition", "changed", "error"}]}
    """
    wanted = parse_node(node)
    (member,) = known_nodes([wanted], await session.cluster.nodes_configuration())
    if not member.has_role(Role.WORKER):
        raise CtlError(f"{plain_text(wanted)} has not the role worker: it cannot lead")

    def change(present: EpochMetadata) -> EpochMetadata:
        if wanted not in present.replicas:
            nodes = ", ".join(plain_text(n) for n in sorted(present.replicas))
            raise CtlError(f"{plain_text(wanted)} is no replica; choose one of [{nodes}]")
        policy = replace(present.leadership_policy, affinity=NodeAffinity(wanted))
        return _with(present, policy)

    partitions = await chosen_partitions(session, ranges)
    done = f"Leadership of partition {{}} is pinned to {plain_text(wanted)}"
    return await change_epochs(session, partitions, change, done)


@command(app, "unpin")
async def unpin(session: Session, ranges: Ranges) -> Report:
    """Let any replica lead again.

    \b
    Example:
      restatectl partitions leadership unpin 0-3

    \b
    JSON:
      as `pin`
    """

    def change(present: EpochMetadata) -> EpochMetadata:
        return _with(present, replace(present.leadership_policy, affinity=None))

    partitions = await chosen_partitions(session, ranges)
    return await change_epochs(session, partitions, change, "Partition {} is not pinned")


@command(app, "freeze")
async def freeze(
    session: Session,
    ranges: Ranges,
    reason: Annotated[str, typer.Option("--reason", help="For those who come later.")],
) -> Report:
    """Keep the leaders of partitions where they are, even when they fail.

    \b
    Example:
      restatectl partitions leadership freeze 0 --reason "under investigation"

    \b
    JSON:
      as `pin`
    """

    def change(present: EpochMetadata) -> EpochMetadata:
        return _with(present, replace(present.leadership_policy, freeze_reason=reason))

    partitions = await chosen_partitions(session, ranges)
    return await change_epochs(session, partitions, change, "Leadership of partition {} is frozen")


@command(app, "unfreeze")
async def unfreeze(session: Session, ranges: Ranges) -> Report:
    """Let leaders move again.

    \b
    Example:
      restatectl partitions leadership unfreeze 0

    \b
    JSON:
      as `pin`
    """

    def change(present: EpochMetadata) -> EpochMetadata:
        return _with(present, replace(present.leadership_policy, freeze_reason=None))

    partitions = await chosen_partitions(session, ranges)
    done = "Leadership of partition {} is not frozen"
    return await change_epochs(session, partitions, change, done)


@command(app, "show")
async def show(
    session: Session,
    ranges: Annotated[
        list[str] | None, typer.Argument(metavar="[RANGES]", help="0, 1-4 or 0-3,7.")
    ] = None,
) -> Report:
    """Leaders, pins and freezes.

    \b
    Example:
      restatectl partitions leadership show

    \b
    JSON:
      {"partitions": [{"partition", "leader", "pinned", "freeze"}]}
    """
    cluster = session.cluster
    partitions = await chosen_partitions(session, ranges)
    response = await cluster.try_each(GET_CLUSTER_STATE, ClusterStateRequest(), Role.ADMIN)
    leaders = {
        found.partition: node_text(found.node).partition(":")[0]
        for found in processors(response.cluster_state)
        if found.leads
    }
    known = await cluster.each(partitions, lambda p: read(cluster, epoch_metadata(p)))
    return leadership_report(dict(zip(partitions, known, strict=True)), leaders)


def leadership_report(
    known: dict[PartitionId, EpochMetadata | CtlError | None], leaders: dict[int, str]
) -> Report:
    """One row per partition; those that cannot be read are problems."""
    rows: list[tuple[CellLike, ...]] = []
    documents: list[Json] = []
    problems: list[str] = []
    for partition, metadata in known.items():
        if isinstance(metadata, CtlError):
            problems.append(f"partition {partition}: {metadata}")
            continue
        policy = LeadershipPolicy() if metadata is None else metadata.leadership_policy
        leader, pinned = leaders.get(partition), affinity_text(policy.affinity)
        shown = UNPLACED if metadata is None else leader or ABSENT
        rows.append((partition, shown, pinned or ABSENT, policy.freeze_reason or ABSENT))
        documents.append(
            {
                "partition": partition,
                "leader": leader,
                "pinned": pinned,
                "freeze": policy.freeze_reason,
            }
        )
    return Report({"partitions": documents}, (Table(COLUMNS, tuple(rows)),), tuple(problems))


def affinity_text(affinity: LeaderAffinity | None) -> str | None:
    """`N2`, or a location."""
    match affinity:
        case None:
            return None
        case NodeAffinity(node=node):
            return plain_text(node)
        case _:
            return str(affinity.location)


def _with(present: EpochMetadata, policy: LeadershipPolicy) -> EpochMetadata:
    """Unchanged, version and all, if it is so already."""
    if policy == present.leadership_policy:
        return present
    return present.with_leadership_policy(policy)
