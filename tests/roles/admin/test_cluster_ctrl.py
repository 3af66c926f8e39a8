"""The service behind `restatectl`, over a real log of memory loglets and a small store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from restate_node.bifrost.chain_keeper import ChainKeeper
from restate_node.bifrost.log import Bifrost
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.roles.admin.cluster_ctrl import ClusterCtrl
from restate_node.roles.admin.cluster_state import ClusterStateCollector
from restate_node.roles.admin.controller import Controller
from restate_node.roles.admin.snapshot_requests import SnapshotRequests
from restate_node.runtime.tasks import TaskKind
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import LogId, PartitionId, Version
from restate_node.types.logs import Logs, ProviderConfiguration, ProviderKind
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import VersionedValue
from restate_node.types.partitions import PartitionTable
from restate_node.types.records import pack
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.logs import decode_chain, decode_logs, encode_logs
from restate_node.wire.metadata_keys import LOGS_KEY, PARTITION_TABLE_KEY
from restate_node.wire.partitions import decode_partition_table, encode_partition_table
from restate_node.wire.pb import cluster_ctrl_pb2 as messages
from restate_node.wire.pb import cluster_pb2
from tests.roles.admin.admin_world import HandLiveness, MemoryStore, World, life

MEMORY = ProviderConfiguration(ProviderKind.IN_MEMORY)
REPLICATED = ProviderConfiguration(ProviderKind.REPLICATED, ReplicationProperty.of_nodes(2))


@dataclass
class Bench:
    """One admin node of three members, with two partitions and the log 0."""

    service: ClusterCtrl
    bifrost: Bifrost
    store: MemoryStore
    cache: MetadataCache

    async def append(self, count: int) -> None:
        appender = self.bifrost.appender(LogId(0))
        task = asyncio.ensure_future(appender.run())
        for _ in range(count):
            await appender.append(pack([b"record"]))
        task.cancel()


def bench(
    scenario: Callable[[Bench], Awaitable[None]],
    provider: ProviderConfiguration = MEMORY,
    turn: bool = True,
) -> None:
    async def main(loop: SimLoop) -> None:
        world = World(loop)
        for node in (1, 2, 3):
            world.start(node)
        host, store = world.hosts[1], MemoryStore()
        logs = Logs(Version(1), configuration=provider)
        table = PartitionTable.equal_ranges(2, ReplicationProperty.of_nodes(2))
        store.values[LOGS_KEY] = VersionedValue(logs.version, encode_logs(logs))
        blob = encode_partition_table(table)
        store.values[PARTITION_TABLE_KEY] = VersionedValue(table.version, blob)
        host.cache.install(MetadataKind.LOGS, logs)
        host.cache.install(MetadataKind.PARTITION_TABLE, table)
        keeper = ChainKeeper(host.cache, store)
        host.tasks.spawn(TaskKind.BIFROST, "chain keeper", keeper.run())
        bifrost = Bifrost(host.cache, keeper, None, world.clock, random.Random(0), (0.01, 1.0))
        liveness = HandLiveness(life(1)) if turn else HandLiveness()
        collector = ClusterStateCollector(host.cache, liveness, host.fabric, world.clock, 1500)
        controller = Controller(
            host.me, host.cache, liveness, collector, store, host.fabric, world.clock
        )
        collector.start(host.tasks)
        controller.start(host.tasks)
        service = ClusterCtrl(
            host.cache,
            collector,
            controller,
            bifrost,
            store,
            world.clock,
            SnapshotRequests(collector, host.fabric),
        )
        if provider is MEMORY:
            await bifrost.ensure_log(LogId(0))
        await scenario(Bench(service, bifrost, store, host.cache))

    simulate(1, main)


async def refusal(call: Awaitable[Any]) -> tuple[StatusCode, str]:
    with pytest.raises(GrpcError) as raised:
        await call
    return raised.value.code, raised.value.message


def test_log_is_described_found_and_trimmed() -> None:
    """Goal: chain, tail and trim point agree with the log; a trim is clamped to the tail."""

    async def scenario(bench: Bench) -> None:
        await bench.append(5)
        service = bench.service
        tail = await service.find_tail(messages.FindTailRequest(log_id=0))
        assert (tail.log_id, tail.segment_index, tail.tail_state) == (0, 0, messages.OPEN)
        assert tail.tail_lsn == 6
        await service.trim_log(messages.TrimLogRequest(log_id=0, trim_point=2))
        described = await service.describe_log(messages.DescribeLogRequest(log_id=0))
        assert described.trim_point == 2 and described.tail_offset == 6
        assert described.tail_state == messages.OPEN
        assert described.logs_version == bench.cache.logs.value.version
        assert decode_chain(described.chain) == bench.cache.logs.value.chain(LogId(0))
        assert described.nodes_configuration
        await service.trim_log(messages.TrimLogRequest(log_id=0, trim_point=10**15))
        described = await service.describe_log(messages.DescribeLogRequest(log_id=0))
        assert described.trim_point == 5
        listed = await service.list_logs(messages.ListLogsRequest())
        assert decode_logs(listed.logs) == bench.cache.logs.value

    bench(scenario)


def test_unknown_logs_and_partitions_are_refused_in_the_expected_words() -> None:
    """Goal: codes and texts that operators' tools print. Method: each method with id 99."""

    async def scenario(bench: Bench) -> None:
        service = bench.service
        found = {
            "describe": await refusal(service.describe_log(messages.DescribeLogRequest(log_id=99))),
            "tail": await refusal(service.find_tail(messages.FindTailRequest(log_id=99))),
            "trim": await refusal(service.trim_log(messages.TrimLogRequest(log_id=99))),
            "seal": await refusal(service.seal_chain(messages.SealChainRequest(log_id=99))),
            "extend": await refusal(
                service.seal_and_extend_chain(messages.SealAndExtendChainRequest(log_id=99))
            ),
        }
        assert found == {
            "describe": (StatusCode.NOT_FOUND, "Log id 99 not found"),
            "tail": (StatusCode.INVALID_ARGUMENT, "Unknown log-id"),
            "trim": (StatusCode.INTERNAL, "unknown log '99'"),
            "seal": (StatusCode.INTERNAL, "Unknown log id"),
            "extend": (StatusCode.INTERNAL, "Unknown log id"),
        }
        snapshots = [
            (await refusal(service.create_partition_snapshot(
                messages.CreatePartitionSnapshotRequest(partition_id=partition)
            )))[0]
            for partition in (99, 70_000, 1)
        ]  # fmt: skip
        assert snapshots == [
            StatusCode.NOT_FOUND,
            StatusCode.INVALID_ARGUMENT,
            StatusCode.INTERNAL,
        ]

    bench(scenario)


