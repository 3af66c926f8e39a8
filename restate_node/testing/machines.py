"""The nodes of a cluster under test: real nodes, on machines that exist only in memory.

    SimNetwork, SimServices        one for all
    machine n1, n2, n3 ── disk, clock           outlive the node that runs there
         └ one life after the other ── Node     killed, stopped, started again

On a loop of the simulator a life can be killed as kill -9 does it: nothing of it runs any more, not
even `finally`, and what its disk had not synced is gone. An ordinary loop cannot do that to its
tasks; there a life can only be stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, Protocol

from restate_node.node.config_resolution import resolve
from restate_node.node.node import Node
from restate_node.node.ports import Ports
from restate_node.runtime.ports import Clock
from restate_node.runtime.services import ServiceTransport
from restate_node.sim.disk import SimMedium
from restate_node.sim.hosts import Death, Incarnation
from restate_node.sim.network import SimNetwork
from restate_node.sim.streams import Streams
from restate_node.testing.errors import NotPossible, StartFailed
from restate_node.types.ids import GenerationalNodeId, PartitionId
from restate_node.types.nodes import Role
from restate_node.types.options import NodeOptions
from restate_node.types.processor_messages import (
    ProcessorStatus,
    ReplayStatus,
    RunMode,
)
from restate_node.types.replication import ReplicationProperty

PORT: Final = 5122
NAMES: Final = ("n1", "n2", "n3", "n4", "n5")
CLUSTER_NAME: Final = "testing"


class Processes(Protocol):
    """Starts and ends lives; a `SimLoop` is one."""

    def boot(self, host: str) -> Incarnation: ...

    def spawn(
        self, incarnation: Incarnation, main: Coroutine[Any, Any, Any], name: str | None = None
    ) -> asyncio.Task[Any]: ...

    def kill(self, incarnation: Incarnation, death: Death = Death.KILLED) -> None: ...


class OrdinaryProcesses:
    """Lives on a loop that is not the simulator's: they end in order, or not at all."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def boot(self, host: str) -> Incarnation:
        self._numbers[host] = self._numbers.get(host, 0) + 1
        return Incarnation(host, self._numbers[host])

    def spawn(
        self, incarnation: Incarnation, main: Coroutine[Any, Any, Any], name: str | None = None
    ) -> asyncio.Task[Any]:
        loop = asyncio.get_running_loop()
        return loop.create_task(main, name=name, context=incarnation.context.copy())

    def kill(self, incarnation: Incarnation, death: Death = Death.KILLED) -> None:
        raise NotPossible(f"{incarnation} cannot be killed in real time: use virtual time, or stop")


class Surroundings(Protocol):
    """What a machine is given from outside."""

    def clock(self, host: str) -> Clock: ...

    def services(self, incarnation: Incarnation) -> ServiceTransport: ...


@dataclass(slots=True)
class Machine:
    """One machine and the life on it, if there is one."""

    name: str
    medium: SimMedium
    incarnation: Incarnation | None = None
    node: Node | None = None
    process: asyncio.Task[Any] | None = None
    failure: str | None = None
    """Why the node ended by itself."""

    @property
    def is_ready(self) -> bool:
        return self.is_alive and self.node is not None and self.node.ready.value

    @property
    def is_alive(self) -> bool:
        return self.incarnation is not None and self.incarnation.alive and self.process is not None


