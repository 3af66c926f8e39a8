"""What the tables about services and about the cluster hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sql_world import Portions, captured_rows

from restate_node.roles.admin.cluster_state import ClusterStateCollector
from restate_node.roles.admin.sql.cluster_catalog import ClusterRows, ClusterSources
from restate_node.roles.admin.sql.engine import QueryEngine
from restate_node.roles.admin.sql.query_service import QueryService
from restate_node.roles.admin.sql.sources import UNRESTRICTED, Missing, RowScan, RowsUnavailable
from restate_node.roles.admin.sql.user_catalog import UserRows
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types import cluster_tables as tables
from restate_node.types.fabric import Peer
from restate_node.types.gossip import Leadership
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import (
    LeaderEpoch,
    LogId,
    PartitionId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.introspection import STATE, SYS_DEPLOYMENT, SYS_LOCKS, SYS_SERVICE, Table
from restate_node.types.logs import (
    Chain,
    Logs,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
)
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import VersionedValue
from restate_node.types.node_row_messages import NodeRows, ReadNodeRows
from restate_node.types.nodes import NodeLocation
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import EpochMetadata
from restate_node.types.processor_messages import (
    DetailedRunMode,
    GetNodeState,
    NodeState,
    ProcessorStatus,
    ReplayStatus,
    RunMode,
)
from restate_node.types.replication import ReplicationProperty
from restate_node.types.targets import ServiceType
from restate_node.wire.metadata_keys import epoch_metadata_key
from restate_node.wire.partitions import encode_epoch_metadata
from restate_node.wire.pb import cluster_ctrl_pb2 as messages
from tests.roles.admin.admin_world import HandLiveness, MemoryStore, World, life, member

TWO = ReplicationProperty.of_nodes(2)


async def everything(scan: RowScan) -> list[list[Any]]:
    found: list[list[Any]] = []
    while (rows := await scan.next_rows()) is not None:
        found += rows
    return found


# ---------------------------------------------------------------- users


@dataclass(frozen=True)
class Service:
    """One revision of a service."""

    revision: int
    public: bool = True
    type: ServiceType = ServiceType.VIRTUAL_OBJECT


@dataclass(frozen=True)
class Deployment:
    """One version of a user's code."""

    id: str
    services: dict[str, Service]
    uri: str = "http://127.0.0.1:9080/"
    created_at_ms: int = 1_795_000_000_000
    protocol_version_min: int = 5
    protocol_version_max: int = 7

    @property
    def is_function(self) -> bool:
        return self.uri.startswith("arn:")


@dataclass(frozen=True)
class Registered:
    """What is registered."""

    deployments: dict[str, Deployment]


ARN = "arn:aws:lambda:eu-central-1:1:function:f:1"
REGISTERED = Registered(
    {
        "dp_1b": Deployment("dp_1b", {"Counter": Service(2), "Greeter": Service(1, public=False)}),
        "dp_1a": Deployment("dp_1a", {"Counter": Service(1)}, ARN),
    }
)


async def test_services_are_shown_in_their_latest_revision() -> None:
    """Goal: where a new call goes. How: two deployments of one service, the newer one first."""
    rows = UserRows(Portions(), lambda: REGISTERED)
    assert await everything(rows.open(SYS_SERVICE, UNRESTRICTED)) == [
        ["Counter", 2, True, "virtual_object", "dp_1b"],
        ["Greeter", 1, False, "virtual_object", "dp_1b"],
    ]
    deployments = await everything(rows.open(SYS_DEPLOYMENT, UNRESTRICTED))
    assert deployments[0] == [
        *("dp_1b", "http", "http://127.0.0.1:9080/", 1_795_000_000_000, 5, 7),
        ["Counter", "Greeter"],
    ]
    assert [row[:3] for row in deployments[1:]] == [["dp_1a", "lambda", ARN]]


async def test_other_tables_come_from_partitions_or_from_nobody() -> None:
    """Goal: each table has its source. How: one of each kind."""
    rows = UserRows(Portions(captured_rows(STATE)), lambda: REGISTERED)
    assert await everything(rows.open(STATE, UNRESTRICTED)) == captured_rows(STATE)
    assert await everything(rows.open(SYS_LOCKS, UNRESTRICTED)) == []


# ---------------------------------------------------------------- operators


def logs() -> Logs:
    """Log 0: one segment and a seal."""
    params = ReplicatedParams(
        loglet_id(LogId(0), SegmentIndex(1)), life(2), TWO, (PlainNodeId(2), PlainNodeId(1))
    )
    segments = (
        ReplicatedSegment(Lsn(3), SegmentIndex(1), params),
        SealMarker(Lsn(5), SegmentIndex(1), 7),
    )
    provider = ProviderConfiguration(ProviderKind.REPLICATED, TWO)
    return Logs(Version(4), {LogId(0): Chain(segments)}, provider)


