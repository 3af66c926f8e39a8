"""Commands that change the cluster: what is shown, asked, checked, and written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ctl_operable import Ctl, Operable, ctl

from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.nodes import StorageState, WorkerState
from restate_node.types.partitions import EpochMetadata
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.nodes import encode_nodes_configuration
from restate_node.wire.partitions import encode_epoch_metadata
from restate_node.wire.pb import operator_pb2 as operator

assert ctl  # a fixture

GROWING = ("config", "set", "--log-replication", "2", "--partition-replication", "2")
PAGE = """\
⚙️ Cluster Configuration
 Number of partitions: 4
-├ Partition replication: {node: 1}
+├ Partition replication: {node: 2}
 Logs Provider: replicated
- Log replication: {node: 1}
+ Log replication: {node: 2}
 Nodeset size: 0


? Apply changes? (y/n) › """


# ---------------------------------------------------------------- config set


@pytest.mark.parametrize(
    ("stdin", "flags", "code", "written", "said"),
    [
        ("y\n", (), 0, 1, "updated successfully"),
        ("n\n", (), 1, 0, "aborted: nothing was changed"),
        ("", (), 1, 0, "use --yes to confirm"),
        ("", ("--yes",), 0, 1, "yes (--yes)"),
    ],
)
def test_config_set_shows_asks_and_sets(
    stdin: str, flags: tuple[str, ...], code: int, written: int, said: str, ctl: Ctl
) -> None:
    """Goal: the difference of the page, and nothing is set unasked. How: each kind of answer."""
    with Operable() as fake:
        ended = ctl("-s", fake.address, *GROWING, *flags, stdin=stdin)
    assert ended.stdout.startswith(PAGE)
    assert said in ended.stdout + ended.stderr
    assert (ended.code, len(fake.asked)) == (code, written)
    if written:
        wanted = fake.asked[0].cluster_configuration
        assert wanted.bifrost_provider.replication_property.replication_property == "{node: 2}"
        assert wanted.num_partitions == 4


def test_config_set_refuses_what_cannot_be_met_unless_forced(ctl: Ctl) -> None:
    """Goal: the server's reason, and --force goes to the service that knows it."""
    with Operable() as fake:
        fake.plan = operator.PlanConfigurationResponse(refusal="too few log servers", forcible=True)
        refused = ctl("-s", fake.address, *GROWING, "--yes")
        dry = ctl("-s", fake.address, *GROWING, "--dry-run")
        assert fake.asked == []
        forced = ctl("-s", fake.address, *GROWING, "--yes", "--force")
    assert refused.code == dry.code == 1
    assert "too few log servers; --force sets it all the same" in refused.stderr
    assert "too few log servers" in dry.stderr
    assert forced.code == 0 and fake.asked[0].force


def test_config_set_dry_run_prints_the_plan(ctl: Ctl) -> None:
    """Goal: what moves is listed, what stays is counted, nothing is written."""
    with Operable() as fake:
        fake.plan = operator.PlanConfigurationResponse(
            logs=[
                {"log_id": 0, "present": "[N1]", "next": "[N1, N2]", "reason": "replication"},
                {"log_id": 1, "present": "[N1]", "reason": "sealed"},
            ]
        )
        shown = ctl("-s", fake.address, *GROWING, "--dry-run")
        document = ctl("-s", fake.address, *GROWING, "--dry-run", "--json")
    assert shown.code == 0 and fake.asked == []
    assert "Logs that change: 1" in shown.stdout and "Logs that stay: 1 (sealed)" in shown.stdout
    assert "0    [N1]  [N1, N2]  replication" in shown.stdout
    plan = json.loads(document.stdout)["plan"]
    assert plan["logs"][1] == {"id": 1, "now": "[N1]", "then": None, "why": "sealed"}


def test_config_set_works_without_plans(ctl: Ctl) -> None:
    """Goal: a cluster of other servers can be configured too. How: no operator service."""
    with Operable(has_plans=False) as fake:
        assert ctl("-s", fake.address, *GROWING, "--yes").code == 0
        assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--log-replication", "1"), 0, "Nothing to change"),
        (("--num-partitions", "5"), 1, "repartitioning to 5 is not supported"),
        (("--num-partitions", "4"), 0, "Nothing to change"),
        (("--log-replication", "foo"), 2, "not a replication property"),
        (("--replication", "2", "--log-replication", "2"), 2, "leave out"),
        (("--log-provider", "paper"), 2, "use replicated or local"),
        (("--log-provider", "local", "--log-replication", "2"), 1, "has no replication"),
        ((), 2, "say what to change"),
    ],
)
def test_config_set_checks_its_options(
    arguments: tuple[str, ...], code: int, said: str, ctl: Ctl
) -> None:
    """Goal: wrong values say what to do, and nothing is set."""
    with Operable() as fake:
        ended = ctl("-s", fake.address, "config", "set", *arguments, "--yes")
    assert ended.code == code
    assert said in ended.stdout + ended.stderr
    assert fake.asked == []


