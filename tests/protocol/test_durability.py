"""What may be trimmed, by mode."""

from __future__ import annotations

import pytest

from restate_node.protocol.durability import (
    POINTS_MAX,
    TrimQueue,
    durable_point,
    is_worth_proposing,
    mode_of,
)
from restate_node.types.offsets import Lsn
from restate_node.types.options import DurabilityMode as Mode


@pytest.mark.parametrize(
    ("mode", "archived", "replicas", "point"),
    [
        (Mode.NONE, 9, (9, 9), None),
        (Mode.SNAPSHOT_ONLY, 9, (3, None), 9),
        (Mode.SNAPSHOT_ONLY, None, (3, 5), None),
        (Mode.REPLICA_SET_ONLY, None, (3, 5), 3),
        (Mode.REPLICA_SET_ONLY, 9, (3, None), None),
        (Mode.REPLICA_SET_ONLY, 9, (), None),
        (Mode.SNAPSHOT_AND_REPLICA_SET, 9, (3, 5), 3),
        (Mode.SNAPSHOT_AND_REPLICA_SET, 2, (3, 5), 2),
        (Mode.SNAPSHOT_AND_REPLICA_SET, None, (3, 5), None),
        (Mode.SNAPSHOT_AND_REPLICA_SET, 9, (3, 0), None),
        (Mode.BALANCED, 9, (3, 5), 5),
        (Mode.BALANCED, 4, (3, 5, None), 4),
        (Mode.BALANCED, 9, (None, None), None),
        (Mode.BALANCED, None, (3, 5), None),
    ],
)
def test_points_by_mode(
    mode: Mode, archived: int | None, replicas: tuple[int | None, ...], point: int | None
) -> None:
    """Goal: no mode trims what it protects; unknown is nothing. Method: a table."""
    known = [None if lsn is None else Lsn(lsn) for lsn in replicas]
    assert durable_point(mode, None if archived is None else Lsn(archived), known) == point


@pytest.mark.parametrize(
    ("configured", "replicas", "workers", "mode"),
    [
        (None, 1, 1, Mode.REPLICA_SET_ONLY),
        (None, 2, 1, Mode.BALANCED),
        (None, 1, 3, Mode.BALANCED),
        (Mode.NONE, 3, 3, Mode.NONE),
    ],
)
def test_the_mode_of_a_cluster(
    configured: Mode | None, replicas: int, workers: int, mode: Mode
) -> None:
    """Goal: one node trims by its own disk, a cluster never without snapshots. Method: a table."""
    assert mode_of(configured, replicas=replicas, workers=workers) is mode


def test_an_idle_partition_does_not_write_for_ever() -> None:
    """Goal: the record of a point is no reason for the next. Method: a durable log that only grows
    by such records comes to rest.
    """
    recorded, tail = None, 10
    proposals = 0
    while is_worth_proposing(Lsn(tail), recorded):
        recorded, tail = Lsn(tail), tail + 1
        proposals += 1
    assert proposals == 1


def test_points_wait_for_their_age() -> None:
    """Goal: the highest old one, once; order and bound hold. Method: points at several times."""
    queue = TrimQueue()
    queue.note(Lsn(5), 100)
    queue.note(Lsn(4), 110)
    queue.note(Lsn(7), 200)
    queue.note(Lsn(9), 300)
    assert queue.due(149, 50) is None
    assert queue.due(250, 50) == 7
    assert queue.due(250, 50) is None
    assert queue.due(350, 50) == 9


def test_a_full_queue_postpones() -> None:
    """Goal: bounded, and never early. Method: more points than fit."""
    queue = TrimQueue()
    for number in range(1, POINTS_MAX + 10):
        queue.note(Lsn(number), number)
    assert queue.due(POINTS_MAX - 1, 0) == POINTS_MAX - 1
    assert queue.due(POINTS_MAX + 8, 0) is None
    assert queue.due(POINTS_MAX + 9, 0) == POINTS_MAX + 9
