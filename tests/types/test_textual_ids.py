"""Ids and partition keys against what a real cluster returned."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restate_node.types.partition_keys import (
    SERVICE_BUCKETS,
    partition_key_of_bucket,
    partition_key_of_idempotency_key,
    partition_key_of_key,
)
from restate_node.types.textual_ids import (
    IdKind,
    InvocationId,
    fingerprint_text,
    id_text,
    idempotent_uuid,
    parse_id,
    ulid,
    workflow_uuid,
)


def test_derived_ids_match_a_real_server() -> None:
    """Goal: workflow and idempotent ids agree with other implementations. Method: captured ids."""
    greet = InvocationId(
        partition_key_of_idempotency_key("Greeter", "idem1"),
        idempotent_uuid("Greeter", "greet", "idem1"),
    )
    assert str(greet) == "inv_1dKVwq1esFMP0Z3g5RNbe9aswouFDRIBOm"
    workflow = InvocationId(partition_key_of_key("w1"), workflow_uuid("Sig", "w1"))
    assert str(workflow) == "inv_12kpUQONmeFb5aBXL0dDcYRDGTADL8ORjU"


def test_unkeyed_calls_fall_into_a_bucket() -> None:
    """Goal: the formula of calls without any key. Method: a captured id is one of the 512."""
    captured = InvocationId.parse("inv_1amBgxpbyPqB7nrkfDHBrf2egWb6nmphr5")
    keys = {partition_key_of_bucket("Greeter", b) for b in range(SERVICE_BUCKETS)}
    assert captured.partition_key in keys


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("a", "inv_1dceKvwtEc2n1pnbp3RdrrMUqh2Xp7UjKv"),
        ("b", "inv_174rq2A9bm3T46PaxJqFCGxB6IKGR3BGoB"),
        ("c", "inv_1eQGNqArQ5Hz1h8x5Td6K9rSNJWLxw58oN"),
        ("d", "inv_10d9kXKr1zv70WOGu0ygTPHTrMt54Qo2NT"),
        ("e", "inv_1fjka9WBVr2O5CRP3UOOSCa0cVt3z3oHw2"),
    ],
)
def test_object_keys_match_a_real_server(key: str, text: str) -> None:
    """Goal: the partition key of an object is in its invocation ids. Method: captured ids."""
    parsed = InvocationId.parse(text)
    assert (parsed.partition_key, str(parsed)) == (partition_key_of_key(key), text)


def test_single_number_ids() -> None:
    """Goal: snapshot and deployment ids and the fingerprint. Method: captured texts."""
    text = "snap_17op0PXFljudLYovIZXUzrr"
    value = parse_id(IdKind.SNAPSHOT, text)
    assert id_text(IdKind.SNAPSHOT, value) == text
    assert 1_600_000_000_000 < value >> 80 < 2_000_000_000_000
    assert ulid(value >> 80, value & ((1 << 80) - 1)) == value
    assert fingerprint_text(775420053803493514) == "bVpkIPNDo4W"
    assert fingerprint_text(5) == "0qC7BL0mtTa"


@settings(deadline=None)
@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 128) - 1))
def test_invocation_ids_round_trip(key: int, uuid: int) -> None:
    """Goal: no id is lost in text. Method: any pair of numbers."""
    made = InvocationId(key, uuid)
    assert InvocationId.parse(str(made)) == made


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("0aZ_", max_size=33).map(lambda t: "inv_1" + t))
def test_wrong_ids_raise_value_error_only(text: str) -> None:
    """Goal: user input never causes another exception.

    Method: any text; what parses, prints equal.
    """
    try:
        assert str(InvocationId.parse(text)) == text
    except ValueError:
        return


@pytest.mark.parametrize(
    "text", ["dp_1", "snap_1" + "0" * 21, "snap_1" + "-" * 22, "snap_1" + "Z" * 22]
)
def test_refused_ids(text: str) -> None:
    """Goal: prefix, length, alphabet and size are checked. Method: one text for each."""
    with pytest.raises(ValueError):
        parse_id(IdKind.SNAPSHOT, text)
