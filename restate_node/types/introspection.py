"""The tables that people query, and their columns: what nodes and their readers agree on.

    SELECT … FROM sys_invocation ─▶ ReadRows to the leader of every partition ─▶ rows
             FROM sys_service    ─▶ the registered services, which every node knows
             FROM sys_vqueues    ─▶ nothing: such things do not exist here

Clients (the `restate` command, the web interface) select columns by name and insist on types:
names, types and order are those of Restate 1.7. A row is a list of values in the order of the
columns; `Table.row` makes one from names. None is always possible.

A column is a text unless its name is followed by a type, as in `retry_count:u64`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final


class ColumnType(Enum):
    """What the values of a column are. The value is the name in the tables below."""

    TEXT = "text"
    BYTES = "bytes"
    BOOLEAN = "bool"
    UINT32 = "u32"
    UINT64 = "u64"
    TIME = "time"
    """Milliseconds since 1970, as an int."""
    DURATION = "duration"
    """Milliseconds, as an int."""
    TEXTS = "texts"
    UINT32S = "u32s"


class Source(Enum):
    """Who has the rows of a table."""

    PARTITIONS = "partitions"
    """The leader of each partition, for the keys of that partition."""
    METADATA = "metadata"
    """Every node: what it knows of the cluster."""
    NOTHING = "nothing"
    """Nobody: there are never any."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    type: ColumnType = ColumnType.TEXT


@dataclass(frozen=True, slots=True)
class Table:
    """One table. The names of the columns that tell where a row is, None if it has no such one.

    `partition_key_column` holds the partition key, `id_column` the id of an invocation of the same
    partition, `key_column` the key of the object or workflow, None in rows of other services.
    """

    name: str
    source: Source
    columns: tuple[Column, ...]
    id_column: str | None = None
    service_column: str | None = None
    key_column: str | None = None
    is_wide: bool = True
    """Texts are Arrow's large ones, as clients expect of the tables about services."""
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(column.name for column in self.columns)
        assert len(set(names)) == len(names), f"{self.name} has a column twice"
        located = {self.id_column, self.service_column, self.key_column} - {None}
        assert located.issubset(names), f"{self.name} lacks one of {located}"
        object.__setattr__(self, "names", names)

    @property
    def partition_key_column(self) -> str | None:
        return PARTITION_KEY if PARTITION_KEY in self.names else None

    def row(self, values: Mapping[str, Any]) -> list[Any]:
        """Values by name in the order of the columns; those not given are None."""
        row = [values.get(name) for name in self.names]
        assert len(values.keys() & set(self.names)) == len(values), (
            f"{self.name} has no column {sorted(values.keys() - set(self.names))}"
        )
        return row


PARTITION_KEY: Final = "partition_key"


def columns_of(text: str) -> tuple[Column, ...]:
    """From `name name:type …`."""
    words = (word.partition(":") for word in text.split())
    return tuple(Column(name, ColumnType(kind or "text")) for name, _, kind in words)


def by_name(tables: Iterable[Table]) -> Mapping[str, Table]:
    """For looking up."""
    return {table.name: table for table in tables}


def _table(
    name: str,
    source: Source,
    columns: str,
    id_column: str | None = None,
    service_column: str | None = None,
    key_column: str | None = None,
) -> Table:
    return Table(name, source, columns_of(columns), id_column, service_column, key_column)


# ---------------------------------------------------------------- of partitions

SYS_INVOCATION = _table(
    "sys_invocation",
    Source.PARTITIONS,
    """
    id vqueue_id target target_service_name target_service_key target_handler_name
    target_service_ty scope limit_key idempotency_key invoked_by invoked_by_service_name
    invoked_by_id invoked_by_subscription_id invoked_by_target restarted_from
    pinned_deployment_id pinned_service_protocol_version:u32 trace_id journal_size:u32
    journal_commands_size:u32 created_at:time created_using_restate_version modified_at:time
    inboxed_at:time scheduled_at:time scheduled_start_at:time running_at:time completed_at:time
    completion_retention:duration journal_retention:duration
    suspended_waiting_for_completions:u32s suspended_waiting_for_signals:u32s
    suspended_waiting_future_json retry_count:u64 last_start_at:time next_retry_at:time
    last_attempt_deployment_id last_attempt_server last_failure last_failure_error_code
    last_failure_related_entry_index:u64 last_failure_related_entry_name
    last_failure_related_entry_type last_failure_related_command_index:u64
    last_failure_related_command_name last_failure_related_command_type
    last_awaiting_on_future_json status completion_result completion_failure
    """,
    id_column="id",
    service_column="target_service_name",
    key_column="target_service_key",
)
"""All that is known of an invocation: its status, and what the invoker of the leader knows of its
attempts. `status` is one of pending, scheduled, ready, running, backing-off, suspended, paused,
completed.
"""

