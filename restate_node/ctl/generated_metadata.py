"""Metadata made of a few numbers, to be looked at, edited and put: chains of logs and partitions.

What a cluster needs it makes by itself when it is provisioned. This is for those who repair one by
hand and want a first draft in the form that `restatectl metadata put` takes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from restate_node.ctl.errors import UsageError
from restate_node.ctl.render import Json, Report
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.logs import Chain, Logs, ReplicatedParams, ReplicatedSegment
from restate_node.types.offsets import OLDEST_LSN
from restate_node.types.partitions import PartitionTable
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.logs import encode_logs
from restate_node.wire.partitions import encode_partition_table
from restate_node.wire.storage_codec import decode_any


def generated_logs(
    version: Version,
    count: int,
    replication: ReplicationProperty,
    nodeset: Sequence[PlainNodeId],
    sequencer: GenerationalNodeId,
) -> Json:
    """So many logs, each with one replicated segment that is empty."""
    chains = {
        LogId(log): Chain((_first_segment(LogId(log), replication, nodeset, sequencer),))
        for log in range(count)
    }
    return decode_any(encode_logs(Logs(version, chains)))


def generated_partitions(version: Version, count: int) -> Json:
    """So many partitions of equal size; UsageError."""
    try:
        table = PartitionTable.equal_ranges(count, ReplicationProperty.of_nodes(1), version)
    except ValueError as error:
        raise UsageError(f"--num-partition: {error}") from None
    return decode_any(encode_partition_table(table))


def as_report(document: Json, pretty: bool) -> Report:
    """On one line unless it is for people."""
    text = json.dumps(document, indent=2) if pretty else json.dumps(document, separators=(",", ":"))
    return Report(document, (text,))


def _first_segment(
    log: LogId,
    replication: ReplicationProperty,
    nodeset: Sequence[PlainNodeId],
    sequencer: GenerationalNodeId,
) -> ReplicatedSegment:
    index = SegmentIndex(0)
    params = ReplicatedParams(loglet_id(log, index), sequencer, replication, tuple(nodeset))
    return ReplicatedSegment(OLDEST_LSN, index, params)
