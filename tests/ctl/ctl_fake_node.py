"""A node that answers what a test tells it to, over real gRPC on a free port.

Its server has threads of its own, so a test may run the tool's event loop in the same process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import Message

from restate_node.ctl.methods import GET_IDENT, GET_METADATA, Method
from restate_node.types.ids import GenerationalNodeId, LogId, PlainNodeId, SegmentIndex, Version
from restate_node.types.logs import (
    Chain,
    Logs,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
)
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState
from restate_node.types.offsets import Lsn
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.logs import encode_logs
from restate_node.wire.nodes import encode_nodes_configuration
from restate_node.wire.pb import common_pb2
from restate_node.wire.pb.node_ctl_svc_pb2 import (
    GetMetadataRequest,
    GetMetadataResponse,
    IdentResponse,
)

Answer = Callable[[Any], Message]


class Refusal(Exception):
    """Raised by an answer: the call fails with this status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class FakeNode:
    """`with` or `async with` it. Without metadata it was never provisioned."""

    def __init__(self, node_id: int | None = 1, *, listen: str = "127.0.0.1:0") -> None:
        self.ident = IdentResponse(
            status=common_pb2.STARTING_UP,
            roles=["admin", "worker"],
            metadata_server_status=common_pb2.MS_AWAITING_PROVISIONING,
        )
        self.blobs: dict[int, bytes] = {}
        self.calls: Counter[str] = Counter()
        self.deadlines: list[float] = []
        """Seconds that each call left the node."""
        self.address = ""
        self._listen = listen
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        if node_id is not None:
            self.ident.node_id.id = node_id
        self.on(GET_IDENT, self._get_ident)
        self.on(GET_METADATA, self._get_metadata)

    def on(self, method: Method[Any, Any], answer: Answer) -> None:
        """Answer that method. MUST come before the node starts."""
        _, service, name = method.path.split("/")

        def handle(request: Any, context: Any) -> Message:
            self.calls[name] += 1
            self.deadlines.append(float(context.time_remaining() or 0))
            try:
                return answer(request)
            except Refusal as refusal:
                context.abort(refusal.code, refusal.details)
                raise AssertionError("abort raises") from None

        self._add(service, name, grpc.unary_unary_rpc_method_handler, handle, method)

    def on_stream(
        self, method: Method[Any, Any], answer: Callable[[Any], Iterable[Message]]
    ) -> None:
        """Answer that method with several responses. MUST come before the node starts."""
        _, service, name = method.path.split("/")

        def handle(request: Any, context: Any) -> Iterator[Message]:
            self.calls[name] += 1
            try:
                yield from answer(request)
            except Refusal as refusal:
                context.abort(refusal.code, refusal.details)

        self._add(service, name, grpc.unary_stream_rpc_method_handler, handle, method)

    def _add(
        self, service: str, name: str, kind: Any, handle: Any, method: Method[Any, Any]
    ) -> None:
        handler = kind(
            handle,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )
        generic = grpc.method_handlers_generic_handler(service, {name: handler})
        self._server.add_generic_rpc_handlers((generic,))

    def knows(self, nodes: NodesConfiguration | None = None, logs: Logs | None = None) -> None:
        """Be alive, and serve these objects."""
        self.ident.status = common_pb2.ALIVE
        self.ident.metadata_server_status = common_pb2.MS_MEMBER
        if nodes is not None:
            self.ident.nodes_config_version = nodes.version
            self.blobs[common_pb2.NODES_CONFIGURATION] = encode_nodes_configuration(nodes)
        if logs is not None:
            self.ident.logs_version = logs.version
            self.blobs[common_pb2.LOGS] = encode_logs(logs)

    def __enter__(self) -> FakeNode:
        port = self._server.add_insecure_port(self._listen)
        unix = self._listen.startswith("unix:")
        self.address = self._listen if unix else f"http://127.0.0.1:{port}/"
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop(grace=0).wait()

    async def __aenter__(self) -> FakeNode:
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        self.__exit__(*exc_info)

    def _get_ident(self, _request: Message) -> IdentResponse:
        return self.ident

    def _get_metadata(self, request: GetMetadataRequest) -> GetMetadataResponse:
        if request.kind not in self.blobs:
            raise Refusal(grpc.StatusCode.INTERNAL, "the object is gone")
        return GetMetadataResponse(encoded=self.blobs[request.kind])


def members(version: int, *addresses: str, admins: tuple[int, ...] = (1, 2, 3)):
    """N1, N2, … at these addresses; some of them have the admin role."""
    core = frozenset({Role.LOG_SERVER, Role.METADATA_SERVER, Role.WORKER})
    nodes = [
        Node(
            name=f"node-{number}",
            current_generation=GenerationalNodeId(PlainNodeId(number), 1),
            address=address,
            roles=core | ({Role.ADMIN} if number in admins else set[Role]()),
            storage_state=StorageState.READ_WRITE,
        )
        for number, address in enumerate(addresses, start=1)
    ]
    return NodesConfiguration(Version(version), "fake", {node.id: node for node in nodes})


def one_log(version: int) -> Logs:
    """Log 0 with one segment on N1."""
    replication = ReplicationProperty.of_nodes(1)
    segment = ReplicatedSegment(
        Lsn(1),
        SegmentIndex(0),
        ReplicatedParams(
            loglet_id=0,  # type: ignore[arg-type]
            sequencer=GenerationalNodeId(PlainNodeId(1), 1),
            replication=replication,
            nodeset=(PlainNodeId(1),),
        ),
    )
    provider = ProviderConfiguration(ProviderKind.REPLICATED, replication, 0)
    return Logs(Version(version), {LogId(0): Chain((segment,))}, provider)
