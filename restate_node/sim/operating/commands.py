"""Commands of the operations page, each with arguments by chance: some sensible, some refused.

What `restatectl` checks before it asks a node is checked here by the same rules (`types`), what it
asks nodes is asked by the same calls. Every command says in a line what became of it; one that was
refused raises `Refused`.

Nothing here goes beyond what the cluster tolerates, `--force` included: records keep two copies
once a run may lose one, on more log servers than that once it may lose a whole store; at most one
log server is declared lost; logs of partitions are trimmed only as far as their snapshots reach.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.empty_pb2 import Empty

from restate_node.sim.history_cluster import ReplicasOrdered, SnapshotTrimOrdered, TrimOrdered
from restate_node.sim.operating.console import CLUSTER, OPERATOR, Console, Refused
from restate_node.sim.operating.survey import read_logs, read_nodes, read_table
from restate_node.sim.scenario import Losses
from restate_node.sim.workloads.workload import LOG
from restate_node.types.ids import LogId, PartitionId, PlainNodeId, Version
from restate_node.types.nodes import Node, NodesConfiguration, StorageState, WorkerState
from restate_node.types.partitions import (
    EpochMetadata,
    LeadershipPolicy,
    NodeAffinity,
    PlacementPolicy,
)
from restate_node.types.storage_rules import (
    unsafe_removal,
    unsafe_storage_change,
    unsafe_worker_change,
)
from restate_node.wire.metadata_keys import NODES_CONFIGURATION_KEY, epoch_metadata_key
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.partitions import decode_epoch_metadata, encode_epoch_metadata
from restate_node.wire.pb import cluster_ctrl_pb2 as ctrl
from restate_node.wire.pb import operator_pb2 as operator
from restate_node.wire.pb.cluster_pb2 import ClusterConfiguration

INFEASIBLE: Final = 7
"""More copies than any cluster here has nodes."""
LSN_WORTH_IT: Final = 20


@dataclass(slots=True)
class Desk:
    """What the operator works with, and remembers."""

    console: Console
    found: Callable[[str], None]
    losses: Losses
    declared_lost: str | None = None
    """The host whose log server the operator has put into `data-loss`."""

    def chance(self, probability: float) -> bool:
        return self.console.rng.random() < probability


Command = Callable[[Desk], Awaitable[str]]


# ---------------------------------------------------------------- config set


async def set_configuration(desk: Desk) -> str:
    """Replications and nodeset size; what cannot be met must be refused, or forced."""
    rng = desk.console.rng
    wanted = await read_configuration(desk.console)
    copies = [2, 2, INFEASIBLE] if desk.losses is not Losses.NONE else [1, 2, 3, INFEASIBLE]
    before, choice, asked = configuration_text(wanted), rng.randrange(3), 0
    if choice == 0:
        asked = rng.choice(copies)
        wanted.bifrost_provider.replication_property.replication_property = str(asked)
    elif choice == 1:
        asked = rng.choice([1, 2, 3, INFEASIBLE])
        wanted.partition_replication.replication_property = str(asked)
        recorder = desk.console.world.recorder
        recorder.add(ReplicasOrdered(recorder.now(), asked))
    else:
        wanted.bifrost_provider.target_nodeset_size = rng.randrange(5)
    force = desk.chance(0.2)
    request = operator.PlanConfigurationRequest(configuration=wanted)
    await desk.console.call(
        f"{OPERATOR}/PlanConfiguration", request, operator.PlanConfigurationResponse
    )
    await write_configuration(desk.console, wanted, force=force)
    text = configuration_text(wanted)
    # What was forced before stays as it is, and may be asked for again.
    was_forced = f"{{node: {INFEASIBLE}}}" in before
    if asked == INFEASIBLE and not force and not was_forced:
        desk.found(f"config set was not refused although nobody can satisfy it: {text}")
    return f"config set {text}{' --force' if force else ''}"


async def read_configuration(console: Console) -> ClusterConfiguration:
    """`config get`. Raises Refused."""
    answer = await console.call(
        f"{CLUSTER}/GetClusterConfiguration",
        ctrl.GetClusterConfigurationRequest(),
        ctrl.GetClusterConfigurationResponse,
    )
    wanted = ClusterConfiguration()
    wanted.CopyFrom(answer.cluster_configuration)
    return wanted


async def write_configuration(
    console: Console, wanted: ClusterConfiguration, *, force: bool
) -> None:
    """`config set`. Raises Refused."""
    if force:
        forced = operator.SetConfigurationRequest(configuration=wanted, force=True)
        await console.call(
            f"{OPERATOR}/SetConfiguration", forced, operator.SetConfigurationResponse
        )
    else:
        plain = ctrl.SetClusterConfigurationRequest(cluster_configuration=wanted)
        await console.call(
            f"{CLUSTER}/SetClusterConfiguration", plain, ctrl.SetClusterConfigurationResponse
        )


def configuration_text(configuration: ClusterConfiguration) -> str:
    """Replications and size on a line."""
    provider = configuration.bifrost_provider
    return (
        f"log {provider.replication_property.replication_property}, partition "
        f"{configuration.partition_replication.replication_property}, "
        f"nodeset {provider.target_nodeset_size}"
    )


# ---------------------------------------------------------------- nodes


async def set_storage_state(desk: Desk) -> str:
    """read-only and back; by force also `data-loss`, of a log server that has lost nothing."""
    nodes = await read_nodes(desk.console)
    node = desk.console.rng.choice(nodes.members())
    state = desk.console.rng.choice([StorageState.READ_ONLY, StorageState.READ_WRITE])
    may_declare = desk.losses is Losses.NONE and desk.declared_lost in (None, node.name)
    if may_declare and desk.chance(0.2):
        return await _declare_lost(desk, node)
    await change_storage_state(desk.console, node, state)
    return f"nodes set-storage-state {node.name} {state.value}"


async def change_storage_state(console: Console, node: Node, state: StorageState) -> None:
    """With all checks. Raises Refused."""
    _refuse(unsafe_storage_change(node, state))
    request = operator.PlanStorageStatesRequest(nodes=[node.id], storage_state=state.value)
    plan = await console.call(
        f"{OPERATOR}/PlanStorageStates", request, operator.PlanStorageStatesResponse
    )
    _refuse(plan.refusal if plan.HasField("refusal") else None)
    await edit_node(console, node, lambda present: replace(present, storage_state=state))


async def _declare_lost(desk: Desk, node: Node) -> str:
    """A node that starts in that state refuses to; it is expected to end."""
    desk.console.world.excuse(node.name, True)
    desk.declared_lost = node.name
    await edit_node(
        desk.console, node, lambda present: replace(present, storage_state=StorageState.DATA_LOSS)
    )
    return f"nodes set-storage-state {node.name} data-loss --force"


async def set_worker_state(desk: Desk) -> str:
    """draining and back."""
    nodes = await read_nodes(desk.console)
    node = desk.console.rng.choice(nodes.members())
    state = desk.console.rng.choice([WorkerState.DRAINING, WorkerState.ACTIVE])
    await change_worker_state(desk.console, node, state)
    return f"nodes set-worker-state {node.name} {state.value}"


async def change_worker_state(console: Console, node: Node, state: WorkerState) -> None:
    """With all checks. Raises Refused."""
    _refuse(unsafe_worker_change(node, state))
    request = operator.PlanWorkerStatesRequest(nodes=[node.id], worker_state=state.value)
    plan = await console.call(
        f"{OPERATOR}/PlanWorkerStates", request, operator.PlanWorkerStatesResponse
    )
    _refuse(plan.refusal if plan.HasField("refusal") else None)
    await edit_node(console, node, lambda present: replace(present, worker_state=state))


async def remove_node(desk: Desk) -> str:
    """Members that hold something, as all of these do, must not go."""
    nodes, logs = await read_nodes(desk.console), await read_logs(desk.console)
    node = desk.console.rng.choice(nodes.members())
    reason = unsafe_removal(node, logs)
    if reason is None:
        desk.found(f"nodes remove {node.name} would be allowed, although the cluster needs it")
    _refuse(reason)
    return f"nodes remove {node.name}"


async def edit_node(console: Console, judged: Node, change: Callable[[Node], Node]) -> None:
    """Swap the entry of that life of a node. Raises Refused."""

    def changed(nodes: NodesConfiguration) -> NodesConfiguration | None:
        present = nodes.find(judged.current_generation)
        if present is None:
            raise Refused(f"{judged.name} restarted meanwhile")
        if (after := change(present)) == present:
            return None
        result = nodes.updated(after, nodes.modified_at)
        return replace(result, version=Version(nodes.version + 1))

    await console.edit(
        NODES_CONFIGURATION_KEY, decode_nodes_configuration, encode_nodes_configuration, changed
    )


# ---------------------------------------------------------------- logs


async def reconfigure(desk: Desk) -> str:
    """A new segment; at times with a nodeset, a sequencer, or the wrong segment index."""
    rng, console = desk.console.rng, desk.console
    log = await _some_log(desk)
    extension = ctrl.ChainExtension(provider="replicated")
    if desk.chance(0.5):
        members = (await read_nodes(console)).members()
        chosen = rng.sample(members, rng.randint(2, len(members)))
        for node in chosen:
            extension.nodeset.add(id=node.id)
        extension.replication.replication_property = "2"
        if desk.chance(0.5):
            extension.sequencer.id = rng.choice(members).id
    if desk.chance(0.1):
        extension.segment_index = rng.randrange(3)
    request = ctrl.SealAndExtendChainRequest(log_id=log, extension=extension)
    await console.call(f"{CLUSTER}/SealAndExtendChain", request, ctrl.SealAndExtendChainResponse)
    return f"logs reconfigure {log} [{', '.join(f'N{n.id}' for n in extension.nodeset)}]"


async def seal(desk: Desk) -> str:
    """A marker; whoever appends next opens a new segment."""
    log = await _some_log(desk)
    request = ctrl.SealChainRequest(log_id=log, context={"reason": "simulated"})
    await desk.console.call(f"{CLUSTER}/SealChain", request, ctrl.SealChainResponse)
    return f"logs seal {log}"


async def trim(desk: Desk) -> str:
    """The clients' log anywhere in its older half; that of a partition as far as it is archived."""
    console = desk.console
    log = await _some_log(desk)
    if log == LOG:
        found = await console.call(
            f"{CLUSTER}/FindTail", ctrl.FindTailRequest(log_id=log), ctrl.FindTailResponse
        )
        limit = found.tail_lsn // 2
    else:
        limit = archived(desk, log)
    if limit < LSN_WORTH_IT:
        raise Refused(f"log {log} has nothing to trim")
    point = console.rng.randint(1, limit)
    recorder = console.world.recorder
    recorder.add(TrimOrdered(recorder.now(), log, point))
    request = ctrl.TrimLogRequest(log_id=log, trim_point=point)
    await console.call(f"{CLUSTER}/TrimLog", request, Empty)
    return f"logs trim {log} {point}"


