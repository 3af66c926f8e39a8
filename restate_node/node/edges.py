"""What a process serves around a node: the table of gRPC methods, the pages of the fabric port, the
admin API, the ingress.

Handlers are plain classes in the layer that they belong to; here they only get their place in the
table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from restate_node import __version__
from restate_node.node.metrics import registry_of
from restate_node.node.node import Node
from restate_node.node.node_ctl import Addresses, AddressKind, NamedAddress, NodeCtl
from restate_node.node.statuses import statuses_of
from restate_node.roles.admin.cluster_ctrl import ClusterCtrl
from restate_node.roles.admin.invocation_control import InvocationControl
from restate_node.roles.admin.operator_service import Operator, OperatorSources
from restate_node.roles.admin.registry import SchemaRegistry
from restate_node.roles.admin.repair_service import RepairService
from restate_node.roles.admin.rest.application import AdminApplication, AdminSources
from restate_node.roles.admin.rest.cluster import About
from restate_node.roles.admin.sql.endpoint import query_endpoint
from restate_node.roles.admin.sql.engine import QueryEngine
from restate_node.roles.admin.sql.engines import user_engine
from restate_node.roles.admin.state_patch import StatePatcher
from restate_node.roles.http_ingress.application import Ingress, IngressLimits
from restate_node.roles.http_ingress.submission import InvocationClient
from restate_node.roles.log_server.control_plane import LogServerSvc
from restate_node.roles.metadata_server.control_plane import (
    MetadataProxyHandlers,
    MetadataServerHandlers,
)
from restate_node.roles.metadata_server.recovery_handlers import RecoveryHandlers
from restate_node.roles.worker.control_plane import SnapshotsSvc
from restate_node.runtime.ports import Disk
from restate_node.runtime.real.control_plane_endpoints import AnyMethod
from restate_node.runtime.real.control_plane_methods import (
    TIMEOUT_MS_DEFAULT,
    GrpcMethod,
    GrpcStreamMethod,
    Page,
    PageHandler,
)
from restate_node.runtime.real.control_plane_metrics import metrics_page
from restate_node.runtime.real.disk import RealDisk
from restate_node.runtime.real.http_server import AsgiApplication
from restate_node.runtime.real.rocksdb import RocksStore
from restate_node.types.decision_events import DecisionEvent
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import GenerationalNodeId, LogId, PartitionId
from restate_node.types.nodes import Role
from restate_node.wire.pb import cluster_ctrl_pb2 as ctrl
from restate_node.wire.pb import log_server_pb2 as logs
from restate_node.wire.pb import metadata_proxy_svc_pb2 as proxy
from restate_node.wire.pb import metadata_server_svc_pb2 as server
from restate_node.wire.pb import node_ctl_svc_pb2 as ctl
from restate_node.wire.pb import operator_pb2 as operator

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Handlers = TypeVar("Handlers")

COMPACTION_TIMEOUT_MS: Final = 30 * 60 * 1000
QUERY_TIMEOUT_MS: Final = 90_000
"""Longer than a query may take: it says itself why it ended."""
RECORD_OVERHEAD_BYTES: Final = 256 * 1024
"""What an invocation has in a record besides its argument: headers above all."""
LONG_TIMEOUT_MS: Final = 60 * 60 * 1000
"""As long as `restatectl --request-timeout` may be: the client says how long it waits."""
VERIFICATION_TIMEOUT_MS: Final = 24 * 60 * 60 * 1000
"""Of one snapshot. The client hears of progress all the time and may leave."""
CLUSTER_CTRL: Final = "restate.cluster_ctrl.ClusterCtrlSvc"
OPERATOR: Final = "restate_node.operator.OperatorSvc"


def node_ctl(node: Node, bound: Sequence[NamedAddress]) -> NodeCtl:
    """The handlers of every node; `bound`: where its servers listen."""
    return NodeCtl(
        node.options,
        node.cache,
        node.ports.clock,
        node.started_at,
        statuses_of(node),
        Addresses(lambda: bound, _advertised(node)),
        node.provision,
        lambda: _open_stores(node.ports.disk),
    )


def _open_stores(disk: Disk) -> Mapping[str, RocksStore]:
    """Only real disks have databases that are worth compacting."""
    return disk.open_stores() if isinstance(disk, RealDisk) else {}


def pages(node: Node, handlers: NodeCtl) -> dict[str, PageHandler]:
    """Plain HTTP on the fabric port."""

    async def health() -> Page:
        return Page(200, "application/json", handlers.health_json())

    return {"/health": health, "/metrics": metrics_page(registry_of(node))}


def grpc_methods(node: Node, handlers: NodeCtl) -> list[AnyMethod]:
    """Every method that this node's roles serve; what is missing is answered UNIMPLEMENTED."""
    methods = _node_ctl(handlers)
    methods += _metadata_proxy(MetadataProxyHandlers(node.client))
    methods += _operator(node)
    if node.has_role(Role.WORKER):
        methods += _snapshots(node)
    if node.has_role(Role.LOG_SERVER):
        methods += _log_server(node)
    if node.metadata_server is not None:
        methods += _metadata_server(MetadataServerHandlers(node.metadata_server))
        methods += _metadata_recovery(RecoveryHandlers(node.metadata_server))
    if node.has_role(Role.ADMIN):
        methods += _cluster_ctrl(node)
    return methods


