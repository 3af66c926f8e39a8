"""Workers in a simulated world: real managers, processors and stores; one log and one metadata
store in memory, with faults to switch on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from restate_node.bifrost.errors import AppendFailed, LogUnavailable, UnknownLog
from restate_node.cluster.metadata_errors import MetadataUnavailable
from restate_node.fabric.router import Router
from restate_node.protocol.partition import tables
from restate_node.protocol.partition.apply import apply
from restate_node.protocol.partition.tables import StateOwner, TableReader
from restate_node.protocol.partition.transaction import Transaction
from restate_node.protocol.read_cursor import Gap, Run
from restate_node.roles.worker.context import LeadershipListeners, Neighbours, WorkerContext
from restate_node.roles.worker.invoker.context import Services
from restate_node.roles.worker.manager import PartitionManager
from restate_node.roles.worker.partition_store import state_hash
from restate_node.roles.worker.snapshot_repository import (
    RepositoryIdentity,
    RepositoryPlace,
    SnapshotRepository,
)
from restate_node.runtime.tasks import TaskCenter
from restate_node.runtime.watch import Watch
from restate_node.sim.disk import SimMedium
from restate_node.sim.hosts import Death, Incarnation, SimClock
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.objects import SimBucket
from restate_node.sim.services import SimServices
from restate_node.types import records
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.ids import (
    GenerationalNodeId,
    LeaderEpoch,
    LogId,
    PartitionId,
    PlainNodeId,
    Version,
)
from restate_node.types.nodes import Node, NodesConfiguration, Role
from restate_node.types.offsets import LogTail, Lsn, TailState
from restate_node.types.options import WorkerOptions
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.partitions import EpochMetadata, KeyRange, Partition, PartitionTable
from restate_node.types.processor_messages import (
    Assignment,
    ControlAccepted,
    ControlProcessors,
    CreateSnapshot,
    GetNodeState,
    NodeState,
    PatchState,
    ProcessorStatus,
    Proposed,
    ReplayStatus,
    SnapshotCreated,
)
from restate_node.types.records import RecordBatch
from restate_node.types.replication import ReplicationProperty
from restate_node.types.schema import HandlerDefaults, Schema
from restate_node.types.wal import Envelope
from restate_node.wire import journal_codec, service_control
from restate_node.wire.metadata_keys import NODES_CONFIGURATION_KEY, epoch_metadata_key
from restate_node.wire.nodes import encode_nodes_configuration
from restate_node.wire.partitions import decode_epoch_metadata, encode_epoch_metadata
from restate_node.wire.wal import decode_record

P0 = PartitionId(0)
PARTITION = Partition(P0, LogId(0), KeyRange(0, (1 << 64) - 1))
PATIENCE_S = 60.0
"""Virtual seconds after which a test gives up."""


# ---------------------------------------------------------------- the log


@dataclass
class MemoryLog:
    """The records of one log; `trimmed` is the highest LSN that is gone."""

    records: list[bytes] = field(default_factory=list[bytes])
    trimmed: int = 0
    tail: Watch[int] = field(default_factory=lambda: Watch(1))

    def append(self, batch: RecordBatch) -> Lsn:
        first = self.tail.value
        self.records.extend(batch.records())
        self.tail.set(len(self.records) + 1)
        return Lsn(first)


@dataclass(frozen=True)
class Tail:
    tail: LogTail


class MemoryReader:
    """Delivers a few records at a time."""

    def __init__(self, logs: MemoryLogs, log: LogId, position: Lsn) -> None:
        self._logs = logs
        self._log = log
        self._position = int(position)

    @property
    def tail(self) -> Lsn:
        log = self._logs.logs.get(self._log)
        return Lsn(max(self._position, 0 if log is None else log.tail.value))

    async def next(self, bytes_max: int) -> Sequence[Run | Gap]:
        del bytes_max
        log = await self._logs.existing(self._log)
        await log.tail.until(lambda tail: tail > self._position)
        on_read, self._logs.on_read = self._logs.on_read, None
        if on_read is not None:
            on_read()
        first = self._position
        if first <= log.trimmed:
            self._position = log.trimmed + 1
            return [Gap(Lsn(first), Lsn(log.trimmed))]
        count = min(self._logs.run_records_max, log.tail.value - first)
        self._position += count
        return [Run(Lsn(first), records.pack(log.records[first - 1 : first - 1 + count]))]


class MemoryAppender:
    """Keeps order; repeats what it wrote when the log says so; waits while the log holds it."""

    def __init__(self, logs: MemoryLogs, log: LogId) -> None:
        self._logs = logs
        self._log = log
        self._pending: list[tuple[RecordBatch, Callable[[Lsn | AppendFailed], None]]] = []
        self._wake = asyncio.Event()
        self.is_full = False

    def submit(
        self, batch: RecordBatch, on_committed: Callable[[Lsn | AppendFailed], None]
    ) -> None:
        self._pending.append((batch, on_committed))
        self._wake.set()

    async def append(self, batch: RecordBatch) -> Lsn:
        done: asyncio.Future[Lsn | AppendFailed] = asyncio.get_running_loop().create_future()
        self.submit(batch, done.set_result)
        result = await done
        if isinstance(result, AppendFailed):
            raise result
        return result

    async def run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._write(await self._logs.existing(self._log))
        finally:
            for _, on_committed in self._pending:
                failure = AppendFailed("closed", maybe_written=True)
                asyncio.get_running_loop().call_soon(on_committed, failure)

    async def _write(self, log: MemoryLog) -> None:
        await asyncio.sleep(0.002)
        await self._logs.held.until(lambda held: not held)
        if self._logs.failing:
            raise LogUnavailable("the appender broke")
        if self._logs.doubling:
            for batch, _ in self._pending:
                log.append(batch)
            await asyncio.sleep(0.002)
        self.write_now()

    def write_now(self) -> None:
        """Commit what is pending, whether the log holds it back or not."""
        taken, self._pending = self._pending, []
        for batch, on_committed in taken:
            lsn = self._logs.logs[self._log].append(batch)
            asyncio.get_running_loop().call_soon(on_committed, lsn)


class MemoryLogs:
    """The Log of `roles.worker.log`, for all nodes."""

    def __init__(self) -> None:
        self.logs: dict[LogId, MemoryLog] = {}
        self.created: Watch[int] = Watch(0)
        self.held: Watch[bool] = Watch(False)
        self.doubling = False
        self.failing = False
        self.unavailable = False
        self.run_records_max = 7
        self.on_read: Callable[[], None] | None = None
        """Called once, when records are about to be delivered."""
        self.appenders: list[MemoryAppender] = []

    async def ensure_log(self, log: LogId) -> None:
        self._check()
        self.create(log)

    def create(self, log: LogId) -> MemoryLog:
        if log not in self.logs:
            self.logs[log] = MemoryLog()
            self.created.set(len(self.logs))
        return self.logs[log]

    async def existing(self, log: LogId) -> MemoryLog:
        while log not in self.logs:
            await self.created.changed(self.created.revision)
        return self.logs[log]

    def appender(self, log: LogId) -> MemoryAppender:
        self.appenders.append(MemoryAppender(self, log))
        return self.appenders[-1]

    def reader(self, log: LogId, from_lsn: Lsn) -> MemoryReader:
        return MemoryReader(self, log, from_lsn)

    async def find_tail(self, log: LogId) -> Tail:
        self._check()
        if log not in self.logs:
            raise UnknownLog(f"unknown log '{log}'")
        return Tail(LogTail(TailState.OPEN, Lsn(self.logs[log].tail.value)))

    async def trim(self, log: LogId, trim_point: Lsn) -> Lsn:
        self._check()
        self.logs[log].trimmed = max(self.logs[log].trimmed, trim_point)
        return trim_point

    def _check(self) -> None:
        if self.unavailable:
            raise LogUnavailable("no log servers")


# ---------------------------------------------------------------- metadata


@dataclass
class MemoryMetadata:
    """The MetadataStore of `roles.worker.context`."""

    values: dict[str, bytes] = field(default_factory=dict[str, bytes])
    unavailable: bool = False

    async def update(self, key: str, edit: Callable[[bytes | None], bytes | None]) -> bytes | None:
        await asyncio.sleep(0.003)
        if self.unavailable:
            raise MetadataUnavailable("no metadata servers", maybe_executed=False)
        blob = edit(self.values.get(key))
        if blob is not None:
            self.values[key] = blob
        return self.values.get(key)

    def epoch(self, partition: PartitionId) -> EpochMetadata:
        return decode_epoch_metadata(self.values[epoch_metadata_key(partition)])


# ---------------------------------------------------------------- nodes


class Worker:
    """One node with the worker role, over all its lives."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.host = f"node-{number}"
        self.id = PlainNodeId(number)
        self.generation = 0
        self.events: list[str] = []
        loop = world.loop
        self.medium = SimMedium(self.host, loop.streams.stream(self.host), None, loop.trace)
        self.process: Incarnation
        self.manager: PartitionManager
        self.router: Router
        self.tasks: TaskCenter

    @property
    def me(self) -> GenerationalNodeId:
        return GenerationalNodeId(self.id, self.generation)

    async def boot(self) -> None:
        """Begin a life, and serve."""
        self.generation += 1
        self.process = self.world.loop.boot(self.host)
        await self.world.loop.spawn(self.process, self._start())

    async def _start(self) -> None:
        loop = self.world.loop
        self.tasks = TaskCenter()
        self.router = Router(self.tasks)
        context = WorkerContext(
            self.me,
            self.medium.mount(self.process),
            self.world.logs,
            self.world.metadata,
            self.tasks,
            SimClock(loop),
            loop.streams.stream(f"{self.host} {self.generation}"),
            self.world.options,
            LeadershipListeners(self._announced, self._leads, self._follows),
            self._repository(),
            Neighbours(self._ask_neighbour, lambda: len(self.world.workers)),
            self._services(),
        )
        self.manager = PartitionManager(context, self.router, self.world.table)
        self.manager.start()

    async def _ask_neighbour(self, node: PlainNodeId) -> NodeState:
        neighbour = self.world.workers[node - 1]
        if not neighbour.process.alive:
            raise RpcFailure(RpcCode.UNREACHABLE, f"{neighbour.host} is down")
        answers: list[NodeState] = []
        peer = Peer(self.me, "test")
        neighbour.router.dispatch(peer, GetNodeState(), answers.append)  # type: ignore[arg-type]
        return answers[0]

    def _services(self) -> Services | None:
        world = self.world
        if world.services is None:
            return None
        return Services(
            world.services.mount(self.process),
            world.schema,
            world.table,
            world.defaults,
            world.options.invoker,
            journal_codec,
            service_control,
        )

    def _repository(self) -> SnapshotRepository | None:
        loop, bucket = self.world.loop, self.world.bucket
        if bucket is None:
            return None
        return SnapshotRepository(
            bucket.mount(self.process),
            RepositoryPlace("prefix"),
            RepositoryIdentity("c", 7, self.host),
            clock=SimClock(loop),
            rng=loop.streams.stream(f"{self.host} {self.generation} snapshots"),
            tasks=self.tasks,
        )

    async def snapshot(self, at_least: int | None = None) -> SnapshotCreated:
        """Ask this node for a snapshot of partition 0; raises RpcFailure."""
        return await self.ask(CreateSnapshot(P0, None if at_least is None else Lsn(at_least)))

    def _announced(self, partition: PartitionId, epoch: LeaderEpoch) -> None:
        self.events.append(f"announce {partition} epoch {epoch}")

    def _leads(self, log: LogId, partition: PartitionId) -> None:
        self.events.append(f"leader {partition}")

    def _follows(self, log: LogId, partition: PartitionId) -> None:
        self.events.append(f"follower {partition}")

    def kill(self) -> None:
        self.world.loop.kill(self.process, Death.KILLED)

    async def shut_down(self) -> None:
        """An orderly stop."""
        stop = self.tasks.stop(timeout_s=10)
        await self.world.loop.spawn(self.process, stop)

    async def ask(self, request: msgspec.Struct) -> Any:
        """Send a request to this node; raises RpcFailure."""
        loop = self.world.loop
        answer: asyncio.Future[Any] = loop.create_future()
        peer = Peer(None, "test")

        def dispatch() -> None:
            self.router.dispatch(peer, request, answer.set_result)

        loop.call_soon(dispatch, context=self.process.context.copy())
        result = await answer
        if isinstance(result, RpcFailure):
            raise result
        return result

    async def patch(self, key: str, partition: PartitionId = P0, **state: str) -> Lsn:
        new_state = {name: value.encode() for name, value in state.items()}
        answer: Proposed = await self.ask(PatchState(partition, "Box", key, new_state))
        return answer.lsn

    async def status(self, partition: PartitionId = P0) -> ProcessorStatus | None:
        state: NodeState = await self.ask(GetNodeState())
        return next((s for s in state.processors if s.partition == partition), None)

    def state(self, key: str, partition: PartitionId = P0) -> dict[str, str]:
        store = self.manager.stores()[partition]
        owner = StateOwner(partition_key_of_key(key), "Box", key)
        return {entry.name: entry.value.decode() for entry in tables.state_of(store, owner)}

    def hash(self, partition: PartitionId = P0) -> str:
        return state_hash(self.manager.stores()[partition])


