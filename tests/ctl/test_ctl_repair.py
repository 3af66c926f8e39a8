"""The command that repairs a log server: what it asks, what it shows, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from ctl_fake_node import Refusal, members
from ctl_operable import Ctl, Operable, ctl

from restate_node.ctl.commands.loglet_repair import progress_line
from restate_node.ctl.methods import GET_REPAIR, START_REPAIR
from restate_node.ctl.progress_bar import bar_line
from restate_node.types.ids import LogId, SegmentIndex, loglet_id
from restate_node.types.nodes import Role, StorageState
from restate_node.wire.pb.operator_pb2 import MissingRecords, RepairProgress

assert ctl  # a fixture

LOST = {"storage_state_before": "data-loss", "storage_state": "data-loss"}
FOUND = {"loglets_total": 2, "records_total": 10, "records_checked": 10, "records_copied": 7}
MISSING = MissingRecords(
    log_id=1,
    loglet_id=loglet_id(LogId(1), SegmentIndex(2)),
    from_offset=3,
    to_offset=9,
    sources=[2, 1],
)


def said(phase: str, **more: Any) -> RepairProgress:
    return RepairProgress(phase=phase, **{**LOST, **more})


class Repairs:
    """A node that answers with these, one after the other."""

    def __init__(self, fake: Operable, *answers: RepairProgress | Refusal) -> None:
        self._answers: Iterator[RepairProgress | Refusal] = iter(answers)
        self.asked: list[Any] = []
        fake.node.on(START_REPAIR, self._answer)
        fake.node.on(GET_REPAIR, self._answer)

    def _answer(self, request: Any) -> RepairProgress:
        self.asked.append(request)
        answer = next(self._answers)
        if isinstance(answer, Refusal):
            raise answer
        return answer


def test_a_repair_is_watched_to_its_end(ctl: Ctl) -> None:
    """Goal: it starts once, looks until it is over, and says what became of the node."""
    fake = Operable()
    done = said("done", **FOUND, logs_closed=[4, 0], bytes_copied=2_500_000)
    done.storage_state = "read-write"
    repairs = Repairs(fake, said("closing"), said("copying", **FOUND), said("returning"), done)
    with fake:
        ended = ctl("-s", fake.address, "replicated-loglet", "repair", "--node", "N1")
    assert ended.code == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "Logs moved off N1 first: 0, 4",
        "10 of 10 records in 2 loglets verified, 7 copied (2.5 MB)",
        "✅ Node N1 storage-state updated from data-loss to read-write",
    ]
    assert ended.stderr == "", "no bar where nobody looks"
    first, *others = repairs.asked
    assert (first.node, first.dry_run) == (1, False)
    assert len(others) == 3


def test_a_dry_run_shows_what_is_missing(ctl: Ctl) -> None:
    """Goal: a row per stretch, as a table and as JSON, and nothing is said to be changed."""
    fake = Operable()
    answer = said("done", dry_run=True, **FOUND, missing=[MISSING], logs_closed=[1])
    repairs = Repairs(fake, answer, answer)
    line = ("replicated-loglet", "repair", "--node", "1", "--dry-run")
    with fake:
        text = ctl("-s", fake.address, *line)
        document = json.loads(ctl("-s", fake.address, *line, "--json").stdout)
    assert repairs.asked[0].dry_run
    assert text.stdout.splitlines() == [
        "Logs that would be moved off N1 first: 1",
        "L-ID  LOGLET-ID  FROM-OFFSET  TO-OFFSET  RECORDS  SOURCES",
        "1     1_2        3            9          7        N1, N2",
        "10 of 10 records in 2 loglets verified, 7 would be copied; nothing was changed",
    ]
    assert document["missing"] == [
        {"log": 1, "loglet_id": "1_2", "from_offset": 3, "to_offset": 9, "sources": ["N1", "N2"]}
    ]
    assert (document["outcome"], document["dry_run"], document["copied"]) == ("done", True, 7)


def test_what_is_refused_is_named(ctl: Ctl) -> None:
    """Goal: each problem is a line on stderr, the exit code tells, no change is claimed."""
    fake = Operable()
    problems = ["log 0, LSN 5 (loglet 0_0, offset 5): no copy", "log 1, LSN 7: no copy"]
    Repairs(fake, said("refused", **FOUND, problems=problems))
    with fake:
        ended = ctl("-s", fake.address, "replicated-loglet", "repair", "--node", "N1")
    assert ended.code == 1
    assert ended.stderr.splitlines() == [
        f"Error: N1 cannot be repaired: {problem}" for problem in problems
    ]
    assert "updated" not in ended.stdout


def test_a_node_that_is_well(ctl: Ctl) -> None:
    """Goal: repeating a repair is no error."""
    fake = Operable()
    Repairs(fake, said("done", storage_state_before="read-write", storage_state="read-write"))
    with fake:
        ended = ctl("-s", fake.address, "replicated-loglet", "repair", "--node", "N1")
    assert (ended.code, ended.stdout) == (0, "N1 is read-write already: nothing to repair\n")


def test_a_node_that_restarts_meanwhile(ctl: Ctl) -> None:
    """Goal: the operator learns that the repair ended with the node."""
    fake = Operable()
    restarted = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "the node has restarted")
    Repairs(fake, said("copying"), restarted)
    with fake:
        ended = ctl("-s", fake.address, "replicated-loglet", "repair", "--node", "N1")
    assert ended.code == 1
    assert "the node has restarted" in ended.stderr and "then repeat" in ended.stderr


@pytest.mark.parametrize(
    ("node", "code", "words"),
    [
        ("N9", 1, "N9 was not found"),
        ("x", 2, "invalid node"),
        ("N1,N2", 2, "name one node"),
        ("N1", 1, "does not know repairs"),
        ("N2", 1, "start it with `log-server.repair-after-data-loss = true`"),
        ("N3", 1, "has not the role log-server"),
    ],
)
def test_nodes_that_cannot_be_asked(node: str, code: int, words: str, ctl: Ctl) -> None:
    """Goal: the way to a repair is told.

    How: wrong names, an old release, a stopped node, a worker.
    """
    fake = Operable()
    with fake:
        nodes = members(9, fake.address, "http://127.0.0.1:1/", "http://127.0.0.1:1/")
        lost, worker = nodes.members()[1:]
        nodes = nodes.updated(replace(lost, storage_state=StorageState.DATA_LOSS), None)
        nodes = nodes.updated(replace(worker, roles=frozenset((Role.WORKER,))), None)
        fake.knows(nodes)
        ended = ctl("-s", fake.address, "replicated-loglet", "repair", "--node", node)
    assert ended.code == code
    assert words in ended.stderr


def test_bars() -> None:
    """Goal: from empty to full, also without anything to do. How: lines of some moments."""
    assert bar_line("Copying", 0, 4) == f"Copying {'░' * 30}   0 % 0/4"
    assert bar_line("Copying", 3, 4) == f"Copying {'█' * 22}{'░' * 8}  75 % 3/4"
    assert bar_line("Copying", 0, 0).split()[1] == "█" * 30
    line = progress_line("N3", said("copying", **FOUND, bytes_copied=1_250_000))
    assert line.startswith("Copying N3 ")
    assert line.endswith("100 % 10/10 records, 7 copied (1.2 MB)")
