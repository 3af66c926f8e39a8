"""What each worker was told, and telling it again when it seems not to have heard.

    wanted assignments ─┐                    ┌─▶ ControlProcessors, one message at a time per worker
    told so far ────────┴─▶ the difference ──┘        │ accepted: told     failed: again, soon

A worker that hangs must not delay another, so nothing here waits: messages are submitted and their
answers come back as callbacks. Instructions are idempotent, which is why a doubt ("it does not
report what it was told") is answered by saying it once more.

Invariants: at most one message to a life of a worker is under way; a new life knows nothing; when
every worker was told and none is doubted, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from restate_node.fabric.fabric import Fabric
from restate_node.runtime.ports import Clock
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import GenerationalNodeId, PartitionId
from restate_node.types.processor_messages import Assignment, ControlProcessors

logger = structlog.get_logger(__name__)

INSTRUCT_TIMEOUT_S: Final = 2.0
RETRY_S: Final = 0.2
REMIND_S: Final = 1.5
"""How long a worker may take to report what it was told."""
ASSIGNMENTS_MAX: Final = 512
"""In one message; the rest follows."""


@dataclass(slots=True)
class _Worker:
    """One life of a worker."""

    told: dict[PartitionId, Assignment] = field(default_factory=dict[PartitionId, Assignment])
    told_at: dict[PartitionId, float] = field(default_factory=dict[PartitionId, float])
    under_way: bool = False
    failed_at: float | None = None


class Instructions:
    """Tells workers what they should know. `on_answer` is called after every answer."""

    def __init__(self, fabric: Fabric, clock: Clock, on_answer: Callable[[], None]) -> None:
        self._fabric = fabric
        self._clock = clock
        self._on_answer = on_answer
        self._workers: dict[GenerationalNodeId, _Worker] = {}
        self.sent_count = 0

    def keep_only(self, alive: Collection[GenerationalNodeId]) -> None:
        """Forget lives that have ended."""
        self._workers = {node: told for node, told in self._workers.items() if node in alive}

    def instruct(
        self,
        node: GenerationalNodeId,
        wanted: Mapping[PartitionId, Assignment],
        doubted: Collection[PartitionId],
    ) -> bool:
        """Send what the worker has not been told; False if something is still to be said."""
        worker = self._workers.setdefault(node, _Worker())
        now = self._clock.monotonic()
        due = [
            assignment
            for partition, assignment in wanted.items()
            if worker.told.get(partition) != assignment
            or (partition in doubted and now - worker.told_at[partition] >= REMIND_S)
        ]
        if not due:
            return True
        pausing = worker.failed_at is not None and now - worker.failed_at < RETRY_S
        if not worker.under_way and not pausing:
            self._send(node, worker, due[:ASSIGNMENTS_MAX])
        return False

    def _send(self, node: GenerationalNodeId, worker: _Worker, due: list[Assignment]) -> None:
        worker.under_way = True
        self.sent_count += 1

        def answered(answer: msgspec.Struct | RpcFailure) -> None:
            self._answered(node, worker, due, answer)

        self._fabric.submit(node, ControlProcessors(due), answered, timeout_s=INSTRUCT_TIMEOUT_S)

    def _answered(
        self,
        node: GenerationalNodeId,
        worker: _Worker,
        due: list[Assignment],
        answer: msgspec.Struct | RpcFailure,
    ) -> None:
        worker.under_way = False
        now = self._clock.monotonic()
        if isinstance(answer, RpcFailure):
            worker.failed_at = now
            logger.debug("worker was not instructed", node=str(node), error=str(answer))
        else:
            worker.failed_at = None
            for assignment in due:
                worker.told[assignment.partition] = assignment
                worker.told_at[assignment.partition] = now
        self._on_answer()