def archived(desk: Desk, partition: int) -> int:
    """What every snapshot of a partition reaches, as the bucket has it."""
    return desk.console.world.bucket_watch.archived.get(partition, 0)


async def _some_log(desk: Desk) -> LogId:
    logs = await read_logs(desk.console)
    return desk.console.rng.choice([LOG, *sorted(log for log in logs.chains if log != LOG)])


# ---------------------------------------------------------------- partitions


async def create_snapshot(desk: Desk) -> str:
    """Of one partition; at times its log is trimmed along with it."""
    console = desk.console
    partition = console.rng.choice(sorted((await read_table(console)).partitions))
    trims = desk.chance(0.3)
    if trims:
        recorder = console.world.recorder
        recorder.add(SnapshotTrimOrdered(recorder.now(), partition))
    request = ctrl.CreatePartitionSnapshotRequest(partition_id=partition, trim_log=trims)
    created = await console.call(
        f"{CLUSTER}/CreatePartitionSnapshot", request, ctrl.CreatePartitionSnapshotResponse
    )
    trimmed = " --trim-log" if trims else ""
    return f"snapshots create-snapshot {partition}{trimmed}: LSN {created.min_applied_lsn}"


async def lead(desk: Desk) -> str:
    """pin, unpin, freeze or unfreeze the leadership of a partition."""
    rng = desk.console.rng
    verb = rng.choice(["pin", "pin", "unpin", "freeze", "unfreeze"])

    def change(present: EpochMetadata) -> EpochMetadata:
        policy = present.leadership_policy
        match verb:
            case "pin":
                replicas = sorted(present.replicas)
                if not replicas:
                    raise Refused("the partition is nowhere yet")
                policy = replace(policy, affinity=NodeAffinity(PlainNodeId(rng.choice(replicas))))
            case "unpin":
                policy = replace(policy, affinity=None)
            case "freeze":
                policy = replace(policy, freeze_reason="simulated")
            case _:
                policy = replace(policy, freeze_reason=None)
        return _with_leadership(present, policy)

    partition = await change_partition(desk.console, change)
    return f"partitions leadership {verb} {partition}"


