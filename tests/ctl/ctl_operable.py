"""A node whose cluster can be changed: a metadata store with versions, a configuration, plans."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest
from ctl_fake_node import FakeNode, Refusal, members, one_log
from google.protobuf.empty_pb2 import Empty

from restate_node.ctl.__main__ import run
from restate_node.ctl.methods import (
    GET_CLUSTER_CONFIGURATION,
    GET_KEY,
    PLAN_CONFIGURATION,
    PLAN_STORAGE_STATES,
    PLAN_WORKER_STATES,
    PUT_KEY,
    SET_CLUSTER_CONFIGURATION,
    SET_CONFIGURATION,
    SYNC_EPOCH_METADATA,
)
from restate_node.types.nodes import NodesConfiguration, WorkerState
from restate_node.types.partitions import PartitionTable
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.partitions import encode_partition_table
from restate_node.wire.pb import cluster_ctrl_pb2, cluster_pb2, common_pb2, metadata_pb2
from restate_node.wire.pb import operator_pb2 as operator
from restate_node.wire.pb.metadata_proxy_svc_pb2 import GetRequest, GetResponse, PutRequest
from restate_node.wire.storage_codec import decode_version

NODES_KEY = "nodes_config"
FAILED = grpc.StatusCode.FAILED_PRECONDITION


@dataclass(frozen=True)
class Ended:
    """A finished invocation."""

    code: int
    stdout: str
    stderr: str


Ctl = Callable[..., Ended]


@pytest.fixture
def ctl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Runs the tool here, with that input and no variables of this machine."""
    for variable in ("CI", "RESTATECTL_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)

    def invoke(*arguments: str, stdin: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(list(arguments))
        shown = capsys.readouterr()
        return Ended(code, shown.out, shown.err)

    return invoke


@dataclass
class Operable:
    """N1 of three; everything that it was told to change is kept."""

    node: FakeNode = field(default_factory=FakeNode)
    store: dict[str, bytes] = field(default_factory=dict[str, bytes])
    rivals: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Each runs before one write, as somebody faster."""
    plan: operator.PlanConfigurationResponse = field(
        default_factory=operator.PlanConfigurationResponse
    )
    storage_plan: operator.PlanStorageStatesResponse = field(
        default_factory=operator.PlanStorageStatesResponse
    )
    asked: list[Any] = field(default_factory=list[Any])
    has_plans: bool = True

    def __post_init__(self) -> None:
        node = self.node
        self.configuration = cluster_pb2.ClusterConfiguration(num_partitions=4)
        self.configuration.partition_replication.replication_property = "{node: 1}"
        self.configuration.bifrost_provider.provider = "replicated"
        replication = self.configuration.bifrost_provider.replication_property
        replication.replication_property = "{node: 1}"
        node.on(
            GET_CLUSTER_CONFIGURATION,
            lambda _: cluster_ctrl_pb2.GetClusterConfigurationResponse(
                cluster_configuration=self.configuration
            ),
        )
        node.on(
            SET_CLUSTER_CONFIGURATION,
            self._noted(cluster_ctrl_pb2.SetClusterConfigurationResponse()),
        )
        node.on(SET_CONFIGURATION, self._noted(operator.SetConfigurationResponse()))
        node.on(PLAN_CONFIGURATION, lambda _: self._planned(self.plan))
        node.on(PLAN_STORAGE_STATES, lambda _: self._planned(self.storage_plan))
        node.on(PLAN_WORKER_STATES, lambda _: self._planned(operator.PlanWorkerStatesResponse()))
        node.on(SYNC_EPOCH_METADATA, self._noted(cluster_ctrl_pb2.SyncEpochMetadataResponse()))
        node.on(GET_KEY, self._get)
        node.on(PUT_KEY, self._put)

    def __enter__(self) -> Operable:
        address = self.node.__enter__().address
        active = [
            replace(member, worker_state=WorkerState.ACTIVE)
            for member in members(4, address, "http://n2:1/", "http://n3:1/", admins=(1,)).members()
        ]
        nodes = replace(members(4, address), nodes={node.id: node for node in active})
        self.node.knows(nodes, one_log(2))
        table = PartitionTable.equal_ranges(2, ReplicationProperty.of_nodes(2))
        self.node.ident.partition_table_version = table.version
        self.node.blobs[common_pb2.PARTITION_TABLE] = encode_partition_table(table)
        self.store[NODES_KEY] = encode_nodes_configuration(nodes)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.node.__exit__(*exc_info)

    @property
    def address(self) -> str:
        return self.node.address

    @property
    def nodes(self) -> NodesConfiguration:
        return decode_nodes_configuration(self.store[NODES_KEY])

    def knows(self, nodes: NodesConfiguration) -> None:
        """Another nodes configuration, everywhere."""
        self.node.knows(nodes)
        self.store[NODES_KEY] = encode_nodes_configuration(nodes)

    def _noted(self, answer: Any) -> Callable[[Any], Any]:
        def note(request: Any) -> Any:
            self.asked.append(request)
            return answer

        return note

    def _planned(self, plan: Any) -> Any:
        if not self.has_plans:
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "no such service")
        return plan

    def _get(self, request: GetRequest) -> GetResponse:
        blob = self.store.get(request.key)
        if blob is None:
            return GetResponse()
        return GetResponse(value={"version": {"value": decode_version(blob)}, "bytes": blob})

    def _put(self, request: PutRequest) -> Empty:
        if self.rivals:
            self.rivals.pop(0)()
        found = self.store.get(request.key)
        match request.precondition.kind:
            case metadata_pb2.MATCHES_VERSION:
                expected = request.precondition.version.value
                if found is None or decode_version(found) != expected:
                    raise Refusal(FAILED, f"expected version 'v{expected}'")
            case _:
                assert request.precondition.kind == metadata_pb2.DOES_NOT_EXIST
                if found is not None:
                    raise Refusal(FAILED, "key-value pair already exists")
        assert decode_version(request.value.bytes) == request.value.version.value
        self.store[request.key] = request.value.bytes
        return Empty()
