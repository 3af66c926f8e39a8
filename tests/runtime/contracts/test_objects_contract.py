"""What every ObjectStore promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from restate_node.runtime.ports import (
    IfAbsent,
    IfMatches,
    ObjectMissing,
    ObjectStore,
    PreconditionFailed,
    PutCondition,
    Unconditional,
)

from .conftest import Bucket

MEBIBYTE = 1024 * 1024


async def pieces(*contents: bytes) -> AsyncGenerator[bytes]:
    for content in contents:
        yield content


async def whole(objects: ObjectStore, key: str) -> bytes:
    async with aclosing(objects.open_read(key)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def keys(objects: ObjectStore, prefix: str) -> list[str]:
    async with aclosing(objects.list_objects(prefix)) as listed:
        return [row.key async for row in listed]


async def test_what_one_puts_another_gets(bucket: Bucket) -> None:
    """Goal: content and etag are the same for all. How: put, get elsewhere, put again, delete."""
    etag = await bucket.objects.put("a/b.json", b"one", Unconditional())
    stored = await bucket.others.get("a/b.json")
    assert stored is not None and (stored.content, stored.etag) == (b"one", etag)
    assert await bucket.others.put("a/b.json", b"two", Unconditional()) != etag
    assert await whole(bucket.objects, "a/b.json") == b"two"
    await bucket.others.delete("a/b.json")
    assert await bucket.objects.get("a/b.json") is None


async def test_what_is_not_there(bucket: Bucket) -> None:
    """Goal: absence is a value or ObjectMissing. How: every way to ask for nothing."""
    assert await bucket.objects.get("none") is None
    await bucket.objects.delete("none/at/all")
    assert await keys(bucket.objects, "none") == []
    with pytest.raises(ObjectMissing):
        await whole(bucket.objects, "none")


CONDITIONS: list[tuple[bool, PutCondition | None, bool]] = [
    (False, IfAbsent(), True),
    (True, IfAbsent(), False),
    (False, IfMatches('"0123456789abcdef0123456789abcdef"'), False),
    (True, IfMatches('"0123456789abcdef0123456789abcdef"'), False),
    (True, None, True),
    (True, Unconditional(), True),
    (False, Unconditional(), True),
]


@pytest.mark.parametrize(("exists", "condition", "accepted"), CONDITIONS)
async def test_conditions(
    bucket: Bucket, exists: bool, condition: PutCondition | None, accepted: bool
) -> None:
    """Goal: a put happens only under its condition. How: a table; None is the present etag."""
    etag = await bucket.objects.put("k", b"old", Unconditional()) if exists else ""
    put = bucket.others.put("k", b"new", condition or IfMatches(etag))
    if accepted:
        await put
    else:
        with pytest.raises(PreconditionFailed):
            await put
    stored = await bucket.objects.get("k")
    assert (stored and stored.content) == (b"new" if accepted else b"old" if exists else None)


async def test_one_racer_wins_each_round(bucket: Bucket) -> None:
    """Goal: compare-and-swap holds under contention. How: rounds of racers from two processes."""

    async def race(racer: int, condition: PutCondition) -> bytes | None:
        objects = (bucket.objects, bucket.others)[racer % 2]
        try:
            await objects.put("k", b"racer %d" % racer, condition)
        except PreconditionFailed:
            return None
        return b"racer %d" % racer

    condition: PutCondition = IfAbsent()
    for _ in range(5):
        results = await asyncio.gather(*(race(racer, condition) for racer in range(8)))
        stored = await bucket.objects.get("k")
        assert stored is not None
        assert [won for won in results if won is not None] == [stored.content]
        condition = IfMatches(stored.etag)
        await bucket.objects.put("k", b"between", condition)
        stored = await bucket.objects.get("k")
        assert stored is not None
        condition = IfMatches(stored.etag)


@pytest.mark.parametrize("size", [0, 1, MEBIBYTE, 5 * MEBIBYTE, 17 * MEBIBYTE + 5])
async def test_uploads_of_every_size(bucket: Bucket, size: int) -> None:
    """Goal: content survives parts and pieces. How: uneven pieces, sizes around those of parts."""
    content = bytes(range(251)) * (size // 251 + 1)
    content, step = content[:size], 3 * MEBIBYTE - 7
    chunks = pieces(*(content[start : start + step] for start in range(0, size, step)))
    await bucket.objects.upload("big/file.sst", chunks)
    assert await whole(bucket.others, "big/file.sst") == content
    listed = [row async for row in bucket.objects.list_objects("big/")]
    assert [(row.key, row.size_bytes) for row in listed] == [("big/file.sst", size)]


@pytest.mark.parametrize("broken_after", [0, 1, 12 * MEBIBYTE])
async def test_a_failed_upload_leaves_nothing(bucket: Bucket, broken_after: int) -> None:
    """Goal: an object is whole or not there. How: a source that fails, before and in parts."""

    async def broken() -> AsyncGenerator[bytes]:
        yield bytes(broken_after)
        raise OSError("the disk of the source failed")

    with pytest.raises(OSError, match="source failed"):
        await bucket.objects.upload("f", broken())
    assert await keys(bucket.others, "") == []


async def test_a_cancelled_upload_leaves_nothing(bucket: Bucket) -> None:
    """Goal: cancellation cleans up. How: a source that stands still after twelve mebibytes."""
    stuck = asyncio.Event()

    async def source() -> AsyncGenerator[bytes]:
        yield bytes(12 * MEBIBYTE)
        stuck.set()
        await asyncio.Event().wait()

    uploading = asyncio.create_task(bucket.objects.upload("f", source()))
    await stuck.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert await keys(bucket.others, "") == []


async def test_an_upload_replaces_at_once(bucket: Bucket) -> None:
    """Goal: readers see the old content until the new is whole. How: look in the middle."""
    await bucket.objects.put("f", b"old", Unconditional())

    async def source() -> AsyncGenerator[bytes]:
        yield b"new "
        assert await whole(bucket.others, "f") == b"old"
        yield b"content"

    await bucket.objects.upload("f", source())
    assert await whole(bucket.others, "f") == b"new content"


async def test_a_read_may_be_left(bucket: Bucket) -> None:
    """Goal: nothing leaks from half a read. How: take one piece of many, close, read again."""
    content = bytes(5 * MEBIBYTE)
    await bucket.objects.upload("f", pieces(content))
    async with aclosing(bucket.others.open_read("f")) as chunks:
        first = await anext(chunks)
    assert 0 < len(first) <= 2 * MEBIBYTE
    assert await whole(bucket.others, "f") == content


async def test_listings_are_complete_and_in_order(bucket: Bucket) -> None:
    """Goal: prefixes of text, in order of keys. How: names that sort unlike directories do."""
    names = ["1/a", "1/b/c", "1-x", "10/a", "1/b.d", "2/a"]
    for name in names:
        await bucket.objects.put(name, b"x", Unconditional())
    assert await keys(bucket.others, "") == sorted(names)
    assert await keys(bucket.others, "1") == sorted(n for n in names if n.startswith("1"))
    assert await keys(bucket.others, "1/") == ["1/a", "1/b.d", "1/b/c"]
    assert await keys(bucket.others, "1/b") == ["1/b.d", "1/b/c"]
    assert await keys(bucket.others, "3/") == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../out", "a/../../out", "a//b", "a/", "."])
async def test_keys_that_lead_nowhere(bucket: Bucket, key: str) -> None:
    """Goal: no key leads out of the store. How: the ways that would, in every method."""
    with pytest.raises(ValueError):
        await bucket.objects.put(key, b"x", Unconditional())
    with pytest.raises(ValueError):
        await bucket.objects.upload(key, pieces(b"x"))
    with pytest.raises(ValueError):
        await bucket.objects.get(key)
    with pytest.raises(ValueError):
        await bucket.objects.delete(key)
    with pytest.raises(ValueError):
        await whole(bucket.objects, key)