@dataclass(slots=True)
class Machines:
    """All of them."""

    processes: Processes
    surroundings: Surroundings
    network: SimNetwork
    streams: Streams
    options: Sequence[NodeOptions]
    by_name: dict[str, Machine] = field(init=False)
    _whole_at: float = 0.0
    """When all has arrived, by the clock of the network, that the last cut had held up."""

    def __post_init__(self) -> None:
        names = [str(options.node_name) for options in self.options]
        self.by_name = {
            name: Machine(name, SimMedium(name, self.streams.stream(f"disk/{name}")))
            for name in names
        }

    @property
    def ready(self) -> list[Machine]:
        """Those whose node takes requests."""
        return [machine for machine in self.by_name.values() if machine.is_ready]

    def find(self, name: str) -> Machine:
        """Raises NotPossible for a name that no node has."""
        machine = self.by_name.get(name)
        if machine is None:
            raise NotPossible(f"there is no node {name!r}: there are {', '.join(self.by_name)}")
        return machine

    # ------------------------------------------------------------ lives

    def start(self, name: str) -> None:
        """Start a node that is down; does not wait until it is ready."""
        machine = self.find(name)
        if machine.is_alive:
            raise NotPossible(f"{name} runs already: kill or stop it first")
        machine.failure = machine.node = None
        incarnation = machine.incarnation = self.processes.boot(name)
        life = self._live(machine, incarnation)
        machine.process = self.processes.spawn(incarnation, life, name)

    def kill(self, name: str) -> None:
        """As kill -9: at once, and nothing of it runs any more."""
        machine = self.find(name)
        if not machine.is_alive or machine.incarnation is None:
            raise NotPossible(f"{name} does not run")
        self.processes.kill(machine.incarnation)
        machine.node = machine.process = None

    async def stop(self, name: str) -> None:
        """As SIGTERM: it hands over, and ends."""
        machine = self.find(name)
        if not machine.is_alive or machine.node is None or machine.process is None:
            raise NotPossible(f"{name} does not run")
        machine.node.tasks.request_shutdown("the test stops it")
        await asyncio.wait([machine.process])
        if machine.incarnation is not None:
            machine.incarnation.die(Death.KILLED)
        machine.node = machine.process = None

    async def _live(self, machine: Machine, incarnation: Incarnation) -> None:
        """Runs as part of the incarnation."""
        options = next(each for each in self.options if each.node_name == machine.name)
        try:
            ports = self._ports(machine, incarnation, options)
            node = machine.node = Node(options, ports, machine.name)
            cause = await node.run()
            if cause.error is not None:
                machine.failure = f"{type(cause.error).__name__}: {cause.error}"
        except Exception as error:
            machine.failure = f"{type(error).__name__}: {error}"

    def _ports(self, machine: Machine, incarnation: Incarnation, options: NodeOptions) -> Ports:
        return Ports(
            clock=self.surroundings.clock(machine.name),
            transport=self.network.transport(incarnation, str(options.advertised_address)),
            disk=machine.medium.mount(incarnation),
            rng=Random(self.streams.stream(f"node/{incarnation}").getrandbits(64)),
            services=self.surroundings.services(incarnation),
        )

    # ------------------------------------------------------------ the network

    def partition(self, groups: Sequence[Sequence[str]]) -> None:
        """Cut it: only machines of one group reach each other."""
        self.network.partition([[self.find(name).name for name in group] for group in groups])

    def heal(self) -> None:
        """Mend it."""
        if self._is_cut:
            network = self.network
            self._whole_at = network.now() + network.options.retransmit_seconds_max
        self.network.heal()

    # ------------------------------------------------------------ how they are

    def check(self) -> None:
        """Raises StartFailed for a node that ended by itself."""
        for machine in self.by_name.values():
            if machine.failure is not None:
                raise StartFailed(f"{machine.name} ended by itself: {machine.failure}")

    def leader_of(self, partition: int) -> str | None:
        """The node that leads it now."""
        for machine in self.ready:
            for status in _statuses(machine.node):
                if status.partition == partition and status.effective_mode is RunMode.LEADER:
                    return machine.name
        return None

    @property
    def is_settled(self) -> bool:
        """Every node that runs is ready and has caught up, every partition has a leader, and all
        agree on who leads and who is alive. So nobody waits for an answer that was lost.
        """
        alive = [machine for machine in self.by_name.values() if machine.is_alive]
        if not alive or not all(machine.is_ready for machine in alive):
            return False
        nodes = [machine.node for machine in alive if machine.node is not None]
        statuses = [(node.cache.me, status) for node in nodes for status in _statuses(node)]
        if any(status.replay_status is not ReplayStatus.ACTIVE for _, status in statuses):
            return False
        led = {
            status.partition: me
            for me, status in statuses
            if status.effective_mode is RunMode.LEADER and me is not None
        }
        if len(led) != self.options[0].default_num_partitions:
            return False
        lives = frozenset(me for node in nodes if (me := node.cache.me) is not None)
        return all(_sees(node, lives, led) for node in nodes)

    @property
    def is_at_rest(self) -> bool:
        """Settled, and nothing is on its way that a pause or a cut holds up."""
        is_whole = not self._is_cut and self.network.now() >= self._whole_at
        return self.is_settled and is_whole and not self._is_asking

    @property
    def _is_cut(self) -> bool:
        """Whether nodes that run do not reach each other; they notice that only after a while."""
        alive = {machine.name for machine in self.by_name.values() if machine.is_alive}
        return any(alive.issuperset((source, to)) for source, to, _ in self.network.links.cuts())

    @property
    def _is_asking(self) -> bool:
        """Whether a call makes a pause until it asks the leader that there may be by now."""
        nodes = (machine.node for machine in self.ready)
        return any(node and node.calls and node.calls.pausing_count for node in nodes)

    @property
    def progress(self) -> tuple[tuple[str, int, int], ...]:
        """How far each replica has applied its log: changes as long as something happens."""
        return tuple(
            (machine.name, status.partition, status.applied_lsn or 0)
            for machine in self.ready
            for status in _statuses(machine.node)
        )


def _statuses(node: Node | None) -> list[ProcessorStatus]:
    return [] if node is None or node.worker is None else node.worker.statuses()


def _sees(
    node: Node, lives: frozenset[GenerationalNodeId], led: dict[PartitionId, GenerationalNodeId]
) -> bool:
    """Whether its view is the truth."""
    if node.membership is None or node.membership.alive.value != lives:
        return False
    leaders = node.membership.leaders.value
    return led == {number: leaders[number].node for number in led if number in leaders}


def address_of(name: str) -> str:
    """Where other nodes reach it."""
    return f"http://{name}:{PORT}/"


def node_options(nodes: int, partitions: int, changes: NodeOptions) -> list[NodeOptions]:
    """How each node is configured: as `changes` says, with all roles and a name of its own."""
    names = NAMES[:nodes]
    addresses = tuple(map(address_of, names))
    replication = ReplicationProperty.of_nodes(1 if nodes == 1 else 2)
    return [
        resolve(
            replace(
                changes,
                roles=tuple(Role),
                cluster_name=CLUSTER_NAME,
                node_name=name,
                auto_provision=name == names[0],
                advertised_address=address_of(name),
                default_num_partitions=partitions,
                default_replication=replication,
                metadata_client=replace(changes.metadata_client, addresses=addresses),
            ),
            name,
        )
        for name in names
    ]
