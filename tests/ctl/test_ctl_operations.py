"""Commands on logs, partitions, metadata servers and raw metadata, and the question why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from ctl_fake_node import Refusal, members, one_log
from ctl_operable import Ctl, Operable, ctl
from google.protobuf.empty_pb2 import Empty

from restate_node.ctl.methods import (
    ADD_METADATA_SERVER,
    CREATE_SNAPSHOT,
    GET_CLUSTER_STATE,
    GET_EVENTS,
    REMOVE_METADATA_SERVER,
    SEAL_AND_EXTEND_CHAIN,
    SEAL_CHAIN,
    TRIGGER_COMPACTION,
    TRIM_LOG,
)
from restate_node.types.ids import PartitionId, PlainNodeId, Version
from restate_node.types.nodes import MetadataServerState
from restate_node.types.partitions import EpochMetadata, NodeAffinity
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.logs import encode_params
from restate_node.wire.partitions import decode_epoch_metadata, encode_epoch_metadata
from restate_node.wire.pb import cluster_ctrl_pb2 as messages
from restate_node.wire.pb import operator_pb2 as operator
from restate_node.wire.pb.node_ctl_svc_pb2 import TriggerCompactionResponse
from restate_node.wire.storage_codec import encode_shape

assert ctl  # a fixture
LOG_0 = PartitionId(0)


def epochs(fake: Operable, *replicas: int) -> None:
    """Partition 0 runs on these nodes; partition 1 has not been created."""
    two = ReplicationProperty.of_nodes(2)
    nodes = tuple(PlainNodeId(n) for n in replicas)
    first = EpochMetadata(Version(6)).set_initial_current(two, nodes, 1)
    fake.store["pp_epoch_0"] = encode_epoch_metadata(first, LOG_0)


def epoch(fake: Operable, partition: int = 0) -> EpochMetadata:
    return decode_epoch_metadata(fake.store[f"pp_epoch_{partition}"])


class Chains:
    """Notes what was asked of logs."""

    def __init__(self, fake: Operable) -> None:
        self.asked: list[Any] = []
        fake.node.on(SEAL_AND_EXTEND_CHAIN, self._extend)
        fake.node.on(SEAL_CHAIN, self._seal)
        fake.node.on(TRIM_LOG, self._trim)
        self._fake = fake

    def _extend(self, request: Any) -> Any:
        self.asked.append(request)
        (segment,) = one_log(1).chains[0].segments  # type: ignore[index]
        sealed = {"provider": "replicated", "params": encode_params(segment), "tail_offset": 7}
        return messages.SealAndExtendChainResponse(new_segment_index=1, sealed_segment=sealed)

    def _seal(self, request: Any) -> Any:
        self.asked.append(request)
        return messages.SealChainResponse(tail_offset=request.tail_lsn or 7)

    def _trim(self, request: Any) -> Any:
        self.asked.append(request)
        if request.trim_point == 666:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "not durable yet")
        return Empty()


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "calls", "said"),
    [
        (("reconfigure", "--log-id", "0"), "", 0, 1, "✅ Log reconfiguration (0)"),
        (("reconfigure", "-l", "0"), "", 0, 1, "Tail LSN: 7"),
        (("reconfigure", "-l", "0-3"), "", 1, 0, "logs 1-3 not found"),
        (("reconfigure", "-l", "0", "-p", "local"), "", 2, 0, "not supported"),
        (("reconfigure", "-l", "0", "--nodeset", "N9"), "", 1, 0, "N9 was not found"),
        (("seal", "0", "--reason", "x"), "", 0, 1, "Tail LSN: 7"),
        (("trim", "0", "--trim-point", "5"), "", 0, 1, "Submitted for log 0"),
        (("trim", "0", "--trim-point", "666"), "", 1, 1, "cannot trim log 0"),
        (("trim", "9", "--trim-point", "5"), "", 1, 0, "log 9 not found"),
        (("trim", "x", "--trim-point", "5"), "", 2, 0, "invalid range"),
        (("trim", "0"), "", 2, 0, "--trim-point"),
        (("forced-seal", "0", "12"), "y\ny\n", 0, 1, "Tail LSN: 12"),
        (("forced-seal", "0", "12"), "y\nn\n", 1, 0, "aborted"),
        (("forced-seal", "0", "12"), "y\n", 1, 0, "nobody answers"),
        (("forced-seal", "0", "0"), "", 2, 0, "Invalid value"),
    ],
)
def test_logs(
    arguments: tuple[str, ...], stdin: str, code: int, calls: int, said: str, ctl: Ctl
) -> None:
    """Goal: each command asks for what was said, refuses what is wrong, exits accordingly."""
    fake = Operable()
    chains = Chains(fake)
    with fake:
        ended = ctl("-s", fake.address, "logs", *arguments, stdin=stdin)
    assert (ended.code, len(chains.asked)) == (code, calls), ended.stderr
    assert said in ended.stdout + ended.stderr


def test_reconfigure_passes_everything_on(ctl: Ctl) -> None:
    """Goal: replication, nodeset, sequencer and the expected segment reach the server."""
    fake = Operable()
    chains = Chains(fake)
    wanted = ("--replication", "1", "--nodeset", "N2,3", "--sequencer", "N2")
    with fake:
        ctl("-s", fake.address, "logs", "reconfigure", "-l", "0", "-m", "2", *wanted)
    (request,) = chains.asked
    assert request.min_version.value == 2 and request.extension.provider == "replicated"
    assert request.extension.HasField("segment_index")
    assert request.extension.replication.replication_property == "{node: 1}"
    assert [node.id for node in request.extension.nodeset] == [2, 3]
    assert request.extension.sequencer.id == 2


# ---------------------------------------------------------------- partitions


def test_leadership(ctl: Ctl) -> None:
    """Goal: pins and freezes are written, the controller is told, what is so already stays.

    How: all commands on partition 0; partition 1 does not exist in the store.
    """
    fake = Operable()
    fake.node.on(GET_CLUSTER_STATE, lambda _: messages.ClusterStateResponse())
    with fake:
        epochs(fake, 1, 2)

        def run(*arguments: str) -> str:
            ended = ctl("-s", fake.address, "partitions", "leadership", *arguments)
            return ended.stdout + ended.stderr

        assert "pinned to N2" in run("pin", "0", "--node", "2")
        assert epoch(fake).leadership_policy.affinity == NodeAffinity(PlainNodeId(2))
        assert list(fake.asked[-1].partition_ids) == [0]
        assert "It was so already" in run("pin", "0", "--node", "2")
        assert "N3 is no replica; choose one of [N1, N2]" in run("pin", "0", "--node", "3")
        assert "frozen" in run("freeze", "0", "--reason", "audit")
        shown = run("show")
        assert "0          -        N2      audit" in shown and "MISSING" in shown
        run("unfreeze", "0")
        run("unpin", "0")
        assert epoch(fake).leadership_policy.affinity is None
        assert not epoch(fake).leadership_policy.is_frozen and epoch(fake).version == 11
        assert "has not been created yet" in run("unpin", "1")
        assert "partition 7 not found" in run("unpin", "7")


def test_placement(ctl: Ctl) -> None:
    """Goal: replica sets are set, also of a partition that has none; freezes are shown."""
    with Operable() as fake:
        epochs(fake, 1, 2)

        def run(*arguments: str) -> str:
            ended = ctl("-s", fake.address, "partitions", "placement", *arguments)
            return ended.stdout + ended.stderr

        assert "Set placement for partition 0." in run("set", "0", "-r", "1,3", "--freeze", "move")
        assert epoch(fake).version == 8
        found = epoch(fake).next
        assert found is not None and found.replica_set == (PlainNodeId(1), PlainNodeId(3))
        assert "It was so already." in run("set", "0", "--replicas", "N3,N1")
        assert "FROZEN (move)" in run("show", "0")
        run("unfreeze", "0")
        assert "ENABLED" in run("show", "0")
        run("set", "1", "--replicas", "2")
        created = epoch(fake, 1).current
        assert created is not None and created.replica_set == (PlainNodeId(2),)
        assert "nobody answers" in run("set", "0")
        assert "N9 was not found" in run("set", "0", "--replicas", "9")


# ---------------------------------------------------------------- metadata


def test_metadata_is_put_and_patched(ctl: Ctl, tmp_path: Path) -> None:
    """Goal: versions are kept by the tool, a dry run writes nothing, unreadable is refused."""
    with Operable() as fake:
        fake.store["other"] = encode_shape({"version": 3, "a": 1})

        def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
            ended = ctl("-s", fake.address, "metadata", *arguments, stdin=stdin)
            return ended.code, ended.stdout + ended.stderr

        patch = ("patch", "-k", "other", "-p", '[{"op": "replace", "path": "/a", "value": 2}]')
        code, text = run(*patch, "--dry-run")
        assert code == 0 and '"a": 2' in text and "nothing was written" in text
        assert fake.store["other"] == encode_shape({"version": 3, "a": 1})
        assert run(*patch, "--version", "2")[0] == 1
        assert "version 4" in run(*patch)[1]
        assert "is so already" in run(*patch)[1]
        file = tmp_path / "object.json"
        file.write_text('{"a": 5, "version": 99}')
        assert "version 5" in run("put", "-k", "other", str(file))[1]
        assert "version 1" in run("put", "-k", "new", "-", stdin="{}")[1]
        assert json.loads(fake.store["new"][1:]) == {"version": 1}
        for wrong in (("put", "-k", "x", "-"), ("put", "-k", "x", "/no/such"), (*patch[:3], "x")):
            assert run(*(wrong if len(wrong) == 4 else (*wrong, "x")), stdin="[]")[0] in (1, 2)
        before = fake.store["nodes_config"]
        broken = ("-p", '[{"op": "remove", "path": "/nodes"}]')
        code, text = run("patch", "-k", "nodes_config", *broken)
        assert code == 1 and "would be unreadable" in text
        assert fake.store["nodes_config"] == before


class Group:
    """A Raft group with one leader and a change under way at first."""

    def __init__(self, fake: Operable) -> None:
        self.busy = 1
        fake.node.on(ADD_METADATA_SERVER, self._add)
        fake.node.on(REMOVE_METADATA_SERVER, self._remove)

    def _add(self, _: Any) -> Any:
        raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "a member")

    def _remove(self, request: Any) -> Any:
        if request.plain_node_id == 2:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "node 'N2' is not a member")
        if self.busy:
            self.busy -= 1
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "pending reconfiguration")
        return Empty()


def test_metadata_servers(ctl: Ctl) -> None:
    """Goal: add is idempotent, remove waits for its turn, and who is no member is an error."""
    fake = Operable()
    Group(fake)
    with fake:
        nodes = members(4, fake.address, "http://n2:1/")
        first = nodes.node(PlainNodeId(1))
        assert first is not None
        fake.knows(
            nodes.updated(replace(first, metadata_server_state=MetadataServerState.MEMBER), None)
        )

        def run(*arguments: str) -> tuple[int, str]:
            ended = ctl("-s", fake.address, "metadata-server", *arguments)
            return ended.code, ended.stdout + ended.stderr

        assert run("add-node", "N1") == (
            0,
            "Node 'N1' is already a member of the metadata cluster\n",
        )
        assert run("remove-node", "1") == (0, "Removed node 'N1' from the metadata cluster\n")
        code, text = run("remove-node", "2")
        assert code == 1 and "N2 is not a member" in text
        assert run("remove-node", "9")[0] == 1


# ---------------------------------------------------------------- why


def test_why_merges_what_the_nodes_remember(ctl: Ctl) -> None:
    """Goal: decisions by time with inputs and alternatives, silent nodes are named, and the
    present is judged. How: one node of three answers."""
    fake = Operable()
    events = [
        {"at_ms": at, "node": "N1:1", "decision": f"step {at}", "reason": "because"}
        for at in (2000, 1000)
    ]
    events[0] |= {"inputs": {"replication": "{node: 2}"}, "alternatives": ["N3: read-only"]}
    fake.node.on(GET_EVENTS, lambda _: operator.GetEventsResponse(events=events))
    with fake:
        fake.plan = operator.PlanConfigurationResponse(
            logs=[{"log_id": 0, "present": "[N1]", "reason": "nothing would be better"}]
        )
        told = ctl("-s", fake.address, "why", "log", "0")
        document = json.loads(ctl("-s", fake.address, "why", "log", "0", "--json").stdout)
        unknown = ctl("-s", fake.address, "why", "partition", "9")
    assert told.code == 0
    assert told.stdout.index("step 1000") < told.stdout.index("step 2000")
    assert "It stays: nothing would be better" in told.stdout
    assert "known: replication {node: 2}" in told.stdout and "not N3: read-only" in told.stdout
    assert "Decisions of N2 are missing" in told.stdout
    assert [event["decision"] for event in document["events"]] == ["step 1000", "step 2000"]
    assert document["now"]["now"] == "[N1]"
    assert unknown.code == 1 and "partition 9 not found" in unknown.stderr


# ---------------------------------------------------------------- storage


def test_compaction_says_what_failed(ctl: Ctl) -> None:
    """Goal: a row per database, a problem per failure. How: one of two databases fails."""
    asked: list[Any] = []
    fake = Operable()

    def compact(request: Any) -> Any:
        asked.append(request)
        results = [
            {"db_name": "log-store", "success": True, "column_families_compacted": 2},
            {"db_name": "db/0", "success": False, "error": "no space"},
        ]
        return TriggerCompactionResponse(results=results)

    fake.node.on(TRIGGER_COMPACTION, compact)
    with fake:
        ended = ctl("-s", fake.address, "storage", "compact", "-n", "N1", "-d", "log-server")
    assert ended.code == 1
    assert "N1    log-store  OK      2" in ended.stdout
    assert "1 succeeded, 1 failed" in ended.stdout
    assert "compaction of db/0 on N1: no space" in ended.stderr
    assert [kind for request in asked for kind in request.databases] == [3]


# ---------------------------------------------------------------- snapshots


@pytest.mark.parametrize(
    ("arguments", "code", "asked", "said"),
    [
        (("0", "-m", "5", "-t"), 0, [(0, 5, True)], "partition 0: snap_1 (log 0 @ LSN >= 9)"),
        (("--partition-id", "0"), 0, [(0, 0, False)], "snap_1"),
        ((), 1, [(0, 0, False), (1, 0, False)], "cannot create a snapshot of partition 1"),
        (("9",), 1, [], "partition 9 not found: known partitions are 0-1"),
        (("x",), 2, [], "invalid range"),
    ],
)
def test_snapshots_are_created(
    arguments: tuple[str, ...], code: int, asked: list[Any], said: str, ctl: Ctl
) -> None:
    """Goal: one, some or all partitions; each failure is named and makes the command fail."""
    seen: list[Any] = []
    fake = Operable()

    def create(request: Any) -> Any:
        seen.append((request.partition_id, request.min_target_lsn, request.trim_log))
        if request.partition_id == 1:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "no repository")
        return messages.CreatePartitionSnapshotResponse(snapshot_id="snap_1", min_applied_lsn=9)

    fake.node.on(CREATE_SNAPSHOT, create)
    with fake:
        ended = ctl("-s", fake.address, "snapshots", "create-snapshot", *arguments)
    assert (ended.code, sorted(seen)) == (code, asked)
    assert said in ended.stdout + ended.stderr
