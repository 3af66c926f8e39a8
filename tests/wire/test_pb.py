"""The generated control-plane messages: fresh, importable, and numbered as the contract says."""

import importlib
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor
from google.protobuf.message import Message

from restate_node.wire.pb import (
    cluster_ctrl_pb2,
    cluster_pb2,
    common_pb2,
    log_server_pb2,
    metadata_pb2,
    metadata_proxy_svc_pb2,
    metadata_server_svc_pb2,
    node_ctl_svc_pb2,
)

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "restate_node" / "wire" / "pb"

EMPTY = "google.protobuf.Empty"
PROXY = "restate.metadata_proxy_svc"
SERVER = "restate.metadata_server_svc"
CONTROL = "restate.cluster_ctrl"

METHODS: list[tuple[FileDescriptor, str, str, str, str]] = [
    (node_ctl_svc_pb2.DESCRIPTOR, "NodeCtlSvc", "GetIdent", EMPTY, "IdentResponse"),
    (node_ctl_svc_pb2.DESCRIPTOR, "NodeCtlSvc", "GetMetadata", "GetMetadataRequest", ""),
    (node_ctl_svc_pb2.DESCRIPTOR, "NodeCtlSvc", "ProvisionCluster", "ProvisionClusterRequest", ""),
    (node_ctl_svc_pb2.DESCRIPTOR, "NodeCtlSvc", "TriggerCompaction", "", ""),
    (node_ctl_svc_pb2.DESCRIPTOR, "NodeCtlSvc", "ClusterHealth", EMPTY, ""),
    (metadata_proxy_svc_pb2.DESCRIPTOR, "MetadataProxySvc", "Get", "GetRequest", "GetResponse"),
    (metadata_proxy_svc_pb2.DESCRIPTOR, "MetadataProxySvc", "GetVersion", "GetRequest", ""),
    (metadata_proxy_svc_pb2.DESCRIPTOR, "MetadataProxySvc", "Put", "PutRequest", EMPTY),
    (metadata_proxy_svc_pb2.DESCRIPTOR, "MetadataProxySvc", "Delete", "DeleteRequest", EMPTY),
    (metadata_server_svc_pb2.DESCRIPTOR, "MetadataServerSvc", "Get", "GetRequest", ""),
    (metadata_server_svc_pb2.DESCRIPTOR, "MetadataServerSvc", "GetVersion", "GetRequest", ""),
    (metadata_server_svc_pb2.DESCRIPTOR, "MetadataServerSvc", "Put", "PutRequest", EMPTY),
    (metadata_server_svc_pb2.DESCRIPTOR, "MetadataServerSvc", "Delete", "DeleteRequest", EMPTY),
    (metadata_server_svc_pb2.DESCRIPTOR, "MetadataServerSvc", "Provision", "", ""),
    (metadata_server_svc_pb2.DESCRIPTOR, "MetadataServerSvc", "Status", EMPTY, "StatusResponse"),
    (metadata_server_svc_pb2.DESCRIPTOR, "MetadataServerSvc", "AddNode", EMPTY, EMPTY),
    (metadata_server_svc_pb2.DESCRIPTOR, "MetadataServerSvc", "RemoveNode", "", EMPTY),
    (log_server_pb2.DESCRIPTOR, "LogServerSvc", "GetLogletInfo", "", "GetLogletInfoResponse"),
    (log_server_pb2.DESCRIPTOR, "LogServerSvc", "GetDigest", "", "GetDigestResponse"),
    *(
        (cluster_ctrl_pb2.DESCRIPTOR, "ClusterCtrlSvc", method, request, response)
        for method, request, response in [
            ("GetClusterState", "ClusterStateRequest", "ClusterStateResponse"),
            ("GetClusterConfiguration", "", ""),
            ("SetClusterConfiguration", "", ""),
            ("ListLogs", "", ""),
            ("DescribeLog", "", ""),
            ("FindTail", "", ""),
            ("TrimLog", "", EMPTY),
            ("SealChain", "", ""),
            ("SealAndExtendChain", "", ""),
            ("CreatePartitionSnapshot", "", ""),
            ("Query", "", ""),
            ("SyncEpochMetadata", "", ""),
            ("MigrateMetadata", "", ""),
        ]
    ),
]


def generated(directory: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in directory.iterdir() if "_pb2" in p.name and p.is_file()}


def test_committed_code_is_what_the_protos_say(tmp_path: Path) -> None:
    """Goal: nobody edits generated code or forgets to regenerate. Method: generate and compare."""
    runpy.run_path(str(ROOT / "protos" / "generate.py"))["generate"](tmp_path)
    assert generated(tmp_path) == generated(PACKAGE)


