"""What goes wrong with what was stored: the object store all share, and copies on disks.

    object trouble  the repository refuses, answers late or never, or ends reads early
    full disk       writes do not fit any more; the host is restarted when there is space again
    rot             bits of stored records flip, on one host of the run
    store loss      a log server's database is gone, on one host of the run

Rot and loss stay within the replication: they strike one host of a run, rot only what others have,
too, and the others keep what they synced. Only a scenario beyond what is tolerated takes two
stores. Which of it a run has, if any, its scenario says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final, TypeAlias

from restate_node.sim.budget import Budget
from restate_node.sim.scenario import Losses, Scenario

ROTTEN_RECORDS_MAX: Final = 4
OBJECT_TROUBLES_MAX: Final = 3
OBJECT_WEIGHTS: Final = (2, 2, 2, 2, 5, 2)
"""In the order of `ObjectFault`. Reads that end early and say nothing are the worst."""


class ObjectFault(Enum):
    """What the object store does."""

    OUTAGE = "is out"
    REFUSED = "refuses"
    LOST_ANSWERS = "loses answers"
    CUT = "breaks reads off"
    SHORT = "ends reads early"
    SLOW = "is slow"


@dataclass(frozen=True, slots=True)
class ObjectTrouble:
    at: float
    kind: ObjectFault
    probability: float
    seconds: float

    def __str__(self) -> str:
        return f"object store {self.kind.value}, p={self.probability:.1f}, for {self.seconds:.3f}s"


@dataclass(frozen=True, slots=True)
class FullDisk:
    at: float
    host: str
    free_bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"disk of {self.host} has {self.free_bytes} bytes left, "
            f"restart after {self.seconds:.3f}s"
        )


@dataclass(frozen=True, slots=True)
class Rot:
    at: float
    host: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"a bit of a record stored on {self.host} flips"


@dataclass(frozen=True, slots=True)
class StoreLoss:
    at: float
    host: str
    seconds: float

    def __str__(self) -> str:
        return f"the log store of {self.host} is gone, host back after {self.seconds:.3f}s"


StorageFault: TypeAlias = ObjectTrouble | FullDisk | Rot | StoreLoss


def plan_storage(
    objects: Random, losses: Random, hosts: Sequence[str], budget: Budget, scenario: Scenario
) -> list[StorageFault]:
    """What the scenario allows, on top of everything else."""
    faults: list[StorageFault] = []
    if budget.faults_max == 0:
        return faults
    if scenario.snapshots is not None:
        faults += _object_troubles(objects, budget)
    match scenario.losses:
        case Losses.NONE:
            pass
        case Losses.ROT:
            host = losses.choice(list(hosts))
            for _ in range(losses.randint(1, ROTTEN_RECORDS_MAX)):
                faults.append(Rot(round(losses.uniform(1, budget.seconds), 3), host))
        case Losses.BEYOND:
            for host in losses.sample(list(hosts), 2):
                at = losses.uniform(0.2, 0.8) * budget.seconds
                faults.append(StoreLoss(round(at, 3), host, round(losses.uniform(0.1, 2.0), 3)))
        case Losses.STORE:
            at = losses.uniform(0.2, 0.8) * budget.seconds
            away = losses.uniform(0.1, 0.2) * budget.seconds
            faults.append(StoreLoss(round(at, 3), losses.choice(list(hosts)), round(away, 3)))
    return faults


def _object_troubles(rng: Random, budget: Budget) -> list[StorageFault]:
    """One after the other, for the store can have one kind at a time."""
    count = rng.randint(0, OBJECT_TROUBLES_MAX)
    span = budget.seconds / max(1, count)
    return [
        ObjectTrouble(
            round(span * number + rng.uniform(0, span / 3), 3),
            rng.choices(list(ObjectFault), OBJECT_WEIGHTS)[0],
            rng.choice((0.1, 0.3, 0.7)),
            round(rng.uniform(0.1, span * 2 / 3), 3),
        )
        for number in range(count)
    ]
