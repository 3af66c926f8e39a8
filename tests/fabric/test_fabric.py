"""Calls between nodes, and how they fail."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from fabric_world import CLUSTER, FabricHost, FabricWorld, address, members, node, tell

from restate_node.fabric import outgoing, router
from restate_node.fabric.fanout import ask_each
from restate_node.fabric.router import Reply
from restate_node.protocol.handshake import Identity, hello
from restate_node.runtime.ports import FrameConnection
from restate_node.sim.hosts import Death
from restate_node.types.fabric import Peer, RpcCode, RpcFailure, Swimlane
from restate_node.types.ids import LogletId, PlainNodeId
from restate_node.types.log_messages import (
    GetLogletInfo,
    GetRecords,
    LogletHeader,
    LogletInfo,
    Records,
    Release,
    Status,
    Store,
    StoredRun,
)
from restate_node.types.metadata import MetadataKind
from restate_node.types.offsets import LogletOffset
from restate_node.wire.frames import (
    decode_frame,
    decode_handshake,
    encode_call,
    encode_handshake,
    encode_reply,
)
from restate_node.wire.rpc_catalog import encode, method_of

HEADER = LogletHeader(Status.OK, LogletOffset(1), LogletOffset(1), False)
INFO = LogletInfo(HEADER, LogletOffset(0))
N2 = PlainNodeId(2)


def ask(loglet: int = 1) -> GetLogletInfo:
    return GetLogletInfo(LogletId(loglet))


async def failure_of(calling: asyncio.Future[object] | object) -> RpcFailure:
    with pytest.raises(RpcFailure) as caught:
        await calling  # type: ignore[misc]
    return caught.value


def call(host: FabricHost, target: object = N2, timeout_s: float = 5.0) -> object:
    return host.fabric.call(target, ask(), LogletInfo, timeout_s=timeout_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [N2, node(2), address(2)], ids=str)
def test_a_call_is_answered_by_id_generation_or_address(target: object) -> None:
    """Goal: the three ways to name a node; the handler learns who asks."""

    async def story(world: FabricWorld) -> None:
        asked_by: list[Peer] = []

        async def serve(peer: Peer, request: GetLogletInfo) -> LogletInfo:
            asked_by.append(peer)
            return INFO

        world.two.fabric.router.serve(GetLogletInfo, serve)
        assert await call(world.one, target) == INFO
        assert [peer.node for peer in asked_by] == [node(1)]

    tell(story)


@pytest.mark.parametrize("target", [1, 2], ids=["to myself", "to another node"])
def test_requests_arrive_in_order_and_are_never_answered_from_within(target: int) -> None:
    """Goal: calls to oneself keep the promises of a connection: order, no reentrancy, one answer.
    Method: fifty calls and messages of one turn, a handler that answers at once."""

    async def story(world: FabricWorld) -> None:
        server = world.one if target == 1 else world.two
        seen: list[int] = []
        answers: list[int] = []

        def on_ask(_: Peer, request: GetLogletInfo, reply: Reply) -> None:
            seen.append(request.loglet)
            reply(INFO)

        def on_release(_: Peer, request: Release, reply: Reply) -> None:
            seen.append(request.loglet)
            reply(None)

        server.fabric.router.on(GetLogletInfo, on_ask)
        server.fabric.router.on(Release, on_release)
        await world.one.fabric.call(PlainNodeId(target), ask(0), LogletInfo)
        for number in range(1, 50):
            if number % 5 or target == 2:
                world.one.fabric.submit(
                    PlainNodeId(target), ask(number), lambda _, n=number: answers.append(n)
                )
            else:
                release = Release(LogletId(number), LogletOffset(1))
                world.one.fabric.notify(PlainNodeId(target), release)
            assert len(seen) == 1
        await asyncio.sleep(0.5)
        assert seen == list(range(50))
        assert answers == [number for number in range(1, 50) if number % 5 or target == 2]

    tell(story)


@pytest.mark.parametrize("target", [PlainNodeId(1), N2], ids=str)
@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (None, RpcCode.UNKNOWN_METHOD),
        ("raises", RpcCode.FAILED),
        ("refuses", RpcCode.NOT_READY),
        ("silent", RpcCode.TIMEOUT),
        ("wrong type", RpcCode.MALFORMED),
    ],
)
def test_how_handlers_fail(
    target: PlainNodeId, handler: str | None, code: RpcCode, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goal: whatever a handler does, the caller gets one failure that says what happened, over a
    connection and to oneself alike; `maybe_executed` follows from the code."""

    async def story(world: FabricWorld) -> None:
        async def serve(_: Peer, request: GetLogletInfo) -> msgspec.Struct:
            match handler:
                case "raises":
                    raise KeyError("x")
                case "refuses":
                    raise RpcFailure(RpcCode.NOT_READY, "later")
                case "silent":
                    await asyncio.sleep(60)
                    return INFO
                case _:
                    return HEADER

        server = world.one if target == 1 else world.two
        if handler is not None:
            server.fabric.router.serve(GetLogletInfo, serve)
        began = world.loop.time()
        failure = await failure_of(call(world.one, target, timeout_s=0.3))
        assert failure.code is code
        assert failure.maybe_executed == (code >= RpcCode.CONNECTION_LOST)
        assert world.loop.time() - began < 0.5

    tell(story)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (PlainNodeId(9), RpcCode.UNKNOWN_NODE),
        (node(2, 7), RpcCode.UNKNOWN_NODE),
        (node(1, 7), RpcCode.UNKNOWN_NODE),
        (PlainNodeId(3), RpcCode.UNREACHABLE),
        ("http://nobody:1/", RpcCode.UNREACHABLE),
    ],
    ids=str,
)
def test_whom_one_cannot_call(target: object, code: RpcCode) -> None:
    """Goal: strangers, other lives and dead hosts fail without an effect, by the deadline."""

    async def story(world: FabricWorld) -> None:
        began = world.loop.time()
        failure = await failure_of(call(world.one, target, timeout_s=0.5))
        assert failure.code is code
        assert not failure.maybe_executed
        assert world.loop.time() - began < 0.7

    tell(story)


