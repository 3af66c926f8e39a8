"""The simulated network: TCP's promises hold, and every fault does what its name says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from restate_node.runtime.ports import FrameConnection, Swimlane, Unreachable
from restate_node.sim.hosts import Death, Incarnation
from restate_node.sim.links import LinkOptions, NetworkOptions
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.network import SimNetwork, SimTransport

SEEDS = range(8)


@dataclass
class Log:
    """A receiver that remembers."""

    loop: SimLoop
    frames: list[bytes] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    lost_at: float = -1.0
    connection: FrameConnection | None = None
    arrivals: list[bytes] = field(default_factory=list)

    def frames_received(self, frames: Sequence[bytes]) -> None:
        self.arrivals.extend(frames)
        assert not self.lost, "a frame after the end"
        self.frames.extend(frames)
        self.groups.append(len(frames))

    def connection_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self.lost_at = self.loop.time()


def address_of(host: str) -> str:
    return f"http://{host}:5122/"


class World:
    """Two hosts; node-2 listens and keeps a log per accepted connection."""

    def __init__(self, loop: SimLoop, options: NetworkOptions | None = None) -> None:
        self.loop = loop
        randomness = loop.streams.stream("network")
        self.network = SimNetwork(loop, randomness, options, loop.trace)
        self.accepted: list[Log] = []
        self.arrivals: list[bytes] = []
        self.one, self.transport_one = self.boot("node-1")
        self.two, self.transport_two = self.boot("node-2")

    def boot(self, host: str) -> tuple[Incarnation, SimTransport]:
        incarnation = self.loop.boot(host)
        transport = self.network.transport(incarnation, address_of(host))
        transport.accept(self.accept)
        return incarnation, transport

    def accept(self, connection: FrameConnection) -> Log:
        log = Log(self.loop, connection=connection, arrivals=self.arrivals)
        self.accepted.append(log)
        return log

    async def connect(self, lane: Swimlane = Swimlane.GENERAL) -> tuple[FrameConnection, Log]:
        """From node-1 to node-2, as part of node-1."""
        log = Log(self.loop)
        coroutine = self.transport_one.connect(address_of("node-2"), lane, log)
        log.connection = await self.loop.spawn(self.one, coroutine)
        return log.connection, log


Main = Callable[[World], Awaitable[None]]


def run(main: Main, seed: int = 1, options: NetworkOptions | None = None) -> str:
    async def build(loop: SimLoop) -> None:
        await main(World(loop, options))

    return simulate(seed, build).trace_hash


def frames_of(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_arrive_in_order(seed: int) -> None:
    """Goal: FIFO whatever the delays and losses. Method: frames over many turns, both ways."""
    link = LinkOptions(delay_seconds_mean=0.05, loss_probability=0.3, bytes_per_second=1000)

    async def main(world: World) -> None:
        connection, log = await world.connect()
        await asyncio.sleep(1)
        for frame in frames_of(200):
            connection.send(frame)
            world.accepted[0].connection.send(frame)  # type: ignore[union-attr]
            await asyncio.sleep(0.001)
        await asyncio.sleep(60)
        assert world.accepted[0].frames == log.frames == frames_of(200)
        assert connection.backlog_bytes == 0

    run(main, seed, NetworkOptions(link=link))


def test_one_turn_is_one_write() -> None:
    """Goal: frames sent in one turn arrive together."""

    async def main(world: World) -> None:
        connection, _ = await world.connect()
        for frame in frames_of(50):
            connection.send(frame)
        await asyncio.sleep(1)
        assert world.accepted[0].groups == [50]

    run(main)


def test_same_seed_same_network() -> None:
    """Goal: one seed, one trace; another seed, another."""

    async def main(world: World) -> None:
        connection, _ = await world.connect()
        for frame in frames_of(20):
            connection.send(frame)
            await asyncio.sleep(0.001)

    assert run(main, 3) == run(main, 3) != run(main, 4)


def test_close_sends_what_is_queued() -> None:
    """Goal: close flushes, tells each side once, and later frames vanish. Method: close twice."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        connection.send(b"last")
        connection.close("done here")
        connection.close("again")
        connection.send(b"too late")
        await asyncio.sleep(1)
        assert log.lost == ["done here"]
        assert world.accepted[0].frames == [b"last"]
        assert world.accepted[0].lost == ["closed by peer"]
        assert world.network.connection_count == 0

    run(main)


def test_backlog_drains() -> None:
    """Goal: drained waits for the peer to take what was sent, and survives cancellation."""
    slow = NetworkOptions(link=LinkOptions(bytes_per_second=1_000_000))

    async def main(world: World) -> None:
        connection, _ = await world.connect()
        connection.send(b"handshake")
        for _ in range(10):
            connection.send(bytes(100_000))
            await asyncio.sleep(0)
        assert connection.backlog_bytes == 1_000_009
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.drained(), 0.1)
        await connection.drained()
        assert connection.backlog_bytes <= 64 * 1024
        assert 0.9 < world.loop.time() < 1.1

    run(main, options=slow)


