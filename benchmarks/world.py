"""What the cases need of a cluster, whichever way it was started."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from benchmarks.load import Submit


class WorldFailed(Exception):
    """There is nothing to measure; one line for people."""


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
