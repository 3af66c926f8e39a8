"""`python -m restate_node.sim`: run seeds, and tell the story of those that fail.

    --seed 7 --verbose           one run, one line per event
    --seeds 1-50                 many runs, two at a time
    --seeds 1-200 --plant NAME   with a bug planted, until a seed finds it
    --list-plants                what can be planted

The exit code is 1 if a seed failed (with a plant: if none did).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Final

from restate_node.sim.budget import QUIET, Budget
from restate_node.sim.plants import PLANTS
from restate_node.sim.run import Report, RunOptions, run_seed
from restate_node.sim.timeline import LEGEND

PROCESSES_DEFAULT: Final = 2
SEEDS_MAX: Final = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.list_plants:
        for plant in PLANTS.values():
            print(f"{plant.name}\n    {plant.mistake}")
        return 0
    seeds = options.seeds or range(options.seed, options.seed + 1)
    runs = [_run_options(seed, options) for seed in seeds]
    if options.verbose:
        return max(_verbose(run) for run in runs)
    return _many(runs, options.processes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m restate_node.sim",
        description="A cluster of real nodes in one process: time, chance and faults from a seed.",
    )
    parser.add_argument("--seed", type=int, default=1, help="the run to make (default 1)")
    parser.add_argument("--seeds", type=_range, metavar="A-B", help="all runs from A to B")
    parser.add_argument("--until", type=float, metavar="SECONDS", help="virtual time with faults")
    parser.add_argument("--steps", type=int, metavar="N", help="give a run up after so many steps")
    parser.add_argument("--quiet", action="store_true", help="no faults at all")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="put this bug into the system")
    parser.add_argument("--list-plants", action="store_true", help="say which bugs there are")
    parser.add_argument("--verbose", action="store_true", help="one line per event, as it happens")
    parser.add_argument(
        "--processes", type=int, default=PROCESSES_DEFAULT, help="runs at a time (default 2)"
    )
    return parser


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range such as 1-50") from None
    if not 1 <= len(seeds) <= SEEDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} names no seeds, or more than {SEEDS_MAX}")
    return seeds


def _run_options(seed: int, options: argparse.Namespace) -> RunOptions:
    budget = QUIET if options.quiet else Budget()
    if options.until is not None:
        shortest = min(budget.down_seconds_max, options.until)
        budget = replace(budget, seconds=options.until, down_seconds_max=shortest)
    run = RunOptions(seed, options.plant, budget=budget)
    return run if options.steps is None else replace(run, steps_max=options.steps)


# ---------------------------------------------------------------- telling


def _verbose(run: RunOptions) -> int:
    print(LEGEND)
    report = run_seed(run, print)
    print()
    print(_summary(report))
    if not report.is_green:
        print(failure_text(report, run.plant))
    return 0 if report.is_green else 1


def _many(runs: list[RunOptions], processes: int) -> int:
    """Until the end; with a plant, until it is found."""
    started = time.monotonic()
    failed: list[int] = []
    planted = runs[0].plant
    for done, report in enumerate(_reports(runs, processes), 1):
        print(f"{done}/{len(runs)}  {_summary(report)}", flush=True)
        if report.is_green:
            continue
        failed.append(report.seed)
        print(failure_text(report, planted), flush=True)
        if planted is not None:
            print(f"found {planted} with seed {report.seed}, after {done} seeds")
            return 0
    minutes = (time.monotonic() - started) / 60
    print(f"{len(runs)} seeds in {minutes:.1f} min, {len(failed)} failed: {failed or 'none'}")
    if planted is not None:
        print(f"{planted} was not found")
        return 1
    return 1 if failed else 0


def _reports(runs: list[RunOptions], processes: int) -> Iterator[Report]:
    """In the order of the seeds."""
    if processes <= 1 or len(runs) == 1:
        yield from map(run_seed, runs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(run_seed, runs)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _summary(report: Report) -> str:
    verdict = "ok    " if report.is_green else "FAILED"
    return (
        f"seed {report.seed:<6} {verdict}  {len(report.faults)} faults, "
        f"{report.acknowledged} records, {report.patched} commands, {report.swapped} swaps, "
        f"{report.answered} calls, "
        f"{report.seconds:.1f}s in {report.steps} steps, trace {report.trace_hash[:12]}"
    )


def failure_text(report: Report, plant: str | None = None) -> str:
    """All that a person needs to begin: what broke, what went before, and how to see it again."""
    planted = "" if plant is None else f" --plant {plant}"
    lines = [
        "",
        f"seed {report.seed} failed",
        *(f"  {finding}" for finding in report.findings),
        "",
        f"the last {len(report.story)} events:",
        *report.story,
        "",
        "faults, by seconds since the trouble began:",
        *(f"  {fault.at:7.3f}  {fault}" for fault in report.faults),
        "",
        f"replay: python -m restate_node.sim --seed {report.seed}{planted} --verbose",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