def test_drained_returns_when_the_connection_ends() -> None:
    """Goal: nobody waits on a dead connection. Method: the peer is paused, the caller closes."""

    async def main(world: World) -> None:
        connection, _ = await world.connect()
        world.loop.pause(world.two)
        connection.send(bytes(1_000_000))
        world.loop.call_later(1, connection.close, "enough")
        await connection.drained()
        assert world.loop.time() > 1

    run(main)


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [(4096, 4097, False), (4097, 1, True)],
)
def test_frames_above_the_limit_close(first: int, second: int, refused: bool) -> None:
    """Goal: the receiver hangs up on a first frame that is too large."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        connection.send(bytes(first))
        connection.send(bytes(second))
        await asyncio.sleep(2)
        assert bool(world.accepted[0].lost) is refused
        assert bool(log.lost) is refused

    run(main)


# ---------------------------------------------------------------- connecting


def test_unknown_host() -> None:
    """Goal: an address that nobody has is unreachable at once."""

    async def main(world: World) -> None:
        with pytest.raises(Unreachable, match="no such host"):
            await world.transport_one.connect("http://x:1/", Swimlane.READ, Log(world.loop))

    run(main)


@pytest.mark.parametrize(
    ("death", "message", "seconds_min", "seconds_max"),
    [(Death.KILLED, "refused", 0.0, 0.5), (Death.POWER_LOST, "no answer", 4.9, 6.0)],
)
def test_connect_to_the_dead(
    death: Death, message: str, seconds_min: float, seconds_max: float
) -> None:
    """Goal: a dead process refuses at once, a dead machine is silent until the timeout."""

    async def main(world: World) -> None:
        world.loop.kill(world.two, death)
        with pytest.raises(Unreachable, match=message):
            await world.connect()
        assert seconds_min <= world.loop.time() <= seconds_max

    run(main)


@pytest.mark.parametrize("source", ["node-1", "node-2"])
def test_connect_through_a_cut(source: str) -> None:
    """Goal: a cut in either direction hides the peer; healed in time, the connect succeeds."""

    async def main(world: World) -> None:
        target = "node-2" if source == "node-1" else "node-1"
        world.network.cut(source, target, both_ways=False)
        with pytest.raises(Unreachable, match="no answer"):
            await world.connect()
        world.loop.call_later(2, world.network.heal)
        await world.connect()

    run(main)


def test_cancelled_connect_leaves_nothing() -> None:
    """Goal: cancellation closes what was opened. Method: cancel while the answer is under way."""
    link = LinkOptions(delay_seconds_min=0.1, delay_seconds_mean=0)

    async def main(world: World) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.connect(), 0.15)
        await asyncio.sleep(1)
        assert world.network.connection_count == 0
        assert [log.lost for log in world.accepted] == [["closed by peer"]]

    run(main, options=NetworkOptions(link=link))


def test_paused_host_accepts_later() -> None:
    """Goal: a stopped process's kernel accepts and keeps frames; the process sees them later."""

    async def main(world: World) -> None:
        world.loop.pause(world.two)
        connection, _ = await world.connect()
        connection.send(b"patience")
        await asyncio.sleep(5)
        assert world.accepted == []
        assert connection.backlog_bytes == len(b"patience")
        world.loop.resume(world.two)
        await asyncio.sleep(1)
        assert world.accepted[0].frames == [b"patience"]
        assert connection.backlog_bytes == 0

    run(main)


# ---------------------------------------------------------------- faults


def is_prefix(received: list[bytes], sent: list[bytes]) -> bool:
    return received == sent[: len(received)]


@pytest.mark.parametrize("seed", SEEDS)
def test_kill_is_noticed(seed: int) -> None:
    """Goal: a killed process's kernel hangs up; of the frames in flight a prefix arrives."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        for frame in frames_of(30):
            connection.send(frame)
            await asyncio.sleep(0.0001)
        world.loop.kill(world.one)
        await asyncio.sleep(2)
        assert is_prefix(world.accepted[0].frames, frames_of(30))
        assert world.accepted[0].lost == ["connection reset by peer"]
        assert log.lost == []
        assert world.network.connection_count == 0

    run(main, seed)


def test_power_loss_is_silent() -> None:
    """Goal: half-open: sends vanish, and only the keep-alive ends it."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        world.loop.kill(world.two, Death.POWER_LOST)
        connection.send(b"into the void")
        await asyncio.sleep(14)
        assert log.lost == []
        await asyncio.sleep(2)
        assert log.lost == ["no answer to keep-alive probes"]

    run(main)


