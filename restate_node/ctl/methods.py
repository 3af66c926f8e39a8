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
)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One request, one response."""

    path: str
    request: type[Request]
    response: type[Response]


_NODE = "/restate.node_ctl_svc.NodeCtlSvc"
_CLUSTER = "/restate.cluster_ctrl.ClusterCtrlSvc"

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
    "/restate.metadata_proxy_svc.MetadataProxySvc/Get",
    metadata_proxy_svc_pb2.GetRequest,
    metadata_proxy_svc_pb2.GetResponse,
)
METADATA_SERVER_STATUS = Method(
    "/restate.metadata_server_svc.MetadataServerSvc/Status",
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
