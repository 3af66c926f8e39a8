"""What operators are told of one loglet, from a real log server on a simulated disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.roles.log_server.control_plane import LogServerSvc
from restate_node.roles.log_server.log_store import LogStore
from restate_node.roles.log_server.service import LogServer
from restate_node.runtime.tasks import TaskCenter
from restate_node.sim.disk import SimDisk, SimMedium
from restate_node.sim.hosts import SimClock
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.network import SimNetwork
from restate_node.types.fabric import Peer
from restate_node.types.ids import GenerationalNodeId, LogletId, PlainNodeId
from restate_node.types.log_messages import Seal, Store, TrimLoglet
from restate_node.types.offsets import LogletOffset
from restate_node.types.records import pack
from restate_node.wire.pb import log_server_common_pb2 as common
from restate_node.wire.pb import log_server_pb2 as messages

LOGLET = LogletId((1 << 32) | 2)
ME = GenerationalNodeId(PlainNodeId(1), 1)

Send = Callable[[msgspec.Struct], Awaitable[object]]
Scenario = Callable[[LogServerSvc, Send], Awaitable[None]]


def with_log_server(scenario: Scenario) -> None:
    """Run against a log server; `send` gives it a message of its sequencer, to its answer."""

    async def main(loop: SimLoop) -> None:
        incarnation = loop.boot("node-1")
        tasks = TaskCenter()
        network = SimNetwork(loop, random.Random(0))
        transport = network.transport(incarnation, "http://node-1:5122/")
        fabric = Fabric(transport, MetadataCache("test"), tasks, random.Random(0))
        disk = SimDisk(SimMedium("node-1", random.Random(0)), incarnation)
        server = LogServer(LogStore.open(disk), fabric, SimClock(loop), tasks)
        server.start()

        async def send(message: msgspec.Struct) -> object:
            answer = loop.create_future()
            fabric.router.dispatch(Peer(ME, "test"), message, answer.set_result)
            async with asyncio.timeout(5):
                return await answer

        await scenario(LogServerSvc(server), send)

    simulate(1, main)


def stored(first: int, count: int, committed: int = 1) -> Store:
    batch = pack([b"record"] * count)
    return Store(LOGLET, ME, LogletOffset(committed), LogletOffset(first), batch.count, batch.body)


def digest(first: int, last: int) -> messages.GetDigestRequest:
    return messages.GetDigestRequest(loglet_id=LOGLET, from_offset=first, to_offset=last)


def spans(response: messages.GetDigestResponse) -> list[tuple[int, int, int]]:
    entries = response.digest.entries
    return [(entry.from_offset, entry.to_offset, entry.status) for entry in entries]


def test_unknown_loglet_is_an_empty_one() -> None:
    """Goal: asking about a loglet that never stored anything here is no error."""

    async def scenario(service: LogServerSvc, send: Send) -> None:
        request = messages.GetLogletInfoRequest(loglet_id=(9 << 32) | 9)
        info = (await service.get_loglet_info(request)).info
        assert info.HasField("header") and info.header.status == common.OK
        assert (info.header.local_tail, info.header.known_global_tail) == (1, 1)
        assert not info.header.sealed and info.trim_point == 0
        assert spans(await service.get_digest(digest(1, 100))) == []

    with_log_server(scenario)


def test_what_is_stored_sealed_and_trimmed_shows() -> None:
    """Goal: tails, seal, trim point and runs of this very node. Method: store 5 records, trim 2,
    seal; windows inside, outside and around them.
    """

    async def scenario(service: LogServerSvc, send: Send) -> None:
        await send(stored(1, 3))
        await send(stored(4, 2, committed=4))
        await send(TrimLoglet(LOGLET, LogletOffset(2), LogletOffset(4)))
        await send(Seal(LOGLET, ME))
        info = (await service.get_loglet_info(messages.GetLogletInfoRequest(loglet_id=LOGLET))).info
        assert (info.header.local_tail, info.header.known_global_tail) == (6, 4)
        assert info.header.sealed and info.trim_point == 2
        everything = [(1, 2, common.TRIMMED), (3, 5, common.EXISTS)]
        assert spans(await service.get_digest(digest(0, 2**32 - 1))) == everything
        assert spans(await service.get_digest(digest(4, 4))) == [(4, 4, common.EXISTS)]
        assert spans(await service.get_digest(digest(6, 9))) == []
        assert spans(await service.get_digest(digest(5, 2))) == []

    with_log_server(scenario)
