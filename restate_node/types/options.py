"""What an operator may change about a node: one frozen class per component, every field described.

    NodeOptions ── identity, addresses, cluster defaults
      ├ gossip             failure detector          (keys `gossip-*` at the top level)
      ├ metadata_client    where metadata servers are
      ├ metadata_server    Raft timing
      ├ bifrost            the log
      │   └ replicated_loglet
      ├ log_server         the log store
      ├ worker             partition processors
      │   ├ invoker
      │   └ snapshots
      ├ admin, ingress     HTTP ports
      └ networking         node to node

Names, keys and defaults are those of Restate, so that its configuration files work; only the word
order of a name follows our house style (`attempts_max` is written `max-attempts`). Units stand in
the names.

Invariants: values never change after start; `option_rules.validate` finds nothing wrong with any
node that runs; a component is handed its own class and nothing else. Driven by the configuration
loader in production; the simulator draws values at random within the bounds given here.

A default of `None` means "decided when the configuration is loaded" or "switched off"; each field
says which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from restate_node.types.logs import ProviderKind
from restate_node.types.nodes import NodeLocation, Role
from restate_node.types.records import RECORD_BYTES_MAX
from restate_node.types.replication import ReplicationProperty
from restate_node.types.settings import (
    DurationRange,
    Kind,
    choice,
    count,
    duration,
    duration_range,
    flag,
    of_kind,
    prefixed,
    ratio,
    size,
    table,
    text,
)

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE

PARTITIONS_MAX = 65_535
NODESET_SIZE_MAX = 128
PORT_MAX = 65_535

_BIND_IP = "Local address to listen on. Unset: the node's bind-ip."
_BIND_ADDRESS = "host:port to listen on; wins over bind-ip and bind-port. Unset: made from them."
_ONE_COPY = ReplicationProperty.of_nodes(1)
_NOWHERE = NodeLocation()
_STORE_TIMEOUT = DurationRange(2 * SECOND_MS, MINUTE_MS)
_RPC_TIMEOUT = DurationRange(250, MINUTE_MS)


class ListenMode(Enum):
    """On which kinds of socket a node listens."""

    ALL = "all"
    TCP = "tcp"
    UNIX = "unix"


class LogFormat(Enum):
    """How a log event is printed."""

    PRETTY = "pretty"
    COMPACT = "compact"
    JSON = "json"


class DurabilityMode(Enum):
    """What must hold a record's effects before the log may be trimmed."""

    NONE = "none"
    SNAPSHOT_AND_REPLICA_SET = "snapshot-and-replica-set"
    BALANCED = "balanced"
    REPLICA_SET_ONLY = "replica-set-only"
    SNAPSHOT_ONLY = "snapshot-only"


class MetadataStoreKind(Enum):
    """Where cluster metadata lives."""

    REPLICATED = "replicated"


class RetryKind(Enum):
    """How the pause between attempts grows."""

    EXPONENTIAL = "exponential"


