"""`restatectl metadata-server recover`: what it tells, when it acts, and where it looks."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from ctl_fake_node import FakeNode, Refusal, members, one_log
from ctl_operable import Ctl, ctl

from restate_node.ctl.methods import RECOVER_METADATA
from restate_node.types.metadata import MetadataKind
from restate_node.wire.pb import operator_pb2 as messages

assert ctl  # a fixture
RECOVER = ("metadata-server", "recover", "--from", "N2")
MAJORITY = "a majority of the members answers"


class Survivor:
    """N2 of three, and what it was asked."""

    def __init__(self, *, knows_cluster: bool, refusal: str | None = None) -> None:
        self.node = FakeNode(2 if knows_cluster else None)
        self.knows_cluster = knows_cluster
        self.refusal = refusal
        self.asked: list[messages.RecoverMetadataRequest] = []
        self.node.on(RECOVER_METADATA, self._recover)

    def __enter__(self) -> Survivor:
        self.node.__enter__()
        if self.knows_cluster:
            self.node.knows(members(7, "http://n1:1/", self.node.address), one_log(5))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.node.__exit__(*exc_info)

    def _recover(self, request: Any) -> messages.RecoverMetadataResponse:
        self.asked.append(request)
        done = request.accept_loss and (self.refusal is None or request.force)
        return messages.RecoverMetadataResponse(
            node_id=2,
            term=7,
            last_index=12,
            committed=10,
            members=[1, 2, 3],
            refusal=self.refusal,
            done=done,
            keys=[
                messages.RecoveredKey(
                    key="nodes_config", stored_version=3, copied_version=4, new_version=99
                ),
                messages.RecoveredKey(key="mine", stored_version=1),
            ],
        )


@pytest.mark.parametrize("knows_cluster", [True, False])
def test_without_consent_it_only_tells(knows_cluster: bool, ctl: Ctl) -> None:
    """Goal: figures, keys and losses, exit code 1, nothing done; also when no node knows the
    cluster. How: with and without a nodes configuration."""
    with Survivor(knows_cluster=knows_cluster) as survivor:
        ended = ctl("-s", survivor.node.address, *RECOVER)
    assert ended.code == 1 and "nothing was changed" in ended.stderr
    for words in (
        "members N1, N2, N3; besides N2 answer: none",
        "term 7, last entry 12, committed 10 (2 undecided, they are kept)",
        "nodes_config  v3      v4    v99",
        "mine          v1      -     stays",
        "What may be lost for ever:",
    ):
        assert words in ended.stdout, ended.stdout
    assert not any(request.accept_loss for request in survivor.asked)


def test_with_consent_it_acts_once_and_brings_copies(ctl: Ctl) -> None:
    """Goal: the loss is told before, the newest objects of the nodes go along, and what must not
    be started again is named."""
    with Survivor(knows_cluster=True) as survivor:
        ended = ctl("-s", survivor.node.address, *RECOVER, "--accept-loss")
    assert ended.code == 0, ended
    assert ended.stdout.index("What may be lost") < ended.stdout.index("N2 is the only member")
    assert "N1, N3 must not be started again" in ended.stdout
    (order,) = [request for request in survivor.asked if request.accept_loss]
    kinds = {copy.kind for copy in order.copies}
    assert {MetadataKind.NODES_CONFIGURATION, MetadataKind.LOGS} <= kinds


@pytest.mark.parametrize(("force", "code"), [((), 1), (("--force",), 0)])
def test_a_refusal_is_final_unless_forced(force: tuple[str, ...], code: int, ctl: Ctl) -> None:
    """Goal: the server's reason, and the way around it."""
    with Survivor(knows_cluster=True, refusal=MAJORITY) as survivor:
        ended = ctl("-s", survivor.node.address, *RECOVER, "--accept-loss", *force, "--json")
    assert ended.code == code
    assert (f"refused: {MAJORITY} (--force overrides)" in ended.stderr) == (code == 1)
    assert json.loads(ended.stdout)["done"] is (code == 0)


def test_a_member_that_does_not_answer_is_named(ctl: Ctl) -> None:
    """Goal: the operator learns what to start. How: another node; one without the role."""
    with Survivor(knows_cluster=False) as survivor:
        ended = ctl("-s", survivor.node.address, "ms", "recover", "--from", "N3")
    assert ended.code == 1 and "N3 does not answer: start it, and name its address" in ended.stderr
    bare = FakeNode()
    refusal = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "this node is not a member")
    bare.on(RECOVER_METADATA, lambda _: _raise(refusal))
    with bare:
        ended = ctl("-s", bare.address, *RECOVER)
    assert ended.code == 1 and "this node is not a member" in ended.stderr


def _raise(refusal: Refusal) -> Any:
    raise refusal