def admin_api(node: Node) -> AsgiApplication:
    """The admin API of a node that is ready."""
    assert node.ports.services is not None, "an admin node can call services"
    ingress = node.options.ingress.advertised_address
    registry = SchemaRegistry(
        node.cache, node.client, node.ports.services, node.ports.clock, node.ports.stream()
    )
    return AdminApplication(
        AdminSources(
            about=About(__version__, str(ingress) if ingress else None),
            defaults=node.handler_defaults,
            nodes=node.cache.nodes,
            registry=registry,
            patcher=StatePatcher(node.cache, _started(node.membership), node.fabric),
            controls=InvocationControl(_started(node.calls), node.ports.stream()),
            query=query_endpoint(_query_engine(node)),
        )
    )


def _query_engine(node: Node) -> QueryEngine:
    membership = _started(node.membership)
    return user_engine(node.cache, membership, node.fabric, lambda: node.cache.schema.value)


def ingress_api(node: Node) -> Ingress:
    """The ingress of a node that is ready."""
    client = InvocationClient(_started(node.calls), node.ports.clock, node.ports.stream())
    # A body travels in one record, beside the headers that came with it.
    record_bytes_max = node.options.bifrost.record_size_limit_bytes - RECORD_OVERHEAD_BYTES
    body_bytes_max = min(node.options.ingress.request_size_limit_bytes, record_bytes_max)
    limits = IngressLimits(max(0, body_bytes_max))
    return Ingress(node.cache.schema, client, node.handler_defaults, limits)


def _advertised(node: Node) -> list[NamedAddress]:
    address = str(node.options.advertised_address)
    addresses = [NamedAddress("message-fabric-server", address, AddressKind.HTTP)]
    if node.has_role(Role.ADMIN):
        admin = str(node.options.admin.advertised_address)
        addresses.insert(0, NamedAddress("admin-api-server", admin, AddressKind.HTTP))
    if node.has_role(Role.HTTP_INGRESS):
        ingress = str(node.options.ingress.advertised_address)
        addresses.insert(0, NamedAddress("http-ingress-server", ingress, AddressKind.HTTP))
    return addresses


def _node_ctl(handlers: NodeCtl) -> list[AnyMethod]:
    service = "restate.node_ctl_svc.NodeCtlSvc"
    return [
        GrpcMethod(service, "GetIdent", Empty, ctl.IdentResponse, handlers.get_ident),
        GrpcMethod(
            service,
            "GetMetadata",
            ctl.GetMetadataRequest,
            ctl.GetMetadataResponse,
            handlers.get_metadata,
        ),
        GrpcMethod(
            service,
            "ProvisionCluster",
            ctl.ProvisionClusterRequest,
            ctl.ProvisionClusterResponse,
            handlers.provision_cluster,
        ),
        GrpcMethod(
            service,
            "TriggerCompaction",
            ctl.TriggerCompactionRequest,
            ctl.TriggerCompactionResponse,
            handlers.trigger_compaction,
            timeout_ms=COMPACTION_TIMEOUT_MS,
        ),
        GrpcMethod(
            service, "ClusterHealth", Empty, ctl.ClusterHealthResponse, handlers.cluster_health
        ),
    ]


def _log_server(node: Node) -> list[AnyMethod]:
    service = "restate.log_server.LogServerSvc"

    async def info(message: logs.GetLogletInfoRequest) -> logs.GetLogletInfoResponse:
        return await LogServerSvc(_started(node.log_server)).get_loglet_info(message)

    async def digest(message: logs.GetDigestRequest) -> logs.GetDigestResponse:
        return await LogServerSvc(_started(node.log_server)).get_digest(message)

    return [
        GrpcMethod(
            service, "GetLogletInfo", logs.GetLogletInfoRequest, logs.GetLogletInfoResponse, info
        ),
        GrpcMethod(service, "GetDigest", logs.GetDigestRequest, logs.GetDigestResponse, digest),
    ]


