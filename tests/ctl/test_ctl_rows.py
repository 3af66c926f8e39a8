"""Tables of the operations page, line by line, from values and messages."""

from __future__ import annotations

import json
import re

from restate_node.ctl.chain_rows import HLC_EPOCH_MS, HLC_LOGICAL_BITS
from restate_node.ctl.commands import config, logs, metadata_server, nodes, partitions, status
from restate_node.ctl.commands import replicated_loglet as loglets
from restate_node.ctl.errors import CallFailed
from restate_node.ctl.render import (
    Cell,
    Report,
    Style,
    Table,
    render,
    render_json,
    render_table,
    size_text,
)
from restate_node.ctl.times import TimeFormat, TimeStyle
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    LogletId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.logs import (
    Chain,
    InMemorySegment,
    Logs,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
)
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState
from restate_node.types.offsets import Lsn
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.pb import cluster_ctrl_pb2, cluster_pb2, common_pb2, metadata_server_svc_pb2
from restate_node.wire.pb.node_ctl_svc_pb2 import IdentResponse

NOW_MS = 1_795_415_995_684
TIMES = TimeStyle(TimeFormat.HUMAN, NOW_MS)
CORE = frozenset({Role.LOG_SERVER, Role.METADATA_SERVER, Role.WORKER})


def text_of(report: Report) -> list[str]:
    """What is printed on a pipe."""
    return render(report.blocks).splitlines()


def node(number: int, generation: int, port: int, state: StorageState, *extra: Role) -> Node:
    """node-<number> with the three core roles and more."""
    return Node(
        name=f"node-{number}",
        current_generation=GenerationalNodeId(PlainNodeId(number), generation),
        address=f"http://127.0.0.1:{port}/",
        roles=CORE | set(extra),
        storage_state=state,
    )


def three_nodes(version: int = 21, third: StorageState = StorageState.READ_WRITE):
    """The cluster of the operations page."""
    ready = StorageState.READ_WRITE
    members = [
        node(1, 6, 5122, ready, Role.ADMIN),
        node(2, 4, 6122, ready, Role.ADMIN),
        node(3, 6, 7122, third),
    ]
    return NodesConfiguration(Version(version), "c", {member.id: member for member in members})


def segment(log: int, index: int, lsn: int, *, nodeset: tuple[int, ...] = (3, 1, 2)):
    """A replicated segment with its sequencer on N1:6."""
    return ReplicatedSegment(
        Lsn(lsn),
        SegmentIndex(index),
        ReplicatedParams(
            loglet_id(LogId(log), SegmentIndex(index)),
            GenerationalNodeId(PlainNodeId(1), 6),
            ReplicationProperty.of_nodes(2),
            tuple(PlainNodeId(number) for number in nodeset),
        ),
    )


def logs_of(version: int, chains: dict[int, Chain]) -> Logs:
    """Logs with replication 2 and nodesets as needed."""
    provider = ProviderConfiguration(ProviderKind.REPLICATED, ReplicationProperty.of_nodes(2), 0)
    return Logs(Version(version), {LogId(log): c for log, c in chains.items()}, provider)


TWO_LOGS = logs_of(8, {0: Chain((segment(0, 5, 61),)), 10: Chain((segment(10, 4, 4),))})


def test_nodes_list_is_that_of_the_page() -> None:
    """Goal: the first table of the operations page. How: compare every line."""
    assert text_of(nodes.list_report(three_nodes(), None)) == [
        "Node Configuration (v21)",
        "NODE  GEN  NAME    ADDRESS                 ROLES",
        "N1    6    node-1  http://127.0.0.1:5122/  admin | log-server | metadata-server | worker",
        "N2    4    node-2  http://127.0.0.1:6122/  admin | log-server | metadata-server | worker",
        "N3    6    node-3  http://127.0.0.1:7122/  log-server | metadata-server | worker",
    ]


