"""The log server role: keeps loglets for the sequencers of the cluster.

    Store, Seal, … ─▶ LogServer ─▶ LogletWorker per loglet ─▶ Writer ─▶ one database, one fsync

A server that lost its data starts *awaiting repair*. What it has it shows, since a record is a
record; repairs it takes. It is silent about everything that others would take for a promise: tails,
seals, stores of sequencers. `repair.RepairedLogServer` brings it back.

A loglet exists here from the moment somebody speaks of it; asking for one that never stored
anything is answered as an empty one. Only so many are kept in memory; the idle ones are forgotten
first and loaded again when needed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, TypeVar

import msgspec
import structlog

from restate_node.fabric.fabric import Fabric
from restate_node.fabric.router import Reply
from restate_node.roles.log_server.log_store import CorruptStore, LogStore
from restate_node.roles.log_server.loglet_worker import LogletWorker
from restate_node.roles.log_server.reclaim import Reclaim
from restate_node.roles.log_server.start import StartMode
from restate_node.roles.log_server.writer import Writer
from restate_node.runtime.ports import Clock, StoreError
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.ids import LogId, LogletId, SegmentIndex
from restate_node.types.log_messages import (
    Checksums,
    Digest,
    GetChecksums,
    GetDigest,
    GetLogletInfo,
    GetRecords,
    Records,
    Release,
    Seal,
    Status,
    Store,
    TrimLoglet,
    Trimmed,
    WaitForTail,
)

logger = structlog.get_logger(__name__)

Answer = TypeVar("Answer", Records, Digest, Checksums)

SERVED: Final = (
    Store,
    Release,
    Seal,
    TrimLoglet,
    WaitForTail,
    GetLogletInfo,
    GetDigest,
    GetRecords,
    GetChecksums,
)
LOGLETS_IN_MEMORY_MAX: Final = 10_000
WAIT_SWEEP_S: Final = 0.5


class LogServerState(Enum):
    """What the role reports of itself."""

    STARTING_UP = 2
    READY = 1
    FAIL_SAFE = 3
    """The disk failed; nothing more is accepted, what is stored is still read."""
    STOPPING = 4


class LogServer:
    """Serves the messages of `types.log_messages` that go to log servers."""

    def __init__(self, store: LogStore, fabric: Fabric, clock: Clock, tasks: TaskCenter) -> None:
        self.state = LogServerState.STARTING_UP
        self._store = store
        self._fabric = fabric
        self._clock = clock
        self._tasks = tasks
        self._writer = Writer(store.store, self._disk_failed)
        self._reclaim = Reclaim()
        self._workers: OrderedDict[LogletId, LogletWorker] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._waited_for: set[LogletId] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def start(self, mode: StartMode = StartMode.WHOLE) -> None:
        """Serve from now on, wholly or until `serve_wholly` only repairs."""
        router = self._fabric.router
        router.on(Store, self._on_store)
        router.on(GetDigest, self._on_get_digest)
        router.on(GetRecords, self._on_get_records)
        router.on(GetChecksums, self._on_get_checksums)
        self._tasks.spawn(TaskKind.LOG_SERVER, "log server writer", self._writer.run())
        reclaiming = self._reclaim.run(self._store.store)
        self._tasks.spawn(TaskKind.BACKGROUND, "log server disk", reclaiming)
        if mode is StartMode.WHOLE:
            self.serve_wholly()

    def serve_wholly(self) -> None:
        """Promise again, and take records; nothing happens to a server that does already."""
        if self.state is not LogServerState.STARTING_UP:
            return
        router = self._fabric.router
        router.on(Release, self._on_release)
        router.on(Seal, lambda _, seal, reply: self.worker(seal.loglet).handle_seal(seal, reply))
        router.on(
            TrimLoglet, lambda _, trim, reply: self.worker(trim.loglet).handle_trim(trim, reply)
        )
        router.on(
            WaitForTail,
            self._on_wait_for_tail,
        )
        router.on(GetLogletInfo, lambda _, ask, reply: reply(self.worker(ask.loglet).info()))
        self.state = LogServerState.READY

    async def close_logs(self, through: Mapping[LogId, SegmentIndex]) -> None:
        """The loglets of each log up to that segment take records of repairs only, from now on and
        after every restart; raises StoreError.
        """
        await self._store.write_ends(through)
        for loglet, worker in self._workers.items():
            if self._store.has_ended(loglet):
                worker.state.ended()

    async def trim(self, request: TrimLoglet) -> Status:
        """Trim what a repair found to be trimmed elsewhere; raises RpcFailure."""
        answered: asyncio.Future[msgspec.Struct | RpcFailure | None] = self._loop.create_future()
        self.worker(request.loglet).handle_trim(request, answered.set_result)
        answer = await answered
        assert isinstance(answer, Trimmed), f"a trim is answered with {answer}"
        return answer.header.status

    @property
    def is_ready(self) -> bool:
        """True while records are accepted."""
        return self.state is LogServerState.READY

    def worker(self, loglet: LogletId) -> LogletWorker:
        """The worker of a loglet, loaded when needed; raises RpcFailure when it cannot be read."""
        worker = self._workers.get(loglet)
        if worker is not None:
            self._workers.move_to_end(loglet)
            return worker
        try:
            worker = LogletWorker(
                self._store.load(loglet), self._store, self._writer, self._reclaim.note
            )
        except (CorruptStore, StoreError) as error:
            raise RpcFailure(RpcCode.FAILED, str(error)) from None
        if self.state is LogServerState.FAIL_SAFE:
            worker.fail_safe()
        self._workers[loglet] = worker
        self._evict()
        return worker

    def loaded(self) -> list[LogletWorker]:
        """The loglets in memory, by id."""
        return [self._workers[loglet] for loglet in sorted(self._workers)]

    async def close(self) -> None:
        """Close the database, after the tasks of the role have ended."""
        self.state = LogServerState.STOPPING
        for request in SERVED:
            self._fabric.router.forget(request)
        self._writer.stop()
        await self._store.store.close()

    def _on_store(self, peer: Peer, store: Store, reply: Reply) -> None:
        if peer.node is None:
            raise RpcFailure(RpcCode.FORBIDDEN, "only members may store records")
        worker = self.worker(store.loglet)
        if self.state is LogServerState.STARTING_UP and not store.repair:
            reply(worker.state.header(Status.DISABLED))
            return
        worker.handle_store(store, peer.node, self._clock.unix_ms(), reply)

    def _on_release(self, _: Peer, release: Release, reply: Reply) -> None:
        self.worker(release.loglet).handle_release(release)
        reply(None)

    def _on_wait_for_tail(self, _: Peer, wait: WaitForTail, reply: Reply) -> None:
        self.worker(wait.loglet).wait_for_tail(wait, reply, self._loop.time())
        self._waited_for.add(wait.loglet)
        if self._sweep is None:
            self._sweep = self._loop.call_later(WAIT_SWEEP_S, self._expire_waits)

    def _expire_waits(self) -> None:
        now = self._loop.time()
        workers = ((loglet, self._workers.get(loglet)) for loglet in sorted(self._waited_for))
        waiting = [loglet for loglet, worker in workers if worker and worker.expire_waits(now)]
        self._waited_for = set(waiting)
        self._sweep = None
        if waiting:
            self._sweep = self._loop.call_later(WAIT_SWEEP_S, self._expire_waits)

    def _on_get_digest(self, _: Peer, request: GetDigest, reply: Reply) -> None:
        reply(_readable(lambda: self.worker(request.loglet).digest(request)))

    def _on_get_records(self, _: Peer, request: GetRecords, reply: Reply) -> None:
        reply(_readable(lambda: self.worker(request.loglet).records(request)))

    def _on_get_checksums(self, _: Peer, request: GetChecksums, reply: Reply) -> None:
        reply(_readable(lambda: self.worker(request.loglet).checksums(request)))

    def _evict(self) -> None:
        if len(self._workers) <= LOGLETS_IN_MEMORY_MAX:
            return
        idle = next((loglet for loglet, worker in self._workers.items() if worker.is_idle), None)
        if idle is not None:
            del self._workers[idle]

    def _disk_failed(self, error: StoreError) -> None:
        self.state = LogServerState.FAIL_SAFE
        for worker in self._workers.values():
            worker.fail_safe()


def _readable(read: Callable[[], Answer]) -> Answer:
    """A row that cannot be read is no answer at all: the asker turns to another log server."""
    try:
        return read()
    except (CorruptStore, StoreError) as error:
        raise RpcFailure(RpcCode.FAILED, str(error)) from None
