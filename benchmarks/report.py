"""Figures as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from benchmarks.cases import Case
from benchmarks.failover import FailOver
from benchmarks.host import host_facts
from benchmarks.measurement import Figures
from benchmarks.plot import Point

PLAIN_WIDTH = 150


@dataclass(frozen=True, slots=True)
class Row:
    """One case, measured: cells of the table and plain values."""

    rate: str = ""
    megabytes: str = ""
    p50: str = ""
    p99: str = ""
    ratio: str = ""
    processor: str = ""
    values: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(slots=True)
class Report:
    """All that a run found out."""

    description: str
    rows: list[tuple[Case, Row]] = field(default_factory=list[tuple[Case, Row]])
    sweep: list[Point] = field(default_factory=list[Point])

    def add(self, case: Case, row: Row) -> None:
        self.rows.append((case, row))


def append_row(figures: Figures) -> Row:
    """Rate and latency, and both as multiples of the raw sync beside them."""
    single = figures.in_flight == 1
    ratio = figures.of("latency_per_raw_sync" if single else "records_per_raw_sync")
    return Row(
        f"{figures.of('records_per_s'):,.0f}",
        f"{figures.of('megabytes_per_s'):.1f}",
        f"{figures.of('p50_ms'):.2f}",
        f"{figures.of('p99_ms'):.2f}",
        f"{ratio:.1f} × latency" if single else f"{ratio:.1f} × rate",
        f"{figures.of('cpu_cores'):.2f}",
        figures.as_json(),
    )


def idle_row(resident_mb: float, processor_percent: float) -> Row:
    """Memory and processor time of a node that has nothing to do."""
    values: dict[str, object] = {
        "case": "idle",
        "resident_mb": round(resident_mb, 1),
        "processor_percent": round(processor_percent, 2),
    }
    return Row(rate=f"{resident_mb:.0f} MB", processor=f"{processor_percent:.1f} %", values=values)


def failover_row(found: Sequence[FailOver]) -> Row:
    """The middle and the longest wait for a state patch; the log's own share beside it."""
    state = sorted(one.state_s for one in found)
    log = sorted(one.log_s for one in found)
    middle = len(found) // 2
    values: dict[str, object] = {
        "case": "failover",
        "seconds": round(state[middle], 3),
        "log_seconds": round(log[middle], 3),
        "all_seconds": [round(one.state_s, 3) for one in found],
        "all_log_seconds": [round(one.log_s, 3) for one in found],
    }
    return Row(
        rate=f"log {log[middle]:.2f} s",
        p50=f"{state[middle] * 1000:,.0f}",
        p99=f"{state[-1] * 1000:,.0f} (max)",
        values=values,
    )


def print_table(table: Table, console: Console | None = None) -> None:
    """As wide as it needs to be when the output is no terminal."""
    plain = console or Console()
    if not plain.is_terminal:
        plain.width = PLAIN_WIDTH
    plain.print(table)


def as_table(report: Report) -> Table:
    """One line per case."""
    table = Table(title=report.description, caption=" · ".join(host_facts().values()))
    table.add_column("case", no_wrap=True)
    for name in ("records/s", "MB/s", "p50 ms", "p99 ms", "raw fdatasync", "cores"):
        table.add_column(name, justify="right")
    table.add_column("floor")
    table.add_column("aim")
    for case, row in report.rows:
        cells = (row.rate, row.megabytes, row.p50, row.p99, row.ratio, row.processor)
        table.add_row(case.title, *cells, case.floor, case.aim)
    return table


def as_json(report: Report) -> str:
    """The same, with the rounds and the host."""
    content = {
        "what": report.description,
        "host": host_facts(),
        "cases": [row.values for _, row in report.rows],
        "sweep": [
            {"in_flight": point.in_flight, "records_per_s": round(point.records_per_s)}
            for point in report.sweep
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)