async def place(desk: Desk) -> str:
    """freeze or unfreeze the replica set of a partition."""
    verb = desk.console.rng.choice(["freeze", "unfreeze"])
    reason = "simulated" if verb == "freeze" else None

    def change(present: EpochMetadata) -> EpochMetadata:
        policy = PlacementPolicy(reason)
        same = policy == present.placement_policy
        return present if same else present.with_placement_policy(policy)

    partition = await change_partition(desk.console, change)
    return f"partitions placement {verb} {partition}"


async def change_partition(
    console: Console,
    change: Callable[[EpochMetadata], EpochMetadata],
    partition: PartitionId | None = None,
) -> PartitionId:
    """Edit the epoch metadata of one partition, any if None, and tell the controller."""
    table = await read_table(console)
    number = console.rng.choice(sorted(table.partitions)) if partition is None else partition

    def changed(present: EpochMetadata) -> EpochMetadata | None:
        after = change(present)
        return None if after.version == present.version else after

    await console.edit(
        epoch_metadata_key(number),
        decode_epoch_metadata,
        lambda metadata: encode_epoch_metadata(metadata, number),
        changed,
    )
    request = ctrl.SyncEpochMetadataRequest(partition_ids=[number])
    with suppress(Refused):  # The controller looks by itself within seconds.
        await console.call(f"{CLUSTER}/SyncEpochMetadata", request, ctrl.SyncEpochMetadataResponse)
    return number


