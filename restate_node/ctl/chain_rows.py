"""Segments and the configuration of new ones, as cells, lines and JSON."""

from __future__ import annotations

from restate_node.ctl.render import CellLike, Json
from restate_node.ctl.times import TimeStyle, iso8601
from restate_node.types.ids import PlainNodeId, loglet_text, plain_text
from restate_node.types.logs import (
    Chain,
    InMemorySegment,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedSegment,
    SealMarker,
    Segment,
)

HLC_EPOCH_MS = 1_640_995_200_000
HLC_LOGICAL_BITS = 22
"""A hybrid timestamp is milliseconds since 2022 above a counter of so many bits."""

NOT_APPLICABLE = "N/A"
UNKNOWN_MOMENT = "--"


def provider_lines(configuration: ProviderConfiguration) -> tuple[str, ...]:
    """The indented lines that stand below a title."""
    lines = (f" Logs Provider: {configuration.kind.value}",)
    if configuration.kind is not ProviderKind.REPLICATED:
        return lines
    return (
        *lines,
        f" Log replication: {configuration.replication}",
        f" Nodeset size: {configuration.target_nodeset_size}",
    )


def provider_document(configuration: ProviderConfiguration) -> Json:
    """The same as JSON; what only replicated logs have is null for others."""
    replicated = configuration.kind is ProviderKind.REPLICATED
    return {
        "provider": configuration.kind.value,
        "replication": str(configuration.replication) if replicated else None,
        "target_nodeset_size": configuration.target_nodeset_size if replicated else None,
    }


def nodeset_text(nodes: tuple[PlainNodeId, ...]) -> str:
    """`[N1, N2, N3]`, by id."""
    return f"[{', '.join(plain_text(node) for node in sorted(nodes))}]"


def chain_cells(chain: Chain) -> tuple[CellLike, ...]:
    """From LSN, kind, loglet, replication, sequencer and nodeset of the newest segment."""
    return _cells(chain.tail)


def segment_cells(segment: Segment, times: TimeStyle) -> tuple[CellLike, ...]:
    """The same of any segment, and when it was made."""
    match segment:
        case SealMarker():
            context = ", ".join(f"{key}={value}" for key, value in sorted(segment.context.items()))
            moment = f"Sealed {times.moment(segment.sealed_at)}"
            return (*_cells(segment), f"{moment} {context}".rstrip())
        case ReplicatedSegment() | InMemorySegment():
            created = hlc_unix_ms(segment.created_at)
            return (*_cells(segment), times.moment(created) if created else UNKNOWN_MOMENT)


def segment_document(segment: Segment) -> dict[str, Json]:
    """A segment as JSON; what its kind does not have is null."""
    created = hlc_unix_ms(segment.created_at)
    common: dict[str, Json] = {
        "index": segment.index,
        "from_lsn": segment.base_lsn,
        "created_at": iso8601(created) if created else None,
    }
    match segment:
        case ReplicatedSegment():
            params = segment.params
            return common | {
                "kind": "replicated",
                "loglet_id": loglet_text(params.loglet_id),
                "replication": str(params.replication),
                "sequencer": str(params.sequencer),
                "nodeset": [plain_text(node) for node in sorted(params.nodeset)],
            }
        case InMemorySegment():
            return common | _without_nodes(segment.kind.value, str(segment.loglet_id))
        case SealMarker():
            return common | _without_nodes("sealed", None)


def hlc_unix_ms(timestamp: int | None) -> int | None:
    """Milliseconds since 1970 of a hybrid timestamp."""
    return None if not timestamp else (timestamp >> HLC_LOGICAL_BITS) + HLC_EPOCH_MS


def _cells(segment: Segment) -> tuple[CellLike, ...]:
    match segment:
        case ReplicatedSegment():
            params = segment.params
            return (
                segment.base_lsn,
                "Replicated",
                loglet_text(params.loglet_id),
                str(params.replication),
                str(params.sequencer),
                nodeset_text(params.nodeset),
            )
        case InMemorySegment():
            kind = "Local" if segment.kind is ProviderKind.LOCAL else "InMemory"
            return (segment.base_lsn, kind, str(segment.loglet_id), *(NOT_APPLICABLE,) * 3)
        case SealMarker():
            return (segment.base_lsn, "Sealed", *(NOT_APPLICABLE,) * 4)


def _without_nodes(kind: str, loglet: str | None) -> dict[str, Json]:
    return {
        "kind": kind,
        "loglet_id": loglet,
        "replication": None,
        "sequencer": None,
        "nodeset": None,
    }
