"""A handful of failure detectors on a virtual clock, with a network that loses, delays and splits.

Time moves in steps of 5 ms. Every node ticks on its own phase of the 100 ms; what it sends arrives
after the latency of the link, or never. A paused node neither ticks nor reads: its mail waits, as
it would in a socket, and is read in one go after it resumes, behind a tick that comes late.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from restate_node.protocol.gossip import FailureDetector
from restate_node.protocol.gossip_effects import Ask, Effect, Send
from restate_node.types.gossip import Gossip, NodeState, Phase
from restate_node.types.ids import GenerationalNodeId, PlainNodeId
from restate_node.types.options import GossipOptions

STEP_MS = 5
START_UNIX_MS = 1_700_000_000_000


def life(node: int, generation: int = 1) -> GenerationalNodeId:
    return GenerationalNodeId(PlainNodeId(node), generation)


@dataclass
class Process:
    """One running life of a node."""

    detector: FailureDetector
    next_tick_ms: int
    paused: bool = False
    clock_error_ms: int = 0
    mail: list[tuple[int, Gossip, bool]] = field(default_factory=list)


class Cluster:
    """Nodes 1..count, all members; `lose(source, target)` decides about each message."""

    def __init__(self, count: int, seed: int, options: GossipOptions | None = None) -> None:
        self.rng = random.Random(seed)
        self.options = options or GossipOptions()
        self.now_ms = 0
        self.latency_ms = lambda source, target: 5
        self.lose: Callable[[int, int], bool] = lambda source, target: False
        self.cannot_connect: set[tuple[int, int]] = set()
        """Links that send nothing of their own, yet carry answers to what the other side asks."""
        self.processes: dict[int, Process] = {}
        self.generations = dict.fromkeys(range(1, count + 1), 1)
        self._wire: list[tuple[int, int, int, int, Gossip, bool]] = []
        self.messages_sent = 0
        for node in self.generations:
            self.start(node)

    def start(self, node: int, *, ready: bool = True) -> None:
        """A first or a new life; everybody knows its generation at once."""
        me = life(node, self.generations[node])
        detector = FailureDetector(
            me, self.unix_ms(), self.options, random.Random(self.rng.random()), self.now_s()
        )
        interval = self.options.tick_interval_ms
        first_tick = self.now_ms + self.rng.randrange(0, interval, STEP_MS)
        self.processes[node] = Process(detector, first_tick)
        self.publish_members()
        if ready:
            self.act(node, detector.enter(Phase.READY, self.now_s(), self.unix_ms()))

    def kill(self, node: int) -> None:
        del self.processes[node]

    def restart(self, node: int) -> None:
        self.generations[node] += 1
        self.start(node)

    def publish_members(self) -> None:
        members = [life(node, generation) for node, generation in self.generations.items()]
        for node, process in self.processes.items():
            effects = process.detector.members_changed(members, self.now_s(), self.unix_ms())
            self.act(node, effects)

    def now_s(self) -> float:
        return 1000.0 + self.now_ms / 1000

    def unix_ms(self, node: int = 0) -> int:
        process = self.processes.get(node)
        return START_UNIX_MS + self.now_ms + (process.clock_error_ms if process else 0)

    def act(self, node: int, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send | Ask):
                for target in effect.peers:
                    if (node, target) in self.cannot_connect:
                        continue
                    self._send(node, target, effect.gossip, asks=isinstance(effect, Ask))

    def run(self, duration_ms: int, check: Callable[[], None] | None = None) -> None:
        """Let time pass; `check` is called after every step."""
        end = self.now_ms + duration_ms
        while self.now_ms < end:
            self.now_ms += STEP_MS
            self._deliver()
            for node, process in list(self.processes.items()):
                if not process.paused:
                    self._live(node, process)
            if check is not None:
                check()

    def run_until(self, condition: Callable[[], bool], limit_ms: int) -> int:
        """How long it took; fails if it never happened."""
        start = self.now_ms
        while not condition():
            assert self.now_ms - start < limit_ms, f"not within {limit_ms} ms: {self.view()}"
            self.run(STEP_MS)
        return self.now_ms - start

    def state(self, observer: int, node: int) -> NodeState:
        return self.processes[observer].detector.states()[PlainNodeId(node)]

    def view(self) -> dict[int, dict[int, str]]:
        """Everybody's opinion of everybody."""
        return {
            observer: {node: state.value for node, state in process.detector.states().items()}
            for observer, process in self.processes.items()
        }

    def all_think(self, node: int, state: NodeState) -> bool:
        """Everybody else has that opinion of the node."""
        return all(self.state(o, node) is state for o in self.processes if o != node)

    def all_alive(self) -> bool:
        return all(self.all_think(node, NodeState.ALIVE) for node in self.processes)

    def _send(self, source: int, target: int, gossip: Gossip, *, asks: bool) -> None:
        if self.lose(source, target):
            return
        arrival = self.now_ms + self.latency_ms(source, target)
        self.messages_sent += 1
        heapq.heappush(self._wire, (arrival, self.messages_sent, source, target, gossip, asks))

    def _deliver(self) -> None:
        while self._wire and self._wire[0][0] <= self.now_ms:
            _, _, source, target, gossip, asks = heapq.heappop(self._wire)
            if target in self.processes:
                self.processes[target].mail.append((source, gossip, asks))

    def _live(self, node: int, process: Process) -> None:
        now, unix_ms = self.now_s(), self.unix_ms(node)
        if process.next_tick_ms <= self.now_ms:
            process.next_tick_ms = self.now_ms + self.options.tick_interval_ms
            self.act(node, process.detector.tick(now, unix_ms))
        mail, process.mail = process.mail, []
        for source, gossip, asks in mail:
            self.act(node, process.detector.received(gossip, now, unix_ms))
            if asks:
                self._send(node, source, process.detector.answer(now, unix_ms), asks=False)
