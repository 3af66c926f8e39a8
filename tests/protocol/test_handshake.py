"""The handshake, as a table: who is talked to, and who is believed."""

from __future__ import annotations

import pytest

from restate_node.protocol.handshake import Identity, answer, hello, objection
from restate_node.types.fabric import PROTOCOL_VERSION, Hello, Refused, Welcome
from restate_node.types.ids import GenerationalNodeId, PlainNodeId

ME = Identity("c", 7, GenerationalNodeId(PlainNodeId(1), 5))
JOINING = Identity("c", 0, None)


def node(number: int, generation: int) -> GenerationalNodeId:
    return GenerationalNodeId(PlainNodeId(number), generation)


def known(number: PlainNodeId) -> int:
    return {1: 5, 2: 3}.get(number, 0)


@pytest.mark.parametrize(
    ("me", "name", "fingerprint", "them", "refusal"),
    [
        (ME, "c", 7, node(2, 3), None),
        (ME, "c", 7, node(2, 4), None),
        (ME, "c", 7, node(9, 1), None),
        (ME, "c", 0, None, None),
        (JOINING, "c", 7, node(2, 3), None),
        (JOINING, "c", 0, None, None),
        (ME, "c", 7, node(1, 5), None),
        (ME, "d", 7, node(2, 3), "cluster name mismatch"),
        (ME, "c", 8, node(2, 3), "cluster fingerprint mismatch"),
        (ME, "c", 7, node(2, 2), "N2:2 has been replaced by generation 3"),
        (ME, "c", 7, node(1, 4), "N1:4 has been replaced by generation 5"),
        (ME, "c", 7, node(1, 6), "N1:6 has the id of this node"),
    ],
)
def test_who_may_connect(
    me: Identity,
    name: str,
    fingerprint: int,
    them: GenerationalNodeId | None,
    refusal: str | None,
) -> None:
    """Goal: the accepting side's decision per row, with a reason that names the trouble."""
    verdict = answer(me, hello(Identity(name, fingerprint, them), 0), known)
    if refusal is None:
        assert verdict == Welcome(PROTOCOL_VERSION, me.fingerprint, me.node)
    else:
        assert isinstance(verdict, Refused)
        assert refusal in verdict.reason


@pytest.mark.parametrize(
    ("fingerprint", "them", "expected", "reason"),
    [
        (7, node(2, 3), PlainNodeId(2), None),
        (7, node(2, 3), None, None),
        (0, None, PlainNodeId(2), None),
        (7, node(1, 5), None, None),
        (8, node(2, 3), None, "fingerprint"),
        (7, node(2, 2), PlainNodeId(2), "replaced"),
        (7, node(3, 1), PlainNodeId(2), "expected node N2"),
    ],
)
def test_whom_to_believe(
    fingerprint: int,
    them: GenerationalNodeId | None,
    expected: PlainNodeId | None,
    reason: str | None,
) -> None:
    """Goal: the connecting side's second thoughts per row."""
    objected = objection(ME, Welcome(PROTOCOL_VERSION, fingerprint, them), expected, known)
    assert (objected is None) if reason is None else (objected is not None and reason in objected)


def test_another_protocol_version() -> None:
    """Goal: both sides refuse a version they do not speak."""
    later = PROTOCOL_VERSION + 1
    assert isinstance(answer(ME, Hello(later, "c", 7, None, 0), known), Refused)
    assert objection(ME, Welcome(later, 7, None), None, known) is not None
