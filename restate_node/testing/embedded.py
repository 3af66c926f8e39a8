"""A cluster in the process of a test: started, given applications, broken, and asked.

    async with cluster(app, nodes=3) as restate:          on the loop of the simulator: virtual time
        await restate.call("Greeter/greet", "Ada")        on any other: real time, real ports
        restate.kill(restate.leader("Counter/ann"))

The loop that runs the test decides. On the simulator's (`run`, or the fixture) there are no
sockets, time is virtual, a seed decides the order of everything, and nodes can be killed. On an
ordinary one, time is real, ingress and admin API have ports on the loopback address, services may
be elsewhere, and nodes can only be stopped in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from restate_node.node.node import Node
from restate_node.roles.admin.discovery import DeploymentAddress, DiscoveryFailed
from restate_node.roles.admin.registry import Registration, RegistryRefused, SchemaRegistry
from restate_node.sim.hosts import Incarnation
from restate_node.sim.loop import SimLoop
from restate_node.sim.network import SimNetwork
from restate_node.sim.services import SimServices
from restate_node.testing.applications import Application
from restate_node.testing.asgi import AsgiApplication
from restate_node.testing.client import Client, InvocationStatus
from restate_node.testing.errors import NotPossible, NotRegistered, StartFailed, Stuck
from restate_node.testing.machines import Machines
from restate_node.testing.virtual_time import VirtualTime
from restate_node.types.options import NodeOptions
from restate_node.types.partition_keys import partition_key_of_key

NODES_POSSIBLE: Final = (1, 3, 5)
PARTITIONS_MAX: Final = 64
LOOK_S: Final = 0.02
START_S_MAX: Final = 60.0
SETTLE_S_MAX: Final = 120.0
LOG_LINES_MAX: Final = 1000
KNOWN_LOOKS_MAX: Final = 100
FAILURE_CHARACTERS_MAX: Final = 300
SHOWN_MAX: Final = 10
"""Invocations in the text of `Stuck`."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What a test may choose."""

    nodes: int = 1
    """1, 3 or 5. With more than one, records are on two."""
    partitions: int = 2
    options: NodeOptions = field(default_factory=NodeOptions)
    """Of each node; what makes it part of this cluster is set here."""

    def __post_init__(self) -> None:
        if self.nodes not in NODES_POSSIBLE:
            raise NotPossible(f"nodes={self.nodes}: use one of {NODES_POSSIBLE}")
        if not 1 <= self.partitions <= PARTITIONS_MAX:
            raise NotPossible(f"partitions={self.partitions}: use 1 to {PARTITIONS_MAX}")


@dataclass(frozen=True, slots=True)
class Edges:
    """Addresses of a node's ports, in real time."""

    ingress: str
    admin: str


@dataclass(slots=True)
class Parts:
    """What a cluster is made of."""

    options: ClusterOptions
    machines: Machines
    network: SimNetwork
    services: SimServices
    users: list[Incarnation]
    """Lives of the test and of its applications."""
    edges: Edges | None = None
    log: deque[str] = field(default_factory=lambda: deque[str](maxlen=LOG_LINES_MAX))
    applications: list[Application] = field(default_factory=list[Application])


