"""Mistakes of an operator against real nodes: one clear line, a failing exit code, nothing changed,
and nobody the worse for it.

The second table says the same to the nodes directly, as Restate's own restatectl does: what it
prints is the gRPC status and its text.
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from restate_node.types.partitions import PARTITIONS_MAX
from restate_node.wire.pb import cluster_ctrl_pb2 as ctrl
from restate_node.wire.pb.common_pb2 import NodeId
from tests.process.node_processes import http
from tests.promises.operations_cluster import OperatedCluster

pytestmark = pytest.mark.process

WRONG, REFUSED = 2, 1
"""Exit codes: of a command line that means nothing, of a request that cannot be met."""
COMMANDS = [
    ("replicated-loglet set-storage-state --node 1 --storage-state frozen", WRONG, "'frozen'"),
    ("replicated-loglet set-storage-state --node x --storage-state gone", WRONG, "'x' is not a"),
    ("nodes set-storage-state --node 9 --storage-state gone", REFUSED, "N9 was not found"),
    ("nodes set-worker-state --node 9 --worker-state draining", REFUSED, "N9 was not found"),
    ("nodes remove --nodes 9", REFUSED, "N9 was not found"),
    ("nodes remove --nodes 1", REFUSED, "member of the metadata cluster"),
    ("metadata-server remove-node 9", REFUSED, "N9 was not found"),
    ("logs describe 3-1", WRONG, "write the smaller id first, 1-3"),
    ("logs describe 0-4294967295", WRONG, "at most"),
    ("logs describe 99", REFUSED, "log 99 not found: known logs are 0-1"),
    ("logs find-tail 99", REFUSED, "log 99 not found"),
    ("logs trim 0 --trim-point 0", WRONG, "--trim-point"),
    ("logs trim 99 --trim-point 1", REFUSED, "log 99 not found"),
    ("logs seal 99", REFUSED, "log 99 not found"),
    ("logs reconfigure --log-id 0 --nodeset N1,N9", REFUSED, "N9 was not found"),
    ("logs reconfigure --log-id 0 --nodeset N1", REFUSED, "{node: 2} cannot be met by 1"),
    ("logs reconfigure --log-id 0 --replication 7", REFUSED, "{node: 7} cannot be met by 3"),
    ("logs reconfigure --log-id 0 --segment-index 77", REFUSED, "segment 77 of log 0 is not its"),
    ("snapshots create-snapshot 99", REFUSED, "partition 99 not found: known partitions are 0-1"),
    ("snapshots create-snapshot 0-x", WRONG, "'0-x'"),
    ("snapshots create-snapshot 0", REFUSED, "set worker.snapshots.destination"),
    ("partitions leadership pin 99 --node N1", REFUSED, "partition 99 not found"),
    ("partitions leadership pin 0 --node N9", REFUSED, "N9 was not found"),
    ("partitions placement set 0 --replicas 9", REFUSED, "N9 was not found"),
    ("replicated-loglet info 9_9", REFUSED, "loglet 9_9 not found"),
    ("replicated-loglet info nonsense", WRONG, "'nonsense' is not a loglet id"),
    ("why log 99", REFUSED, "log 99 not found"),
    ("provision --num-partitions 0", WRONG, "--num-partitions"),
    ("nodes list --addresses http://", WRONG, "is not an address"),
    ("nodes list --addresses ftp://localhost:5122", WRONG, "scheme 'ftp' is not supported"),
    ("nodes list --addresses 127.0.0.1:99999", WRONG, "between 1 and 65535"),
    ("nodes list --addresses unix:/nowhere", REFUSED, "there is no such socket"),
    ("nodes list --addresses no.such.host.invalid", REFUSED, "the host name is unknown"),
    ("nodes list --addresses {admin}", REFUSED, "no Restate node answers there"),
    ("frobnicate", WRONG, "no such command 'frobnicate'"),
]

INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
FAILED, INTERNAL = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INTERNAL
STRANGERS = ctrl.ChainExtension(segment_index=0, provider="replicated", nodeset=[NodeId(id=9)])
CALLS = [
    ("DescribeLog", ctrl.DescribeLogRequest(log_id=99), MISSING, "99"),
    ("FindTail", ctrl.FindTailRequest(log_id=99), INVALID, "Unknown log-id"),
    ("TrimLog", ctrl.TrimLogRequest(log_id=99, trim_point=1), INTERNAL, "unknown log '99'"),
    ("SealChain", ctrl.SealChainRequest(log_id=99), INTERNAL, "Unknown log id"),
    ("SealChain", ctrl.SealChainRequest(log_id=0, tail_lsn=0), INVALID, "not an LSN"),
    ("SealAndExtendChain", ctrl.SealAndExtendChainRequest(log_id=99), INTERNAL, "Unknown log id"),
    (
        "SealAndExtendChain",
        ctrl.SealAndExtendChainRequest(log_id=0, extension=STRANGERS),
        INVALID,
        "N9 is not a member",
    ),
    (
        "CreatePartitionSnapshot",
        ctrl.CreatePartitionSnapshotRequest(partition_id=99),
        MISSING,
        "partition 99 does not exist",
    ),
    (
        "CreatePartitionSnapshot",
        ctrl.CreatePartitionSnapshotRequest(partition_id=PARTITIONS_MAX + 1),
        INVALID,
        "Invalid partition id",
    ),
    (
        "CreatePartitionSnapshot",
        ctrl.CreatePartitionSnapshotRequest(partition_id=0),
        FAILED,
        "no snapshot repository is configured",
    ),
    ("SetClusterConfiguration", ctrl.SetClusterConfigurationRequest(), INVALID, ""),
    ("DescribeLog", b"\xff\xff\xff\xff", INVALID, ""),
]


@pytest.fixture(scope="module", autouse=True)
def unharmed(calm: OperatedCluster) -> Iterator[None]:
    """After all of it the cluster is as it was: no change, no error told, everybody healthy."""
    before = (calm.shown("restatectl config get"), calm.states(), calm.logs())
    yield
    assert (calm.shown("restatectl config get"), calm.states(), calm.logs()) == before
    calm.write("after bad input")
    for node in calm.alive():
        said = node.log.read_text("utf-8")
        assert "Traceback" not in said and "ERROR" not in said, said
        assert http(f"{node.address}health")[0] == 200


@pytest.mark.parametrize(("line", "code", "words"), COMMANDS)
def test_commands(calm: OperatedCluster, line: str, code: int, words: str) -> None:
    """Goal: a mistake costs one line. How: each command with `--yes` against three nodes."""
    admin = f"127.0.0.1:{calm.nodes[0].admin_port}"
    outcome = calm.page(f"restatectl --yes {line.replace('{admin}', admin)}")
    assert outcome.code == code, outcome
    assert words in outcome.err, outcome
    assert outcome.err.startswith("Error: ") and outcome.err.count("\n") == 1, outcome


@pytest.mark.parametrize(("method", "message", "status", "words"), CALLS)
def test_calls(
    calm: OperatedCluster, method: str, message: object, status: grpc.StatusCode, words: str
) -> None:
    """Goal: a client of Restate prints a reason. How: each call over gRPC; the status, its text."""
    body = message if isinstance(message, bytes) else message.SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{calm.nodes[0].fabric_port}") as channel:
        call = channel.unary_unary(f"/restate.cluster_ctrl.ClusterCtrlSvc/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(body, timeout=30)
    assert (caught.value.code(), words in caught.value.details()) == (status, True), caught.value
