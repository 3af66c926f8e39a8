"""Links: for each peer and lane one connection, made when it is first needed and made again after
it broke.

    idle ──submit──▶ connecting ──▶ open ──lost──▶ idle
                         └──failed──▶ backing off (submits fail at once) ──▶ idle

Calls that come while a link connects wait in a bounded queue, none beyond its deadline.
After a failure the link answers
UNREACHABLE at once until its back-off has passed: callers decide what to do next within
microseconds instead of a connect timeout each.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final

import msgspec

from restate_node.fabric.directory import Directory
from restate_node.fabric.outgoing import SWEEP_INTERVAL_S, OnReply, OutgoingConnection
from restate_node.runtime.ports import Transport
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.fabric import RpcCode, RpcFailure, Swimlane
from restate_node.types.ids import GenerationalNodeId, PlainNodeId
from restate_node.wire import rpc_catalog

WAITING_CALLS_MAX: Final = 4096
BACKOFF_FIRST_S: Final = 0.02
BACKOFF_MAX_S: Final = 1.0

Destination = PlainNodeId | str
"""A member by id, or anybody by address."""


@dataclass(slots=True)
class _WaitingCall:
    request: msgspec.Struct
    on_reply: OnReply
    deadline: float
    generation: int | None


@dataclass(slots=True)
class _Link:
    connection: OutgoingConnection | None = None
    connecting: bool = False
    waiting: list[_WaitingCall] = field(default_factory=list[_WaitingCall])
    failures: int = 0
    blocked_until: float = 0.0
    last_failure: RpcFailure | None = None
    sweep: asyncio.TimerHandle | None = None


class LinkPool:
    """All outgoing connections of a node."""

    def __init__(
        self, transport: Transport, directory: Directory, tasks: TaskCenter, rng: random.Random
    ) -> None:
        self._transport = transport
        self._directory = directory
        self._tasks = tasks
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._links: dict[tuple[Destination, Swimlane], _Link] = {}
        self._encoding = rpc_catalog.SharedEncoding()
        self._closed = False

    def submit(
        self,
        destination: Destination,
        lane: Swimlane,
        request: msgspec.Struct,
        on_reply: OnReply,
        deadline: float,
        generation: int | None = None,
    ) -> None:
        """Call; `on_reply` is called exactly once, never from within. `generation` pins one life of
        the node.
        """
        if self._closed:
            self._fail(on_reply, RpcFailure(RpcCode.UNREACHABLE, "the node is stopping"))
            return
        link = self._link(destination, lane)
        if link.connection is not None and link.connection.is_open:
            self._send(link.connection, _WaitingCall(request, on_reply, deadline, generation))
        elif link.connecting and len(link.waiting) >= WAITING_CALLS_MAX:
            self._fail(
                on_reply, RpcFailure(RpcCode.OVERLOADED, f"{_text(destination)} is connecting")
            )
        elif not link.connecting and self._loop.time() < link.blocked_until:
            assert link.last_failure is not None
            self._fail(on_reply, link.last_failure)
        else:
            link.waiting.append(_WaitingCall(request, on_reply, deadline, generation))
            self._connect(destination, lane, link)
            if link.sweep is None:
                link.sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._expire, link)

    def notify(self, destination: Destination, lane: Swimlane, message: msgspec.Struct) -> None:
        """One-way: sent when the link is open, else dropped while the link is made."""
        if self._closed:
            return
        link = self._link(destination, lane)
        if link.connection is not None and link.connection.is_open:
            link.connection.notify(message)
        elif self._loop.time() >= link.blocked_until:
            self._connect(destination, lane, link)

    def drop(self, destination: Destination, reason: str) -> None:
        """Hang up all lanes to a destination, for example because a newer generation took its
        place.
        """
        for (target, _), link in self._links.items():
            if target == destination and link.connection is not None:
                link.connection.close(reason)
                link.connection = None

    def greet_again(self, reason: str) -> None:
        """Hang up everything; the next call of each link connects, and greets, anew."""
        for link in self._links.values():
            if link.connection is not None:
                link.connection.close(reason)
                link.connection = None

    def close(self, reason: str) -> None:
        """Hang up everything, for ever."""
        self._closed = True
        for link in self._links.values():
            if link.connection is not None:
                link.connection.close(reason)
        self._links.clear()

    def _link(self, destination: Destination, lane: Swimlane) -> _Link:
        link = self._links.get((destination, lane))
        if link is None:
            link = self._links[(destination, lane)] = _Link()
        return link

    def _connect(self, destination: Destination, lane: Swimlane, link: _Link) -> None:
        if link.connecting:
            return
        link.connecting = True
        name = f"connect {_text(destination)} {lane.name}"
        task = self._tasks.spawn(TaskKind.CONNECTION, name, self._open(destination, lane))
        task.add_done_callback(lambda task: self._connected(link, task))

    def _connected(self, link: _Link, task: asyncio.Task[OutgoingConnection | RpcFailure]) -> None:
        """A callback, because a task that is cancelled before it starts runs no line of its own."""
        link.connecting = False
        waiting, link.waiting = link.waiting, []
        result: OutgoingConnection | RpcFailure
        if task.cancelled():
            result = RpcFailure(RpcCode.UNREACHABLE, "the node is stopping")
        elif (error := task.exception()) is not None:
            result = RpcFailure(RpcCode.UNREACHABLE, f"{type(error).__name__}: {error}")
        else:
            result = task.result()
        if self._closed and isinstance(result, OutgoingConnection):
            result.close("the node is stopping")
        if isinstance(result, RpcFailure):
            self._back_off(link, result)
            for call in waiting:
                self._fail(call.on_reply, result)
        else:
            link.connection, link.failures = result, 0
            for call in waiting:
                self._send(result, call)

    def _expire(self, link: _Link) -> None:
        """Nothing was sent for the calls that end here."""
        now = self._loop.time()
        expired = [call for call in link.waiting if call.deadline <= now]
        link.waiting = [call for call in link.waiting if call.deadline > now]
        for call in expired:
            self._fail(call.on_reply, RpcFailure(RpcCode.UNREACHABLE, "no connection in time"))
        link.sweep = None
        if link.waiting:
            link.sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._expire, link)

    async def _open(
        self, destination: Destination, lane: Swimlane
    ) -> OutgoingConnection | RpcFailure:
        """Failures are answers, not failures of the task. Cancellation closes the connection."""
        try:
            return await self._dial(destination, lane)
        except RpcFailure as failure:
            return failure

    async def _dial(self, destination: Destination, lane: Swimlane) -> OutgoingConnection:
        if isinstance(destination, str):
            address, expected = destination, None
        else:
            address, expected = self._directory.address_of(destination), destination
            if address is None:
                raise RpcFailure(RpcCode.UNKNOWN_NODE, f"N{destination} is not a member")
        connection = OutgoingConnection(self._directory, expected, self._encoding)
        await connection.open(self._transport, address, lane)
        return connection

    def _back_off(self, link: _Link, failure: RpcFailure) -> None:
        pause = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(link.failures, 10))
        link.failures += 1
        link.last_failure = failure
        link.blocked_until = self._loop.time() + pause * self._rng.uniform(0.7, 1.3)

    def _send(self, connection: OutgoingConnection, call: _WaitingCall) -> None:
        node = connection.peer.node if connection.peer is not None else None
        if call.generation is not None and _another_life(node, call.generation):
            text = f"generation {call.generation} is gone, {node} answers"
            self._fail(call.on_reply, RpcFailure(RpcCode.UNKNOWN_NODE, text))
        else:
            connection.submit(call.request, call.on_reply, call.deadline)

    def _fail(self, on_reply: OnReply, failure: RpcFailure) -> None:
        """A copy each: an exception that many raise would collect all their tracebacks."""
        self._loop.call_soon(on_reply, RpcFailure(failure.code, failure.message))


def _another_life(node: GenerationalNodeId | None, generation: int) -> bool:
    return node is None or node.generation != generation


def _text(destination: Destination) -> str:
    return destination if isinstance(destination, str) else f"N{destination}"
