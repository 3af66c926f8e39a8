"""The command line as a whole: words, options, exit codes, what goes where."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from ctl_fake_node import FakeNode, Refusal, members, one_log

from restate_node import __version__
from restate_node.ctl.__main__ import run
from restate_node.ctl.app import NOUNS
from restate_node.ctl.command import unless_interrupted
from restate_node.ctl.errors import CtlError
from restate_node.ctl.methods import (
    FIND_TAIL,
    GET_CLUSTER_CONFIGURATION,
    GET_CLUSTER_STATE,
    GET_DIGEST,
    GET_KEY,
    GET_LOGLET_INFO,
    METADATA_SERVER_STATUS,
    PROVISION_CLUSTER,
)
from restate_node.ctl.render import Report
from restate_node.types.ids import LogId, Version
from restate_node.types.logs import ReplicatedSegment
from restate_node.types.partitions import PartitionTable
from restate_node.wire.logs import decode_logs
from restate_node.wire.partitions import decode_partition_table
from restate_node.wire.pb import cluster_ctrl_pb2, cluster_pb2, log_server_pb2
from restate_node.wire.pb.metadata_proxy_svc_pb2 import GetRequest, GetResponse
from restate_node.wire.pb.metadata_server_svc_pb2 import StatusResponse
from restate_node.wire.pb.node_ctl_svc_pb2 import (
    ProvisionClusterRequest,
    ProvisionClusterResponse,
)
from restate_node.wire.storage_codec import encode_shape

COMMAND = [sys.executable, "-m", "restate_node.ctl"]


@dataclass(frozen=True)
class Ended:
    """A finished invocation."""

    code: int
    stdout: str
    stderr: str


Ctl = Callable[..., Ended]


@pytest.fixture
def ctl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Runs the tool here, with that input and no variables of this machine."""
    for variable in ("CI", "RESTATECTL_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)

    def invoke(*arguments: str, stdin: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(list(arguments))
        shown = capsys.readouterr()
        return Ended(code, shown.out, shown.err)

    return invoke


def answering(value: Any) -> Any:
    """An answer that is always the same."""
    return lambda _request: value


def configuration() -> cluster_pb2.ClusterConfiguration:
    """Eight partitions, two copies of everything."""
    found = cluster_pb2.ClusterConfiguration(num_partitions=8)
    found.partition_replication.replication_property = "{node: 2}"
    found.bifrost_provider.provider = "replicated"
    found.bifrost_provider.replication_property.replication_property = "{node: 2}"
    return found


def full_node() -> FakeNode:
    """A node that answers every command."""
    node = FakeNode(1)
    node.ident.roles.append("metadata-server")
    state = cluster_pb2.ClusterState(nodes_config_version={"value": 4})
    state.nodes[1].alive.generational_node_id.id = 1
    state.nodes[1].alive.generational_node_id.generation = 1
    state.nodes[1].alive.partitions[0].planned_mode = cluster_pb2.LEADER
    state.nodes[1].alive.partitions[0].effective_mode = cluster_pb2.LEADER
    node.on(
        GET_CLUSTER_STATE, answering(cluster_ctrl_pb2.ClusterStateResponse(cluster_state=state))
    )
    node.on(
        GET_CLUSTER_CONFIGURATION,
        answering(
            cluster_ctrl_pb2.GetClusterConfigurationResponse(cluster_configuration=configuration())
        ),
    )
    node.on(METADATA_SERVER_STATUS, answering(StatusResponse(status=3, leader=1)))
    tail = cluster_ctrl_pb2.FindTailResponse(tail_state=cluster_ctrl_pb2.OPEN, tail_lsn=4)
    node.on(FIND_TAIL, answering(tail))
    header = {"status": 1, "local_tail": 4, "known_global_tail": 4}
    info = log_server_pb2.GetLogletInfoResponse(info={"header": header, "trim_point": 1})
    node.on(GET_LOGLET_INFO, answering(info))
    entries = [{"from_offset": 2, "to_offset": 2, "status": 3}]
    node.on(
        GET_DIGEST,
        answering(log_server_pb2.GetDigestResponse(digest={"header": header, "entries": entries})),
    )

    def get(request: GetRequest) -> GetResponse:
        if request.key != "known":
            return GetResponse()
        blob = encode_shape({"z": {"b": 1, "a": [2]}, "version": 3})
        return GetResponse(value={"version": {"value": 3}, "bytes": blob})

    node.on(GET_KEY, get)
    return node


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name, _, _ in NOUNS)])
def test_every_noun_has_a_help_page(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    """Goal: help everywhere, with the common options. How: ask each noun."""
    assert run(arguments) == 0
    page = capsys.readouterr().out
    assert page.startswith("Usage: restatectl")
    assert "--single-address" in page
    assert "RESTATECTL_ADDRESS" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["nodes", "list"],
        ["logs", "list"],
        ["logs", "describe"],
        ["logs", "find-tail"],
        ["partitions", "list"],
        ["config", "get"],
        ["metadata", "get"],
        ["metadata-server", "list-servers"],
        ["replicated-loglet", "list-servers"],
        ["replicated-loglet", "info"],
        ["replicated-loglet", "digest"],
        ["provision"],
    ],
)
def test_every_command_shows_an_example(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Goal: a help page one can copy from. How: an example and the shape of the JSON on each."""
    assert run([*arguments, "--help"]) == 0
    page = capsys.readouterr().out
    assert "Example" in page
    assert "restatectl " in page.split("Example", 1)[1]
    assert "JSON:" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["foo"], "no such command 'foo'"),
        (["metadat"], "'metadat' is ambiguous: it could be 'metadata' or 'metadata-server'"),
        (["nodes", "lst"], "did you mean 'list'?"),
        (["nodes", "list", "--nope"], "No such option: --nope"),
        (["logs", "describe", "abc"], "invalid range 'abc'"),
        (["logs", "find-tail"], "RANGES"),
        (["-s", "a b", "status"], "--address: 'a b' is not an address"),
        (["-s", "a", "status", "-S", "b"], "exclude each other"),
        (["provision", "--replication", "foo"], "invalid value for --replication: 'foo'"),
        (["provision", "--log-provider", "foo"], "use replicated or local"),
        (["provision", "--disable-feature", "foo"], "controlled-idempotent-sharding"),
        (["provision", "--replication", "2", "--log-replication", "3"], "sets both"),
        (["replicated-loglet", "info", "xyz"], "invalid loglet id: 'xyz'"),
        (["--connect-timeout", "0", "status"], "connect-timeout"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goal: one line says what to write instead, nothing is sent. How: a table of mistakes."""
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_noun_alone_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: exploring works. How: no command is a usage error that prints the help page."""
    assert run(["logs"]) == 2
    assert "find-tail" in capsys.readouterr().err


def test_help_does_not_load_grpc() -> None:
    """Goal: help is instant. How: look for the slow modules after printing it."""
    code = (
        "import sys; from restate_node.ctl.__main__ import run; run(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('grpc', 'google.protobuf', 'msgspec')))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_options_may_stand_anywhere_and_words_may_be_short(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: three spellings of one command. How: compare what they print."""
    with full_node() as node:
        node.knows(members(4, node.address), one_log(2))
        first = ctl("-s", node.address, "--json", "logs", "list")
        second = ctl("log", "--addresses", node.address, "l", "--json")
        monkeypatch.setenv("RESTATECTL_ADDRESS", node.address)
        third = ctl("lo", "ls", "--json")
    assert first == second == third
    assert (first.code, first.stderr) == (0, "")
    assert json.loads(first.stdout)["logs"][0]["loglet_id"] == "0_0"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("status",), "N1:1     node-1"),
        (("status", "--extra"), "Metadata service"),
        (("nodes", "list", "--extra"), "Alive"),
        (("logs", "describe"), "Log Id: 0 (v2)"),
        (("logs", "find-tail", "0"), "OPEN   4"),
        (("partitions", "list"), "0   N1:1  Leader"),
        (("config", "get"), " Number of partitions: 8"),
        (("metadata", "get", "-k", "known"), '{\n  "version": 3,\n  "z": {\n    "a": ['),
        (("metadata", "get", "-k", "nosuch"), "null\n"),
        (("ms", "servers"), "N1    Member"),
        (("replicated-loglet", "servers"), "N1    N1:1  read-write     1"),
        (("replicated-loglet", "info", "0_0"), "N1    4           4            1           NO"),
        (("replicated-loglet", "digest", "0_0"), "3                       missing"),
    ],
)
def test_every_command_works_against_a_node(
    arguments: tuple[str, ...], expected: str, ctl: Ctl
) -> None:
    """Goal: all commands, as text and as JSON. How: a node that answers everything."""
    with full_node() as node:
        node.knows(members(4, node.address), one_log(2))
        text = ctl("-s", node.address, *arguments)
        document = ctl("-s", node.address, *arguments, "--json")
    assert (text.code, text.stderr) == (0, "")
    assert expected in text.stdout
    assert document.code == 0
    json.loads(document.stdout)


