"""Who a node says it is, before and after joining, and what provisioning accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import MetadataUnavailable
from restate_node.node.node_ctl import (
    Addresses,
    AddressKind,
    Databases,
    LogServerStatus,
    MetadataServerStatus,
    NamedAddress,
    NodeCtl,
    NodeStatus,
    RoleStatus,
    Statuses,
    age_text,
    no_databases,
)
from restate_node.runtime.ports import StoreError
from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import MetadataServerState, Node, NodesConfiguration, Role
from restate_node.types.options import NodeOptions
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.nodes import decode_nodes_configuration
from restate_node.wire.pb import cluster_pb2, common_pb2
from restate_node.wire.pb import node_ctl_svc_pb2 as messages

BOUND = NamedAddress("message-fabric-server", "127.0.0.1:5122", AddressKind.TCP)
ADVERTISED = NamedAddress("message-fabric-server", "http://127.0.0.1:5122/", AddressKind.HTTP)
NODES = (1, 2, 3)


class StandingClock:
    def unix_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 1100.5


class Founder:
    """Founds once; or the metadata servers are away."""

    def __init__(self, away: bool = False) -> None:
        self.founded: list[ClusterConfiguration] = []
        self.away = away

    async def provision(self, wanted: ClusterConfiguration) -> bool:
        if self.away:
            raise MetadataUnavailable("nobody answers", maybe_executed=False)
        self.founded.append(wanted)
        return len(self.founded) == 1


def statuses(member: bool) -> Statuses:
    return Statuses(
        node=lambda: NodeStatus.ALIVE if member else NodeStatus.STARTING_UP,
        admin=lambda: RoleStatus.READY if member else RoleStatus.STARTING_UP,
        worker=lambda: RoleStatus.UNKNOWN,
        log_server=lambda: LogServerStatus.FAILSAFE,
        metadata_server=lambda: (
            MetadataServerStatus.MEMBER if member else MetadataServerStatus.AWAITING_PROVISIONING
        ),
    )


def configuration() -> NodesConfiguration:
    def node(number: int) -> Node:
        return Node(
            f"n{number}",
            GenerationalNodeId(PlainNodeId(number), 1),
            f"http://n{number}/",
            frozenset(Role),
            metadata_server_state=(
                MetadataServerState.STANDBY if number == 2 else MetadataServerState.MEMBER
            ),
        )

    members = {PlainNodeId(number): node(number) for number in NODES}
    return NodesConfiguration(Version(7), "test", members, cluster_fingerprint=9)


def node_ctl(
    *,
    member: bool = True,
    founder: Founder | None = None,
    databases: Databases = no_databases,
    **options: Any,
) -> NodeCtl:
    cache = MetadataCache("test")
    if member:
        cache.joined_as(GenerationalNodeId(PlainNodeId(1), 4))
        cache.install(MetadataKind.NODES_CONFIGURATION, configuration())
    return NodeCtl(
        NodeOptions(roles=(Role.LOG_SERVER, Role.ADMIN), **options),
        cache,
        StandingClock(),
        100.0,
        statuses(member),
        Addresses(lambda: [BOUND], [ADVERTISED]),
        (founder or Founder()).provision,
        databases,
    )


async def test_identity_of_a_member() -> None:
    """Goal: every field that operators' tools read. Method: a joined node with two roles."""
    ident = await node_ctl(member=True).get_ident(Empty())
    assert ident.status == common_pb2.ALIVE
    assert (ident.node_id.id, ident.node_id.generation) == (1, 4)
    assert (ident.cluster_name, list(ident.roles)) == ("test", ["admin", "log-server"])
    assert ident.age_s == 1000
    assert (ident.admin_status, ident.worker_status) == (common_pb2.AS_READY, common_pb2.WS_UNKNOWN)
    assert ident.log_server_status == common_pb2.LS_FAILSAFE
    assert ident.metadata_server_status == common_pb2.MS_MEMBER
    assert (ident.nodes_config_version, ident.logs_version) == (7, 0)
    bound, advertised = ident.bound_addresses[0], ident.advertised_addresses[0]
    assert (bound.address, bound.kind) == ("127.0.0.1:5122", messages.TCP)
    assert (advertised.address, advertised.kind) == ("http://127.0.0.1:5122/", messages.HTTP)


