"""`restatectl partitions`: which node runs which partition, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.methods import GET_CLUSTER_STATE
from restate_node.ctl.render import Block, Cell, CellLike, Json, Report, Style, Table
from restate_node.ctl.times import TimeStyle, iso8601
from restate_node.types.nodes import Role
from restate_node.wire.pb.cluster_ctrl_pb2 import ClusterStateRequest
from restate_node.wire.pb.cluster_pb2 import (
    BrokenReason,
    ClusterState,
    DetailedRunMode,
    PartitionProcessorStatus,
    ReplayStatus,
    RunMode,
)
from restate_node.wire.pb.common_pb2 import Lsn, NodeId, Version

DEAD_TITLE = "☠️ Dead nodes"
ABSENT = "-"

COLUMNS = (
    *("ID", "NODE", "MODE", "STATUS", "EPOCH", "APPLIED", "DURABLE", "ARCHIVED", "LSN-LAG"),
    "UPDATED",
)
EXTRA_COLUMNS = ("LEADER-EPOCH", "SCHEMA", "RULE-BOOK", "FEATURES")

_DETAILED_TEXT = {
    DetailedRunMode.DRM_CANDIDATE: "Candidate",
    DetailedRunMode.DRM_FOLLOWER: "Follower",
    DetailedRunMode.DRM_BECOMING_LEADER: "BecomingLeader",
    DetailedRunMode.DRM_LEADER: "Leader",
}
_MODE_TEXT = {RunMode.LEADER: "Leader", RunMode.FOLLOWER: "Follower"}
_REPLAY_TEXT = {ReplayStatus.STARTING: "Starting", ReplayStatus.ACTIVE: "Active"}
_LsnField = Literal[
    "last_applied_log_lsn", "durable_lsn", "last_archived_log_lsn", "target_tail_lsn"
]
_VersionField = Literal["last_applied_schema_version", "last_applied_rule_book_version"]


class Sort(StrEnum):
    """By what the rows are ordered."""

    PARTITION = "partition"
    NODE = "node"
    ACTIVE = "active"


app = noun("Partition processors: leaders, followers, and their progress.", {"status": "list"})


@command(app, "list")
async def list_partitions(
    session: Session,
    sort: Annotated[
        Sort, typer.Option("--sort", help="Order of rows; active puts leaders first.")
    ] = Sort.PARTITION,
    extra: Annotated[
        bool, typer.Option("--extra", help="Also show epochs, schema versions and features.")
    ] = False,
) -> Report:
    """One row per processor that runs, then the nodes that are dead.

    EPOCH is the life of the node that the processor believes to lead. APPLIED, DURABLE and
    ARCHIVED are LSNs: in memory, on disk, in a snapshot. LSN-LAG is the distance to the tail.

    \b
    Examples:
      restatectl partitions list
      restatectl partitions list --sort node --time-format iso8601

    \b
    JSON:
      {"nodes_config_version", "partition_table_version", "processors": [{"partition", "node",
       "mode", "planned_mode", "status", "leader", "leader_epoch", "applied_lsn", "durable_lsn",
       "archived_lsn", "target_tail_lsn", "lsn_lag", "schema_version", "rule_book_version",
       "features", "updated_at"}], "dead_nodes": [{"node", "last_seen"}]}
    """
    response = await session.cluster.try_each(GET_CLUSTER_STATE, ClusterStateRequest(), Role.ADMIN)
    return partitions_report(response.cluster_state, session.times, sort, extra=extra)


@dataclass(frozen=True, slots=True)
class Processor:
    """One partition on one node."""

    partition: int
    node: NodeId
    status: PartitionProcessorStatus

    @property
    def leads(self) -> bool:
        return self.status.effective_mode == RunMode.LEADER

    def key(self, sort: Sort) -> tuple[int, ...]:
        """Rows ascend by this."""
        place = (self.node.id, self.node.generation)
        match sort:
            case Sort.PARTITION:
                return (self.partition, *place)
            case Sort.NODE:
                return (*place, self.partition)
            case Sort.ACTIVE:
                return (not self.leads, self.partition, *place)


def partitions_report(
    state: ClusterState, times: TimeStyle, sort: Sort = Sort.PARTITION, *, extra: bool = False
) -> Report:
    """The rows of all nodes that are alive, and the nodes that are not."""
    found = sorted(processors(state), key=lambda processor: processor.key(sort))
    columns = (*COLUMNS[:-1], *EXTRA_COLUMNS, COLUMNS[-1]) if extra else COLUMNS
    rows = tuple(_row(processor, times, extra) for processor in found)
    dead: list[Json] = [
        {"node": f"N{node}", "last_seen": iso8601(unix_ms(last_seen)) if last_seen else None}
        for node, last_seen in dead_nodes(state)
    ]
    document: Json = {
        "nodes_config_version": state.nodes_config_version.value,
        "partition_table_version": state.partition_table_version.value,
        "processors": [_document(processor) for processor in found],
        "dead_nodes": dead,
    }
    return Report(document, (title(state), Table(columns, rows), *_dead_blocks(state, times)))


def title(state: ClusterState) -> str:
    """`Alive partition processors (nodes config v21, partition table v21)`."""
    return (
        f"Alive partition processors (nodes config v{state.nodes_config_version.value}, "
        f"partition table v{state.partition_table_version.value})"
    )


def processors(state: ClusterState) -> Iterable[Processor]:
    """Of all nodes that are alive."""
    for node in state.nodes.values():
        if not node.HasField("alive"):
            continue
        life = node.alive.generational_node_id
        for partition, status in node.alive.partitions.items():
            yield Processor(partition, NodeId(id=life.id, generation=life.generation), status)


def dead_nodes(state: ClusterState) -> list[tuple[int, Timestamp | None]]:
    """Ids, and when they were last seen alive if anyone knows."""
    return [
        (node, known.dead.last_seen_alive if known.dead.HasField("last_seen_alive") else None)
        for node, known in sorted(state.nodes.items())
        if known.HasField("dead")
    ]


def unix_ms(moment: Timestamp) -> int:
    """Milliseconds since 1970."""
    return moment.seconds * 1000 + moment.nanos // 1_000_000


def mode_text(status: PartitionProcessorStatus) -> str:
    """`Leader`, or `Candidate->Leader` while what it is differs from what it shall be."""
    planned = _MODE_TEXT.get(status.planned_mode, "Unknown")
    effective = _DETAILED_TEXT.get(
        status.detailed_effective_mode, _MODE_TEXT.get(status.effective_mode, "Unknown")
    )
    return planned if planned == effective else f"{effective}->{planned}"


def status_text(status: PartitionProcessorStatus) -> str:
    """`Active`, `Starting`, `Catching Up(120)`, or why it is broken."""
    if status.broken_reason == BrokenReason.BR_AHEAD_OF_LOG:
        return "Broken (ahead of its log)"
    if status.replay_status == ReplayStatus.CATCHING_UP:
        target = f"({status.target_tail_lsn.value})" if status.HasField("target_tail_lsn") else ""
        return f"Catching Up{target}"
    return _REPLAY_TEXT.get(status.replay_status, "Unknown")


def leader_text(status: PartitionProcessorStatus) -> str:
    """The life of the leader, or its epoch if only that is known."""
    if status.HasField("last_observed_leader_node"):
        return node_text(status.last_observed_leader_node)
    return epoch_text(status)


def epoch_text(status: PartitionProcessorStatus) -> str:
    """`e3`."""
    if not status.HasField("last_observed_leader_epoch"):
        return ABSENT
    return f"e{status.last_observed_leader_epoch.value}"


def node_text(node: NodeId) -> str:
    """`N1:6`, or `N1` if the generation is not known."""
    return f"N{node.id}:{node.generation}" if node.HasField("generation") else f"N{node.id}"


def lag(status: PartitionProcessorStatus) -> int | None:
    """Records between what is applied and the tail; None unless both are known."""
    if not (status.HasField("target_tail_lsn") and status.HasField("last_applied_log_lsn")):
        return None
    return max(0, status.target_tail_lsn.value - status.last_applied_log_lsn.value - 1)


def _row(processor: Processor, times: TimeStyle, extra: bool) -> tuple[CellLike, ...]:
    status = processor.status
    updated = times.moment(unix_ms(status.updated_at)) if status.HasField("updated_at") else ABSENT
    lsn_lag = lag(status)
    cells: tuple[CellLike, ...] = (
        processor.partition,
        node_text(processor.node),
        Cell(mode_text(status), Style.GOOD if processor.leads else Style.PLAIN),
        _status_cell(status),
        leader_text(status),
        _number(_lsn(status, "last_applied_log_lsn")),
        _number(_lsn(status, "durable_lsn")),
        _number(_lsn(status, "last_archived_log_lsn")),
        _number(lsn_lag),
    )
    return (*cells, *(_extra_cells(status) if extra else ()), updated)


def _extra_cells(status: PartitionProcessorStatus) -> tuple[CellLike, ...]:
    schema = _version(status, "last_applied_schema_version")
    rule_book = _version(status, "last_applied_rule_book_version")
    return (
        epoch_text(status),
        ABSENT if schema is None else f"v{schema}",
        ABSENT if rule_book is None else f"v{rule_book}",
        ", ".join(status.enabled_features) or ABSENT,
    )


def _status_cell(status: PartitionProcessorStatus) -> Cell:
    text = status_text(status)
    match text:
        case "Active":
            return Cell(text)
        case "Broken (ahead of its log)" | "Unknown":
            return Cell(text, Style.BAD)
        case _:
            return Cell(text, Style.WARNING)


def _dead_blocks(state: ClusterState, times: TimeStyle) -> tuple[Block, ...]:
    dead = dead_nodes(state)
    if not dead:
        return ()
    rows = tuple(
        (
            Cell(f"N{node}", Style.BAD),
            times.moment(unix_ms(last_seen)) if last_seen is not None else ABSENT,
        )
        for node, last_seen in dead
    )
    return ("", "", DEAD_TITLE, Table(("NODE", "LAST-SEEN"), rows))


def _document(processor: Processor) -> Json:
    status = processor.status
    updated = iso8601(unix_ms(status.updated_at)) if status.HasField("updated_at") else None
    has_leader = status.HasField("last_observed_leader_node")
    has_epoch = status.HasField("last_observed_leader_epoch")
    return {
        "partition": processor.partition,
        "node": node_text(processor.node),
        "mode": _MODE_TEXT.get(status.effective_mode, "Unknown"),
        "planned_mode": _MODE_TEXT.get(status.planned_mode, "Unknown"),
        "status": status_text(status),
        "leader": node_text(status.last_observed_leader_node) if has_leader else None,
        "leader_epoch": status.last_observed_leader_epoch.value if has_epoch else None,
        "applied_lsn": _lsn(status, "last_applied_log_lsn"),
        "durable_lsn": _lsn(status, "durable_lsn"),
        "archived_lsn": _lsn(status, "last_archived_log_lsn"),
        "target_tail_lsn": _lsn(status, "target_tail_lsn"),
        "lsn_lag": lag(status),
        "schema_version": _version(status, "last_applied_schema_version"),
        "rule_book_version": _version(status, "last_applied_rule_book_version"),
        "features": list(status.enabled_features),
        "updated_at": updated,
    }


def _lsn(status: PartitionProcessorStatus, name: _LsnField) -> int | None:
    wrapper: Lsn = getattr(status, name)
    return wrapper.value if status.HasField(name) else None


def _version(status: PartitionProcessorStatus, name: _VersionField) -> int | None:
    wrapper: Version = getattr(status, name)
    return wrapper.value if status.HasField(name) else None


def _number(value: int | None) -> str:
    return ABSENT if value is None else str(value)
