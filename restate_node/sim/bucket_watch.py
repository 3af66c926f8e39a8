"""Tells the history which snapshots the repository names, read from the objects themselves.

`latest.json` is what every node believes; it is parsed here as any tool would parse it, without the
product's own reader.
"""

from __future__ import annotations

import json
from typing import Final

from restate_node.sim.history import SnapshotsKept
from restate_node.sim.recorder import Recorder

LATEST: Final = "latest.json"


class BucketWatch:
    """Called by the bucket for every object that is written."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.archived: dict[int, int] = {}
        """What every snapshot that is kept of a partition reaches."""

    def __call__(self, key: str, content: bytes) -> None:
        *_, partition, name = key.split("/")
        if name != LATEST:
            return
        found = json.loads(content)
        kept = found.get("retained_snapshots") or [found]
        lsns = tuple(int(snapshot["min_applied_lsn"]) for snapshot in kept)
        self.archived[int(partition)] = min(lsns)
        self._recorder.add(SnapshotsKept(self._recorder.now(), int(partition), lsns))
