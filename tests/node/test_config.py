"""Loading a configuration: what wins, what is reported, what stops a node."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from restate_node.node.config import ConfigError, LoadedConfig, load_config
from restate_node.node.config_files import example_files
from restate_node.types.nodes import Role
from restate_node.types.options import DurabilityMode, ListenMode
from restate_node.types.replication import ReplicationProperty

CONFIG_DIRECTORY = Path(__file__).parents[2] / "config"


def load(text: str = "", environ: dict[str, str] | None = None, *argv: str) -> LoadedConfig:
    """A configuration from a file with this text, these variables, these flags."""
    return load_config(["-c", "node.toml", *argv], environ or {}, lambda _: text, "some-host")


def refusal(action: Callable[[], object]) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(ConfigError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_given_is_a_single_node_with_all_roles() -> None:
    """Goal: `restate-node` works without any configuration. How: load with nothing at all."""
    options = load_config([], {}, no_file, "some-host").options
    assert set(options.roles) == set(Role)
    assert (options.node_name, options.base_dir) == ("some-host", "restate-data")
    assert options.auto_provision
    assert options.advertised_address == "http://127.0.0.1:5122/"
    assert options.metadata_client.addresses == ("http://127.0.0.1:5122/",)
    assert (options.bind_address, options.admin.bind_address, options.ingress.bind_address) == (
        "0.0.0.0:5122",
        "0.0.0.0:9070",
        "0.0.0.0:8080",
    )


def no_file(path: str) -> str:
    raise AssertionError(f"nobody asked for {path}")


@pytest.mark.parametrize(
    ("text", "environ", "argv", "expected"),
    [
        ("", {}, [], "localcluster"),
        ('cluster-name = "file"', {}, [], "file"),
        ('cluster_name = "file"', {}, [], "file"),
        ("", {"RESTATE_CLUSTER_NAME": "env"}, [], "env"),
        ('cluster-name = "file"', {"RESTATE_CLUSTER_NAME": "env"}, [], "env"),
        ('cluster-name = "file"', {}, ["--cluster-name", "flag"], "flag"),
        ('cluster-name = "f"', {"RESTATE_CLUSTER_NAME": "e"}, ["--cluster-name=flag"], "flag"),
    ],
)
def test_precedence(text: str, environ: dict[str, str], argv: list[str], expected: str) -> None:
    """Goal: defaults < file < variables < flags. How: one key in each combination."""
    assert load(text, environ, *argv).options.cluster_name == expected


def test_one_table_may_come_from_several_sources() -> None:
    """Goal: tables are merged, not replaced. How: two keys of one table, from file and variable."""
    text = '[bifrost.replicated-loglet]\nread-batch-size = "1KiB"\nreadahead-records = 3\n'
    variable = {"RESTATE_BIFROST__REPLICATED_LOGLET__READAHEAD_RECORDS": "7"}
    loglet = load(text, variable).options.bifrost.replicated_loglet
    assert (loglet.read_batch_size_bytes, loglet.readahead_records) == (1024, 7)


def test_variables_of_the_compose_file() -> None:
    """Goal: Restate's compose file works. How: its variables, with what they must mean."""
    environ = {
        "RESTATE_CLUSTER_NAME": "restate-cluster",
        "RESTATE_FORCE_NODE_ID": "2",
        "RESTATE_ADVERTISED_ADDRESS": "http://restate-1:5122",
        "RESTATE_AUTO_PROVISION": "false",
        "RESTATE_DEFAULT_REPLICATION": "2",
        "RESTATE_METADATA_CLIENT__ADDRESSES": '["http://restate-1:5122","http://restate-2:5122"]',
        "RESTATE_WORKER__SNAPSHOTS__DESTINATION": "s3://bucket/prefix",
        "RESTATE_WORKER__SNAPSHOTS__SNAPSHOT_INTERVAL_NUM_RECORDS": "1000",
        "RESTATE_WORKER__SNAPSHOTS__AWS_ALLOW_HTTP": "true",
        "RESTATE_WORKER__SNAPSHOTS__AWS_PROFILE": "",
        "RESTATE_GOSSIP_SUSPECT_INTERVAL": "1s",
        "RESTATE_WORKER__DURABILITY_MODE": "snapshot-only",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_ROLES": "[admin, worker]",
    }
    loaded = load("", environ)
    options, snapshots = loaded.options, loaded.options.worker.snapshots
    assert loaded.warnings == loaded.notices == ()
    assert (options.cluster_name, options.force_node_id) == ("restate-cluster", 2)
    assert options.advertised_address == "http://restate-1:5122/"
    assert not options.auto_provision
    assert options.default_replication == ReplicationProperty.of_nodes(2)
    assert options.metadata_client.addresses == ("http://restate-1:5122/", "http://restate-2:5122/")
    assert (snapshots.destination, snapshots.aws_profile) == ("s3://bucket/prefix", None)
    assert (snapshots.snapshot_interval_num_records, snapshots.aws_allow_http) == (1000, True)
    assert options.gossip.suspect_interval_ms == 1000
    assert options.worker.durability_mode is DurabilityMode.SNAPSHOT_ONLY
    assert options.listen_mode is ListenMode.TCP
    assert options.roles == (Role.ADMIN, Role.WORKER)


