"""Memory and processor time of nodes that nobody asks for anything."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.processes import processor_seconds, resident_bytes

SETTLE_S = 3.0
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Idle:
    """Of the node that takes most."""

    resident_mb: float
    processor_percent: float


async def measure_idle(process_ids: list[int], seconds: float) -> Idle:
    """Wait until the start is over, then watch."""
    await asyncio.sleep(SETTLE_S)
    before = [processor_seconds([process_id]) for process_id in process_ids]
    await asyncio.sleep(seconds)
    used = [
        processor_seconds([process_id]) - earlier
        for process_id, earlier in zip(process_ids, before, strict=True)
    ]
    resident = max(resident_bytes(process_id) for process_id in process_ids)
    return Idle(resident / MEGABYTE, max(used) / seconds * 100)
