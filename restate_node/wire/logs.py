"""The chains of the logs as bytes.

The parameters of a segment are JSON *inside a string*, and differ in form from the rest: the
sequencer is the text `N1:6`, the replication a map `{"node": 2}`; in the configuration it is the
text `{node: 2}`. Other readers refuse any mixture. Logs are listed as `[id, chain]` pairs,
segments as `[base LSN, segment]` pairs by ascending LSN.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    LogletId,
    PlainNodeId,
    SegmentIndex,
    Version,
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
    Segment,
)
from restate_node.types.offsets import Lsn
from restate_node.types.replication import LocationScope, ReplicationProperty
from restate_node.wire.storage_codec import U32, U63, decode_object, decode_text, encode_shape, u64


class _ReplicatedParams(msgspec.Struct):
    loglet_id: int
    sequencer: str
    replication: dict[LocationScope, int]
    nodeset: list[U32]


class _SealParams(msgspec.Struct):
    sealed_at: U63
    context: dict[str, str] | UnsetType = UNSET
    tail_ts: U63 | None = None
    permanent_seal: bool | UnsetType = UNSET


class _Segment(msgspec.Struct):
    kind: Literal["local", "in-memory", "replicated", "sealed"]
    params: str
    index: U32 = 0
    created_at: U63 | None = None


class _Chain(msgspec.Struct):
    chain: list[tuple[U63, _Segment]]


class _ReplicatedProvider(msgspec.Struct):
    replication_property: str
    target_nodeset_size: U32 = 0


class _Replicated(msgspec.Struct):
    replicated: _ReplicatedProvider


class _Configuration(msgspec.Struct):
    default_provider: Literal["local", "in-memory"] | _Replicated


class _Logs(msgspec.Struct):
    version: U32
    logs: list[tuple[U32, _Chain]]
    config: _Configuration | None = None
    modified_at: U63 | None = None


def decode_logs(data: bytes) -> Logs:
    """From either encoding; CodecError if it is not one."""
    return decode_object(data, _Logs, _build_logs)


def encode_logs(logs: Logs) -> bytes:
    """The JSON frame."""
    return encode_shape(
        _Logs(
            version=logs.version,
            logs=[(log, _chain_shape(chain)) for log, chain in logs.chains.items()],
            config=_Configuration(_provider_shape(logs.configuration)),
            modified_at=logs.modified_at,
        )
    )


def decode_chain(data: bytes) -> Chain:
    """One chain by itself, as `logs describe` receives it."""
    return decode_object(data, _Chain, _build_chain)


def encode_chain(chain: Chain) -> bytes:
    """One chain by itself, as `logs describe` receives it."""
    return encode_shape(_chain_shape(chain))


def decode_replicated_params(text: str) -> ReplicatedParams:
    """The JSON text of a replicated segment; CodecError if it is not one."""
    return decode_text(text, _ReplicatedParams, _build_params)


def encode_params(segment: Segment) -> str:
    """The parameter text of any segment."""
    match segment:
        case ReplicatedSegment():
            return msgspec.json.encode(_params_shape(segment.params)).decode()
        case InMemorySegment():
            return str(segment.loglet_id)
        case SealMarker():
            return msgspec.json.encode(_seal_shape(segment)).decode()


def _build_logs(shape: _Logs) -> Logs:
    chains = {LogId(log): _build_chain(chain) for log, chain in shape.logs}
    return Logs(
        version=Version(shape.version),
        chains=chains,
        configuration=_build_configuration(shape.config, list(chains.values())),
        modified_at=shape.modified_at,
    )


def _build_configuration(
    shape: _Configuration | None, chains: list[Chain]
) -> ProviderConfiguration:
    if shape is None:
        replicated = any(chain.replicated for chain in chains)
        copies, size = (2, 0) if replicated else (1, 1)
        return ProviderConfiguration(
            ProviderKind.REPLICATED, ReplicationProperty.of_nodes(copies), size
        )
    provider = shape.default_provider
    if isinstance(provider, _Replicated):
        return ProviderConfiguration(
            ProviderKind.REPLICATED,
            ReplicationProperty.parse(provider.replicated.replication_property),
            provider.replicated.target_nodeset_size,
        )
    return ProviderConfiguration(ProviderKind(provider))


def _provider_shape(
    configuration: ProviderConfiguration,
) -> Literal["local", "in-memory"] | _Replicated:
    match configuration.kind:
        case ProviderKind.LOCAL:
            return "local"
        case ProviderKind.IN_MEMORY:
            return "in-memory"
        case ProviderKind.REPLICATED:
            return _Replicated(
                _ReplicatedProvider(
                    str(configuration.replication), configuration.target_nodeset_size
                )
            )


def _build_chain(shape: _Chain) -> Chain:
    return Chain(tuple(_build_segment(Lsn(base), segment) for base, segment in shape.chain))


def _chain_shape(chain: Chain) -> _Chain:
    return _Chain([(segment.base_lsn, _segment_shape(segment)) for segment in chain.segments])


def _build_segment(base: Lsn, shape: _Segment) -> Segment:
    index = SegmentIndex(shape.index)
    if shape.kind == "replicated":
        params = decode_replicated_params(shape.params)
        return ReplicatedSegment(base, index, params, shape.created_at)
    if shape.kind == "sealed":
        return decode_text(
            shape.params, _SealParams, lambda seal: _build_seal(base, index, seal, shape)
        )
    if not (shape.params.isascii() and shape.params.isdecimal() and len(shape.params) <= 20):
        raise ValueError(f"parameters of a {shape.kind} segment are {shape.params[:32]!r}")
    kind = ProviderKind(shape.kind)
    return InMemorySegment(base, index, u64(int(shape.params)), kind, shape.created_at)


def _segment_shape(segment: Segment) -> _Segment:
    kind: Literal["local", "in-memory", "replicated", "sealed"]
    match segment:
        case ReplicatedSegment():
            kind = "replicated"
        case InMemorySegment():
            kind = "local" if segment.kind is ProviderKind.LOCAL else "in-memory"
        case SealMarker():
            kind = "sealed"
    return _Segment(kind, encode_params(segment), segment.index, segment.created_at)


def _build_params(shape: _ReplicatedParams) -> ReplicatedParams:
    return ReplicatedParams(
        loglet_id=LogletId(u64(shape.loglet_id)),
        sequencer=GenerationalNodeId.parse(shape.sequencer),
        replication=ReplicationProperty.of(shape.replication),
        nodeset=tuple(PlainNodeId(node) for node in shape.nodeset),
    )


def _params_shape(params: ReplicatedParams) -> _ReplicatedParams:
    return _ReplicatedParams(
        loglet_id=params.loglet_id,
        sequencer=str(params.sequencer),
        replication=dict(params.replication.factors),
        nodeset=list(params.nodeset),
    )


def _build_seal(
    base: Lsn, index: SegmentIndex, params: _SealParams, segment: _Segment
) -> SealMarker:
    return SealMarker(
        base_lsn=base,
        index=index,
        sealed_at=params.sealed_at,
        context=params.context or {},
        tail_timestamp=params.tail_ts,
        permanent=params.permanent_seal or False,
        created_at=segment.created_at,
    )


def _seal_shape(marker: SealMarker) -> _SealParams:
    return _SealParams(
        sealed_at=marker.sealed_at,
        context=dict(marker.context) or UNSET,
        tail_ts=marker.tail_timestamp,
        permanent_seal=marker.permanent or UNSET,
    )