async def test_identity_before_joining() -> None:
    """Goal: no node id, all versions 0, and the words by which `status` asks to provision."""
    ident = await node_ctl(member=False).get_ident(Empty())
    assert ident.status == common_pb2.STARTING_UP
    assert not ident.HasField("node_id")
    assert ident.metadata_server_status == common_pb2.MS_AWAITING_PROVISIONING
    assert ident.nodes_config_version == 0


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (True, {"status": "Alive", "node_id": "N1:4", "metadata_server_status": "Member"}),
        (
            False,
            {
                "status": "StartingUp",
                "node_id": None,
                "metadata_server_status": "AwaitingProvisioning",
            },
        ),
    ],
)
def test_health_page(member: bool, expected: dict[str, Any]) -> None:
    """Goal: the keys, their order and the words of the captured page."""
    health = json.loads(node_ctl(member=member).health_json())
    assert list(health) == [
        "status", "node_id", "cluster_name", "roles", "age", "admin_status", "worker_status",
        "log_server_status", "metadata_server_status", "nodes_config_version", "logs_version",
        "schema_version", "partition_table_version", "bound_addresses", "advertised_addresses",
    ]  # fmt: skip
    assert expected.items() <= health.items()
    assert (health["age"], health["worker_status"]) == ("16m 40s 500ms", "Unknown")
    assert health["log_server_status"] == "Failsafe"
    assert health["bound_addresses"] == [
        {"name": "message-fabric-server", "address": "127.0.0.1:5122", "kind": "tcp"}
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (1.5, "1s 500ms"),
        (86_400.0, "1day"),
        (2 * 86_400 + 3_600.0, "2days 1h"),
        (61.000001, "1m 1s 1µs"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    """Goal: ages as people read them. Method: table."""
    assert age_text(seconds) == text


async def test_metadata_is_given_by_kind() -> None:
    """Goal: the blob of each kind, also of a cluster that does not exist; others are refused."""
    ctl = node_ctl(member=True)
    for kind in MetadataKind:
        assert (await ctl.get_metadata(messages.GetMetadataRequest(kind=kind.value))).encoded
    nodes = await ctl.get_metadata(messages.GetMetadataRequest(kind="NODES_CONFIGURATION"))
    assert decode_nodes_configuration(nodes.encoded) == configuration()
    for wrong in (0, 9):
        with pytest.raises(GrpcError, match="unknown metadata kind") as raised:
            await ctl.get_metadata(messages.GetMetadataRequest(kind=wrong))
        assert raised.value.code is StatusCode.INVALID_ARGUMENT


async def test_cluster_health_lists_metadata_members() -> None:
    """Goal: members and no standby; an error before provisioning."""
    health = await node_ctl(member=True).cluster_health(Empty())
    assert [node.id for node in health.metadata_cluster_health.members] == [1, 3]
    with pytest.raises(GrpcError, match="provisioned") as raised:
        await node_ctl(member=False).cluster_health(Empty())
    assert raised.value.code is StatusCode.UNAVAILABLE


def replication(text: str) -> cluster_pb2.ReplicationProperty:
    return cluster_pb2.ReplicationProperty(replication_property=text)


async def test_provisioning_twice() -> None:
    """Goal: a dry run founds nothing, the first call founds what was asked over the defaults, the
    second is told that it came late, a dry run then still answers.
    """
    founder = Founder()
    default = ReplicationProperty.of_nodes(2)
    ctl = node_ctl(member=False, founder=founder, default_replication=default)
    request = messages.ProvisionClusterRequest(
        dry_run=True, num_partitions=3, log_replication=replication("{zone: 2, node: 3}")
    )
    preview = await ctl.provision_cluster(request)
    assert preview.dry_run and founder.founded == []
    assert list(preview.enabled_features) == [messages.CONTROLLED_IDEMPOTENT_SHARDING]
    shown = preview.cluster_configuration
    assert shown.num_partitions == 3
    assert shown.partition_replication.replication_property == "{node: 2}"
    assert shown.bifrost_provider.provider == "replicated"
    assert shown.bifrost_provider.replication_property.replication_property == "{node: 3, zone: 2}"

    request.dry_run = False
    done = await ctl.provision_cluster(request)
    assert done.cluster_configuration == shown and len(founder.founded) == 1
    assert founder.founded[0].partition_count == 3
    with pytest.raises(GrpcError) as raised:
        await ctl.provision_cluster(request)
    assert raised.value.code is StatusCode.ALREADY_EXISTS
    request.dry_run = True
    assert (await ctl.provision_cluster(request)).dry_run


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (messages.ProvisionClusterRequest(num_partitions=0), "partitions"),
        (messages.ProvisionClusterRequest(num_partitions=70_000), "partitions"),
        (messages.ProvisionClusterRequest(log_replication=replication("many")), "replication"),
        (messages.ProvisionClusterRequest(partition_replication=replication("")), "replication"),
        (messages.ProvisionClusterRequest(log_provider="paper"), "log provider"),
        (messages.ProvisionClusterRequest(log_provider="local"), "local"),
        (messages.ProvisionClusterRequest(target_nodeset_size=1000), "nodeset"),
        (messages.ProvisionClusterRequest(disabled_features=[1]), "sharding"),
    ],
)
async def test_provisioning_refuses_nonsense(
    request_: messages.ProvisionClusterRequest, message: str
) -> None:
    """Goal: a wrong value founds nothing and is named, in a dry run already. Method: table."""
    founder = Founder()
    ctl = node_ctl(member=False, founder=founder)
    for dry_run in (True, False):
        request_.dry_run = dry_run
        with pytest.raises(GrpcError, match=message) as raised:
            await ctl.provision_cluster(request_)
        assert raised.value.code is StatusCode.INVALID_ARGUMENT
    assert founder.founded == []


