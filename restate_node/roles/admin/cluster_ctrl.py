"""The service behind most of `restatectl`: `restate.cluster_ctrl.ClusterCtrlSvc`.

Every admin node serves it, the controller or not, since it reads what every admin node knows and
changes only what is guarded by versions. One method insists: `SyncEpochMetadata` tells the
controller that an operator changed epoch metadata, and `restatectl` asks the next node when this
one is not it.

Operators' tools stop at FAILED_PRECONDITION, go to the next node after any other status, and give
a node up for the rest of the command after UNAVAILABLE. So a log that cannot be reached is
INTERNAL here: the node itself is well.

Snapshots are the business of workers: a request for one goes to the partition's leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from google.protobuf.empty_pb2 import Empty

from restate_node.bifrost.errors import CannotReconfigure, LogUnavailable, UnknownLog
from restate_node.bifrost.log import Bifrost, SegmentRequest
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import MetadataUnavailable
from restate_node.roles.admin.cluster_state import ClusterStateCollector
from restate_node.roles.admin.cluster_state_message import cluster_state_message
from restate_node.roles.admin.configuration_change import UpdatableStore, change_configuration
from restate_node.roles.admin.configuration_message import (
    configuration_message,
    read_configuration,
    read_replication,
)
from restate_node.roles.admin.controller import Controller, NotController
from restate_node.roles.admin.snapshot_requests import SnapshotRequests
from restate_node.runtime.ports import Clock
from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PartitionId,
    PlainNodeId,
    SegmentIndex,
    plain_text,
)
from restate_node.types.logs import Chain, InMemorySegment, ProviderKind, SealMarker, Segment
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import Node
from restate_node.types.offsets import OLDEST_LSN, Lsn, TailState
from restate_node.types.partitions import PARTITIONS_MAX
from restate_node.wire.logs import encode_chain, encode_params
from restate_node.wire.pb import cluster_ctrl_pb2 as messages
from restate_node.wire.pb import common_pb2

MIN_VERSION_WAIT_S: Final = 5.0
"""For the version of the logs that the operator has seen already."""
_LSN_MAX: Final = (1 << 63) - 1


class ClusterCtrl:
    """The handlers, one method each; errors are GrpcErrors."""

    def __init__(
        self,
        metadata: MetadataCache,
        collector: ClusterStateCollector,
        controller: Controller,
        bifrost: Bifrost,
        store: UpdatableStore,
        clock: Clock,
        snapshots: SnapshotRequests,
    ) -> None:
        self._metadata = metadata
        self._collector = collector
        self._controller = controller
        self._bifrost = bifrost
        self._store = store
        self._clock = clock
        self._snapshots = snapshots

    # ------------------------------------------------------------ state and configuration

    async def get_cluster_state(
        self, request: messages.ClusterStateRequest
    ) -> messages.ClusterStateResponse:
        state = self._collector.state.value
        if self._metadata.nodes.value.members():
            state = await self._collector.settled()
        message = cluster_state_message(state, self._clock.monotonic())
        return messages.ClusterStateResponse(cluster_state=message)

    async def get_cluster_configuration(
        self, request: messages.GetClusterConfigurationRequest
    ) -> messages.GetClusterConfigurationResponse:
        configuration = ClusterConfiguration.of(
            self._metadata.logs.value, self._metadata.partition_table.value
        )
        return messages.GetClusterConfigurationResponse(
            cluster_configuration=configuration_message(configuration)
        )

    async def set_cluster_configuration(
        self, request: messages.SetClusterConfigurationRequest
    ) -> messages.SetClusterConfigurationResponse:
        if not request.HasField("cluster_configuration"):
            raise _invalid("cluster_configuration is a required field")
        wanted = read_configuration(request.cluster_configuration)
        await change_configuration(self._metadata, self._store, wanted)
        return messages.SetClusterConfigurationResponse()

    async def sync_epoch_metadata(
        self, request: messages.SyncEpochMetadataRequest
    ) -> messages.SyncEpochMetadataResponse:
        try:
            await self._controller.resync([PartitionId(p) for p in request.partition_ids])
        except NotController as error:
            raise GrpcError(StatusCode.INTERNAL, str(error)) from None
        except MetadataUnavailable as error:
            raise GrpcError(
                StatusCode.INTERNAL, f"epoch metadata cannot be read: {error}"
            ) from None
        return messages.SyncEpochMetadataResponse()

    # ------------------------------------------------------------ logs: reading

    async def list_logs(self, request: messages.ListLogsRequest) -> messages.ListLogsResponse:
        return messages.ListLogsResponse(logs=self._metadata.blob(MetadataKind.LOGS))

    async def describe_log(
        self, request: messages.DescribeLogRequest
    ) -> messages.DescribeLogResponse:
        log = LogId(request.log_id)
        missing = GrpcError(StatusCode.NOT_FOUND, f"Log id {log} not found")
        chain = self._chain(log, missing)
        with _log_errors(missing):
            found = await self._bifrost.find_tail(log)
            trim_point = await self._bifrost.trim_point(log)
        return messages.DescribeLogResponse(
            log_id=log,
            chain=encode_chain(chain),
            tail_state=_tail_state(found.tail.state),
            tail_offset=found.tail.lsn,
            trim_point=trim_point,
            logs_version=self._metadata.logs.value.version,
            nodes_configuration=self._metadata.blob(MetadataKind.NODES_CONFIGURATION),
        )

    async def find_tail(self, request: messages.FindTailRequest) -> messages.FindTailResponse:
        log = LogId(request.log_id)
        with _log_errors(_invalid("Unknown log-id")):
            found = await self._bifrost.find_tail(log)
        return messages.FindTailResponse(
            log_id=log,
            segment_index=found.segment,
            tail_state=_tail_state(found.tail.state),
            tail_lsn=found.tail.lsn,
        )

    # ------------------------------------------------------------ logs: changing

    async def trim_log(self, request: messages.TrimLogRequest) -> Empty:
        log = LogId(request.log_id)
        with _log_errors(GrpcError(StatusCode.INTERNAL, f"unknown log '{log}'")):
            await self._bifrost.trim(log, Lsn(request.trim_point))
        return Empty()

    async def seal_and_extend_chain(
        self, request: messages.SealAndExtendChainRequest
    ) -> messages.SealAndExtendChainResponse:
        log = LogId(request.log_id)
        unknown = GrpcError(StatusCode.INTERNAL, "Unknown log id")
        await self._wait_for_logs(request.min_version.value)
        tail = self._chain(log, unknown).tail
        wanted = SegmentRequest()
        if request.HasField("extension"):
            _check_segment(log, tail, request.extension)
            wanted = self._segment_request(request.extension)
        with _log_errors(unknown):
            done = await self._bifrost.reconfigure(log, tail.index, wanted)
        return messages.SealAndExtendChainResponse(
            new_segment_index=done.opened.index,
            sealed_segment=_sealed_segment(done.sealed, done.tail),
        )

    async def seal_chain(self, request: messages.SealChainRequest) -> messages.SealChainResponse:
        log, context = LogId(request.log_id), dict(request.context)
        expected = (
            SegmentIndex(request.segment_index) if request.HasField("segment_index") else None
        )
        with _log_errors(GrpcError(StatusCode.INTERNAL, "Unknown log id")):
            if request.HasField("tail_lsn"):
                tail = await self._bifrost.force_seal(log, _given_tail(request.tail_lsn), context)
            else:
                tail = await self._bifrost.seal(log, expected, context)
        return messages.SealChainResponse(tail_offset=tail)

    # ------------------------------------------------------------ snapshots

    async def create_partition_snapshot(
        self, request: messages.CreatePartitionSnapshotRequest
    ) -> messages.CreatePartitionSnapshotResponse:
        partition = request.partition_id
        if partition > PARTITIONS_MAX:
            raise _invalid(f"Invalid partition id: {partition} is larger than {PARTITIONS_MAX}")
        if PartitionId(partition) not in self._metadata.partition_table.value.partitions:
            raise GrpcError(StatusCode.NOT_FOUND, f"partition {partition} does not exist")
        at_least = Lsn(request.min_target_lsn) if request.HasField("min_target_lsn") else None
        created = await self._snapshots.create(PartitionId(partition), at_least)
        if request.trim_log:
            log = created.log_id
            with _log_errors(GrpcError(StatusCode.INTERNAL, f"unknown log '{log}'")):
                await self._bifrost.trim(log, created.min_applied_lsn)
        return messages.CreatePartitionSnapshotResponse(
            snapshot_id=created.snapshot_id,
            log_id=created.log_id,
            min_applied_lsn=created.min_applied_lsn,
        )

    # ------------------------------------------------------------ inside

    def _chain(self, log: LogId, missing: GrpcError) -> Chain:
        chain = self._metadata.logs.value.chain(log)
        if chain is None:
            raise missing
        return chain

    async def _wait_for_logs(self, version: int) -> None:
        try:
            async with asyncio.timeout(MIN_VERSION_WAIT_S):
                await self._metadata.logs.until(lambda logs: logs.version >= version)
        except TimeoutError:
            known = self._metadata.logs.value.version
            text = f"this node knows version {known} of the logs, not yet {version}; try again"
            raise GrpcError(StatusCode.INTERNAL, text) from None

    def _segment_request(self, extension: messages.ChainExtension) -> SegmentRequest:
        if extension.provider != ProviderKind.REPLICATED.value:
            raise _invalid("Provider type is not supported")
        if extension.params:
            raise _invalid("params are not supported: use replication, nodeset and sequencer")
        replication = (
            read_replication(extension.replication) if extension.HasField("replication") else None
        )
        sequencer = self._life(extension.sequencer) if extension.HasField("sequencer") else None
        nodeset = tuple(self._member(PlainNodeId(node.id)).id for node in extension.nodeset)
        return SegmentRequest(replication, nodeset, sequencer)

    def _life(self, node: common_pb2.NodeId) -> GenerationalNodeId:
        if node.HasField("generation"):
            return GenerationalNodeId(PlainNodeId(node.id), node.generation)
        return self._member(PlainNodeId(node.id)).current_generation

    def _member(self, node: PlainNodeId) -> Node:
        member = self._metadata.nodes.value.node(node)
        if member is None:
            raise _invalid(f"{plain_text(node)} is not a member of the cluster")
        return member


@contextmanager
def _log_errors(unknown: GrpcError) -> Generator[None]:
    """Errors of the log as statuses."""
    try:
        yield
    except UnknownLog:
        raise unknown from None
    except CannotReconfigure as error:
        raise GrpcError(StatusCode.FAILED_PRECONDITION, str(error)) from None
    except LogUnavailable as error:
        raise GrpcError(StatusCode.INTERNAL, str(error)) from None


def _given_tail(lsn: int) -> Lsn:
    if not OLDEST_LSN <= lsn <= _LSN_MAX:
        raise _invalid(f"{lsn} is not an LSN at which a log can end; use 1 to {_LSN_MAX}")
    return Lsn(lsn)


def _check_segment(log: LogId, tail: Segment, extension: messages.ChainExtension) -> None:
    if extension.HasField("segment_index") and extension.segment_index != tail.index:
        text = f"segment {extension.segment_index} of log {log} is not its last, {tail.index} is"
        raise GrpcError(StatusCode.FAILED_PRECONDITION, text)


def _sealed_segment(segment: Segment, tail: Lsn) -> messages.SealedSegment | None:
    """None for a marker: there was nothing left to seal."""
    if isinstance(segment, SealMarker):
        return None
    kind = segment.kind if isinstance(segment, InMemorySegment) else ProviderKind.REPLICATED
    return messages.SealedSegment(
        provider=kind.value, params=encode_params(segment), tail_offset=tail
    )


def _tail_state(state: TailState) -> messages.TailState:
    return messages.OPEN if state is TailState.OPEN else messages.SEALED


def _invalid(message: str) -> GrpcError:
    return GrpcError(StatusCode.INVALID_ARGUMENT, message)
