"""What only this node knows, as rows for queries: its configuration, its loglets, its readers.

    restatectl sql ─▶ an admin node ─ ReadNodeRows ─▶ every node ─▶ its own rows

Everything is in memory and small, so an answer is made at once. Secret values are not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from restate_node.bifrost.log import Bifrost
from restate_node.bifrost.reader import LogReader
from restate_node.fabric.router import Reply
from restate_node.node.config_values import render
from restate_node.roles.log_server.loglet_worker import LogletWorker
from restate_node.roles.log_server.service import LogServer
from restate_node.types.cluster_tables import BIFROST_READ_STREAMS, CONFIG, LOGLET_WORKERS
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.ids import (
    GenerationalNodeId,
    loglet_log,
    loglet_segment,
    loglet_text,
    plain_text,
)
from restate_node.types.introspection import Table
from restate_node.types.logs import ReplicatedSegment
from restate_node.types.node_row_messages import NodeRows, ReadNodeRows
from restate_node.types.options import NodeOptions
from restate_node.types.settings import secrets, walk

HIDDEN: Final = "***"
NO_END: Final = (1 << 64) - 1
"""The end of a reader that goes on for ever."""

Values = list[dict[str, Any]]


class OwnRows:
    """Answers `ReadNodeRows` on every node."""

    def __init__(
        self,
        me: GenerationalNodeId,
        options: NodeOptions,
        bifrost: Bifrost,
        log_server: LogServer | None,
    ) -> None:
        self._me = me
        self._options = options
        self._bifrost = bifrost
        self._log_server = log_server
        self._makers: Mapping[str, tuple[Table, Callable[[], Values]]] = {
            CONFIG.name: (CONFIG, self._configuration),
            LOGLET_WORKERS.name: (LOGLET_WORKERS, self._loglet_workers),
            BIFROST_READ_STREAMS.name: (BIFROST_READ_STREAMS, self._readers),
        }

    def answer(self, _: Peer, request: ReadNodeRows, reply: Reply) -> None:
        """A handler of the router."""
        known = self._makers.get(request.table)
        if known is None:
            text = f"table {request.table!r} is not known to this release"
            reply(RpcFailure(RpcCode.NOT_READY, text))
            return
        table, make = known
        mine = {"plain_node_id": plain_text(self._me.id), "gen_node_id": str(self._me)}
        reply(NodeRows([table.row(mine | values) for values in make()]))

    def _configuration(self) -> Values:
        hidden = set(secrets(self._options))
        rows: Values = []
        for key, about, value in walk(self._options):
            if value is not None:
                shown = HIDDEN if key in hidden else render(about, value).strip('"')
                rows.append({"key": key, "value": shown})
        return rows

    def _loglet_workers(self) -> Values:
        workers = [] if self._log_server is None else self._log_server.loaded()
        return [_worker_values(worker) for worker in workers]

    def _readers(self) -> Values:
        return [_reader_values(reader) for reader in self._bifrost.readers()]


def _worker_values(worker: LogletWorker) -> dict[str, Any]:
    state = worker.state
    seals, tails = worker.waiting
    return {
        "loglet_id": loglet_text(state.loglet),
        "log_id": loglet_log(state.loglet),
        "segment_index": loglet_segment(state.loglet),
        "local_tail": state.local_tail,
        "is_sealed": state.sealed,
        "trim_point": state.trim_point,
        "known_global_tail": state.known_global_tail,
        "sequencer": None if state.sequencer is None else str(state.sequencer),
        "is_active": not worker.is_idle,
        "staging_local_tail": state.staged_tail,
        "seal_enqueued": state.seal_pending,
        "accepting_writes": not (state.sealed or state.seal_pending or state.disabled),
        "pending_seals": seals,
        "pending_tail_waiters": tails,
    }


def _reader_values(reader: LogReader) -> dict[str, Any]:
    segment = reader.segment
    return {
        "log_id": reader.log,
        "loglet_id": loglet_text(segment.params.loglet_id)
        if isinstance(segment, ReplicatedSegment)
        else None,
        "read_pointer": reader.position,
        "end_lsn": NO_END,
        "state": None if segment is None else "Reading",
        "safe_known_tail": reader.tail,
        "current_segment": None if segment is None else segment.index,
        "is_tailing": True,
    }
