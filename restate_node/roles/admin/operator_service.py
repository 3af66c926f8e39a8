"""What our own `restatectl` asks beyond Restate's interface: `restate_node.operator.OperatorSvc`.

Every node serves it. Plans need what every node knows and, for partitions, their epoch metadata;
events are this node's own. Nothing here writes but SetConfiguration, which is the service's way
to say `--force`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import MetadataError
from restate_node.roles.admin.configuration_change import (
    UpdatableStore,
    change_configuration,
    refusal_of,
)
from restate_node.roles.admin.configuration_message import read_configuration
from restate_node.roles.admin.epoch_reads import read_epochs
from restate_node.roles.admin.plans import Planned, plan_logs, plan_partitions
from restate_node.roles.admin.storage_states import plan_storage_states
from restate_node.roles.admin.why import event_message
from restate_node.roles.admin.worker_states import plan_worker_states
from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.decision_events import DecisionEvent
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import GenerationalNodeId, LogId, PartitionId, PlainNodeId, plain_text
from restate_node.types.nodes import StorageState, WorkerState
from restate_node.types.partitions import EpochMetadata
from restate_node.wire.pb import operator_pb2 as messages
from restate_node.wire.storage_codec import CodecError


@dataclass(frozen=True, slots=True)
class OperatorSources:
    """What this node knows by itself, each asked when it is needed."""

    alive: Callable[[], frozenset[GenerationalNodeId]]
    log_events: Callable[[LogId], Iterable[DecisionEvent]]
    partition_events: Callable[[PartitionId], Iterable[DecisionEvent]]


class Operator:
    """The handlers, one method each; errors are GrpcErrors."""

    def __init__(
        self, metadata: MetadataCache, store: UpdatableStore, sources: OperatorSources
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._sources = sources

    # ------------------------------------------------------------ configuration

    async def plan_configuration(
        self, request: messages.PlanConfigurationRequest
    ) -> messages.PlanConfigurationResponse:
        wanted = _configuration(request)
        refusal = refusal_of(self._metadata, wanted)
        logs = replace(self._metadata.logs.value, configuration=wanted.provider)
        table = replace(
            self._metadata.partition_table.value, replication=wanted.partition_replication
        )
        nodes = self._metadata.nodes.value
        epochs = await self._epochs()
        alive = self._sources.alive()
        return messages.PlanConfigurationResponse(
            refusal=None if refusal is None else refusal.reason,
            forcible=refusal is not None and refusal.forcible,
            logs=_log_plans(plan_logs(logs, nodes)),
            partitions=_partition_plans(plan_partitions(table, nodes, epochs, alive)),
        )

    async def set_configuration(
        self, request: messages.SetConfigurationRequest
    ) -> messages.SetConfigurationResponse:
        wanted = _configuration(request)
        await change_configuration(self._metadata, self._store, wanted, force=request.force)
        return messages.SetConfigurationResponse()

    # ------------------------------------------------------------ states

    async def plan_storage_states(
        self, request: messages.PlanStorageStatesRequest
    ) -> messages.PlanStorageStatesResponse:
        try:
            state = StorageState(request.storage_state)
        except ValueError:
            raise _unknown_state(request.storage_state, StorageState) from None
        nodes, logs = self._metadata.nodes.value, self._metadata.logs.value
        plan = plan_storage_states(nodes, logs, self._members(request.nodes), state)
        return messages.PlanStorageStatesResponse(
            refusal=plan.refusal, warnings=plan.warnings, logs=_log_plans(plan.logs)
        )

    async def plan_worker_states(
        self, request: messages.PlanWorkerStatesRequest
    ) -> messages.PlanWorkerStatesResponse:
        try:
            state = WorkerState(request.worker_state)
        except ValueError:
            raise _unknown_state(request.worker_state, WorkerState) from None
        plan = plan_worker_states(
            self._metadata.nodes.value,
            self._metadata.partition_table.value,
            await self._epochs(),
            self._sources.alive(),
            self._members(request.nodes),
            state,
        )
        return messages.PlanWorkerStatesResponse(
            refusal=plan.refusal, partitions=_partition_plans(plan.partitions)
        )

    # ------------------------------------------------------------ events

    async def get_events(self, request: messages.GetEventsRequest) -> messages.GetEventsResponse:
        match request.WhichOneof("subject"):
            case "log_id":
                events = self._sources.log_events(LogId(request.log_id))
            case "partition_id":
                events = self._sources.partition_events(PartitionId(request.partition_id))
            case _:
                raise _invalid("say of which log or partition")
        me = "" if self._metadata.me is None else str(self._metadata.me)
        return messages.GetEventsResponse(events=[event_message(event, me) for event in events])

    # ------------------------------------------------------------ inside

    def _members(self, numbers: Iterable[int]) -> frozenset[PlainNodeId]:
        asked = frozenset(PlainNodeId(number) for number in numbers)
        for node in sorted(asked):
            if self._metadata.nodes.value.node(node) is None:
                raise _invalid(f"{plain_text(node)} is not a member of the cluster")
        return asked

    async def _epochs(self) -> dict[PartitionId, EpochMetadata]:
        """Of every partition that has been placed."""
        partitions = self._metadata.partition_table.value.partitions
        try:
            return await read_epochs(self._store, partitions)
        except (MetadataError, CodecError) as error:
            text = f"the placement of the partitions cannot be read: {error}"
            raise GrpcError(StatusCode.UNAVAILABLE, text) from None


def _configuration(
    request: messages.PlanConfigurationRequest | messages.SetConfigurationRequest,
) -> ClusterConfiguration:
    if not request.HasField("configuration"):
        raise _invalid("configuration is a required field")
    return read_configuration(request.configuration)


def _log_plans(plans: dict[LogId, Planned]) -> list[messages.LogPlan]:
    return [
        messages.LogPlan(log_id=log, present=plan.present, next=plan.next, reason=plan.reason)
        for log, plan in plans.items()
    ]


def _partition_plans(plans: dict[PartitionId, Planned]) -> list[messages.PartitionPlan]:
    return [
        messages.PartitionPlan(
            partition_id=partition, present=plan.present, next=plan.next, reason=plan.reason
        )
        for partition, plan in plans.items()
    ]


def _unknown_state(text: str, states: type[StorageState] | type[WorkerState]) -> GrpcError:
    known = ", ".join(state.value for state in states)
    return _invalid(f"{text!r} is not a state; use one of {known}")


def _invalid(message: str) -> GrpcError:
    return GrpcError(StatusCode.INVALID_ARGUMENT, message)
