"""Good and bad histories of what a cluster keeps, trims, and owes at rest; see `test_checkers`."""

from __future__ import annotations

from dataclasses import replace

from restate_node.sim.history import (
    Appending,
    ChainSeen,
    CopyDamaged,
    DurabilityRule,
    EpochBegan,
    Event,
    Healed,
    PatchAcknowledged,
    Progress,
    RecordApplied,
    RecordRead,
    SegmentSeen,
    SnapshotsKept,
    StateDumped,
    StoreFlushed,
    Trimming,
)
from restate_node.sim.history_cluster import (
    ClusterSeen,
    LogSeen,
    NodeSeen,
    PartitionSeen,
    QuietBegan,
    QuietEnded,
    ReplicasOrdered,
    SnapshotTrimOrdered,
    StatusSaid,
    TrimOrdered,
)


def rule(mode: str, replicas: int = 2) -> Event:
    return DurabilityRule(0.0, mode, replicas)


def kept(*lsns: int, at: float = 2.0) -> Event:
    return SnapshotsKept(at, 0, lsns)


def flushed(lsn: int, node: str = "n1#1") -> Event:
    return StoreFlushed(1.0, node, 0, lsn)


def trim(lsn: int, log: int = 0) -> Event:
    return Trimming(3.0, "n1#1", log, lsn)


def record(
    lsn: int, number: int, key: str = "", value: str = "", node: str = "n1#1", writer: str = "w"
) -> RecordApplied:
    return RecordApplied(1.0, node, 0, lsn, writer, (0, number), key, value)


def dump(lsn: int, **state: str) -> Event:
    return StateDumped(5.0, "n2#1", 0, lsn, tuple(state.items()))


def read(payload: bytes, at: float = 5.0) -> Event:
    return RecordRead(at, "n2#1", 1, 900, 1, payload)


NODES = tuple(NodeSeen(i, f"n{i}", "read-write", "active") for i in (1, 2, 3))
LOG = LogSeen(0, 4, 2, (1, 2))
PLACED = PartitionSeen(0, (1, 2), 1, 3, wanted=(1,))


def seen(
    *partitions: PartitionSeen,
    nodes: tuple[NodeSeen, ...] = NODES,
    log: LogSeen = LOG,
    at: float = 20.0,
    copies: int = 2,
) -> Event:
    return ClusterSeen(at, nodes, (log,), partitions or (PLACED,), copies)


def with_node_3(**change: str) -> tuple[NodeSeen, ...]:
    return (*NODES[:2], replace(NODES[2], **change))


def led_by(*leaders: int, bound: bool = False) -> list[PartitionSeen]:
    return [PartitionSeen(i, (1, 2, 3), leader, 1, bound) for i, leader in enumerate(leaders)]


def opened(segment: int, at: float) -> Event:
    return ChainSeen(at, "n1#1", segment + 1, 0, (SegmentSeen(segment, 1 + segment),))


def began(epoch: int, at: float) -> Event:
    return EpochBegan(at, "n1#1", 0, 9 + epoch, epoch, "N1:1")


def quiet(*events: Event) -> list[Event]:
    return [QuietBegan(50.0), *events, QuietEnded(92.0)]


def looks(applied: int, *, leads: bool, node: str = "n1#1") -> list[Event]:
    """One replica, looked at every second from 10 to 20 s."""
    return [Progress(10.0 + i, node, 0, applied, applied + 1, leads) for i in range(11)]


def behind(*later: Event) -> list[Event]:
    """Two replicas, of which one lacks what was acknowledged; and who is seen afterwards."""
    both = [*looks(8, leads=True), *looks(7, leads=False, node="n3#1")]
    acknowledged = PatchAcknowledged(11.0, "n2#1", 0, 8)
    return [acknowledged, *sorted(both, key=lambda event: event.at), WELL, *later]


WELL = StatusSaid(20.0, healthy=True)