def test_after_a_failure_calls_fail_at_once_until_the_link_is_tried_again() -> None:
    """Goal: back-off answers within the turn, grows, and ends when the peer is back."""

    async def story(world: FabricWorld) -> None:
        world.loop.kill(world.two.process)
        for _ in range(4):
            await failure_of(call(world.one))
            await asyncio.sleep(0.3)
        await failure_of(call(world.one))
        began = world.loop.time()
        failure = await failure_of(call(world.one))
        assert failure.code is RpcCode.UNREACHABLE
        assert world.loop.time() == began
        reborn = FabricHost(world.network, world.loop, 2)
        reborn.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        await asyncio.sleep(2)
        assert await call(world.one) == INFO

    tell(story)


@pytest.mark.parametrize("death", list(Death))
def test_calls_under_way_end_when_the_peer_dies(death: Death) -> None:
    """Goal: killed -> CONNECTION_LOST at once, power lost -> TIMEOUT by the deadline; both say that
    the call may have been executed."""

    async def story(world: FabricWorld) -> None:
        world.two.fabric.router.on(GetLogletInfo, lambda _, request, reply: None)
        calling = asyncio.ensure_future(call(world.one, timeout_s=3.0))  # type: ignore[type-var]
        await asyncio.sleep(0.1)
        world.loop.kill(world.two.process, death)
        failure = await failure_of(calling)
        expected = RpcCode.CONNECTION_LOST if death is Death.KILLED else RpcCode.TIMEOUT
        assert failure.code is expected
        assert failure.maybe_executed

    tell(story)


