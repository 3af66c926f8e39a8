"""When a log is moved, where to, and that it then stays."""

from __future__ import annotations

import pytest

from restate_node.protocol.log_placement import Keep, Reconfigure, judge_log
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.logs import (
    CLOSED_FOR_READERS,
    Chain,
    InMemorySegment,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
)
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState
from restate_node.types.offsets import Lsn
from restate_node.types.replication import ReplicationProperty

LOG = LogId(3)
STATES = {
    "w": StorageState.READ_WRITE,
    "r": StorageState.READ_ONLY,
    "l": StorageState.DATA_LOSS,
    "d": StorageState.DISABLED,
    "p": StorageState.PROVISIONING,
}


def cluster(states: str) -> NodesConfiguration:
    nodes = NodesConfiguration(Version(0), "c")
    for number, state in enumerate(states, start=1):
        life = GenerationalNodeId(PlainNodeId(number), 1)
        roles = frozenset((Role.LOG_SERVER,))
        node = Node(f"n{number}", life, "http://n/", roles, STATES.get(state, STATES["w"]))
        nodes = nodes.updated(node, None)
        if state == "x":
            nodes = nodes.removed(node.id, None)
    return nodes


ME = GenerationalNodeId(PlainNodeId(1), 1)


def segment(nodeset: str, copies: int = 2, sequencer: GenerationalNodeId = ME) -> ReplicatedSegment:
    return ReplicatedSegment(
        Lsn(4),
        SegmentIndex(1),
        ReplicatedParams(
            loglet_id(LOG, SegmentIndex(1)),
            sequencer,
            ReplicationProperty.of_nodes(copies),
            tuple(PlainNodeId(int(n)) for n in nodeset),
        ),
    )


CLOSED = SealMarker(Lsn(9), SegmentIndex(1), 1, CLOSED_FOR_READERS)


def default(copies: int = 2, size: int = 0) -> ProviderConfiguration:
    return ProviderConfiguration(
        ProviderKind.REPLICATED, ReplicationProperty.of_nodes(copies), size
    )


@pytest.mark.parametrize(
    ("states", "tail", "provider", "nodeset", "reason"),
    [
        ("www", segment("123"), default(), None, "nothing would be better"),
        ("www", segment("123", copies=1), default(), {1, 2, 3}, "replication changes from"),
        ("www", segment("123"), default(copies=1, size=3), {1, 2, 3}, "replication changes from"),
        ("www", segment("123"), default(copies=4), None, "cannot be met"),
        (
            "www",
            segment("123", sequencer=GenerationalNodeId(PlainNodeId(1), 9)),
            default(),
            {1, 2, 3},
            "sequencer moves from N1:9 to N1:1",
        ),
        ("wwww", segment("123"), default(), None, "nothing would be better"),
        ("wwww", segment("234"), default(), {1, 2, 3}, "nodeset changes from [N2, N3, N4]"),
        ("wwww", segment("123"), default(size=4), {1, 2, 3, 4}, "nodeset changes"),
        ("wwwww", segment("12345"), default(), None, "nothing would be better"),
        # Off whatever is not read-write, also onto fewer.
        ("wwr", segment("123"), default(), {1, 2}, "moves off N3 (read-only)"),
        ("wwrw", segment("123"), default(), {1, 2, 4}, "moves off N3 (read-only)"),
        ("wwld", segment("134"), default(), {1, 2}, "N3 (data-loss), N4 (disabled)"),
        ("wwx", segment("123"), default(), {1, 2}, "moves off N3 (disabled)"),
        ("wrr", segment("123"), default(), None, "cannot be met"),
        ("rww", segment("123"), default(), {2, 3}, "moves off N1"),
        # Tails of other kinds.
        ("www", InMemorySegment(Lsn(1), SegmentIndex(0), 1), default(), {1, 2, 3}, "provider"),
        ("www", SealMarker(Lsn(9), SegmentIndex(1), 1), default(), None, "until the next append"),
        ("www", CLOSED, default(), {1, 2, 3}, "closed for its readers"),
        ("wwr", segment("123"), ProviderConfiguration(ProviderKind.LOCAL), None, "are local"),
    ],
)
def test_decisions(
    states: str,
    tail: ReplicatedSegment | InMemorySegment | SealMarker,
    provider: ProviderConfiguration,
    nodeset: set[int] | None,
    reason: str,
) -> None:
    """Goal: each rule and its reason text; the result is then kept. Method: table, judged twice."""
    nodes = cluster(states)
    decision = judge_log(LOG, Chain((tail,)), provider, nodes, ME)
    assert reason in decision.reason
    if nodeset is None:
        assert isinstance(decision, Keep)
        return
    assert isinstance(decision, Reconfigure)
    assert set(decision.nodeset) == nodeset
    text = "".join(str(n) for n in decision.nodeset)
    after = Chain((segment(text, decision.replication.copies),))
    assert isinstance(judge_log(LOG, after, provider, nodes, ME), Keep)
