"""What controllers, ingresses and partition processors say to each other.

The controller polls every node for its processors (`GetNodeState`) and tells workers what to run
(`ControlProcessors`). Whoever takes a request of a user sends it to the leader of the partition
(`PatchState`), as an admin node does with an operator's wish for a snapshot (`CreateSnapshot`).
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from restate_node.types.ids import GenerationalNodeId, LeaderEpoch, LogId, PartitionId
from restate_node.types.offsets import Lsn


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages here."""


class RunMode(IntEnum):
    """Numbers of the control plane's `cluster.RunMode`."""

    LEADER = 1
    FOLLOWER = 2


class DetailedRunMode(IntEnum):
    """Numbers of the control plane's `cluster.DetailedRunMode`."""

    CANDIDATE = 1
    FOLLOWER = 2
    BECOMING_LEADER = 3
    LEADER = 4


class ReplayStatus(IntEnum):
    """Numbers of the control plane's `cluster.ReplayStatus`."""

    STARTING = 1
    ACTIVE = 2
    CATCHING_UP = 3


class ProcessorStatus(_Message, frozen=True):
    """One processor, as its node sees it. LSNs are of records, `target_tail_lsn` is the next free
    one.
    """

    partition: PartitionId
    planned_mode: RunMode
    effective_mode: RunMode
    detailed_mode: DetailedRunMode
    replay_status: ReplayStatus
    updated_at_ms: int
    observed_epoch: LeaderEpoch | None = None
    observed_leader: GenerationalNodeId | None = None
    applied_lsn: Lsn | None = None
    applied_at_ms: int | None = None
    durable_lsn: Lsn | None = None
    target_tail_lsn: Lsn | None = None
    archived_lsn: Lsn | None = None


class GetNodeState(_Message, frozen=True):
    """How are you, and what do your processors do?"""


class NodeState(_Message, frozen=True):
    """The answer of any node; `processors` is empty on a node that is no worker."""

    node: GenerationalNodeId
    uptime_s: int
    processors: list[ProcessorStatus]


class Assignment(_Message, frozen=True):
    """What a worker should know of one partition: its epoch metadata, and who should lead it."""

    partition: PartitionId
    epoch_metadata: bytes
    """StorageCodec blob, as in the metadata store."""
    target_leader: GenerationalNodeId | None


class ControlProcessors(_Message, frozen=True):
    """Run these, stop those that no longer list you. Idempotent; older metadata versions are
    ignored.
    """

    assignments: list[Assignment]


class ControlAccepted(_Message, frozen=True):
    """The worker knows."""


class PatchState(_Message, frozen=True):
    """Replace the state of a virtual object or workflow. Answered when the record is committed.

    A node that does not lead the partition answers NOT_READY.
    """

    partition: PartitionId
    service: str
    key: str
    new_state: dict[str, bytes]
    expected_version: str | None = None


class Proposed(_Message, frozen=True):
    """The record is in the log, at this LSN."""

    lsn: Lsn


class CreateSnapshot(_Message, frozen=True):
    """Publish a snapshot of a partition that reaches `at_least`. Idempotent: a stored one that is
    as new is as good.

    A node that does not lead the partition answers NOT_READY, one without a repository FORBIDDEN.
    """

    partition: PartitionId
    at_least: Lsn | None = None


class SnapshotCreated(_Message, frozen=True):
    """A snapshot in the repository that holds all records up to `min_applied_lsn`."""

    snapshot_id: str
    log_id: LogId
    min_applied_lsn: Lsn
