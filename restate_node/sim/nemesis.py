"""What will go wrong in a run: a schedule made up front from the seed, then simply carried out.

A nemesis that improvised would have to be watched to be understood, and a different system would
meet different faults. Made up front, the schedule can be printed before the run and beside its
failure, and shortened by hand.

    seed, hosts, Budget ─▶ plan ─▶ (Fault, Fault, …) by time ─▶ `injection`, one task each

    crash      kill -9, or the power goes; the host is started again later
    blackout   the power of all hosts goes at once; they return one by one
    pause      SIGSTOP; the world goes on without the process
    isolation  a host is cut off: both ways, only what it sends, only what it is sent; all of it
               or one swimlane
    bad link   slow, lossy, connections that break: late frames, after newer ones
    resets     all connections between two hosts break at once
    stall      no sync of a disk ends before its time
    disk error a sync or write fails; the host is restarted by its operator
    busy disk  compaction is behind: writes are refused now and then
    full disk  writes do not fit; the host is restarted when they do

What becomes of stored copies and of the object store is planned by `nemesis_storage`.

Invariants: equal arguments give equal schedules; the budget holds at every instant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final, TypeAlias

from restate_node.sim.budget import Budget
from restate_node.sim.hosts import Death
from restate_node.sim.nemesis_storage import FullDisk, StorageFault, StoreLoss, plan_storage
from restate_node.sim.scenario import Losses, Scenario
from restate_node.sim.streams import Streams
from restate_node.types.fabric import Swimlane


class Direction(Enum):
    """Which frames of an isolated host are lost."""

    BOTH = "both ways"
    OUT = "what it sends"
    IN = "what it is sent"


class DiskOperation(Enum):
    """What fails on a broken disk."""

    SYNC = "sync"
    WRITE = "write"
    FILE = "write files"


@dataclass(frozen=True, slots=True)
class Crash:
    at: float
    host: str
    death: Death
    seconds: float

    def __str__(self) -> str:
        return f"{self.host} {self.death.value}, back after {self.seconds:.3f}s"


@dataclass(frozen=True, slots=True)
class Blackout:
    """`seconds` is how long each host stays away, in the order of `hosts`."""

    at: float
    hosts: tuple[str, ...]
    down_seconds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return max(self.down_seconds)

    def __str__(self) -> str:
        back = ", ".join(
            f"{host} back after {seconds:.3f}s"
            for host, seconds in zip(self.hosts, self.down_seconds, strict=True)
        )
        return f"blackout: {back}"


@dataclass(frozen=True, slots=True)
class Pause:
    at: float
    host: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.host} frozen for {self.seconds:.3f}s"


@dataclass(frozen=True, slots=True)
class Isolation:
    at: float
    host: str
    direction: Direction
    lane: Swimlane | None
    seconds: float

    def __str__(self) -> str:
        lane = "all lanes" if self.lane is None else f"lane {self.lane.name.lower()}"
        return f"{self.host} cut off, {self.direction.value}, {lane}, for {self.seconds:.3f}s"


@dataclass(frozen=True, slots=True)
class BadLink:
    at: float
    hosts: tuple[str, str]
    delay_seconds_mean: float
    loss_probability: float
    reset_probability: float
    seconds: float

    def __str__(self) -> str:
        one, other = self.hosts
        return (
            f"bad link {one} <-> {other}: delay {self.delay_seconds_mean:.3f}s, "
            f"loss {self.loss_probability:.3f}, resets {self.reset_probability:.4f}, "
            f"for {self.seconds:.3f}s"
        )


@dataclass(frozen=True, slots=True)
class Resets:
    at: float
    hosts: tuple[str, str]
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"connections {self.hosts[0]} <-> {self.hosts[1]} break"


@dataclass(frozen=True, slots=True)
class Stall:
    at: float
    host: str
    seconds: float

    def __str__(self) -> str:
        return f"disk of {self.host} stalls for {self.seconds:.3f}s"


@dataclass(frozen=True, slots=True)
class DiskError:
    at: float
    host: str
    operation: DiskOperation
    seconds: float

    def __str__(self) -> str:
        what = self.operation.value
        return f"disk of {self.host} fails to {what}, restart after {self.seconds:.3f}s"


@dataclass(frozen=True, slots=True)
class BusyDisk:
    at: float
    host: str
    probability: float
    seconds: float

    def __str__(self) -> str:
        return f"disk of {self.host} is busy, p={self.probability:.1f}, for {self.seconds:.3f}s"


Fault: TypeAlias = (
    Crash
    | Blackout
    | Pause
    | Isolation
    | BadLink
    | Resets
    | Stall
    | DiskError
    | BusyDisk
    | StorageFault
)

IMPAIRING: Final = (Crash, Pause, Isolation, Stall, DiskError, FullDisk)
"""These take a host away; the budget counts them."""
COMPANION_PROBABILITY: Final = 0.6
LONG_CUT_PROBABILITY: Final = 0.1
LONG_CUT_SECONDS: Final = (8.5, 12.0)
PLACES_TRIED_MAX: Final = 20
"""Times at which a fault is tried before it is left out of a full schedule."""
RECOVERY_SECONDS_MAX: Final = 1.0
"""Between two faults that take a host away, up to this much time passes."""


def end(fault: Fault) -> float:
    """When the fault is over."""
    return fault.at + fault.seconds


def plan(
    randomness: Random, hosts: Sequence[str], budget: Budget, given: Sequence[Fault] = ()
) -> tuple[Fault, ...]:
    """A schedule within the budget, by time; times count from the start of the trouble. `given`
    faults are in it.
    """
    faults: list[Fault] = list(given)
    for _ in range(randomness.randint(budget.faults_min, budget.faults_max)):
        make = randomness.choices(_MAKERS, _WEIGHTS)[0]
        for _ in range(PLACES_TRIED_MAX):
            fault = make(randomness, hosts, budget)
            if _fits(fault, faults, budget, randomness.uniform(0, RECOVERY_SECONDS_MAX)):
                faults.append(fault)
                break
    return tuple(sorted(faults, key=lambda fault: fault.at))


def plan_all(
    streams: Streams, hosts: Sequence[str], budget: Budget, scenario: Scenario
) -> tuple[Fault, ...]:
    """The schedule of a run. Each kind has dice of its own: without one, the rest is the same."""
    given = _long_cut(streams.stream("nemesis/long cut"), hosts, budget, scenario)
    faults: list[Fault] = list(plan(streams.stream("nemesis"), hosts, budget, given))
    objects, losses = streams.stream("nemesis/objects"), streams.stream("nemesis/losses")
    storage = plan_storage(objects, losses, hosts, budget, scenario)
    faults += storage
    for loss in storage:
        if isinstance(loss, StoreLoss) and losses.random() < COMPANION_PROBABILITY:
            faults.append(_companion(losses, loss, hosts, budget))
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _long_cut(
    rng: Random, hosts: Sequence[str], budget: Budget, scenario: Scenario
) -> tuple[Fault, ...]:
    """In some runs a host is cut off for longer than any news of it may take (H1). Not where a
    store is lost, too: two hosts may be needed then that are not there.
    """
    seconds = round(rng.uniform(*LONG_CUT_SECONDS), 3)
    host, chosen = rng.choice(list(hosts)), rng.random() < LONG_CUT_PROBABILITY
    has_room = budget.impaired_hosts_max > 0 and budget.faults_max > 0
    is_tolerated = scenario.losses in (Losses.NONE, Losses.ROT)
    if not (chosen and has_room and is_tolerated and seconds < budget.seconds):
        return ()
    at = round(rng.uniform(0, budget.seconds - seconds), 3)
    return (Isolation(at, host, Direction.BOTH, None, seconds),)


def _companion(rng: Random, loss: StoreLoss, hosts: Sequence[str], budget: Budget) -> Fault:
    """Another host is away, with all that it has stored, from before the loss until after it is
    known: whoever is alone meanwhile must not decide what was lost.
    """
    other = rng.choice([host for host in hosts if host != loss.host])
    at = max(0.0, loss.at - rng.uniform(0.01, 0.2))
    seconds = min(loss.seconds + rng.uniform(1.0, 3.0), budget.seconds - at)
    return Crash(round(at, 3), other, Death.POWER_LOST, round(seconds, 3))


def _fits(fault: Fault, others: list[Fault], budget: Budget, recovery: float) -> bool:
    if end(fault) > budget.seconds:
        return False
    away = [other for other in others if isinstance(other, (*IMPAIRING, Blackout))]
    near = [o for o in away if o.at < end(fault) + recovery and fault.at < end(o) + recovery]
    if isinstance(fault, Blackout):
        former = [other for other in others if isinstance(other, Blackout)]
        return len(former) < budget.blackouts_max and not near
    if not isinstance(fault, IMPAIRING):
        return True
    if any(isinstance(other, Blackout) for other in near):
        return False
    return len(near) < budget.impaired_hosts_max and fault.host not in map(_host, near)


def _host(fault: Fault) -> str:
    return fault.host if isinstance(fault, IMPAIRING) else ""


# ---------------------------------------------------------------- one of each


def _crash(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    death = randomness.choice(list(Death))
    return Crash(*_where(randomness, hosts, budget), death, _down(randomness, budget))


def _blackout(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    down = tuple(_down(randomness, budget) for _ in hosts)
    return Blackout(_when(randomness, budget), tuple(hosts), down)


def _pause(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    return Pause(*_where(randomness, hosts, budget), _down(randomness, budget))


def _isolation(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    direction = randomness.choice([Direction.BOTH, Direction.BOTH, Direction.OUT, Direction.IN])
    lane = randomness.choice([None, None, *Swimlane])
    at, host = _where(randomness, hosts, budget)
    return Isolation(at, host, direction, lane, _down(randomness, budget))


def _bad_link(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    return BadLink(
        _when(randomness, budget),
        _pair(randomness, hosts),
        randomness.choice([0.0005, 0.005, 0.03]),
        randomness.choice([0.0, 0.01, 0.1]),
        randomness.choice([0.0, 0.0, 0.002, 0.01]),
        _down(randomness, budget),
    )


def _resets(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    return Resets(_when(randomness, budget), _pair(randomness, hosts))


def _stall(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    return Stall(*_where(randomness, hosts, budget), _down(randomness, budget))


def _disk_error(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    operation = randomness.choice(list(DiskOperation))
    return DiskError(*_where(randomness, hosts, budget), operation, _down(randomness, budget))


def _busy_disk(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    probability = randomness.choice([0.1, 0.5])
    return BusyDisk(*_where(randomness, hosts, budget), probability, _down(randomness, budget))


def _full_disk(randomness: Random, hosts: Sequence[str], budget: Budget) -> Fault:
    free = randomness.choice([0, 1_000, 10_000])
    return FullDisk(*_where(randomness, hosts, budget), free, _down(randomness, budget))


Maker: TypeAlias = Callable[[Random, Sequence[str], Budget], Fault]

_MAKERS: Final[tuple[Maker, ...]] = (
    _crash,
    _blackout,
    _pause,
    _isolation,
    _bad_link,
    _resets,
    _stall,
    _disk_error,
    _busy_disk,
    _full_disk,
)
_WEIGHTS: Final = (6, 2, 3, 4, 2, 2, 1, 1, 1, 1)


def _when(randomness: Random, budget: Budget) -> float:
    return round(randomness.uniform(0, budget.seconds), 3)


def _where(randomness: Random, hosts: Sequence[str], budget: Budget) -> tuple[float, str]:
    return _when(randomness, budget), randomness.choice(list(hosts))


def _down(randomness: Random, budget: Budget) -> float:
    """Short absences as often as long ones: they break different things."""
    shortest = 0.05
    return round(shortest * (budget.down_seconds_max / shortest) ** randomness.random(), 3)


def _pair(randomness: Random, hosts: Sequence[str]) -> tuple[str, str]:
    one, other = randomness.sample(list(hosts), 2)
    return one, other
