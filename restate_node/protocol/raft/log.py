"""One replica's log in memory: a snapshot, the entries after it, and how far each of three
promises reaches.

       base        applied   handed_out     committed    stable      last
        |             |          |              |           |          |
    ----+-------------+----------+--------------+-----------+----------+
    gone|  applied by | being    | decided, may | on disk,  | only in memory
        |  the driver | applied  | be applied   | may change|

Invariants: `base <= applied <= handed_out <= committed <= last` and `stable <= last`. Nothing at
or below `committed` ever changes. Entries above it may be replaced by a newer leader, and `stable`
then falls back, so that the replacement is persisted again.

The log also knows the members, since they are decided by its entries: the newest `CONFIGURATION`
entry holds as soon as it is *in* the log (Raft dissertation, 4.1), and stops to hold if it is
replaced.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from restate_node.types.raft import (
    Entry,
    EntryKind,
    Index,
    Members,
    Snapshot,
    SnapshotMeta,
    Term,
    decode_members,
)


class RaftLog:
    """Entries after a base, the newest snapshot, and the cursors."""

    __slots__ = (
        "_entries",
        "_member_indexes",
        "_member_values",
        "applied",
        "base_index",
        "base_term",
        "committed",
        "handed_out",
        "snapshot",
        "snapshot_to_install",
        "stable",
    )

    def __init__(self, snapshot: Snapshot, entries: Sequence[Entry], commit: Index) -> None:
        """What the disk gave back; entries that the snapshot covers are ignored."""
        self._entries: list[Entry] = []
        self._start_from(snapshot)
        for entry in entries:
            if entry.index > snapshot.meta.index:
                assert entry.index == self.last_index + 1, "the stored entries have a gap"
                self._push(entry)
        self.stable = self.last_index
        self.committed = max(commit, self.committed)
        assert self.committed <= self.last_index, "the stored commit lies beyond the stored entries"

    def _start_from(self, snapshot: Snapshot) -> None:
        meta = snapshot.meta
        self.snapshot = snapshot
        self.snapshot_to_install: Snapshot | None = None
        self.base_index = meta.index
        self.base_term = meta.term
        self.applied = self.handed_out = self.committed = self.stable = meta.index
        self._entries.clear()
        self._member_indexes = [meta.index]
        self._member_values = [meta.members]

    # -- reading

    @property
    def first_index(self) -> Index:
        return Index(self.base_index + 1)

    @property
    def last_index(self) -> Index:
        return Index(self.base_index + len(self._entries))

    @property
    def last_term(self) -> Term:
        return self._entries[-1].term if self._entries else self.base_term

    @property
    def members(self) -> Members:
        """The members that hold now, committed or not."""
        return self._member_values[-1]

    @property
    def members_index(self) -> Index:
        """The entry that `members` come from."""
        return self._member_indexes[-1]

    def members_at(self, index: Index) -> Members:
        """The members that held at an entry; it must not lie before the base."""
        position = bisect_right(self._member_indexes, index) - 1
        assert position >= 0, f"the members at {index} are compacted"
        return self._member_values[position]

    def term(self, index: Index) -> Term | None:
        """The entry's term; None if it is compacted or not yet written."""
        position = index - self.base_index
        if position == 0:
            return self.base_term
        if 0 < position <= len(self._entries):
            return self._entries[position - 1].term
        return None

    def between(self, first: Index, last: Index) -> list[Entry]:
        """Entries `first..last`, both included and present."""
        assert first > self.base_index and last <= self.last_index, "asked beyond the log"
        return self._entries[first - self.base_index - 1 : last - self.base_index]

    def batch(self, first: Index, entries_max: int, bytes_max: int) -> tuple[Entry, ...]:
        """As many entries from `first` as the limits allow, but one at least if there is any."""
        start = first - self.base_index - 1
        candidates = self._entries[start : start + entries_max]
        bytes_total = 0
        for count, entry in enumerate(candidates):
            bytes_total += len(entry.data)
            if count and bytes_total > bytes_max:
                return tuple(candidates[:count])
        return tuple(candidates)

    def covers(self, last_index: Index, last_term: Term) -> bool:
        """Whether a log that ends there has all that this one has (Raft, 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def agreement(self, index: Index, term: Term) -> Index:
        """The last index up to `index` whose entry can agree with a log that has `term` there."""
        index = min(index, self.last_index)
        while index > self.base_index and (self.term(index) or 0) > term:
            index = Index(index - 1)
        return index

    # -- writing

    def append(self, term: Term, kind: EntryKind, data: bytes) -> Index:
        """A leader's own new entry."""
        index = Index(self.last_index + 1)
        self._push(Entry(index, term, kind, data))
        return index

    def merge(self, entries: Sequence[Entry]) -> None:
        """A leader's entries that follow a matching one; replaces what contradicts them."""
        for position, entry in enumerate(entries):
            if self.term(entry.index) == entry.term:
                continue
            self._cut(entry.index)
            for new in entries[position:]:
                self._push(new)
            return

    def commit_to(self, index: Index) -> bool:
        """Whether the commit moved; it never moves back nor beyond the last entry."""
        index = min(index, self.last_index)
        if index <= self.committed:
            return False
        self.committed = index
        return True

    def install(self, snapshot: Snapshot) -> None:
        """Replace the whole log; the driver is told by `snapshot_to_install`."""
        assert snapshot.meta.index > self.committed, "a snapshot must not undo a decision"
        self._start_from(snapshot)
        self.snapshot_to_install = snapshot

    def compact(self, index: Index, snapshot: Snapshot) -> None:
        """Forget the entries up to `index`; followers that need them get the snapshot."""
        meta = snapshot.meta
        assert index <= meta.index <= self.applied, "a snapshot covers applied entries only"
        if meta.index > self.snapshot.meta.index:
            self.snapshot = snapshot
        if index <= self.base_index:
            return
        term = self.term(index)
        assert term is not None
        members = self.members_at(index)
        keep = bisect_right(self._member_indexes, index)
        self._member_indexes[:keep] = [index]
        self._member_values[:keep] = [members]
        del self._entries[: index - self.base_index]
        self.base_index, self.base_term = index, term

    def persisted(self, entries: Sequence[Entry]) -> None:
        """These are on disk now; those that were replaced meanwhile do not count."""
        for entry in reversed(entries):
            if entry.index <= self.stable:
                return
            if self.term(entry.index) == entry.term:
                self.stable = entry.index
                return

    def snapshot_meta(self, index: Index) -> SnapshotMeta:
        """How a snapshot of the state right after `index` must be labelled."""
        term = self.term(index)
        assert term is not None, f"entry {index} is not in the log"
        return SnapshotMeta(index, term, self.members_at(index))

    def _push(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.kind is EntryKind.CONFIGURATION:
            self._member_indexes.append(entry.index)
            self._member_values.append(decode_members(entry.data))

    def _cut(self, index: Index) -> None:
        """Drop `index` and all after it."""
        if index > self.last_index:
            return
        assert index > self.committed, f"entry {index} is decided and cannot be replaced"
        del self._entries[index - self.base_index - 1 :]
        self.stable = min(self.stable, self.last_index)
        while self._member_indexes[-1] >= index:
            self._member_indexes.pop()
            self._member_values.pop()
