"""`restatectl logs`: the chains of the logs, and where they end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from restate_node.ctl.chain_rows import (
    chain_cells,
    provider_document,
    provider_lines,
    segment_cells,
    segment_document,
)
from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.errors import CtlError, UsageError
from restate_node.ctl.id_ranges import parse_ids, unknown_text
from restate_node.ctl.methods import DESCRIBE_LOG, FIND_TAIL
from restate_node.ctl.render import Block, Cell, CellLike, Json, Report, Style, Table
from restate_node.ctl.times import TimeStyle
from restate_node.types.ids import LogId
from restate_node.types.logs import Chain, Logs, Segment
from restate_node.types.nodes import Role
from restate_node.wire.logs import encode_params
from restate_node.wire.pb.cluster_ctrl_pb2 import (
    DescribeLogRequest,
    FindTailRequest,
    FindTailResponse,
    TailState,
)

SEGMENTS_SHOWN_DEFAULT = 25
FIND_TAIL_TIMEOUT_MS = 10_000
OPEN_MARK = "▶ "

LIST_COLUMNS = ("L-ID", "FROM-LSN", "KIND", "LOGLET-ID", "REPLICATION", "SEQUENCER", "NODESET")
CHAIN_COLUMNS = (
    *("  IDX", "FROM-LSN", "KIND", "LOGLET-ID", "REPLICATION", "SEQUENCER", "NODESET"),
    "CREATED-AT",
)
TAIL_COLUMNS = ("LOG-ID", "SEGMENT", "STATE", "TAIL-LSN")

_RANGES_HELP = "Log ids: 0, 1-4 or 0-3,7."

app = noun("The logs: chains of segments, and where they end.")


@command(app, "list")
async def list_logs(session: Session) -> Report:
    """The configuration of new segments, and the newest segment of each log.

    \b
    Example:
      restatectl logs list

    \b
    JSON:
      {"version", "configuration": {"provider", "replication", "target_nodeset_size"},
       "logs": [{"id", "segments", "from_lsn", "index", "kind", "loglet_id", "replication",
       "sequencer", "nodeset"}]}; kind is replicated, local, in-memory or sealed
    """
    return list_report(await session.cluster.logs())


@command(app, "describe")
async def describe_logs(
    session: Session,
    ranges: Annotated[
        list[str] | None, typer.Argument(metavar="[RANGES]", help=_RANGES_HELP)
    ] = None,
    from_segment_id: Annotated[
        int | None, typer.Option("--from-segment-id", min=0, help="Begin with this segment.")
    ] = None,
    skip: Annotated[int, typer.Option("--skip", min=0, help="Leave out the first N.")] = 0,
    head: Annotated[int | None, typer.Option("--head", min=1, help="Show the first N.")] = None,
    tail: Annotated[
        int, typer.Option("--tail", min=1, help="Show the last N.")
    ] = SEGMENTS_SHOWN_DEFAULT,
    show_all: Annotated[bool, typer.Option("--all", help="Show all segments.")] = False,
    extra: Annotated[
        bool, typer.Option("--extra", help="Also show trim points and segment parameters.")
    ] = False,
) -> Report:
    """All segments of some logs, or of all; ▶ marks the segment that takes appends.

    \b
    Examples:
      restatectl logs describe
      restatectl logs describe 0-2 --extra

    \b
    JSON:
      {"version", "configuration": {…}, "logs": [{"id", "segments_total", "trim_point",
       "segments": [{"index", "from_lsn", "kind", "loglet_id", "replication", "sequencer",
       "nodeset", "created_at", "params"}]}]}; trim_point is null without --extra
    """
    wanted = checked_ids(ranges)
    window = Window(from_segment_id, skip, head, None if show_all else tail)
    logs = await session.cluster.logs()
    ids = known_logs(wanted, logs)
    trim_points = await _trim_points(session, ids) if extra else None
    return describe_report(logs, ids, window, session.times, trim_points, overview=not wanted)


@command(app, "find-tail")
async def find_tails(
    session: Session,
    ranges: Annotated[list[str], typer.Argument(metavar="RANGES", help=_RANGES_HELP)],
) -> Report:
    """Ask the log servers where logs end: the LSN that the next record will get.

    \b
    Example:
      restatectl logs find-tail 0-3

    \b
    JSON:
      {"logs": [{"id", "segment", "state", "tail_lsn", "error"}]}; state is OPEN or SEALED, and
       null with the reason in "error" if the tail could not be found
    """
    logs = await session.cluster.logs()
    ids = [LogId(number) for number in checked_ids(ranges)]
    known = [log for log in ids if log in logs.chains]
    found: dict[LogId, FindTailResponse | CtlError] = dict(
        zip(known, await session.cluster.each(known, _ask_tail(session)), strict=True)
    )
    return tails_report(ids, found, unknown_text("log", ids, logs.chains))


def checked_ids(ranges: Sequence[str] | None) -> tuple[int, ...]:
    """The ids of the command line; UsageError."""
    try:
        return parse_ids(ranges or ())
    except ValueError as error:
        raise UsageError(str(error)) from None


def known_logs(wanted: Sequence[int], logs: Logs) -> list[LogId]:
    """The wanted logs, or all; CtlError names those that do not exist."""
    problem = unknown_text("log", wanted, logs.chains)
    if problem:
        raise CtlError(problem)
    return [LogId(number) for number in wanted] or sorted(logs.chains)


# ---------------------------------------------------------------- list


def list_report(logs: Logs) -> Report:
    """Header and the newest segment of each log."""
    document: Json = {
        "version": logs.version,
        "configuration": provider_document(logs.configuration),
        "logs": [
            {
                "id": log,
                "segments": len(logs.chains[log].segments),
                **segment_document(logs.chains[log].tail),
            }
            for log in sorted(logs.chains)
        ],
    }
    return Report(document, (*header(logs), list_table(logs)))


def header(logs: Logs) -> tuple[str, ...]:
    """`Log chain v8` and what new segments are made of."""
    return (f"Log chain v{logs.version}", *provider_lines(logs.configuration))


def list_table(logs: Logs) -> Table:
    """One row per log."""
    rows = tuple((log, *chain_cells(logs.chains[log])) for log in sorted(logs.chains))
    return Table(LIST_COLUMNS, rows)


# ---------------------------------------------------------------- describe


@dataclass(frozen=True, slots=True)
class Window:
    """Which segments of a chain are shown; `tail` None means all that are left."""

    from_segment: int | None = None
    skip: int = 0
    head: int | None = None
    tail: int | None = None

    def of(self, segments: Sequence[Segment]) -> Sequence[Segment]:
        """The part of the segments that is shown."""
        first = self.from_segment or 0
        left = [segment for segment in segments if segment.index >= first][self.skip :]
        if self.head is not None:
            return left[: self.head]
        return left if self.tail is None else left[-self.tail :]


def describe_report(
    logs: Logs,
    ids: Sequence[LogId],
    window: Window,
    times: TimeStyle,
    trim_points: dict[LogId, int] | None = None,
    *,
    overview: bool,
) -> Report:
    """Header, the list if all logs are described, then a table per log."""
    blocks: list[Block] = [*header(logs)]
    if overview:
        blocks.append(list_table(logs))
    described: list[Json] = []
    for log in ids:
        shown = window.of(logs.chains[log].segments)
        trim_point = trim_points.get(log) if trim_points is not None else None
        blocks += _chain_blocks(logs, log, shown, times, trim_points)
        described.append(_chain_document(log, logs.chains[log], shown, trim_point))
    document: Json = {
        "version": logs.version,
        "configuration": provider_document(logs.configuration),
        "logs": described,
    }
    return Report(document, tuple(blocks))


def _chain_blocks(
    logs: Logs,
    log: LogId,
    shown: Sequence[Segment],
    times: TimeStyle,
    trim_points: dict[LogId, int] | None,
) -> list[Block]:
    chain = logs.chains[log]
    extra = trim_points is not None
    trim_line = [f"Trim Point LSN: {trim_points[log]}"] if trim_points is not None else []
    columns = (*CHAIN_COLUMNS, "PARAMS") if extra else CHAIN_COLUMNS
    rows = tuple(_segment_row(segment, chain, times, extra) for segment in shown)
    count = f"{len(shown)}/{len(chain.segments)} segments shown."
    title = f"Log Id: {log} (v{logs.version})"
    return ["", title, *trim_line, Table(columns, rows), "---", count]


def _segment_row(
    segment: Segment, chain: Chain, times: TimeStyle, extra: bool
) -> tuple[CellLike, ...]:
    is_open = segment is chain.tail and not chain.is_sealed
    index = Cell(f"{OPEN_MARK}{segment.index}", Style.GOOD) if is_open else f"  {segment.index}"
    row = (index, *segment_cells(segment, times))
    return (*row, encode_params(segment)) if extra else row


def _chain_document(
    log: LogId, chain: Chain, shown: Sequence[Segment], trim_point: int | None
) -> Json:
    return {
        "id": log,
        "segments_total": len(chain.segments),
        "trim_point": trim_point,
        "segments": [
            {**segment_document(segment), "params": encode_params(segment)} for segment in shown
        ],
    }


async def _trim_points(session: Session, ids: Sequence[LogId]) -> dict[LogId, int]:
    async def ask(log: LogId) -> int:
        request = DescribeLogRequest(log_id=log)
        response = await session.cluster.try_each(DESCRIBE_LOG, request, Role.ADMIN)
        return response.trim_point

    answers = await session.cluster.each(ids, ask)
    trim_points: dict[LogId, int] = {}
    for log, answer in zip(ids, answers, strict=True):
        if isinstance(answer, CtlError):
            raise CtlError(f"trim point of log {log}: {answer}")
        trim_points[log] = answer
    return trim_points


# ---------------------------------------------------------------- tails


def tails_report(
    ids: Sequence[LogId],
    found: dict[LogId, FindTailResponse | CtlError],
    unknown: str | None,
) -> Report:
    """One row per log that was asked for; failures are rows and problems."""
    rows: list[tuple[CellLike, ...]] = []
    documents: list[Json] = []
    problems = [unknown] if unknown else []
    for log in ids:
        answer = found.get(log, CtlError("Unknown log-id"))
        if isinstance(answer, CtlError):
            rows.append((log, "", Cell(str(answer), Style.BAD), ""))
            documents.append(_tail_document(log, None, str(answer)))
            if log in found:
                problems.append(f"tail of log {log}: {answer}")
        else:
            state = TailState.Name(answer.tail_state)
            rows.append((log, answer.segment_index, state, answer.tail_lsn))
            documents.append(_tail_document(log, answer, None))
    return Report({"logs": documents}, (Table(TAIL_COLUMNS, tuple(rows)),), tuple(problems))


def _tail_document(log: LogId, answer: FindTailResponse | None, error: str | None) -> Json:
    return {
        "id": log,
        "segment": answer.segment_index if answer else None,
        "state": TailState.Name(answer.tail_state) if answer else None,
        "tail_lsn": answer.tail_lsn if answer else None,
        "error": error,
    }


def _ask_tail(session: Session) -> Callable[[LogId], Awaitable[FindTailResponse]]:
    async def ask(log: LogId) -> FindTailResponse:
        return await session.cluster.try_each(
            FIND_TAIL, FindTailRequest(log_id=log), Role.ADMIN, timeout_ms=FIND_TAIL_TIMEOUT_MS
        )

    return ask
