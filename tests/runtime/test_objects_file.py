"""What a directory must be made to do: processes that race, crash, and links that lead away."""

from __future__ import annotations

import asyncio
import fcntl
import json
import multiprocessing
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from restate_node.runtime.ports import (
    IfAbsent,
    IfMatches,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
    Piece,
    PreconditionFailed,
    Unconditional,
)
from restate_node.runtime.real import objects_file
from restate_node.runtime.real.objects import open_objects
from restate_node.runtime.real.objects_file import FileObjects
from restate_node.runtime.real.objects_s3 import S3Objects
from restate_node.types.options import SnapshotOptions

ROUNDS = 40


async def _count_up(directory: str, racer: int) -> None:
    """Append to a list of numbers, by compare-and-swap, so often."""
    objects, done = FileObjects(Path(directory)), 0
    while done < ROUNDS:
        stored = await objects.get("list.json")
        numbers = [] if stored is None else json.loads(stored.content)
        condition = IfAbsent() if stored is None else IfMatches(stored.etag)
        content = json.dumps([*numbers, [racer, done]]).encode()
        try:
            await objects.put("list.json", content, condition)
        except PreconditionFailed:
            continue
        done += 1
    await objects.close()


def _racer(directory: str, racer: int) -> None:
    asyncio.run(_count_up(directory, racer))


def test_processes_that_race(tmp_path: Path) -> None:
    """Goal: no update is lost among processes. How: three append to one list by CAS."""
    spawned = multiprocessing.get_context("spawn")
    racers = [spawned.Process(target=_racer, args=(str(tmp_path), n)) for n in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    numbers = json.loads((tmp_path / "list.json").read_bytes())
    assert sorted(map(tuple, numbers)) == [(n, done) for n in range(3) for done in range(ROUNDS)]


async def test_a_lock_that_is_never_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a stopped process costs a retry, not a thread. How: hold the lock, then let go."""
    monkeypatch.setattr(objects_file, "LOCK_SECONDS_MAX", 0.05)
    objects = FileObjects(tmp_path)
    descriptor = os.open(tmp_path / ".lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ObjectStoreUnavailable, match="locked"):
        await objects.put("k", b"v", Unconditional())
    os.close(descriptor)
    await objects.put("k", b"v", Unconditional())
    assert list((tmp_path / ".uploads").iterdir()) == []
    await objects.close()


async def test_links_do_not_lead_away(tmp_path: Path) -> None:
    """Goal: nothing outside is read, written or removed. How: links to a directory and a file."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "0").symlink_to(outside)
    (root / "1").symlink_to(outside / "secret")
    objects = FileObjects(root)
    for key in ("0/secret", "1"):
        with pytest.raises(ObjectStoreDenied, match="symbolic link"):
            await objects.get(key)
        with pytest.raises(ObjectStoreDenied, match="symbolic link"):
            await objects.put(key, b"x", Unconditional())
    with pytest.raises(ObjectStoreDenied, match="symbolic link"):
        await objects.delete("0/secret")
    assert (outside / "secret").read_bytes() == b"secret"
    await objects.close()


@pytest.mark.parametrize("key", [".lock", ".uploads/x"])
async def test_reserved_keys(tmp_path: Path, key: str) -> None:
    """Goal: the store's own files are nobody's objects. How: ask for them."""
    objects = FileObjects(tmp_path)
    with pytest.raises(ValueError, match="reserved"):
        await objects.put(key, b"x", Unconditional())
    await objects.close()


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """Goal: what is not mounted is not taken for empty. How: every method, no directory."""
    objects = FileObjects(tmp_path / "none")
    with pytest.raises(ObjectStoreDenied, match="create or mount it"):
        await objects.get("k")
    with pytest.raises(ObjectStoreDenied, match="create or mount it"):
        await objects.put("k", b"v", Unconditional())
    with pytest.raises(ObjectStoreDenied, match="create or mount it"):
        await objects.delete("k")
    with pytest.raises(ObjectStoreDenied, match="create or mount it"):
        _ = [row async for row in objects.list_objects("")]
    await objects.close()


async def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    """Goal: torn uploads do not pile up. How: an old one and a young one, then a put."""
    uploads = tmp_path / ".uploads"
    uploads.mkdir()
    for name in ("old", "young"):
        (uploads / name).write_bytes(b"half")
    os.utime(uploads / "old", (1, 1))
    objects = FileObjects(tmp_path)
    await objects.put("0/k", b"v", Unconditional())
    assert [left.name for left in uploads.iterdir()] == ["young"]
    assert [row.key async for row in objects.list_objects("")] == ["0/k"]
    await objects.delete("0/k")
    assert not (tmp_path / "0").exists()
    await objects.close()


async def test_a_cancelled_read_closes_its_file(tmp_path: Path) -> None:
    """Goal: no descriptor leaks, none is closed under a thread. How: cancel readers, count."""
    objects = FileObjects(tmp_path)
    await objects.upload("k", (bytes(1 << 20) for _ in range(40)))
    started, loop = asyncio.Event(), asyncio.get_running_loop()

    def take(piece: Piece) -> None:
        loop.call_soon_threadsafe(started.set)

    before = len(os.listdir("/proc/self/fd"))
    readers = [asyncio.create_task(objects.download("k", take)) for _ in range(20)]
    await started.wait()
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert len(os.listdir("/proc/self/fd")) == before
    await objects.close()


async def test_the_store_that_the_options_name(tmp_path: Path) -> None:
    """Goal: destination and prefix lead to a store. How: each kind, none, and a contradiction."""
    dice = random.Random(1)
    assert open_objects(SnapshotOptions(), dice) is None
    for destination, kind, prefix in (
        (f"file://{tmp_path}", FileObjects, ""),
        ("s3://bucket/pre/fix", S3Objects, "pre/fix"),
    ):
        opened = open_objects(SnapshotOptions(destination=destination), dice)
        assert opened is not None
        assert (type(opened[0]), opened[1]) == (kind, prefix)
        await opened[0].close()
    bad = SnapshotOptions(destination="s3://bucket", aws_endpoint_url="http://minio:9000")
    with pytest.raises(ValueError, match="aws-allow-http"):
        open_objects(bad, dice)
    assert open_objects(replace(bad, aws_allow_http=True), dice) is not None