PROCESSOR = ProcessorStatus(
    PartitionId(0),
    RunMode.LEADER,
    RunMode.FOLLOWER,
    DetailedRunMode.BECOMING_LEADER,
    ReplayStatus.CATCHING_UP,
    1000,
    observed_epoch=LeaderEpoch(3),
    observed_leader=life(2),
    applied_lsn=Lsn(9),
    durable_lsn=Lsn(0),
    target_tail_lsn=Lsn(10),
)


@dataclass
class Operated:
    """Two nodes and two partitions; N2 runs partition 0, which is moving to N1."""

    world: World
    store: MemoryStore = field(default_factory=MemoryStore)
    liveness: HandLiveness = field(default_factory=lambda: HandLiveness(life(1), life(2)))

    def __post_init__(self) -> None:
        for node in (1, 2):
            self.world.start(node).fabric.router.serve(GetNodeState, self.report(node))
        self.world.change(replace(member(2), location=NodeLocation("eu", "a"), binary_version="1"))
        self.world.partition(2, 1)
        host = self.world.hosts[1]
        host.cache.install(MetadataKind.LOGS, logs())
        self.liveness.leaders.set(
            {PartitionId(0): Leadership(PartitionId(0), LeaderEpoch(3), life(2))}
        )
        placed = EpochMetadata(Version(1)).set_initial_current(TWO, (PlainNodeId(2),), 0)
        moving = placed.reconfigure(TWO, (PlainNodeId(1), PlainNodeId(2)), 0)
        blob = encode_epoch_metadata(moving, PartitionId(0))
        key = epoch_metadata_key(PartitionId(0))
        self.store.values[key] = VersionedValue(moving.version, blob)
        clock = self.world.clock
        collector = ClusterStateCollector(host.cache, self.liveness, host.fabric, clock, 1500)
        collector.start(host.tasks)
        sources = ClusterSources(host.cache, self.liveness, collector, self.store, host.fabric)
        self.rows = ClusterRows(sources)

    def report(self, node: int) -> Callable[[Peer, GetNodeState], Awaitable[NodeState]]:
        async def answer(_: Peer, __: GetNodeState) -> NodeState:
            return NodeState(life(node), 5, [PROCESSOR] if node == 2 else [])

        return answer

    async def read(self, table: Table) -> list[dict[str, Any]]:
        found = await everything(self.rows.open(table, UNRESTRICTED))
        return [dict(zip(table.names, row, strict=True)) for row in found]


def operated(scenario: Callable[[Operated], Awaitable[None]]) -> None:
    async def main(loop: SimLoop) -> None:
        await scenario(Operated(World(loop)))

    simulate(1, main)


def test_nodes_and_logs_are_shown() -> None:
    """Goal: the values that operators know from other commands. How: all columns of two nodes and
    of a chain with a seal.
    """

    async def scenario(bench: Operated) -> None:
        second = (await bench.read(tables.NODES))[1]
        assert second == {
            "plain_node_id": "N2", "gen_node_id": "N2:1", "state": "alive", "name": "node-2",
            "address": "http://node-2:5122/", "ctrl_address": "http://node-2:5122/",
            "location": "eu.a", "has_admin_role": True, "has_worker_role": True,
            "has_metadata_server_role": True, "has_log_server_role": True,
            "has_ingress_role": True, "storage_state": "read-write", "worker_state": "active",
            "metadata_server_state": "provisioning",
            "nodes_configuration_version": bench.world.nodes.version, "binary_version": "1",
        }  # fmt: skip
        segment, seal = await bench.read(tables.LOGS)
        assert segment == {
            "log_id": 0, "segment_index": 1, "base_lsn": 3, "kind": "replicated",
            "loglet_id": "0_1", "sequencer": "N2:1", "replication": "{node: 2}",
            "nodeset": "[N2, N1]", "logs_metadata_version": 4,
        }  # fmt: skip
        assert (seal["kind"], seal["base_lsn"], seal["sequencer"]) == ("sealed", 5, None)
        assert await bench.read(tables.LOGS_TAIL_SEGMENTS) == [seal]

    operated(scenario)


