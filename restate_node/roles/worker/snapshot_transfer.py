"""The files of one snapshot, from a directory to the object store and back, counted and hashed.

    SnapshotSource.read, SHA-256 ─▶ count ─▶ ObjectStore.upload
    ObjectStore.open_read ─▶ count ─▶ SHA-256, SnapshotTarget.write

Digests are taken of the very pieces that go to the other side, while they go: nothing is read
twice, and nothing but these pieces is in memory. Source and target hash, as they have the piece in
hand on a thread anyway: on the loop it would cost as much time as all the rest. A file that comes
short or changed is asked for again, since a proxy may be at fault; when it stays so, the repository
is.

Up to `TRANSFERS_MAX` files are under way at a time: small ones cost a round trip each.

Driven by `roles.worker.snapshot_repository`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from restate_node.roles.worker.snapshot_errors import SnapshotSourceChanged
from restate_node.runtime.ports import Look, ObjectMissing, ObjectStore, ObjectStoreUnavailable
from restate_node.types.snapshots import SnapshotFile

TRANSFERS_MAX: Final = 8
READ_ATTEMPTS_MAX: Final = 3

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A local file that belongs to a snapshot."""

    name: str
    size_bytes: int


class SnapshotSource(Protocol):
    """An exported directory. It must not change before the snapshot is published."""

    def files(self) -> Sequence[SourceFile]:
        """Every file; names are plain, without directories."""
        ...

    def read(self, name: str, look: Look) -> AsyncGenerator[bytes]:
        """The content in pieces of at most a mebibyte; `look` MUST see each of them first."""
        ...


class SnapshotTarget(Protocol):
    """A directory aside, that becomes the partition's state only when all of it is verified."""

    async def write(self, name: str, chunks: AsyncIterator[bytes], look: Look) -> None:
        """Create or replace one file; names are plain. Several may be written at a time. `look`
        MUST see each piece that is written: without it the file counts as bad.
        """
        ...

    async def clear(self) -> None:
        """Remove every file: another snapshot follows, or none."""
        ...


class Digest:
    """Hashes what it is shown; counts what flows through on the loop."""

    __slots__ = ("_sha256", "size_bytes")

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def count(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)

    def look(self, chunk: bytes) -> None:
        """On whatever thread has the piece; one at a time."""
        self._sha256.update(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


async def send_files(
    objects: ObjectStore, directory: str, source: SnapshotSource
) -> tuple[SnapshotFile, ...]:
    """Upload every file below `directory`; raises SnapshotSourceChanged and the port's errors."""
    files = source.files()
    sent: dict[str, SnapshotFile] = {}

    async def send(file: SourceFile) -> None:
        # Checks the name before anything is written under it.
        SnapshotFile(file.name, file.size_bytes, None)
        digest = Digest()
        async with aclosing(_outgoing(source, file, digest)) as chunks:
            await objects.upload(f"{directory}/{file.name}", chunks)
        sent[file.name] = SnapshotFile(file.name, digest.size_bytes, digest.sha256)

    await _side_by_side(files, send)
    return tuple(sent[file.name] for file in files)


async def fetch_files(
    objects: ObjectStore,
    directory: str,
    files: Sequence[SnapshotFile],
    target: SnapshotTarget,
    *,
    to_the_end: bool = False,
) -> tuple[str, ...]:
    """Download every file; returns what is wrong with them, nothing when all are good.

    Stops early when one is bad, unless `to_the_end`. Raises the port's errors and the target's.
    """
    problems: list[str] = []

    async def fetch(file: SnapshotFile) -> None:
        if problems and not to_the_end:
            return
        problem = await _fetch(objects, f"{directory}/{file.name}", file, target)
        if problem is not None:
            problems.append(f"{file.name} {problem}")

    await _side_by_side(files, fetch)
    return tuple(sorted(problems))


class Nowhere:
    """The target of a verification: reads everything, keeps nothing but the count."""

    def __init__(self) -> None:
        self.read_bytes = 0

    async def write(self, name: str, chunks: AsyncIterator[bytes], look: Look) -> None:
        async for chunk in chunks:
            look(chunk)
            self.read_bytes += len(chunk)

    async def clear(self) -> None:
        """There is nothing."""


async def _outgoing(
    source: SnapshotSource, file: SourceFile, digest: Digest
) -> AsyncGenerator[bytes]:
    async with aclosing(source.read(file.name, digest.look)) as chunks:
        async for chunk in chunks:
            digest.count(chunk)
            yield chunk
    # Raised inside of the upload, so that the object never comes to be.
    if digest.size_bytes != file.size_bytes:
        raise SnapshotSourceChanged(file.name, file.size_bytes, digest.size_bytes)


async def _fetch(
    objects: ObjectStore, key: str, file: SnapshotFile, target: SnapshotTarget
) -> str | None:
    """What is wrong with the file after some attempts; None when it is in the target."""
    if file.sha256 is None:
        return "has no SHA-256 in metadata.json: it was written by another software"
    problem: str | None = None
    for attempt in range(1, READ_ATTEMPTS_MAX + 1):
        digest = Digest()
        try:
            async with aclosing(_incoming(objects, key, file.size_bytes, digest)) as chunks:
                await target.write(file.name, chunks, digest.look)
        except ObjectMissing:
            return "is missing"
        except ObjectStoreUnavailable:
            if attempt == READ_ATTEMPTS_MAX:
                raise
            continue
        problem = _difference(file, digest)
        if problem is None:
            return None
    return problem


async def _incoming(
    objects: ObjectStore, key: str, size_bytes: int, digest: Digest
) -> AsyncGenerator[bytes]:
    async with aclosing(objects.open_read(key)) as chunks:
        async for chunk in chunks:
            digest.count(chunk)
            if digest.size_bytes > size_bytes:
                return  # too long: do not fill the disk with it
            yield chunk


def _difference(file: SnapshotFile, digest: Digest) -> str | None:
    if digest.size_bytes > file.size_bytes:
        return f"has more than the {file.size_bytes} bytes of metadata.json"
    if digest.size_bytes < file.size_bytes:
        return f"has {digest.size_bytes} of {file.size_bytes} bytes"
    if digest.sha256 != file.sha256:
        return "has another SHA-256 than in metadata.json"
    return None


async def _side_by_side(items: Sequence[Item], work: Callable[[Item], Awaitable[None]]) -> None:
    """Work on all items, some at a time; the first failure ends all and is raised as it is."""
    remaining = iter(items)

    async def worker() -> None:
        for item in remaining:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(TRANSFERS_MAX, len(items))):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
