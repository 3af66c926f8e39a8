"""The service of our own tool: plans, forced changes, and the decisions a node remembers."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.protocol.cluster_view import ClusterView, ProcessorMode, ProcessorStatus
from restate_node.protocol.log_reasons import log_alternatives, log_inputs
from restate_node.roles.admin.operator_service import Operator, OperatorSources
from restate_node.roles.admin.why import partition_alternatives, partition_inputs
from restate_node.types.decision_events import DecisionEvent
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import LogId, PartitionId, PlainNodeId, SegmentIndex, Version, loglet_id
from restate_node.types.logs import (
    Chain,
    Logs,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
)
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import VersionedValue
from restate_node.types.nodes import StorageState, WorkerState
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import EpochMetadata, PartitionTable, PlacementPolicy
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.logs import decode_logs, encode_logs
from restate_node.wire.metadata_keys import LOGS_KEY, PARTITION_TABLE_KEY
from restate_node.wire.partitions import (
    decode_partition_table,
    encode_epoch_metadata,
    encode_partition_table,
)
from restate_node.wire.pb import cluster_pb2
from restate_node.wire.pb import operator_pb2 as messages
from tests.roles.admin.admin_world import MemoryStore, life, member, members

ONE, TWO = ReplicationProperty.of_nodes(1), ReplicationProperty.of_nodes(2)
THREE = members(member(1), member(2), member(3))
ALIVE = frozenset(life(n) for n in (1, 2, 3))
EVENT = DecisionEvent(7, "moved", "it was better", {"replication": "{node: 2}"}, ("N3: behind",))
PROVIDER = ProviderConfiguration(ProviderKind.REPLICATED, ONE)


def ids(*nodes: int) -> tuple[PlainNodeId, ...]:
    return tuple(PlainNodeId(node) for node in nodes)


def one_chain() -> Chain:
    """One copy on N1."""
    number = loglet_id(LogId(0), SegmentIndex(0))
    params = ReplicatedParams(number, life(1), ONE, ids(1, 2))
    return Chain((ReplicatedSegment(Lsn(1), SegmentIndex(0), params),))


@dataclass
class Bench:
    """A node with one log and one partition, each on N1."""

    partitions: int = 1

    def __post_init__(self) -> None:
        self.store = MemoryStore()
        self.cache = MetadataCache("test")
        self.cache.joined_as(life(1))
        logs = Logs(Version(1), {LogId(0): one_chain()}, PROVIDER)
        count = self.partitions
        table = PartitionTable.equal_ranges(count, ONE) if count else PartitionTable(Version(1))
        epoch = EpochMetadata(Version(0)).set_initial_current(ONE, ids(1), 0)
        self._put(LOGS_KEY, 1, encode_logs(logs))
        self._put(PARTITION_TABLE_KEY, 1, encode_partition_table(table))
        self._put("pp_epoch_0", 1, encode_epoch_metadata(epoch, PartitionId(0)))
        self.cache.install(MetadataKind.NODES_CONFIGURATION, THREE)
        self.cache.install(MetadataKind.LOGS, logs)
        self.cache.install(MetadataKind.PARTITION_TABLE, table)
        sources = OperatorSources(
            alive=lambda: ALIVE,
            log_events=lambda log: [EVENT] if log == 0 else [],
            partition_events=lambda partition: [EVENT] if partition == 0 else [],
        )
        self.service = Operator(self.cache, self.store, sources)

    def _put(self, key: str, version: int, blob: bytes) -> None:
        self.store.values[key] = VersionedValue(Version(version), blob)


def wanted(log: int = 1, partition: int = 1, count: int = 1) -> cluster_pb2.ClusterConfiguration:
    result = cluster_pb2.ClusterConfiguration(num_partitions=count)
    result.partition_replication.replication_property = str(partition)
    result.bifrost_provider.provider = "replicated"
    result.bifrost_provider.replication_property.replication_property = str(log)
    return result


async def refusal(call: Awaitable[Any]) -> tuple[StatusCode, str]:
    with pytest.raises(GrpcError) as raised:
        await call
    return raised.value.code, raised.value.message


async def test_a_configuration_is_planned() -> None:
    """Goal: every log and partition is in the plan, refusals too, and nothing is written."""
    bench = Bench()
    plan = await bench.service.plan_configuration(
        messages.PlanConfigurationRequest(configuration=wanted(2, 2))
    )
    assert not plan.HasField("refusal")
    assert plan.logs[0].next == "{node: 2} on [N1, N2, N3]"
    assert plan.partitions[0].next.startswith("{node: 2} on [N1, ")
    for configuration, forcible in (
        (wanted(7), True),
        (wanted(1, 7), True),
        (wanted(count=9), False),
    ):
        request = messages.PlanConfigurationRequest(configuration=configuration)
        refused = await bench.service.plan_configuration(request)
        assert refused.refusal and refused.forcible is forcible
    assert bench.store.writes == 0


async def test_force_sets_what_cannot_be_met_but_not_what_can_never_be() -> None:
    """Goal: --force overrides feasibility only. How: seven copies on three nodes, then more
    partitions."""
    bench = Bench()
    plain = messages.SetConfigurationRequest(configuration=wanted(7))
    code, message = await refusal(bench.service.set_configuration(plain))
    assert code is StatusCode.FAILED_PRECONDITION and "cannot be met" in message
    assert bench.store.writes == 0
    forced = messages.SetConfigurationRequest(configuration=wanted(7), force=True)
    await bench.service.set_configuration(forced)
    written = decode_logs(bench.store.values[LOGS_KEY].data)
    assert written.configuration.replication == ReplicationProperty.of_nodes(7)
    more = messages.SetConfigurationRequest(configuration=wanted(count=9), force=True)
    assert (await refusal(bench.service.set_configuration(more)))[0] is StatusCode.INTERNAL
    bare = messages.SetConfigurationRequest()
    code, _ = await refusal(bench.service.set_configuration(bare))
    assert code is StatusCode.INVALID_ARGUMENT


async def test_a_cluster_without_partitions_gets_its_first() -> None:
    """Goal: the number of partitions can be set once, from none."""
    bench = Bench(partitions=0)
    request = messages.SetConfigurationRequest(configuration=wanted(count=4))
    await bench.service.set_configuration(request)
    table = decode_partition_table(bench.store.values[PARTITION_TABLE_KEY].data)
    assert (len(table.partitions), table.version, table.replication) == (4, 2, ONE)


async def test_states_are_planned() -> None:
    """Goal: verdicts of both kinds; unknown nodes and states are refused."""
    service = Bench().service
    request = messages.PlanStorageStatesRequest(nodes=[1, 2, 3], storage_state="read-only")
    assert "nodesets" in (await service.plan_storage_states(request)).refusal
    request = messages.PlanStorageStatesRequest(nodes=[1], storage_state="read-only")
    assert (await service.plan_storage_states(request)).logs[0].next == "{node: 1} on [N2, N3]"
    workers = messages.PlanWorkerStatesRequest(nodes=[1], worker_state="draining")
    assert "[N1]" not in (await service.plan_worker_states(workers)).partitions[0].next
    for wrong in (
        service.plan_storage_states(messages.PlanStorageStatesRequest(storage_state="odd")),
        service.plan_storage_states(
            messages.PlanStorageStatesRequest(nodes=[9], storage_state="gone")
        ),
        service.plan_worker_states(messages.PlanWorkerStatesRequest(worker_state="odd")),
    ):
        assert (await refusal(wrong))[0] is StatusCode.INVALID_ARGUMENT


async def test_plans_need_the_metadata_store() -> None:
    """Goal: no plan from half the facts. How: the store is away."""
    bench = Bench()
    bench.store.available = False
    request = messages.PlanConfigurationRequest(configuration=wanted(2))
    assert (await refusal(bench.service.plan_configuration(request)))[0] is StatusCode.UNAVAILABLE


@pytest.mark.parametrize("subject", ["log_id", "partition_id"])
async def test_events_are_told(subject: str) -> None:
    """Goal: everything that was kept of a decision, and who took it."""
    service = Bench().service
    told = (await service.get_events(messages.GetEventsRequest(**{subject: 0}))).events
    assert [(e.at_ms, e.node, e.decision, e.reason) for e in told] == [
        (7, "N1:1", "moved", "it was better")
    ]
    assert dict(told[0].inputs) == {"replication": "{node: 2}"}
    assert list(told[0].alternatives) == ["N3: behind"]
    assert not (await service.get_events(messages.GetEventsRequest(**{subject: 5}))).events


async def test_events_of_nothing_are_refused() -> None:
    """Goal: a request without a subject is an error."""
    code, _ = await refusal(Bench().service.get_events(messages.GetEventsRequest()))
    assert code is StatusCode.INVALID_ARGUMENT


def test_inputs_and_alternatives_of_a_partition() -> None:
    """Goal: what was known, and why each other worker was not chosen."""
    draining = replace(member(3), worker_state=WorkerState.DRAINING)
    nodes = members(member(1), member(2), draining, member(4), member(5))
    frozen = PlacementPolicy("audit")
    epoch = EpochMetadata(Version(0)).set_initial_current(TWO, ids(1, 2), 0)
    status = ProcessorStatus(ProcessorMode.FOLLOWER, replay_active=True)
    view = ClusterView(
        nodes=nodes,
        table=PartitionTable.equal_ranges(1, TWO),
        epochs={PartitionId(0): epoch.with_placement_policy(frozen)},
        alive=ALIVE,
        processors={(PlainNodeId(2), PartitionId(0)): status},
        targets={PartitionId(0): PlainNodeId(1)},
        expected_back=frozenset(ids(5)),
    )
    inputs = partition_inputs(view, PartitionId(0))
    assert inputs["current replicas"] == "[N1, N2]" and inputs["caught up"] == "[N2]"
    assert inputs["placement frozen"] == "audit" and inputs["appointed leader"] == "N1"
    assert inputs["active workers alive"] == "[N1, N2]" and inputs["replication"] == "{node: 2}"
    assert partition_alternatives(view, PartitionId(0), ids(1)) == (
        "N2: alive, caught up",
        "N3: draining, takes no partitions",
        "N4: not alive",
        "N5: expected back",
    )


def test_inputs_and_alternatives_of_a_log() -> None:
    """Goal: the same for logs."""
    unfit = replace(member(3), storage_state=StorageState.READ_ONLY)
    nodes = members(member(1), member(2), unfit)
    inputs = log_inputs(one_chain(), PROVIDER, nodes)
    assert inputs["segment nodeset"] == "[N1, N2]" and inputs["segment sequencer"] == "N1:1"
    assert inputs["log servers"] == "N1 read-write, N2 read-write, N3 read-only"
    assert log_alternatives(ids(1), nodes) == (
        "N2: read-write, others come first for this log",
        "N3: read-only, takes no new segments",
    )