class Cluster(Client):
    """What a test holds in its hands."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.machines)
        self._parts = parts
        self._time: VirtualTime | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._stuck: str | None = None

    # ------------------------------------------------------------ what there is

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes, running or not."""
        return tuple(self._machines.by_name)

    @property
    def running(self) -> tuple[str, ...]:
        """Names of those that take requests."""
        return tuple(machine.name for machine in self._machines.ready)

    @property
    def time(self) -> VirtualTime:
        """The clock. Raises NotPossible in real time."""
        if self._time is None:
            raise NotPossible("time is real here: use the fixture without time='real', or run()")
        return self._time

    @property
    def log(self) -> tuple[str, ...]:
        """What the nodes logged, the newest lines."""
        return tuple(self._parts.log)

    @property
    def history(self) -> str:
        """A hash of everything that has happened: the same for two runs of one seed."""
        loop = self._machines.processes
        if not isinstance(loop, SimLoop):
            raise NotPossible("in real time no two runs are the same")
        return loop.log.digest()

    @property
    def ingress_url(self) -> str:
        """The ingress port; in real time only."""
        return self._edges.ingress

    @property
    def admin_url(self) -> str:
        """The port of the admin API; in real time only."""
        return self._edges.admin

    # ------------------------------------------------------------ applications

    async def register(self, application: AsgiApplication) -> Application:
        """Register an application: `restate.app(…)` of the SDK for Python, or any ASGI application
        that is one of an SDK. Registered again, handlers get new revisions. Raises NotRegistered.
        """
        parts = self._parts
        number = len(parts.applications) + 1
        time = self._time
        placed = Application(
            f"app-{number}",
            application,
            parts.services,
            self._machines.processes,
            parts.users,
            None if time is None else time.unix_ms,
        )
        placed.start()
        parts.applications.append(placed)
        await self._register(placed.uri)
        return placed

    async def register_url(self, uri: str, *, use_http_11: bool = False) -> None:
        """Register services that listen at an address, or a function on AWS Lambda by its ARN; in
        real time only. Raises NotRegistered.
        """
        if self._time is not None:
            raise NotPossible("there are no sockets in virtual time: register an ASGI application")
        await self._register(uri, use_http_11=use_http_11)

    # ------------------------------------------------------------ faults

    def kill(self, node: str) -> None:
        """As kill -9: at once, nothing of it runs any more, what it had not synced is lost."""
        self._machines.kill(node)

    async def stop(self, node: str) -> None:
        """As SIGTERM: it hands over what it leads, and ends."""
        await self._machines.stop(node)

    async def start(self, node: str) -> None:
        """Start a node that is down, and wait until it is ready."""
        self._machines.start(node)
        machine = self._machines.find(node)
        await self._until(lambda: machine.is_ready, f"{node} is ready", START_S_MAX)

    def partition(self, *groups: Sequence[str]) -> None:
        """Cut the network: only nodes of one group reach each other."""
        self._machines.partition(groups)

    def heal(self) -> None:
        """Mend the network."""
        self._machines.heal()

    def leader(self, key: str) -> str:
        """The node that leads the partition of a key of virtual objects or workflows."""
        alive = self._machines.ready
        if not alive or alive[0].node is None:
            raise NotPossible("no node is up")
        table = alive[0].node.cache.partition_table.value
        partition = table.partition_of(partition_key_of_key(key))
        leader = None if partition is None else self._machines.leader_of(partition.id)
        if leader is None:
            raise NotPossible("nobody leads that partition now: await settled() first")
        return leader

    async def settled(self) -> None:
        """Wait until every node that runs is ready and every partition has a leader."""
        await self._until(
            lambda: self._machines.is_settled, "every partition has a leader", SETTLE_S_MAX
        )

    # ------------------------------------------------------------ for those who start it

    @property
    def activity(self) -> object:
        """Changes as long as something happens without time passing."""
        traffic = tuple(application.traffic for application in self._parts.applications)
        return self._machines.progress, traffic, self.asked

    async def start_all(self) -> None:
        """Every node, and wait until each is ready."""
        for name in self.nodes:
            self._machines.start(name)
        await self._until(
            lambda: len(self._machines.ready) == len(self.nodes), "all nodes are up", START_S_MAX
        )

    def begin(self, time: VirtualTime | None, edges: Edges | None) -> None:
        """The cluster is up."""
        self._time, self._parts.edges = time, edges

    @contextmanager
    def waited_for(self) -> Generator[None]:
        """The task in this block gets Stuck if it waits for what will never happen."""
        former, task = self._waiting, asyncio.current_task()
        self._waiting = task
        try:
            yield
        except asyncio.CancelledError:
            reason, self._stuck = self._stuck, None
            if reason is None or task is None:
                raise
            task.uncancel()
            raise Stuck(reason) from None
        finally:
            self._waiting = former

    async def explain_stuck(self) -> None:
        """Tell the test that waits, and why."""
        if self._waiting is None:
            return
        open_ones = [each for each in await self.invocations() if each.status != "completed"]
        told = [_describe(each) for each in open_ones[:SHOWN_MAX]]
        waiting = "; ".join(told) or "none"
        self._stuck = (
            "nothing happens any more and nothing is due, but the test still waits; "
            f"invocations that have not ended: {waiting}"
        )
        self._waiting.cancel()

    # ------------------------------------------------------------ inside

    @property
    def _edges(self) -> Edges:
        if self._parts.edges is None:
            raise NotPossible("there are no ports in virtual time: use time='real'")
        return self._parts.edges

    async def _register(self, uri: str, *, use_http_11: bool = False) -> None:
        wanted = Registration(address=DeploymentAddress(uri, use_http_11, {}), force=True)
        try:
            registered = await self._ask(lambda node: _registry(node).register(wanted))
        except (DiscoveryFailed, RegistryRefused) as error:
            raise NotRegistered(str(error)) from None
        await self._everybody_knows(registered.schema.version)

    async def _everybody_knows(self, version: int) -> None:
        """Every node that is not cut off learns of new services in no time."""
        for _ in range(KNOWN_LOOKS_MAX):
            nodes = (machine.node for machine in self._machines.ready)
            if all(
                node is not None and node.cache.schema.value.version >= version for node in nodes
            ):
                return
            await asyncio.sleep(LOOK_S)

    async def _until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for it. Raises StartFailed."""
        looks = 0
        while not condition():
            self._machines.check()
            looks += 1
            if looks * LOOK_S > seconds:
                raise StartFailed(f"not within {seconds:.0f} s: {what}; see `log` for the reason")
            await asyncio.sleep(LOOK_S)


def _registry(node: Node) -> SchemaRegistry:
    services = node.ports.services
    assert services is not None, "every node under test can call services"
    return SchemaRegistry(node.cache, node.client, services, node.ports.clock, node.ports.stream())


def _describe(open_one: InvocationStatus) -> str:
    """With its last failure, without the stack."""
    failure, _, _ = (open_one.last_failure or "no failure").partition("\n")
    return f"{open_one.target} {open_one.status} ({failure[:FAILURE_CHARACTERS_MAX]})"
