"""Whether to talk to a node that has just connected, and whether to believe one that we connected
to.

A node trusts nobody's address: ports are reused and disks are copied. What it compares is the
cluster's name, the cluster's fingerprint (random, from provisioning: two clusters may have one
name), and the generation: a process that has been replaced by a newer life of the same node must
not be heard any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from restate_node.types.fabric import PROTOCOL_VERSION, Hello, Refused, Welcome
from restate_node.types.ids import GenerationalNodeId, PlainNodeId

KnownGeneration = Callable[[PlainNodeId], int]
"""Newest generation that is known of a node, 0 for a stranger."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is; `node` is None before joining, `fingerprint` 0 while unknown."""

    cluster_name: str
    fingerprint: int
    node: GenerationalNodeId | None


def hello(me: Identity, lane: int) -> Hello:
    """What this node says first."""
    return Hello(PROTOCOL_VERSION, me.cluster_name, me.fingerprint, me.node, lane)


def answer(me: Identity, greeting: Hello, known_generation: KnownGeneration) -> Welcome | Refused:
    """The accepting side's decision."""
    reason = (
        _other_version(greeting.protocol_version)
        or _other_cluster(me, greeting.cluster_name, greeting.fingerprint)
        or _outdated(greeting.node, known_generation)
        or _impostor(me, greeting.node)
    )
    if reason is not None:
        return Refused(reason)
    return Welcome(PROTOCOL_VERSION, me.fingerprint, me.node)


def objection(
    me: Identity, welcome: Welcome, expected: PlainNodeId | None, known_generation: KnownGeneration
) -> str | None:
    """Why the connecting side hangs up after all; None when it stays."""
    reason = (
        _other_version(welcome.protocol_version)
        or _other_cluster(me, me.cluster_name, welcome.fingerprint)
        or _outdated(welcome.node, known_generation)
    )
    if reason is not None:
        return reason
    if expected is not None and welcome.node is not None and welcome.node.id != expected:
        return f"expected node N{expected} at this address, found {welcome.node}"
    return None


def _other_version(theirs: int) -> str | None:
    if theirs != PROTOCOL_VERSION:
        return f"protocol version {theirs} is not supported, only {PROTOCOL_VERSION}"
    return None


def _other_cluster(me: Identity, name: str, fingerprint: int) -> str | None:
    if name != me.cluster_name:
        return f"cluster name mismatch: this is a node of '{me.cluster_name}', not of '{name}'"
    if fingerprint and me.fingerprint and fingerprint != me.fingerprint:
        return (
            f"cluster fingerprint mismatch: a different cluster of the same name '{name}'; "
            "check the addresses, or remove the data directory of the node that does not belong"
        )
    return None


def _outdated(node: GenerationalNodeId | None, known_generation: KnownGeneration) -> str | None:
    if node is None:
        return None
    known = known_generation(node.id)
    if node.generation < known:
        return f"{node} has been replaced by generation {known} of the same node"
    return None


def _impostor(me: Identity, node: GenerationalNodeId | None) -> str | None:
    """A node may call itself, by an address that it does not know to be its own."""
    if me.node is not None and node is not None and node.id == me.node.id and node != me.node:
        return f"{node} has the id of this node, {me.node}: give one of them another node-name"
    return None
