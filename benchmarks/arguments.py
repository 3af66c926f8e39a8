"""The command line of `python -m benchmarks.append`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import CASES, Case, adapted, find

EPILOG = "cases: " + "; ".join(f"{case.name} = {case.title}" for case in CASES)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was asked for."""

    cases: tuple[Case, ...]
    seconds: float
    rounds: int
    raw_seconds: float
    address: str | None
    cluster_name: str
    log: int | None
    bare: bool
    replication: int
    directory: Path | None
    keep: bool
    json: bool
    plot: Path | None


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Exits with status 2 and one line when the arguments make no sense."""
    parser = _parser()
    given = parser.parse_args(argv)
    if given.bare and given.address:
        parser.error("--bare starts its own processes: leave out --address")
    try:
        wanted = [find(name) for name in given.case] or list(CASES)
    except ValueError as error:
        parser.error(str(error))
    cases = tuple(adapted(case, given.size, given.in_flight, given.batch) for case in wanted)
    return Arguments(
        cases=cases,
        seconds=given.seconds,
        rounds=given.rounds,
        raw_seconds=given.raw_seconds,
        address=given.address,
        cluster_name=given.cluster_name,
        log=given.log,
        bare=given.bare,
        replication=given.replication,
        directory=given.directory,
        keep=given.keep,
        json=given.json,
        plot=given.plot,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.append",
        description="Measure appends to a replicated log. Without --address three nodes are "
        "started on this machine and removed afterwards.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("--case", action="append", default=[], metavar="NAME", help="only this case; repeatable")
    add("--seconds", type=_positive, default=3.0, help="length of a round (3)")
    add("--rounds", type=_count, default=3, help="rounds per case, the median counts (3)")
    add("--raw-seconds", type=_positive, default=1.0, help="length of the fdatasync loop (1)")
    add("--size", type=_count, metavar="BYTES", help="bytes per record, instead of the case's")
    add("--in-flight", type=_count, metavar="N", help="appends under way, instead of the case's")
    add("--batch", type=_count, metavar="N", help="records per append, instead of the case's")
    add("--address", metavar="URL", help="append to a running cluster, through this node")
    add("--cluster-name", default="localcluster", help="name of that cluster (localcluster)")
    add("--log", type=_count, metavar="ID", help="log to append to (one of its own)")
    add("--bare", action="store_true", help="log servers and a sequencer only, no nodes")
    add("--replication", type=_count, default=2, help="durable copies (2)")
    add("--directory", type=Path, help="where the started nodes keep their data (a temporary one)")
    add("--keep", action="store_true", help="do not remove that directory")
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--plot", type=Path, metavar="FILE", help="also draw throughput over concurrency (SVG)")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 3600")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 1000000")
    return value