@pytest.mark.parametrize("name", sorted(p.stem for p in PACKAGE.glob("*_pb2*.py")))
def test_every_module_is_importable(name: str) -> None:
    """Goal: imports between generated modules resolve. Method: import each by its full name."""
    assert importlib.import_module(f"restate_node.wire.pb.{name}").__name__.endswith(name)


@pytest.mark.parametrize(("file", "service", "method", "request_type", "response_type"), METHODS)
def test_method_exists_with_its_types(
    file: FileDescriptor, service: str, method: str, request_type: str, response_type: str
) -> None:
    """Goal: every method restatectl calls exists. Method: the descriptor, by name; an empty type
    stands for `<method>Request` or `<method>Response`."""
    found = file.services_by_name[service].methods_by_name[method]
    assert found.input_type.full_name.endswith(request_type or f".{method}Request")
    assert found.output_type.full_name.endswith(response_type or f".{method}Response")
    assert found.server_streaming == (method == "Query")


@pytest.mark.parametrize("file", {file.name: file for file, *_ in METHODS}.values())
def test_stubs_call_every_method(file: FileDescriptor) -> None:
    """Goal: a stub reaches its method. Method: a channel that writes down paths."""
    name = Path(file.name).stem
    module = importlib.import_module(f"restate_node.wire.pb.{name}_pb2_grpc")
    for service in file.services_by_name.values():
        channel = Channel()
        getattr(module, f"{service.name}Stub")(channel)
        assert channel.calls == {
            f"/{service.full_name}/{method.name}": (
                "unary_stream" if method.server_streaming else "unary_unary",
                method.output_type.full_name,
            )
            for method in service.methods
        }


class Channel:
    """Records what a stub registers, in place of a connection."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[str, str]] = {}

    def unary_unary(self, path: str, **serializers: Callable[..., Any]) -> None:
        self.register("unary_unary", path, **serializers)

    def unary_stream(self, path: str, **serializers: Callable[..., Any]) -> None:
        self.register("unary_stream", path, **serializers)

    def register(
        self,
        kind: str,
        path: str,
        request_serializer: Callable[[Message], bytes],
        response_deserializer: Callable[[bytes], Message],
    ) -> None:
        assert request_serializer(common_pb2.Version(value=1)) == b"\x08\x01"
        self.calls[path] = (kind, response_deserializer(b"").DESCRIPTOR.full_name)


def test_no_method_is_missing_from_the_table() -> None:
    """Goal: the table above is complete. Method: count the methods of all services."""
    files = {file.name: file for file, *_ in METHODS}.values()
    assert sum(len(s.methods) for f in files for s in f.services_by_name.values()) == len(METHODS)


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (common_pb2.NodeId(id=1, generation=0), "0801 1000"),
        (common_pb2.GenerationalNodeId(id=1, generation=0), "0801"),
        (metadata_pb2.Precondition(kind=metadata_pb2.MATCHES_VERSION), "0803"),
        (
            metadata_pb2.VersionedValue(version=common_pb2.Version(value=7), bytes=b"x"),
            "0a020807120178",
        ),
        (node_ctl_svc_pb2.GetMetadataRequest(kind=common_pb2.LOGS), "1004"),
        (
            cluster_ctrl_pb2.ChainExtension(provider="p", nodeset=[common_pb2.NodeId(id=3)]),
            "220170 42020803",
        ),
        (cluster_ctrl_pb2.TrimLogRequest(log_id=1, trim_point=300), "0801 10ac02"),
        (cluster_pb2.PartitionProcessorStatus(detailed_effective_mode="DRM_LEADER"), "880104"),
        (cluster_pb2.BifrostProvider(provider="r", target_nodeset_size=3), "0a0172 1803"),
        (
            metadata_server_svc_pb2.RemoveNodeRequest(plain_node_id=2, created_at_millis=0),
            "0802 1000",
        ),
        (
            log_server_pb2.GetDigestRequest(loglet_id=1, from_offset=2, to_offset=3),
            "0801 1002 1803",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_encoding_by_hand(message: "common_pb2.NodeId", encoded: str) -> None:
    """Goal: numbers, wire types and presence are the contract's. Method: bytes written by hand."""
    assert message.SerializeToString() == bytes.fromhex(encoded)


def test_a_real_ident_survives() -> None:
    """Goal: optional wrappers keep presence. Method: decode, look, encode again."""
    ident = node_ctl_svc_pb2.IdentResponse.FromString(bytes.fromhex("0801 1204 0801 1003 5001"))
    assert (ident.status, ident.node_id.id, ident.node_id.generation) == (common_pb2.ALIVE, 1, 3)
    assert ident.nodes_config_version == 1
    assert not node_ctl_svc_pb2.IdentResponse().HasField("node_id")
    field = node_ctl_svc_pb2.IdentResponse.DESCRIPTOR.fields_by_name["roles"]
    assert (field.number, field.type) == (4, FieldDescriptor.TYPE_STRING)
