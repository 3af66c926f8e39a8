"""The objects that describe the cluster, and the versions by which nodes notice that theirs are
old.

Four objects are kept by every node in memory and spread by themselves: each frame between nodes
carries the sender's versions, and a receiver that sees a higher one fetches the object. Everything
else in the metadata store (epochs of partitions) is read when it is needed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec

from restate_node.types.ids import Version


class MetadataKind(IntEnum):
    """The numbers of the control plane's `restate.common.MetadataKind`."""

    NODES_CONFIGURATION = 1
    SCHEMA = 2
    PARTITION_TABLE = 3
    LOGS = 4


class MetadataVersions(NamedTuple):
    """The four versions, in the order in which frames carry them. 0 = not known."""

    nodes_configuration: int = 0
    logs: int = 0
    schema: int = 0
    partition_table: int = 0

    def of(self, kind: MetadataKind) -> Version:
        """The version of one object."""
        match kind:
            case MetadataKind.NODES_CONFIGURATION:
                return Version(self.nodes_configuration)
            case MetadataKind.LOGS:
                return Version(self.logs)
            case MetadataKind.SCHEMA:
                return Version(self.schema)
            case MetadataKind.PARTITION_TABLE:
                return Version(self.partition_table)


class GetMetadata(msgspec.Struct, frozen=True, array_like=True):
    """Ask a peer for its copy of an object, if that is at least `min_version`."""

    kind: MetadataKind
    min_version: int


class MetadataObject(msgspec.Struct, frozen=True, array_like=True):
    """A StorageCodec blob, empty when the peer has nothing new enough."""

    kind: MetadataKind
    version: int
    blob: bytes