def test_restarted_host_answers_with_reset() -> None:
    """Goal: frames for a former incarnation never reach the next one; its kernel resets."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        world.loop.kill(world.two, Death.POWER_LOST)
        await asyncio.sleep(1)
        world.boot("node-2")
        connection.send(b"for the former one")
        await asyncio.sleep(1)
        assert log.lost == ["connection reset by peer"]
        assert [entry.frames for entry in world.accepted] == [[]]
        again, _ = await world.connect()
        again.send(b"for the new one")
        await asyncio.sleep(1)
        assert world.accepted[1].frames == [b"for the new one"]

    run(main)


def test_short_partition_only_delays() -> None:
    """Goal: TCP survives a cut shorter than the keep-alive. Method: send into it, heal, look."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        world.network.partition([["node-1"], ["node-2", "node-3"]])
        for frame in frames_of(5):
            connection.send(frame)
            await asyncio.sleep(1)
        assert world.accepted[0].frames == []
        world.network.heal()
        await asyncio.sleep(30)
        assert world.accepted[0].frames == frames_of(5)
        assert log.lost == []

    run(main)


def test_long_partition_breaks_both_sides() -> None:
    """Goal: a lasting cut ends the connection on both sides, even an idle one."""

    async def main(world: World) -> None:
        _, log = await world.connect()
        await asyncio.sleep(1)
        world.network.cut("node-1", "node-2")
        await asyncio.sleep(16)
        assert len(log.lost) == len(world.accepted[0].lost) == 1
        assert world.network.connection_count == 0

    run(main)


def test_one_way_cut() -> None:
    """Goal: one direction dies, the other goes on until the keep-alive ends both."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        await asyncio.sleep(1)
        world.network.cut("node-1", "node-2", both_ways=False)
        connection.send(b"lost")
        world.accepted[0].connection.send(b"found")  # type: ignore[union-attr]
        await asyncio.sleep(5)
        assert (world.accepted[0].frames, log.frames) == ([], [b"found"])
        await asyncio.sleep(11)
        assert len(log.lost) == len(world.accepted[0].lost) == 1

    run(main)


def test_one_swimlane_cut() -> None:
    """Goal: gossip is cut off, appends go on; mending restores it."""

    async def main(world: World) -> None:
        gossip, _ = await world.connect(Swimlane.GOSSIP)
        append, _ = await world.connect(Swimlane.APPEND)
        await asyncio.sleep(1)
        world.network.cut("node-1", "node-2", Swimlane.GOSSIP)
        gossip.send(b"rumour")
        append.send(b"record")
        await asyncio.sleep(1)
        assert sorted(log.frames for log in world.accepted) == [[], [b"record"]]
        world.network.mend("node-1", "node-2", Swimlane.GOSSIP)
        await asyncio.sleep(2)
        assert sorted(log.frames for log in world.accepted) == [[b"record"], [b"rumour"]]

    run(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_reset_loses_a_suffix(seed: int) -> None:
    """Goal: a reset tells both sides once; what arrives is a prefix."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        for frame in frames_of(30):
            connection.send(frame)
            await asyncio.sleep(0.0001)
        assert world.network.reset("node-1", "node-2") == 1
        await asyncio.sleep(5)
        assert is_prefix(world.accepted[0].frames, frames_of(30))
        assert log.lost == world.accepted[0].lost == ["connection reset by peer"]
        assert world.network.connection_count == 0

    run(main, seed)


def test_frames_overtake_across_connections() -> None:
    """Goal: a frame of a broken connection may arrive after one of its successor.

    Method: many seeds; send, reset, reconnect as soon as the client knows, compare the order.
    """
    orders: set[tuple[bytes, ...]] = set()

    async def main(world: World) -> None:
        connection, log = await world.connect()
        connection.send(b"old")
        await asyncio.sleep(0.01)
        world.network.reset("node-1", "node-2")
        while not log.lost:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        connection, log = await world.connect()
        connection.send(b"new")
        await asyncio.sleep(5)
        orders.add(tuple(world.arrivals))

    link = LinkOptions(delay_seconds_min=0.05, delay_seconds_mean=0.3, delay_seconds_max=3)
    for seed in range(100):
        run(main, seed, NetworkOptions(link=link))
    assert orders == {(b"new",), (b"old", b"new"), (b"new", b"old")}


def test_random_resets() -> None:
    """Goal: a link with reset probability 1 breaks at the first frame."""

    async def main(world: World) -> None:
        connection, log = await world.connect()
        world.network.shape("node-1", "node-2", LinkOptions(reset_probability=1))
        connection.send(b"x")
        await asyncio.sleep(5)
        assert len(log.lost) == len(world.accepted[0].lost) == 1

    run(main)


def test_dead_sender_sends_nothing_of_its_last_turn() -> None:
    """Goal: frames still in the process die with it. Method: send and be killed in one turn."""

    async def main(world: World) -> None:
        connection, _ = await world.connect()
        connection.send(b"never")
        world.loop.kill(world.one)
        connection.send(b"never either")
        await asyncio.sleep(2)
        assert world.accepted[0].frames == []

    run(main)