def test_a_stopping_node_ends_every_call() -> None:
    """Goal: close answers calls under way and those that come later, in both directions; requests
    being served are told too. Method: stop the tasks while a call waits for its connection, one for
    its answer, one for its own node."""

    async def story(world: FabricWorld) -> None:
        async def hang(_: Peer, request: GetLogletInfo) -> LogletInfo:
            await asyncio.sleep(3600)
            return INFO

        for host in (world.one, world.two):
            host.fabric.router.serve(GetLogletInfo, hang)
        waiting = [asyncio.ensure_future(call(world.one, t, 60)) for t in (N2, PlainNodeId(1))]  # type: ignore[type-var]
        await asyncio.sleep(0.1)
        waiting.append(asyncio.ensure_future(call(world.one, PlainNodeId(3), 60)))  # type: ignore[type-var]
        await world.one.tasks.stop(timeout_s=1.0)
        world.one.fabric.close("stopping")
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(end, RpcFailure) for end in ended)
        assert (await failure_of(call(world.one))).code is RpcCode.UNREACHABLE
        assert len(world.one.tasks) == 0

    tell(story)


def test_a_call_that_was_never_started_is_answered_too() -> None:
    """Goal: the task that connects is cancelled before its first step, and the call still ends."""

    async def story(world: FabricWorld) -> None:
        stopping = asyncio.ensure_future(world.one.tasks.stop(timeout_s=1.0))
        await stopping
        assert (await failure_of(call(world.one))).code is RpcCode.UNREACHABLE

    tell(story)


def test_too_many_requests_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the bound of concurrent coroutines per type holds, and frees again."""
    monkeypatch.setattr(router, "CONCURRENT_REQUESTS_MAX", 3)

    async def story(world: FabricWorld) -> None:
        async def slow(_: Peer, request: GetLogletInfo) -> LogletInfo:
            await asyncio.sleep(0.5)
            return INFO

        world.two.fabric.router.serve(GetLogletInfo, slow)
        for _ in range(2):
            calls = [asyncio.ensure_future(call(world.one)) for _ in range(5)]  # type: ignore[type-var]
            ended = await asyncio.gather(*calls, return_exceptions=True)
            codes = [end.code for end in ended if isinstance(end, RpcFailure)]
            assert codes == [RpcCode.OVERLOADED] * 2

    tell(story)


def test_a_slow_peer_is_an_overloaded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a backlog above the limit refuses calls instead of filling the memory."""
    monkeypatch.setattr(outgoing, "BACKLOG_BYTES_MAX", 1000)

    async def story(world: FabricWorld) -> None:
        world.two.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        await call(world.one)
        calls = [asyncio.ensure_future(call(world.one)) for _ in range(100)]  # type: ignore[type-var]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        codes = {end.code for end in ended if isinstance(end, RpcFailure)}
        assert codes == {RpcCode.OVERLOADED}
        assert INFO in ended

    tell(story)


