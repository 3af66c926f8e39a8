"""The yardstick: how often this disk, at this moment, makes a small write durable.

One thread appends to one file in the directory of the cluster and calls `fdatasync`, again and
again. Nothing that acknowledges one record at a time can be faster than that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter


@dataclass(frozen=True, slots=True)
class RawSync:
    """What the loop achieved."""

    per_s: float
    p50_ms: float


def measure_raw_sync(directory: Path, payload_bytes: int, seconds: float) -> RawSync:
    """Blocks for `seconds`: run it on a thread."""
    payload = os.urandom(payload_bytes)
    place = directory / "raw-sync"
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    took: list[float] = []
    try:
        started = now = perf_counter()
        while now - started < seconds:
            before = now
            os.write(descriptor, payload)
            os.fdatasync(descriptor)
            now = perf_counter()
            took.append(now - before)
    finally:
        os.close(descriptor)
        place.unlink()
    return RawSync(len(took) / (now - started), median(took) * 1000)
