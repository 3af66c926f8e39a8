"""What a process serves around a node: the table of gRPC methods, the pages of the fabric port, the
admin API.

Handlers are plain classes in the layer that they belong to; here they only get their place in the
table.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from restate_node.node.node import Node
from restate_node.roles.metadata_server.control_plane import (
    MetadataProxyHandlers,
    MetadataServerHandlers,
)
from restate_node.runtime.real.control_plane_endpoints import AnyMethod
from restate_node.runtime.real.control_plane_methods import GrpcMethod
from restate_node.wire.pb import metadata_proxy_svc_pb2 as proxy
from restate_node.wire.pb import metadata_server_svc_pb2 as server

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


def grpc_methods(node: Node) -> list[AnyMethod]:
    """Every method that this node's roles serve; what is missing is answered UNIMPLEMENTED."""
    methods = _metadata_proxy(MetadataProxyHandlers(node.client))
    if node.metadata_server is not None:
        methods += _metadata_server(MetadataServerHandlers(node.metadata_server))
    return methods


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
