"""The world of `--address`: a running cluster, seen from outside as an anonymous peer.

    this process ─▶ any node: what are the chains? ─▶ the node of the log's sequencer: Append

No caller is anonymous in production; what is measured is the way of an append that comes from
another node. The log is one of its own: it is created when the cluster does not have it yet, and
stays there, empty but for the records of the benchmark.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec

from benchmarks.load import Submit
from benchmarks.world import WorldFailed
from restate_node.bifrost.appender import OnCommitted
from restate_node.bifrost.chain_keeper import ChainKeeper
from restate_node.bifrost.errors import AppendFailed
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_client import MetadataClient
from restate_node.fabric.fabric import Fabric
from restate_node.protocol.chain import AddLog
from restate_node.runtime.real.clock import RealClock
from restate_node.runtime.real.data_plane import DataPlane
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import LogId, SegmentIndex, loglet_id
from restate_node.types.log_messages import Append, Appended, AppendStatus
from restate_node.types.logs import ReplicatedParams, ReplicatedSegment
from restate_node.types.metadata import GetMetadata, MetadataKind, MetadataObject
from restate_node.types.nodes import StorageState
from restate_node.types.offsets import to_lsn
from restate_node.types.options import MetadataClientOptions
from restate_node.types.records import RecordBatch
from restate_node.types.replication import ReplicationProperty

APPEND_TIMEOUT_S = 10.0
ATTEMPTS_MAX = 100
PAUSE_S = 0.1


class RemoteWorld:
    """Implements `world.World`."""

    def __init__(self, address: str, cluster_name: str, log: LogId, directory: Path) -> None:
        self.directory = directory
        self.process_ids: list[int] = []
        self._address = address
        self._log = log
        self._tasks = TaskCenter()
        self._cache = MetadataCache(cluster_name)
        rng = Random(os.urandom(16))
        self._fabric = Fabric(DataPlane(), self._cache, self._tasks, rng)
        self._client = MetadataClient(
            self._fabric,
            self._cache,
            (address,),
            MetadataClientOptions(addresses=(address,)),
            RealClock(),
            rng,
            rng.getrandbits(63),
        )

    @property
    def description(self) -> str:
        leader = self._segment.params.sequencer
        return f"running cluster, from outside, log {self._log} led by {leader}"

    @property
    def submit(self) -> Submit:
        return self._append

    async def open(self, replication: int) -> None:
        """Learn who is there and where the log is; create it if need be."""
        for kind in (MetadataKind.NODES_CONFIGURATION, MetadataKind.LOGS):
            answer = await self._fabric.call(self._address, GetMetadata(kind, 1), MetadataObject)
            self._cache.install_blob(kind, answer.blob)
        if self._cache.logs.value.chain(self._log) is None:
            await self._create_log(replication)
        for _ in range(ATTEMPTS_MAX):
            if await self._works():
                return
            await asyncio.sleep(PAUSE_S)
        raise WorldFailed(f"log {self._log} cannot be appended to: see the log of its sequencer")

    async def close(self) -> None:
        await self._tasks.stop(timeout_s=2.0)
        self._fabric.close("the benchmark is over")

    async def _create_log(self, replication: int) -> None:
        servers = [
            node
            for node in self._cache.nodes.value.log_servers()
            if node.storage_state is StorageState.READ_WRITE
        ]
        params = ReplicatedParams(
            loglet_id(self._log, SegmentIndex(0)),
            servers[0].current_generation,
            ReplicationProperty.of_nodes(min(replication, len(servers))),
            tuple(server.id for server in servers),
        )
        keeper = ChainKeeper(self._cache, self._client)
        self._tasks.spawn(TaskKind.BIFROST, "chain keeper", keeper.run())
        await keeper.edit(AddLog(self._log, params))

    async def _works(self) -> bool:
        """The sequencer's node has to learn of a new log first; frames tell it."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._append(
            RecordBatch(1, b"\x05\x00\x00\x00hello"),
            lambda result: done.set_result(not isinstance(result, AppendFailed)),
        )
        return await done

    @property
    def _segment(self) -> ReplicatedSegment:
        chain = self._cache.logs.value.chain(self._log)
        if chain is None or not isinstance(chain.tail, ReplicatedSegment):
            raise WorldFailed(f"log {self._log} has no open segment: append to another")
        return chain.tail

    def _append(self, batch: RecordBatch, on_committed: OnCommitted) -> None:
        segment = self._segment
        loglet = segment.params.loglet_id
        request = Append(self._log, segment.index, loglet, batch.count, batch.body)

        def answered(reply: msgspec.Struct | RpcFailure) -> None:
            if isinstance(reply, Appended) and reply.status is AppendStatus.OK:
                on_committed(to_lsn(segment.base_lsn, reply.first_offset))
            else:
                on_committed(AppendFailed(str(reply), maybe_written=True))

        self._fabric.submit(segment.params.sequencer, request, answered, timeout_s=APPEND_TIMEOUT_S)


@asynccontextmanager
async def remote_world(
    address: str, cluster_name: str, log: LogId, replication: int
) -> AsyncIterator[RemoteWorld]:
    """Connected for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="append-benchmark-") as directory:
        world = RemoteWorld(address, cluster_name, log, Path(directory))
        try:
            await world.open(replication)
            yield world
        finally:
            await world.close()