class World:
    """Everything around the workers."""

    def __init__(self, loop: SimLoop, options: WorkerOptions) -> None:
        self.loop = loop
        self.options = options
        self.logs = MemoryLogs()
        self.metadata = MemoryMetadata()
        self.table = Watch(PartitionTable.equal_ranges(1))
        self.workers: list[Worker] = []
        self.services: SimServices | None = None
        """What workers that boot from now on can call; None: they run no invocations."""
        self.schema = Watch(Schema(Version(0)))
        self.defaults = HandlerDefaults()
        self.bucket: SimBucket | None = None
        """Where workers that boot from now on have their snapshots."""

    def add_services(self) -> SimServices:
        randomness = self.loop.streams.stream("services")
        self.services = SimServices(self.loop, randomness, tracer=self.loop.trace)
        return self.services

    def add_bucket(self) -> SimBucket:
        self.bucket = SimBucket(self.loop.streams.stream("bucket"), None, self.loop.trace)
        return self.bucket

    @property
    def log(self) -> MemoryLog:
        return self.logs.create(LogId(0))

    async def add_workers(self, count: int) -> list[Worker]:
        """Members of the cluster, booted; partition 0 is placed on all of them."""
        numbers = range(1, count + 1)
        self.workers = [Worker(self, number) for number in numbers]
        members = {
            worker.id: Node(
                worker.host, GenerationalNodeId(worker.id, 1), "x", frozenset((Role.WORKER,))
            )
            for worker in self.workers
        }
        self.metadata.values[NODES_CONFIGURATION_KEY] = encode_nodes_configuration(
            NodesConfiguration(Version(1), "c", members)
        )
        self.place(*numbers)
        for worker in self.workers:
            await worker.boot()
        return self.workers

    def place(self, *nodes: int, partition: PartitionId = P0) -> None:
        """Set the current replica set."""
        key = epoch_metadata_key(partition)
        replicas = tuple(PlainNodeId(node) for node in nodes)
        replication = ReplicationProperty.of_nodes(len(nodes))
        if key not in self.metadata.values:
            placed = EpochMetadata(Version(0)).set_initial_current(replication, replicas, 0)
        else:
            former = self.metadata.epoch(partition)
            placed = former.reconfigure(replication, replicas, 0).complete()
        self.metadata.values[key] = encode_epoch_metadata(placed, partition)

    async def order(
        self, leader: Worker | None, *, to: Sequence[Worker] = (), partition: PartitionId = P0
    ) -> None:
        """What a controller does: tell every worker of the placement and of the target leader."""
        blob = self.metadata.values[epoch_metadata_key(partition)]
        target = None if leader is None else leader.me
        request = ControlProcessors([Assignment(partition, blob, target)])
        for worker in to or self.workers:
            assert await worker.ask(request) == ControlAccepted()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait in virtual time."""
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def elect(
        self, worker: Worker, partition: PartitionId = P0, *, to: Sequence[Worker] = ()
    ) -> None:
        """Order it to lead, and wait until it does."""
        await self.order(worker, to=to, partition=partition)

        async def leads() -> bool:
            status = await worker.status(partition)
            return status is not None and status.detailed_mode.name == "LEADER"

        await self.until(leads)

    async def caught_up(self, *workers: Worker) -> None:
        """Wait until these have applied the whole log of partition 0, and know that."""

        async def done() -> bool:
            statuses = [await worker.status() for worker in workers]
            return all(
                status is not None
                and status.replay_status is ReplayStatus.ACTIVE
                and status.applied_lsn == self.log.tail.value - 1
                for status in statuses
            )

        await self.until(done)

    def expected_hash(self) -> str:
        """The hash of a replica that applied the log one by one and was never disturbed."""
        rows = _Rows()
        for lsn, record in enumerate(self.log.records, 1):
            envelope = decode_record(record)
            assert isinstance(envelope, Envelope)
            transaction = Transaction(rows)
            apply(PARTITION, journal_codec, Lsn(lsn), envelope, transaction)
            for mutation in transaction.mutations():
                if mutation.value is None:
                    rows.rows.pop(mutation.key, None)
                else:
                    rows.rows[mutation.key] = mutation.value
        return state_hash(rows)


@dataclass
class _Rows(TableReader):
    rows: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, end: bytes, *, rows_max: int) -> list[tuple[bytes, bytes]]:
        keys = sorted(key for key in self.rows if start <= key < end)
        return [(key, self.rows[key]) for key in keys[:rows_max]]


def run(
    main: Callable[[World], Awaitable[None]], seed: int = 1, options: WorkerOptions | None = None
) -> None:
    """Run a scenario; what nobody handled fails it."""
    worlds: list[World] = []  # Kept until the end: its tasks must not be collected before.

    async def build(loop: SimLoop) -> None:
        worlds.append(World(loop, options or WorkerOptions(command_batch_records_max=3)))
        await main(worlds[0])

    simulate(seed, build)
