"""`python -m benchmarks.operations`: what operators do to a running cluster, and what it costs.

arguments ─▶ three nodes ─▶ snapshot + bootstrap | replication | trim ─▶ table, JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import cluster_world
from benchmarks.host import host_facts
from benchmarks.operations_arguments import Arguments, parse
from benchmarks.operations_figures import Figures
from benchmarks.replication_case import measure_replication
from benchmarks.report import print_table
from benchmarks.snapshot_case import TransferPlan, measure_transfers
from benchmarks.trim_case import measure_trim
from benchmarks.workplace import workplace
from benchmarks.world import WorldFailed
from restate_node.roles.worker.snapshots import SNAPSHOT_FAILURES
from restate_node.runtime.real.loop import run
from restate_node.types.fabric import RpcFailure

REPLICATION = 2


async def measure(arguments: Arguments, directory: Path, console: Console) -> list[Figures]:
    """The cases one after the other, each in a cluster of its own."""
    found: list[Figures] = []
    for case in arguments.cases:
        place = directory / case
        place.mkdir(parents=True, exist_ok=True)
        console.print(f"{case}: starting nodes")
        found += await _measure_case(case, arguments, place, console)
    return found


async def _measure_case(
    case: str, arguments: Arguments, directory: Path, console: Console
) -> Sequence[Figures]:
    if case == "replication":
        return [await measure_replication(directory, arguments.rounds)]
    async with cluster_world(directory, REPLICATION) as world:
        if case == "trim":
            console.print(f"trim: appending {arguments.records:,} records")
            return [await measure_trim(world, arguments.records)]
        plan = TransferPlan(
            arguments.stores, arguments.size_bytes, arguments.rounds, arguments.seconds
        )
        return await measure_transfers(world, plan, console.print)


def as_table(found: Sequence[Figures]) -> Table:
    """One line per figure."""
    table = Table(title="operations on 3 nodes", caption=" · ".join(host_facts().values()))
    table.add_column("case", no_wrap=True)
    table.add_column("figure", no_wrap=True)
    for name in ("measured", "yardstick", "floor"):
        table.add_column(name, justify="right")
    for figures in found:
        for line in figures.lines():
            table.add_row(line.case, line.figure, line.measured, line.beside, line.floor)
    return table


def as_json(found: Sequence[Figures]) -> str:
    """The same, with the rounds and the host."""
    content = {"host": host_facts(), "cases": [figures.as_json() for figures in found]}
    return json.dumps(content, indent=2, ensure_ascii=False)


def main() -> int:
    """Entry point; returns the exit code."""
    arguments = parse()
    try:
        with workplace("operations", arguments.directory, keep=arguments.keep) as directory:
            found = run(measure(arguments, directory, Console(stderr=True)))
    except (WorldFailed, RpcFailure, TimeoutError, *SNAPSHOT_FAILURES) as error:
        text = str(error) or "the cluster took too long"
        print(f"operations benchmark: {text}", file=sys.stderr)
        return 1
    if arguments.json:
        print(as_json(found))
    else:
        print_table(as_table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
