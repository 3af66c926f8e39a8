"""One simulated TCP connection: two sides, and a pipe in each direction.

    side A: send -> outbox -(end of turn)-> pipe: segments -(delay)-> inbox -> receiver, side B

Everything left of the arrow into the pipe lives in the sending process and dies with it; the pipe
is the kernel and the wire; the inbox is the receiving kernel, and its frames are handed over only
while that process runs. Timers of pipes therefore belong to the world, and only the last step
runs in the context of the receiving incarnation: paused, it is held; dead, it is dropped.

What TCP promises is kept: frames arrive whole, in order, once, or not at all, and nothing is lost
out of the middle of a connection. When it breaks, a prefix of what was in flight arrives. The end
of a connection (`End`) travels in the pipe like data, so each side learns of it at its own time,
or never, until a keep-alive timer notices.

Invariants: `connection_lost` is called once, after it no frame is delivered; a side of a dead
incarnation neither sends nor receives. `SimNetwork` creates connections and decides about faults.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from restate_node.runtime.ports import FrameLimits, FrameReceiver, Swimlane
from restate_node.sim.hosts import Incarnation

if TYPE_CHECKING:
    from restate_node.sim.network import SimNetwork


@dataclass(frozen=True, slots=True)
class Data:
    """Frames that left in one write."""

    frames: tuple[bytes, ...]
    size: int


@dataclass(frozen=True, slots=True)
class End:
    """Nothing follows; `reason` is what the side that receives it is told."""

    reason: str


Segment: TypeAlias = Data | End


class SideState(Enum):
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who a side belongs to."""

    incarnation: Incarnation
    address: str
    limits: FrameLimits

    @property
    def host(self) -> str:
        return self.incarnation.host


class SimConnection:
    """One side of a connection; the FrameConnection port."""

    def __init__(self, network: SimNetwork, me: Endpoint, peer: Endpoint, lane: Swimlane) -> None:
        self.network = network
        self.me = me
        self.lane = lane
        self.state = SideState.OPEN
        self.receiver: FrameReceiver | None = None
        self.twin: SimConnection = self
        self.pipe = Pipe(self)
        self._peer = peer.address
        self._backlog_bytes = 0
        self._outbox: list[bytes] = []
        self._inbox: deque[Segment] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._first_frame_seen = False

    def __repr__(self) -> str:
        return f"{self.me.incarnation}->{self.twin.me.incarnation}/{self.lane.name.lower()}"

    # ------------------------------------------------------------ the port

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def backlog_bytes(self) -> int:
        return self._backlog_bytes

    @property
    def usable(self) -> bool:
        """Whether the process that owns this side may still do anything with it."""
        return self.state is SideState.OPEN and self.me.incarnation.alive

    def send(self, frame: bytes) -> None:
        if len(frame) > self.me.limits.frame_bytes_max:
            raise ValueError(f"frame of {len(frame)} bytes is above the limit: split it")
        if not self.usable:
            return
        self._backlog_bytes += len(frame)
        self._outbox.append(bytes(frame))
        if len(self._outbox) == 1:
            self.network.soon(self._flush)

    async def drained(self) -> None:
        while self.usable and self._backlog_bytes > self.network.options.backlog_bytes_low:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            # Cancellation only cancels the waiter, which `_wake` skips.
            await waiter

    def close(self, reason: str) -> None:
        if not self.usable:
            return
        self._flush()
        self.pipe.add(End("closed by peer"))
        self.lose(reason)

    # ------------------------------------------------------------ sending

    def _flush(self) -> None:
        """Give what was sent in this turn to the kernel, unless the process died before."""
        frames, self._outbox = tuple(self._outbox), []
        if frames and self.usable:
            self.pipe.add(Data(frames, sum(map(len, frames))))

    def taken(self, size: int) -> None:
        """The peer's process took `size` bytes."""
        if self.state is SideState.CLOSED:
            return
        self._backlog_bytes -= size
        assert self._backlog_bytes >= 0
        if self._backlog_bytes <= self.network.options.backlog_bytes_low:
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ------------------------------------------------------------ receiving

    def arrive(self, segment: Segment) -> None:
        """A segment reached this host; its process takes it when it runs."""
        self._inbox.append(segment)
        self.hand_over_soon()

    def hand_over_soon(self) -> None:
        self.network.soon(self._hand_over, self.me.incarnation)

    def _hand_over(self) -> None:
        """Runs as part of the receiving process: all that has arrived, in one call."""
        if self.receiver is None:
            return
        frames: list[bytes] = []
        while self._inbox and self.state is SideState.OPEN:
            segment = self._inbox.popleft()
            if isinstance(segment, End):
                self._deliver(frames)
                self.lose(segment.reason)
                return
            frames.extend(segment.frames)
        self._deliver(frames)

    def _deliver(self, frames: list[bytes]) -> None:
        if not frames or self.receiver is None:
            return
        refused = self._refusal(frames)
        accepted = frames[:refused]
        if accepted:
            self.twin.taken(sum(map(len, accepted)))
            self.receiver.frames_received(accepted)
        if refused is not None:
            size = len(frames[refused])
            self.close(f"frame of {size} bytes from {self._peer} is above the limit")

    def _refusal(self, frames: list[bytes]) -> int | None:
        """Index of the first frame that is too large."""
        for index, frame in enumerate(frames):
            limits = self.me.limits
            first = not self._first_frame_seen
            limit = limits.first_frame_bytes_max if first else limits.frame_bytes_max
            if len(frame) > limit:
                return index
            self._first_frame_seen = True
        return None

    def lose(self, reason: str) -> None:
        """This side is over; tell its receiver in a turn of its own. Idempotent."""
        if self.state is SideState.CLOSED:
            return
        self.state = SideState.CLOSED
        self._inbox.clear()
        self._outbox.clear()
        self._backlog_bytes = 0
        self._wake()
        self.network.lost(self, reason)
        if self.receiver is not None:
            self.network.soon(self._tell, self.me.incarnation, reason)

    def _tell(self, reason: str) -> None:
        assert self.receiver is not None
        self.receiver.connection_lost(reason)


