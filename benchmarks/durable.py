"""`python -m benchmarks.durable`: what durable execution costs three nodes, beside throughput.

suspended   memory of a node while so many invocations sleep
restart     SIGTERM to all nodes, start of all nodes, until each has answered a call
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from benchmarks.host import host_facts
from benchmarks.measurement import MEGABYTE
from benchmarks.processes import processor_seconds, resident_bytes
from benchmarks.report import print_table
from benchmarks.sleeping_service import SERVICE
from benchmarks.three_nodes import ThreeNodes, send_all, three_nodes
from benchmarks.workplace import workplace
from benchmarks.world import WorldFailed
from restate_node.runtime.real.loop import run

CASES = ("suspended", "restart")
IN_FLIGHT = 64
SETTLE_S = 5.0
PROGRESS_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class Suspended:
    """Of the node that takes most."""

    invocations: int
    sent_in_s: float
    before_mb: float
    highest_mb: float
    """While they were sent."""
    after_mb: float
    idle_cores: float
    """Of all nodes, with the invocations asleep."""

    def rows(self) -> list[tuple[str, str, str]]:
        """Figure, measured, floor."""
        case = f"{self.invocations:,} suspended"
        return [
            (f"{case}: memory of a node", f"{self.after_mb:.0f} MB", "≤ 400 MB, aim 150 MB"),
            (f"{case}: before, and at most", f"{self.before_mb:.0f}, {self.highest_mb:.0f} MB", ""),
            (f"{case}: sent, run and asleep in", f"{self.sent_in_s:.0f} s", ""),
            (f"{case}: processor of all nodes", f"{self.idle_cores:.2f} cores", ""),
        ]


@dataclass(frozen=True, slots=True)
class Restarts:
    """Seconds from the start of three processes."""

    first_s: tuple[float, ...]
    """Until some node has answered a call."""
    all_s: tuple[float, ...]
    """Until every node has."""

    def rows(self) -> list[tuple[str, str, str]]:
        """Figure, measured, floor."""
        return [
            ("restart: first call", f"{median(self.first_s):.2f} s", "≤ 10 s, aim 2 s"),
            ("restart: through each node", f"{median(self.all_s):.2f} s", ""),
        ]


async def measure_suspended(nodes: ThreeNodes, count: int, console: Console) -> Suspended:
    """Send them through the first node; they are asleep when no node computes any more."""
    before = _resident_mb(nodes)
    highest, began, sent = before, perf_counter(), 0
    while sent < count:
        amount = min(PROGRESS_EVERY, count - sent)
        keys = map(str, range(sent, sent + amount))
        path = f"/{SERVICE}/sleep/send"
        taken = await send_all(nodes.places[0].ingress_port, path, keys, IN_FLIGHT)
        if taken < amount:
            raise WorldFailed(f"{amount - taken} of {amount} messages were not taken")
        sent += amount
        highest = max(highest, _resident_mb(nodes))
        console.print(f"suspended: {sent:,} sent, {highest:.0f} MB")
    cores = await _calm(nodes)
    took = perf_counter() - began
    return Suspended(
        count, took, before, max(highest, _resident_mb(nodes)), _resident_mb(nodes), cores
    )


async def measure_restarts(nodes: ThreeNodes, rounds: int, console: Console) -> Restarts:
    """All nodes are stopped in order and started at once, again and again."""
    first: list[float] = []
    everywhere: list[float] = []
    for _ in range(rounds):
        await nodes.stop()
        nodes.start()
        seconds = await nodes.first_calls()
        first.append(min(seconds))
        everywhere.append(max(seconds))
        console.print(f"restart: first call after {first[-1]:.2f} s, each {everywhere[-1]:.2f} s")
        await _calm(nodes)
    return Restarts(tuple(first), tuple(everywhere))


async def _calm(nodes: ThreeNodes) -> float:
    """Wait until two looks in a row find little to do; the cores in use then."""
    former = sys.float_info.max
    while True:
        before = processor_seconds(nodes.process_ids)
        await asyncio.sleep(SETTLE_S)
        cores = (processor_seconds(nodes.process_ids) - before) / SETTLE_S
        if abs(former - cores) < 0.05 and cores < 0.5:
            return cores
        former = cores


def _resident_mb(nodes: ThreeNodes) -> float:
    return max(resident_bytes(process_id) for process_id in nodes.process_ids) / MEGABYTE


async def measure(
    arguments: argparse.Namespace, directory: Path, console: Console
) -> list[Suspended | Restarts]:
    """The cases in one cluster: the restarts have the suspended invocations to recover."""
    found: list[Suspended | Restarts] = []
    console.print("starting three nodes")
    async with three_nodes(directory) as nodes:
        if "suspended" in arguments.case:
            found.append(await measure_suspended(nodes, arguments.invocations, console))
        if "restart" in arguments.case:
            found.append(await measure_restarts(nodes, arguments.rounds, console))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = _parser().parse_args(argv)
    arguments.case = arguments.case or list(CASES)
    try:
        with workplace("durable", arguments.directory, keep=arguments.keep) as directory:
            found = run(measure(arguments, directory, Console(stderr=True)))
    except WorldFailed as error:
        print(f"durable benchmark: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        cases = [asdict(one) for one in found]
        print(json.dumps({"host": host_facts(), "cases": cases}, indent=2, ensure_ascii=False))
    else:
        print_table(as_table(found))
    return 0


def as_table(found: Sequence[Suspended | Restarts]) -> Table:
    """One line per figure."""
    table = Table(title="durable execution on 3 nodes", caption=" · ".join(host_facts().values()))
    for name in ("figure", "measured", "floor"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for one in found:
        for row in one.rows():
            table.add_row(*row)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.durable",
        description="Three nodes are started on this machine and removed afterwards.",
    )
    add = parser.add_argument
    add("--case", action="append", default=[], choices=CASES, help="only this one; repeatable")
    add("--invocations", type=int, default=100_000, help="how many sleep (100000)")
    add("--rounds", type=int, default=3, help="restarts, the median counts (3)")
    add("--directory", type=Path, help="where the nodes keep their data (a temporary one)")
    add("--keep", action="store_true", help="do not remove that directory")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
