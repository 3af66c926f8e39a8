"""What every ObjectStore promises."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from restate_node.runtime.ports import (
    IfAbsent,
    IfMatches,
    ObjectMissing,
    ObjectStore,
    Piece,
    Pieces,
    PreconditionFailed,
    PutCondition,
    Unconditional,
)

from .conftest import Bucket

MEBIBYTE = 1024 * 1024


def pieces(*contents: bytes) -> Pieces:
    """From one buffer, which is used again: a store that keeps a piece gets another one's bytes."""
    buffer = bytearray(max(map(len, contents), default=0))
    for content in contents:
        buffer[: len(content)] = content
        yield memoryview(buffer)[: len(content)]


async def whole(objects: ObjectStore, key: str) -> bytes:
    content = bytearray()
    await objects.download(key, content.extend)
    return bytes(content)


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

    def broken() -> Pieces:
        yield bytes(broken_after)
        raise OSError("the disk of the source failed")

    with pytest.raises(OSError, match="source failed"):
        await bucket.objects.upload("f", broken())
    assert await keys(bucket.others, "") == []


async def test_a_cancelled_upload_leaves_nothing(bucket: Bucket) -> None:
    """Goal: cancellation cleans up, and lets the source alone. How: cancel while it yields, and
    close it at once.
    """
    flowing, loop = asyncio.Event(), asyncio.get_running_loop()

    def source() -> Pieces:
        for number in range(100):
            yield bytes(MEBIBYTE)
            if number == 12:
                loop.call_soon_threadsafe(flowing.set)

    content = source()
    uploading = asyncio.create_task(bucket.objects.upload("f", content))
    await flowing.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    content.close()
    assert await keys(bucket.others, "") == []


async def test_an_upload_replaces_at_once(bucket: Bucket) -> None:
    """Goal: readers see the old content until the new is whole. How: look all the time."""
    old, new = b"old", bytes(9 * MEBIBYTE)
    await bucket.objects.put("f", old, Unconditional())
    content = pieces(*(new[start : start + MEBIBYTE] for start in range(0, len(new), MEBIBYTE)))
    uploading = asyncio.create_task(bucket.objects.upload("f", content))
    seen = {old}
    while not uploading.done():
        seen.add(await whole(bucket.others, "f"))
    await uploading
    assert seen <= {old, new}
    assert await whole(bucket.others, "f") == new


async def test_a_read_may_be_left(bucket: Bucket) -> None:
    """Goal: what `write` raises ends the read, and nothing leaks. How: one piece of many, again."""
    content, taken = bytes(5 * MEBIBYTE), bytearray()
    await bucket.objects.upload("f", pieces(content))

    def take_one(piece: Piece) -> None:
        if taken:
            raise RuntimeError("enough")
        taken.extend(piece)

    with pytest.raises(RuntimeError, match="enough"):
        await bucket.others.download("f", take_one)
    assert 0 < len(taken) <= 2 * MEBIBYTE
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
