"""The object store that `worker.snapshots` asks for."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import assert_never

from restate_node.runtime.ports import ObjectStore
from restate_node.runtime.real.objects_file import FileObjects
from restate_node.runtime.real.objects_s3 import S3Objects
from restate_node.types.options import SnapshotOptions
from restate_node.types.snapshots import (
    BucketDestination,
    DirectoryDestination,
    parse_destination,
)

__all__ = ["open_objects"]


def open_objects(options: SnapshotOptions, rng: Random) -> tuple[ObjectStore, str] | None:
    """The store and the prefix of keys in it; None without a destination.

    Nothing is connected yet. ValueError says which option to change.
    """
    if options.destination is None:
        return None
    destination = parse_destination(options.destination)
    match destination:
        case BucketDestination(bucket, prefix):
            return S3Objects(bucket, options, rng), prefix
        case DirectoryDestination(directory):
            return FileObjects(Path(directory)), ""
        case _:
            assert_never(destination)
