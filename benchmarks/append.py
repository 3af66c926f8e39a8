"""`python -m benchmarks.append`: how fast a replicated log takes records.

arguments ─▶ world (bare plane | three nodes | running cluster) ─▶ cases ─▶ table, JSON, plot
"""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import report
from benchmarks.arguments import Arguments, parse
from benchmarks.bare import bare_world
from benchmarks.cases import SWEEP, Case, Kind, sweep_case
from benchmarks.cluster import BENCHMARK_LOG, ClusterWorld, cluster_world
from benchmarks.failover import FailOver
from benchmarks.idle import measure_idle
from benchmarks.measurement import Figures
from benchmarks.plot import Point, draw
from benchmarks.remote import remote_world
from benchmarks.runner import Effort, run_append_case
from benchmarks.workplace import workplace
from benchmarks.world import World, WorldFailed
from restate_node.runtime.real.loop import run
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import LogId

IDLE_S_MIN = 5.0


async def measure(arguments: Arguments, directory: Path, console: Console) -> report.Report:
    """Start the world, run the cases, take the world down."""
    async with _world(arguments, directory) as world:
        columns = (TextColumn("{task.description:28}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            return await _Session(arguments, world, progress).run()


class _Session:
    """The cases of one run against one world."""

    def __init__(self, arguments: Arguments, world: World, progress: Progress) -> None:
        self._arguments = arguments
        self._world = world
        self._progress = progress
        self._effort = Effort(arguments.seconds, arguments.rounds, arguments.raw_seconds)

    async def run(self) -> report.Report:
        result = report.Report(self._world.description)
        for case in sorted(self._arguments.cases, key=_when):
            row = await self._row(case)
            if row is not None:
                result.add(case, row)
        result.rows.sort(key=lambda row: self._arguments.cases.index(row[0]))
        if self._arguments.plot is not None:
            for in_flight in SWEEP:
                figures = await self._append(sweep_case(in_flight))
                result.sweep.append(Point(in_flight, figures.of("records_per_s")))
        return result

    async def _row(self, case: Case) -> report.Row | None:
        """None when this world cannot measure the case."""
        match case.kind:
            case Kind.APPEND:
                return report.append_row(await self._append(case))
            case Kind.IDLE:
                return await self._idle()
            case Kind.FAILOVER:
                return await self._fail_over(case)

    async def _idle(self) -> report.Row | None:
        if not isinstance(self._world, ClusterWorld):
            return None
        seconds = max(IDLE_S_MIN, self._effort.seconds)
        idle = await measure_idle(self._world.idle_process_ids, seconds)
        return report.idle_row(idle.resident_mb, idle.processor_percent)

    async def _fail_over(self, case: Case) -> report.Row | None:
        if not isinstance(self._world, ClusterWorld):
            return None
        bar = self._progress.add_task(case.title, total=self._effort.rounds)
        took: list[FailOver] = []
        for _ in range(self._effort.rounds):
            took.append(await self._world.fail_over())
            self._progress.advance(bar)
        self._progress.remove_task(bar)
        return report.failover_row(took)

    async def _append(self, case: Case) -> Figures:
        bar = self._progress.add_task(case.title, total=self._effort.rounds)
        figures = await run_append_case(
            self._world, case, self._effort, lambda: self._progress.advance(bar)
        )
        self._progress.remove_task(bar)
        return figures


def _when(case: Case) -> int:
    """Idle nodes are measured before they have worked, and are killed last."""
    return [Kind.IDLE, Kind.APPEND, Kind.FAILOVER].index(case.kind)


def _world(arguments: Arguments, directory: Path) -> AbstractAsyncContextManager[World]:
    if arguments.address is not None:
        log = BENCHMARK_LOG if arguments.log is None else LogId(arguments.log)
        return remote_world(arguments.address, arguments.cluster_name, log, arguments.replication)
    if arguments.bare:
        return bare_world(directory, arguments.replication)
    return cluster_world(directory, arguments.replication)


def main() -> int:
    """Entry point; returns the exit code."""
    arguments = parse()
    try:
        with workplace("append", arguments.directory, keep=arguments.keep) as directory:
            result = run(measure(arguments, directory, Console(stderr=True)))
    except (WorldFailed, RpcFailure, TimeoutError) as error:
        print(f"append benchmark: {str(error) or 'the cluster took too long'}", file=sys.stderr)
        return 1
    if arguments.json:
        print(report.as_json(result))
    else:
        report.print_table(report.as_table(result))
    if arguments.plot is not None:
        arguments.plot.write_text(draw(result.sweep, result.description), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
