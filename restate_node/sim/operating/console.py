"""An operator's console: calls the control-plane methods of nodes, by path, as `restatectl` does.

    request ─ bytes ─▶ the node's own table of methods ─▶ handler, inside of the node's life
                                                              └▶ response ─ bytes ─▶ operator

Only the HTTP in between is left out. What a node does not answer in time is left alone; a node that
is frozen or killed meanwhile never answers. A handler that raises anything but a status is a
finding: no input may do that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from restate_node.node.edges import grpc_methods, node_ctl
from restate_node.sim.world import NodeLife, World
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.wire.pb import metadata_pb2
from restate_node.wire.pb.metadata_proxy_svc_pb2 import GetRequest, GetResponse, PutRequest
from restate_node.wire.storage_codec import decode_version

TIMEOUT_SECONDS: Final = 6.0
EDIT_ATTEMPTS_MAX: Final = 5
EDIT_PAUSE_SECONDS: Final = 0.1

CLUSTER: Final = "/restate.cluster_ctrl.ClusterCtrlSvc"
STORE: Final = "/restate.metadata_proxy_svc.MetadataProxySvc"
OPERATOR: Final = "/restate_node.operator.OperatorSvc"

Response = TypeVar("Response", bound=Message)
Value = TypeVar("Value")


class Refused(Exception):
    """A node said no, or nobody answered: the text is what the operator reads."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one node: a message, a status, or neither in time."""

    message: Any = None
    error: GrpcError | None = None

    @property
    def is_final(self) -> bool:
        """Other nodes would say the same."""
        if self.error is None:
            return self.message is not None
        return self.error.code in (StatusCode.FAILED_PRECONDITION, StatusCode.INVALID_ARGUMENT)


class Console:
    """One per run; everything that it chooses by chance comes from `rng`."""

    def __init__(self, world: World, rng: Random, found: Callable[[str], None]) -> None:
        self.world = world
        self.rng = rng
        self._found = found
        self._methods: dict[str, dict[str, Any]] = {}
        self.tails_seen: dict[int, int] = {}
        """By partition, where its log ended at the look before, if that told of all nodes."""

    async def call(self, path: str, request: Message, response: type[Response]) -> Response:
        """The first answer of a node, tried one after the other. Raises Refused."""
        lives = self.world.lives
        self.rng.shuffle(lives)
        said = "no node is there"
        for life in lives:
            answer = await self._ask(life, path, request)
            if answer.message is not None:
                assert isinstance(answer.message, response)
                return answer.message
            said = f"{life.name}: {answer.error or 'no answer'}"
            if answer.is_final:
                break
        raise Refused(said)

    async def read(self, key: str) -> bytes | None:
        """An object of the metadata store. Raises Refused."""
        found = await self.call(f"{STORE}/Get", GetRequest(key=key), GetResponse)
        return found.value.bytes if found.HasField("value") else None

    async def edit(
        self,
        key: str,
        decode: Callable[[bytes], Value],
        encode: Callable[[Value], bytes],
        change: Callable[[Value], Value | None],
    ) -> bool:
        """Read, change, swap; False when there is nothing to change. Raises Refused."""
        for _ in range(EDIT_ATTEMPTS_MAX):
            before = await self.read(key)
            if before is None:
                raise Refused(f"there is no {key}")
            changed = change(decode(before))
            if changed is None:
                return False
            try:
                await self._swap(key, before, encode(changed))
                return True
            except Refused as refusal:
                if "FAILED_PRECONDITION" not in str(refusal):
                    raise
            await asyncio.sleep(EDIT_PAUSE_SECONDS)
        raise Refused(f"{key} keeps changing")

    async def _swap(self, key: str, before: bytes, after: bytes) -> None:
        request = PutRequest(key=key)
        request.value.version.value = decode_version(after)
        request.value.bytes = after
        request.precondition.kind = metadata_pb2.MATCHES_VERSION
        request.precondition.version.value = decode_version(before)
        await self.call(f"{STORE}/Put", request, Message)

    async def _ask(self, life: NodeLife, path: str, request: Message) -> Answer:
        if not life.incarnation.alive:
            return Answer()
        method = self._table(life)[path]
        decoded = method.request.FromString(request.SerializeToString())
        work = self._handle(method, decoded)
        task = self.world.loop.spawn(life.incarnation, work, f"operator's {path}")
        done, _ = await asyncio.wait({task}, timeout=TIMEOUT_SECONDS)
        if not done:
            return Answer()
        if (error := task.exception()) is not None:
            asked = str(request).replace("\n", " ")
            self._found(f"{life.name} answers {path} ({asked}) with {error!r}")
            return Answer()
        return task.result()

    async def _handle(self, method: Any, request: Message) -> Answer:
        """Runs as part of the node's life."""
        try:
            response = await method.handler(request)
        except GrpcError as error:
            return Answer(error=error)
        return Answer(method.response.FromString(response.SerializeToString()))

    def _table(self, life: NodeLife) -> dict[str, Any]:
        table = self._methods.get(life.name)
        if table is None:
            methods = grpc_methods(life.node, node_ctl(life.node, ()))
            table = self._methods[life.name] = {method.path: method for method in methods}
        return table