GOOD: dict[str, list[list[Event]]] = {
    "L6": [
        [rule("balanced"), flushed(9), kept(8), trim(8)],
        [rule("snapshot-only"), kept(8, 5), trim(5)],
        [rule("replica-set-only"), flushed(9), flushed(7, "n2#4"), trim(7)],
        [rule("snapshot-and-replica-set"), kept(8), flushed(9), flushed(7, "n2#4"), trim(7)],
        [rule("replica-set-only"), ReplicasOrdered(0.5, 1), flushed(9), trim(9)],
        [rule("none"), TrimOrdered(2.0, 0, 9), trim(9)],
        [rule("snapshot-only"), SnapshotTrimOrdered(1.0, 0), kept(8, 5), trim(8)],
        [rule("none"), trim(50, log=900)],
        [rule("balanced"), flushed(9), kept(8), trim(8), kept(9, 8, at=4.0)],
    ],
    "L7": [
        [Appending(1.0, "n1#1", 900, b"a"), CopyDamaged(2.0, "n3", "data"), read(b"a")],
        [CopyDamaged(2.0, "n3", "data"), record(1, 1, "k", "v"), record(1, 1, "k", "v", "n2#1")],
    ],
    "S1": [[kept(5), kept(7, 5), kept(7)]],
    "P8": [
        [
            record(1, 0, writer=""),
            record(2, 1, "k", "a"),
            record(3, 1, "k", "b"),
            record(4, 2, "j", "c"),
            dump(3, k="a"),
            dump(4, k="a", j="c"),
            dump(1),
        ]
    ],
    "H1": [
        behind(Progress(21.0, "n1#1", 0, 8, 9, True)),
        [*looks(8, leads=True), PatchAcknowledged(11.0, "n2#1", 0, 8), WELL],
        [*looks(8, leads=True), PatchAcknowledged(19.0, "n2#1", 0, 9), WELL],
        [*looks(8, leads=False), StatusSaid(20.0, healthy=False)],
        [*looks(8, leads=False), EpochBegan(19.0, "n1#1", 0, 9, 2, "N1:1"), WELL],
        [
            *looks(8, leads=True),
            Progress(15.0, "n3#1", 0, 2, 9, False),
            PatchAcknowledged(11.0, "n2#1", 0, 8),
            WELL,
        ],
    ],
    "C1": [
        [Healed(9.0), seen()],
        [Healed(9.0), seen(nodes=with_node_3(storage="read-only"))],
        [Healed(9.0), seen(log=LogSeen(900, 1, 1, (3,)))],
        [Healed(9.0), seen(copies=4)],
        [seen(log=LogSeen(0, 4, 1, (3,)))],
    ],
    "C2": [
        quiet(opened(1, 60.0), opened(1, 85.0), began(2, 60.0), began(2, 88.0), seen(at=91.0)),
        quiet(seen(at=51.0), seen(replace(PLACED, replicas=(2, 3)), at=81.0)),
        [QuietBegan(50.0), opened(1, 60.0), opened(2, 82.0), QuietEnded(70.0)],
    ],
    "C3": [
        [Healed(9.0), seen(nodes=with_node_3(worker="draining"))],
        [Healed(9.0), seen(PLACED)],
    ],
    "C4": [
        [Healed(9.0), seen(*led_by(1, 1, 1, 2, 3))],
        [Healed(9.0), seen(*led_by(1, 1, 1, 1, 1, bound=True))],
        [seen(*led_by(1, 1, 1, 1, 1))],
    ],
    "C5": [
        [Healed(9.0), seen(PLACED)],
        [Healed(9.0), seen(replace(PLACED, leader=None, wanted=()))],
        [seen(replace(PLACED, wanted=()))],
    ],
}

BAD: dict[str, list[list[Event]]] = {
    "L6": [
        [rule("balanced"), flushed(9), kept(8), trim(9)],
        [rule("balanced"), kept(8), trim(8)],
        [rule("balanced"), flushed(9), trim(3)],
        [rule("snapshot-only"), kept(8, 5), trim(8)],
        [rule("replica-set-only"), flushed(9), trim(7)],
        [rule("replica-set-only"), flushed(9), flushed(9, "n1#2"), trim(7)],
        [rule("snapshot-and-replica-set"), kept(8), flushed(9), flushed(6, "n2#4"), trim(7)],
        [rule("none"), kept(9), flushed(9), trim(1)],
        [rule("none"), TrimOrdered(2.0, 0, 9), trim(10)],
        [rule("balanced"), flushed(9), kept(8), trim(8), kept(7, at=4.0)],
    ],
    "L7": [
        [Appending(1.0, "n1#1", 900, b"a"), CopyDamaged(2.0, "n3", "data"), read(b"b")],
        [CopyDamaged(2.0, "n3", "data"), record(1, 1, "k", "v"), record(1, 1, "k", "w", "n2#1")],
    ],
    "S1": [[kept(7), kept(5)], [kept(7, 5), kept(9), kept(8, 5)]],
    "P8": [
        [record(1, 1, "k", "a"), dump(1)],
        [record(1, 1, "k", "a"), dump(1, k="b")],
        [record(1, 1, "k", "a"), dump(1, k="a", j="c")],
        [record(1, 2, "k", "a"), record(2, 1, "k", "b"), dump(2, k="b")],
        [record(1, 1, "k", "a"), record(3, 2, "j", "c"), dump(3, k="a", j="c")],
    ],
    "H1": [
        [*looks(8, leads=False), WELL],
        behind(Progress(21.0, "n3#1", 0, 7, 9, False)),
        [*looks(8, leads=False), EpochBegan(13.0, "n1#1", 0, 9, 2, "N1:1"), WELL],
    ],
    "C1": [
        [Healed(9.0), seen(log=LogSeen(0, 4, 1, (1, 2)))],
        [Healed(9.0), seen(log=LogSeen(0, 4, 2, (1,)))],
        [Healed(9.0), seen(nodes=with_node_3(storage="read-only"), log=LogSeen(0, 4, 2, (2, 3)))],
        [Healed(9.0), seen(log=LogSeen(0, 4, 2, (1, 4)))],
    ],
    "C2": [
        quiet(opened(1, 60.0), opened(2, 82.0)),
        quiet(began(2, 60.0), began(3, 81.0)),
        quiet(seen(at=81.0), seen(replace(PLACED, replicas=(2, 3)), at=91.0)),
    ],
    "C3": [
        [Healed(9.0), seen(replace(PLACED, replicas=(2, 3)), nodes=with_node_3(worker="draining"))],
        [Healed(9.0), seen(replace(PLACED, leader=3), nodes=with_node_3(worker="disabled"))],
    ],
    "C4": [
        [Healed(9.0), seen(*led_by(1, 1, 1, 1, 3))],
        [Healed(9.0), seen(*led_by(1, 1, 1, 1), nodes=NODES[:2])],
    ],
    "C5": [
        [Healed(9.0), seen(replace(PLACED, wanted=()))],
        [Healed(9.0), seen(replace(PLACED, wanted=(1, 2)))],
        [Healed(9.0), seen(replace(PLACED, wanted=(2,)))],
        [Healed(9.0), seen(replace(PLACED, leader=None))],
    ],
}
