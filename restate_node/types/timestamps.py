"""The hybrid timestamp of metadata objects: milliseconds since 2022 above a 22-bit counter."""

from __future__ import annotations

HLC_EPOCH_MS = 1_640_995_200_000
_COUNTER_BITS = 22


def hlc(unix_ms: int, counter: int = 1) -> int:
    """A timestamp of that moment; the counter must not be zero."""
    return (max(0, unix_ms - HLC_EPOCH_MS) << _COUNTER_BITS) | counter
