"""Setting the states of nodes, and removing nodes: checks, then one write of the configuration.

    transition rules ─▶ what would remain ─▶ what the cluster says of it ─▶ read-modify-write

The rules are pure (`types.storage_rules`); what would become of logs and partitions only the nodes
can say. A cluster of Restate's own servers has no such service: there the rules must do.

Each node is written only in the life, and from the state, that was judged: a node that restarts or
changes meanwhile is judged anew by whoever repeats the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from restate_node.ctl.command import Session
from restate_node.ctl.connection import CallsFailed
from restate_node.ctl.errors import CtlError
from restate_node.ctl.metadata_store import NODES, edit, epoch_metadata, read
from restate_node.ctl.methods import PLAN_STORAGE_STATES, PLAN_WORKER_STATES
from restate_node.ctl.node_lists import known_nodes
from restate_node.ctl.render import Json, Report
from restate_node.types.ids import PlainNodeId, Version, plain_text
from restate_node.types.logs import Logs, ProviderKind
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState, WorkerState
from restate_node.types.storage_rules import (
    new_nodeset_candidates,
    new_replica_candidates,
    shortage,
    unsafe_removal,
    unsafe_storage_change,
    unsafe_worker_change,
)
from restate_node.wire.pb.operator_pb2 import PlanStorageStatesRequest, PlanWorkerStatesRequest

FORCE_HELP = "Dangerous: leave out the safety checks. Records may be lost, logs may stop."
FORCE_HINT = "; --force does it all the same"


@dataclass(frozen=True, slots=True)
class Changed:
    """One node whose state was set; the texts are those of the states."""

    node: str
    before: str
    after: str
    warnings: tuple[str, ...] = ()


async def set_storage_states(
    session: Session, wanted: Sequence[PlainNodeId], state: StorageState, *, force: bool
) -> list[Changed]:
    """Check and write; CtlError says what is not safe."""
    nodes = known_nodes(wanted, await session.cluster.nodes_configuration())
    warnings: tuple[str, ...] = ()
    if not force:
        _refuse(unsafe_storage_change(node, state) for node in nodes)
        warnings = await _check_logs(session, nodes, state)
    judged = {node.current_generation: node for node in nodes}

    def change(node: Node) -> Node:
        before = judged[node.current_generation].storage_state
        _unchanged(node, node.storage_state in (before, state))
        return replace(node, storage_state=state)

    await _edit(session, nodes, change)
    after = state.value
    changed = [Changed(plain_text(n.id), n.storage_state.value, after) for n in nodes]
    return [replace(one, warnings=warnings) for one in changed]


async def set_worker_states(
    session: Session, wanted: Sequence[PlainNodeId], state: WorkerState, *, force: bool
) -> list[Changed]:
    """Check and write; CtlError says what is not safe."""
    nodes = known_nodes(wanted, await session.cluster.nodes_configuration())
    if not force:
        _refuse(unsafe_worker_change(node, state) for node in nodes)
        await _check_partitions(session, nodes, state)
    judged = {node.current_generation: node for node in nodes}

    def change(node: Node) -> Node:
        before = judged[node.current_generation].worker_state
        _unchanged(node, node.worker_state in (before, state))
        return replace(node, worker_state=state)

    await _edit(session, nodes, change)
    return [Changed(plain_text(n.id), n.worker_state.value, state.value) for n in nodes]


async def remove_nodes(session: Session, wanted: Sequence[PlainNodeId]) -> tuple[PlainNodeId, ...]:
    """Check, ask, and leave tombstones; CtlError says what a node is still needed for."""
    cluster = session.cluster
    configuration = await cluster.nodes_configuration()
    wanted = [node for node in wanted if not configuration.is_tombstone(node)]
    nodes = known_nodes(wanted, configuration)
    logs = await cluster.logs()
    _refuse(unsafe_removal(node, logs) for node in nodes)
    await _refuse_replicas(session, nodes)
    names = ", ".join(plain_text(node.id) for node in nodes)
    if nodes:
        session.require(f"Remove {names} from the cluster for ever?")
    lives = {node.id: node.current_generation for node in nodes}

    def change(present: NodesConfiguration | None) -> NodesConfiguration | None:
        result = _existing(present)
        version = result.version
        for node_id, life in lives.items():
            node = result.node(node_id)
            if node is None:
                continue
            if node.current_generation != life:
                raise CtlError(f"{plain_text(node_id)} restarted meanwhile: it is not removed")
            result = result.removed(node_id, result.modified_at)
        changed = result.version != version
        return replace(result, version=Version(version + 1)) if changed else None

    await edit(cluster, NODES, change)
    return tuple(lives)


def state_line(changed: Changed, what: str) -> str:
    """`N2 storage-state has been updated from read-write to read-only`."""
    return f"{changed.node} {what} has been updated from {changed.before} to {changed.after}"


def states_report(changed: Sequence[Changed], lines: Iterable[str]) -> Report:
    """The lines, then what the operator should know."""
    warnings = tuple(dict.fromkeys(text for one in changed for text in one.warnings))
    document: Json = {
        "nodes": [{"node": c.node, "before": c.before, "after": c.after} for c in changed],
        "warnings": warnings,
    }
    return Report(document, (*lines, *(f"Warning: {text}" for text in warnings)))


def lost_nodesets(
    configuration: NodesConfiguration, logs: Logs, without: Iterable[PlainNodeId]
) -> str | None:
    """Why no new nodeset could be made without these log servers, if it can be with them."""
    provider = logs.configuration
    if provider.kind is not ProviderKind.REPLICATED:
        return None
    gone = frozenset(without)
    before = new_nodeset_candidates(configuration.members())
    after = [node for node in before if node.id not in gone]
    lacking = shortage(provider.replication, after)
    if lacking is None or shortage(provider.replication, before) is not None:
        return None
    return (
        "Safety-check failed: lost the ability to generate nodesets: not enough candidate nodes to "
        f"satisfy the replication factor; {lacking}{FORCE_HINT}"
    )


# ---------------------------------------------------------------- checks


async def _check_logs(
    session: Session, nodes: Sequence[Node], state: StorageState
) -> tuple[str, ...]:
    """Warnings; CtlError if logs could not go on or records might be lost."""
    changing = [node.id for node in nodes if node.storage_state is not state]
    if state is StorageState.READ_WRITE or not changing:
        return ()
    configuration = await session.cluster.nodes_configuration()
    _refuse([lost_nodesets(configuration, await session.cluster.logs(), changing)])
    request = PlanStorageStatesRequest(nodes=changing, storage_state=state.value)
    try:
        plan = await session.cluster.try_each(PLAN_STORAGE_STATES, request)
    except CallsFailed as error:
        if error.is_unknown_method:
            return ()
        raise
    _refuse([f"{plan.refusal}{FORCE_HINT}" if plan.HasField("refusal") else None])
    return tuple(plan.warnings)


async def _check_partitions(session: Session, nodes: Sequence[Node], state: WorkerState) -> None:
    """CtlError if partitions could not be placed."""
    changing = [node.id for node in nodes if node.worker_state is not state]
    if state is WorkerState.ACTIVE or not changing:
        return
    table = await session.cluster.partition_table()
    if table.replication is not None:
        configuration = await session.cluster.nodes_configuration()
        before = new_replica_candidates(configuration.members())
        lacking = shortage(table.replication, [n for n in before if n.id not in changing])
        if lacking is not None and shortage(table.replication, before) is None:
            text = "Safety-check failed: lost the ability to place partitions"
            raise CtlError(f"{text}: {lacking}{FORCE_HINT}")
    request = PlanWorkerStatesRequest(nodes=changing, worker_state=state.value)
    try:
        plan = await session.cluster.try_each(PLAN_WORKER_STATES, request)
    except CallsFailed as error:
        if error.is_unknown_method:
            return
        raise
    _refuse([f"{plan.refusal}{FORCE_HINT}" if plan.HasField("refusal") else None])


async def _refuse_replicas(session: Session, nodes: Sequence[Node]) -> None:
    """CtlError if a partition still runs on one of these nodes."""
    if not any(node.has_role(Role.WORKER) for node in nodes):
        return
    cluster = session.cluster
    partitions = sorted((await cluster.partition_table()).partitions)
    found = await cluster.each(partitions, lambda p: read(cluster, epoch_metadata(p)))
    leaving = {node.id for node in nodes}
    for partition, metadata in zip(partitions, found, strict=True):
        if isinstance(metadata, CtlError):
            raise metadata
        if metadata is not None and (needed := sorted(leaving & metadata.replicas)):
            raise CtlError(
                f"{plain_text(needed[0])} is a replica of partition {partition}: use `restatectl "
                f"nodes set-worker-state --node {needed[0]} --worker-state draining` and wait"
            )


def _refuse(reasons: Iterable[str | None]) -> None:
    for reason in reasons:
        if reason is not None:
            raise CtlError(reason)


# ---------------------------------------------------------------- write


async def _edit(
    session: Session, nodes: Sequence[Node], change_one: Callable[[Node], Node]
) -> None:
    """One new version with all of them, or none if nothing differs."""

    def change(present: NodesConfiguration | None) -> NodesConfiguration | None:
        result = configuration = _existing(present)
        for judged in nodes:
            node = configuration.find(judged.current_generation)
            if node is None:
                name = plain_text(judged.id)
                raise CtlError(f"{name} restarted or was removed meanwhile: try again")
            if (changed := change_one(node)) != node:
                result = result.updated(changed, configuration.modified_at)
        if result is configuration:
            return None
        return replace(result, version=Version(configuration.version + 1))

    await edit(session.cluster, NODES, change)


def _existing(present: NodesConfiguration | None) -> NodesConfiguration:
    if present is None:
        raise CtlError("the cluster has no nodes configuration: provision it first")
    return present


def _unchanged(node: Node, as_judged: bool) -> None:
    if not as_judged:
        raise CtlError(f"the state of {plain_text(node.id)} changed meanwhile: try again")
