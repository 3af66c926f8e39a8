"""Why a processor cannot go on. It is parked and tried ever less often; the node lives on."""

from __future__ import annotations

from restate_node.types.offsets import Lsn


class CannotProceed(Exception):
    """Trying again at once is pointless: somebody must do something first."""


class TrimGapEncountered(Exception):
    """The records that this store lacks, up to `last`, were trimmed: a snapshot must bring them."""

    def __init__(self, last: Lsn) -> None:
        super().__init__(f"a log trim gap was encountered: records up to LSN {last} are gone")
        self.last = last


class NoRepository(CannotProceed):
    """Trimmed, and nowhere to take the state from."""

    def __init__(self) -> None:
        super().__init__(
            "A log trim gap was encountered, but no snapshot repository is configured!"
        )


class NoSnapshotAvailable(CannotProceed):
    """Trimmed, and nobody has published the state."""

    def __init__(self) -> None:
        super().__init__(
            "A log trim gap was encountered, but no snapshot is available for this partition!"
        )


class SnapshotBeforeTarget(CannotProceed):
    """Trimmed, and what was published does not reach the trim point."""

    def __init__(self) -> None:
        super().__init__("The latest available snapshot is from an LSN before the target LSN!")


class UnusableSnapshot(CannotProceed):
    """A snapshot is there, and cannot become this partition's state."""


class StoreAheadOfLog(CannotProceed):
    """The store has applied records that the log does not have: one of them lost data."""

    def __init__(self, applied: Lsn, tail: Lsn) -> None:
        super().__init__(
            f"the store has applied LSN {applied}, but the log ends before {tail}: restore the "
            "log, or remove this partition's database to rebuild it"
        )


class UnreadableRecord(CannotProceed):
    """A record cannot be decoded; to skip it would make this replica differ from others."""

    def __init__(self, lsn: Lsn, reason: str) -> None:
        super().__init__(f"LSN {lsn}: {reason}")
