"""What a node tells of itself to queries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from restate_node.node.node_rows import HIDDEN, OwnRows
from restate_node.roles.log_server.loglet_worker import LogletWorker
from restate_node.types.cluster_tables import NODE_TABLES
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.ids import GenerationalNodeId, LogId, PlainNodeId, SegmentIndex, loglet_id
from restate_node.types.node_row_messages import NodeRows, ReadNodeRows
from restate_node.types.options import NodeOptions
from restate_node.types.settings import secrets, walk

ME = GenerationalNodeId(PlainNodeId(1), 2)
PEER = Peer(ME, "here")


def options(**snapshots: Any) -> NodeOptions:
    plain = NodeOptions()
    worker = replace(plain.worker, snapshots=replace(plain.worker.snapshots, **snapshots))
    return replace(plain, worker=worker)


def ask(own: OwnRows, table: str) -> msgspec.Struct | RpcFailure:
    answers: list[msgspec.Struct | RpcFailure] = []
    own.answer(PEER, ReadNodeRows(table), answers.append)
    (answer,) = answers
    return answer


def test_configuration_is_told_without_its_secrets() -> None:
    """Goal: what this node really runs with, and nothing that opens doors. How: a secret key."""
    given = options(aws_secret_access_key="do not tell", aws_access_key_id="AKIA1")
    answer = ask(OwnRows(ME, given, bifrost=None, log_server=None), "config")  # type: ignore[arg-type]
    assert isinstance(answer, NodeRows)
    assert {tuple(row[:2]) for row in answer.rows} == {("N1", "N1:2")}
    values = {row[2]: row[3] for row in answer.rows}
    assert values["worker.snapshots.aws-secret-access-key"] == HIDDEN
    assert values["worker.snapshots.aws-access-key-id"] == "AKIA1"
    assert values["worker.invoker.connect-timeout"] == "10s"
    assert "do not tell" not in str(answer)
    assert len(values) == sum(value is not None for _, _, value in walk(given))


def test_secrets_are_those_that_no_log_shows() -> None:
    """Goal: one rule says what is secret. How: against the text of the options."""
    keys = set(secrets(NodeOptions()))
    assert {"worker.snapshots.aws-secret-access-key"} <= keys
    assert keys <= {key for key, _, _ in walk(NodeOptions())}


class Loaded:
    """A log server with one loglet in memory."""

    def loaded(self) -> list[LogletWorker]:
        from restate_node.protocol.loglet_store import LogletState, PersistedLoglet
        from restate_node.types.offsets import LogletOffset

        kept = PersistedLoglet(ME, sealed=True, trim_point=LogletOffset(3))
        state = LogletState(loglet_id(LogId(4), SegmentIndex(2)), kept, LogletOffset(9))
        return [LogletWorker(state, store=None, writer=None)]  # type: ignore[arg-type]


def test_loglets_are_told() -> None:
    """Goal: an operator sees what a log server promises. How: one that is sealed; none."""
    own = OwnRows(ME, NodeOptions(), bifrost=None, log_server=Loaded())  # type: ignore[arg-type]
    answer = ask(own, "loglet_workers")
    assert isinstance(answer, NodeRows)
    table = NODE_TABLES["loglet_workers"]
    shown = dict(zip(table.names, answer.rows[0], strict=True))
    assert shown == {
        "plain_node_id": "N1", "gen_node_id": "N1:2", "loglet_id": "4_2", "log_id": 4,
        "segment_index": 2, "local_tail": 9, "is_sealed": True, "trim_point": 3,
        "known_global_tail": 1, "sequencer": "N1:2", "is_active": False, "staging_local_tail": 9,
        "seal_enqueued": False, "accepting_writes": False, "pending_seals": 0,
        "pending_tail_waiters": 0, "last_request_at": None,
    }  # fmt: skip
    nothing = OwnRows(ME, NodeOptions(), bifrost=None, log_server=None)  # type: ignore[arg-type]
    assert ask(nothing, "loglet_workers") == NodeRows([])


def test_unknown_tables_are_refused() -> None:
    """Goal: a node of an older release is named in the answer. How: a table of the future."""
    own = OwnRows(ME, NodeOptions(), bifrost=None, log_server=None)  # type: ignore[arg-type]
    answer = ask(own, "gossip")
    assert isinstance(answer, RpcFailure) and answer.code is RpcCode.NOT_READY
