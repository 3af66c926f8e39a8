"""The cases, and the figures that they are held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Kind(Enum):
    """What a case measures."""

    APPEND = "append"
    IDLE = "idle"
    FAILOVER = "failover"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table. Floor and aim are texts: they are printed, never tested."""

    name: str
    title: str
    kind: Kind = Kind.APPEND
    in_flight: int = 1
    """Batches under way, each submitted when one before it was acknowledged."""
    batch_records: int = 1
    record_bytes: int = 128
    floor: str = ""
    aim: str = ""


CASES = (
    Case("single", "append, 1 in flight", floor="p50 ≤ 2.5 ms", aim="0.8 ms"),
    Case("64", "append, 64 in flight", in_flight=64, floor="15,000/s", aim="50,000/s"),
    Case("1024", "append, 1024 in flight", in_flight=1024, floor="50,000/s", aim="200,000/s"),
    Case(
        "batches",
        "caller batches of 64",
        in_flight=64,
        batch_records=64,
        floor="100,000/s",
        aim="700,000/s",
    ),
    Case(
        "large",
        "16 KiB records",
        in_flight=64,
        record_bytes=16 * 1024,
        floor="80 MB/s",
        aim="150 MB/s",
    ),
    Case("idle", "idle node", Kind.IDLE, floor="≤ 120 MB, ≤ 5 %", aim="80 MB, 3 %"),
    Case(
        "failover",
        "leader killed → next append",
        Kind.FAILOVER,
        floor="≤ 5 s",
        aim="≤ 2 s",
    ),
)

SWEEP = (1, 4, 16, 64, 256, 1024, 4096)
"""Appends in flight for the plot."""


def find(name: str) -> Case:
    """The case of that name; ValueError lists them."""
    for case in CASES:
        if case.name == name:
            return case
    raise ValueError(f"unknown case {name!r}; use one of {', '.join(c.name for c in CASES)}")


def adapted(
    case: Case, size: int | None = None, in_flight: int | None = None, batch: int | None = None
) -> Case:
    """The case with what the command line overrides. Its floor then says nothing any more."""
    if case.kind is not Kind.APPEND or (size, in_flight, batch) == (None, None, None):
        return case
    return replace(
        case,
        record_bytes=size or case.record_bytes,
        in_flight=in_flight or case.in_flight,
        batch_records=batch or case.batch_records,
        floor="",
        aim="",
    )


def sweep_case(in_flight: int) -> Case:
    """One point of the plot."""
    return Case(f"sweep-{in_flight}", f"{in_flight} in flight", in_flight=in_flight)
