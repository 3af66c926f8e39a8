"""Which options contradict each other, or lie outside their bounds.

A node starts only when nothing is found here: a contradiction that is noticed at three in the
morning costs more than a process that refuses to start with one line that says what to change.
Pure, so that the simulator can hold the options that it draws against the same rules.
"""

from __future__ import annotations

from restate_node.types.options import NodeOptions
from restate_node.types.settings import out_of_bounds, walk


def validate(options: NodeOptions) -> list[str]:
    """Every broken bound and relation, one line each; empty when a node may run with this."""
    found = [out_of_bounds(key, about, value) for key, about, value in walk(options)]
    return [problem for problem in found if problem] + _relations(options)


def _relations(options: NodeOptions) -> list[str]:
    broken = [line for holds, line in _rules(options) if not holds]
    return broken + _retry_problems(options)


def _rules(options: NodeOptions) -> list[tuple[bool, str]]:
    raft, bifrost = options.metadata_server, options.bifrost
    gossip, snapshots = options.gossip, options.worker.snapshots
    return [
        (bool(options.roles), "roles = []: name at least one role"),
        (
            len(set(options.roles)) == len(options.roles),
            "roles: name each role once",
        ),
        (bool(options.cluster_name), "cluster-name = '': give the cluster a name"),
        (
            raft.raft_election_ticks > raft.raft_heartbeat_ticks,
            f"metadata-server.raft-election-tick = {raft.raft_election_ticks}: must exceed "
            f"raft-heartbeat-tick = {raft.raft_heartbeat_ticks}",
        ),
        (
            bifrost.append_retry_min_interval_ms <= bifrost.append_retry_max_interval_ms,
            f"bifrost.append-retry-min-interval = {bifrost.append_retry_min_interval_ms}ms: "
            f"must not exceed append-retry-max-interval = {bifrost.append_retry_max_interval_ms}ms",
        ),
        (
            gossip.loneliness_threshold >= gossip.failure_threshold,
            f"gossip-loneliness-threshold = {gossip.loneliness_threshold}: must not be below "
            f"gossip-failure-threshold = {gossip.failure_threshold}",
        ),
        (
            bifrost.record_size_limit_bytes <= options.networking.message_size_limit_bytes,
            f"bifrost.record-size-limit = {bifrost.record_size_limit_bytes}: must not exceed "
            f"networking.message-size-limit = {options.networking.message_size_limit_bytes}",
        ),
        (
            snapshots.destination is None
            or snapshots.destination.startswith(("s3://", "file:///")),
            f"worker.snapshots.destination = {snapshots.destination!r}: "
            "write s3://bucket/prefix or file:///directory",
        ),
    ]


def _retry_problems(options: NodeOptions) -> list[str]:
    policies = {
        "metadata-client.backoff-policy": options.metadata_client.backoff_policy,
        "bifrost.read-retry-policy": options.bifrost.read_retry_policy,
        "worker.snapshots.object-store-retry-policy": (
            options.worker.snapshots.object_store_retry_policy
        ),
        "networking.connect-retry-policy": options.networking.connect_retry_policy,
        "default-retry-policy": options.default_retry_policy,
    }
    return [
        f"{key}.initial-interval = {policy.initial_interval_ms}ms: must not exceed "
        f"max-interval = {policy.interval_max_ms}ms"
        for key, policy in policies.items()
        if policy.initial_interval_ms > policy.interval_max_ms
    ]
