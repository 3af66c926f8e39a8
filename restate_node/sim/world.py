"""A cluster of real nodes on simulated machines.

    SimLoop ── time, order, death          one per run
      ├ SimNetwork                         one per run
      └ host n1, n2, n3 ── SimMedium       outlives its processes
           └ life n1#1, n1#2, … ── Node    one at a time

The world does what an operator and a process manager do: it starts processes, and starts them
again a moment after they ended. A node that ends without being told to, and without a fault that
explains it, is a finding; so is an ERROR in its log.

Clients and probes of a node run *inside* its life (`on_life`): they are frozen and killed with it,
as a client in the same process would be, and never see a node from beyond its grave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from restate_node.node.config_resolution import resolve
from restate_node.node.node import Node
from restate_node.node.ports import Ports
from restate_node.roles.log_server import log_store
from restate_node.sim.bucket_watch import BucketWatch
from restate_node.sim.disk import SimMedium
from restate_node.sim.history import CopyDamaged, NodeEnded, NodeReady, NodeStarted
from restate_node.sim.hosts import Death, Incarnation, Life, SimClock
from restate_node.sim.loop import SimLoop
from restate_node.sim.network import SimNetwork
from restate_node.sim.objects import ObjectFaults, SimBucket
from restate_node.sim.recorder import Recorder
from restate_node.sim.scenario import DESTINATION, PLAIN, Scenario
from restate_node.sim.services import SimServices
from restate_node.types.nodes import Role
from restate_node.types.options import NodeOptions, WorkerOptions
from restate_node.types.replication import ReplicationProperty

RESTART_SECONDS: Final = 0.5
CLOCK_SKEW_MS_MAX: Final = 200
PORT: Final = 5122
LOG_STORE: Final = log_store.DIRECTORY
RECORDS: Final = log_store.DATA

_WORLD: Final = Context()
"""What the world does belongs to no process."""


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """Size of the cluster."""

    hosts: tuple[str, ...] = ("n1", "n2", "n3")
    replication: int = 2
    partitions: int = 2
    scenario: Scenario = PLAIN


@dataclass(frozen=True, slots=True)
class NodeLife:
    """One life of a node, as clients and probes get it."""

    node: Node
    incarnation: Incarnation
    recorder: Recorder
    rng: Random

    @property
    def name(self) -> str:
        return repr(self.incarnation)

    @property
    def host(self) -> str:
        return self.incarnation.host


@dataclass(slots=True)
class Host:
    """A machine."""

    name: str
    medium: SimMedium
    clock: SimClock
    wanted: bool = False
    """A process should run here."""
    excuses: int = 0
    """So many reasons explain its errors and ends: a disk that was told to fail, an operator."""
    has_lost_store: bool = False
    """Its log server's database is gone: it may never serve again, and it must say so and end."""
    life: NodeLife | None = None
    incarnation: Incarnation | None = None


OnLife = Callable[[NodeLife], None]
OnFinding = Callable[[str], None]