def test_nodes_list_extra_shows_states_and_silence() -> None:
    """Goal: --extra says Alive and Ready, or Unknown. How: one node answers, two do not."""
    ident = IdentResponse(
        status=common_pb2.ALIVE,
        age_s=121,
        worker_status=common_pb2.WS_READY,
        log_server_status=common_pb2.LS_STARTING_UP,
        metadata_server_status=common_pb2.MS_MEMBER,
        nodes_config_version=21,
        logs_version=48,
        partition_table_version=1,
    )
    report = nodes.list_report(three_nodes(third=StorageState.DATA_LOSS), {PlainNodeId(3): ident})
    _, titles, first, _, third = text_of(report)
    assert titles.split()[5:] == list(nodes.EXTRA_COLUMNS)
    assert first.split()[-4:] == ["read-write", "provisioning", "N/A", "Unknown"]
    assert re.split(" {2,}", third[titles.index("STORAGE-STATE") :]) == [
        *("data-loss", "provisioning", "2 minutes", "Alive", "-", "Ready", "Starting Up", "Member"),
        *("v21", "v48", "v0", "v1"),
    ]
    document = json.loads(render_json(report.document))
    assert document["nodes"][0]["ident"] is None
    assert document["nodes"][2]["ident"]["versions"]["logs"] == 48
    assert document["nodes"][2]["ident"]["log_server"] == "Starting Up"


def test_logs_list_is_that_of_the_page() -> None:
    """Goal: header and table of `logs list`. How: compare every line."""
    assert text_of(logs.list_report(TWO_LOGS)) == [
        "Log chain v8",
        " Logs Provider: replicated",
        " Log replication: {node: 2}",
        " Nodeset size: 0",
        "L-ID  FROM-LSN  KIND        LOGLET-ID  REPLICATION  SEQUENCER  NODESET",
        "0     61        Replicated  0_5        {node: 2}    N1:6       [N1, N2, N3]",
        "10    4         Replicated  10_4       {node: 2}    N1:6       [N1, N2, N3]",
    ]


def test_logs_list_of_other_kinds_of_segments() -> None:
    """Goal: sealed logs and local loglets have no nodes. How: a marker and a local segment."""
    sealed = Chain((segment(0, 0, 1), SealMarker(Lsn(39), SegmentIndex(0), NOW_MS)))
    local = Chain((InMemorySegment(Lsn(1), SegmentIndex(0), 7, ProviderKind.LOCAL),))
    report = logs.list_report(logs_of(9, {0: sealed, 1: local}))
    assert [line.split() for line in text_of(report)[-2:]] == [
        ["0", "39", "Sealed", "N/A", "N/A", "N/A", "N/A"],
        ["1", "1", "Local", "7", "N/A", "N/A", "N/A"],
    ]
    kinds = [entry["kind"] for entry in json.loads(render_json(report.document))["logs"]]
    assert kinds == ["sealed", "local"]


def test_logs_describe_shows_segments_and_marks_the_open_one() -> None:
    """Goal: a block per log with IDX and ▶. How: one log of two segments, with trim points."""
    chain = Chain((segment(1, 0, 1), segment(1, 1, 4)))
    some = logs_of(8, {1: chain})
    report = logs.describe_report(some, [LogId(1)], logs.Window(), TIMES, overview=False)
    assert text_of(report)[4:] == [
        "",
        "Log Id: 1 (v8)",
        "  IDX  FROM-LSN  KIND        LOGLET-ID  REPLICATION  SEQUENCER  NODESET       CREATED-AT",
        "  0    1         Replicated  1_0        {node: 2}    N1:6       [N1, N2, N3]  --",
        "▶ 1    4         Replicated  1_1        {node: 2}    N1:6       [N1, N2, N3]  --",
        "---",
        "2/2 segments shown.",
    ]
    extra = logs.describe_report(
        some, [LogId(1)], logs.Window(tail=1), TIMES, {LogId(1): 3}, overview=True
    )
    lines = text_of(extra)
    assert lines[5].startswith("1     4         Replicated")
    assert "Trim Point LSN: 3" in lines
    assert lines[-1] == "1/2 segments shown."
    assert '"loglet_id":4294967297' in lines[-3]


def test_a_sealed_segment_says_when_and_why() -> None:
    """Goal: nobody wonders who sealed a log. How: a marker with a context, a dated segment."""
    created = ((NOW_MS - 5_000 - HLC_EPOCH_MS) << HLC_LOGICAL_BITS) | 3
    params = segment(0, 0, 1).params
    first = ReplicatedSegment(Lsn(1), SegmentIndex(0), params, created_at=created)
    marker = SealMarker(Lsn(5), SegmentIndex(0), NOW_MS - 2_000, {"reason": "x"})
    some = logs_of(8, {0: Chain((first, marker))})
    lines = text_of(logs.describe_report(some, [LogId(0)], logs.Window(), TIMES, overview=False))
    assert lines[-4].endswith("[N1, N2, N3]  5 seconds ago")
    assert lines[-3].endswith("Sealed 2 seconds ago reason=x")
    assert not any("▶" in line for line in lines)