def test_messages_above_the_limit_of_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: too large a request is refused, too large an answer becomes a failure, and the
    connection goes on. Method: 40 MiB each way."""
    big = bytes(40 * 1024 * 1024)

    async def story(world: FabricWorld) -> None:
        one = LogletOffset(1)
        world.two.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        world.two.fabric.router.on(
            GetRecords,
            lambda _, request, reply: reply(
                Records(HEADER, LogletOffset(0), one, [StoredRun(one, 1, big)])
            ),
        )
        store = Store(LogletId(1), node(1), one, one, 1, big)
        await call(world.one)
        sending = world.one.fabric.call(N2, store, LogletHeader)
        assert (await failure_of(sending)).code is RpcCode.FORBIDDEN
        asking = world.one.fabric.call(N2, GetRecords(LogletId(1), one, one, 1), Records)
        assert (await failure_of(asking)).code is RpcCode.FAILED
        assert await call(world.one) == INFO

    tell(story, range(1))


def test_an_old_generation_is_refused() -> None:
    """Goal: a process that was replaced is heard by nobody who knows, from either side."""

    async def story(world: FabricWorld) -> None:
        world.two.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        world.one.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        world.one.cache.install(MetadataKind.NODES_CONFIGURATION, members(2, newest=2))
        assert (await failure_of(call(world.one))).code is RpcCode.REFUSED
        assert (await failure_of(call(world.two, PlainNodeId(1)))).code is RpcCode.REFUSED

    tell(story)


def test_a_node_may_call_itself_by_address() -> None:
    """Goal: the own address in a list of addresses is no impostor."""

    async def story(world: FabricWorld) -> None:
        world.one.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        assert await call(world.one, address(1)) == INFO

    tell(story)


def test_versions_travel_with_every_frame() -> None:
    """Goal: both sides notice newer metadata of the other, with calls and with answers."""

    async def story(world: FabricWorld) -> None:
        world.two.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        await call(world.one)
        assert not world.one.cache.newer.value
        world.two.cache.install(MetadataKind.NODES_CONFIGURATION, members(5))
        await call(world.one)
        newer = world.one.cache.newer.value[MetadataKind.NODES_CONFIGURATION]
        assert (newer.version, newer.peer.node) == (5, node(2))
        world.one.cache.install(MetadataKind.NODES_CONFIGURATION, members(9))
        await call(world.one)
        assert world.two.cache.newer.value[MetadataKind.NODES_CONFIGURATION].version == 9

    tell(story)


def test_ask_each_yields_every_node_once() -> None:
    """Goal: answers as they come, failures included, and the stream ends."""

    async def story(world: FabricWorld) -> None:
        world.two.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        world.one.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(HEADER))
        nodes = [PlainNodeId(number) for number in (1, 2, 3)]
        got = {
            number: answer if isinstance(answer, LogletInfo) else answer.code
            async for number, answer in ask_each(
                world.one.fabric, nodes, ask(), LogletInfo, timeout_s=0.5
            )
        }
        assert got == {1: RpcCode.MALFORMED, 2: INFO, 3: RpcCode.UNREACHABLE}

    tell(story)


class Stranger:
    """Speaks frames of its own choice to a fabric."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def frames_received(self, frames: list[bytes]) -> None:
        self.frames += frames

    def connection_lost(self, reason: str) -> None:
        self.lost.set_result(reason)


HELLO = encode_handshake(hello(Identity(CLUSTER, 7, None), 0))


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"garbage"],
        [encode_call(1, 43, bytes(16), b"")],
        [HELLO, b""],
        [HELLO, b"\x09" + bytes(40)],
        [HELLO, encode_reply(1, 0, bytes(16), b"")],
        [HELLO, HELLO],
    ],
    ids=["silent", "empty", "garbage", "no greeting", "short", "kind", "reply", "twice"],
)
def test_who_does_not_speak_the_protocol_is_hung_up_on(frames: list[bytes]) -> None:
    """Goal: garbage, and silence instead of a greeting, end the connection and nothing else."""

    async def story(world: FabricWorld) -> None:
        process = world.loop.boot("stranger")
        transport = world.network.transport(process, "http://stranger:1/")
        stranger = Stranger()
        connection: FrameConnection = await transport.connect(
            address(2), Swimlane.GENERAL, stranger
        )
        for frame in frames:
            connection.send(frame)
        await asyncio.wait_for(stranger.lost, 10)
        world.two.fabric.router.on(GetLogletInfo, lambda _, request, reply: reply(INFO))
        assert await call(world.one) == INFO

    tell(story)


@pytest.mark.parametrize(
    ("number", "payload", "code"),
    [
        (9999, b"", RpcCode.UNKNOWN_METHOD),
        (method_of(ask()).number, b"\xc1", RpcCode.MALFORMED),
        (method_of(ask()).number, encode([]), RpcCode.MALFORMED),
        (method_of(ask()).number, encode(["text"]), RpcCode.MALFORMED),
    ],
)
def test_a_request_that_cannot_be_read_is_answered(
    number: int, payload: bytes, code: RpcCode
) -> None:
    """Goal: an unknown method or a malformed request is a failure of that call alone."""

    async def story(world: FabricWorld) -> None:
        process = world.loop.boot("stranger")
        transport = world.network.transport(process, "http://stranger:1/")
        stranger = Stranger()
        connection = await transport.connect(address(2), Swimlane.GENERAL, stranger)
        connection.send(HELLO)
        connection.send(encode_call(5, number, bytes(16), payload))
        await asyncio.sleep(1)
        decode_handshake(stranger.frames[0])
        reply = decode_frame(stranger.frames[1])
        assert (reply.rpc_id, reply.code) == (5, code)
        assert not stranger.lost.done()

    tell(story)
