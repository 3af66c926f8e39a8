"""What a run is about, beside the faults of processes, networks and disks: chosen from the seed.

    snapshots   a repository on the simulated object store, with its policy and its retention
    durability  the mode that says what may be trimmed, and how soon
    pace        what the product does every half minute, often enough for a run of half a minute
    losses      copies that rot, or a log server that loses its store: within the replication

One run has all of one kind and little of another, so that each combination comes up within a few
dozen seeds and none hides the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Final

from restate_node.roles.worker import log_trimmer, replay, snapshots
from restate_node.sim.load import Load
from restate_node.sim.substitution import Substitution
from restate_node.types.options import DurabilityMode

DESTINATION: Final = "s3://simulated/backup"
"""The bucket is the simulated one whatever it is called; the prefix counts."""


class Losses(Enum):
    """What disks do to records that they had taken for good."""

    NONE = "none"
    ROT = "rot"
    """Bits flip, on one host of the run."""
    STORE = "store"
    """One log server loses its database."""
    BEYOND = "beyond what is tolerated"
    """Two log servers lose theirs, where records have two copies: some are gone for ever. From then
    on the cluster may refuse whatever it wants, but it must not say anything that is not true."""


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """When leaders publish, and how many snapshots stay."""

    every_records: int | None = None
    every_ms: int | None = None
    retained: int = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks, where the product has constants that outlast a run."""

    flush: float = 2.0
    snapshot_check: float = 0.4
    repository_look: float = 3.0
    durability: float = 0.8

    def substitutions(self) -> list[Substitution]:
        """Constants of the product, for the time of a run."""
        return [
            Substitution(replay, "FLUSH_INTERVAL_S", lambda _: self.flush),
            Substitution(snapshots, "CHECK_INTERVAL_S", lambda _: self.snapshot_check),
            Substitution(snapshots, "REFRESH_INTERVAL_S", lambda _: self.repository_look),
            Substitution(log_trimmer, "PROPOSE_INTERVAL_S", lambda _: self.durability),
            Substitution(log_trimmer, "ROUNDS_PER_TRIM", lambda _: 1),
        ]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Of one run. The default is a cluster that nobody touches and nothing is kept of."""

    snapshots: SnapshotPolicy | None = None
    durability: DurabilityMode | None = None
    trim_delay_ms: int = 0
    pace: Pace = Pace()
    losses: Losses = Losses.NONE
    has_operator: bool = False
    partitions: int = 2
    hosts: int = 3
    load: Load | None = None
    """Invocations that run; None: the cluster is used for its logs and state only."""
    quiet_seconds: float = 0.0
    """At the end nothing happens for so long, and nothing may change."""


PLAIN: Final = Scenario()

_MODES: Final = (
    None,
    None,
    DurabilityMode.BALANCED,
    DurabilityMode.SNAPSHOT_ONLY,
    DurabilityMode.SNAPSHOT_AND_REPLICA_SET,
    DurabilityMode.NONE,
)
BEYOND_PROBABILITY: Final = 0.05
QUIET_SECONDS: Final = 42.0


def choose(rng: Random) -> Scenario:
    """The scenario of a seed."""
    scenario = _tolerable(rng)
    if rng.random() >= BEYOND_PROBABILITY:
        return scenario
    return replace(scenario, losses=Losses.BEYOND, hosts=5, has_operator=False, quiet_seconds=0.0)


def _tolerable(rng: Random) -> Scenario:
    has_snapshots = rng.random() < 0.8
    return Scenario(
        snapshots=_policy(rng) if has_snapshots else None,
        durability=rng.choice(_MODES),
        trim_delay_ms=rng.choice((0, 0, 300, 2_000)),
        pace=Pace(rng.uniform(0.5, 4), rng.uniform(0.2, 1), rng.uniform(1, 4), rng.uniform(0.4, 2)),
        losses=rng.choices((Losses.NONE, Losses.ROT, Losses.STORE), (6, 2, 2))[0],
        has_operator=rng.random() < 0.5,
        partitions=rng.choice((2, 2, 2, 5)),
        quiet_seconds=QUIET_SECONDS if rng.random() < 0.15 else 0.0,
    )


def _policy(rng: Random) -> SnapshotPolicy:
    """By records, by age, or by both."""
    kind = rng.randrange(3)
    return SnapshotPolicy(
        every_records=rng.choice((3, 10, 30)) if kind != 1 else None,
        every_ms=rng.choice((500, 2_000)) if kind != 0 else None,
        retained=rng.choice((1, 1, 2, 4)),
    )
