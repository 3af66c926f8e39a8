"""`restatectl replicated-loglet repair`: gives a log server back what it lost.

    StartRepair to the node itself ─▶ GetRepair again and again ─▶ done, or why not

The node does it; this command starts it and looks. If it is interrupted the repair goes on, and
starting it again looks at the same one.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command
from restate_node.ctl.commands.replicated_loglet import app
from restate_node.ctl.errors import CallFailed, CtlError
from restate_node.ctl.methods import GET_REPAIR, START_REPAIR
from restate_node.ctl.node_lists import known_nodes, parse_node
from restate_node.ctl.progress_bar import ProgressBar, bar_line
from restate_node.ctl.render import Block, CellLike, Json, Report, Table
from restate_node.types.ids import LogletId, PlainNodeId, loglet_text, plain_text
from restate_node.types.nodes import Node, Role, StorageState
from restate_node.wire.pb.operator_pb2 import (
    GetRepairRequest,
    MissingRecords,
    RepairProgress,
    StartRepairRequest,
)

__all__ = ["app"]

LOOK_AGAIN_S = 0.2
SILENCES_MAX = 5
"""Answers that may be missing before the node counts as lost; each waits for the time-outs."""
OPTION = "log-server.repair-after-data-loss = true"
PHASES = {"closing": "Moving logs", "copying": "Copying", "returning": "Returning"}
COLUMNS = ("L-ID", "LOGLET-ID", "FROM-OFFSET", "TO-OFFSET", "RECORDS", "SOURCES")


@command(app, "repair")
async def repair(
    session: Session,
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="The log server: 3 or N3.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is missing; change nothing.")
    ] = False,
) -> Report:
    """Verify a log server, copy what it lacks from its peers, and make it read-write again.

    The node must run. One that lost its data does so only with the option
    `log-server.repair-after-data-loss = true` (RESTATE_LOG_SERVER__REPAIR_AFTER_DATA_LOSS); until
    it is repaired it takes no records.

    Logs are moved off the node first. Nothing is overwritten: a record that differs between log
    servers, or of which no copy is left, is named, and the node stays as it is. May be repeated and
    interrupted at any time.

    \b
    Examples:
      restatectl replicated-loglet repair --node N3 --dry-run
      restatectl replicated-loglet repair --node N3

    \b
    JSON:
      {"node", "dry_run", "outcome", "before", "after", "loglets", "records", "copied", "bytes",
       "logs_closed", "missing": [{"log", "loglet_id", "from_offset", "to_offset", "sources"}],
       "problems"}
    """
    number = parse_node(node)
    (member,) = known_nodes([number], await session.cluster.nodes_configuration())
    _check_role(member)
    bar = ProgressBar()
    try:
        progress = await _to_its_end(session, member, dry_run, bar)
    finally:
        bar.clear()
    return repair_report(number, progress)


def repair_report(node: PlainNodeId, progress: RepairProgress) -> Report:
    """What was done, or would be."""
    name = plain_text(node)
    document: Json = {
        "node": name,
        "dry_run": progress.dry_run,
        "outcome": progress.phase,
        "before": progress.storage_state_before,
        "after": progress.storage_state,
        "loglets": progress.loglets_total,
        "records": progress.records_total,
        "copied": progress.records_copied,
        "bytes": progress.bytes_copied,
        "logs_closed": list(progress.logs_closed),
        "missing": [_document(missing) for missing in progress.missing],
        "problems": list(progress.problems),
    }
    problems = tuple(f"{name} cannot be repaired: {text}" for text in progress.problems)
    blocks = _dry_blocks(name, progress) if progress.dry_run else _blocks(name, progress)
    return Report(document, blocks, problems)


def progress_line(name: str, progress: RepairProgress) -> str:
    """The bar of this moment."""
    title = f"{PHASES.get(progress.phase, 'Ending')} {name}"
    megabytes = progress.bytes_copied / 1_000_000
    detail = f"records, {progress.records_copied} copied ({megabytes:.1f} MB)"
    return bar_line(title, progress.records_checked, progress.records_total, detail)


# ---------------------------------------------------------------- asking


async def _to_its_end(
    session: Session, member: Node, dry_run: bool, bar: ProgressBar
) -> RepairProgress:
    cluster, name = session.cluster, plain_text(member.id)
    link = cluster.link_to(member)
    start = StartRepairRequest(node=member.id, dry_run=dry_run)
    try:
        progress = await cluster.call(link, START_REPAIR, start)
    except CallFailed as failure:
        raise CtlError(_not_started(member, failure)) from None
    silences = 0
    while progress.phase not in ("done", "refused"):
        bar.draw(progress_line(name, progress))
        await asyncio.sleep(LOOK_AGAIN_S)
        try:
            progress = await cluster.call(link, GET_REPAIR, GetRepairRequest(node=member.id))
            silences = 0
        except CallFailed as failure:
            silences += 1
            if not failure.unreachable or silences >= SILENCES_MAX:
                text = f"{name} fell silent during its repair: {failure}; start it, then repeat"
                raise CtlError(text) from None
            cluster.forgive()
    return progress


def _not_started(member: Node, failure: CallFailed) -> str:
    name = plain_text(member.id)
    if failure.status == "UNIMPLEMENTED":
        return f"{name} does not know repairs: it is of another release ({failure.address})"
    if failure.unreachable and member.storage_state is StorageState.DATA_LOSS:
        return f"{name} does not answer: start it with `{OPTION}`, then repeat ({failure})"
    if failure.unreachable:
        return f"{name} does not answer: start it, then repeat ({failure})"
    return str(failure)


def _check_role(member: Node) -> None:
    if not member.has_role(Role.LOG_SERVER):
        name = plain_text(member.id)
        raise CtlError(f"{name} has not the role log-server: choose a node that has")


# ---------------------------------------------------------------- showing


def _blocks(name: str, progress: RepairProgress) -> tuple[Block, ...]:
    before, after = progress.storage_state_before, progress.storage_state
    if progress.phase == "done" and before == "read-write":
        return (f"{name} is read-write already: nothing to repair",)
    lines: list[Block] = []
    if progress.logs_closed:
        lines.append(f"Logs moved off {name} first: {_numbers(progress)}")
    megabytes = progress.bytes_copied / 1_000_000
    lines.append(
        f"{progress.records_checked} of {progress.records_total} records in "
        f"{progress.loglets_total} loglets verified, {progress.records_copied} copied "
        f"({megabytes:.1f} MB)"
    )
    if progress.phase == "done":
        lines.append(f"✅ Node {name} storage-state updated from {before} to {after}")
    return tuple(lines)


def _dry_blocks(name: str, progress: RepairProgress) -> tuple[Block, ...]:
    lines: list[Block] = []
    if progress.logs_closed:
        lines.append(f"Logs that would be moved off {name} first: {_numbers(progress)}")
    if progress.missing:
        lines.append(Table(COLUMNS, tuple(_row(missing) for missing in progress.missing)))
    lines.append(
        f"{progress.records_checked} of {progress.records_total} records in "
        f"{progress.loglets_total} loglets verified, {progress.records_copied} would be copied; "
        "nothing was changed"
    )
    return tuple(lines)


def _numbers(progress: RepairProgress) -> str:
    return ", ".join(str(log) for log in sorted(progress.logs_closed))


def _row(missing: MissingRecords) -> tuple[CellLike, ...]:
    count = missing.to_offset - missing.from_offset + 1
    sources = ", ".join(plain_text(PlainNodeId(node)) for node in sorted(missing.sources))
    loglet = loglet_text(LogletId(missing.loglet_id))
    return (missing.log_id, loglet, missing.from_offset, missing.to_offset, count, sources)


def _document(missing: MissingRecords) -> Json:
    return {
        "log": missing.log_id,
        "loglet_id": loglet_text(LogletId(missing.loglet_id)),
        "from_offset": missing.from_offset,
        "to_offset": missing.to_offset,
        "sources": [plain_text(PlainNodeId(node)) for node in sorted(missing.sources)],
    }
