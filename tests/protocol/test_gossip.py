"""The rules of the failure detector, one at a time: whom to believe, what to tell, how to count."""

from __future__ import annotations

import random

import msgspec
import pytest

from restate_node.protocol.gossip import FailureDetector
from restate_node.protocol.gossip_effects import Ask, Effect, LeadersChanged, Send, StatesChanged
from restate_node.protocol.gossip_leaders import (
    LEADERSHIPS_PER_MESSAGE_MAX,
    NEWS_MESSAGES,
    LeaderTable,
)
from restate_node.protocol.gossip_time import STEP_TICKS_MAX, PatientTime
from restate_node.types.gossip import Beat, Gossip, Leadership, NodeState, Phase
from restate_node.types.ids import GenerationalNodeId, LeaderEpoch, PartitionId, PlainNodeId
from restate_node.types.options import GossipOptions
from restate_node.wire import rpc_catalog

UNIX_MS = 1_000_000


def life(node: int, generation: int = 1) -> GenerationalNodeId:
    return GenerationalNodeId(PlainNodeId(node), generation)


def beat(
    node: int, number: int, *, generation: int = 1, instance: int = 7, phase: Phase = Phase.READY
) -> Beat:
    return Beat(life(node, generation), instance, number, phase)


def gossip(
    sender: Beat,
    *nodes: Beat,
    lonely: bool = False,
    sent_at_ms: int = UNIX_MS,
    leaderships: tuple[Leadership, ...] = (),
) -> Gossip:
    return Gossip(sender, sent_at_ms, lonely, nodes, leaderships)


def leadership(partition: int, epoch: int, node: int = 1) -> Leadership:
    return Leadership(PartitionId(partition), LeaderEpoch(epoch), life(node))


def detector(*members: GenerationalNodeId) -> FailureDetector:
    """Node 1 at time 0, ready, with those members."""
    made = FailureDetector(life(1), 7, GossipOptions(), random.Random(1), 0.0)
    made.members_changed([life(1), *members], 0.0, UNIX_MS)
    made.enter(Phase.READY, 0.0, UNIX_MS)
    return made


def state(of: FailureDetector, node: int) -> NodeState:
    return of.states()[PlainNodeId(node)]


def sends(effects: list[Effect]) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send)]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param([gossip(beat(2, 5))], NodeState.ALIVE, id="its own word"),
        pytest.param([gossip(beat(2, 5), lonely=True)], NodeState.SUSPECT, id="it hears nobody"),
        pytest.param(
            [gossip(beat(3, 1), beat(2, 5))], NodeState.SUSPECT, id="one rumour, maybe an old one"
        ),
        pytest.param(
            [gossip(beat(3, 1), beat(2, 5)), gossip(beat(3, 2), beat(2, 5))],
            NodeState.SUSPECT,
            id="the same rumour twice",
        ),
        pytest.param(
            [gossip(beat(3, 1), beat(2, 5)), gossip(beat(3, 2), beat(2, 6))],
            NodeState.ALIVE,
            id="a rumour that moves",
        ),
        pytest.param([gossip(beat(2, 5, phase=Phase.STARTING))], NodeState.SUSPECT, id="not ready"),
        pytest.param(
            [gossip(beat(2, 5)), gossip(beat(3, 1), beat(2, 5, phase=Phase.FAILING_OVER))],
            NodeState.FAILING_OVER,
            id="a rumour that it leaves",
        ),
        pytest.param(
            [gossip(beat(2, 5, phase=Phase.FAILING_OVER)), gossip(beat(2, 4))],
            NodeState.FAILING_OVER,
            id="messages out of order",
        ),
        pytest.param([gossip(beat(2, 9, generation=1))], NodeState.SUSPECT, id="a former life"),
        pytest.param(
            [gossip(beat(2, 5, instance=9)), gossip(beat(2, 6, instance=8, phase=Phase(3)))],
            NodeState.ALIVE,
            id="an older process of one generation",
        ),
        pytest.param(
            [gossip(beat(2, 5)), gossip(beat(3, 1), beat(2, 1, generation=3))],
            NodeState.SUSPECT,
            id="a rumour of its next life",
        ),
        pytest.param(
            [gossip(beat(2, 5), sent_at_ms=UNIX_MS + 5000)], NodeState.ALIVE, id="a clock ahead"
        ),
        pytest.param(
            [
                gossip(beat(2, 5)),
                gossip(beat(3, 1), beat(2, 6, phase=Phase(3)), sent_at_ms=UNIX_MS + 5000),
            ],
            NodeState.ALIVE,
            id="rumour from one whose clock is ahead",
        ),
        pytest.param(
            [gossip(beat(9, 1), beat(2, 5), beat(2, 6))], NodeState.SUSPECT, id="stranger"
        ),
    ],
)
def test_what_is_believed(told: list[Gossip], expected: NodeState) -> None:
    """Goal: a sign of life, and no other, makes a node alive.

    Method: node 1 is told these of node 2, whose generation is 2 for the case of a former life.
    """
    former = any(g.sender == beat(2, 9) for g in told)
    made = detector(life(2, 2) if former else life(2), life(3))
    for message in told:
        made.received(message, 0.1, UNIX_MS)
    assert state(made, 2) is expected


def test_judges_only_after_a_few_gossips_or_long_loneliness() -> None:
    """Goal: a node that just started accuses nobody. Method: count gossips, then count ticks."""
    made = detector(life(2), life(3))
    made.received(gossip(beat(2, 1)), 0.0, UNIX_MS)
    made.received(gossip(beat(2, 2)), 0.0, UNIX_MS)
    for tick in range(1, 31):
        made.tick(tick / 10, UNIX_MS)
    assert (state(made, 2), state(made, 3)) == (NodeState.ALIVE, NodeState.SUSPECT)
    made.tick(3.2, UNIX_MS)
    assert made.is_lonely(3.2)
    assert (state(made, 2), state(made, 3)) == (NodeState.DEAD, NodeState.DEAD)