def test_chain_is_extended_and_sealed_by_hand() -> None:
    """Goal: a new segment begins where the sealed one ended; a seal leaves a marker with its
    reason; an outdated index is refused.
    """

    async def scenario(bench: Bench) -> None:
        await bench.append(3)
        service = bench.service
        done = await service.seal_and_extend_chain(messages.SealAndExtendChainRequest(log_id=0))
        assert done.new_segment_index == 1
        assert (done.sealed_segment.provider, done.sealed_segment.tail_offset) == ("in-memory", 4)
        stale = messages.ChainExtension(segment_index=0, provider="replicated")
        request = messages.SealAndExtendChainRequest(log_id=0, extension=stale)
        assert (await refusal(service.seal_and_extend_chain(request)))[0] is (
            StatusCode.FAILED_PRECONDITION
        )
        wrong = messages.ChainExtension(segment_index=1, provider="paper")
        request = messages.SealAndExtendChainRequest(log_id=0, extension=wrong)
        assert (await refusal(service.seal_and_extend_chain(request)))[0] is (
            StatusCode.INVALID_ARGUMENT
        )
        stranger = messages.ChainExtension(segment_index=1, provider="replicated")
        stranger.nodeset.add(id=9)
        request = messages.SealAndExtendChainRequest(log_id=0, extension=stranger)
        code, message = await refusal(service.seal_and_extend_chain(request))
        assert code is StatusCode.INVALID_ARGUMENT and "N9 is not a member" in message
        forced = messages.SealChainRequest(log_id=0, tail_lsn=1)
        code, message = await refusal(service.seal_chain(forced))
        assert code is StatusCode.FAILED_PRECONDITION and "cannot end at LSN 1" in message
        await bench.append(1)
        sealed = await service.seal_chain(
            messages.SealChainRequest(log_id=0, segment_index=1, context={"reason": "test"})
        )
        assert sealed.tail_offset == 5
        marker = bench.cache.logs.value.chain(LogId(0)).tail
        assert marker.context == {"reason": "test"}
        tail = await service.find_tail(messages.FindTailRequest(log_id=0))
        assert (tail.tail_state, tail.tail_lsn) == (messages.SEALED, 5)
        again = await service.seal_and_extend_chain(messages.SealAndExtendChainRequest(log_id=0))
        assert again.new_segment_index == 2 and not again.HasField("sealed_segment")

    bench(scenario)


