"""The fabric: calls between nodes, and to this node itself, by one interface.

    call / submit / notify ─▶ LinkPool ─▶ OutgoingConnection ═▶ IncomingConnection ─▶ Router
                   └───────────── to itself: Loopback, a turn of the loop later ───────▲

A role never knows whether it talks to a neighbour or to another role of its own process; that is
what lets roles be split over processes freely. Calls to oneself skip encoding, because messages are
immutable.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final, TypeVar

import msgspec

from restate_node.fabric.directory import Directory
from restate_node.fabric.incoming import IncomingConnection
from restate_node.fabric.loopback import Loopback
from restate_node.fabric.outgoing import OnReply
from restate_node.fabric.pool import LinkPool
from restate_node.fabric.router import Router
from restate_node.runtime.ports import FrameConnection, FrameReceiver, Transport
from restate_node.runtime.tasks import TaskCenter
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import GenerationalNodeId, PlainNodeId
from restate_node.wire import rpc_catalog

CALL_TIMEOUT_S: Final = 5.0

Target = GenerationalNodeId | PlainNodeId | str
"""One life of a node, a node in whatever life, or anybody at an address."""

ReplyType = TypeVar("ReplyType", bound=msgspec.Struct)


class Fabric:
    """Calls from and to this node."""

    def __init__(
        self, transport: Transport, directory: Directory, tasks: TaskCenter, rng: random.Random
    ) -> None:
        self.router = Router(tasks)
        self._directory = directory
        self._pool = LinkPool(transport, directory, tasks, rng)
        self._loopback = Loopback(self.router)
        self._loop = asyncio.get_running_loop()
        self._incoming: dict[IncomingConnection, None] = {}
        transport.accept(self._accept)

    async def call(
        self,
        target: Target,
        request: msgspec.Struct,
        reply_type: type[ReplyType],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> ReplyType:
        """Ask and wait. Raises RpcFailure, whose `maybe_executed` tells if a retry may double.

        Cancellation-safe: the answer is dropped when it comes; the request may have been executed.
        """
        answered: asyncio.Future[ReplyType] = self._loop.create_future()

        def resolve(reply: msgspec.Struct | RpcFailure) -> None:
            if answered.done():
                return
            if isinstance(reply, RpcFailure):
                answered.set_exception(reply)
            elif isinstance(reply, reply_type):
                answered.set_result(reply)
            else:
                text = f"answered with {type(reply).__name__} instead of {reply_type.__name__}"
                answered.set_exception(RpcFailure(RpcCode.MALFORMED, text))

        self.submit(target, request, resolve, timeout_s=timeout_s)
        return await answered

    def submit(
        self,
        target: Target,
        request: msgspec.Struct,
        on_reply: OnReply,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        """Ask without waiting: `on_reply` is called exactly once, later, on the loop. For the
        append path.
        """
        deadline = self._loop.time() + timeout_s
        me = self._directory.identity().node
        if me is not None and not isinstance(target, str) and _plain(target) == me.id:
            if isinstance(target, GenerationalNodeId) and target != me:
                failure = RpcFailure(RpcCode.UNKNOWN_NODE, f"{target} is gone, this is {me}")
                self._loopback.fail(on_reply, failure)
            else:
                self._loopback.submit(me, request, on_reply, deadline)
            return
        lane = rpc_catalog.method_of(request).lane
        if isinstance(target, GenerationalNodeId):
            self._pool.submit(target.id, lane, request, on_reply, deadline, target.generation)
        else:
            self._pool.submit(target, lane, request, on_reply, deadline)

    def notify(self, target: Target, message: msgspec.Struct) -> None:
        """Send a one-way message, at most once, to whatever life of the node there is."""
        destination = target.id if isinstance(target, GenerationalNodeId) else target
        me = self._directory.identity().node
        if me is not None and destination == me.id:
            self._loopback.notify(me, message)
            return
        self._pool.notify(destination, rpc_catalog.method_of(message).lane, message)

    def hang_up(self, node: PlainNodeId, reason: str) -> None:
        """Close the connections to a node."""
        self._pool.drop(node, reason)

    def greet_again(self) -> None:
        """This node has become a member: whoever knows it as a stranger must meet it again.

        Both sides remember who greeted whom for as long as a connection lasts, so connections from
        before the join would go on refusing what only members may do.
        """
        self._pool.greet_again("the node has joined")
        for connection in list(self._incoming):
            connection.close("the node has joined")

    def close(self, reason: str) -> None:
        """Close all connections, in both directions."""
        self._pool.close(reason)
        for connection in list(self._incoming):
            connection.close(reason)

    def _accept(self, connection: FrameConnection) -> FrameReceiver:
        incoming = IncomingConnection(connection, self._directory, self.router, self._forget)
        self._incoming[incoming] = None
        return incoming

    def _forget(self, incoming: IncomingConnection) -> None:
        self._incoming.pop(incoming, None)


def _plain(target: GenerationalNodeId | PlainNodeId) -> PlainNodeId:
    return target.id if isinstance(target, GenerationalNodeId) else target
