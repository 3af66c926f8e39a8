"""What the append benchmark prints: table, JSON, plot."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks.cases import find
from benchmarks.failover import FailOver
from benchmarks.measurement import Figures, Round
from benchmarks.plot import HEIGHT, WIDTH, Point, draw
from benchmarks.report import (
    Report,
    append_row,
    as_json,
    as_table,
    failover_row,
    idle_row,
    print_table,
)

SVG = "{http://www.w3.org/2000/svg}"


def measured() -> Report:
    """A report with a row of each kind."""
    one = Round(100_000, 128, 2.0, 1.25, 7.5, 0, 1000.0, 0.25, 1.5)
    report = Report("three nodes")
    report.add(find("single"), append_row(Figures("single", 1, 1, 128, (one,))))
    report.add(find("1024"), append_row(Figures("1024", 1024, 1, 128, (one,))))
    report.add(find("idle"), idle_row(81.4, 1.96))
    found = [FailOver(0.03, 1.2), FailOver(0.02, 1.0), FailOver(0.05, 2.0)]
    report.add(find("failover"), failover_row(found))
    report.sweep.append(Point(1, 700.4))
    return report


def test_table_shows_figures_beside_floors() -> None:
    """Goal: a reader sees case, figures, ratio and floor on one line. Method: render, look."""
    output = io.StringIO()
    print_table(as_table(measured()), Console(file=output))
    lines = {
        line.split("│")[1].strip(): line for line in output.getvalue().splitlines() if "│" in line
    }
    for part in ("50,000", "1.25", "7.50", "5.0 × latency", "1.50", "p50 ≤ 2.5 ms"):
        assert part in lines["append, 1 in flight"]
    assert "50.0 × rate" in lines["append, 1024 in flight"]
    assert "81 MB" in lines["idle node"]
    assert "2.0 %" in lines["idle node"]
    assert "1,200" in lines["leader killed → next append"]


def test_json_holds_every_case() -> None:
    """Goal: programs get the medians, the rounds and the host. Method: parse it again."""
    content = json.loads(as_json(measured()))
    single, busy, idle, failover = content["cases"]
    assert single["p50_ms"] == 1.25
    assert single["latency_per_raw_sync"] == 5.0
    assert busy["rounds_records_per_s"] == [50_000]
    assert idle == {"case": "idle", "resident_mb": 81.4, "processor_percent": 1.96}
    assert failover["seconds"] == 1.2
    assert failover["log_seconds"] == 0.03
    assert content["sweep"] == [{"in_flight": 1, "records_per_s": 700}]
    assert set(content["host"]) >= {"processor", "python"}


@pytest.mark.parametrize(
    "points",
    [
        [Point(1, 700)],
        [Point(1, 1.0), Point(10, 1.0)],
        [Point(1, 640), Point(64, 21_000), Point(1024, 114_997), Point(4096, 250_000)],
    ],
)
def test_plot_is_well_formed_and_on_the_paper(points: list[Point]) -> None:
    """Goal: a valid SVG with one dot per point, inside the drawing. Method: parse it as XML."""
    root = ElementTree.fromstring(draw(points, "2 copies & <fsync>"))
    dots = root.findall(f"{SVG}circle")
    assert len(dots) == len(points)
    for dot in dots:
        assert 0 <= float(dot.attrib["cx"]) <= WIDTH
        assert 0 <= float(dot.attrib["cy"]) <= HEIGHT
    texts = [text.text for text in root.findall(f"{SVG}text")]
    assert "2 copies & <fsync>" in texts
    assert all(f"{point.records_per_s:,.0f}" in texts for point in points)


def test_plot_rises_with_the_rate() -> None:
    """Goal: more records lie higher, more appends in flight further right. Method: two points."""
    root = ElementTree.fromstring(draw([Point(1, 100), Point(64, 10_000)], ""))
    slow, fast = root.findall(f"{SVG}circle")
    assert float(fast.attrib["cy"]) < float(slow.attrib["cy"])
    assert float(fast.attrib["cx"]) > float(slow.attrib["cx"])


def test_plot_needs_something_to_draw() -> None:
    """Goal: a run without results is an error with a reason. Method: no usable point."""
    with pytest.raises(ValueError, match="at least one record per second"):
        draw([Point(1, 0.0)], "")
