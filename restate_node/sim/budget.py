"""How much a nemesis may break, so that a failure of the run is a failure of the system.

Replication 2 over 3 nodes survives one node. With one node away at a time nothing may stop for
long; with all of them away for a moment nothing may be *wrong*, since disks keep what was synced.
What the budget forbids is losing more synced copies than the replication bears: that mode would
have other rules (refuse, or say that data is lost) and other checkers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one schedule. Times are seconds of the simulation."""

    seconds: float = 14.0
    """All faults begin within this time, and end before it is over."""
    faults_min: int = 3
    faults_max: int = 9
    impaired_hosts_max: int = 1
    """Hosts that are dead, frozen, cut off or without a disk at one time, blackouts aside."""
    blackouts_max: int = 1
    """Times that all hosts lose power together."""
    down_seconds_max: float = 5.0
    """A host that is impaired is back after this."""

    def __post_init__(self) -> None:
        assert 0 <= self.faults_min <= self.faults_max
        assert self.impaired_hosts_max >= 0 and self.blackouts_max >= 0
        assert 0 < self.down_seconds_max <= self.seconds


QUIET = Budget(faults_min=0, faults_max=0)
"""No faults at all: what fails now fails on a sunny day."""
