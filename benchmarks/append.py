"""`python -m benchmarks.append`: how fast a replicated log takes records.

arguments ─▶ world (bare plane | three nodes | running cluster) ─▶ cases ─▶ table, JSON, plot
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import report
from benchmarks.arguments import Arguments, parse
from benchmarks.bare import bare_world
from benchmarks.cases import SWEEP, Case, Kind, sweep_case
from benchmarks.measurement import Figures
from benchmarks.plot import Point, draw
from benchmarks.runner import Effort, run_append_case
from benchmarks.world import World
from restate_node.runtime.real.loop import run


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
        for case in self._arguments.cases:
            if case.kind is Kind.APPEND:
                result.add(case, report.append_row(await self._append(case)))
        if self._arguments.plot is not None:
            for in_flight in SWEEP:
                figures = await self._append(sweep_case(in_flight))
                result.sweep.append(Point(in_flight, figures.of("records_per_s")))
        return result

    async def _append(self, case: Case) -> Figures:
        bar = self._progress.add_task(case.title, total=self._effort.rounds)
        figures = await run_append_case(
            self._world, case, self._effort, lambda: self._progress.advance(bar)
        )
        self._progress.remove_task(bar)
        return figures


def _world(arguments: Arguments, directory: Path) -> AbstractAsyncContextManager[World]:
    return bare_world(directory, arguments.replication)


def main() -> int:
    """Entry point; returns the exit code."""
    arguments = parse()
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="append-benchmark-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        result = run(measure(arguments, directory, Console(stderr=True)))
    finally:
        if arguments.keep:
            print(f"data kept in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if arguments.json:
        print(report.as_json(result))
    else:
        Console().print(report.as_table(result))
    if arguments.plot is not None:
        arguments.plot.write_text(draw(result.sweep, result.description), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