def test_windows_cut_chains() -> None:
    """Goal: --skip, --head, --tail, --from-segment-id. How: five segments through windows."""
    segments = [segment(0, index, index + 1) for index in range(5)]
    shown = {
        "all": logs.Window(),
        "tail": logs.Window(tail=2),
        "head": logs.Window(head=2, tail=25),
        "skip": logs.Window(skip=3),
        "from": logs.Window(from_segment=2, tail=25),
    }
    assert {name: [s.index for s in window.of(segments)] for name, window in shown.items()} == {
        "all": [0, 1, 2, 3, 4],
        "tail": [3, 4],
        "head": [0, 1],
        "skip": [3, 4],
        "from": [2, 3, 4],
    }


def test_find_tail_rows_and_problems() -> None:
    """Goal: every failure fails the command. How: an answer, an error, an unknown log."""
    answer = cluster_ctrl_pb2.FindTailResponse(
        log_id=0, segment_index=4, tail_state=cluster_ctrl_pb2.OPEN, tail_lsn=83
    )
    failed = CallFailed("http://a/", "INTERNAL", "internal: no quorum")
    report = logs.tails_report(
        [LogId(0), LogId(1), LogId(9)],
        {LogId(0): answer, LogId(1): failed},
        "log 9 not found: known logs are 0-1",
    )
    assert text_of(report) == [
        "LOG-ID  SEGMENT  STATE                           TAIL-LSN",
        "0       4        OPEN                            83",
        "1                http://a/: internal: no quorum",
        "9                Unknown log-id",
    ]
    assert report.problems == (
        "log 9 not found: known logs are 0-1",
        "tail of log 1: http://a/: internal: no quorum",
    )


def processor(**values: object) -> cluster_pb2.PartitionProcessorStatus:
    """A leader in good health that was heard of 1170 ms ago."""
    status = cluster_pb2.PartitionProcessorStatus(
        planned_mode=cluster_pb2.LEADER,
        effective_mode=cluster_pb2.LEADER,
        detailed_effective_mode=cluster_pb2.DRM_LEADER,
        replay_status=cluster_pb2.ACTIVE,
        last_observed_leader_node=common_pb2.NodeId(id=1, generation=6),
        last_observed_leader_epoch=common_pb2.LeaderEpoch(value=3),
        last_applied_log_lsn=common_pb2.Lsn(value=61),
        target_tail_lsn=common_pb2.Lsn(value=62),
    )
    status.updated_at.FromMilliseconds(NOW_MS - 1_170)
    status.MergeFrom(cluster_pb2.PartitionProcessorStatus(**values))  # type: ignore[arg-type]
    return status


def follower() -> cluster_pb2.PartitionProcessorStatus:
    """The same, following."""
    return processor(
        planned_mode=cluster_pb2.FOLLOWER,
        effective_mode=cluster_pb2.FOLLOWER,
        detailed_effective_mode=cluster_pb2.DRM_FOLLOWER,
    )


def page_state() -> cluster_pb2.ClusterState:
    """N1 leads partition 0, N2 follows, N3 is dead."""
    state = cluster_pb2.ClusterState(
        nodes_config_version=common_pb2.Version(value=21),
        partition_table_version=common_pb2.Version(value=21),
    )
    for number, generation, status_ in ((1, 6, processor()), (2, 4, follower())):
        alive = state.nodes[number].alive
        alive.generational_node_id.id = number
        alive.generational_node_id.generation = generation
        alive.uptime_s = 121
        alive.partitions[0].CopyFrom(status_)
    state.nodes[3].dead.last_seen_alive.FromMilliseconds(NOW_MS - 700_995)
    return state


def test_partitions_list_is_that_of_the_page() -> None:
    """Goal: processors and dead nodes as on the page. How: compare every line."""
    assert text_of(partitions.partitions_report(page_state(), TIMES)) == [
        "Alive partition processors (nodes config v21, partition table v21)",
        "ID  NODE  MODE      STATUS  EPOCH  APPLIED  DURABLE  ARCHIVED  LSN-LAG  UPDATED",
        "0   N1:6  Leader    Active  N1:6   61       -        -         0        "
        "1 second and 170 ms ago",
        "0   N2:4  Follower  Active  N1:6   61       -        -         0        "
        "1 second and 170 ms ago",
        "",
        "",
        "☠️ Dead nodes",
        "NODE  LAST-SEEN",
        "N3    11 minutes, 40 seconds and 995 ms ago",
    ]


