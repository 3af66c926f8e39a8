"""One loglet as its log servers see it: tails, and which record is where.

A digest has a line per *run* of offsets with the same picture, so that a million records are a
few lines:

    OFFSETS  N1  N2  N3  ISSUES
    1-10     T   T   T
    11-38    X   X
    39       X   ?       under-replicated: 1 of 2 copies

    X exists · A archived · T trimmed · blank: not there · ? the node does not say
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from restate_node.ctl.errors import CtlError
from restate_node.ctl.render import Cell, CellLike, Json, Style, Table
from restate_node.types.ids import PlainNodeId, loglet_text, plain_text
from restate_node.types.logs import Logs, ReplicatedParams, ReplicatedSegment
from restate_node.wire.pb.log_server_common_pb2 import (
    Digest,
    LogletInfo,
    RecordStatus,
    Status,
)

UNKNOWN = "?"
MISSING = ""
INFO_COLUMNS = ("NODE", "LOCAL-TAIL", "GLOBAL-TAIL", "TRIM-POINT", "SEALED")

_SYMBOLS = {RecordStatus.EXISTS: "X", RecordStatus.ARCHIVED: "A", RecordStatus.TRIMMED: "T"}

Infos = Mapping[PlainNodeId, "LogletInfo | CtlError"]
Digests = Mapping[PlainNodeId, "Digest | CtlError"]


@dataclass(frozen=True, slots=True)
class Found:
    """A loglet and where the chains use it."""

    params: ReplicatedParams
    log: int
    segment: int


@dataclass(frozen=True, slots=True)
class Run:
    """Offsets from first to last with the same picture on every node."""

    first: int
    last: int
    symbols: tuple[str, ...]

    @property
    def text(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def issue(self, copies: int) -> str | None:
        """What is wrong with these records; None if nothing is, or it cannot be told."""
        if "T" in self.symbols:
            return None
        there = sum(symbol in ("X", "A") for symbol in self.symbols)
        if there >= copies or there + self.symbols.count(UNKNOWN) >= copies:
            return None
        return f"under-replicated: {there} of {copies} copies" if there else "missing"


def find_loglet(loglet: int, logs: Logs) -> Found:
    """The segment that is this loglet; CtlError if there is none."""
    for log, chain in sorted(logs.chains.items()):
        for segment in chain.segments:
            if isinstance(segment, ReplicatedSegment) and segment.params.loglet_id == loglet:
                return Found(segment.params, log, segment.index)
    shown = f"{loglet >> 32}_{loglet & 0xFFFF_FFFF}"
    raise CtlError(f"loglet {shown} not found: see `restatectl logs describe`")


def loglet_lines(found: Found, observed_tail: int | None = None) -> tuple[str, ...]:
    """What the metadata says of it."""
    params = found.params
    nodes = ", ".join(plain_text(node) for node in sorted(params.nodeset))
    values = {
        "Loglet Id": f"{loglet_text(params.loglet_id)} (raw={params.loglet_id})",
        "Used in": f"LogId={found.log} at Segment={found.segment}",
        "Sequencer": str(params.sequencer),
        "Replication": str(params.replication),
        "Nodeset": f"[{nodes}]",
    }
    if observed_tail is not None:
        values["Observed Global Tail"] = str(observed_tail)
    width = max(len(name) for name in values) + 1
    return tuple(f"{name + ':':<{width}}  {value}" for name, value in values.items())


def loglet_document(found: Found) -> dict[str, Json]:
    """The same as JSON."""
    params = found.params
    return {
        "loglet_id": loglet_text(params.loglet_id),
        "raw": params.loglet_id,
        "log": found.log,
        "segment": found.segment,
        "sequencer": str(params.sequencer),
        "replication": str(params.replication),
        "nodeset": [plain_text(node) for node in sorted(params.nodeset)],
    }


def info_table(infos: Infos) -> Table:
    """A row per node of the nodeset."""
    return Table(INFO_COLUMNS, tuple(_info_row(node, infos[node]) for node in sorted(infos)))


def info_documents(infos: Infos) -> list[Json]:
    """The same as JSON; numbers are null for a node that did not answer."""
    documents: list[Json] = []
    for node, info in sorted(infos.items()):
        answer = None if isinstance(info, CtlError) else info
        documents.append(
            {
                "node": plain_text(node),
                "local_tail": answer.header.local_tail if answer else None,
                "global_tail": answer.header.known_global_tail if answer else None,
                "trim_point": answer.trim_point if answer else None,
                "sealed": answer.header.sealed if answer else None,
                "error": str(info) if isinstance(info, CtlError) else None,
            }
        )
    return documents


def checked_info(info: LogletInfo) -> LogletInfo:
    """CtlError unless the log server could say."""
    if info.header.status != Status.OK:
        raise CtlError(f"the log server answers {Status.Name(info.header.status)}")
    return info


def offset_range(infos: Infos, first: int | None, last: int | None) -> range:
    """The offsets worth asking for: between the trim points and the local tails."""
    answered = [info for info in infos.values() if not isinstance(info, CtlError)]
    if not answered:
        return range(0)
    lowest = min(info.trim_point for info in answered) + 1
    highest = max(info.header.local_tail for info in answered) - 1
    return range(max(lowest, first or 0), min(highest, last or highest) + 1)


def runs_of(digests: Digests, offsets: range) -> list[Run]:
    """The picture of these offsets, in runs."""
    if not offsets:
        return []
    starts = {offsets.start, offsets.stop}
    for digest in digests.values():
        if not isinstance(digest, CtlError):
            starts |= {entry.from_offset for entry in digest.entries}
            starts |= {entry.to_offset + 1 for entry in digest.entries}
    lookups = [_Lookup(digests[node]) for node in sorted(digests)]
    runs: list[Run] = []
    for first, after in pairwise(sorted(start for start in starts if start in _closed(offsets))):
        symbols = tuple(lookup.at(first) for lookup in lookups)
        if runs and runs[-1].symbols == symbols:
            runs[-1] = Run(runs[-1].first, after - 1, symbols)
        else:
            runs.append(Run(first, after - 1, symbols))
    return runs


def digest_table(
    runs: Sequence[Run], infos: Infos, copies: int, *, only_issues: bool = False
) -> Table:
    """The runs, then the tails of each node."""
    nodes = sorted(infos)
    columns = ("OFFSETS", *(plain_text(node) for node in nodes), "ISSUES")
    shown = [run for run in runs if not only_issues or run.issue(copies)]
    rows: list[tuple[CellLike, ...]] = [
        (run.text, *run.symbols, Cell(run.issue(copies) or "", Style.BAD)) for run in shown
    ]
    rule = tuple("═" * 9 for _ in range(len(nodes) + 1))
    rows.append((*rule, ""))
    for title, index in (("LOCAL TAIL", 1), ("GLOBAL TAIL", 2), ("TRIM POINT", 3)):
        rows.append((title, *(_info_row(node, infos[node])[index] for node in nodes), ""))
    return Table(columns, tuple(rows))


def run_documents(runs: Sequence[Run], nodes: Sequence[PlainNodeId], copies: int) -> list[Json]:
    """The runs as JSON."""
    names = {"X": "exists", "A": "archived", "T": "trimmed", UNKNOWN: None, MISSING: "missing"}
    return [
        {
            "from_offset": run.first,
            "to_offset": run.last,
            "nodes": {
                plain_text(node): names[symbol]
                for node, symbol in zip(sorted(nodes), run.symbols, strict=True)
            },
            "issue": run.issue(copies),
        }
        for run in runs
    ]


class _Lookup:
    """Symbols of one node by ascending offset."""

    def __init__(self, digest: Digest | CtlError) -> None:
        self._known = not isinstance(digest, CtlError)
        self._entries = (
            []
            if isinstance(digest, CtlError)
            else sorted((e.from_offset, e.to_offset, e.status) for e in digest.entries)
        )
        self._next = 0

    def at(self, offset: int) -> str:
        """The symbol there; offsets MUST ascend from call to call."""
        if not self._known:
            return UNKNOWN
        while self._next < len(self._entries) and self._entries[self._next][1] < offset:
            self._next += 1
        if self._next == len(self._entries) or self._entries[self._next][0] > offset:
            return MISSING
        return _SYMBOLS.get(self._entries[self._next][2], UNKNOWN)


def _closed(offsets: range) -> range:
    return range(offsets.start, offsets.stop + 1)


def _info_row(node: PlainNodeId, info: LogletInfo | CtlError) -> tuple[CellLike, ...]:
    if isinstance(info, CtlError):
        return (plain_text(node), *(Cell(UNKNOWN, Style.BAD),) * 4)
    return (
        plain_text(node),
        info.header.local_tail,
        info.header.known_global_tail,
        info.trim_point,
        "YES" if info.header.sealed else "NO",
    )
