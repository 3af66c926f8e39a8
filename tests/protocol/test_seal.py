"""When a seal is done, and when it is hopeless."""

from __future__ import annotations

from loglet_quorum import copies, header, two_zones

from restate_node.protocol.seal import SealDone, SealImpossible, Sealing, SealTally
from restate_node.types.ids import PlainNodeId
from restate_node.types.offsets import LogletOffset

NODES = [PlainNodeId(number) for number in (1, 2, 3)]
N1, N2, N3 = NODES


def test_done_at_an_f_majority_with_the_highest_local_tail() -> None:
    """Goal: the bound covers every promise. Method: the drawing of the module."""
    tally = SealTally(copies(3, 2), NODES)
    assert tally.add(N2, header(4, 3, sealed=True)) == Sealing()
    done = SealDone(LogletOffset(5), LogletOffset(3))
    assert tally.add(N1, header(5, 2, sealed=True)) == done
    assert tally.failed(N3, "timed out") == done


def test_the_same_node_twice_counts_once() -> None:
    """Goal: duplicates do not seal. Method: one node answers twice."""
    tally = SealTally(copies(3, 2), NODES)
    tally.add(N1, header(5, sealed=True))
    assert tally.add(N1, header(5, sealed=True)) == Sealing()


def test_only_a_durable_seal_counts() -> None:
    """Goal: a refusal is no seal. Method: two nodes answer without being sealed."""
    tally = SealTally(copies(3, 2), NODES)
    assert tally.add(N1, header(5)) == Sealing()
    assert isinstance(tally.add(N2, header(5)), SealImpossible)


def test_impossible_names_the_nodes() -> None:
    """Goal: the operator learns whom to bring back. Method: two of three fail; one recovers."""
    tally = SealTally(copies(3, 2), NODES)
    assert tally.failed(N1, "timed out") == Sealing()
    hopeless = tally.failed(N3, "unreachable")
    assert isinstance(hopeless, SealImpossible)
    assert "N1 timed out, N3 unreachable" in hopeless.reason
    assert tally.add(N1, header(5, sealed=True)) == Sealing()
    assert isinstance(tally.add(N2, header(2, sealed=True)), SealDone)


def test_without_nodes_it_is_impossible_at_once() -> None:
    """Goal: no endless wait. Method: nobody effective in the nodeset."""
    assert isinstance(SealTally(copies(3, 2), []).progress(), SealImpossible)


def test_a_whole_zone_seals() -> None:
    """Goal: the rule decides, not a count. Method: two copies in two zones."""
    tally = SealTally(two_zones(), [PlainNodeId(number) for number in (1, 2, 3, 4)])
    tally.add(PlainNodeId(1), header(5, sealed=True))
    assert tally.add(PlainNodeId(2), header(5, sealed=True)) == Sealing()
    assert isinstance(tally.add(PlainNodeId(4), header(5, sealed=True)), SealDone)