def test_failures_end_with_1_and_one_line(ctl: Ctl) -> None:
    """Goal: scripts notice every failure. How: dead address, no cluster, unknown ids."""
    with full_node() as node, FakeNode(None) as fresh:
        node.knows(members(4, node.address), one_log(2))
        dead = ctl("-s", "127.0.0.1:1", "status")
        unprovisioned = ctl("-s", fresh.address, "nodes", "list")
        unknown = ctl("-s", node.address, "logs", "find-tail", "0,99")
        loglet = ctl("-s", node.address, "replicated-loglet", "info", "9_9")
        wrong_role = ctl("-S", fresh.address, "logs", "describe", "99")
    for ended in (dead, unprovisioned, unknown, loglet, wrong_role):
        assert ended.code == 1
        assert ended.stderr.startswith("Error: ")
        assert ended.stderr.count("\n") == 1
    assert "http://127.0.0.1:1/: unavailable: connection refused" in dead.stderr
    assert fresh.address in unprovisioned.stdout
    assert "restatectl provision" in unprovisioned.stderr
    assert "Unknown log-id" in unknown.stdout
    assert "log 99 not found: known logs are 0" in unknown.stderr
    assert "loglet 9_9 not found" in loglet.stderr


class Provisioning:
    """What a node that can be provisioned was asked."""

    def __init__(self) -> None:
        self.requests: list[ProvisionClusterRequest] = []
        self.refusal: Refusal | None = None

    def answer(self, request: ProvisionClusterRequest) -> ProvisionClusterResponse:
        self.requests.append(request)
        if self.refusal is not None and not request.dry_run:
            raise self.refusal
        return ProvisionClusterResponse(
            dry_run=request.dry_run, cluster_configuration=configuration(), enabled_features=[1]
        )

    def node(self) -> FakeNode:
        fresh = FakeNode(None)
        fresh.on(PROVISION_CLUSTER, self.answer)
        return fresh


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "asked", "said"),
    [
        (("--dry-run",), "", 0, [True], "Dry run: nothing was changed."),
        ((), "n\n", 1, [True], "? Provision cluster with this configuration? (y/n)"),
        ((), "", 1, [True], "- controlled-idempotent-sharding"),
        ((), "y\n", 0, [True, False], "✅ Cluster has been successfully provisioned."),
        (("--yes",), "", 0, [True, False], "yes (--yes)"),
    ],
)
def test_provision_shows_asks_and_does(
    arguments: tuple[str, ...], stdin: str, code: int, asked: list[bool], said: str, ctl: Ctl
) -> None:
    """Goal: nothing is provisioned unasked. How: answers to the question, against the requests."""
    provisioning = Provisioning()
    with provisioning.node() as node:
        ended = ctl("-s", node.address, "provision", "-n", "8", *arguments, stdin=stdin)
    assert ended.code == code
    assert said in ended.stdout
    assert " Number of partitions: 8" in ended.stdout
    assert [request.dry_run for request in provisioning.requests] == asked
    if asked == [True, False]:
        real = provisioning.requests[1]
        assert real.log_replication.replication_property == "{node: 2}"
        assert real.num_partitions == 8


