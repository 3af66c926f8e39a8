from restate_node.wire.pb import cluster_pb2 as _cluster_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogPlan(_message.Message):
    __slots__ = ("log_id", "present", "next", "reason")
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    present: str
    next: str
    reason: str
    def __init__(self, log_id: _Optional[int] = ..., present: _Optional[str] = ..., next: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PartitionPlan(_message.Message):
    __slots__ = ("partition_id", "present", "next", "reason")
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    present: str
    next: str
    reason: str
    def __init__(self, partition_id: _Optional[int] = ..., present: _Optional[str] = ..., next: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PlanConfigurationRequest(_message.Message):
    __slots__ = ("configuration",)
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    configuration: _cluster_pb2.ClusterConfiguration
    def __init__(self, configuration: _Optional[_Union[_cluster_pb2.ClusterConfiguration, _Mapping]] = ...) -> None: ...

class PlanConfigurationResponse(_message.Message):
    __slots__ = ("refusal", "forcible", "logs", "partitions")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    FORCIBLE_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    refusal: str
    forcible: bool
    logs: _containers.RepeatedCompositeFieldContainer[LogPlan]
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionPlan]
    def __init__(self, refusal: _Optional[str] = ..., forcible: _Optional[bool] = ..., logs: _Optional[_Iterable[_Union[LogPlan, _Mapping]]] = ..., partitions: _Optional[_Iterable[_Union[PartitionPlan, _Mapping]]] = ...) -> None: ...

class SetConfigurationRequest(_message.Message):
    __slots__ = ("configuration", "force")
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    configuration: _cluster_pb2.ClusterConfiguration
    force: bool
    def __init__(self, configuration: _Optional[_Union[_cluster_pb2.ClusterConfiguration, _Mapping]] = ..., force: _Optional[bool] = ...) -> None: ...

class SetConfigurationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PlanStorageStatesRequest(_message.Message):
    __slots__ = ("nodes", "storage_state")
    NODES_FIELD_NUMBER: _ClassVar[int]
    STORAGE_STATE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedScalarFieldContainer[int]
    storage_state: str
    def __init__(self, nodes: _Optional[_Iterable[int]] = ..., storage_state: _Optional[str] = ...) -> None: ...

class PlanStorageStatesResponse(_message.Message):
    __slots__ = ("refusal", "warnings", "logs")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    refusal: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    logs: _containers.RepeatedCompositeFieldContainer[LogPlan]
    def __init__(self, refusal: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ..., logs: _Optional[_Iterable[_Union[LogPlan, _Mapping]]] = ...) -> None: ...

class PlanWorkerStatesRequest(_message.Message):
    __slots__ = ("nodes", "worker_state")
    NODES_FIELD_NUMBER: _ClassVar[int]
    WORKER_STATE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedScalarFieldContainer[int]
    worker_state: str
    def __init__(self, nodes: _Optional[_Iterable[int]] = ..., worker_state: _Optional[str] = ...) -> None: ...

class PlanWorkerStatesResponse(_message.Message):
    __slots__ = ("refusal", "partitions")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    refusal: str
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionPlan]
    def __init__(self, refusal: _Optional[str] = ..., partitions: _Optional[_Iterable[_Union[PartitionPlan, _Mapping]]] = ...) -> None: ...

class GetEventsRequest(_message.Message):
    __slots__ = ("log_id", "partition_id")
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    partition_id: int
    def __init__(self, log_id: _Optional[int] = ..., partition_id: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("at_ms", "node", "decision", "reason", "inputs", "alternatives")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    node: str
    decision: str
    reason: str
    inputs: _containers.ScalarMap[str, str]
    alternatives: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, at_ms: _Optional[int] = ..., node: _Optional[str] = ..., decision: _Optional[str] = ..., reason: _Optional[str] = ..., inputs: _Optional[_Mapping[str, str]] = ..., alternatives: _Optional[_Iterable[str]] = ...) -> None: ...

class GetEventsResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class StartRepairRequest(_message.Message):
    __slots__ = ("node", "dry_run")
    NODE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    node: int
    dry_run: bool
    def __init__(self, node: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class GetRepairRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: int
    def __init__(self, node: _Optional[int] = ...) -> None: ...

class MissingRecords(_message.Message):
    __slots__ = ("log_id", "loglet_id", "from_offset", "to_offset", "sources")
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    LOGLET_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TO_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    loglet_id: int
    from_offset: int
    to_offset: int
    sources: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, log_id: _Optional[int] = ..., loglet_id: _Optional[int] = ..., from_offset: _Optional[int] = ..., to_offset: _Optional[int] = ..., sources: _Optional[_Iterable[int]] = ...) -> None: ...