def test_a_version_that_this_node_does_not_know_yet_is_waited_for() -> None:
    """Goal: an operator who saw newer logs elsewhere is not served from older ones."""

    async def scenario(bench: Bench) -> None:
        request = messages.SealAndExtendChainRequest(log_id=0)
        request.min_version.value = 50
        code, message = await refusal(bench.service.seal_and_extend_chain(request))
        assert code is StatusCode.INTERNAL and "version" in message

    bench(scenario)


async def set_configuration(bench: Bench, **changes: Any) -> None:
    current = await bench.service.get_cluster_configuration(
        messages.GetClusterConfigurationRequest()
    )
    wanted = current.cluster_configuration
    if "partitions" in changes:
        wanted.num_partitions = changes["partitions"]
    if "partition" in changes:
        wanted.partition_replication.replication_property = changes["partition"]
    if "log" in changes:
        wanted.bifrost_provider.replication_property.replication_property = changes["log"]
    if "provider" in changes:
        wanted.bifrost_provider.provider = changes["provider"]
    if "nodeset" in changes:
        wanted.bifrost_provider.target_nodeset_size = changes["nodeset"]
    await bench.service.set_cluster_configuration(
        messages.SetClusterConfigurationRequest(cluster_configuration=wanted)
    )


def test_configuration_is_read_and_changed() -> None:
    """Goal: what is set is read back, in the store and in the cache; nothing new writes nothing."""

    async def scenario(bench: Bench) -> None:
        await set_configuration(bench)
        assert bench.store.writes == 0
        await set_configuration(bench, partition="3", log="{node: 3}", nodeset=3)
        table = decode_partition_table(bench.store.values[PARTITION_TABLE_KEY].data)
        logs = decode_logs(bench.store.values[LOGS_KEY].data)
        assert table.replication == ReplicationProperty.of_nodes(3) and table.version == 2
        assert logs.configuration == replace(
            REPLICATED, replication=ReplicationProperty.of_nodes(3), target_nodeset_size=3
        )
        assert bench.cache.partition_table.value == table
        assert bench.cache.logs.value.configuration == logs.configuration
        read = await bench.service.get_cluster_configuration(
            messages.GetClusterConfigurationRequest()
        )
        assert read.cluster_configuration.partition_replication.replication_property == "{node: 3}"
        assert read.cluster_configuration.bifrost_provider.target_nodeset_size == 3

    bench(scenario, REPLICATED)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"partitions": 5}, StatusCode.INTERNAL, "changing the number of partitions is not yet"),
        ({"provider": "local"}, StatusCode.INTERNAL, "Choose 'replicated' instead"),
        ({"provider": "paper"}, StatusCode.INVALID_ARGUMENT, "log provider"),
        ({"log": "7"}, StatusCode.FAILED_PRECONDITION, "log replication {node: 7} cannot be met"),
        ({"log": "{zone: 2, node: 2}"}, StatusCode.FAILED_PRECONDITION, "zone: 2"),
        ({"partition": "4"}, StatusCode.FAILED_PRECONDITION, "by 3 active workers"),
        ({"partition": "many"}, StatusCode.INVALID_ARGUMENT, "replication"),
    ],
)
def test_impossible_configurations_are_refused(
    changes: dict[str, Any], code: StatusCode, words: str
) -> None:
    """Goal: nothing is written that would stop the cluster; the reason is told. Method: table."""

    async def scenario(bench: Bench) -> None:
        found, message = await refusal(set_configuration(bench, **changes))
        assert found is code and words in message
        assert bench.store.writes == 0

    bench(scenario, REPLICATED)