def test_provision_a_second_time_says_so(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: provisioning twice is harmless. How: known by the ident, and by ALREADY_EXISTS."""
    provisioning = Provisioning()
    provisioning.refusal = Refusal(grpc.StatusCode.ALREADY_EXISTS, "somebody was faster")
    with provisioning.node() as node, full_node() as member:
        member.knows(members(4, member.address))
        known = ctl("-s", member.address, "provision", "--yes")
        monkeypatch.setenv("CI", "1")
        late = ctl("-s", node.address, "provision", "--json")
    assert (late.code, known.code) == (0, 0)
    assert json.loads(late.stdout)["outcome"] == "already-provisioned"
    assert "already been provisioned" in known.stdout


def test_a_lost_answer_may_have_provisioned(ctl: Ctl) -> None:
    """Goal: no false certainty. How: the node becomes unavailable in the real call."""
    provisioning = Provisioning()
    provisioning.refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "going down")
    with provisioning.node() as node:
        ended = ctl("-s", node.address, "provision", "--yes")
    assert ended.code == 1
    assert "may have been provisioned all the same" in ended.stderr


@pytest.mark.parametrize("words", [("-V",), ("--version",)])
def test_the_version_of_the_tool(ctl: Ctl, words: tuple[str, ...]) -> None:
    """Goal: support can ask which tool is at work. How: both spellings, without any node."""
    ended = ctl(*words)
    assert (ended.code, ended.stdout) == (0, f"restatectl {__version__}\n")


@pytest.mark.parametrize("words", [(), ("logs",), ("logs", "list"), ("status",)])
def test_help_by_a_letter(ctl: Ctl, words: tuple[str, ...]) -> None:
    """Goal: -h works at every level. How: it says what --help says."""
    ended = ctl(*words, "-h")
    assert ended.code == 0 and ended.stdout == ctl(*words, "--help").stdout


def test_drafts_of_metadata(ctl: Ctl) -> None:
    """Goal: drafts are complete metadata, in the form that `metadata put` takes. How: no node is
    there; the decoders of the metadata read what is printed, on one line and on many.
    """
    logs = ["logs", "generate-metadata", "-r", "2", "--nodeset", "N1,2,N3", "--sequencer", "N1:4"]
    for more in ([], ["--pretty"], ["--json"]):
        printed = ctl(*logs, "-n", "3", "--version", "7", *more)
        read = decode_logs(encode_shape(json.loads(printed.stdout)))
        assert (printed.code, read.version, list(read.chains)) == (0, 7, [0, 1, 2])
        (segment,) = read.chains[LogId(2)].segments
        assert isinstance(segment, ReplicatedSegment)
        assert str(segment.params.sequencer) == "N1:4" and segment.params.nodeset == (1, 2, 3)
        table = ctl("partitions", "generate-metadata", "-n", "3", *more)
        divided = decode_partition_table(encode_shape(json.loads(table.stdout)))
        assert divided == PartitionTable.equal_ranges(3, divided.replication, Version(2))


def test_drafts_need_sense(ctl: Ctl) -> None:
    """Goal: a wrong word is told. How: a node instead of one of its lives; no partitions."""
    words = ["logs", "generate-metadata", "-r", "2", "--nodeset", "N1", "-n", "1"]
    ended = ctl(*words, "--sequencer", "N1")
    assert ended.code == 2 and "--sequencer" in ended.stderr
    assert ctl("partitions", "generate-metadata", "-n", "0").code == 2


def test_an_interrupt_is_none_of_the_errors_that_it_causes() -> None:
    """Goal: 130 also when gRPC reports the call that was cut off as failed. How: a command that
    turns its cancellation into an error, and one that was not cancelled."""

    async def cut_off() -> Report:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise CtlError("the call was cut off") from None
        raise AssertionError("nobody cancels")

    async def interrupted() -> None:
        task = asyncio.ensure_future(unless_interrupted(cut_off()))
        await asyncio.sleep(0)
        task.cancel()
        await task

    async def failed() -> Report:
        raise CtlError("refused")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    with pytest.raises(CtlError, match="refused"):
        asyncio.run(unless_interrupted(failed()))


def test_interrupts_and_closed_pipes() -> None:
    """Goal: 130 after ctrl-c, silence when the reader leaves. How: a signal, a closed stdout."""
    # A shell has its background jobs ignore it, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked, over = threading.Event(), threading.Event()

    def hang(_request: Any) -> GetResponse:
        asked.set()
        over.wait(timeout=20)
        return GetResponse()

    node = FakeNode(1)
    node.on(GET_KEY, hang)
    with node:
        node.knows(members(4, node.address), one_log(2))
        words = ["-s", node.address, "metadata", "get", "-k", "x"]
        with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE) as process:
            assert asked.wait(timeout=20)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate()
        assert (process.returncode, stderr) == (130, b"")
        over.set()

        reader, writer = os.pipe()
        os.close(reader)
        piped = subprocess.run(
            [*COMMAND, "-s", node.address, "logs", "list"], stdout=writer, stderr=subprocess.PIPE
        )
        os.close(writer)
        assert (piped.returncode, piped.stderr) == (0, b"")