def _cluster_ctrl(node: Node) -> list[AnyMethod]:
    """The methods of an admin node; they exist from the start and answer once it has joined."""

    def row(
        name: str,
        request: type[Request],
        response: type[Response],
        call: Callable[[ClusterCtrl, Request], Awaitable[Response]],
        timeout_ms: int = TIMEOUT_MS_DEFAULT,
    ) -> AnyMethod:
        async def handler(message: Request) -> Response:
            return await call(_started(node.cluster_ctrl), message)

        return GrpcMethod(CLUSTER_CTRL, name, request, response, handler, timeout_ms)

    return [
        row(
            "GetClusterState",
            ctrl.ClusterStateRequest,
            ctrl.ClusterStateResponse,
            ClusterCtrl.get_cluster_state,
        ),
        row(
            "GetClusterConfiguration",
            ctrl.GetClusterConfigurationRequest,
            ctrl.GetClusterConfigurationResponse,
            ClusterCtrl.get_cluster_configuration,
        ),
        row(
            "SetClusterConfiguration",
            ctrl.SetClusterConfigurationRequest,
            ctrl.SetClusterConfigurationResponse,
            ClusterCtrl.set_cluster_configuration,
        ),
        row("ListLogs", ctrl.ListLogsRequest, ctrl.ListLogsResponse, ClusterCtrl.list_logs),
        row(
            "DescribeLog",
            ctrl.DescribeLogRequest,
            ctrl.DescribeLogResponse,
            ClusterCtrl.describe_log,
        ),
        row("FindTail", ctrl.FindTailRequest, ctrl.FindTailResponse, ClusterCtrl.find_tail),
        row("TrimLog", ctrl.TrimLogRequest, Empty, ClusterCtrl.trim_log),
        row(
            "SealAndExtendChain",
            ctrl.SealAndExtendChainRequest,
            ctrl.SealAndExtendChainResponse,
            ClusterCtrl.seal_and_extend_chain,
        ),
        row("SealChain", ctrl.SealChainRequest, ctrl.SealChainResponse, ClusterCtrl.seal_chain),
        row(
            "CreatePartitionSnapshot",
            ctrl.CreatePartitionSnapshotRequest,
            ctrl.CreatePartitionSnapshotResponse,
            ClusterCtrl.create_partition_snapshot,
            timeout_ms=LONG_TIMEOUT_MS,
        ),
        row(
            "SyncEpochMetadata",
            ctrl.SyncEpochMetadataRequest,
            ctrl.SyncEpochMetadataResponse,
            ClusterCtrl.sync_epoch_metadata,
        ),
        _query(node),
    ]


def _query(node: Node) -> AnyMethod:
    async def handler(message: ctrl.QueryRequest) -> AsyncIterator[ctrl.QueryResponse]:
        async with aclosing(_started(node.query_service).query(message)) as responses:
            async for response in responses:
                yield response

    return GrpcStreamMethod(
        CLUSTER_CTRL,
        "Query",
        ctrl.QueryRequest,
        ctrl.QueryResponse,
        handler,
        timeout_ms=QUERY_TIMEOUT_MS,
    )


def _operator(node: Node) -> list[AnyMethod]:
    """What our own tool asks beyond Restate's interface."""

    def alive() -> frozenset[GenerationalNodeId]:
        return _started(node.membership).alive.value

    def log_events(log: LogId) -> Iterable[DecisionEvent]:
        return () if node.bifrost is None else node.improvement.events_of(log)

    def partition_events(partition: PartitionId) -> Iterable[DecisionEvent]:
        return () if node.controller is None else node.controller.events_of(partition)

    sources = OperatorSources(alive, log_events, partition_events)
    handlers = Operator(node.cache, node.client, sources)
    service = OPERATOR
    return [
        GrpcMethod(
            service,
            "PlanConfiguration",
            operator.PlanConfigurationRequest,
            operator.PlanConfigurationResponse,
            handlers.plan_configuration,
        ),
        GrpcMethod(
            service,
            "SetConfiguration",
            operator.SetConfigurationRequest,
            operator.SetConfigurationResponse,
            handlers.set_configuration,
        ),
        GrpcMethod(
            service,
            "PlanStorageStates",
            operator.PlanStorageStatesRequest,
            operator.PlanStorageStatesResponse,
            handlers.plan_storage_states,
        ),
        GrpcMethod(
            service,
            "PlanWorkerStates",
            operator.PlanWorkerStatesRequest,
            operator.PlanWorkerStatesResponse,
            handlers.plan_worker_states,
        ),
        GrpcMethod(
            service,
            "GetEvents",
            operator.GetEventsRequest,
            operator.GetEventsResponse,
            handlers.get_events,
        ),
        *_repairs(node, service),
    ]


