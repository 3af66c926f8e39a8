"""The limits and times of a Raft replica; times are counted in ticks, which the driver gives."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class RaftOptions:
    """Frozen; `validate()` holds the relations between the fields."""

    election_ticks: int = 10
    """A follower that hears no leader for this long, plus a random part of it, campaigns."""
    heartbeat_ticks: int = 2
    """How often a leader shows itself."""
    append_entries_max: int = 256
    """Entries per `AppendEntries`."""
    append_bytes_max: int = MIB
    """Bytes of entry data per `AppendEntries`; a single larger entry travels alone."""
    in_flight_max: int = 64
    """`AppendEntries` per follower that are not yet answered."""
    uncommitted_entries_max: int = 4096
    """Entries that a leader takes before the first of them is committed."""
    proposal_bytes_max: int = 33 * MIB
    """Bytes of one proposal."""
    apply_entries_max: int = 1024
    """Committed entries handed out per `Ready`."""
    reads_max: int = 4096
    """Linearizable reads that wait for a quorum."""
    story_events_max: int = 32
    """Events that an illegal state tells."""

    def validate(self) -> None:
        """ValueError if the options contradict each other."""
        if not 0 < self.heartbeat_ticks < self.election_ticks:
            raise ValueError(
                f"heartbeat_ticks={self.heartbeat_ticks} must lie between 0 and "
                f"election_ticks={self.election_ticks}: lower it, or raise election_ticks"
            )
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
