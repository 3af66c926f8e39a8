"""The worker role: which partitions run on this node.

    controller ─ ControlProcessors ─▶ orders ─┐
    partition table ──────────────────────────┴─▶ reconcile ─▶ a processor per partition
    ingress, admin ─ PatchState ─▶ the partition's processor
    ingress, admin ─ SubmitInvocation and its like ─▶ what its leader does
    admin ─ CreateSnapshot ─▶ the partition's processor
    controller ─ GetNodeState ─▶ the status of each

A node runs the partitions whose current or next replica set names it. It learns of them from the
controller only, whose orders carry the epoch metadata: after a start it does nothing until the
first order. Orders may come twice, late, or from two controllers; the newest version of the
metadata counts, and of equal versions the latest.

A processor that is no longer wanted is stopped, and only when it has closed its store may another
one of the same partition start. Its database stays: the partition may come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from restate_node.cluster.metadata_errors import MetadataError
from restate_node.fabric.router import Reply, Router
from restate_node.roles.worker.context import WorkerContext
from restate_node.roles.worker.log_trimmer import LedPartition, LogTrimmer
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.processor import PartitionProcessor
from restate_node.roles.worker.snapshots import remove_leftovers
from restate_node.runtime.tasks import TaskKind
from restate_node.runtime.watch import Watch
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId
from restate_node.types.invocation_messages import (
    AttachInvocation,
    ControlInvocation,
    NotifyInvocation,
    ReadRows,
    SubmitInvocation,
)
from restate_node.types.nodes import WorkerState
from restate_node.types.partitions import EpochMetadata, Partition, PartitionTable
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
    RunMode,
    SnapshotCreated,
)
from restate_node.wire.metadata_keys import NODES_CONFIGURATION_KEY
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.partitions import decode_epoch_metadata
from restate_node.wire.storage_codec import CodecError

logger = structlog.get_logger(__name__)

ACTIVATION_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Order:
    """The newest word of a controller on one partition."""

    metadata: EpochMetadata
    target_leader: GenerationalNodeId | None


@dataclass(frozen=True, slots=True)
class Running:
    """A processor and its task; while stopping it still holds the store."""

    processor: PartitionProcessor
    task: asyncio.Task[None]
    is_stopping: bool = False


class PartitionManager:
    """The handle of the role."""

    def __init__(
        self, context: WorkerContext, router: Router, partition_table: Watch[PartitionTable]
    ) -> None:
        self._context = context
        self._router = router
        self._table = partition_table
        self._started_at = context.clock.monotonic()
        self._orders: dict[PartitionId, Order] = {}
        self._running: dict[PartitionId, Running] = {}

    def start(self) -> None:
        """Serve from now on, and report for work."""
        self._router.on(ControlProcessors, self._on_control)
        self._router.on(GetNodeState, self._on_get_node_state)
        self._router.serve(PatchState, self._serve_patch_state)
        self._router.serve(CreateSnapshot, self._serve_create_snapshot)
        self._router.on(SubmitInvocation, self._on_submit)
        self._router.on(AttachInvocation, self._on_attach)
        self._router.on(NotifyInvocation, self._on_notify)
        self._router.on(ControlInvocation, self._on_control_invocation)
        self._router.on(ReadRows, self._on_read_rows)
        remove_leftovers(self._context.disk)
        tasks = self._context.tasks
        tasks.spawn(TaskKind.WORKER, "partition table of the worker", self._follow_table())
        tasks.spawn(TaskKind.WORKER, "activation of the worker", self._activate())
        if self._context.neighbours is not None:
            trimmer = LogTrimmer(self._context, self._context.neighbours, self._led)
            tasks.spawn(TaskKind.WORKER, "log trimmer", trimmer.run())

    # ------------------------------------------------------------ for others on this node

    def statuses(self) -> list[ProcessorStatus]:
        """Of all processors, by partition."""
        ordered = sorted(self._running.items(), key=lambda item: item[0])
        return [running.processor.status() for _, running in ordered]

    def stores(self) -> Mapping[PartitionId, PartitionStore]:
        """The stores that are open now, for reading within this turn of the loop."""
        stores = {number: running.processor.store for number, running in self._running.items()}
        return {number: store for number, store in stores.items() if store is not None}

    def _led(self) -> list[tuple[LedPartition, tuple[PlainNodeId, ...]]]:
        """What this node leads, each with its replicas."""
        found = ((number, running.processor.led()) for number, running in self._running.items())
        return [
            (led, tuple(self._orders[number].metadata.replicas))
            for number, led in found
            if led is not None
        ]

    # ------------------------------------------------------------ requests

    def _on_control(self, _: Peer, request: ControlProcessors, reply: Reply) -> None:
        for assignment in request.assignments:
            self._take_order(assignment)
        reply(ControlAccepted())

    def _take_order(self, assignment: Assignment) -> None:
        number = assignment.partition
        try:
            metadata = decode_epoch_metadata(assignment.epoch_metadata)
        except CodecError as error:
            logger.warning("order cannot be read", partition=number, reason=str(error))
            return
        known = self._orders.get(number)
        if known is not None and metadata.version < known.metadata.version:
            return
        self._orders[number] = Order(metadata, assignment.target_leader)
        self._reconcile(number)

    def _on_get_node_state(self, _: Peer, request: GetNodeState, reply: Reply) -> None:
        uptime_s = int(self._context.clock.monotonic() - self._started_at)
        reply(NodeState(self._context.me, uptime_s, self.statuses()))

    async def _serve_patch_state(self, _: Peer, request: PatchState) -> Proposed:
        return await self._processor(request.partition).patch_state(request)

    async def _serve_create_snapshot(self, _: Peer, request: CreateSnapshot) -> SnapshotCreated:
        return await self._processor(request.partition).create_snapshot(request)

    def _on_submit(self, _: Peer, request: SubmitInvocation, reply: Reply) -> None:
        self._processor(request.partition).work.submit(request, reply)

    def _on_attach(self, _: Peer, request: AttachInvocation, reply: Reply) -> None:
        self._processor(request.partition).work.attach(request, reply)

    def _on_notify(self, _: Peer, request: NotifyInvocation, reply: Reply) -> None:
        self._processor(request.partition).work.notify(request, reply)

    def _on_control_invocation(self, _: Peer, request: ControlInvocation, reply: Reply) -> None:
        self._processor(request.partition).work.control(request, reply)

    def _on_read_rows(self, _: Peer, request: ReadRows, reply: Reply) -> None:
        reply(self._processor(request.partition).work.read_rows(request))

    def _processor(self, number: PartitionId) -> PartitionProcessor:
        """Raises RpcFailure."""
        running = self._running.get(number)
        if running is None:
            text = f"partition {number} does not run on this node"
            raise RpcFailure(RpcCode.NOT_READY, text)
        return running.processor

    # ------------------------------------------------------------ processors

    async def _follow_table(self) -> None:
        """Orders may be here before the table is. Cancellation-safe: nothing is consumed."""
        while True:
            revision = self._table.revision
            for number in self._orders:
                self._reconcile(number)
            await self._table.changed(revision)

    def _reconcile(self, number: PartitionId) -> None:
        """Make what runs match the order, as far as that is possible now."""
        order = self._orders.get(number)
        if order is None:
            return
        wanted = self._context.me.id in order.metadata.replicas
        running = self._running.get(number)
        partition = self._table.value.partitions.get(number)
        if running is not None and not running.is_stopping:
            if wanted:
                running.processor.order(self._mode(order))
            else:
                self._running[number] = replace(running, is_stopping=True)
                running.task.cancel()
        elif running is None and wanted and partition is not None:
            self._start(partition, self._mode(order))

    def _start(self, partition: Partition, mode: RunMode) -> None:
        processor = PartitionProcessor(partition, self._context)
        processor.order(mode)
        name = f"processor of partition {partition.id}"
        task = self._context.tasks.spawn(TaskKind.PARTITION_PROCESSOR, name, processor.run())
        self._running[partition.id] = Running(processor, task)
        task.add_done_callback(lambda _: self._ended(partition.id))

    def _ended(self, number: PartitionId) -> None:
        """One that was stopped by the node's shutdown is not started again."""
        if self._running.pop(number).is_stopping:
            self._reconcile(number)

    def _mode(self, order: Order) -> RunMode:
        leads = order.target_leader == self._context.me
        return RunMode.LEADER if leads else RunMode.FOLLOWER

    # ------------------------------------------------------------ worker state

    async def _activate(self) -> None:
        """Tell the cluster that this worker takes partitions, once, unless an operator has said
        otherwise. Cancellation-safe: the edit may be done twice.
        """
        pause_s = ACTIVATION_PAUSE_S
        while True:
            try:
                await self._context.metadata.update(NODES_CONFIGURATION_KEY, self._activated)
                return
            except (MetadataError, CodecError) as error:
                logger.info("worker not active yet", reason=str(error), retry_in_s=pause_s)
            await asyncio.sleep(pause_s * self._context.rng.uniform(0.7, 1.3))

    def _activated(self, blob: bytes | None) -> bytes | None:
        if blob is None:
            return None
        nodes = decode_nodes_configuration(blob)
        me = nodes.find(self._context.me)
        if me is None or me.worker_state is not WorkerState.PROVISIONING:
            return None
        return encode_nodes_configuration(
            nodes.updated(replace(me, worker_state=WorkerState.ACTIVE), nodes.modified_at)
        )