def test_configuration_must_be_given() -> None:
    """Goal: an empty request does not reset anything."""

    async def scenario(bench: Bench) -> None:
        request = messages.SetClusterConfigurationRequest()
        code, message = await refusal(bench.service.set_cluster_configuration(request))
        assert code is StatusCode.INVALID_ARGUMENT
        assert message == "cluster_configuration is a required field"
        bare = cluster_pb2.ClusterConfiguration(num_partitions=2)
        bare.bifrost_provider.provider = "replicated"
        request = messages.SetClusterConfigurationRequest(cluster_configuration=bare)
        assert (await refusal(bench.service.set_cluster_configuration(request)))[0] is code

    bench(scenario, REPLICATED)


def test_change_without_metadata_majority_is_refused_honestly() -> None:
    """Goal: UNAVAILABLE, and a word that it may have happened."""

    async def scenario(bench: Bench) -> None:
        bench.store.available = False
        code, message = await refusal(set_configuration(bench, partition="1"))
        assert code is StatusCode.UNAVAILABLE and "may have been applied" in message

    bench(scenario, REPLICATED)


@pytest.mark.parametrize("turn", [True, False])
def test_only_the_controller_syncs(turn: bool) -> None:
    """Goal: `restatectl` finds the controller by asking around. Method: with and without a turn."""

    async def scenario(bench: Bench) -> None:
        request = messages.SyncEpochMetadataRequest(partition_ids=[0, 5000])
        await asyncio.sleep(3)
        if turn:
            await bench.service.sync_epoch_metadata(request)
        else:
            assert await refusal(bench.service.sync_epoch_metadata(request)) == (
                StatusCode.INTERNAL,
                "Not the cluster controller leader",
            )

    bench(scenario, turn=turn)


def test_cluster_state_waits_for_the_first_round() -> None:
    """Goal: the first `status` is complete. Method: ask in the first instant."""

    async def scenario(bench: Bench) -> None:
        request = messages.ClusterStateRequest()
        state = (await bench.service.get_cluster_state(request)).cluster_state
        assert sorted(state.nodes) == [1, 2, 3]
        assert state.nodes[2].WhichOneof("state") == "dead"
        assert PartitionId(0) not in state.nodes[1].alive.partitions

    bench(scenario)


def test_forced_seal_ends_the_log_where_it_is_told() -> None:
    """Goal: an operator's LSN is the tail, whatever the loglet holds; what is no LSN is refused.

    How: five records, a forced end in their middle and one beyond them, appends afterwards.
    """

    async def scenario(bench: Bench) -> None:
        await bench.append(5)
        for wrong in (0, 1 << 63):
            request = messages.SealChainRequest(log_id=0, tail_lsn=wrong)
            assert (await refusal(bench.service.seal_chain(request)))[0] is (
                StatusCode.INVALID_ARGUMENT
            )
        forced = messages.SealChainRequest(log_id=0, tail_lsn=4, context={"reason": "lost"})
        assert (await bench.service.seal_chain(forced)).tail_offset == 4
        marker = bench.cache.logs.value.chain(LogId(0)).tail
        assert (marker.base_lsn, marker.context) == (4, {"reason": "lost"})
        code, message = await refusal(bench.service.seal_chain(forced))
        assert code is StatusCode.FAILED_PRECONDITION and "sealed already" in message
        await bench.append(1)
        tail = await bench.service.find_tail(messages.FindTailRequest(log_id=0))
        assert (tail.tail_state, tail.tail_lsn) == (messages.OPEN, 5)

    bench(scenario)
