"""Nodesets and headers, shared by the tests of the loglet's procedures."""

from __future__ import annotations

from collections.abc import Collection

from restate_node.protocol.quorum import NodesetChecker
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.log_messages import LogletHeader, LogletInfo, Status
from restate_node.types.nodes import Node, NodeLocation, NodesConfiguration, Role, StorageState
from restate_node.types.offsets import LogletOffset
from restate_node.types.replication import ReplicationProperty


def copies(
    size: int,
    replication: int,
    writable: int | None = None,
    lost: Collection[PlainNodeId] = (),
) -> NodesetChecker:
    """Nodes 1 to `size` without locations; of them the first `writable` take stores, and the
    `lost` have lost their data.
    """
    last = size if writable is None else writable
    states = [
        StorageState.READ_WRITE if number <= last else StorageState.GONE
        for number in range(1, size + 1)
    ]
    for node in lost:
        states[node - 1] = StorageState.DATA_LOSS
    return _checker([""] * size, states, str(replication))


def two_zones() -> NodesetChecker:
    """Two copies in two zones; nodes 1 and 3 are in one, 2 and 4 in the other."""
    zones = ["r.a", "r.b", "r.a", "r.b"]
    return _checker(zones, [StorageState.READ_WRITE] * 4, "{node: 2, zone: 2}")


def _checker(locations: list[str], states: list[StorageState], replication: str) -> NodesetChecker:
    nodes: dict[PlainNodeId, Node] = {}
    for number, (location, state) in enumerate(zip(locations, states, strict=True), start=1):
        life = GenerationalNodeId(PlainNodeId(number), 1)
        place = NodeLocation.parse(location)
        nodes[life.id] = Node(f"n{number}", life, "", frozenset((Role.LOG_SERVER,)), state, place)
    configuration = NodesConfiguration(Version(1), "test", nodes)
    return NodesetChecker(nodes, configuration, ReplicationProperty.parse(replication))


def header(local: int, known: int = 1, sealed: bool = False) -> LogletHeader:
    return LogletHeader(Status.OK, LogletOffset(local), LogletOffset(known), sealed)


def info(local: int, known: int = 1, sealed: bool = False, trim_point: int = 0) -> LogletInfo:
    return LogletInfo(header(local, known, sealed), LogletOffset(trim_point))
