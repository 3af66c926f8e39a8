"""`restatectl partitions placement`: on which nodes partitions run, and whether that may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.epoch_edits import change_epochs, chosen_partitions, tell_controller
from restate_node.ctl.errors import CtlError
from restate_node.ctl.metadata_store import edit, epoch_metadata, read
from restate_node.ctl.node_lists import known_nodes, parse_nodes
from restate_node.ctl.render import CellLike, Json, Report, Table
from restate_node.types.ids import PartitionId, PlainNodeId, Version, plain_text
from restate_node.types.nodes import Role
from restate_node.types.partitions import EpochMetadata, PlacementPolicy, ReplicaSetConfiguration
from restate_node.types.replication import ReplicationProperty

COLUMNS = ("PARTITION", "CURRENT", "NEXT", "AUTOMATIC PLACEMENT")
ABSENT = "-"
UNPLACED = "MISSING"

app = noun("On which nodes partitions run, and whether that may change.")

Ranges = Annotated[
    list[str], typer.Argument(metavar="RANGES", help="Partition ids: 0, 1-4 or 0-3,7.")
]


@command(app, "set")
async def set_replicas(
    session: Session,
    partition: Annotated[int, typer.Argument(metavar="PARTITION_ID", min=0)],
    replicas: Annotated[
        list[str] | None,
        typer.Option("--replicas", "-r", metavar="NODES", help="Workers: N1,N3. None: nowhere."),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option("--freeze", metavar="REASON", help="And keep it so.")
    ] = None,
) -> Report:
    """Say on which nodes a partition runs.

    The controller may move it again when nodes come and go, unless it is frozen.

    \b
    Example:
      restatectl partitions placement set 0 --replicas N1,N3 --freeze "hardware test"

    \b
    JSON:
      {"partition", "replicas", "frozen", "changed"}
    """
    wanted = parse_nodes(replicas) if replicas else ()
    (number,) = await chosen_partitions(session, [str(partition)])
    members = known_nodes(wanted, await session.cluster.nodes_configuration())
    if idle := [node.id for node in members if not node.has_role(Role.WORKER)]:
        raise CtlError(f"{plain_text(idle[0])} has not the role worker: choose another node")
    if not wanted:
        session.require(f"Run partition {number} nowhere until the controller places it again?")
    table = await session.cluster.partition_table()
    replication = table.replication or ReplicationProperty.of_nodes(max(1, len(wanted)))
    changed = False

    def change(present: EpochMetadata | None) -> EpochMetadata | None:
        nonlocal changed
        result = _placed(present, replication, wanted, freeze, session.times.now_ms)
        changed = result is not present
        return result if changed else None

    await edit(session.cluster, epoch_metadata(number), change)
    notes = await tell_controller(session, [number])
    text = f"Set placement for partition {number}." if changed else "It was so already."
    document: Json = {
        "partition": number,
        "replicas": [plain_text(node) for node in wanted],
        "frozen": freeze,
        "changed": changed,
    }
    return Report(document, (text, *notes))


@command(app, "freeze")
async def freeze_placement(
    session: Session,
    ranges: Ranges,
    reason: Annotated[str, typer.Option("--reason", help="For those who come later.")],
) -> Report:
    """Keep partitions on their nodes, whatever happens to those.

    \b
    Example:
      restatectl partitions placement freeze 0-3 --reason "hardware test"

    \b
    JSON:
      {"partitions": [{"partition", "changed", "error"}]}
    """
    partitions = await chosen_partitions(session, ranges)
    policy = PlacementPolicy(reason)
    done = "Placement of partition {} is frozen"
    return await change_epochs(session, partitions, lambda e: _with(e, policy), done)


@command(app, "unfreeze")
async def unfreeze_placement(session: Session, ranges: Ranges) -> Report:
    """Let the controller place partitions again.

    \b
    Example:
      restatectl partitions placement unfreeze 0-3

    \b
    JSON:
      as `freeze`
    """
    partitions = await chosen_partitions(session, ranges)
    done = "Placement of partition {} is not frozen"
    return await change_epochs(session, partitions, lambda e: _with(e, PlacementPolicy()), done)


@command(app, "show")
async def show(
    session: Session,
    ranges: Annotated[
        list[str] | None, typer.Argument(metavar="[RANGES]", help="0, 1-4 or 0-3,7.")
    ] = None,
) -> Report:
    """Replica sets, those that partitions move to, and freezes.

    \b
    Example:
      restatectl partitions placement show

    \b
    JSON:
      {"partitions": [{"partition", "current", "next", "freeze"}]}
    """
    cluster = session.cluster
    partitions = await chosen_partitions(session, ranges)
    known = await cluster.each(partitions, lambda p: read(cluster, epoch_metadata(p)))
    return placement_report(dict(zip(partitions, known, strict=True)))


def placement_report(known: dict[PartitionId, EpochMetadata | CtlError | None]) -> Report:
    """One row per partition; those that cannot be read are problems."""
    rows: list[tuple[CellLike, ...]] = []
    documents: list[Json] = []
    problems: list[str] = []
    for partition, metadata in known.items():
        if isinstance(metadata, CtlError):
            problems.append(f"partition {partition}: {metadata}")
            continue
        rows.append((partition, *_cells(metadata)))
        documents.append(_document(partition, metadata))
    return Report({"partitions": documents}, (Table(COLUMNS, tuple(rows)),), tuple(problems))


def _cells(metadata: EpochMetadata | None) -> tuple[CellLike, ...]:
    if metadata is None:
        return (UNPLACED, ABSENT, ABSENT)
    reason = metadata.placement_policy.freeze_reason
    automatic = "ENABLED" if reason is None else f"FROZEN ({reason})"
    return (_set_text(metadata.current), _set_text(metadata.next), automatic)


def _set_text(replicas: ReplicaSetConfiguration | None) -> str:
    """`[N1, N2] (v3)`."""
    if replicas is None:
        return ABSENT
    names = ", ".join(plain_text(node) for node in replicas.replica_set)
    return f"[{names}] (v{replicas.version})"


def _document(partition: PartitionId, metadata: EpochMetadata | None) -> Json:
    def nodes(replicas: ReplicaSetConfiguration | None) -> Json:
        return None if replicas is None else [plain_text(node) for node in replicas.replica_set]

    return {
        "partition": partition,
        "current": nodes(metadata.current) if metadata is not None else None,
        "next": nodes(metadata.next) if metadata is not None else None,
        "freeze": metadata.placement_policy.freeze_reason if metadata is not None else None,
    }


def _placed(
    present: EpochMetadata | None,
    replication: ReplicationProperty,
    wanted: tuple[PlainNodeId, ...],
    freeze: str | None,
    now_ms: int,
) -> EpochMetadata:
    """The metadata with that replica set to come, one version later; itself if it is so already."""
    base = present or EpochMetadata(Version(0))
    latest = base.next or base.current
    if latest is None:
        result = base.set_initial_current(replication, wanted, now_ms)
    elif set(latest.replica_set) == set(wanted):
        result = base
    else:
        result = base.reconfigure(replication, wanted, now_ms)
    if freeze is not None:
        result = _with(result, PlacementPolicy(freeze))
    if result is base:
        return base
    return _one_version_after(base, result)


def _one_version_after(before: EpochMetadata, after: EpochMetadata) -> EpochMetadata:
    return replace(after, version=Version(before.version + 1))


def _with(present: EpochMetadata, policy: PlacementPolicy) -> EpochMetadata:
    """Unchanged, version and all, if it is so already."""
    if policy == present.placement_policy:
        return present
    return present.with_placement_policy(policy)
