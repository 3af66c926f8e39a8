"""Who leads which partition, as far as word has spread.

Leaders are elected in the metadata store and fence each other in the log; this table is only a hint
that finds them fast. It merges by the highest epoch. News rides on the next few messages at once;
now and then a message carries a stretch of the whole table, so that whoever missed the news, or
was not there yet, catches up.

Invariant: the epoch known for a partition never goes down. Driven by `gossip.FailureDetector`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from restate_node.types.gossip import Leadership
from restate_node.types.ids import PartitionId

LEADERSHIPS_PER_MESSAGE_MAX: Final = 512
PARTITIONS_KNOWN_MAX: Final = 65_536
NEWS_MESSAGES: Final = 3
"""How many messages carry an entry that is new to this node."""


class LeaderTable:
    """Leaderships by partition, and which of them are news."""

    __slots__ = ("_by_partition", "_news", "_stretch_start")

    def __init__(self) -> None:
        self._by_partition: dict[PartitionId, Leadership] = {}
        self._news: dict[PartitionId, int] = {}
        self._stretch_start = 0

    def snapshot(self) -> Mapping[PartitionId, Leadership]:
        """All that is known, as it is now."""
        return dict(self._by_partition)

    def merge(self, told: Iterable[Leadership]) -> bool:
        """Take over what is newer; True if anything was."""
        changed = False
        for leadership in told:
            known = self._by_partition.get(leadership.partition)
            if known is None and len(self._by_partition) >= PARTITIONS_KNOWN_MAX:
                continue
            if known is None or leadership.epoch > known.epoch:
                self._by_partition[leadership.partition] = leadership
                self._news[leadership.partition] = NEWS_MESSAGES
                changed = True
        return changed

    def take_news(self) -> tuple[Leadership, ...]:
        """Entries for the next message; each is given out `NEWS_MESSAGES` times."""
        chosen = list(islice(self._news, LEADERSHIPS_PER_MESSAGE_MAX))
        for partition in chosen:
            left = self._news.pop(partition) - 1
            if left:
                self._news[partition] = left
        return tuple(self._by_partition[partition] for partition in chosen)

    def take_stretch(self) -> tuple[Leadership, ...]:
        """The next part of the whole table, all of it when it fits; then it starts over."""
        start = self._stretch_start if self._stretch_start < len(self._by_partition) else 0
        end = start + LEADERSHIPS_PER_MESSAGE_MAX
        self._stretch_start = end
        return tuple(islice(self._by_partition.values(), start, end))