def test_single_node_is_alive_when_ready() -> None:
    """Goal: a node without peers waits for nobody and sends nothing. Method: walk the phases."""
    made = FailureDetector(life(1), 7, GossipOptions(), random.Random(1), 0.0)
    made.members_changed([life(1)], 0.0, UNIX_MS)
    assert state(made, 1) is NodeState.SUSPECT
    ready = made.enter(Phase.READY, 0.0, UNIX_MS)
    assert ready == [StatesChanged({PlainNodeId(1): NodeState.ALIVE}, frozenset({life(1)}))]
    assert [made.tick(tick / 10, UNIX_MS) for tick in range(50)] == [[]] * 50
    assert made.enter(Phase.STARTING, 5.0, UNIX_MS) == []
    (left,) = made.enter(Phase.FAILING_OVER, 5.0, UNIX_MS)
    assert left == StatesChanged({PlainNodeId(1): NodeState.FAILING_OVER}, frozenset())


def test_new_members_are_asked_until_heard() -> None:
    """Goal: the first view does not depend on one message. Method: stay silent, then answer."""
    made = FailureDetector(life(1), 7, GossipOptions(), random.Random(1), 0.0)
    effects = made.members_changed([life(1), life(2)], 0.0, UNIX_MS)
    assert [e.peers for e in effects if isinstance(e, Ask)] == [[2]]

    def asks(first: int, last: int) -> int:
        ticks = [made.tick(tick / 10, UNIX_MS) for tick in range(first, last)]
        return sum(isinstance(effect, Ask) for effects in ticks for effect in effects)

    assert asks(1, 11) == 2
    made.received(gossip(beat(2, 1)), 1.0, UNIX_MS)
    assert asks(11, 15) == 0


def test_one_message_per_tick_to_few_peers() -> None:
    """Goal: the load of gossip does not grow with the cluster. Method: 30 peers, count."""
    members = [life(node) for node in range(2, 32)]
    made = detector(*members)
    for member in members:
        made.received(gossip(beat(member.id, 1)), 0.0, UNIX_MS)
    told: set[int] = set()
    for tick in range(1, 8):
        (send,) = sends(made.tick(tick / 10, UNIX_MS))
        assert len(send.peers) == len(set(send.peers)) == GossipOptions().peers_per_tick
        assert len(send.gossip.nodes) == 30
        told.update(send.peers)
    assert len(told) > 8


def test_leadership_is_told_at_once_and_again_later() -> None:
    """Goal: news goes to all who are up, and the whole table goes out every tenth tick.

    Method: announce, flush, tick.
    """
    made = detector(life(2), life(3))
    entry = leadership(4, 9)
    assert made.announce(entry) == [LeadersChanged({PartitionId(4): entry})]
    assert made.announce(leadership(4, 8, node=2)) == []
    (urgent,) = sends(made.flush(0.0, UNIX_MS))
    assert (sorted(urgent.peers), urgent.gossip.leaderships) == ([2, 3], (entry,))
    told = [sends(made.tick(tick / 10, UNIX_MS))[0].gossip.leaderships for tick in range(1, 21)]
    assert [bool(entries) for entries in told] == [
        tick < NEWS_MESSAGES or tick % 10 == 0 for tick in range(1, 21)
    ]
    assert made.answer(2.0, UNIX_MS).leaderships == (entry,)


def test_leader_table_is_bounded_per_message() -> None:
    """Goal: a large table travels in parts, and every part comes. Method: more than three parts."""
    count = LEADERSHIPS_PER_MESSAGE_MAX * 3 + 5
    table = LeaderTable()
    assert table.merge(leadership(partition, 1) for partition in range(count))
    assert not table.merge([leadership(0, 1, node=2)])
    for take in (table.take_stretch, table.take_news):
        parts = [take() for _ in range(4)]
        assert all(len(part) <= LEADERSHIPS_PER_MESSAGE_MAX for part in parts)
        assert {entry.partition for part in parts for entry in part} == set(range(count))


@pytest.mark.parametrize(
    ("steps_s", "elapsed_s", "was_away"),
    [
        ([0.1, 0.2, 0.3], 0.3, False),
        ([0.1, 0.35], 0.35, False),
        ([0.1, 60.0], 0.1 + STEP_TICKS_MAX * 0.1, True),
        ([0.1, 0.05, 0.2], 0.2, False),
    ],
)
def test_patient_time(steps_s: list[float], elapsed_s: float, was_away: bool) -> None:
    """Goal: a gap counts for a few ticks only, and time never goes back. Method: table of steps."""
    time = PatientTime(0.1, 0.0)
    cut = [time.step(now) for now in steps_s]
    assert cut[-1] is was_away
    assert time.at(max(steps_s)) == pytest.approx(elapsed_s)
    assert time.at(0.0) == pytest.approx(elapsed_s)


def test_gossip_survives_the_wire() -> None:
    """Goal: what is sent is what is read, enums included. Method: encode and decode one of all."""
    message = gossip(beat(1, 3), beat(2, 4), lonely=True, leaderships=(leadership(1, 2),))
    method = rpc_catalog.method_of(message)
    assert method.request_decoder.decode(rpc_catalog.encode(message)) == message
    with pytest.raises(msgspec.DecodeError):
        method.request_decoder.decode(rpc_catalog.encode(gossip(beat(1, 3)))[:-1])
