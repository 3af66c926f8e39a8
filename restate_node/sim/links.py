"""Which host reaches which, how fast, and what is cut: the rules of the simulated network.

Every rule has a direction, because one-way failures are the ones nobody tests, and may be limited
to one swimlane, because a firewall or a full queue can take gossip away and leave the data alone,
or the other way round.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

from restate_node.runtime.ports import Swimlane


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """One direction between two hosts. Defaults: a quiet local network."""

    delay_seconds_min: float = 0.0001
    delay_seconds_mean: float = 0.0004
    """Exponentially distributed, on top of the minimum."""
    delay_seconds_max: float = 0.1
    bytes_per_second: float = 1e9
    loss_probability: float = 0.0
    """Per segment. TCP repairs a loss, so it costs time and never a frame."""
    reset_probability: float = 0.0
    """Per segment: the connection breaks, and what is in flight may be lost."""

    def __post_init__(self) -> None:
        assert 0 <= self.delay_seconds_min <= self.delay_seconds_max
        assert self.delay_seconds_mean >= 0
        assert self.bytes_per_second > 0
        assert 0 <= self.loss_probability <= 1
        assert 0 <= self.reset_probability <= 1

    def delay(self, randomness: random.Random) -> float:
        """Seconds that one segment travels."""
        extra = 0.0
        if self.delay_seconds_mean:
            extra = randomness.expovariate(1 / self.delay_seconds_mean)
        return min(self.delay_seconds_min + extra, self.delay_seconds_max)


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What holds for all hosts."""

    link: LinkOptions = field(default_factory=LinkOptions)
    connect_seconds_max: float = 5.0
    """A peer that does not answer at all is given up after this."""
    retransmit_seconds_min: float = 0.2
    retransmit_seconds_max: float = 1.0
    keepalive_seconds: float = 15.0
    """A connection whose peer is silent (cut off, power lost) breaks after this."""
    late_seconds_max: float = 1.0
    """The sides of a broken connection learn of it up to this far apart; until then frames in
    flight still arrive, late, perhaps after newer ones on the next connection."""
    backlog_bytes_low: int = 64 * 1024
    """`drained` waits until the backlog is not above this."""


Path = tuple[str, str, Swimlane | None]


class Links:
    """The present rules. Source and target are host names; lane None means every lane."""

    def __init__(self, default: LinkOptions) -> None:
        self.default = default
        self._special: dict[tuple[str, str], LinkOptions] = {}
        self._cuts: dict[Path, int] = {}
        self._cut_count = 0

    def link(self, source: str, target: str) -> LinkOptions:
        return self._special.get((source, target), self.default)

    def shape(self, source: str, target: str, options: LinkOptions | None) -> None:
        """Give one direction its own quality; None returns it to the default."""
        if options is None:
            self._special.pop((source, target), None)
        else:
            self._special[source, target] = options

    def cut(self, source: str, target: str, lane: Swimlane | None = None) -> None:
        """Let nothing through from source to target."""
        self._cut_count += 1
        self._cuts.setdefault((source, target, lane), self._cut_count)

    def mend(self, source: str, target: str, lane: Swimlane | None = None) -> None:
        self._cuts.pop((source, target, lane), None)

    def heal(self) -> None:
        """Undo all cuts and all special qualities."""
        self._cuts.clear()
        self._special.clear()

    def is_cut(self, source: str, target: str, lane: Swimlane) -> bool:
        return (source, target, None) in self._cuts or (source, target, lane) in self._cuts

    def cuts(self) -> dict[Path, int]:
        """The present cuts, numbered; a cut made anew has a new number."""
        return dict(self._cuts)

    def partition(self, groups: Sequence[Sequence[str]]) -> None:
        """Cut every pair of hosts that are not in the same group, both ways."""
        for group, other in permutations(groups, 2):
            for source, target in product(group, other):
                self.cut(source, target)