def test_partitions_list_extra_and_order() -> None:
    """Goal: the further columns, and three orders. How: swap who leads, look at the NODE column."""
    state = page_state()
    state.nodes[2].alive.partitions[1].CopyFrom(
        processor(enabled_features=["journal_v2"], last_applied_schema_version={"value": 7})
    )
    state.nodes[1].alive.partitions[1].CopyFrom(follower())
    extra = text_of(partitions.partitions_report(state, TIMES, extra=True))
    assert extra[1].split()[-5:] == ["LEADER-EPOCH", "SCHEMA", "RULE-BOOK", "FEATURES", "UPDATED"]
    assert extra[5][extra[1].index("LEADER-EPOCH") :].split()[:4] == ["e3", "v7", "-", "journal_v2"]
    orders = {
        sort: [
            (row.partition, row.node.id)
            for row in sorted(partitions.processors(state), key=lambda p: p.key(sort))
        ]
        for sort in partitions.Sort
    }
    assert orders == {
        partitions.Sort.PARTITION: [(0, 1), (0, 2), (1, 1), (1, 2)],
        partitions.Sort.NODE: [(0, 1), (1, 1), (0, 2), (1, 2)],
        partitions.Sort.ACTIVE: [(0, 1), (1, 2), (0, 2), (1, 1)],
    }


def test_processors_in_trouble() -> None:
    """Goal: transitions, replay and breakage are told apart. How: cells of single statuses."""
    candidate = processor(detailed_effective_mode=cluster_pb2.DRM_CANDIDATE)
    assert partitions.mode_text(candidate) == "Candidate->Leader"
    old = cluster_pb2.PartitionProcessorStatus(
        planned_mode=cluster_pb2.FOLLOWER, effective_mode=cluster_pb2.LEADER
    )
    assert partitions.mode_text(old) == "Leader->Follower"
    catching_up = processor(replay_status=cluster_pb2.CATCHING_UP, target_tail_lsn={"value": 120})
    assert partitions.status_text(catching_up) == "Catching Up(120)"
    assert partitions.lag(catching_up) == 58
    broken = processor(broken_reason=cluster_pb2.BR_AHEAD_OF_LOG)
    assert partitions.status_text(broken) == "Broken (ahead of its log)"
    nothing = cluster_pb2.PartitionProcessorStatus()
    assert partitions.lag(nothing) is None
    assert partitions.leader_text(nothing) == "-"
    epoch_only = cluster_pb2.PartitionProcessorStatus(last_observed_leader_epoch={"value": 4})
    assert partitions.leader_text(epoch_only) == "e4"


def test_status_counts_what_each_node_does() -> None:
    """Goal: leaders, followers, nodesets, sequencers per node. How: compare every line."""
    state = page_state()
    state.nodes[2].alive.partitions[1].CopyFrom(processor(effective_mode=cluster_pb2.FOLLOWER))
    report = status.status_report(three_nodes(), TWO_LOGS, state, {PlainNodeId(1): "Member"})
    assert text_of(report) == [
        "Node Configuration (v21)",
        "NODE-ID  NAME    UPTIME   METADATA  LEADER  FOLLOWER  NODESET-MEMBER  SEQUENCER  ROLES",
        "N1:6     node-1  2m 1s    Member    1       0         2               2          "
        "admin | log-server | metadata-server | worker",
        "N2:4     node-2  2m 1s              0+1     1         2               0          "
        "admin | log-server | metadata-server | worker",
        "N3       node-3  offline                                                         "
        "log-server | metadata-server | worker",
    ]
    document = json.loads(render_json(report.document))
    assert [entry["alive"] for entry in document["nodes"]] == [True, True, False]


def test_config_get_is_that_of_the_page() -> None:
    """Goal: the ⚙️ block. How: partitions on every worker, then without a replicated provider."""
    configuration = cluster_pb2.ClusterConfiguration(num_partitions=8)
    configuration.bifrost_provider.provider = "replicated"
    configuration.bifrost_provider.replication_property.replication_property = "{node: 1}"
    assert text_of(config.configuration_report(configuration)) == [
        "⚙️ Cluster Configuration",
        " Number of partitions: 8",
        " Partition replication: *",
        " Logs Provider: replicated",
        " Log replication: {node: 1}",
        " Nodeset size: 0",
    ]
    local = cluster_pb2.ClusterConfiguration(num_partitions=8)
    local.bifrost_provider.provider = "local"
    report = config.configuration_report(local)
    assert text_of(report)[-1] == " Logs Provider: local"
    assert json.loads(render_json(report.document))["log_replication"] is None


