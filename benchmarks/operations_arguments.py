"""The command line of `python -m benchmarks.operations`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CASES = ("snapshot", "replication", "trim")
STORES = ("s3", "file")
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was asked for."""

    cases: tuple[str, ...]
    stores: tuple[str, ...]
    size_bytes: int
    rounds: int
    seconds: int
    records: int
    directory: Path | None
    keep: bool
    json: bool


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Exits with status 2 and one line when the arguments make no sense."""
    given = _parser().parse_args(argv)
    return Arguments(
        cases=tuple(given.case) or CASES,
        stores=tuple(given.store) or STORES,
        size_bytes=given.size * MEBIBYTE,
        rounds=given.rounds,
        seconds=given.seconds,
        records=given.records,
        directory=given.directory,
        keep=given.keep,
        json=given.json,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operations",
        description="Measure what operators do to a running cluster, beside plain copies of the "
        "same bytes. Three nodes are started on this machine and removed afterwards.",
        epilog="cases: snapshot = snapshots of a partition, and replicas started from them; "
        "replication = log replication 1 to 2 under load; trim = disk that a trim gives back",
    )
    add = parser.add_argument
    add("--case", action="append", default=[], choices=CASES, help="only this one; repeatable")
    add("--store", action="append", default=[], choices=STORES, help="only this one; repeatable")
    add("--size", type=_count, default=256, metavar="MIB", help="size of the partition (256)")
    add("--rounds", type=_count, default=3, help="rounds, the median counts (3)")
    add("--seconds", type=_count, default=4, help="of each side of a comparison, at least (4)")
    add("--records", type=_count, default=1_000_000, help="records to trim (1000000)")
    add("--directory", type=Path, help="where the started nodes keep their data (a temporary one)")
    add("--keep", action="store_true", help="do not remove that directory")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100000000")
    return value
