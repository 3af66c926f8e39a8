"""Why a snapshot cannot be had or published; each error says what to do next.

Failures of the object store itself are those of its port: `ObjectStoreUnavailable` is retried,
`ObjectStoreDenied` needs the operator.
"""

from __future__ import annotations

from restate_node.types.ids import PartitionId
from restate_node.types.offsets import Lsn

_NAMES_SHOWN_MAX = 5


class SnapshotError(Exception):
    """The repository answers, but not with what is needed."""


class NoSnapshot(SnapshotError):
    """Nothing was ever published for the partition: publish from a node that has its state."""

    def __init__(self, partition: PartitionId) -> None:
        super().__init__(
            f"no snapshot of partition {partition} in the repository: create one on a node that "
            "runs the partition"
        )
        self.partition = partition


class SnapshotTooOld(SnapshotError):
    """The newest snapshot ends before the position that is needed: publish a newer one."""

    def __init__(self, latest_lsn: Lsn, needed_lsn: Lsn) -> None:
        super().__init__(
            f"the newest snapshot covers LSN {latest_lsn}, and LSN {needed_lsn} is needed: create "
            "a newer one"
        )
        self.latest_lsn = latest_lsn
        self.needed_lsn = needed_lsn


class SnapshotCorrupt(SnapshotError):
    """Files of the repository are missing, cut or changed: restore them, or publish again."""

    def __init__(self, partition: PartitionId, names: tuple[str, ...]) -> None:
        shown = "; ".join(names[:_NAMES_SHOWN_MAX])
        more = f" and {len(names) - _NAMES_SHOWN_MAX} more" if len(names) > _NAMES_SHOWN_MAX else ""
        super().__init__(
            f"bad files in the snapshot repository of partition {partition}: {shown}{more}; "
            "restore them, or remove them and create a snapshot"
        )
        self.partition = partition
        self.names = names


class ForeignSnapshot(SnapshotError):
    """The place is in use by another cluster: give each its own prefix. Nothing was changed."""

    def __init__(self, partition: PartitionId, theirs: str, ours: str) -> None:
        super().__init__(
            f"the snapshot repository of partition {partition} belongs to {theirs}, not to {ours}: "
            "choose another prefix in worker.snapshots.destination"
        )
        self.partition = partition


class SnapshotSourceChanged(SnapshotError):
    """A local file was not as long as it was said to be while it was read: export again."""

    def __init__(self, name: str, expected_bytes: int, read_bytes: int) -> None:
        super().__init__(
            f"{name}: {read_bytes} bytes read of {expected_bytes}; the export changed under the "
            "upload: take the snapshot again"
        )
        self.name = name
