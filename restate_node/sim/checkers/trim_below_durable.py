"""L6: what is trimmed is safe elsewhere, as the mode demands it, and stays so.

    none                        nothing is ever trimmed
    snapshot-only               every snapshot that the repository keeps reaches the trim point
    replica-set-only            as many replicas as there must be have it on their disks
    snapshot-and-replica-set    both
    balanced                    the snapshots, and the disk of some replica

How many replicas there must be, an operator may have lowered; when a partition has got another one
later is not known here, so that the fewest that were ever ordered count.

An operator who orders a trim by hand is not bound by the mode. But whoever trimmed: the repository
must go on reaching what was trimmed because of it, or nobody could ever start again.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import (
    DurabilityRule,
    History,
    SnapshotsKept,
    StoreFlushed,
    Trimming,
)
from restate_node.sim.history_cluster import ReplicasOrdered, SnapshotTrimOrdered, TrimOrdered

PARTITION_LOGS_MAX = 100
"""A partition's log has the number of the partition; logs above are the clients' own."""
NEED_SNAPSHOTS = ("snapshot-only", "snapshot-and-replica-set", "balanced")


class Facts:
    """What was safe at a moment, by partition."""

    def __init__(self) -> None:
        self.mode = ""
        self.replicas = 1
        self.archived: dict[int, int] = {}
        self.newest: dict[int, int] = {}
        self.ordered: dict[int, int] = {}
        self.trims_with_snapshots: set[int] = set()
        self.trimmed: dict[int, int] = {}
        self._flushed: dict[int, dict[str, int]] = {}

    def flush(self, event: StoreFlushed) -> None:
        """On the disk of a host, whichever of its lives wrote it."""
        hosts = self._flushed.setdefault(event.partition, {})
        host = event.node.split("#")[0]
        hosts[host] = max(event.lsn, hosts.get(host, 0))

    def on_disks(self, partition: int, hosts: int) -> int:
        """The highest LSN that so many hosts have on their disks."""
        lsns = sorted(self._flushed.get(partition, {}).values(), reverse=True)
        return lsns[hosts - 1] if len(lsns) >= hosts else 0

    def durable(self, partition: int) -> int:
        """The durable point of the mode."""
        archived = self.archived.get(partition, 0)
        match self.mode:
            case "snapshot-only":
                return archived
            case "replica-set-only":
                return self.on_disks(partition, self.replicas)
            case "snapshot-and-replica-set":
                return min(archived, self.on_disks(partition, self.replicas))
            case "balanced":
                return min(archived, self.on_disks(partition, 1))
            case _:
                return 0


def find(history: History) -> Iterator[str]:
    facts = Facts()
    for event in history.events:
        match event:
            case DurabilityRule():
                facts.mode, facts.replicas = event.mode, event.replicas
            case ReplicasOrdered():
                facts.replicas = min(facts.replicas, event.copies)
            case StoreFlushed():
                facts.flush(event)
            case TrimOrdered():
                facts.ordered[event.log] = max(event.lsn, facts.ordered.get(event.log, 0))
            case SnapshotTrimOrdered():
                facts.trims_with_snapshots.add(event.log)
            case SnapshotsKept():
                yield from _forgotten(facts, event)
                known = facts.archived.get(event.partition, 0)
                facts.archived[event.partition] = max(known, min(event.lsns))
                facts.newest[event.partition] = max(event.lsns)
            case Trimming() if event.log < PARTITION_LOGS_MAX:
                yield from _too_far(facts, event)
            case _:
                pass


def _too_far(facts: Facts, trim: Trimming) -> Iterator[str]:
    if trim.lsn <= facts.ordered.get(trim.log, 0):
        return
    durable = facts.durable(trim.log)
    if trim.log in facts.trims_with_snapshots:
        durable = max(durable, facts.newest.get(trim.log, 0))
    if trim.lsn > durable:
        yield (
            f"log {trim.log}: {trim.node} trims up to LSN {trim.lsn} at {trim.at:.3f}s; by mode "
            f"{facts.mode} only LSN {durable} is safe (archived "
            f"{facts.archived.get(trim.log, 0)}, on one disk {facts.on_disks(trim.log, 1)}, on "
            f"{facts.replicas} disks {facts.on_disks(trim.log, facts.replicas)})"
        )
    facts.trimmed[trim.log] = max(trim.lsn, facts.trimmed.get(trim.log, 0))


def _forgotten(facts: Facts, kept: SnapshotsKept) -> Iterator[str]:
    """The repository falls back behind what was trimmed because of it."""
    trimmed = facts.trimmed.get(kept.partition, 0)
    if facts.mode in NEED_SNAPSHOTS and max(kept.lsns) < trimmed:
        yield (
            f"partition {kept.partition}: at {kept.at:.3f}s the newest snapshot reaches LSN "
            f"{max(kept.lsns)}, but the log is trimmed up to {trimmed}"
        )


CHECKER = Checker("L6", "a log is never trimmed above the durable point of the mode", find)