class Pipe:
    """Segments in flight from one side to its twin.

    One timer per segment; whichever fires takes the oldest, so order does not depend on timers.
    """

    def __init__(self, source: SimConnection) -> None:
        self._source = source
        self._segments: deque[Segment] = deque()
        self._free_at = 0.0
        self._arrival_last = 0.0

    @property
    def is_empty(self) -> bool:
        return not self._segments

    def add(self, segment: Segment, extra_seconds: float = 0.0) -> None:
        """Send a segment on its way, behind all that are on it."""
        network, source = self._source.network, self._source
        link = network.links.link(source.me.host, source.twin.me.host)
        size = segment.size if isinstance(segment, Data) else 0
        self._free_at = max(self._free_at, network.now()) + size / link.bytes_per_second
        arrival = self._free_at + link.delay(network.randomness) + extra_seconds
        if network.chance(link.loss_probability):
            arrival += network.retransmit_seconds()
        self._arrival_last = max(self._arrival_last, arrival)
        self._segments.append(segment)
        network.at(self._arrival_last, self._arrive)
        if size and network.chance(link.reset_probability):
            network.break_connection(source, "connection reset by peer")

    def truncate(self) -> None:
        """The connection broke: of what is in flight only a prefix will arrive."""
        kept = self._source.network.randomness.randint(0, len(self._segments))
        while len(self._segments) > kept:
            self._segments.pop()

    def _arrive(self) -> None:
        if not self._segments:
            return
        source, network = self._source, self._source.network
        target = source.twin
        if source.state is target.state is SideState.CLOSED:
            self._segments.clear()
        elif network.is_cut(source):
            network.at(network.now() + network.retransmit_seconds(), self._arrive)
        elif not target.me.incarnation.alive:
            self._segments.popleft()
            network.arrived_at_the_dead(source)
        else:
            self._take(network, target)

    def _take(self, network: SimNetwork, target: SimConnection) -> None:
        segment = self._segments.popleft()
        if target.state is SideState.OPEN:
            network.arrived(self._source, segment)
            target.arrive(segment)