class OnAttemptsExhausted(Enum):
    """What becomes of an invocation that used up its attempts."""

    PAUSE = "pause"
    KILL = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOptions:
    """Pauses between the attempts of one operation."""

    kind: Annotated[RetryKind, choice("How the pause grows.", RetryKind, "type")] = (
        RetryKind.EXPONENTIAL
    )
    initial_interval_ms: Annotated[int, duration("First pause.")] = 100
    factor: Annotated[float, ratio("Each pause is this much longer.", minimum=1.0)] = 2.0
    attempts_max: Annotated[
        int | None, count("Attempts before giving up.", "max-attempts", 1, unset="unlimited")
    ] = None
    interval_max_ms: Annotated[int, duration("Longest pause.", "max-interval")] = SECOND_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationRetryOptions:
    """Pauses between the attempts of an invocation, unless its service says otherwise."""

    initial_interval_ms: Annotated[int, duration("First pause.")] = 500
    exponentiation_factor: Annotated[
        float, ratio("Each pause is this much longer.", minimum=1.0)
    ] = 2.0
    attempts_max: Annotated[
        int | None, count("Attempts in all.", "max-attempts", 1, unset="unlimited")
    ] = 70
    on_attempts_max: Annotated[
        OnAttemptsExhausted,
        choice("After the last attempt.", OnAttemptsExhausted, "on-max-attempts"),
    ] = OnAttemptsExhausted.PAUSE
    interval_max_ms: Annotated[int, duration("Longest pause.", "max-interval")] = MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipOptions:
    """The failure detector."""

    tick_interval_ms: Annotated[int, duration("Pause between two rounds of gossip.")] = 100
    failure_threshold: Annotated[
        int, count("Ticks without word of a node before it counts as dead.", minimum=2)
    ] = 10
    peers_per_tick: Annotated[
        int, count("Peers that are told each tick.", "num-peers", minimum=1)
    ] = 2
    stability_threshold: Annotated[
        int,
        count("Gossips to receive after a start before judging others.", "fd-stability-threshold"),
    ] = 3
    suspect_interval_ms: Annotated[
        int, duration("How long a node that came back must stay before it counts as alive.")
    ] = 5 * SECOND_MS
    loneliness_threshold: Annotated[
        int, count("Ticks without any gossip before a node thinks it is alone.", minimum=1)
    ] = 30
    extras_exchange_frequency: Annotated[
        int, count("Every so many gossips carry what is known about partitions.", minimum=1)
    ] = 10
    time_skew_threshold_ms: Annotated[
        int, duration("A gossip that claims to be sent this far in the future is dropped.")
    ] = SECOND_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataClientOptions:
    """How a node reaches the metadata servers."""

    kind: Annotated[
        MetadataStoreKind, choice("Kind of metadata store.", MetadataStoreKind, "type")
    ] = MetadataStoreKind.REPLICATED
    addresses: Annotated[
        tuple[str, ...],
        of_kind(
            Kind.URLS,
            "Nodes to ask first; one living metadata server among them is enough. "
            "Empty: this node's own advertised address.",
        ),
    ] = ()
    connect_timeout_ms: Annotated[int, duration("Limit for opening a connection.")] = 3 * SECOND_MS
    keep_alive_interval_ms: Annotated[int, duration("Pause between two pings.")] = 5 * SECOND_MS
    keep_alive_timeout_ms: Annotated[
        int, duration("A ping that stays unanswered this long ends the connection.")
    ] = 5 * SECOND_MS
    message_size_limit_bytes: Annotated[int, size("Largest request or answer.")] = 32 * MEBIBYTE
    backoff_policy: Annotated[RetryOptions, table("Retries of a metadata request.")] = field(
        default_factory=lambda: RetryOptions(factor=1.4, attempts_max=10)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataServerOptions:
    """The Raft group that holds cluster metadata."""

    auto_join: Annotated[bool, flag("A new metadata server asks to become a member by itself.")] = (
        True
    )
    request_queue_length: Annotated[int, count("Requests that may wait.", minimum=1)] = 32
    raft_tick_interval_ms: Annotated[int, duration("Length of one Raft tick.")] = 100
    raft_election_ticks: Annotated[
        int,
        count("Ticks without a leader before an election.", "raft-election-tick", minimum=2),
    ] = 10
    raft_heartbeat_ticks: Annotated[
        int,
        count("Ticks between two heartbeats of the leader.", "raft-heartbeat-tick", minimum=1),
    ] = 2
    status_update_interval_ms: Annotated[
        int, duration("Pause between two reports of the member's status.")
    ] = 5 * SECOND_MS
    log_trim_threshold: Annotated[
        int, count("Entries after which the Raft log is cut behind a snapshot.", minimum=1)
    ] = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicatedLogletOptions:
    """The replicated kind of log segment."""

    default_nodeset_size: Annotated[
        int, count("Log servers per segment; 0 chooses by replication.", maximum=NODESET_SIZE_MAX)
    ] = 0
    inflight_records_max: Annotated[
        int,
        count("Records a sequencer has under way.", "maximum-inflight-records", minimum=1),
    ] = 1000
    store_timeout_ms: Annotated[
        DurationRange, duration_range("Wait for a log server's store; adapts between the two.")
    ] = _STORE_TIMEOUT
    rpc_timeout_ms: Annotated[
        DurationRange, duration_range("Wait for any other answer; adapts between the two.")
    ] = _RPC_TIMEOUT
    sequencer_inactivity_timeout_ms: Annotated[
        int, duration("Without word of a sequencer for so long, its segment is sealed.")
    ] = 15 * SECOND_MS
    readahead_records: Annotated[int, count("Records fetched ahead of a reader.", minimum=1)] = 20
    readahead_trigger_ratio: Annotated[
        float, ratio("Fetch more when this share of the records ahead is left.", maximum=1.0)
    ] = 0.5
    read_batch_size_bytes: Annotated[int, size("Most bytes of one fetch.")] = 32 * KIBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class BifrostOptions:
    """The log: chains of segments, appends, reads."""

    default_provider: Annotated[
        ProviderKind, choice("Kind of segment that a new cluster uses.", ProviderKind)
    ] = ProviderKind.REPLICATED
    seal_retry_interval_ms: Annotated[int, duration("Pause before sealing again.")] = 2 * SECOND_MS
    auto_recovery_interval_ms: Annotated[
        int, duration("How long an appender waits before it repairs a stuck log itself.")
    ] = 15 * SECOND_MS
    append_retry_min_interval_ms: Annotated[int, duration("Shortest pause of a retry.")] = 10
    append_retry_max_interval_ms: Annotated[int, duration("Longest pause of a retry.")] = SECOND_MS
    record_cache_memory_size_bytes: Annotated[
        int, size("Memory for records that readers may want soon; 0 switches it off.", minimum=0)
    ] = 250 * MEBIBYTE
    record_size_limit_bytes: Annotated[int, size("Largest record.")] = RECORD_BYTES_MAX
    disable_auto_improvement: Annotated[
        bool, flag("Leave running segments where they are, even if a better place exists.")
    ] = False
    read_retry_policy: Annotated[RetryOptions, table("Retries of a read.")] = field(
        default_factory=lambda: RetryOptions(initial_interval_ms=50, attempts_max=50)
    )
    replicated_loglet: Annotated[
        ReplicatedLogletOptions, table("The replicated kind of log segment.")
    ] = field(default_factory=ReplicatedLogletOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogServerOptions:
    """The store of log records."""

    rocksdb_memory_budget_bytes: Annotated[
        int | None, size("Memory for write buffers. Unset: half of the node's.", minimum=MEBIBYTE)
    ] = None
    rocksdb_disable_wal_fsync: Annotated[
        bool, flag("Acknowledge before the disk has it: fast, and loses data with the power.")
    ] = False
    repair_after_data_loss: Annotated[
        bool,
        flag(
            "A log server that lost its data starts all the same and waits for `restatectl "
            "replicated-loglet repair`. Until then it takes no records and promises nothing."
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """Where partition snapshots go, and when."""

    destination: Annotated[
        str | None,
        text("s3://bucket/prefix or file:///directory. Unset: no repository."),
    ] = None
    snapshot_interval_ms: Annotated[
        int | None, duration("Least time between two snapshots. Unset: time does not matter.")
    ] = None
    snapshot_interval_num_records: Annotated[
        int | None,
        count("Least records between two snapshots. Unset: their number does not matter."),
    ] = None
    num_retained: Annotated[int, count("Snapshots kept per partition.", minimum=1)] = 1
    export_concurrency_limit: Annotated[int, count("Snapshots at a time.", minimum=1)] = 4
    aws_profile: Annotated[str | None, text("Profile of the AWS configuration files.")] = None
    aws_region: Annotated[str | None, text("AWS region.")] = None
    aws_access_key_id: Annotated[str | None, text("AWS access key.")] = None
    aws_secret_access_key: Annotated[str | None, text("AWS secret key.")] = field(
        default=None, repr=False
    )
    aws_session_token: Annotated[str | None, text("AWS session token.")] = field(
        default=None, repr=False
    )
    aws_endpoint_url: Annotated[
        str | None, text("Another endpoint that speaks S3, such as MinIO.")
    ] = None
    aws_allow_http: Annotated[bool, flag("Allow an endpoint without TLS.")] = False
    object_store_retry_policy: Annotated[
        RetryOptions, table("Retries of a request to the object store.")
    ] = field(default_factory=lambda: RetryOptions(attempts_max=10, interval_max_ms=10 * SECOND_MS))


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokerOptions:
    """Calls to the services of users."""

    inactivity_timeout_ms: Annotated[
        int, duration("A silent invocation is asked to suspend after this.")
    ] = MINUTE_MS
    abort_timeout_ms: Annotated[
        int, duration("One that was asked and does not suspend is cut off after this.")
    ] = 10 * MINUTE_MS
    connect_timeout_ms: Annotated[int, duration("Limit for opening a connection to a service.")] = (
        10 * SECOND_MS
    )
    http2_keep_alive_interval_ms: Annotated[
        int, duration("A connection to a service that is silent this long is pinged.")
    ] = 40 * SECOND_MS
    http2_keep_alive_timeout_ms: Annotated[
        int, duration("A ping that stays unanswered this long ends the connection.")
    ] = 20 * SECOND_MS
    http2_idle_connection_timeout_ms: Annotated[
        int, duration("A connection without exchanges is closed after this.")
    ] = 5 * MINUTE_MS
    http2_streams_per_connection_limit: Annotated[
        int, count("Exchanges at a time on one connection; the service may want fewer.", minimum=1)
    ] = 128
    http2_initial_stream_window_size_bytes: Annotated[
        int, size("What a service may send ahead in one exchange.", minimum=64 * KIBIBYTE)
    ] = 2 * MEBIBYTE
    http2_initial_connection_window_size_bytes: Annotated[
        int, size("What a service may send ahead on one connection.", minimum=64 * KIBIBYTE)
    ] = 5 * MEBIBYTE
    allow_link_local_addresses: Annotated[
        bool,
        flag("Call services at link-local addresses, among them the metadata of clouds, too."),
    ] = False
    aws_profile: Annotated[
        str | None, text("Profile of the AWS files, to call functions on AWS Lambda with.")
    ] = None
    aws_assume_role_external_id: Annotated[
        str | None,
        text("External ID for roles that are assumed. The variable AWS_EXTERNAL_ID goes first."),
    ] = None
    request_compression_threshold_bytes: Annotated[
        int, size("Larger requests to functions that unpack zstd are compressed.", minimum=0)
    ] = 4 * MEBIBYTE
    request_identity_expiration_ms: Annotated[
        int, duration("How long a signature of a request is good.", minimum=SECOND_MS)
    ] = MINUTE_MS
    message_size_limit_bytes: Annotated[int, size("Largest message from a service.")] = (
        32 * MEBIBYTE
    )
    concurrent_invocations_limit: Annotated[
        int, count("Invocations that run at a time per partition.", minimum=1)
    ] = 1000
    eager_state_size_limit_bytes: Annotated[
        int, size("State sent along with the start of an invocation, at most.", minimum=0)
    ] = 32 * MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Partition processors."""

    internal_queue_length: Annotated[
        int, count("Proposals of a leader that may wait for the log.", minimum=1)
    ] = 1000
    cleanup_interval_ms: Annotated[
        int, duration("Pause between two searches for expired invocations.")
    ] = HOUR_MS
    command_batch_records_max: Annotated[
        int, count("Records applied in one transaction.", "max-command-batch-size", minimum=1)
    ] = 32
    command_batch_bytes_max: Annotated[
        int, size("Bytes applied in one transaction.", "max-command-batch-bytes")
    ] = MEBIBYTE
    durability_mode: Annotated[
        DurabilityMode | None,
        choice(
            "What must hold a record's effects before the log is trimmed. "
            "Unset: balanced in a cluster, replica-set-only on a single node.",
            DurabilityMode,
        ),
    ] = None
    trim_delay_interval_ms: Annotated[
        int, duration("How long a log is kept after it became durable.", minimum=0)
    ] = 10 * MINUTE_MS
    invoker: Annotated[InvokerOptions, table("Calls to the services of users.")] = field(
        default_factory=InvokerOptions
    )
    snapshots: Annotated[SnapshotOptions, table("Partition snapshots.")] = field(
        default_factory=SnapshotOptions
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminOptions:
    """The admin API and the cluster controller."""

    bind_ip: Annotated[str | None, text(_BIND_IP)] = None
    bind_port: Annotated[int, count("Port to listen on.", maximum=PORT_MAX)] = 9070
    bind_address: Annotated[str | None, of_kind(Kind.ADDRESS, _BIND_ADDRESS)] = None
    advertised_address: Annotated[
        str | None, of_kind(Kind.URL, "Where users reach it. Unset: made from bind-address.")
    ] = None
    heartbeat_interval_ms: Annotated[
        int, duration("Pause between two collections of every node's state.")
    ] = 1500
    disable_cluster_controller: Annotated[
        bool, flag("Serve the API, but never steer the cluster from this node.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressOptions:
    """Where clients call services."""

    bind_ip: Annotated[str | None, text(_BIND_IP)] = None
    bind_port: Annotated[int, count("Port to listen on.", maximum=PORT_MAX)] = 8080
    bind_address: Annotated[str | None, of_kind(Kind.ADDRESS, _BIND_ADDRESS)] = None
    advertised_address: Annotated[
        str | None, of_kind(Kind.URL, "Where clients reach it. Unset: made from bind-address.")
    ] = None
    request_size_limit_bytes: Annotated[int, size("Largest request body.")] = 32 * MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkingOptions:
    """Connections between nodes."""

    connect_timeout_ms: Annotated[int, duration("Limit for opening a connection.")] = 3 * SECOND_MS
    handshake_timeout_ms: Annotated[int, duration("Limit for the first exchange.")] = 3 * SECOND_MS
    keep_alive_interval_ms: Annotated[
        int, duration("Pause between two pings.", "http2-keep-alive-interval")
    ] = SECOND_MS
    keep_alive_timeout_ms: Annotated[
        int,
        duration("A ping unanswered this long ends the connection.", "http2-keep-alive-timeout"),
    ] = 3 * SECOND_MS
    message_size_limit_bytes: Annotated[int, size("Largest message.")] = 32 * MEBIBYTE
    connect_retry_policy: Annotated[RetryOptions, table("Retries of a connection.")] = field(
        default_factory=lambda: RetryOptions(
            initial_interval_ms=250, attempts_max=10, interval_max_ms=3 * SECOND_MS
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """Everything about one node."""

    roles: Annotated[tuple[Role, ...], of_kind(Kind.CHOICES, "What this process hosts.", Role)] = (
        tuple(Role)
    )
    cluster_name: Annotated[
        str, text("Name of the cluster; nodes of another cluster are refused.")
    ] = "localcluster"
    node_name: Annotated[
        str, text("Name of this node, unique in the cluster and for ever. Unset: the host's name.")
    ] = ""
    location: Annotated[
        NodeLocation, of_kind(Kind.LOCATION, "Where the node stands: region or region.zone.")
    ] = _NOWHERE
    force_node_id: Annotated[
        int | None,
        count("Insist on this node id. Unset: the cluster gives one.", minimum=1),
    ] = None
    auto_provision: Annotated[
        bool, flag("Found a new cluster if there is none. Set it on one node only.")
    ] = True
    base_dir: Annotated[str, text("Directory for everything that this node stores.")] = (
        "restate-data"
    )
    listen_mode: Annotated[ListenMode, choice("Kinds of socket to listen on.", ListenMode)] = (
        ListenMode.ALL
    )
    bind_ip: Annotated[str, text("Local address to listen on, also for other ports.")] = "0.0.0.0"
    bind_port: Annotated[int, count("Port for nodes, operators and metrics.", maximum=PORT_MAX)] = (
        5122
    )
    bind_address: Annotated[str | None, of_kind(Kind.ADDRESS, _BIND_ADDRESS)] = None
    advertised_host: Annotated[
        str | None,
        text("Host in advertised addresses. Unset: bind-ip, or 127.0.0.1 if that means any."),
    ] = None
    advertised_address: Annotated[
        str | None,
        of_kind(Kind.URL, "Where other nodes reach this one. Unset: made from bind-address."),
    ] = None
    default_num_partitions: Annotated[
        int,
        count("Partitions of a new cluster; ignored later.", None, 1, PARTITIONS_MAX),
    ] = 24
    default_replication: Annotated[
        ReplicationProperty,
        of_kind(
            Kind.REPLICATION, "Copies of logs and partitions in a new cluster: 2 or {node: 2}."
        ),
    ] = _ONE_COPY
    shutdown_timeout_ms: Annotated[int, duration("Limit for an orderly stop.")] = MINUTE_MS
    initialization_timeout_ms: Annotated[int, duration("Limit for joining a cluster.")] = (
        5 * MINUTE_MS
    )
    metadata_update_interval_ms: Annotated[
        int, duration("Pause between two searches for newer metadata.")
    ] = 10 * SECOND_MS
    metadata_fetch_from_peer_timeout_ms: Annotated[
        int, duration("Wait for metadata from another node before asking the store.")
    ] = 3 * SECOND_MS
    hlc_max_drift_ms: Annotated[int, duration("How far the clocks of two nodes may differ.")] = (
        5 * SECOND_MS
    )
    rocksdb_total_memory_size_bytes: Annotated[
        int, size("Memory for all RocksDB databases of the node.", minimum=8 * MEBIBYTE)
    ] = 128 * MEBIBYTE
    log_filter: Annotated[str, text("Least level to log, by component.")] = "warn,restate=info"
    log_format: Annotated[LogFormat, choice("Format of log lines.", LogFormat)] = LogFormat.PRETTY
    log_disable_ansi_codes: Annotated[bool, flag("No colours in log lines.")] = False
    default_journal_retention_ms: Annotated[
        int, duration("How long the journal of a completed invocation is kept.", minimum=0)
    ] = DAY_MS
    default_idempotency_retention_ms: Annotated[
        int, duration("How long the result under an idempotency key is kept.", minimum=0)
    ] = DAY_MS
    default_workflow_completion_retention_ms: Annotated[
        int, duration("How long a completed workflow is kept.", minimum=0)
    ] = DAY_MS
    request_identity_private_key_pem_file: Annotated[
        str | None, text("Key that signs requests to services. Unset: not signed.")
    ] = None
    gossip: Annotated[GossipOptions, prefixed("The failure detector.")] = field(
        default_factory=GossipOptions
    )
    default_retry_policy: Annotated[InvocationRetryOptions, table("Retries of invocations.")] = (
        field(default_factory=InvocationRetryOptions)
    )
    metadata_client: Annotated[
        MetadataClientOptions, table("How this node reaches the metadata servers.")
    ] = field(default_factory=MetadataClientOptions)
    metadata_server: Annotated[
        MetadataServerOptions, table("The Raft group that holds cluster metadata.")
    ] = field(default_factory=MetadataServerOptions)
    bifrost: Annotated[BifrostOptions, table("The log.")] = field(default_factory=BifrostOptions)
    log_server: Annotated[LogServerOptions, table("The store of log records.")] = field(
        default_factory=LogServerOptions
    )
    worker: Annotated[WorkerOptions, table("Partition processors.")] = field(
        default_factory=WorkerOptions
    )
    admin: Annotated[AdminOptions, table("The admin API and the cluster controller.")] = field(
        default_factory=AdminOptions
    )
    ingress: Annotated[IngressOptions, table("Where clients call services.")] = field(
        default_factory=IngressOptions
    )
    networking: Annotated[NetworkingOptions, table("Connections between nodes.")] = field(
        default_factory=NetworkingOptions
    )
