"""Moments as they are written: the hybrid timestamp of metadata objects (milliseconds since 2022
above a 22-bit counter), and the text of the HTTP APIs.
"""

from __future__ import annotations

from datetime import UTC, datetime

HLC_EPOCH_MS = 1_640_995_200_000
_COUNTER_BITS = 22


def hlc(unix_ms: int, counter: int = 1) -> int:
    """A timestamp of that moment; the counter must not be zero."""
    return (max(0, unix_ms - HLC_EPOCH_MS) << _COUNTER_BITS) | counter


def moment_text(unix_ms: int) -> str:
    """`2026-11-23T06:39:17.466000000Z`, with nanoseconds."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return f"{moment.isoformat(timespec='milliseconds')[:23]}000000Z"