def _repairs(node: Node, service: str) -> list[AnyMethod]:
    """Of the log server of this node."""

    def repairs() -> RepairService:
        if not node.has_role(Role.LOG_SERVER):
            text = "this node has not the role log-server: choose a node that has"
            raise GrpcError(StatusCode.FAILED_PRECONDITION, text)
        return _started(node.repairs)

    async def start(message: operator.StartRepairRequest) -> operator.RepairProgress:
        return await repairs().start_repair(message)

    async def get(message: operator.GetRepairRequest) -> operator.RepairProgress:
        return await repairs().get_repair(message)

    return [
        GrpcMethod(
            service, "StartRepair", operator.StartRepairRequest, operator.RepairProgress, start
        ),
        GrpcMethod(service, "GetRepair", operator.GetRepairRequest, operator.RepairProgress, get),
    ]


def _snapshots(node: Node) -> list[AnyMethod]:
    """The part of the operator service that only workers have."""

    def handlers() -> SnapshotsSvc:
        _started(node.worker)
        return SnapshotsSvc(node.snapshots, node.tasks)

    async def listed(message: operator.ListSnapshotsRequest) -> operator.ListSnapshotsResponse:
        return await handlers().list_snapshots(message)

    def verified(
        message: operator.VerifySnapshotRequest,
    ) -> AsyncIterator[operator.VerifySnapshotResponse]:
        return handlers().verify_snapshot(message)

    return [
        GrpcMethod(
            OPERATOR,
            "ListSnapshots",
            operator.ListSnapshotsRequest,
            operator.ListSnapshotsResponse,
            listed,
            timeout_ms=LONG_TIMEOUT_MS,
        ),
        GrpcStreamMethod(
            OPERATOR,
            "VerifySnapshot",
            operator.VerifySnapshotRequest,
            operator.VerifySnapshotResponse,
            verified,
            timeout_ms=VERIFICATION_TIMEOUT_MS,
        ),
    ]


def _started(handlers: Handlers | None) -> Handlers:
    if handlers is None:
        raise GrpcError(StatusCode.UNAVAILABLE, "the node is starting up")
    return handlers


def _metadata_proxy(handlers: MetadataProxyHandlers) -> list[AnyMethod]:
    service = "restate.metadata_proxy_svc.MetadataProxySvc"
    return [
        GrpcMethod(service, "Get", proxy.GetRequest, proxy.GetResponse, handlers.get),
        GrpcMethod(
            service, "GetVersion", proxy.GetRequest, proxy.GetVersionResponse, handlers.get_version
        ),
        GrpcMethod(service, "Put", proxy.PutRequest, Empty, handlers.put),
        GrpcMethod(service, "Delete", proxy.DeleteRequest, Empty, handlers.delete),
    ]


def _metadata_recovery(handlers: RecoveryHandlers) -> list[AnyMethod]:
    return [
        GrpcMethod(
            OPERATOR,
            "RecoverMetadata",
            operator.RecoverMetadataRequest,
            operator.RecoverMetadataResponse,
            handlers.recover,
        )
    ]


def _metadata_server(handlers: MetadataServerHandlers) -> list[AnyMethod]:
    service = "restate.metadata_server_svc.MetadataServerSvc"
    return [
        GrpcMethod(service, "Status", Empty, server.StatusResponse, handlers.status),
        GrpcMethod(service, "AddNode", Empty, Empty, handlers.add_node),
        GrpcMethod(service, "RemoveNode", server.RemoveNodeRequest, Empty, handlers.remove_node),
        GrpcMethod(service, "Get", server.GetRequest, server.GetResponse, handlers.get),
        GrpcMethod(
            service,
            "GetVersion",
            server.GetRequest,
            server.GetVersionResponse,
            handlers.get_version,
        ),
        GrpcMethod(service, "Put", server.PutRequest, Empty, handlers.put),
        GrpcMethod(service, "Delete", server.DeleteRequest, Empty, handlers.delete),
        GrpcMethod(
            service,
            "Provision",
            server.ProvisionRequest,
            server.ProvisionResponse,
            handlers.provision,
        ),
    ]
