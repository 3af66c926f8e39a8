"""The operations benchmark: its arguments, its figures, and its yardstick."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.operations import as_json, as_table
from benchmarks.operations_arguments import CASES, STORES, parse
from benchmarks.operations_figures import (
    ReplicationFigures,
    TransferFigures,
    TransferRound,
    TrimFigures,
)
from benchmarks.plain_copy import PlainCopy, plain_copy
from benchmarks.strain import straining


def transfer(seconds: float) -> TransferRound:
    return TransferRound(
        seconds=(seconds, 100.0, seconds / 2),
        plain_seconds=(2.0, 2.0),
        hashed_seconds=(2.5,),
        memory_mb=30.0,
        late_ms=12.0,
        busy_ms=4.0,
        late_beside_plain_ms=9.0,
        appends_alone_per_s=1000.0,
        appends_per_s=800.0,
        appends_beside_plain_per_s=900.0,
        seconds_beside_appends=(8.0,),
        plain_seconds_beside_appends=(4.0,),
    )


SNAPSHOT = TransferFigures(
    "snapshot, s3", 200_000_000, (transfer(2.5), transfer(4.0), transfer(2.0))
)
REPLICATION = ReplicationFigures(8, (1.5, 2.5, 2.0), (0.3, 0.1, 0.2), (0.01, 0.02, 0.03))
TRIM = TrimFigures(1000, 100, 1100, 150, 0.5, 3.0)


def test_arguments() -> None:
    """Goal: everything by default, less on request. How: none, some, nonsense."""
    everything = parse([])
    assert (everything.cases, everything.stores) == (CASES, STORES)
    assert everything.size_bytes == 256 * 1024 * 1024
    some = parse(["--case", "trim", "--records", "10000000", "--store", "file", "--size", "1024"])
    assert (some.cases, some.stores, some.records) == (("trim",), ("file",), 10_000_000)
    assert some.size_bytes == 1 << 30
    for wrong in (["--case", "nothing"], ["--rounds", "0"], ["--size", "x"]):
        with pytest.raises(SystemExit):
            parse(wrong)


def test_figures_are_medians_of_shares() -> None:
    """Goal: the share of each round, then the median. How: three rounds."""
    assert SNAPSHOT.of("share_of_plain") == 0.8
    assert SNAPSHOT.of("share_of_hashed") == 1.0
    assert SNAPSHOT.of("appends_kept") == 0.8
    assert TRIM.share_back == 0.95
    assert TrimFigures(1, 100, 100, 100, 0.1, None).share_back == 0.0


def test_table_and_json() -> None:
    """Goal: each figure beside its floor, and the rounds for programs. How: print them."""
    found = [SNAPSHOT, REPLICATION, TRIM]
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(as_table(found))
    text = console.export_text()
    for expected in (
        "80 % (50–100)",
        "≥ 60 %",
        "25 (25–25) MB/s",
        "100 % of one with SHA-256",
        "2.00 s",
        "200 ms",
        "95 %",
        "≥ 90 %",
        "90 % beside plain",
    ):
        assert expected in text
    snapshot, replication, trim = json.loads(as_json(found))["cases"]
    assert [one["seconds"] for one in snapshot["rounds"]] == [
        [2.5, 100.0, 1.25],
        [4.0, 100.0, 2.0],
        [2.0, 100.0, 1.0],
    ]
    assert replication["reconfigured_s"] == [1.5, 2.5, 2.0]
    assert trim["share_back"] == 0.95


@pytest.mark.parametrize("what", ["copy", "hashed"])
async def test_a_plain_copy_leaves_nothing(tmp_path: Path, what: str) -> None:
    """Goal: a yardstick that may be applied again. How: copy two files, then for some time."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_bytes(name.encode() * 100_000)
    copy = PlainCopy(what, str(source), target)
    (once,) = await plain_copy(copy)
    assert once > 0
    assert len(await plain_copy(copy, 0.5)) > 1
    assert not target.exists()
    assert len(list(source.iterdir())) == 2


async def test_strain_sees_a_block_and_memory() -> None:
    """Goal: what holds the loop is seen. How: compute for a while, and keep some memory."""
    with straining() as strain:
        await asyncio.sleep(0.05)
        kept = bytearray(b"x") * 40_000_000
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        await asyncio.sleep(0.1)
    assert len(kept) == 40_000_000
    assert strain.busy_ms >= 50 and strain.late_ms >= 40
    assert strain.memory_mb >= 30
