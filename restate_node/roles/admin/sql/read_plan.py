"""Which partitions a scan must ask, and for what.

    id = 'inv_1…'            the partition of that id, for that invocation
    service_key = 'mine'     the partition of that key, for that key
    partition_key = 7        the partition of that key
    nothing of the kind      every partition

Decided purely, for each scan anew, since the partition table is the one of the moment.
"""

from __future__ import annotations

from collections.abc import Iterable

from restate_node.roles.admin.sql.sources import Restriction
from restate_node.types.ids import PartitionId
from restate_node.types.introspection import Table
from restate_node.types.invocation_messages import ReadRows
from restate_node.types.invocations import RawInvocationId, parse_id_text, partition_key_of_id
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.partitions import PartitionTable


def plan_reads(
    table: Table, restriction: Restriction, partitions: PartitionTable
) -> list[ReadRows]:
    """First pages to ask for, by partition; together they hold every row that counts."""
    service = _only(restriction.services)
    if restriction.ids is not None:
        found = _invocations(restriction.ids)
        return [
            ReadRows(partition, table.name, invocation=invocation)
            for invocation in found
            for partition in _partitions_of([partition_key_of_id(invocation)], partitions)
        ]
    if restriction.keys is not None:
        return [
            ReadRows(partition, table.name, service=service, key=key)
            for key in sorted(restriction.keys)
            for partition in _partitions_of([partition_key_of_key(key)], partitions)
        ]
    wanted = sorted(partitions.partitions)
    if restriction.partition_keys is not None:
        wanted = _partitions_of(restriction.partition_keys, partitions)
    return [ReadRows(partition, table.name, service=service) for partition in wanted]


def _invocations(texts: Iterable[str]) -> list[RawInvocationId]:
    """What is no id is the id of no row."""
    found: set[RawInvocationId] = set()
    for text in texts:
        try:
            found.add(parse_id_text(text))
        except ValueError:
            continue
    return sorted(found)


def _partitions_of(keys: Iterable[int], partitions: PartitionTable) -> list[PartitionId]:
    found = (partitions.partition_of(key) for key in keys)
    return sorted({partition.id for partition in found if partition is not None})


def _only(values: frozenset[str] | None) -> str | None:
    """One service can be asked for, several cannot."""
    return next(iter(values)) if values is not None and len(values) == 1 else None
