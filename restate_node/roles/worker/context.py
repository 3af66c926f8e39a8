"""What all processors of a worker share: who they are, what they use, whom they tell."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from restate_node.roles.worker.invoker.context import Services
from restate_node.roles.worker.log import Log
from restate_node.roles.worker.snapshot_repository import SnapshotRepository
from restate_node.runtime.ports import Clock, Disk
from restate_node.runtime.tasks import TaskCenter
from restate_node.types.ids import (
    GenerationalNodeId,
    LeaderEpoch,
    LogId,
    PartitionId,
    PlainNodeId,
)
from restate_node.types.options import WorkerOptions
from restate_node.types.processor_messages import NodeState

EXPORTS_MAX: Final = 4
"""Unless the options say otherwise."""
DOWNLOADS_MAX: Final = 4

Edit = Callable[[bytes | None], bytes | None]


class MetadataStore(Protocol):
    """The part of `cluster.metadata_client.MetadataClient` that a worker needs."""

    async def update(self, key: str, edit: Edit) -> bytes | None:
        """Read, modify, write; None leaves the value as it is. Raises MetadataError."""
        ...


@dataclass(frozen=True, slots=True)
class LeadershipListeners:
    """Whom to tell what this node leads. Called on the loop; they must not block or raise."""

    announce: Callable[[PartitionId, LeaderEpoch], None]
    """This node leads since that epoch: tell the cluster."""
    on_leader: Callable[[LogId, PartitionId], None]
    """This node now is the preferred writer of the log."""
    on_follower: Callable[[LogId, PartitionId], None]
    """It no longer is. Comes once after each `on_leader`."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What a leader wants to know of other workers."""

    ask: Callable[[PlainNodeId], Awaitable[NodeState]]
    """How its processors are; raises RpcFailure."""
    workers: Callable[[], int]
    """How many there are, this one included."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Given to every processor."""

    me: GenerationalNodeId
    disk: Disk
    log: Log
    metadata: MetadataStore
    tasks: TaskCenter
    clock: Clock
    rng: random.Random
    options: WorkerOptions
    listeners: LeadershipListeners
    snapshots: SnapshotRepository | None = None
    """None: no repository is configured."""
    neighbours: Neighbours | None = None
    """None: this worker trims no logs."""
    services: Services | None = None
    """None: this worker runs no invocations."""
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever opens a store."""
    exporting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EXPORTS_MAX))
    """Held by whoever exports and uploads a snapshot."""
    downloading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DOWNLOADS_MAX))
    """Held by whoever downloads a snapshot."""
