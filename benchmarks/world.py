"""What the cases need of a cluster, whichever way it was started."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from benchmarks.load import Submit


class World(Protocol):
    """A cluster that can be appended to."""

    @property
    def description(self) -> str:
        """One line for people: what is measured."""
        ...

    @property
    def directory(self) -> Path:
        """On the disk of the cluster, for the yardstick."""
        ...

    @property
    def process_ids(self) -> list[int]:
        """Processes of the nodes, as far as they run here; the first is the sequencer's."""
        ...

    @property
    def submit(self) -> Submit: ...


class CanIdle(Protocol):
    """A world that can measure an idle node."""

    @property
    def idle_process_ids(self) -> list[int]:
        """Processes that hold nothing but a node."""
        ...


class CanFailOver(Protocol):
    """A world that can lose the leader of its log."""

    async def fail_over(self) -> float:
        """Kill the leader of the log; seconds until the next append was acknowledged."""
        ...
