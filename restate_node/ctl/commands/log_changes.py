"""`restatectl logs`, the commands that change chains: reconfigure, seal, trim, forced-seal.

Each log is asked for by itself; what fails for one is a problem of the report and does not stop
the others. None of these calls is repeated on a second node once a node may have acted, except
where repeating is harmless: trims and seals are, an extension names the segment that it closes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command
from restate_node.ctl.commands.logs import app, checked_ids, known_logs
from restate_node.ctl.configuration_edit import parse_replication
from restate_node.ctl.errors import CtlError, UsageError
from restate_node.ctl.methods import SEAL_AND_EXTEND_CHAIN, SEAL_CHAIN, TRIM_LOG
from restate_node.ctl.node_lists import known_nodes, parse_node, parse_nodes
from restate_node.ctl.render import Json, Report
from restate_node.types.ids import LogId, PlainNodeId, loglet_text
from restate_node.types.logs import Chain, ProviderKind, ReplicatedParams
from restate_node.types.nodes import Role
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.logs import decode_replicated_params
from restate_node.wire.pb.cluster_ctrl_pb2 import (
    ChainExtension,
    SealAndExtendChainRequest,
    SealAndExtendChainResponse,
    SealChainRequest,
    SealedSegment,
    TrimLogRequest,
)
from restate_node.wire.pb.common_pb2 import NodeId
from restate_node.wire.storage_codec import CodecError

__all__ = ["app"]

LSN_MAX = (1 << 63) - 1
DEFAULT_REASON = "sealed by an operator"

Outcome = tuple[tuple[str, ...], Json]
"""Lines and the document of one log."""

_RANGES = typer.Argument(metavar="RANGES", help="Log ids: 0, 1-4 or 0-3,7.")


@command(app, "reconfigure")
async def reconfigure(
    session: Session,
    log_id: Annotated[
        list[str], typer.Option("--log-id", "-l", metavar="RANGES", help="0, 1-4 or 0-3,7.")
    ],
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", help="replicated, the only one there is.")
    ] = None,
    segment_index: Annotated[
        int | None,
        typer.Option("--segment-index", "-i", min=0, help="Only if this is the last segment."),
    ] = None,
    min_version: Annotated[
        int, typer.Option("--min-version", "-m", min=1, help="Of the logs that the node has.")
    ] = 1,
    replication: Annotated[
        str | None, typer.Option("--replication", metavar="R", help="Copies of a record.")
    ] = None,
    nodeset: Annotated[
        list[str] | None, typer.Option("--nodeset", metavar="NODES", help="N1,N2,N4 or 1,2,4.")
    ] = None,
    sequencer: Annotated[
        str | None, typer.Option("--sequencer", metavar="NODE", help="Such as N1.")
    ] = None,
) -> Report:
    """Seal the last segment of logs, and open the next one there.

    What is left out is chosen by the rules for new segments.

    \b
    Examples:
      restatectl logs reconfigure --log-id 0-3
      restatectl logs reconfigure -l 0 --replication 2 --nodeset N1,N2,N4 --sequencer N1

    \b
    JSON:
      {"logs": [{"id", "segment", "sealed": {"index", "tail_lsn", "loglet_id"}, "error"}]}
    """
    if provider not in (None, ProviderKind.REPLICATED.value):
        raise UsageError(f"--provider: logs are replicated here, '{provider}' is not supported")
    members = parse_nodes(nodeset) if nodeset else ()
    writer = None if sequencer is None else parse_node(sequencer)
    copies = parse_replication("--replication", replication)
    logs = await session.cluster.logs()
    ids = known_logs(checked_ids(log_id), logs)
    configuration = await session.cluster.nodes_configuration()
    known_nodes([*members, *([] if writer is None else [writer])], configuration)

    async def one(log: LogId) -> Outcome:
        chain = logs.chains[log]
        index = chain.tail.index if segment_index is None else segment_index
        extension = _extension(index, copies, members, writer)
        request = SealAndExtendChainRequest(log_id=log, extension=extension)
        request.min_version.value = min_version
        response = await session.cluster.try_each(SEAL_AND_EXTEND_CHAIN, request, Role.ADMIN)
        return _reconfigured(log, chain, response)

    return await _each(session, ids, "reconfigure", one)


@command(app, "seal")
async def seal(
    session: Session,
    ranges: Annotated[list[str], _RANGES],
    segment_index: Annotated[
        int | None,
        typer.Option("--segment-index", "-i", min=0, help="Only if this is the last segment."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the chain.")] = DEFAULT_REASON,
) -> Report:
    """Seal logs. Whoever appends next opens a new segment.

    \b
    Example:
      restatectl logs seal 0-3 --reason maintenance

    \b
    JSON:
      {"logs": [{"id", "tail_lsn", "error"}]}
    """
    ids = known_logs(checked_ids(ranges), await session.cluster.logs())
    request = SealChainRequest(segment_index=segment_index, context=_context(reason))

    async def one(log: LogId) -> Outcome:
        return await _seal(session, log, request)

    return await _each(session, ids, "seal", one)


@command(app, "forced-seal")
async def forced_seal(
    session: Session,
    log_id: Annotated[int, typer.Argument(metavar="LOG_ID", min=0)],
    tail_lsn: Annotated[int, typer.Argument(metavar="LSN", min=1, max=LSN_MAX)],
    reason: Annotated[str, typer.Option("--reason", help="Kept with the chain.")] = DEFAULT_REASON,
) -> Report:
    """Seal a log at an LSN that is given, not proven. Records at and above it are lost for ever.

    For logs whose log servers are gone for ever and cannot prove the end. Asks twice.

    \b
    Example:
      restatectl logs forced-seal 0 1234

    \b
    JSON:
      {"logs": [{"id", "tail_lsn", "error"}]}
    """
    ids = known_logs([log_id], await session.cluster.logs())
    session.show(f"Log {log_id} will end at LSN {tail_lsn}, whatever its log servers hold.")
    session.require("Seal it there?")
    session.require(f"Records of log {log_id} at LSN {tail_lsn} and above will be LOST. Go on?")
    request = SealChainRequest(context=_context(reason), tail_lsn=tail_lsn)

    async def one(log: LogId) -> Outcome:
        return await _seal(session, log, request)

    return await _each(session, ids, "seal", one)


@command(app, "trim")
async def trim(
    session: Session,
    ranges: Annotated[list[str], _RANGES],
    trim_point: Annotated[
        int,
        typer.Option(
            "--trim-point", "-t", min=1, max=LSN_MAX, metavar="LSN", help="The last LSN to forget."
        ),
    ],
) -> Report:
    """Forget the records of logs up to an LSN, included; at most up to their tails.

    A replica that has not applied them needs a snapshot afterwards: compare `partitions list`.

    \b
    Example:
      restatectl logs trim 0-3 --trim-point 1000

    \b
    JSON:
      {"logs": [{"id", "trim_point", "error"}]}
    """
    ids = known_logs(checked_ids(ranges), await session.cluster.logs())

    async def one(log: LogId) -> Outcome:
        request = TrimLogRequest(log_id=log, trim_point=trim_point)
        await session.cluster.try_each(TRIM_LOG, request, Role.ADMIN)
        return (f"Submitted for log {log}",), {"id": log, "trim_point": trim_point, "error": None}

    return await _each(session, ids, "trim", one)


async def _each(
    session: Session,
    ids: Sequence[LogId],
    verb: str,
    one: Callable[[LogId], Awaitable[Outcome]],
) -> Report:
    """Lines of those that went well, problems of the others."""
    lines: list[str] = []
    documents: list[Json] = []
    problems: list[str] = []
    answers = await session.cluster.each(ids, one)
    for log, answer in zip(ids, answers, strict=True):
        if isinstance(answer, CtlError):
            problems.append(f"cannot {verb} log {log}: {answer}")
            documents.append({"id": log, "error": str(answer)})
        else:
            lines.extend(answer[0])
            documents.append(answer[1])
    return Report({"logs": documents}, tuple(lines), tuple(problems))


async def _seal(session: Session, log: LogId, template: SealChainRequest) -> Outcome:
    request = SealChainRequest(log_id=log)
    request.MergeFrom(template)
    request.log_id = log
    response = await session.cluster.try_each(SEAL_CHAIN, request, Role.ADMIN)
    tail = response.tail_offset
    lines = (f"✅ Log {log} has been sealed", f" └ Tail LSN: {tail}")
    return lines, {"id": log, "tail_lsn": tail, "error": None}


def _context(reason: str) -> dict[str, str]:
    return {"source": "restatectl", "reason": reason}


def _extension(
    index: int,
    replication: ReplicationProperty | None,
    nodeset: Sequence[PlainNodeId],
    sequencer: PlainNodeId | None,
) -> ChainExtension:
    extension = ChainExtension(segment_index=index, provider=ProviderKind.REPLICATED.value)
    if replication is not None:
        extension.replication.replication_property = str(replication)
    if sequencer is not None:
        extension.sequencer.id = sequencer
    extension.nodeset.extend(NodeId(id=node) for node in nodeset)
    return extension


def _reconfigured(log: LogId, chain: Chain, response: SealAndExtendChainResponse) -> Outcome:
    document: dict[str, Json] = {"id": log, "segment": response.new_segment_index, "error": None}
    lines = [f"✅ Log reconfiguration ({log})", f" └ Segment Index: {response.new_segment_index}"]
    if not response.HasField("sealed_segment"):
        return (*lines, ""), {**document, "sealed": None}
    sealed = response.sealed_segment
    params = _params(sealed)
    index, loglet = chain.tail.index, None if params is None else loglet_text(params.loglet_id)
    lines += ["", "Sealed segment", f" ├ Index: {index}", f" ├ Tail LSN: {sealed.tail_offset}"]
    if params is not None:
        members = ", ".join(f"N{node}" for node in sorted(params.nodeset))
        lines += [f" ├ Loglet ID: {loglet}", f" ├ Sequencer: {params.sequencer}"]
        lines += [f" ├ Replication: {params.replication}", f" ├ Node Set: [{members}]"]
    lines += [f" └ Provider: {sealed.provider}", ""]
    closed: Json = {"index": index, "tail_lsn": sealed.tail_offset, "loglet_id": loglet}
    return tuple(lines), {**document, "sealed": closed}


def _params(sealed: SealedSegment) -> ReplicatedParams | None:
    try:
        return decode_replicated_params(sealed.params)
    except CodecError:
        return None