@pytest.mark.parametrize("argv", [["-c", "a"], ["--config", "a"], ["--config-file=a"], []])
def test_ways_to_name_the_file(argv: list[str]) -> None:
    """Goal: flag and variable name the file, the flag wins. How: remember the path that is read."""
    asked: list[str] = []

    def read(path: str) -> str:
        asked.append(path)
        return ""

    load_config(argv, {"RESTATE_CONFIG": "b"}, read)
    assert asked == (["a"] if argv else ["b"])


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("bifrost.defualt-provider", "; did you mean 'default-provider'?"),
        ("node-nmae", "; did you mean 'node-name'?"),
        ("gossip-tick-intervall", "; did you mean 'gossip-tick-interval'?"),
        ("worker.snapshots.snapshot-intervall", "; did you mean 'snapshot-interval'?"),
        ("bifrots", "; did you mean 'bifrost'?"),
        ("entirely-unheard-of", ""),
    ],
)
def test_unknown_keys_are_reported_with_the_nearest(key: str, near: str) -> None:
    """Goal: a typing error is seen. How: the same strange key in a file and as a variable."""
    *tables, name = key.split(".")
    head = f"[{'.'.join(tables)}]\n" if tables else ""
    assert load(f'{head}{name} = "x"').warnings == (f"unknown configuration key '{key}'{near}",)
    variable = "RESTATE_" + key.replace(".", "__").replace("-", "_").upper()
    warning = f"unknown configuration key '{key}' ({variable}){near}"
    assert load("", {variable: "x"}).warnings == (warning,)


def test_keys_that_only_restate_uses_are_mentioned_once() -> None:
    """Goal: Restate's files load quietly. How: keys of Restate that change nothing here."""
    text = (
        'tracing-filter = "info"\ndisable-telemetry = true\ntokio_console_bind-ip = "x"\n'
        '[worker.storage]\nrocksdb-memory-ratio = 0.5\n[log-server]\nrocksdb-log-level = "error"\n'
    )
    loaded = load(text, {"RESTATE_ROCKSDB_PERF_LEVEL": "x"})
    assert loaded.warnings == ()
    (notice,) = loaded.notices
    for key in ("tracing-filter", "worker.storage", "log-server.rocksdb-log-level"):
        assert key in notice


def test_foreign_variables_are_left_alone() -> None:
    """Goal: no noise about variables that are no options. How: ours, the tool's, Kubernetes'."""
    foreign = {
        "RESTATECTL_ADDRESS": "x",
        "RESTATE_PORT": "tcp://10.0.0.1:8080",
        "RESTATE_PORT_8080_TCP": "x",
        "RESTATE_SERVICE_HOST": "10.0.0.1",
        "PATH": "/bin",
    }
    assert load("", foreign).warnings == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('roles = ["queen"]', ["node.toml", "roles", "queen", "log-server"]),
        ("roles = []", ["roles", "at least one"]),
        ('bind-port = "not-a-port"', ["bind-port", "not-a-port", "whole number"]),
        ("bind-port = 70000", ["bind-port", "70000", "65535"]),
        ("bind-port = true", ["bind-port", "True"]),
        ('default-replication = "many"', ["default-replication", "many", "{node: 3"]),
        ("default-replication = 0", ["default-replication", "0"]),
        ("default-num-partitions = 0", ["default-num-partitions", "at least 1"]),
        ('auto-provision = "perhaps"', ["auto-provision", "perhaps", "true or false"]),
        ('advertised-address = "node-1:5122"', ["advertised-address", "http://"]),
        ('bind-address = "5122"', ["bind-address", "host:port"]),
        ('location = "a.b.c"', ["location", "a.b.c"]),
        ('shutdown-timeout = "1 fortnight"', ["shutdown-timeout", "fortnight", "10m"]),
        ("shutdown-timeout = 5", ["shutdown-timeout", "5", "100ms"]),
        ('[networking]\nmessage-size-limit = "big"', ["networking.message-size-limit", "32MiB"]),
        ('[bifrost]\ndefault-provider = "x"', ["bifrost.default-provider", "replicated"]),
        ('[worker]\ndurability-mode = "x"', ["worker.durability-mode", "balanced"]),
        ("bifrost = 3", ["bifrost", "[bifrost]"]),
        ("[admin]\nbind-port = 5122", ["bind-port", "admin.bind-port", "5122"]),
        ("a = 1\nb =\n", ["node.toml", "line 2"]),
    ],
)
def test_bad_values_stop_a_node(text: str, parts: list[str]) -> None:
    """Goal: one line with key, value and remedy. How: one bad value per case."""
    line = refusal(lambda: load(text))
    assert [part for part in parts if part not in line] == []


