"""The files of one snapshot, from a directory to the object store and back, counted and hashed.

    SnapshotSource.read ─▶ count, SHA-256 ─▶ ObjectStore.upload
    ObjectStore.download ─▶ count, SHA-256 ─▶ SnapshotTarget.write

Digests are taken of the very pieces that go to the other side, while they go: nothing is read
twice, and nothing but these pieces is in memory. All of this happens on whatever thread of the
store has the piece in hand: on the loop it would cost as much time as all the rest. A file that
comes short or changed is asked for again, since a proxy may be at fault; when it stays so, the
repository is.

Up to `TRANSFERS_MAX` files are under way at a time: small ones cost a round trip each.

Driven by `roles.worker.snapshot_repository`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, TypeVar

from restate_node.roles.worker.snapshot_errors import SnapshotSourceChanged
from restate_node.runtime.ports import (
    ObjectMissing,
    ObjectStore,
    ObjectStoreUnavailable,
    Piece,
    Pieces,
    Write,
)
from restate_node.types.snapshots import SnapshotFile

TRANSFERS_MAX: Final = 8
READ_ATTEMPTS_MAX: Final = 3

Item = TypeVar("Item")
Fill: TypeAlias = Callable[[Write], Awaitable[None]]
"""Writes the content of one file, in order."""


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

    def read(self, name: str) -> Pieces:
        """The content of one file."""
        ...


class SnapshotTarget(Protocol):
    """A directory aside, that becomes the partition's state only when all of it is verified."""

    async def write(self, name: str, fill: Fill) -> None:
        """Create or replace one file with what `fill` writes, and none when it raises; names are
        plain. Several may be written at a time.
        """
        ...

    async def clear(self) -> None:
        """Remove every file: another snapshot follows, or none."""
        ...


class Digest:
    """Counts and hashes what it is shown, on whatever thread has the piece; one at a time."""

    __slots__ = ("_sha256", "size_bytes")

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def add(self, piece: Piece) -> None:
        self.size_bytes += len(piece)
        self._sha256.update(piece)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


class _TooLong(Exception):
    """More comes than the manifest says."""


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
        with closing(_outgoing(source.read(file.name), file, digest)) as pieces:
            await objects.upload(f"{directory}/{file.name}", pieces)
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


class _Count:
    """Of one file, on whatever thread has its pieces."""

    __slots__ = ("size_bytes",)

    def __init__(self) -> None:
        self.size_bytes = 0

    def add(self, piece: Piece) -> None:
        self.size_bytes += len(piece)


class Nowhere:
    """The target of a verification: reads everything, keeps nothing but the count."""

    def __init__(self) -> None:
        self._files: list[_Count] = []

    @property
    def read_bytes(self) -> int:
        """So far."""
        return sum(file.size_bytes for file in self._files)

    async def write(self, name: str, fill: Fill) -> None:
        # One each: threads that add to the same number lose some.
        file = _Count()
        self._files.append(file)
        await fill(file.add)

    async def clear(self) -> None:
        """There is nothing."""


def _outgoing(pieces: Pieces, file: SourceFile, digest: Digest) -> Pieces:
    with closing(pieces):
        for piece in pieces:
            digest.add(piece)
            yield piece
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
            await _receive(objects, key, file, target, digest)
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


async def _receive(
    objects: ObjectStore, key: str, file: SnapshotFile, target: SnapshotTarget, digest: Digest
) -> None:
    """One attempt; the digest tells what came."""

    async def fill(write: Write) -> None:
        def take(piece: Piece) -> None:
            digest.add(piece)
            if digest.size_bytes > file.size_bytes:
                raise _TooLong  # do not fill the disk with it
            write(piece)

        await objects.download(key, take)

    with suppress(_TooLong):
        await target.write(file.name, fill)


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