# ---------------------------------------------------------------- states of nodes


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("nodes", "set-storage-state", "--nodes", "N2"),
            "N2 storage-state has been updated from read-write to read-only",
        ),
        (
            ("replicated-loglet", "set-storage-state", "--node", "2"),
            "Node N2 storage-state updated from read-write to read-only",
        ),
    ],
)
def test_storage_state_is_set_in_both_spellings(
    command: tuple[str, ...], said: str, ctl: Ctl
) -> None:
    """Goal: the page's spelling and Restate's, one write, the warnings of the server."""
    with Operable() as fake:
        fake.storage_plan = operator.PlanStorageStatesResponse(warnings=["one more and it stops"])
        ended = ctl("-s", fake.address, *command, "--storage-state", "read-only")
        assert ended.code == 0, ended.stderr
        assert said in ended.stdout and "Warning: one more and it stops" in ended.stdout
        assert fake.nodes.version == 5
        assert fake.nodes.storage_state(PlainNodeId(2)) is StorageState.READ_ONLY


def test_storage_state_rules_and_force(ctl: Ctl) -> None:
    """Goal: an unsafe transition names both states and needs --force."""
    arguments = ("nodes", "set-storage-state", "--node", "1", "--storage-state", "data-loss")
    with Operable() as fake:
        refused = ctl("-s", fake.address, *arguments)
        assert fake.nodes.version == 4
        assert ctl("-s", fake.address, *arguments, "--force").code == 0
        assert fake.nodes.storage_state(PlainNodeId(1)) is StorageState.DATA_LOSS
    assert refused.code == 1
    assert "`read-write`" in refused.stderr and "`data-loss` is unsafe" in refused.stderr


@pytest.mark.parametrize("has_plans", [True, False])
def test_storage_state_safety_check(has_plans: bool, ctl: Ctl) -> None:
    """Goal: new nodesets must stay possible, checked here and by the cluster."""
    arguments = ("nodes", "set-storage-state", "--node", "1,2,3", "--storage-state", "read-only")
    with Operable(has_plans=has_plans) as fake:
        everyone = ctl("-s", fake.address, *arguments)
        fake.storage_plan = operator.PlanStorageStatesResponse(refusal="Safety-check failed: lost")
        one = ctl("-s", fake.address, *arguments[:3], "1", *arguments[4:])
        assert fake.nodes.version == (4 if has_plans else 5)
    assert everyone.code == 1 and "available=0 nodes but replication=1" in everyone.stderr
    assert one.code == (1 if has_plans else 0)


def test_a_faster_rival_is_not_overwritten(ctl: Ctl) -> None:
    """Goal: read, change, write again. How: a rival sets another node between read and write."""
    with Operable() as fake:

        def rival() -> None:
            node = fake.nodes.node(PlainNodeId(3))
            assert node is not None
            changed = replace(node, storage_state=StorageState.READ_ONLY)
            fake.store["nodes_config"] = encode_nodes_configuration(
                fake.nodes.updated(changed, None)
            )

        fake.rivals = [rival]
        arguments = ("nodes", "set-storage-state", "--node", "2", "--storage-state", "read-only")
        assert ctl("-s", fake.address, *arguments).code == 0
        assert fake.nodes.version == 6
        states = [fake.nodes.storage_state(PlainNodeId(n)) for n in (2, 3)]
        assert states == [StorageState.READ_ONLY] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--node", "9", "--storage-state", "read-only"), 1, "N9 was not found in the cluster"),
        (("--node", "x", "--storage-state", "read-only"), 2, "invalid node"),
        (("--node", "1", "--storage-state", "foo"), 2, "read-write"),
    ],
)
def test_wrong_nodes_and_states(arguments: tuple[str, ...], code: int, said: str, ctl: Ctl) -> None:
    """Goal: one line that says what is known."""
    with Operable() as fake:
        ended = ctl("-s", fake.address, "nodes", "set-storage-state", *arguments)
    assert ended.code == code
    assert said in ended.stderr and ended.stderr.count("\n") <= 5


def test_worker_state(ctl: Ctl) -> None:
    """Goal: a worker drains; all at once cannot."""
    arguments = ("nodes", "set-worker-state", "--worker-state", "draining", "--node")
    with Operable() as fake:
        done = ctl("-s", fake.address, *arguments, "N3")
        refused = ctl("-s", fake.address, *arguments, "N1,N2")
        node = fake.nodes.node(PlainNodeId(3))
        assert node is not None and node.worker_state is WorkerState.DRAINING
    assert "N3 worker-state has been updated from active to draining" in done.stdout
    assert refused.code == 1 and "available=1 nodes but replication=2" in refused.stderr


def test_nodes_are_removed_when_nothing_needs_them(ctl: Ctl) -> None:
    """Goal: every need is named in turn, then a tombstone is left. How: take them away in turn."""
    two = ReplicationProperty.of_nodes(2)
    replicas = (PlainNodeId(2), PlainNodeId(3))
    epoch = EpochMetadata(Version(0)).set_initial_current(two, replicas, 0)
    with Operable() as fake:

        def remove() -> str:
            ended = ctl("-s", fake.address, "nodes", "remove", "--nodes", "3", "--yes")
            return ended.stderr or ended.stdout

        assert "in read-write" in remove()
        node = fake.nodes.node(PlainNodeId(3))
        assert node is not None
        idle = replace(node, storage_state=StorageState.DISABLED)
        fake.knows(fake.nodes.updated(idle, None))
        fake.store["pp_epoch_1"] = encode_epoch_metadata(epoch, 1)  # type: ignore[arg-type]
        assert "N3 is a replica of partition 1" in remove()
        del fake.store["pp_epoch_1"]
        assert "N3 has been removed" in remove()
        assert fake.nodes.is_tombstone(PlainNodeId(3)) and fake.nodes.version == 6
