"""Options: every field described, defaults sound, contradictions found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from restate_node.types.option_rules import validate
from restate_node.types.options import NodeOptions
from restate_node.types.settings import DurationRange, Setting, walk

DEFAULTS = NodeOptions()


def changed(path: str, value: Any) -> NodeOptions:
    """The defaults with one field, named by its dotted path, set to `value`."""
    return change(DEFAULTS, path.split("."), value)


def change(options: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = change(getattr(options, path[0]), path[1:], value)
    return replace(options, **{path[0]: value})


def test_defaults_are_valid() -> None:
    """Goal: a node without configuration may run. How: the rules find nothing in the defaults."""
    assert validate(DEFAULTS) == []


def test_every_option_has_words_and_a_key_of_its_own() -> None:
    """Goal: no undocumented option. How: walk all; each has a sentence and a unique kebab key."""
    found: list[tuple[str, Setting]] = [(key, about) for key, about, _ in walk(DEFAULTS)]
    keys = [key for key, _ in found]
    assert len(keys) == len(set(keys)) > 100
    assert all(about.documentation.endswith((".", ")", "}.")) for _, about in found)
    assert all(key == key.lower() and "_" not in key and " " not in key for key in keys)


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [
        ("roles", (), "roles"),
        ("roles", DEFAULTS.roles + DEFAULTS.roles[:1], "roles"),
        ("cluster_name", "", "cluster-name"),
        ("default_num_partitions", 0, "default-num-partitions"),
        ("default_num_partitions", 65_536, "default-num-partitions"),
        ("bind_port", 65_536, "bind-port"),
        ("gossip.tick_interval_ms", 0, "gossip-tick-interval"),
        ("gossip.loneliness_threshold", 5, "gossip-loneliness-threshold"),
        ("metadata_server.raft_election_ticks", 2, "metadata-server.raft-election-tick"),
        ("bifrost.append_retry_min_interval_ms", 5000, "bifrost.append-retry-min-interval"),
        ("bifrost.record_size_limit_bytes", 1 << 30, "bifrost.record-size-limit"),
        (
            "bifrost.replicated_loglet.store_timeout_ms",
            DurationRange(2, 1),
            "bifrost.replicated-loglet.store-timeout",
        ),
        ("bifrost.replicated_loglet.readahead_trigger_ratio", 1.5, "readahead-trigger-ratio"),
        ("networking.connect_retry_policy.initial_interval_ms", 9000, "connect-retry-policy"),
        ("worker.snapshots.destination", "ftp://x", "worker.snapshots.destination"),
    ],
)
def test_broken_rules_are_named(field: str, value: Any, key: str) -> None:
    """Goal: one line per problem that names the key. How: break one rule at a time."""
    problems = validate(changed(field, value))
    assert len(problems) == 1
    assert key in problems[0] and "\n" not in problems[0]


def test_secrets_stay_out_of_logs() -> None:
    """Goal: printing options never shows a secret. How: repr of options that hold one."""
    secret = changed("worker.snapshots.aws_secret_access_key", "hunter2")
    assert "hunter2" not in repr(secret)
