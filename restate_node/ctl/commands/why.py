"""`restatectl why`: the decisions of the control plane, and what they were based on.

    every node ──GetEvents──▶ its own decisions ──▶ merged by time
    one node ──PlanConfiguration──▶ what would be decided now

Decisions about logs are taken where the partition's leader is, those about partitions by the
controller; both move, so all nodes are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.connection import CallsFailed
from restate_node.ctl.errors import CallFailed, CtlError
from restate_node.ctl.id_ranges import unknown_text
from restate_node.ctl.methods import GET_CLUSTER_CONFIGURATION, GET_EVENTS, PLAN_CONFIGURATION
from restate_node.ctl.plan_rows import PlanRow, log_rows, partition_rows
from restate_node.ctl.render import Block, Json, Report
from restate_node.ctl.times import TimeStyle, iso8601
from restate_node.types.ids import plain_text
from restate_node.types.nodes import Node, Role
from restate_node.wire.pb.cluster_ctrl_pb2 import GetClusterConfigurationRequest
from restate_node.wire.pb.operator_pb2 import (
    Event,
    GetEventsRequest,
    GetEventsResponse,
    PlanConfigurationRequest,
)

EVENTS_SHOWN_DEFAULT = 20
NO_SERVICE = "the nodes of this cluster do not keep their decisions: they are no restate-node"

Kind = Literal["log", "partition"]

app = noun("Why a log or a partition is where it is: decisions, their inputs and reasons.")

Last = Annotated[int, typer.Option("--last", min=1, help="Show the last N decisions.")]


@command(app, "log")
async def why_log(
    session: Session,
    log: Annotated[int, typer.Argument(metavar="LOG_ID", min=0)],
    last: Last = EVENTS_SHOWN_DEFAULT,
) -> Report:
    """Why a log has its nodeset, replication and sequencer.

    \b
    Example:
      restatectl why log 0

    \b
    JSON:
      {"kind", "id", "now": {"now", "then", "why"}, "events": [{"at", "node", "decision", "reason",
       "inputs", "alternatives"}], "silent": [{"node", "reason"}]}
    """
    logs = await session.cluster.logs()
    _check("log", log, sorted(logs.chains))
    return await _why(session, "log", log, last)


@command(app, "partition")
async def why_partition(
    session: Session,
    partition: Annotated[int, typer.Argument(metavar="PARTITION_ID", min=0)],
    last: Last = EVENTS_SHOWN_DEFAULT,
) -> Report:
    """Why a partition has its replicas and its leader.

    \b
    Example:
      restatectl why partition 3

    \b
    JSON:
      as `why log`
    """
    table = await session.cluster.partition_table()
    _check("partition", partition, sorted(table.partitions))
    return await _why(session, "partition", partition, last)


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known about one log or partition."""

    kind: Kind
    number: int
    now: PlanRow | None
    events: Sequence[Event]
    silent: Sequence[tuple[str, str]]


def why_report(story: Story, times: TimeStyle) -> Report:
    """The present, then the decisions, oldest first."""
    blocks: list[Block] = [f"{story.kind.capitalize()} {story.number}", *_now_lines(story.now)]
    for event in story.events:
        blocks += _event_lines(event, times)
    if not story.events:
        blocks += ["", "No decision is remembered: nodes forget theirs when they restart."]
    for node, reason in story.silent:
        blocks.append(f"Decisions of {node} are missing: {reason}")
    document: Json = {
        "kind": story.kind,
        "id": story.number,
        "now": None if story.now is None else _now_document(story.now),
        "events": [_event_document(event) for event in story.events],
        "silent": [{"node": node, "reason": reason} for node, reason in story.silent],
    }
    return Report(document, tuple(blocks))


def _now_lines(now: PlanRow | None) -> tuple[str, ...]:
    if now is None:
        return ()
    if now.then is None:
        return (f" Now: {now.now}", f" It stays: {now.why}")
    return (f" Now: {now.now}", f" It will become: {now.then}", f" Because: {now.why}")


def _event_lines(event: Event, times: TimeStyle) -> list[str]:
    inputs = "; ".join(f"{name} {value}" for name, value in sorted(event.inputs.items()))
    lines = ["", f"{times.moment(event.at_ms)}, {event.node}: {event.decision}"]
    lines.append(f"  because: {event.reason}")
    if inputs:
        lines.append(f"  known: {inputs}")
    lines += [f"  not {alternative}" for alternative in event.alternatives]
    return lines


def _now_document(now: PlanRow) -> Json:
    return {"now": now.now, "then": now.then, "why": now.why}


def _event_document(event: Event) -> Json:
    return {
        "at": iso8601(event.at_ms),
        "node": event.node,
        "decision": event.decision,
        "reason": event.reason,
        "inputs": dict(event.inputs),
        "alternatives": list(event.alternatives),
    }


def _check(kind: Kind, number: int, known: Sequence[int]) -> None:
    problem = unknown_text(kind, [number], known)
    if problem:
        raise CtlError(problem)


async def _why(session: Session, kind: Kind, number: int, last: int) -> Report:
    cluster = session.cluster
    request = GetEventsRequest()
    if kind == "log":
        request.log_id = number
    else:
        request.partition_id = number

    async def ask(node: Node) -> GetEventsResponse:
        return await cluster.call(cluster.link_to(node), GET_EVENTS, request)

    nodes = (await cluster.nodes_configuration()).members()
    answers = await cluster.each(nodes, ask)
    events: list[Event] = []
    silent: list[tuple[str, str]] = []
    for node, answer in zip(nodes, answers, strict=True):
        match answer:
            case CtlError():
                silent.append((plain_text(node.id), _reason(answer)))
            case GetEventsResponse():
                events.extend(answer.events)
    if len(silent) == len(nodes):
        raise CtlError("; ".join(f"{node}: {reason}" for node, reason in silent))
    events.sort(key=lambda event: event.at_ms)
    now = await _now(session, kind, number)
    return why_report(Story(kind, number, now, events[-last:], silent), session.times)


def _reason(error: CtlError) -> str:
    if not isinstance(error, CallFailed):
        return str(error)
    return NO_SERVICE if error.status == "UNIMPLEMENTED" else error.reason


async def _now(session: Session, kind: Kind, number: int) -> PlanRow | None:
    """What the rules say at this moment; None if nobody can say."""
    cluster = session.cluster
    try:
        current = await cluster.try_each(
            GET_CLUSTER_CONFIGURATION, GetClusterConfigurationRequest(), Role.ADMIN
        )
        request = PlanConfigurationRequest(configuration=current.cluster_configuration)
        plan = await cluster.try_each(PLAN_CONFIGURATION, request, Role.ADMIN)
    except CallsFailed:
        return None
    rows = log_rows(plan.logs) if kind == "log" else partition_rows(plan.partitions)
    return next((row for row in rows if row.number == number), None)
