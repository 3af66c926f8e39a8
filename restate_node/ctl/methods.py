"""The calls that this tool makes: path, request and response of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from restate_node.wire.pb import (
    cluster_ctrl_pb2,
    log_server_pb2,
    metadata_proxy_svc_pb2,
    metadata_server_svc_pb2,
    node_ctl_svc_pb2,
    operator_pb2,
)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One request and one response; or several, for `Link.collect` and `Link.follow`."""

    path: str
    request: type[Request]
    response: type[Response]


_NODE = "/restate.node_ctl_svc.NodeCtlSvc"
_CLUSTER = "/restate.cluster_ctrl.ClusterCtrlSvc"
_STORE = "/restate.metadata_proxy_svc.MetadataProxySvc"
_METADATA = "/restate.metadata_server_svc.MetadataServerSvc"
_OPERATOR = "/restate_node.operator.OperatorSvc"

GET_IDENT = Method(f"{_NODE}/GetIdent", Empty, node_ctl_svc_pb2.IdentResponse)
GET_METADATA = Method(
    f"{_NODE}/GetMetadata",
    node_ctl_svc_pb2.GetMetadataRequest,
    node_ctl_svc_pb2.GetMetadataResponse,
)
PROVISION_CLUSTER = Method(
    f"{_NODE}/ProvisionCluster",
    node_ctl_svc_pb2.ProvisionClusterRequest,
    node_ctl_svc_pb2.ProvisionClusterResponse,
)
GET_CLUSTER_STATE = Method(
    f"{_CLUSTER}/GetClusterState",
    cluster_ctrl_pb2.ClusterStateRequest,
    cluster_ctrl_pb2.ClusterStateResponse,
)
GET_CLUSTER_CONFIGURATION = Method(
    f"{_CLUSTER}/GetClusterConfiguration",
    cluster_ctrl_pb2.GetClusterConfigurationRequest,
    cluster_ctrl_pb2.GetClusterConfigurationResponse,
)
DESCRIBE_LOG = Method(
    f"{_CLUSTER}/DescribeLog",
    cluster_ctrl_pb2.DescribeLogRequest,
    cluster_ctrl_pb2.DescribeLogResponse,
)
FIND_TAIL = Method(
    f"{_CLUSTER}/FindTail",
    cluster_ctrl_pb2.FindTailRequest,
    cluster_ctrl_pb2.FindTailResponse,
)
GET_KEY = Method(
    f"{_STORE}/Get",
    metadata_proxy_svc_pb2.GetRequest,
    metadata_proxy_svc_pb2.GetResponse,
)
METADATA_SERVER_STATUS = Method(
    f"{_METADATA}/Status",
    Empty,
    metadata_server_svc_pb2.StatusResponse,
)
GET_LOGLET_INFO = Method(
    "/restate.log_server.LogServerSvc/GetLogletInfo",
    log_server_pb2.GetLogletInfoRequest,
    log_server_pb2.GetLogletInfoResponse,
)
GET_DIGEST = Method(
    "/restate.log_server.LogServerSvc/GetDigest",
    log_server_pb2.GetDigestRequest,
    log_server_pb2.GetDigestResponse,
)

# ---------------------------------------------------------------- changes

TRIGGER_COMPACTION = Method(
    f"{_NODE}/TriggerCompaction",
    node_ctl_svc_pb2.TriggerCompactionRequest,
    node_ctl_svc_pb2.TriggerCompactionResponse,
)
QUERY = Method(f"{_CLUSTER}/Query", cluster_ctrl_pb2.QueryRequest, cluster_ctrl_pb2.QueryResponse)
"""Several responses: pieces of one Arrow IPC stream."""
SET_CLUSTER_CONFIGURATION = Method(
    f"{_CLUSTER}/SetClusterConfiguration",
    cluster_ctrl_pb2.SetClusterConfigurationRequest,
    cluster_ctrl_pb2.SetClusterConfigurationResponse,
)
TRIM_LOG = Method(f"{_CLUSTER}/TrimLog", cluster_ctrl_pb2.TrimLogRequest, Empty)
SEAL_CHAIN = Method(
    f"{_CLUSTER}/SealChain", cluster_ctrl_pb2.SealChainRequest, cluster_ctrl_pb2.SealChainResponse
)
SEAL_AND_EXTEND_CHAIN = Method(
    f"{_CLUSTER}/SealAndExtendChain",
    cluster_ctrl_pb2.SealAndExtendChainRequest,
    cluster_ctrl_pb2.SealAndExtendChainResponse,
)
CREATE_SNAPSHOT = Method(
    f"{_CLUSTER}/CreatePartitionSnapshot",
    cluster_ctrl_pb2.CreatePartitionSnapshotRequest,
    cluster_ctrl_pb2.CreatePartitionSnapshotResponse,
)
SYNC_EPOCH_METADATA = Method(
    f"{_CLUSTER}/SyncEpochMetadata",
    cluster_ctrl_pb2.SyncEpochMetadataRequest,
    cluster_ctrl_pb2.SyncEpochMetadataResponse,
)
PUT_KEY = Method(f"{_STORE}/Put", metadata_proxy_svc_pb2.PutRequest, Empty)
ADD_METADATA_SERVER = Method(f"{_METADATA}/AddNode", Empty, Empty)
REMOVE_METADATA_SERVER = Method(
    f"{_METADATA}/RemoveNode", metadata_server_svc_pb2.RemoveNodeRequest, Empty
)

# ---------------------------------------------------------------- beyond Restate's interface

PLAN_CONFIGURATION = Method(
    f"{_OPERATOR}/PlanConfiguration",
    operator_pb2.PlanConfigurationRequest,
    operator_pb2.PlanConfigurationResponse,
)
SET_CONFIGURATION = Method(
    f"{_OPERATOR}/SetConfiguration",
    operator_pb2.SetConfigurationRequest,
    operator_pb2.SetConfigurationResponse,
)
PLAN_STORAGE_STATES = Method(
    f"{_OPERATOR}/PlanStorageStates",
    operator_pb2.PlanStorageStatesRequest,
    operator_pb2.PlanStorageStatesResponse,
)
PLAN_WORKER_STATES = Method(
    f"{_OPERATOR}/PlanWorkerStates",
    operator_pb2.PlanWorkerStatesRequest,
    operator_pb2.PlanWorkerStatesResponse,
)
START_REPAIR = Method(
    f"{_OPERATOR}/StartRepair", operator_pb2.StartRepairRequest, operator_pb2.RepairProgress
)
GET_REPAIR = Method(
    f"{_OPERATOR}/GetRepair", operator_pb2.GetRepairRequest, operator_pb2.RepairProgress
)
LIST_SNAPSHOTS = Method(
    f"{_OPERATOR}/ListSnapshots",
    operator_pb2.ListSnapshotsRequest,
    operator_pb2.ListSnapshotsResponse,
)
VERIFY_SNAPSHOT = Method(
    f"{_OPERATOR}/VerifySnapshot",
    operator_pb2.VerifySnapshotRequest,
    operator_pb2.VerifySnapshotResponse,
)
"""A stream of responses."""
RECOVER_METADATA = Method(
    f"{_OPERATOR}/RecoverMetadata",
    operator_pb2.RecoverMetadataRequest,
    operator_pb2.RecoverMetadataResponse,
)
GET_EVENTS = Method(
    f"{_OPERATOR}/GetEvents", operator_pb2.GetEventsRequest, operator_pb2.GetEventsResponse
)