class RepairProgress(_message.Message):
    __slots__ = ("dry_run", "phase", "storage_state_before", "storage_state", "loglets_total", "loglets_done", "records_total", "records_checked", "records_copied", "bytes_copied", "logs_closed", "problems", "missing")
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STORAGE_STATE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    STORAGE_STATE_FIELD_NUMBER: _ClassVar[int]
    LOGLETS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LOGLETS_DONE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RECORDS_CHECKED_FIELD_NUMBER: _ClassVar[int]
    RECORDS_COPIED_FIELD_NUMBER: _ClassVar[int]
    BYTES_COPIED_FIELD_NUMBER: _ClassVar[int]
    LOGS_CLOSED_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    phase: str
    storage_state_before: str
    storage_state: str
    loglets_total: int
    loglets_done: int
    records_total: int
    records_checked: int
    records_copied: int
    bytes_copied: int
    logs_closed: _containers.RepeatedScalarFieldContainer[int]
    problems: _containers.RepeatedScalarFieldContainer[str]
    missing: _containers.RepeatedCompositeFieldContainer[MissingRecords]
    def __init__(self, dry_run: _Optional[bool] = ..., phase: _Optional[str] = ..., storage_state_before: _Optional[str] = ..., storage_state: _Optional[str] = ..., loglets_total: _Optional[int] = ..., loglets_done: _Optional[int] = ..., records_total: _Optional[int] = ..., records_checked: _Optional[int] = ..., records_copied: _Optional[int] = ..., bytes_copied: _Optional[int] = ..., logs_closed: _Optional[_Iterable[int]] = ..., problems: _Optional[_Iterable[str]] = ..., missing: _Optional[_Iterable[_Union[MissingRecords, _Mapping]]] = ...) -> None: ...

class ListSnapshotsRequest(_message.Message):
    __slots__ = ("partition_id",)
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    def __init__(self, partition_id: _Optional[int] = ...) -> None: ...

class RetainedSnapshot(_message.Message):
    __slots__ = ("snapshot_id", "min_applied_lsn", "created_at_ms", "log_id", "node_name", "files", "size_bytes", "problem")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_APPLIED_LSN_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    min_applied_lsn: int
    created_at_ms: int
    log_id: int
    node_name: str
    files: int
    size_bytes: int
    problem: str
    def __init__(self, snapshot_id: _Optional[str] = ..., min_applied_lsn: _Optional[int] = ..., created_at_ms: _Optional[int] = ..., log_id: _Optional[int] = ..., node_name: _Optional[str] = ..., files: _Optional[int] = ..., size_bytes: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class ListSnapshotsResponse(_message.Message):
    __slots__ = ("snapshots",)
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[RetainedSnapshot]
    def __init__(self, snapshots: _Optional[_Iterable[_Union[RetainedSnapshot, _Mapping]]] = ...) -> None: ...

class VerifySnapshotRequest(_message.Message):
    __slots__ = ("partition_id", "snapshot_id")
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    snapshot_id: str
    def __init__(self, partition_id: _Optional[int] = ..., snapshot_id: _Optional[str] = ...) -> None: ...

class VerifySnapshotResponse(_message.Message):
    __slots__ = ("read_bytes", "verdict")
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    read_bytes: int
    verdict: RetainedSnapshot
    def __init__(self, read_bytes: _Optional[int] = ..., verdict: _Optional[_Union[RetainedSnapshot, _Mapping]] = ...) -> None: ...

class MetadataCopy(_message.Message):
    __slots__ = ("kind", "encoded")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    kind: int
    encoded: bytes
    def __init__(self, kind: _Optional[int] = ..., encoded: _Optional[bytes] = ...) -> None: ...

class RecoverMetadataRequest(_message.Message):
    __slots__ = ("accept_loss", "force", "copies")
    ACCEPT_LOSS_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    accept_loss: bool
    force: bool
    copies: _containers.RepeatedCompositeFieldContainer[MetadataCopy]
    def __init__(self, accept_loss: _Optional[bool] = ..., force: _Optional[bool] = ..., copies: _Optional[_Iterable[_Union[MetadataCopy, _Mapping]]] = ...) -> None: ...

class RecoveredKey(_message.Message):
    __slots__ = ("key", "stored_version", "copied_version", "new_version")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STORED_VERSION_FIELD_NUMBER: _ClassVar[int]
    COPIED_VERSION_FIELD_NUMBER: _ClassVar[int]
    NEW_VERSION_FIELD_NUMBER: _ClassVar[int]
    key: str
    stored_version: int
    copied_version: int
    new_version: int
    def __init__(self, key: _Optional[str] = ..., stored_version: _Optional[int] = ..., copied_version: _Optional[int] = ..., new_version: _Optional[int] = ...) -> None: ...

class RecoverMetadataResponse(_message.Message):
    __slots__ = ("node_id", "term", "last_index", "committed", "members", "answering", "refusal", "keys", "done")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ANSWERING_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    term: int
    last_index: int
    committed: int
    members: _containers.RepeatedScalarFieldContainer[int]
    answering: _containers.RepeatedScalarFieldContainer[int]
    refusal: str
    keys: _containers.RepeatedCompositeFieldContainer[RecoveredKey]
    done: bool
    def __init__(self, node_id: _Optional[int] = ..., term: _Optional[int] = ..., last_index: _Optional[int] = ..., committed: _Optional[int] = ..., members: _Optional[_Iterable[int]] = ..., answering: _Optional[_Iterable[int]] = ..., refusal: _Optional[str] = ..., keys: _Optional[_Iterable[_Union[RecoveredKey, _Mapping]]] = ..., done: _Optional[bool] = ...) -> None: ...
