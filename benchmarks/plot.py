"""Throughput over concurrency as a hand-made SVG: two logarithmic axes, one line, its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 90, 30, 60, 60

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .note { fill: #57606a }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .line { fill: none; stroke: #0969da; stroke-width: 2.5 }
  .dot { fill: #0969da }
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement."""

    in_flight: int
    records_per_s: float


@dataclass(frozen=True, slots=True)
class _Axis:
    """Decades of a logarithmic axis, and where they lie on the paper."""

    low: int
    high: int
    start: float
    end: float

    @staticmethod
    def over(values: Sequence[float], start: float, end: float) -> _Axis:
        low = floor(log10(min(values)))
        return _Axis(low, max(low + 1, ceil(log10(max(values)))), start, end)

    def at(self, value: float) -> float:
        share = (log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def decades(self) -> list[int]:
        return [10**power for power in range(self.low, self.high + 1)]


def draw(points: Sequence[Point], note: str) -> str:
    """An SVG document; ValueError when there is nothing to draw."""
    drawn = [point for point in points if point.in_flight > 0 and point.records_per_s >= 1]
    if not drawn:
        raise ValueError("no point has a rate of at least one record per second")
    across = _Axis.over([point.in_flight for point in drawn], LEFT, WIDTH - RIGHT)
    up = _Axis.over([point.records_per_s for point in drawn], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 26, "Records per second over appends in flight", "title"),
        _text(LEFT, 46, note, "note"),
        *_grid(across, up),
        *_line(drawn, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(across: _Axis, up: _Axis) -> list[str]:
    parts: list[str] = []
    for value in across.decades:
        x = across.at(value)
        parts.append(_rule(x, TOP, x, HEIGHT - BOTTOM))
        parts.append(_text(x, HEIGHT - BOTTOM + 20, f"{value:,}", anchor="middle"))
    for value in up.decades:
        y = up.at(value)
        parts.append(_rule(LEFT, y, WIDTH - RIGHT, y))
        parts.append(_text(LEFT - 8, y + 4, f"{value:,}", anchor="end"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 16, "appends in flight", "note", "middle"))
    return parts


def _line(points: Sequence[Point], across: _Axis, up: _Axis) -> list[str]:
    places = [(across.at(point.in_flight), up.at(point.records_per_s)) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline class="line" points="{path}"/>']
    for (x, y), point in zip(places, points, strict=True):
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(_text(x, y - 10, f"{point.records_per_s:,.0f}", anchor="middle"))
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'
