"""Builds a cluster on whatever loop runs, waits until it is up, and ends it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from contextlib import ExitStack, asynccontextmanager, contextmanager
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from restate_node.runtime.ports import Clock
from restate_node.runtime.services import ServiceTransport
from restate_node.sim.hosts import Incarnation, SimClock, current_incarnation
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.network import SimNetwork
from restate_node.sim.node_logs import NodeLogs
from restate_node.sim.services import SimServices
from restate_node.sim.streams import Streams
from restate_node.sim.substitution import substituted
from restate_node.testing import sdk_clock
from restate_node.testing.asgi import AsgiApplication
from restate_node.testing.embedded import Cluster, ClusterOptions, Parts
from restate_node.testing.machines import (
    Machines,
    OrdinaryProcesses,
    Processes,
    Surroundings,
    node_options,
)
from restate_node.testing.virtual_time import VirtualTime
from restate_node.testing.waits import Waits
from restate_node.types.options import NodeOptions

T = TypeVar("T")

TEST: Final = "test"
"""The life of the test itself."""
START_UNIX_MS: Final = 1_767_225_600_000
"""Virtual time begins with the year 2026."""


@dataclass(frozen=True, slots=True)
class VirtualSurroundings:
    """What nodes are given in virtual time: nothing that leaves the process."""

    time: SimClock
    in_memory: SimServices

    def clock(self, host: str) -> Clock:
        """All machines have the right time."""
        del host
        return self.time

    def services(self, incarnation: Incarnation) -> ServiceTransport:
        return self.in_memory.mount(incarnation)


@asynccontextmanager
async def cluster(
    *applications: AsgiApplication,
    nodes: int = 1,
    partitions: int = 2,
    options: NodeOptions | None = None,
    seed: int = 0,
) -> AsyncGenerator[Cluster]:
    """A cluster with these applications registered, up and settled; gone after the block.

    On the loop of `run` time is virtual and the seed is that of the run; on others it is real, and
    `seed` only draws what nodes draw.
    """
    chosen = ClusterOptions(nodes, partitions, options or NodeOptions())
    async with started(applications, chosen, seed) as restate:
        with restate.waited_for():
            yield restate


@asynccontextmanager
async def started(
    applications: Iterable[AsgiApplication], options: ClusterOptions, seed: int
) -> AsyncGenerator[Cluster]:
    """As `cluster`, for whoever runs the test in another task: that one is to be `waited_for`."""
    loop = asyncio.get_running_loop()
    starting = _virtual(loop, options) if isinstance(loop, SimLoop) else _real(options, seed)
    async with starting as restate:
        for application in applications:
            await restate.register(application)
        yield restate


def run(test: Callable[[], Coroutine[Any, Any, T]], *, seed: int = 0) -> T:
    """Run a coroutine function in virtual time, as `asyncio.run` would in real time. What it awaits
    must not need sockets, threads or signals: there are none. Same seed, same run.
    """

    async def main(loop: SimLoop) -> T:
        # A life of its own: what it sleeps may be leapt over.
        return await loop.spawn(loop.boot(TEST), test(), TEST)

    return simulate(seed, main).value


@asynccontextmanager
async def _virtual(loop: SimLoop, options: ClusterOptions) -> AsyncGenerator[Cluster]:
    streams = loop.streams
    clock = SimClock(loop, 0, START_UNIX_MS)
    services = SimServices(loop, streams.stream("services"), tracer=loop.trace)
    network = SimNetwork(loop, streams.stream("network"), tracer=loop.trace)
    waits = Waits()
    test = current_incarnation.get()
    parts = _parts(options, loop, VirtualSurroundings(clock, services), network, services, streams)
    if test is not None:
        parts.users.append(test)
    restate = Cluster(parts)
    time = VirtualTime(
        loop,
        clock,
        waits,
        parts.users,
        lambda: parts.machines.is_at_rest,
        lambda: restate.activity,
    )
    restate.begin(time, None)
    told = [*waits.substitutions(), *sdk_clock.substitutions(time.unix_ms)]
    with substituted(told), _logs(parts):
        await _start(restate)
        explaining: list[asyncio.Task[None]] = []

        def stuck() -> None:
            task = loop.create_task(restate.explain_stuck(), context=Context())
            explaining.append(task)

        moving = loop.create_task(time.run(stuck), context=Context())
        try:
            yield restate
        finally:
            moving.cancel()
            _end(loop, parts)


def _end(loop: SimLoop, parts: Parts) -> None:
    """Nodes of a test that is over are not worth an orderly stop."""
    for application in parts.applications:
        if application.is_up:
            application.crash()
    for machine in parts.machines.by_name.values():
        if machine.incarnation is not None:
            loop.kill(machine.incarnation)


@asynccontextmanager
async def _real(options: ClusterOptions, seed: int) -> AsyncGenerator[Cluster]:
    from restate_node.testing.real_parts import RealSurroundings, open_edges

    loop = asyncio.get_running_loop()
    streams = Streams(seed)
    services = SimServices(loop, streams.stream("services"))
    network = SimNetwork(loop, streams.stream("network"))
    surroundings = RealSurroundings(services, options.options)
    parts = _parts(options, OrdinaryProcesses(), surroundings, network, services, streams)
    restate = Cluster(parts)
    with tempfile.TemporaryDirectory(prefix="restate-") as directory, _logs(parts):
        await _start(restate)
        node = parts.machines.ready[0].node
        assert node is not None, "a machine that is ready has a node"
        restate.begin(None, await open_edges(node, Path(directory)))
        try:
            yield restate
        finally:
            for application in parts.applications:
                if application.is_up:
                    application.crash()
            await asyncio.gather(*map(restate.stop, restate.running))


def _parts(
    options: ClusterOptions,
    processes: Processes,
    surroundings: Surroundings,
    network: SimNetwork,
    services: SimServices,
    streams: Streams,
) -> Parts:
    configured = node_options(options.nodes, options.partitions, options.options)
    machines = Machines(processes, surroundings, network, streams, configured)
    return Parts(options, machines, network, services, users=list[Incarnation]())


async def _start(restate: Cluster) -> None:
    await restate.start_all()
    await restate.settled()


@contextmanager
def _logs(parts: Parts) -> Generator[None]:
    """What nodes log is kept, and shown when a test fails; nothing is printed."""
    logs = NodeLogs()
    with ExitStack() as stack:
        stack.enter_context(logs.captured())
        logs.listener = lambda who, level, text: parts.log.append(f"{who} {level} {text}")
        yield
        logs.listener = None