async def test_provisioning_without_metadata_servers() -> None:
    """Goal: an outage is no refusal: the operator's tool may try again."""
    ctl = node_ctl(member=False, founder=Founder(away=True))
    with pytest.raises(GrpcError, match="nobody answers") as raised:
        await ctl.provision_cluster(messages.ProvisionClusterRequest())
    assert raised.value.code is StatusCode.UNAVAILABLE


class FakeDatabase:
    """Counts its compactions, or fails."""

    def __init__(self, error: str = "") -> None:
        self.column_families = 2
        self.compactions = 0
        self._error = error

    async def compact(self) -> None:
        if self._error:
            raise StoreError(self._error)
        self.compactions += 1


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], ["db/0", "db/1", "log-store"]),
        ([2], ["db/0", "db/1"]),
        ([3], ["log-store"]),
        ([4], []),
    ],
)
async def test_compaction_reaches_the_databases_of_a_kind(
    kinds: list[int], expected: list[str]
) -> None:
    """Goal: every database of the kind is compacted, and one that fails says why."""
    stores = {
        "db/0": FakeDatabase(),
        "db/1": FakeDatabase("disk full"),
        "log-store": FakeDatabase(),
    }
    service = node_ctl(databases=lambda: stores)
    request = messages.TriggerCompactionRequest(databases=kinds)
    results = (await service.trigger_compaction(request)).results
    assert [result.db_name for result in results] == expected
    for result in results:
        assert result.success == (result.db_name != "db/1")
        assert result.success or "disk full" in result.error
        assert stores[result.db_name].compactions == result.success


async def test_compaction_refuses_what_it_cannot_do() -> None:
    """Goal: no option is silently ignored."""
    for options in ({"bottommost_level_compaction": 3}, {"recalculate_level": True}):
        request = messages.TriggerCompactionRequest(options=options)
        with pytest.raises(GrpcError) as raised:
            await node_ctl().trigger_compaction(request)
        assert raised.value.code is StatusCode.INVALID_ARGUMENT
