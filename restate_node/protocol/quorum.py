"""Is this set of log servers enough? The two quorums of a replicated loglet.

    write quorum   enough copies in enough places: the record survives what the replication promises
    f-majority     so many answered that no write quorum can exist among the silent ones

With replication `{node: r}` and n members a write quorum is any r nodes and an f-majority any n -
r + 1. With zones or regions a write quorum must hold in *every* named scope, and an f-majority in
*one*, counted in whole failure domains: a domain counts when all of its members answered.

Members that lost their data still answer, but "I do not have it" means nothing from them. A
domain made of such members only counts apart: an f-majority that needs it is one *with risk*. A
domain that mixes them with healthy ones never counts. Disabled and removed members are known to
be empty and count nowhere.

Both quorums follow the storage states of the moment. `proves` does not: it asks about every write
quorum that the nodeset may have formed at any time, and takes a member for silent whose data is
lost or that counts as empty. It is for those who want to act although no write quorum is left.

Invariant: every write quorum meets every f-majority that passes (checked by exhaustion in the
tests).

Driven by the append wave for each acknowledgement, and by seal, find-tail, repair and trim.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from restate_node.types.ids import PlainNodeId
from restate_node.types.nodes import NodeLocation, NodesConfiguration
from restate_node.types.replication import LocationScope, ReplicationProperty


class FMajority(Enum):
    """How far the answers of some members can be trusted to speak for all."""

    SUCCESS = "success"
    SUCCESS_WITH_RISK = "success-with-risk"
    BEST_EFFORT = "best-effort"
    NONE = "none"

    @property
    def passed(self) -> bool:
        """May be acted upon."""
        return self in (FMajority.SUCCESS, FMajority.SUCCESS_WITH_RISK)


@dataclass(frozen=True, slots=True)
class _Scope:
    """The failure domains of one scope, split by what the answers of their members are worth."""

    factor: int
    domains: tuple[frozenset[PlainNodeId], ...]
    authoritative: tuple[frozenset[PlainNodeId], ...]
    lost: tuple[frozenset[PlainNodeId], ...]

    @property
    def needed(self) -> int:
        """Complete domains that an f-majority takes; at least one, however few there are."""
        return max(1, len(self.domains) - self.factor + 1)

    def covers(self, nodes: frozenset[PlainNodeId]) -> bool:
        """Enough domains have a node."""
        return sum(not domain.isdisjoint(nodes) for domain in self.domains) >= self.factor

    def majority(self, nodes: frozenset[PlainNodeId]) -> FMajority:
        """By complete domains only; BEST_EFFORT is not this scope's to give."""
        sure = sum(domain <= nodes for domain in self.authoritative)
        if sure >= self.needed:
            return FMajority.SUCCESS
        if sure + sum(domain <= nodes for domain in self.lost) >= self.needed:
            return FMajority.SUCCESS_WITH_RISK
        return FMajority.NONE


class NodesetChecker:
    """Quorums of one nodeset, under one nodes configuration. Build anew when either changes."""

    __slots__ = (
        "_authoritative",
        "_copies",
        "_domains",
        "_lost",
        "_node_needed",
        "_nodeset",
        "_scopes",
        "members",
        "readable",
        "replication",
        "writable",
    )

    def __init__(
        self,
        nodeset: Iterable[PlainNodeId],
        nodes: NodesConfiguration,
        replication: ReplicationProperty,
    ) -> None:
        states = {node: nodes.storage_state(node) for node in nodeset}
        self._nodeset = frozenset(states)
        self.replication = replication
        self.members = frozenset(n for n, state in states.items() if not state.empty)
        """The nodeset without members that are known to be empty."""
        self.writable = frozenset(n for n, state in states.items() if state.can_write)
        """Members that take stores."""
        self.readable = frozenset(n for n, state in states.items() if state.readable)
        """Members worth asking."""
        self._authoritative = frozenset(n for n in self.members if states[n].authoritative)
        self._lost = self.members - self._authoritative
        self._copies = replication.copies
        self._node_needed = max(1, len(self.members) - self._copies + 1)
        self._scopes = tuple(
            self._scope(scope, factor, nodes)
            for scope, factor in replication.factors
            if scope is not LocationScope.NODE
        )
        self._domains = tuple(
            (factor, {member: _former_domain(member, scope, nodes) for member in states})
            for scope, factor in replication.factors
            if scope is not LocationScope.NODE
        )

    def write_quorum(self, nodes: Iterable[PlainNodeId]) -> bool:
        """`nodes` hold enough copies in enough places."""
        holders = self.members.intersection(nodes)
        if len(holders) < self._copies:
            return False
        if not self._scopes:  # the usual case, and this is called for every acknowledgement
            return True
        return all(scope.covers(holders) for scope in self._scopes)

    def f_majority(self, nodes: Iterable[PlainNodeId]) -> FMajority:
        """How far `nodes` speak for the whole nodeset."""
        answered = self.members.intersection(nodes)
        found = [self._node_majority(answered)]
        found.extend(scope.majority(answered) for scope in self._scopes)
        if FMajority.SUCCESS in found:
            return FMajority.SUCCESS
        if FMajority.SUCCESS_WITH_RISK in found:
            return FMajority.SUCCESS_WITH_RISK
        if self._authoritative and self._authoritative <= answered:
            return FMajority.BEST_EFFORT
        return FMajority.NONE

    def proves(self, nodes: Iterable[PlainNodeId]) -> bool:
        """Each write quorum that ever was has one of `nodes` whose word is the truth: what they do
        not hold was not acknowledged, and what they refuse will not be.
        """
        trusted = self._authoritative.intersection(nodes)
        others = self._nodeset - trusted
        if not trusted or len(others) < self._copies:
            return bool(trusted)
        return any(
            len({domain_of[node] for node in others}) < factor
            for factor, domain_of in self._domains
        )

    def exhausted_by(
        self, nodes: Iterable[PlainNodeId], repairable: Collection[PlainNodeId] = ()
    ) -> bool:
        """No write quorum can be written, says the configuration, and `nodes` are all who can be.

        `repairable`: members that can be written now although the configuration does not say so.
        """
        takers = self.writable.union(repairable)
        return not self.write_quorum(takers) and takers <= set(nodes)

    def _node_majority(self, answered: frozenset[PlainNodeId]) -> FMajority:
        sure = len(answered & self._authoritative)
        if sure >= self._node_needed:
            return FMajority.SUCCESS
        if len(answered) >= self._node_needed:
            return FMajority.SUCCESS_WITH_RISK
        return FMajority.NONE

    def _scope(self, scope: LocationScope, factor: int, nodes: NodesConfiguration) -> _Scope:
        by_domain: dict[str, set[PlainNodeId]] = {}
        for member in self.members:
            by_domain.setdefault(_domain(member, scope, nodes), set()).add(member)
        domains = tuple(frozenset(members) for members in by_domain.values())
        return _Scope(
            factor=factor,
            domains=domains,
            authoritative=tuple(d for d in domains if d <= self._authoritative),
            lost=tuple(d for d in domains if d <= self._lost),
        )


def _domain(member: PlainNodeId, scope: LocationScope, nodes: NodesConfiguration) -> str:
    node = nodes.node(member)
    return (NodeLocation() if node is None else node.location).domain(scope)


def _former_domain(
    member: PlainNodeId, scope: LocationScope, nodes: NodesConfiguration
) -> str | PlainNodeId:
    """Where a removed node was is not known any more: anywhere else than all others, at worst."""
    return member if nodes.is_tombstone(member) else _domain(member, scope, nodes)
