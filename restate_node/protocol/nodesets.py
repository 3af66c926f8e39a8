"""Which log servers hold the next segment of a log.

    target = max(configured size, 2r - 1, r + 1), at most 128          r: copies
    order  = own node, members of the previous nodeset, then by a hash of log and node

The writer's own node comes first because a copy there costs no network; the previous members next
because moving costs reads later; the hash spreads the logs over the cluster without anybody
keeping count. With zones or regions every domain of the largest named scope gives the same number
of members, or all it has, so that losing one domain hurts equally.

Candidates are log servers whose storage state is read-write. Invariants: the result holds a write
quorum; the same input gives the same nodeset, and so does the result passed back as the previous
nodeset.

Driven by whoever extends a chain, and by `log_placement`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias

import xxhash

from restate_node.protocol.quorum import NodesetChecker
from restate_node.types.ids import LogId, PlainNodeId
from restate_node.types.nodes import Node, NodesConfiguration
from restate_node.types.replication import LocationScope, ReplicationProperty

NODESET_SIZE_MAX = 128
"""Members of one nodeset."""

_HASH_SEED = 14712721395741015273


@dataclass(frozen=True, slots=True)
class Nodeset:
    """The chosen members, most preferred first."""

    nodes: tuple[PlainNodeId, ...]


@dataclass(frozen=True, slots=True)
class CannotPlace:
    """No set of candidates satisfies the replication property."""

    reason: str


NodesetChoice: TypeAlias = Nodeset | CannotPlace
_Preference: TypeAlias = Callable[[Node], tuple[int, int]]


def select_nodeset(
    log: LogId,
    replication: ReplicationProperty,
    nodes: NodesConfiguration,
    *,
    size_target: int = 0,
    previous: Collection[PlainNodeId] = (),
    own: PlainNodeId | None = None,
    excluded: Collection[PlainNodeId] = (),
) -> NodesetChoice:
    """The nodeset for the next segment of `log`; size target 0 means as the replication needs."""
    candidates = [
        node
        for node in nodes.log_servers()
        if node.storage_state.in_new_nodesets and node.id not in excluded
    ]
    target = nodeset_size(replication, size_target)

    def preference(node: Node) -> tuple[int, int]:
        rank = 0 if node.id == own else 1 if node.id in previous else 2
        return rank, _hash(log, node.id)

    chosen = tuple(node.id for node in _choose(candidates, replication, target, preference))
    if NodesetChecker(chosen, nodes, replication).write_quorum(chosen):
        return Nodeset(chosen)
    return CannotPlace(
        f"replication {replication} cannot be met by {len(candidates)} log servers in read-write; "
        "add log servers, set more to read-write, or lower the replication"
    )


def nodeset_size(replication: ReplicationProperty, configured: int) -> int:
    """Members to aim for."""
    copies = replication.copies
    return min(NODESET_SIZE_MAX, max(configured, 2 * copies - 1, copies + 1))


def _choose(
    candidates: Sequence[Node],
    replication: ReplicationProperty,
    target: int,
    preference: _Preference,
) -> list[Node]:
    scope, factor = replication.factors[-1]
    if scope is LocationScope.NODE:
        return sorted(candidates, key=preference)[:target]
    domains = _domains(candidates, scope, preference)
    if not domains:
        return []
    # Enough per domain that the copies fit even where only `factor` domains are left.
    fair = -(-target // len(domains))
    share = max(fair, replication.copies - factor + 1)
    smaller = [s for s in replication.scopes if s is not scope and s is not LocationScope.NODE]
    shares = [_spread(domain, smaller, preference)[:share] for domain in domains]
    return _interleaved(shares)[:NODESET_SIZE_MAX]


def _spread(
    nodes: Sequence[Node], scopes: Sequence[LocationScope], preference: _Preference
) -> list[Node]:
    """Order by preference, taking turns among the domains of a smaller scope if one is named."""
    if not scopes:
        return sorted(nodes, key=preference)
    return _interleaved(_domains(nodes, scopes[0], preference))


def _domains(
    nodes: Sequence[Node], scope: LocationScope, preference: _Preference
) -> list[list[Node]]:
    """The nodes of each domain by preference; domains in order of their best node."""
    domains: dict[str, list[Node]] = {}
    for node in sorted(nodes, key=preference):
        domains.setdefault(node.location.domain(scope), []).append(node)
    return list(domains.values())


def _interleaved(lists: Sequence[Sequence[Node]]) -> list[Node]:
    return [node for turn in zip_longest(*lists) for node in turn if node is not None]


def _hash(log: LogId, node: PlainNodeId) -> int:
    key = log.to_bytes(4, "little") + node.to_bytes(4, "little")
    return xxhash.xxh3_64_intdigest(key, seed=_HASH_SEED)