@dataclass(slots=True)
class World:
    """The machines, and the cluster on them. Implements `injection.Machines`."""

    loop: SimLoop
    options: WorldOptions
    recorder: Recorder
    on_finding: OnFinding
    on_life: OnLife
    network: SimNetwork = field(init=False)
    bucket: SimBucket = field(init=False)
    bucket_watch: BucketWatch = field(init=False)
    services: SimServices = field(init=False)
    machines: dict[str, Host] = field(init=False)
    _processes: list[asyncio.Task[None]] = field(
        init=False, default_factory=list[asyncio.Task[None]]
    )
    """The loop itself would let a task go that nobody holds."""

    def __post_init__(self) -> None:
        streams, trace = self.loop.streams, self.loop.trace
        self.network = SimNetwork(self.loop, streams.stream("network"), tracer=trace)
        self.bucket = SimBucket(streams.stream("objects"), tracer=trace)
        self.bucket_watch = BucketWatch(self.recorder)
        self.bucket.on_written = self.bucket_watch
        load = self.options.scenario.load
        behaviour = None if load is None else load.services
        self.services = SimServices(self.loop, streams.stream("services"), behaviour, trace)
        skew = streams.stream("clocks")
        self.machines = {
            name: Host(
                name,
                SimMedium(name, streams.stream(f"disk/{name}"), tracer=trace),
                SimClock(self.loop, skew.randint(-CLOCK_SKEW_MS_MAX, CLOCK_SKEW_MS_MAX)),
            )
            for name in self.options.hosts
        }

    @property
    def hosts(self) -> Sequence[str]:
        return self.options.hosts

    @property
    def lives(self) -> list[NodeLife]:
        """The nodes that are ready now."""
        lives = [host.life for host in self.machines.values()]
        return [life for life in lives if life is not None and life.incarnation.alive]

    @property
    def all_ready(self) -> bool:
        lost = [host for host in self.machines.values() if host.has_lost_store]
        return len(self.lives) == len(self.machines) - len(lost)

    def medium(self, host: str) -> SimMedium:
        return self.machines[host].medium

    # ------------------------------------------------------------ processes

    def start(self, host: str) -> None:
        machine = self.machines[host]
        machine.wanted = True
        if machine.incarnation is not None and machine.incarnation.alive:
            return
        machine.incarnation = self.loop.boot(host)
        self.recorder.add(NodeStarted(self.recorder.now(), repr(machine.incarnation)))
        process = self._live(machine, machine.incarnation)
        self._processes.append(self.loop.spawn(machine.incarnation, process, "node"))

    def crash(self, host: str, death: Death) -> None:
        machine = self.machines[host]
        machine.wanted = False
        self._bury(machine, death, death.value)

    def pause(self, host: str) -> None:
        incarnation = self.machines[host].incarnation
        if incarnation is not None:
            self.loop.pause(incarnation)

    def resume(self, host: str) -> None:
        incarnation = self.machines[host].incarnation
        if incarnation is not None and incarnation.life is Life.PAUSED:
            self.loop.resume(incarnation)

    def rot(self, host: str) -> None:
        """Strike a copy of which others have the like: no log survives the rot of the only copy,
        though it be of what nobody acknowledged.
        """
        others = [self.medium(name) for name in self.machines if name != host]
        records = [
            medium.stores[LOG_STORE].families[RECORDS]
            for medium in others
            if LOG_STORE in medium.stores
        ]

        def is_elsewhere(key: bytes, value: bytes) -> bool:
            return any(rows.get(key) == value for rows in records)

        struck = self.medium(host).flip_bit(LOG_STORE, RECORDS, is_elsewhere)
        if struck is not None:
            where = f"{struck.path} {struck.family} {struck.key.hex()}"
            self.recorder.add(CopyDamaged(self.recorder.now(), host, where))

    def lose_store(self, host: str) -> None:
        self.crash(host, Death.POWER_LOST)
        self.medium(host).lose(LOG_STORE)
        self.machines[host].has_lost_store = True
        self.recorder.add(CopyDamaged(self.recorder.now(), host, LOG_STORE))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call back as the world, which no fault can stop."""
        self.loop.call_later(seconds, action, context=_WORLD)

    def excuse(self, host: str, excused: bool) -> None:
        self.machines[host].excuses += 1 if excused else -1

    def is_excused(self, life: str) -> bool:
        """Whether errors of that life are explained by a fault."""
        host = self.machines.get(life.split("#")[0])
        return host is not None and (host.excuses > 0 or host.has_lost_store)

    def heal(self) -> None:
        """Undo what a fault left behind, and start what is down."""
        self.network.heal()
        self.bucket.faults, self.bucket.outage = ObjectFaults(), False
        for host, machine in self.machines.items():
            self.resume(host)
            if not machine.has_lost_store:
                self.start(host)

    # ------------------------------------------------------------ one life

    async def _live(self, machine: Host, incarnation: Incarnation) -> None:
        """Runs as part of the incarnation."""
        try:
            node = self._build(machine, incarnation)
            watcher = asyncio.ensure_future(self._greet(machine, incarnation, node))
            cause = await node.run()
            watcher.cancel()
            reason = cause.reason
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        self.loop.call_soon(self._ended, machine, incarnation, reason, context=_WORLD)

    def _build(self, machine: Host, incarnation: Incarnation) -> Node:
        address = _address(machine.name)
        ports = Ports(
            clock=machine.clock,
            transport=self.network.transport(incarnation, address),
            disk=machine.medium.mount(incarnation),
            rng=self.loop.streams.stream(f"node/{incarnation!r}"),
            objects=self.bucket.mount(incarnation) if self.options.scenario.snapshots else None,
            services=self.services.mount(incarnation) if self.options.scenario.load else None,
        )
        return Node(self._node_options(machine.name), ports, machine.name)

    def _node_options(self, host: str) -> NodeOptions:
        options = node_options(host, self.options)
        return resolve(options, host)

    async def _greet(self, machine: Host, incarnation: Incarnation, node: Node) -> None:
        await node.ready.until(bool)
        rng = self.loop.streams.stream(f"clients/{incarnation!r}")
        machine.life = NodeLife(node, incarnation, self.recorder, rng)
        self.recorder.add(NodeReady(self.recorder.now(), repr(incarnation)))
        if machine.has_lost_store:
            self.on_finding(f"{incarnation!r} serves, although its log server has lost its data")
        self.on_life(machine.life)

    def _ended(self, machine: Host, incarnation: Incarnation, reason: str) -> None:
        """The process ended by itself; runs as part of the world."""
        if not machine.excuses and not machine.has_lost_store:
            self.on_finding(f"{incarnation!r} ended by itself: {reason}")
        if machine.incarnation is incarnation:
            self._bury(machine, Death.KILLED, reason)
        self.loop.call_later(RESTART_SECONDS, self._restart, machine, context=_WORLD)

    def _restart(self, machine: Host) -> None:
        if machine.wanted and not machine.has_lost_store:
            self.start(machine.name)

    def _bury(self, machine: Host, death: Death, reason: str) -> None:
        machine.life = None
        if machine.incarnation is None or not machine.incarnation.alive:
            return
        self.loop.kill(machine.incarnation, death)
        self.recorder.add(NodeEnded(self.recorder.now(), repr(machine.incarnation), reason))


def _address(host: str) -> str:
    return f"http://{host}:{PORT}/"


def node_options(host: str, world: WorldOptions) -> NodeOptions:
    """How each node of the cluster is configured: as by default, with all roles."""
    plain = NodeOptions()
    return replace(
        plain,
        roles=tuple(Role),
        cluster_name="simulated",
        node_name=host,
        auto_provision=host == world.hosts[0],
        advertised_address=_address(host),
        default_num_partitions=world.partitions,
        default_replication=ReplicationProperty.of_nodes(world.replication),
        metadata_client=replace(plain.metadata_client, addresses=tuple(map(_address, world.hosts))),
        worker=_worker_options(plain.worker, world.scenario),
    )


def _worker_options(plain: WorkerOptions, scenario: Scenario) -> WorkerOptions:
    snapshots = plain.snapshots
    if (policy := scenario.snapshots) is not None:
        snapshots = replace(
            snapshots,
            destination=DESTINATION,
            snapshot_interval_num_records=policy.every_records,
            snapshot_interval_ms=policy.every_ms,
            num_retained=policy.retained,
        )
    return replace(
        plain,
        durability_mode=scenario.durability,
        trim_delay_interval_ms=scenario.trim_delay_ms,
        snapshots=snapshots,
    )
