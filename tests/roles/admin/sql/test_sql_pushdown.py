"""What a filter says about where rows are: proved, or not used."""

from __future__ import annotations

import pytest

from restate_node.roles.admin.sql.arrow import Expression, pa, pc
from restate_node.roles.admin.sql.arrow_tables import schema_of
from restate_node.roles.admin.sql.pushdown import VALUES_MAX, restriction_of
from restate_node.roles.admin.sql.sources import UNRESTRICTED, Restriction
from restate_node.types.introspection import STATE, SYS_INVOCATION

KEY, SERVICE, PARTITION = (pc.field(n) for n in ("service_key", "service_name", "partition_key"))


def text(value: str) -> Expression:
    return pa.scalar(value, pa.large_string())


def number(value: int) -> Expression:
    return pa.scalar(value, pa.uint64())


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        (text("a") == KEY, {"a"}),
        (text("a") == KEY, {"a"}),
        ((text("a") == KEY) & (pc.field("value_length") > number(3)), {"a"}),
        ((text("a") == KEY) | (text("b") == KEY), {"a", "b"}),
        (KEY.isin([text("a"), text("b")]), {"a", "b"}),
        ((text("a") == KEY) & ((text("a") == KEY) | (text("b") == KEY)), {"a"}),
        ((text("a") == KEY) & (text("b") == KEY), set()),
        ((text("a") <= KEY) & (text("a") >= KEY), {"a"}),
        (text('quote " back \\ line \n tab \t ü') == KEY, {'quote " back \\ line \n tab \t ü'}),
        (text("partition_key == 5") == KEY, {"partition_key == 5"}),
        ((text("a") == KEY) | (text("b") == SERVICE), None),
        ((text("a") == KEY) | KEY.is_null(), None),
        (text("a") != KEY, None),
        (~(text("a") == KEY), None),
        (text("a") < KEY, None),
        (pc.starts_with(KEY, "a"), None),
        (text("a") == SERVICE, None),
        (pc.field("value_utf8") == text("service_key"), None),
    ],
)
def test_keys_are_found(expression: Expression, keys: set[str] | None) -> None:
    """Goal: keys that a filter demands, and none that it does not. How: table; `or`, negations and
    values of other columns must not be taken for demands.
    """
    found = restriction_of(STATE, schema_of(STATE), expression)
    assert found.keys == (None if keys is None else frozenset(keys))
    assert found.partition_keys is None


def test_other_columns_are_found() -> None:
    """Goal: ids, services and partition keys as well. How: one of each; no filter says nothing."""
    schema = schema_of(STATE)
    largest = (1 << 64) - 1
    both = (text("S") == SERVICE) & (number(largest) == PARTITION)
    assert restriction_of(STATE, schema, both) == Restriction(
        services=frozenset({"S"}), partition_keys=frozenset({largest})
    )
    named = pc.field("id") == text("inv_1")
    found = restriction_of(SYS_INVOCATION, schema_of(SYS_INVOCATION), named)
    assert found == Restriction(ids=frozenset({"inv_1"}))
    assert restriction_of(STATE, schema, None) == UNRESTRICTED


def test_too_many_values_are_not_worth_it() -> None:
    """Goal: a scan does not become thousands of calls. How: one value more than the limit."""
    expression = text("0") == KEY
    for value in range(1, VALUES_MAX + 1):
        expression |= text(str(value)) == KEY
    assert restriction_of(STATE, schema_of(STATE), expression).keys is None
