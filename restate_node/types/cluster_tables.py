"""The tables about the cluster itself, for `restatectl sql`; columns as in Restate 1.7.

Texts of ids are those that operators know: nodes `N1`, lives of nodes `N1:2`, loglets `0_1`.
"""

from __future__ import annotations

from typing import Final

from restate_node.types.introspection import Source, Table, by_name, columns_of


def _table(name: str, columns: str) -> Table:
    return Table(name, Source.METADATA, columns_of(columns), is_wide=False)


NODES = _table(
    "nodes",
    """
    plain_node_id gen_node_id state name address ctrl_address location has_admin_role:bool
    has_worker_role:bool has_metadata_server_role:bool has_log_server_role:bool
    has_ingress_role:bool storage_state worker_state metadata_server_state
    nodes_configuration_version:u32 binary_version
    """,
)

LOGS = _table(
    "logs",
    """
    log_id:u32 segment_index:u32 base_lsn:u64 kind loglet_id sequencer replication nodeset
    logs_metadata_version:u32
    """,
)

LOGS_TAIL_SEGMENTS = _table(
    "logs_tail_segments",
    """
    log_id:u32 segment_index:u32 base_lsn:u64 kind loglet_id sequencer replication nodeset
    logs_metadata_version:u32
    """,
)

PARTITIONS = _table(
    "partitions",
    """
    partition_id:u32 start_key:u64 end_key:u64 log_id:u32 cf_name leader_gen_node_id
    leader_plain_node_id leader_epoch v_current:u32 current_replica_set v_next:u32
    next_replica_set partition_table_version:u32
    """,
)

PARTITION_STATE = _table(
    "partition_state",
    """
    partition_id:u32 plain_node_id gen_node_id target_mode effective_mode updated_at:time
    leader_epoch:u64 leader applied_log_lsn:u64 last_record_applied_at:time replay_status
    durable_log_lsn:u64 archived_log_lsn:u64 target_tail_lsn:u64 applied_rule_book_version:u32
    applied_schema_version:u32 enabled_features:texts broken_reason
    enabled_storage_features:texts
    """,
)

PARTITION_REPLICA_SET = _table(
    "partition_replica_set",
    """
    partition_id:u32 plain_node_id alive_gen_node_id is_leader:bool membership_version:u32
    membership leader_epoch durable_lsn:u64
    """,
)

CONFIG = _table(
    "config",
    """
    plain_node_id gen_node_id key value
    """,
)

LOGLET_WORKERS = _table(
    "loglet_workers",
    """
    plain_node_id gen_node_id loglet_id log_id:u32 segment_index:u32 local_tail:u32
    is_sealed:bool trim_point:u32 known_global_tail:u32 sequencer is_active:bool
    staging_local_tail:u32 seal_enqueued:bool accepting_writes:bool pending_seals:u32
    pending_tail_waiters:u32 last_request_at:time
    """,
)

BIFROST_READ_STREAMS = _table(
    "bifrost_read_streams",
    """
    plain_node_id gen_node_id log_id:u32 loglet_id read_pointer:u64 end_lsn:u64 state
    safe_known_tail:u64 current_segment:u32 is_tailing:bool
    """,
)

NODE_TABLES: Final = by_name((CONFIG, LOGLET_WORKERS, BIFROST_READ_STREAMS))
"""Each node has its own rows of these, and is asked for them."""

CLUSTER_TABLES: Final = (
    NODES,
    LOGS,
    LOGS_TAIL_SEGMENTS,
    PARTITIONS,
    PARTITION_STATE,
    PARTITION_REPLICA_SET,
    CONFIG,
    LOGLET_WORKERS,
    BIFROST_READ_STREAMS,
)
"""What `restatectl sql` sees."""
