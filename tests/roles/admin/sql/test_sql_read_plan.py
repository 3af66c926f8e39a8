"""Which partitions a scan asks, as tables."""

from __future__ import annotations

import pytest

from restate_node.roles.admin.sql.read_plan import plan_reads
from restate_node.roles.admin.sql.sources import UNRESTRICTED, Restriction
from restate_node.types.ids import PartitionId
from restate_node.types.introspection import STATE, SYS_INVOCATION
from restate_node.types.invocation_messages import ReadRows
from restate_node.types.invocations import id_text, raw_id
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.partitions import PartitionTable

TABLE = PartitionTable.equal_ranges(4)
LOW, HIGH = raw_id(1, 7), raw_id((1 << 64) - 1, 7)


def partition_of(key: str) -> PartitionId:
    found = TABLE.partition_of(partition_key_of_key(key))
    assert found is not None
    return found.id


def state_of(key: str, service: str | None = None) -> ReadRows:
    return ReadRows(partition_of(key), "state", service=service, key=key)


@pytest.mark.parametrize(
    ("restriction", "reads"),
    [
        (UNRESTRICTED, [ReadRows(PartitionId(p), "state") for p in range(4)]),
        (Restriction(keys=frozenset({"a"})), [state_of("a")]),
        (
            Restriction(keys=frozenset({"a"}), services=frozenset({"Counter"})),
            [state_of("a", "Counter")],
        ),
        (
            Restriction(keys=frozenset({"b", "a"}), services=frozenset({"Counter", "Log"})),
            [state_of("a"), state_of("b")],
        ),
        (
            Restriction(services=frozenset({"Log"})),
            [ReadRows(PartitionId(p), "state", service="Log") for p in range(4)],
        ),
        (
            Restriction(partition_keys=frozenset({1, 2, 1 << 63})),
            [ReadRows(PartitionId(0), "state"), ReadRows(PartitionId(2), "state")],
        ),
        (Restriction(keys=frozenset()), []),
        (Restriction(services=frozenset(), keys=frozenset()), []),
    ],
)
def test_state_is_read_where_its_key_lives(restriction: Restriction, reads: list[ReadRows]) -> None:
    """Goal: a key asks one partition, a service all. How: table."""
    assert plan_reads(STATE, restriction, TABLE) == reads


def test_invocations_are_read_one_by_one() -> None:
    """Goal: an id asks its partition for itself; what is no id asks nobody. How: two and a word."""
    wanted = Restriction(ids=frozenset({id_text(HIGH), "nope", id_text(LOW)}))
    assert plan_reads(SYS_INVOCATION, wanted, TABLE) == [
        ReadRows(PartitionId(0), "sys_invocation", invocation=LOW),
        ReadRows(PartitionId(3), "sys_invocation", invocation=HIGH),
    ]
