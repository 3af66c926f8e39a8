"""Runs one case, round by round, each beside the yardstick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.cases import Case
from benchmarks.load import ClosedLoop, make_batches
from benchmarks.measurement import Figures, Round, percentile
from benchmarks.processes import processor_seconds
from benchmarks.raw_sync import measure_raw_sync
from benchmarks.world import World

WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often."""

    seconds: float
    rounds: int
    raw_seconds: float


async def run_append_case(
    world: World, case: Case, effort: Effort, on_round: Callable[[], None]
) -> Figures:
    """Raw, case, raw, case, …; the first moments of a case are not counted."""
    batches = make_batches(case.batch_records, case.record_bytes)
    await ClosedLoop(world.submit, case.in_flight, batches).run(min(WARM_UP_S, effort.seconds))
    rounds: list[Round] = []
    for _ in range(effort.rounds):
        raw = await asyncio.to_thread(
            measure_raw_sync, world.directory, case.record_bytes, effort.raw_seconds
        )
        used = processor_seconds(world.process_ids)
        load = await ClosedLoop(world.submit, case.in_flight, batches).run(effort.seconds)
        used = processor_seconds(world.process_ids) - used
        ordered = sorted(load.latencies)
        rounds.append(
            Round(
                load.batches * case.batch_records,
                case.record_bytes,
                load.seconds,
                percentile(ordered, 0.5) * 1000,
                percentile(ordered, 0.99) * 1000,
                load.failures,
                raw.per_s,
                raw.p50_ms,
                used / load.seconds,
            )
        )
        on_round()
    return Figures(case.name, case.in_flight, case.batch_records, case.record_bytes, tuple(rounds))
