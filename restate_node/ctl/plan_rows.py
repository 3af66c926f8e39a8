"""Plans of the server as lines and JSON: which log or partition goes where, and why.

What stays is counted, not listed: in a plan one looks for what moves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from restate_node.ctl.render import Block, Json, Table
from restate_node.wire.pb.operator_pb2 import LogPlan, PartitionPlan

COLUMNS = ("NOW", "THEN", "WHY")


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One log or partition; `then` None: it stays."""

    number: int
    now: str
    then: str | None
    why: str


def log_rows(plans: Iterable[LogPlan]) -> tuple[PlanRow, ...]:
    """As answered."""
    return tuple(PlanRow(p.log_id, p.present, _next(p), p.reason) for p in plans)


def partition_rows(plans: Iterable[PartitionPlan]) -> tuple[PlanRow, ...]:
    """As answered."""
    return tuple(PlanRow(p.partition_id, p.present, _next(p), p.reason) for p in plans)


def plan_blocks(noun: str, rows: tuple[PlanRow, ...]) -> tuple[Block, ...]:
    """`Logs that change:` and a table, then how many stay."""
    moving = tuple(row for row in rows if row.then is not None)
    staying = len(rows) - len(moving)
    lines: list[Block] = []
    if moving:
        cells = tuple((row.number, row.now, row.then or "", row.why) for row in moving)
        title = f"{noun.capitalize()}s that change: {len(moving)}"
        lines += ["", title, Table((noun.upper(), *COLUMNS), cells)]
    if staying:
        reasons = sorted({row.why for row in rows if row.then is None})
        lines += ["", f"{noun.capitalize()}s that stay: {staying} ({'; '.join(reasons)})"]
    return tuple(lines)


def plan_documents(rows: tuple[PlanRow, ...]) -> list[Json]:
    """`{"id", "now", "then", "why"}`; then is null for what stays."""
    return [{"id": r.number, "now": r.now, "then": r.then, "why": r.why} for r in rows]


def _next(plan: LogPlan | PartitionPlan) -> str | None:
    return plan.next if plan.HasField("next") else None