SYS_INVOCATION_STATUS = _table(
    "sys_invocation_status",
    Source.PARTITIONS,
    """
    partition_key:u64 id vqueue_id status completion_result completion_failure target
    target_service_name target_service_key target_handler_name target_service_ty scope limit_key
    idempotency_key invoked_by invoked_by_id invoked_by_subscription_id invoked_by_service_name
    invoked_by_target restarted_from pinned_deployment_id pinned_service_protocol_version:u32
    trace_id journal_size:u32 journal_commands_size:u32 created_at:time
    created_using_restate_version modified_at:time inboxed_at:time scheduled_at:time
    scheduled_start_at:time running_at:time completed_at:time completion_retention:duration
    journal_retention:duration suspended_waiting_for_completions:u32s
    suspended_waiting_for_signals:u32s suspended_waiting_future_json
    """,
    id_column="id",
    service_column="target_service_name",
    key_column="target_service_key",
)
"""What is stored of an invocation. `status` is one of inboxed, scheduled, invoked, suspended,
paused, completed.
"""

SYS_INVOCATION_STATE = _table(
    "sys_invocation_state",
    Source.PARTITIONS,
    """
    partition_key:u64 id in_flight:bool retry_count:u64 last_start_at:time
    last_attempt_deployment_id last_attempt_server next_retry_at:time last_failure
    last_failure_error_code last_failure_related_command_index:u64
    last_failure_related_command_name last_failure_related_command_type
    last_failure_related_entry_index:u64 last_failure_related_entry_name
    last_failure_related_entry_type last_awaiting_on_future_json
    """,
    id_column="id",
)
"""Invocations that the invoker of the leader is busy with."""

SYS_JOURNAL = _table(
    "sys_journal",
    Source.PARTITIONS,
    """
    partition_key:u64 id index:u32 entry_type name completed:bool invoked_id invoked_target
    sleep_wakeup_at:time promise_name raw:bytes raw_length:u64 version:u32 entry_json
    entry_lite_json appended_at:time
    """,
    id_column="id",
)

SYS_JOURNAL_EVENTS = _table(
    "sys_journal_events",
    Source.PARTITIONS,
    """
    partition_key:u64 id after_journal_entry_index:u32 appended_at:time event_type event_json
    """,
    id_column="id",
)

STATE = _table(
    "state",
    Source.PARTITIONS,
    """
    partition_key:u64 scope service_name service_key key key_length:u64 value_utf8 value:bytes
    value_length:u64
    """,
    service_column="service_name",
    key_column="service_key",
)

SYS_INBOX = _table(
    "sys_inbox",
    Source.PARTITIONS,
    """
    partition_key:u64 service_name service_key id sequence_number:u64 created_at:time
    """,
    id_column="id",
    service_column="service_name",
    key_column="service_key",
)

SYS_KEYED_SERVICE_STATUS = _table(
    "sys_keyed_service_status",
    Source.PARTITIONS,
    """
    partition_key:u64 service_name service_key invocation_id
    """,
    id_column="invocation_id",
    service_column="service_name",
    key_column="service_key",
)

SYS_PROMISE = _table(
    "sys_promise",
    Source.PARTITIONS,
    """
    partition_key:u64 scope service_name service_key key completed:bool
    completion_success_value:bytes completion_success_value_utf8 completion_failure
    """,
    service_column="service_name",
    key_column="service_key",
)

# ---------------------------------------------------------------- of the registered services

SYS_SERVICE = _table(
    "sys_service",
    Source.METADATA,
    """
    name revision:u64 public:bool ty deployment_id
    """,
)

SYS_DEPLOYMENT = _table(
    "sys_deployment",
    Source.METADATA,
    """
    id ty endpoint created_at:time min_service_protocol_version:u32
    max_service_protocol_version:u32 services:texts
    """,
)

# ---------------------------------------------------------------- of nobody

SYS_LOCKS = _table(
    "sys_locks",
    Source.NOTHING,
    """
    partition_key:u64 scope lock_name acquired_at:time acquired_by
    """,
)