def free_partition(present: EpochMetadata) -> EpochMetadata:
    """Neither pinned nor frozen."""
    freed = _with_leadership(present, LeadershipPolicy())
    if freed.placement_policy.is_frozen:
        freed = freed.with_placement_policy(PlacementPolicy())
    return freed


def _with_leadership(present: EpochMetadata, policy: LeadershipPolicy) -> EpochMetadata:
    if policy == present.leadership_policy:
        return present
    return present.with_leadership_policy(policy)


# ---------------------------------------------------------------- nonsense


async def nonsense(desk: Desk) -> str:
    """What must be refused, with a status, by every node and at any time."""
    path, request, response = desk.console.rng.choice(NONSENSE)
    try:
        await desk.console.call(path, request, response)
    except Refused as refusal:
        return f"{path.rpartition('/')[2]} is refused: {refusal}"
    asked = str(request).replace("\n", " ")
    desk.found(f"{path} ({asked}) was not refused")
    return "nonsense"


NONSENSE: Final = (
    (f"{CLUSTER}/DescribeLog", ctrl.DescribeLogRequest(log_id=777), ctrl.DescribeLogResponse),
    (f"{CLUSTER}/FindTail", ctrl.FindTailRequest(log_id=4_000_000_000), ctrl.FindTailResponse),
    (f"{CLUSTER}/TrimLog", ctrl.TrimLogRequest(log_id=777, trim_point=5), Empty),
    (f"{CLUSTER}/SealChain", ctrl.SealChainRequest(log_id=777), ctrl.SealChainResponse),
    (
        f"{CLUSTER}/SealChain",
        ctrl.SealChainRequest(log_id=0, tail_lsn=0),
        ctrl.SealChainResponse,
    ),
    (
        f"{CLUSTER}/CreatePartitionSnapshot",
        ctrl.CreatePartitionSnapshotRequest(partition_id=99),
        ctrl.CreatePartitionSnapshotResponse,
    ),
    (
        f"{CLUSTER}/CreatePartitionSnapshot",
        ctrl.CreatePartitionSnapshotRequest(partition_id=0, min_target_lsn=1 << 40),
        ctrl.CreatePartitionSnapshotResponse,
    ),
    (
        f"{CLUSTER}/SetClusterConfiguration",
        ctrl.SetClusterConfigurationRequest(),
        ctrl.SetClusterConfigurationResponse,
    ),
    (
        f"{OPERATOR}/PlanStorageStates",
        operator.PlanStorageStatesRequest(nodes=[99], storage_state="read-only"),
        operator.PlanStorageStatesResponse,
    ),
    (
        f"{OPERATOR}/PlanWorkerStates",
        operator.PlanWorkerStatesRequest(nodes=[1], worker_state="lazy"),
        operator.PlanWorkerStatesResponse,
    ),
)


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise Refused(reason)


COMMANDS: Final[Sequence[tuple[Command, int]]] = (
    (set_configuration, 3),
    (set_storage_state, 3),
    (set_worker_state, 2),
    (remove_node, 1),
    (reconfigure, 3),
    (seal, 2),
    (trim, 2),
    (create_snapshot, 3),
    (lead, 3),
    (place, 1),
    (nonsense, 2),
)
"""With their weights."""
