"""Replication properties: text forms, order of display, and the rules between scopes."""

from __future__ import annotations

import pytest

from restate_node.types.replication import LocationScope, ReplicationProperty


@pytest.mark.parametrize(
    ("text", "shown", "copies"),
    [
        ("2", "{node: 2}", 2),
        (" 255 ", "{node: 255}", 255),
        ("{node: 2}", "{node: 2}", 2),
        ("{zone: 2, node: 3}", "{node: 3, zone: 2}", 3),
        ("{REGION:1,Zone: 2 , node:  2}", "{node: 2, zone: 2, region: 1}", 2),
        ("{zone: 2}", "{zone: 2}", 2),
    ],
)
def test_parses_and_displays(text: str, shown: str, copies: int) -> None:
    """Goal: every accepted spelling has one canonical form.

    Method: table, and parse what is shown.
    """
    parsed = ReplicationProperty.parse(text)
    assert (str(parsed), parsed.copies) == (shown, copies)
    assert ReplicationProperty.parse(shown) == parsed


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0", "use 1 to 255"),
        ("256", "use 1 to 255"),
        ("-1", "not a replication property"),
        ("", "not a replication property"),
        ("{}", "not a replication property"),
        ("{node 2}", "not a replication property"),
        ("{node: 2", "not a replication property"),
        ("{rack: 2}", "use node, zone or region"),
        ("{node: 2, node: 3}", "names node twice"),
        ("{node: 2, zone: 3}", "lower zone to at most 2"),
        ("9" * 5000, "not a replication property"),
    ],
)
def test_refuses_with_advice(text: str, complaint: str) -> None:
    """Goal: what is not a property is refused with what to do. Method: table of texts."""
    with pytest.raises(ValueError, match=complaint):
        ReplicationProperty.parse(text)


def test_node_factor_is_the_number_of_copies() -> None:
    """Goal: nodes are always a scope of quorums, named or not.

    Method: factors of a zone-only property.
    """
    zones = ReplicationProperty.of({LocationScope.ZONE: 2})
    factors = [zones.factor(scope) for scope in LocationScope]
    assert factors == [2, 2, None]
    assert zones.scopes == {LocationScope.ZONE}
