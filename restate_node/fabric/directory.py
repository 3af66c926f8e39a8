"""What the fabric must know of the cluster, seen from below.

The fabric carries the frames by which nodes learn of the cluster, so it cannot depend on the layer
that keeps that knowledge. That layer gives it this view instead.
"""

from __future__ import annotations

from typing import Protocol

from restate_node.protocol.handshake import Identity
from restate_node.types.fabric import Peer
from restate_node.types.ids import PlainNodeId
from restate_node.types.metadata import MetadataVersions


class Directory(Protocol):
    """Names, addresses and versions, as this node knows them now."""

    def identity(self) -> Identity:
        """Who this node is; changes when it joins."""
        ...

    def address_of(self, node: PlainNodeId) -> str | None:
        """Advertised address, None for a stranger or a removed node."""
        ...

    def generation_of(self, node: PlainNodeId) -> int:
        """Newest known generation, 0 for a stranger."""
        ...

    def versions(self) -> MetadataVersions:
        """Versions of the metadata held here; go out with every frame."""
        ...

    def observed(self, peer: Peer, versions: MetadataVersions) -> None:
        """A peer's frames carry these versions (called when they change, not per frame)."""
        ...
