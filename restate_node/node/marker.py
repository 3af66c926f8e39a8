"""The cluster marker: a small file in the data directory that says whose data this is.

A data directory that was copied, or pointed at another cluster by a typing mistake, must not join:
its logs and its Raft votes are promises made to somebody else. The file is checked before anything
else is opened, and written once the node has joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from restate_node import __version__
from restate_node.runtime.ports import Disk
from restate_node.types.decoding import UNDECODABLE

MARKER_FILE: Final = ".cluster-marker"
RESTATE_VERSION: Final = "1.7.12"
"""The release of Restate whose formats this node reads and writes."""
OLDEST_FORWARD_COMPATIBLE: Final = "1.6.0"


class MarkerError(Exception):
    """The data directory belongs to somebody else; one line that says what to change."""


@dataclass(frozen=True, slots=True)
class ClusterMarker:
    """Content of the file; the field names are Restate's, but for the name of the node."""

    cluster_name: str
    node_name: str | None = None
    cluster_fingerprint: int | None = None
    max_version: str = RESTATE_VERSION
    current_version: str = RESTATE_VERSION
    min_forward_compatible_version: str = OLDEST_FORWARD_COMPATIBLE
    is_provisioned: bool = False


def read_marker(
    disk: Disk, cluster_name: str, node_name: str, directory: str
) -> ClusterMarker | None:
    """The marker of this data directory, None in a new one; raises MarkerError."""
    raw = disk.read_file(MARKER_FILE)
    if raw is None:
        return None
    try:
        marker = msgspec.json.decode(raw, type=ClusterMarker)
    except UNDECODABLE:
        raise MarkerError(
            f"{directory}/{MARKER_FILE} cannot be read: restore it, or use another base-dir"
        ) from None
    if marker.cluster_name != cluster_name:
        raise MarkerError(
            f"{directory} belongs to cluster '{marker.cluster_name}', not to '{cluster_name}': "
            "correct cluster-name or base-dir"
        )
    if marker.node_name not in (None, node_name):
        raise MarkerError(
            f"{directory} belongs to node '{marker.node_name}', not to '{node_name}': "
            "correct node-name or base-dir"
        )
    return marker


def write_marker(disk: Disk, cluster_name: str, node_name: str, fingerprint: int) -> None:
    """Bind the data directory to this node of the cluster, durably."""
    provisioned = bool(fingerprint)
    marker = ClusterMarker(cluster_name, node_name, fingerprint or None, is_provisioned=provisioned)
    disk.write_file(MARKER_FILE, msgspec.json.encode(marker))


def binary_version() -> str:
    """What this node tells others of itself."""
    return __version__
