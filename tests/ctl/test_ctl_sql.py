"""`restatectl sql`: from the pieces of an Arrow stream to what is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pyarrow as pa
import pytest
from ctl_fake_node import FakeNode, Refusal, members

from restate_node.ctl import link
from restate_node.ctl.__main__ import run
from restate_node.ctl.errors import CtlError
from restate_node.ctl.methods import QUERY
from restate_node.ctl.sql_rows import read_answer
from restate_node.wire.pb.cluster_ctrl_pb2 import QueryResponse

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("lsn", pa.uint64()),
        ("is_leader", pa.bool_()),
        ("updated_at", pa.timestamp("ms", "+00:00")),
        ("features", pa.list_(pa.string())),
    ]
)
ROWS = [
    {
        "name": "node-1",
        "lsn": 2**64 - 1,
        "is_leader": True,
        "updated_at": MOMENT,
        "features": ["a", "b"],
    },
    {"name": "node-2"},
]


def stream(rows: list[dict[str, Any]] = ROWS) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, SCHEMA))
    return sink.getvalue().to_pybytes()


def pieces(content: bytes, size: int) -> list[QueryResponse]:
    return [QueryResponse(encoded=content[at : at + size]) for at in range(0, len(content), size)]


def node(answer: Callable[[Any], list[Any]]) -> FakeNode:
    fake = FakeNode(1, listen="127.0.0.1:0")
    fake.on_stream(QUERY, answer)
    return fake


def ask(fake: FakeNode, *arguments: str) -> int:
    fake.knows(members(1, fake.address, admins=(1,)))
    return run(["--address", fake.address, "sql", *arguments])


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: titles, values as other commands write them, blanks for nulls, a count. How: a stream
    that is cut at odd places.
    """
    with node(lambda _: pieces(stream(), 7)) as fake:
        assert ask(fake, "select 1") == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME    LSN                   IS_LEADER  UPDATED_AT                FEATURES",
        "node-1  18446744073709551615  true       2026-01-02T03:04:05.678Z  [a, b]",
        "node-2",
        "2 rows",
    ]


def test_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: one document, or one line per row. How: both options."""
    wanted = [
        {
            "name": "node-1",
            "lsn": 2**64 - 1,
            "is_leader": True,
            "updated_at": "2026-01-02T03:04:05.678Z",
            "features": ["a", "b"],
        },
        {"name": "node-2"},
    ]
    with node(lambda _: pieces(stream(), 1000)) as fake:
        assert ask(fake, "select 1", "--json") == 0
        assert json.loads(capsys.readouterr().out) == wanted
        assert ask(fake, "select 1", "--jsonl") == 0
        assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == wanted


def test_the_query_reaches_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: the text is passed on as it is; rows may be none. How: an answer without rows."""
    asked: list[str] = []

    def answer(request: Any) -> list[QueryResponse]:
        asked.append(request.query)
        return pieces(stream([]), 1000)

    with node(answer) as fake:
        assert ask(fake, "select 'ü' from nodes", "--json") == 0
    assert asked == ["select 'ü' from nodes"]
    assert json.loads(capsys.readouterr().out) == []


def test_a_refusal_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: a wrong query is not asked of every node. How: a node that refuses."""

    def refuse(_: Any) -> list[QueryResponse]:
        raise Refusal(grpc.StatusCode.INTERNAL, "table 'restate.public.nope' not found")

    with node(refuse) as fake:
        assert ask(fake, "select * from nope") == 1
        assert fake.calls["Query"] == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "table 'restate.public.nope' not found" in error


def test_missing_rows_are_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: a partial answer is shown and fails. How: a warning beside the rows."""
    warned = QueryResponse(warnings=[{"node_id": "N2", "message": "no answer"}])
    with node(lambda _: [*pieces(stream(), 1000), warned]) as fake:
        assert ask(fake, "select 1") == 1
    printed = capsys.readouterr()
    assert "node-1" in printed.out
    assert printed.err == "Error: rows of N2 are missing: no answer\n"


def test_answers_are_bounded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goal: an endless answer does not fill the memory. How: a limit below the answer."""
    monkeypatch.setattr(link, "COLLECTED_BYTES_MAX", 100)
    with node(lambda _: pieces(stream(), 50)) as fake:
        assert ask(fake, "select 1") == 1
    assert "larger than 100 bytes: ask for less" in capsys.readouterr().err


def test_noise_is_no_answer() -> None:
    """Goal: one line instead of a trace. How: bytes that are not Arrow, and a stream cut short."""
    for noise in (b"noise", stream()[:-200]):
        with pytest.raises(CtlError, match="no readable Arrow stream"):
            read_answer([noise])
    assert read_answer([]).table().columns == ()


def test_other_types_are_shown_too() -> None:
    """Goal: any query can be shown. How: a duration, bytes, a float and a date."""
    columns = {
        "d": pa.array([timedelta(seconds=1.5)], pa.duration("ms")),
        "b": pa.array([b"\xff"]),
        "f": pa.array([0.5]),
        "day": pa.array([MOMENT.date()]),
    }
    sink = pa.BufferOutputStream()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = read_answer([sink.getvalue().to_pybytes()])
    assert answer.rows == (("PT1.5S", "ff", 0.5, "2026-01-02"),)
