"""Batches of opaque records: joined, cut and iterated without decoding one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restate_node.types.records import (
    MalformedBatch,
    RecordBatch,
    check,
    cut,
    iterate,
    join,
    pack,
)

RECORDS = st.lists(st.binary(max_size=8), max_size=8)


@given(RECORDS)
def test_packed_records_come_back(records: list[bytes]) -> None:
    """Goal: what is packed is unpacked, and `check` agrees."""
    batch = pack(records)
    assert batch.records() == records
    assert check(batch)


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_joining_is_concatenation(lists: list[list[bytes]]) -> None:
    """Goal: joined batches hold the records of all, in order."""
    batches = [pack(records) for records in lists]
    joined = join(batches)
    assert joined.records() == [record for records in lists for record in records]


@given(RECORDS, st.integers(0, 9), st.integers(0, 9))
def test_a_cut_is_a_slice(records: list[bytes], skip: int, take: int) -> None:
    """Goal: `cut` means `records[skip:skip+take]`, as far as they exist."""
    if skip <= len(records):
        assert cut(pack(records), skip, take).records() == records[skip : skip + take]


@given(st.binary(max_size=40), st.integers(0, 5))
def test_garbage_is_malformed_and_nothing_else(body: bytes, count: int) -> None:
    """Goal: `check` tells exactly whether `records` works; nothing else is ever raised."""
    batch = RecordBatch(count, body)
    if check(batch):
        assert len(batch.records()) == count
    else:
        with pytest.raises(MalformedBatch):
            batch.records()


@pytest.mark.parametrize("body", [b"\x01", b"\x02\x00\x00\x00a", b"\xff\xff\xff\xffa"])
def test_cut_records_are_noticed(body: bytes) -> None:
    """Goal: a body that ends within a length or a record is malformed."""
    with pytest.raises(MalformedBatch, match="cut off"):
        list(iterate(body))
