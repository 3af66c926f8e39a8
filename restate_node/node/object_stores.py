"""Opens the object store that the configuration names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from restate_node.runtime.real.objects_file import FileObjects
from restate_node.types.snapshots import (
    BucketDestination,
    DirectoryDestination,
    parse_destination,
)

if TYPE_CHECKING:
    from restate_node.runtime.ports import ObjectStore
    from restate_node.types.options import SnapshotOptions


class ObjectsError(Exception):
    """The configured object store cannot be used; says what to change."""


def open_objects(options: SnapshotOptions) -> ObjectStore | None:
    """None when no destination is configured. Raises ObjectsError."""
    if options.destination is None:
        return None
    try:
        destination = parse_destination(options.destination)
    except ValueError as error:
        raise ObjectsError(str(error)) from None
    match destination:
        case DirectoryDestination(directory):
            return FileObjects(Path(directory))
        case BucketDestination():
            raise ObjectsError(
                f"worker.snapshots.destination = {options.destination!r}: this release has no "
                "client of buckets: use file:///directory"
            )
        case _:
            assert_never(destination)
