"""Which invocations run in a simulated cluster, how many, and how services behave meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from restate_node.sim.services import SimServiceOptions


class Kind(Enum):
    """What clients call."""

    PROGRAM = "program"
    REGISTER = "register"
    COUNTER = "counter"
    WORKFLOW = "workflow"
    ONCE = "idempotency key"
    DELAYED = "delayed call"


@dataclass(frozen=True, slots=True)
class Load:
    """Of one run."""

    kinds: tuple[Kind, ...]
    pause_seconds: float = 0.15
    """Between two calls of a client; each node has one."""
    under_way_max: int = 6
    keys_max: int = 3
    """Keys of each kind of object: few, so that calls meet."""
    services: SimServiceOptions = field(default_factory=SimServiceOptions)
    outages_max: int = 0
    """How often a service goes away and comes back."""
    versions: tuple[int, int] = (6, 7)
    """The highest version of the service protocol that each deployment speaks."""
    is_lazy: bool = False
    """State is not sent along; handlers ask for it."""
    meddling_probability: float = 0.0
    """That a node's operator cancels, kills, pauses, resumes or purges some invocation, at each
    turn of a client."""


LOAD_PROBABILITY: Final = 0.6


def choose_load(rng: Random) -> Load | None:
    """None: a cluster that runs nothing."""
    if rng.random() >= LOAD_PROBABILITY:
        return None
    kinds = rng.sample(list(Kind), rng.choice((1, 2, 3, 6)))
    return Load(
        kinds=tuple(kinds),
        pause_seconds=rng.choice((0.06, 0.15, 0.4)),
        under_way_max=rng.choice((4, 12)),
        keys_max=rng.choice((1, 3, 5)),
        services=_services(rng),
        outages_max=rng.choice((0, 0, 2, 4)),
        versions=(rng.choice((5, 6, 7, 7)), rng.choice((5, 6, 7, 7))),
        is_lazy=rng.random() < 0.4,
        meddling_probability=rng.choice((0.0, 0.0, 0.1, 0.4)),
    )


def _services(rng: Random) -> SimServiceOptions:
    """Each trouble in some runs, and no run without any exchange that works."""
    return SimServiceOptions(
        delay_seconds_max=rng.choice((0.002, 0.005, 0.05)),
        window_bytes=rng.choice((128, 2 * 1024 * 1024)),
        backlog_bytes_low=64,
        refuse_probability=rng.choice((0.0, 0.0, 0.1)),
        refuse_stream_probability=rng.choice((0.0, 0.0, 0.1)),
        cut_probability=rng.choice((0.0, 0.0, 0.05, 0.2)),
        cut_seconds_mean=rng.choice((0.02, 0.2)),
    )
