"""How far the repair of a log server is, for whoever waits for it (`server_repair`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from restate_node.protocol.server_repair import CopyStep
from restate_node.types.ids import LogId, LogletId
from restate_node.types.nodes import StorageState

PROBLEMS_MAX: Final = 16
PLANNED_MAX: Final = 1000


class Phase(Enum):
    """Where a repair is."""

    CLOSING = "closing"
    COPYING = "copying"
    RETURNING = "returning"
    DONE = "done"
    REFUSED = "refused"

    @property
    def is_over(self) -> bool:
        return self in (Phase.DONE, Phase.REFUSED)


class Refused(Exception):
    """This cannot be repaired now; the text is the operator's."""


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """What a dry run would have copied."""

    log: LogId
    loglet: LogletId
    step: CopyStep


@dataclass(slots=True)
class RepairProgress:
    """Written by the repair alone, read by anybody."""

    dry_run: bool
    before: StorageState
    phase: Phase = Phase.CLOSING
    loglets_total: int = 0
    loglets_done: int = 0
    records_total: int = 0
    records_checked: int = 0
    records_copied: int = 0
    """In a dry run: that would be."""
    bytes_copied: int = 0
    closed: list[LogId] = field(default_factory=list[LogId])
    """Logs that were moved off the node; in a dry run: that would be."""
    problems: list[str] = field(default_factory=list[str])
    planned: list[PlannedCopy] = field(default_factory=list[PlannedCopy])

    def refuse(self, problem: str) -> None:
        """Keep the first few."""
        if problem not in self.problems and len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)

    def plan(self, copy: PlannedCopy) -> None:
        """Count all, keep the first few."""
        self.records_copied += copy.step.tail - copy.step.first
        if len(self.planned) < PLANNED_MAX:
            self.planned.append(copy)