def test_partitions_are_shown() -> None:
    """Goal: who leads, who replicates, how far they are. How: a partition on the move, and one that
    is nowhere yet.
    """

    async def scenario(bench: Operated) -> None:
        first, second = await bench.read(tables.PARTITIONS)
        assert first == {
            "partition_id": 0, "start_key": 0, "end_key": (1 << 63) - 1, "log_id": 0,
            "cf_name": "data-0", "leader_gen_node_id": "N2:1", "leader_plain_node_id": "N2",
            "leader_epoch": "e3", "v_current": 2, "current_replica_set": "N2", "v_next": 3,
            "next_replica_set": "N1,N2", "partition_table_version": 1,
        }  # fmt: skip
        assert second["leader_epoch"] is second["current_replica_set"] is None
        (state,) = await bench.read(tables.PARTITION_STATE)
        shown = {name: value for name, value in state.items() if value is not None}
        assert shown == {
            "partition_id": 0, "plain_node_id": "N2", "gen_node_id": "N2:1",
            "target_mode": "leader", "effective_mode": "BecomingLeader", "updated_at": 1000,
            "leader_epoch": 3, "leader": "N2:1", "applied_log_lsn": 9, "durable_log_lsn": 0,
            "replay_status": "catching-up", "target_tail_lsn": 10, "enabled_features": [],
            "enabled_storage_features": [],
        }  # fmt: skip
        replicas = await bench.read(tables.PARTITION_REPLICA_SET)
        assert [(r["plain_node_id"], r["membership"], r["is_leader"]) for r in replicas] == [
            ("N2", "current", True),
            ("N1", "next", False),
            ("N2", "next", True),
        ]
        assert replicas[0]["durable_lsn"] == 0 and replicas[1]["durable_lsn"] is None

    operated(scenario)


def test_without_metadata_store_placement_is_not_shown_as_empty() -> None:
    """Goal: no rows are missing in silence. How: take the store away."""

    async def scenario(bench: Operated) -> None:
        bench.store.available = False
        with pytest.raises(RowsUnavailable, match="cannot be read"):
            await bench.read(tables.PARTITIONS)

    operated(scenario)


def test_every_living_node_is_asked_for_what_it_alone_knows() -> None:
    """Goal: rows of those that answer, and a word about the others. How: N2 answers, N1 does not
    know the table, N3 is dead.
    """

    async def scenario(bench: Operated) -> None:
        own = tables.CONFIG.row({"plain_node_id": "N2", "key": "node-name"})

        async def answer(_: Peer, request: ReadNodeRows) -> NodeRows:
            assert request == ReadNodeRows("config")
            return NodeRows([own])

        bench.world.start(3)
        bench.world.hosts[2].fabric.router.serve(ReadNodeRows, answer)
        scan = bench.rows.open(tables.CONFIG, UNRESTRICTED)
        assert await everything(scan) == [own]
        assert [missing.node for missing in scan.missing] == ["N3", "N1"]

    operated(scenario)


# ---------------------------------------------------------------- the method of operators


async def ask(service: QueryService, sql: str) -> bytes:
    responses = service.query(messages.QueryRequest(query=sql))
    return b"".join([response.encoded async for response in responses])


@pytest.mark.parametrize(
    ("sql", "status", "text"),
    [
        ("selekt 1", StatusCode.INVALID_ARGUMENT, "SQL error: ParserError"),
        ("select * from sys_invocation", StatusCode.INTERNAL, "not found"),
        ("select 1/0", StatusCode.INTERNAL, "Divide by zero"),
        ("select * from nodes", StatusCode.INTERNAL, "N1 is silent"),
    ],
)
async def test_refusals_have_the_statuses_that_operators_know(
    sql: str, status: StatusCode, text: str
) -> None:
    """Goal: as captured from Restate; users' tables are not for operators. How: table."""
    service = QueryService(QueryEngine(tables.CLUSTER_TABLES, Portions(failure="N1 is silent")))
    with pytest.raises(GrpcError) as raised:
        await ask(service, sql)
    assert raised.value.code is status and text in raised.value.message


async def test_missing_nodes_are_named_before_the_end() -> None:
    """Goal: `restatectl` warns of partial results. How: with rows, without, and with a limit."""
    row = tables.NODES.row({"name": "node-1"})
    for portions, limit in (([[row]], ""), ([], ""), ([[row]] * 9, " limit 1")):
        source = Portions(*portions)
        source.missing = [Missing("N2", "no answer")]
        service = QueryService(QueryEngine(tables.CLUSTER_TABLES, source))
        request = messages.QueryRequest(query=f"select name from nodes{limit}")
        *pieces, warning, last = [response async for response in service.query(request)]
        assert all(piece.encoded and not piece.warnings for piece in [*pieces, last])
        warned = messages.QueryResponse(warnings=[{"node_id": "N2", "message": "no answer"}])
        assert warning == warned


async def test_answers_are_one_arrow_stream() -> None:
    """Goal: `restatectl` puts the pieces together. How: two portions."""
    row = tables.NODES.row({"name": "node-1"})
    service = QueryService(QueryEngine(tables.CLUSTER_TABLES, Portions([row], [row, row])))
    from restate_node.roles.admin.sql.arrow import pa

    stream = await ask(service, "select name from nodes")
    found = pa.ipc.open_stream(stream).read_all()
    assert found.to_pydict() == {"name": ["node-1"] * 3}
    assert str(found.schema.field("name").type) == "string"
    assert asyncio.all_tasks() == {asyncio.current_task()}
