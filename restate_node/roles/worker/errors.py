"""Why a processor cannot go on. It is parked and tried ever less often; the node lives on."""

from __future__ import annotations

from restate_node.types.offsets import Lsn


class CannotProceed(Exception):
    """Trying again at once is pointless: somebody must do something first."""


class TrimGapEncountered(CannotProceed):
    """The records that this store lacks were trimmed."""

    def __init__(self, last: Lsn) -> None:
        super().__init__(
            "A log trim gap was encountered, but no snapshot repository is configured!"
        )
        self.last = last


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