SYS_RULES = _table(
    "sys_rules",
    Source.NOTHING,
    """
    pattern concurrency:u32 description disabled:bool version:u32 last_modified:time
    """,
)

SYS_SCHEDULER = _table(
    "sys_scheduler",
    Source.NOTHING,
    """
    partition_key:u64 id num_inbox:u64 status head_entry_id scheduled_at:time blocked_on
    blocked_on_json invoker_concurrency_block_duration:duration
    throttling_rules_block_duration:duration invoker_throttling_block_duration:duration
    invoker_memory_block_duration:duration concurrency_rules_block_duration:duration
    lock_block_duration:duration deployment_concurrency_block_duration:duration
    """,
)

SYS_USER_LIMITS = _table(
    "sys_user_limits",
    Source.NOTHING,
    """
    partition_key:u64 scope l1 l2 level usage:u32 concurrency_limit:u32 rule_pattern
    available:u32 num_waiters:u64
    """,
)

SYS_VQUEUE_ENTRY_STATUS = _table(
    "sys_vqueue_entry_status",
    Source.NOTHING,
    """
    partition_key:u64 entry_id vqueue_id stage status has_lock:bool next_at:time
    sequence_number:u64 entry_kind created_at:time transitioned_at:time num_attempts:u32
    num_errors:u32 num_pauses:u32 num_suspensions:u32 num_yields:u32 first_attempt_at:time
    latest_attempt_at:time first_runnable_at:time deployment needed_memory:u64
    retry_attempts:u32 retry_count_since_last_stored_command:u32
    latest_attempt_blocked_on_invoker_concurrency:duration
    latest_attempt_blocked_on_throttling_rules:duration
    latest_attempt_blocked_on_invoker_throttling:duration
    latest_attempt_blocked_on_invoker_memory:duration
    latest_attempt_blocked_on_concurrency_rules:duration latest_attempt_blocked_on_lock:duration
    latest_attempt_blocked_on_deployment_concurrency:duration
    total_blocked_on_invoker_concurrency:duration total_blocked_on_throttling_rules:duration
    total_blocked_on_invoker_throttling:duration total_blocked_on_invoker_memory:duration
    total_blocked_on_concurrency_rules:duration total_blocked_on_lock:duration
    total_blocked_on_deployment_concurrency:duration
    """,
)

SYS_VQUEUE_META = _table(
    "sys_vqueue_meta",
    Source.NOTHING,
    """
    partition_key:u64 id is_active:bool queue_is_paused:bool service_name scope limit_key
    lock_name created_at:time last_enqueued_at:time last_start_at:time last_attempt_at:time
    last_finish_at:time avg_queue_duration:duration avg_inbox_duration:duration
    avg_run_duration:duration avg_suspension_duration:duration avg_end_to_end_duration:duration
    avg_blocked_on_concurrency_rules:duration avg_blocked_on_invoker_concurrency:duration
    avg_blocked_on_invoker_throttling:duration avg_blocked_on_lock:duration num_inbox:u64
    num_running:u64 num_suspended:u64 num_paused:u64 num_finished:u64
    """,
)

SYS_VQUEUES = _table(
    "sys_vqueues",
    Source.NOTHING,
    """
    partition_key:u64 id stage status has_lock:bool run_at:time sequence_number:u64 entry_id
    entry_kind created_at:time transitioned_at:time num_attempts:u32 num_errors:u32
    num_pauses:u32 num_suspensions:u32 num_yields:u32 first_attempt_at:time
    latest_attempt_at:time first_runnable_at:time deployment
    """,
)

USER_TABLES: Final = (
    SYS_INVOCATION,
    SYS_INVOCATION_STATUS,
    SYS_INVOCATION_STATE,
    SYS_JOURNAL,
    SYS_JOURNAL_EVENTS,
    STATE,
    SYS_INBOX,
    SYS_KEYED_SERVICE_STATUS,
    SYS_PROMISE,
    SYS_SERVICE,
    SYS_DEPLOYMENT,
    SYS_LOCKS,
    SYS_RULES,
    SYS_SCHEDULER,
    SYS_USER_LIMITS,
    SYS_VQUEUE_ENTRY_STATUS,
    SYS_VQUEUE_META,
    SYS_VQUEUES,
)
"""What `POST /query` sees."""

PARTITION_TABLES: Final = by_name(t for t in USER_TABLES if t.source is Source.PARTITIONS)
"""What `ReadRows` may ask for."""
