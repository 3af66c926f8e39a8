"""A network in memory: the Transport port for every host, and the faults a nemesis may use.

The same frame bytes travel as on a real network, over connections that keep TCP's promises
(`connection`) and along links with rules (`links`). Legal faults, and why:

    delay, bandwidth   any network
    loss               costs a retransmission; TCP loses no frame out of a living connection
    reset              a router, a full peer: a prefix of what was in flight arrives
    late frames        the other side learns later that the connection broke, so its last frames
                       arrive after newer ones on the next connection: reordering and, with a
                       sender that retries, duplication happen *across* connections, not within
    partition          both ways, one way, one swimlane; connects hang, connections break by
                       keep-alive
    half-open          power loss sends no FIN: sends vanish until a keep-alive timer, or until
                       the restarted host answers with a reset
    refused, silent    process down on a living machine: refused at once; machine down: a timeout

Not legal, hence impossible here: damaged frames (checksums), frames of a former incarnation
reaching a restarted host (a new process has new sockets), one frame twice on one connection.

Only time and callbacks are wanted of the loop, so the port contracts also run on an ordinary one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from enum import Enum

from restate_node.runtime.ports import (
    FrameAcceptor,
    FrameConnection,
    FrameLimits,
    FrameReceiver,
    Swimlane,
    Unreachable,
)
from restate_node.sim.connection import Data, End, Endpoint, Segment, SideState, SimConnection
from restate_node.sim.hosts import Death, Incarnation
from restate_node.sim.links import LinkOptions, Links, NetworkOptions, Path

Tracer = Callable[[str], None]


class Knock(Enum):
    """What a connection attempt meets."""

    SILENCE = "silence"
    REFUSED = "refused"
    LISTENING = "listening"


@dataclass(slots=True)
class Machine:
    """A host as the network sees it."""

    transport: SimTransport | None = None
    powered: bool = True


def authority(address: str) -> str:
    """`http://node-1:5122/` -> `node-1:5122`."""
    return address.split("://", 1)[-1].split("/", 1)[0]


class SimNetwork:
    """All hosts, all connections, all faults."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        randomness: random.Random,
        options: NetworkOptions | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.options = options or NetworkOptions()
        self.randomness = randomness
        self.links = Links(self.options.link)
        self._loop = loop
        self._tracer = tracer
        self._machines: dict[str, Machine] = {}
        self._connections: dict[SimConnection, None] = {}
        # Timers of the network belong to no process.
        self._world = Context()

    # ------------------------------------------------------------ hosts

    def transport(
        self, incarnation: Incarnation, address: str, limits: FrameLimits | None = None
    ) -> SimTransport:
        """The port for one incarnation; others reach it by `address` once it accepts."""
        machine = self._machines.setdefault(authority(address), Machine())
        former = machine.transport
        assert former is None or not former.me.incarnation.alive, f"{address} is in use"
        transport = SimTransport(self, Endpoint(incarnation, address, limits or FrameLimits()))
        machine.transport = transport
        machine.powered = True
        incarnation.at_death(lambda death: self._died(machine, incarnation, death))
        return transport

    def _died(self, machine: Machine, incarnation: Incarnation, death: Death) -> None:
        machine.powered = death is Death.KILLED
        for side in self._open_sides():
            if side.me.incarnation is incarnation:
                self._hang_up(side, death)

    def _hang_up(self, side: SimConnection, death: Death) -> None:
        """What the peer of a dead process notices."""
        side.pipe.truncate()
        match death:
            case Death.KILLED:
                side.pipe.add(End("connection reset by peer"))
            case Death.POWER_LOST:
                self._later(self.options.keepalive_seconds, lambda: side.twin.lose(KEEPALIVE))
        side.lose("its process died")

    # ------------------------------------------------------------ faults

    def cut(
        self, source: str, target: str, lane: Swimlane | None = None, *, both_ways: bool = True
    ) -> None:
        """Let nothing through; one direction with `both_ways=False`, one swimlane with `lane`."""
        self.links.cut(source, target, lane)
        if both_ways:
            self.links.cut(target, source, lane)
        self._cuts_changed(f"cut {source} {'<->' if both_ways else '->'} {target} {lane}")

    def mend(
        self, source: str, target: str, lane: Swimlane | None = None, *, both_ways: bool = True
    ) -> None:
        """Undo `cut` with the same arguments."""
        self.links.mend(source, target, lane)
        if both_ways:
            self.links.mend(target, source, lane)
        self.trace(f"mend {source} {'<->' if both_ways else '->'} {target} {lane}")

    def partition(self, groups: Sequence[Sequence[str]]) -> None:
        """Hosts of different groups do not reach each other; earlier cuts stay."""
        self.links.partition(groups)
        self._cuts_changed(f"partition {[list(group) for group in groups]}")

    def heal(self) -> None:
        """Undo all cuts and all special link qualities."""
        self.links.heal()
        self.trace("heal")

    def shape(
        self, source: str, target: str, options: LinkOptions | None, *, both_ways: bool = True
    ) -> None:
        """Give a link its own delay, bandwidth, loss; None returns it to the default."""
        self.links.shape(source, target, options)
        if both_ways:
            self.links.shape(target, source, options)
        self.trace(f"shape {source} {target} {options}")

    def reset(self, source: str, target: str, lane: Swimlane | None = None) -> int:
        """Break all connections between two hosts; returns how many."""
        hosts = {source, target}
        broken = 0
        for side in self._open_sides():
            ends = side.me.host, side.twin.me.host
            if set(ends) == hosts and lane in (None, side.lane) and ends[0] == source:
                self.break_connection(side, "connection reset by peer")
                broken += 1
        return broken

    def break_connection(self, side: SimConnection, reason: str) -> None:
        """Both sides will learn that it broke, each at its own time, after what still arrives."""
        for end in (side, side.twin):
            end.pipe.truncate()
            extra = self.randomness.uniform(0, self.options.late_seconds_max)
            end.pipe.add(End(reason), extra)

    def _cuts_changed(self, what: str) -> None:
        self.trace(what)
        cuts = self.links.cuts()
        self._later(self.options.keepalive_seconds, lambda: self._expire(cuts))

    def _expire(self, cuts: dict[Path, int]) -> None:
        """Break what was cut off all the time since a keep-alive interval ago."""
        now = self.links.cuts()
        lasting = {path for path, number in cuts.items() if now.get(path) == number}
        for side in self._open_sides():
            source, target = side.me.host, side.twin.me.host
            paths = {(source, target, None), (source, target, side.lane)}
            if paths & lasting:
                side.lose(KEEPALIVE)
                side.twin.lose(KEEPALIVE)

    # ------------------------------------------------------------ connecting

    def knock(self, source: str, address: str, lane: Swimlane) -> Knock:
        """What an attempt from `source` meets at this moment."""
        machine = self._machines.get(authority(address))
        if machine is None or machine.transport is None or not machine.powered:
            return Knock.SILENCE
        target = machine.transport.me.host
        if self.links.is_cut(source, target, lane) or self.links.is_cut(target, source, lane):
            return Knock.SILENCE
        listening = machine.transport.listening
        return Knock.LISTENING if listening else Knock.REFUSED

    def is_known(self, address: str) -> bool:
        return authority(address) in self._machines

    def open(self, client: Endpoint, address: str, lane: Swimlane) -> SimConnection:
        """Connect to a listening host: the kernel accepts now, its process when it runs."""
        listener = self._machines[authority(address)].transport
        assert listener is not None and listener.listening
        near = SimConnection(self, client, listener.me, lane)
        far = SimConnection(self, listener.me, client, lane)
        near.twin, far.twin = far, near
        self._connections[near] = None
        self._connections[far] = None
        self.trace(f"open {near!r}")
        self.soon(lambda: listener.accepted(far), listener.me.incarnation)
        return near

    def travel_seconds(self, source: str, address: str) -> float:
        """Delay of one small message."""
        machine = self._machines.get(authority(address))
        target = machine.transport.me.host if machine and machine.transport else address
        return self.links.link(source, target).delay(self.randomness)

    # ------------------------------------------------------------ for connections

    def now(self) -> float:
        return self._loop.time()

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Run a callback of the network itself."""
        self._loop.call_at(when, callback, context=self._world)

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.at(self.now() + seconds, callback)

    def soon(
        self,
        callback: Callable[..., None],
        incarnation: Incarnation | None = None,
        *arguments: str,
    ) -> None:
        """Run a callback in a turn of its own, as part of an incarnation or of the world."""
        context = self._world if incarnation is None else incarnation.context
        self._loop.call_soon(callback, *arguments, context=context)

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.randomness.random() < probability

    def retransmit_seconds(self) -> float:
        options = self.options
        return self.randomness.uniform(
            options.retransmit_seconds_min, options.retransmit_seconds_max
        )

    def is_cut(self, side: SimConnection) -> bool:
        return self.links.is_cut(side.me.host, side.twin.me.host, side.lane)

    def arrived(self, side: SimConnection, segment: Segment) -> None:
        if isinstance(segment, Data):
            self.trace(f"{side!r} {len(segment.frames)} frames {segment.size} bytes")

    def arrived_at_the_dead(self, side: SimConnection) -> None:
        """A living machine answers for its dead process; a dead one is silent."""
        machine = self._machines[authority(side.twin.me.address)]
        if machine.powered:
            self._later(
                self.travel_seconds(side.me.host, side.twin.me.address),
                lambda: side.lose("connection reset by peer"),
            )

    def lost(self, side: SimConnection, reason: str) -> None:
        self.trace(f"lost {side!r}: {reason}")
        if side.twin.state is SideState.CLOSED:
            self._connections.pop(side, None)
            self._connections.pop(side.twin, None)

    def trace(self, text: str) -> None:
        if self._tracer is not None:
            self._tracer(f"network {text}")

    @property
    def connection_count(self) -> int:
        """Connections of which at least one side is open."""
        return len(self._connections) // 2

    def _open_sides(self) -> list[SimConnection]:
        return [side for side in self._connections if side.state is SideState.OPEN]


KEEPALIVE = "no answer to keep-alive probes"


class SimTransport:
    """The Transport port of one incarnation."""

    def __init__(self, network: SimNetwork, me: Endpoint) -> None:
        self.me = me
        self._network = network
        self._acceptor: FrameAcceptor | None = None

    @property
    def listening(self) -> bool:
        return self._acceptor is not None and self.me.incarnation.alive

    def accept(self, acceptor: FrameAcceptor) -> None:
        self._acceptor = acceptor

    def accepted(self, side: SimConnection) -> None:
        """The process takes a connection its kernel accepted, unless that broke meanwhile."""
        assert self._acceptor is not None
        if side.state is SideState.OPEN:
            side.receiver = self._acceptor(side)
            side.hand_over_soon()

    async def connect(
        self, address: str, lane: Swimlane, receiver: FrameReceiver
    ) -> FrameConnection:
        if not self._network.is_known(address):
            raise Unreachable(f"{address}: no such host; check the advertised address")
        await self._handshake(address, lane)
        side = self._network.open(self.me, address, lane)
        try:
            await self._travel(address)
        except asyncio.CancelledError:
            # The receiver never heard of this connection, and will not hear of its end.
            side.close("cancelled while connecting")
            raise
        if side.state is SideState.CLOSED:
            raise Unreachable(f"{address}: connection broke while connecting; retry")
        side.receiver = receiver
        side.hand_over_soon()
        return side

    async def _handshake(self, address: str, lane: Swimlane) -> None:
        """Knock until somebody answers, or raise Unreachable. Cancellation-safe."""
        network = self._network
        deadline = network.now() + network.options.connect_seconds_max
        while True:
            await self._travel(address)
            match network.knock(self.me.host, address, lane):
                case Knock.LISTENING:
                    return
                case Knock.REFUSED:
                    await self._travel(address)
                    raise Unreachable(f"{address}: connection refused; retry when it listens")
                case Knock.SILENCE:
                    left = deadline - network.now()
                    await asyncio.sleep(min(left, network.retransmit_seconds()))
            if network.now() >= deadline:
                raise Unreachable(f"{address}: no answer; retry")

    async def _travel(self, address: str) -> None:
        await asyncio.sleep(self._network.travel_seconds(self.me.host, address))