def test_a_bad_value_is_blamed_on_its_source() -> None:
    """Goal: the operator looks in the right place. How: a bad port from each source."""
    assert refusal(lambda: load("", {"RESTATE_ADMIN__BIND_PORT": "x"})).startswith(
        "variable RESTATE_ADMIN__BIND_PORT: admin.bind-port = 'x'"
    )
    assert refusal(lambda: load("", {}, "--bind-port", "x")).startswith("flag --bind-port:")
    assert "--help" in refusal(lambda: load("", {}, "--wipe"))
    assert "RESTATE_BIFROST__KEY" in refusal(lambda: load("", {"RESTATE_BIFROST": "{}"}))


def test_unreadable_files() -> None:
    """Goal: a wrong path is one line. How: a reader that fails as the file system does."""

    def missing(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    line = refusal(lambda: load_config(["-c", "gone.toml"], {}, missing))
    assert line == "configuration file gone.toml cannot be read: No such file or directory"


def test_addresses_follow_from_each_other() -> None:
    """Goal: one address is enough. How: bind-address wins; others inherit ip and host."""
    text = 'bind-ip = "10.0.0.7"\nbind-port = 1\nbind-address = "[::]:6122"\nadvertised-host = "n"'
    options = load(text + '\n[admin]\nbind-address = "127.0.0.1:99"').options
    assert (options.bind_ip, options.bind_port) == ("::", 6122)
    assert options.advertised_address == "http://n:6122/"
    assert (options.admin.bind_ip, options.admin.bind_port) == ("127.0.0.1", 99)


def test_dump_loads_to_the_same_options() -> None:
    """Goal: `--dump-config` is a configuration. How: dump unusual options, load the dump."""
    text = (
        'roles = ["worker"]\ndefault-replication = "{node: 3, zone: 2}"\nlocation = "eu.a"\n'
        'shutdown-timeout = "1m 30s"\n[worker.snapshots]\naws-secret-access-key = "a\\"b\\\\c"\n'
        '[metadata-client.backoff-policy]\nmax-attempts = "unlimited"\nfactor = 1.25\n'
        '[bifrost]\nrecord-cache-memory-size = "1.9 MiB"\n[worker]\ntrim-delay-interval = "0s"\n'
        '[bifrost.replicated-loglet]\nstore-timeout = "1s..90s"\n'
    )
    first = load(text, {}, "--dump-config")
    assert first.output is not None
    second = load(first.output)
    assert second.options == first.options
    assert second.warnings == second.notices == ()
    assert second.options.metadata_client.backoff_policy.attempts_max is None


def test_help_and_version_need_no_configuration() -> None:
    """Goal: both print and do nothing else. How: a file that must not be read."""
    described = load_config(["--help"], {"RESTATE_CONFIG": "x"}, no_file).output
    assert described is not None
    assert "--default-num-partitions" in described and "RESTATE_CONFIG" in described
    version = load_config(["--version"], {"RESTATE_CONFIG": "x"}, no_file).output
    assert version is not None and version.startswith("restate-node ")


@pytest.mark.parametrize("name", sorted(example_files()))
def test_example_files_are_current_and_load(name: str) -> None:
    """Goal: examples never drift. How: compare with what is generated, then load without words."""
    text = (CONFIG_DIRECTORY / name).read_text(encoding="utf-8")
    assert text == example_files()[name], "run `python -m restate_node.node.config_files`"
    loaded = load(text)
    assert loaded.warnings == loaded.notices == ()
    index = re.search(r"\d", Path(name).name)
    assert loaded.options.node_name == f"node-{index[0] if index else 1}"