def test_log_servers_are_those_of_the_page() -> None:
    """Goal: HISTORICAL and ACTIVE LOGLETS. How: a node that has left the newest nodesets."""
    chains = {
        0: Chain((segment(0, 0, 1), segment(0, 1, 2, nodeset=(1, 2)))),
        1: Chain((segment(1, 0, 1), segment(1, 1, 2, nodeset=(1, 2)))),
    }
    configuration = three_nodes(third=StorageState.DATA_LOSS)
    report = loglets.servers_report(configuration, logs_of(6, chains))
    assert text_of(report) == [
        "Node configuration v21",
        "Log chain v6",
        "NODE  GEN   STORAGE-STATE  HISTORICAL LOGLETS  ACTIVE LOGLETS",
        "N1    N1:6  read-write     4                   2",
        "N2    N2:4  read-write     4                   2",
        "N3    N3:6  data-loss      2                   0",
    ]


def test_metadata_servers_and_the_silent_ones() -> None:
    """Goal: Raft members, and who does not answer. How: one answer, one new server, one failure."""
    answer = metadata_server_svc_pb2.StatusResponse(
        status=common_pb2.MS_MEMBER,
        leader=1,
        configuration={"version": {"value": 3}, "members": {2: 5, 1: 5}},
        snapshot={"index": 13, "size": 2150},
        raft={"term": 2, "applied": 66, "committed": 66, "first_index": 14, "last_index": 66},
    )
    standby = metadata_server_svc_pb2.StatusResponse(status=common_pb2.MS_STANDBY)
    failed = CallFailed("http://c/", "UNAVAILABLE", "unavailable: connection refused")
    members = three_nodes().members()
    report = metadata_server.servers_report(
        members, dict(zip([n.id for n in members], [answer, standby, failed], strict=True))
    )
    assert text_of(report) == [
        "Metadata service",
        "NODE  STATUS   VERSION  LEADER  MEMBERS  APPLIED  COMMITTED  TERM  LOG-LENGTH  "
        "SNAP-INDEX  SNAP-SIZE",
        "N1    Member   v3       N1      [N1,N2]  66       66         2     53          "
        "13          2.1 KiB",
        "N2    Standby  -        -       -        -        -          -     -           "
        "-           -",
        "",
        "🔌 Unreachable nodes",
        "NODE  REASON",
        "N3    unavailable: connection refused",
    ]
    assert not report.problems
    assert metadata_server.servers_report(members[2:], {members[2].id: failed}).problems


def test_sizes_have_units() -> None:
    """Goal: sizes in binary units. How: around each unit's edge."""
    shown = [size_text(size) for size in (707, 1024, 2150, 3 << 30, 1 << 50)]
    assert shown == ["707 B", "1.0 KiB", "2.1 KiB", "3.0 GiB", "1024.0 TiB"]


def test_colours_do_not_move_columns() -> None:
    """Goal: a terminal sees the same table, in colours. How: render with and without."""
    table = Table(("A", "LONG"), ((Cell("x", Style.BAD), "1"), ("yy", Cell("", Style.BAD))))
    assert render_table(table) == "A   LONG\nx   1\nyy\n"
    painted = render_table(table, colour=True)
    assert painted == "\x1b[1mA\x1b[0m   \x1b[1mLONG\x1b[0m\n\x1b[31mx\x1b[0m   1\nyy\n"


def test_an_unknown_loglet_is_not_found() -> None:
    """Goal: ids are checked before log servers are asked. How: a loglet of no chain."""
    from restate_node.ctl.errors import CtlError
    from restate_node.ctl.loglet_rows import find_loglet

    found = find_loglet(loglet_id(LogId(10), SegmentIndex(4)), TWO_LOGS)
    assert (found.log, found.segment) == (10, 4)
    try:
        find_loglet(LogletId((9 << 32) | 9), TWO_LOGS)
    except CtlError as error:
        assert str(error) == "loglet 9_9 not found: see `restatectl logs describe`"
    else:
        raise AssertionError("loglet 9_9 was found")
