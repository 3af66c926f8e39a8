"""`ObjectStore` over a directory that several processes may share: `file:///mnt/snapshots`.

An object is a file, so that a repository can be copied with the tools of every system. What a
bucket promises, a directory must be made to do:

    whole or not at all     written to .uploads/, synced, renamed to its place, directory synced
    conditional put         under `flock` of .lock: read, compare, rename
    no directories          those that are empty after a delete are removed, also under the lock

Every rename and removal happens under the one lock; it is held for as long as a few file-system
calls take, never while content is written. The kernel gives it back when a process ends, however it
ends. Nobody waits inside the kernel for it: a process that was stopped while it held the lock costs
the others `LOCK_SECONDS_MAX` and a retry, not a thread.

The etag is the SHA-256 of the content: it survives copying, and two writers of equal content agree.

Refused: keys that lead out of the directory, by `..`, by symbolic links, or into `.uploads`. The
directory itself must exist: a repository that is not mounted must not be mistaken for an empty one.

File-system calls block, so they run on threads of this store. What a turn of a thread moves goes
from the source's file to ours, or from ours to the target's, without the loop: each crossing costs
it, and the threads wait for it. Driven by its callers alone.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from restate_node.runtime.ports import (
    SMALL_OBJECT_BYTES_MAX,
    IfAbsent,
    IfMatches,
    ListedObject,
    ObjectMissing,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
    Pieces,
    PreconditionFailed,
    PutCondition,
    StoredObject,
    Unconditional,
    Write,
)
from restate_node.runtime.real.file_pieces import write_piece
from restate_node.runtime.real.threads import finish_in_thread

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["FileObjects"]

LOCK_FILE: Final = ".lock"
UPLOADS: Final = ".uploads"
PIECE_BYTES: Final = 2 * 1024 * 1024
PIECES_PER_TURN: Final = 8
"""What a thread moves before it asks the loop for more: a cancelled transfer ends with its turn."""
LOCK_SECONDS_MAX: Final = 10.0
LOCK_RETRY_SECONDS: Final = 0.005
THREADS_MAX: Final = 4
TRANSFERS_MAX: Final = 3
"""While one is synced, others are copied; a thread is left for small objects."""
UPLOAD_AGE_SECONDS_MAX: Final = 24 * 3600
"""What lies in `.uploads` for longer belongs to nobody who is alive."""

_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENOTDIR})

Result = TypeVar("Result")


class _Locked(Exception):
    """Another process or thread is at it."""


class _OpenFile:
    """A descriptor that is closed once, whatever was cancelled. Used on threads, by turns."""

    def __init__(self, buffer_bytes: int = 0) -> None:
        self._descriptor: int | None = None
        # One buffer for all pieces: fresh memory for each costs as much as copying it.
        self._buffer = memoryview(bytearray(buffer_bytes))

    def hold(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def hand_on(self, write: Write) -> bool:
        """The next turn's worth of content; False at its end."""
        assert self._descriptor is not None
        buffer = self._buffer
        for _ in range(PIECES_PER_TURN):
            with _mapped_errors("read a file of the snapshot repository"):
                size_bytes = os.readv(self._descriptor, (buffer,))
            if not size_bytes:
                return False
            write(buffer[:size_bytes])
        return True

    def take_over(self, pieces: Pieces) -> bool:
        """Write the next turn's worth of pieces; False at their end."""
        assert self._descriptor is not None
        for _ in range(PIECES_PER_TURN):
            piece = next(pieces, None)
            if piece is None:
                return False
            with _mapped_errors("write a file of the snapshot repository"):
                write_piece(self._descriptor, piece)
        return True

    def sync(self) -> None:
        assert self._descriptor is not None
        with _mapped_errors("write a file of the snapshot repository"):
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def discard(self, beside: Path) -> None:
        """Close, and remove what was not installed; what remains is swept a day later."""
        self.close()
        with suppress(OSError):
            beside.unlink(missing_ok=True)


class FileObjects:
    """The objects below one directory."""

    def __init__(self, directory: Path) -> None:
        self._root = directory.absolute()
        self._threads = ThreadPoolExecutor(THREADS_MAX, "file-objects")
        self._transfers = asyncio.Semaphore(TRANSFERS_MAX)
        self._swept = False

    async def get(self, key: str) -> StoredObject | None:
        """A small object and its etag; None when there is none."""
        place = self._place(key)
        content = await self._run(lambda: self._read(place))
        return None if content is None else StoredObject(content, _etag(content))

    async def download(self, key: str, write: Write) -> None:
        """Hand on the content in order; raises ObjectMissing, and what `write` raises."""
        place = self._place(key)
        async with self._transfers:
            file = _OpenFile(PIECE_BYTES)
            try:
                await self._run(lambda: file.hold(self._open(place, key)))
                while await self._run(lambda: file.hand_on(write)):
                    pass
            finally:
                await self._run(file.close)

    async def put(self, key: str, content: bytes, condition: PutCondition) -> str:
        """Write a small object durably; raises PreconditionFailed.

        Cancelled: it may be written all the same, whole.
        """
        await self._write(key, (piece for piece in (content,)), condition)
        return _etag(content)

    async def upload(self, key: str, pieces: Pieces) -> None:
        """Write an object of any size durably; nothing is seen of it before."""
        async with self._transfers:
            await self._write(key, pieces, Unconditional())

    async def delete(self, key: str) -> None:
        """Remove an object, and the directories that are empty without it."""
        place = self._place(key)
        await self._locked(lambda: self._remove(place))

    async def list_objects(self, prefix: str) -> AsyncGenerator[ListedObject]:
        """Every object whose key starts so, by ascending key."""
        for listed in await self._run(lambda: self._list(prefix)):
            yield listed

    async def close(self) -> None:
        """End the threads; what they are at is finished. Idempotent."""
        self._threads.shutdown(wait=False)

    # -- on the loop

    async def _write(self, key: str, pieces: Pieces, condition: PutCondition) -> None:
        place, file = self._place(key), _OpenFile()
        beside = self._root / UPLOADS / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            await self._run(lambda: file.hold(self._create(beside)))
            while await self._run(lambda: file.take_over(pieces)):
                pass
            await self._run(file.sync)
            await self._locked(lambda: self._install(beside, place, condition))
        finally:
            await self._run(lambda: file.discard(beside))

    async def _run(self, blocking: Callable[[], Result]) -> Result:
        """On a thread of this store, so that a slow disk does not starve those of others."""
        return await finish_in_thread(blocking, self._threads)

    async def _locked(self, change: Callable[[], None]) -> None:
        """Apply a change when the lock is free; raises ObjectStoreUnavailable when it never is."""
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                return await self._run(lambda: self._try_locked(change))
            except _Locked as error:
                if time.monotonic() > deadline:
                    raise ObjectStoreUnavailable(
                        f"{self._root / LOCK_FILE} is locked for {LOCK_SECONDS_MAX:.0f} s: find "
                        "the process that holds it, and end or resume it"
                    ) from error
            await asyncio.sleep(LOCK_RETRY_SECONDS)

    def _place(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise ValueError(f"{key!r} is not the key of an object")
        if parts[0] in (LOCK_FILE, UPLOADS):
            raise ValueError(f"{key!r}: {parts[0]} is reserved; choose another name")
        return self._root.joinpath(*parts)

    # -- on a thread

    def _check_inside(self, place: Path) -> None:
        """A link inside the directory must not lead writers or readers out of it."""
        if not place.resolve().is_relative_to(self._root.resolve()):
            raise ObjectStoreDenied(f"{place} leads out of {self._root}: remove the symbolic link")

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise ObjectStoreDenied(
                f"snapshot repository {self._root} is not a directory: create or mount it, or "
                "change worker.snapshots.destination"
            )

    def _open(self, place: Path, key: str) -> int:
        with _mapped_errors(f"read {place}"):
            self._check_root()
            self._check_inside(place)
            try:
                return os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise ObjectMissing(f"there is no object {key} in {self._root}") from error

    def _read(self, place: Path) -> bytes | None:
        try:
            descriptor = self._open(place, place.name)
        except ObjectMissing:
            return None
        with _mapped_errors(f"read {place}"), os.fdopen(descriptor, "rb") as file:
            content = file.read(SMALL_OBJECT_BYTES_MAX + 1)
        if len(content) > SMALL_OBJECT_BYTES_MAX:
            raise ValueError(f"{place} is larger than {SMALL_OBJECT_BYTES_MAX} bytes: not small")
        return content

    def _create(self, beside: Path) -> int:
        """A new file, on the file system of the objects."""
        with _mapped_errors(f"write below {self._root}"):
            self._check_root()
            self._check_inside(beside.parent)
            beside.parent.mkdir(exist_ok=True)
            self._sweep(beside.parent)
            return os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def _sweep(self, uploads: Path) -> None:
        """Once per store: remove what processes that died have left."""
        if self._swept:
            return
        self._swept = True
        oldest = time.time() - UPLOAD_AGE_SECONDS_MAX
        for left in uploads.iterdir():
            with suppress(OSError):
                if left.stat().st_mtime < oldest:
                    left.unlink()

    def _try_locked(self, change: Callable[[], None]) -> None:
        with _mapped_errors(f"change {self._root}"):
            self._check_root()
            descriptor = os.open(
                self._root / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                change()
            except BlockingIOError as error:
                raise _Locked from error
            finally:
                os.close(descriptor)

    def _install(self, beside: Path, place: Path, condition: PutCondition) -> None:
        """Under the lock: compare, then rename."""
        self._check_inside(place)
        self._check_condition(place, condition)
        self._make_directory(place.parent)
        beside.replace(place)
        _sync_directory(place.parent)

    def _check_condition(self, place: Path, condition: PutCondition) -> None:
        match condition:
            case IfAbsent():
                if os.path.lexists(place):
                    raise PreconditionFailed(f"{place} exists already; read it again")
            case IfMatches(etag):
                content = self._read(place)
                if content is None or _etag(content) != etag:
                    raise PreconditionFailed(f"{place} has changed; read it again")
            case Unconditional():
                pass

    def _make_directory(self, directory: Path) -> None:
        missing = [place for place in (directory, *directory.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir()
            _sync_directory(place.parent)

    def _remove(self, place: Path) -> None:
        self._check_inside(place.parent)
        with suppress(FileNotFoundError, NotADirectoryError):
            place.unlink()
            _sync_directory(place.parent)
        for parent in place.relative_to(self._root).parents[:-1]:
            try:
                (self._root / parent).rmdir()
            except OSError:
                return

    def _list(self, prefix: str) -> list[ListedObject]:
        with _mapped_errors(f"list {self._root}"):
            self._check_root()
            # Only the directory that the prefix names: other partitions may hold many files.
            start = self._root.joinpath(*prefix.split("/")[:-1])
            if ".." in prefix.split("/") or not start.is_dir():
                return []
            self._check_inside(start)
            found = sorted(self._walk(start), key=lambda listed: listed.key)
            return [listed for listed in found if listed.key.startswith(prefix)]

    def _walk(self, start: Path) -> Generator[ListedObject]:
        reserved = (self._root / UPLOADS, self._root / LOCK_FILE)
        for directory, _, names in os.walk(start):
            if Path(directory) == reserved[0]:
                continue
            for place in (Path(directory, name) for name in names):
                with suppress(FileNotFoundError):
                    if place not in reserved:
                        key = place.relative_to(self._root).as_posix()
                        yield ListedObject(key, place.stat().st_size)


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _mapped_errors(doing: str) -> Generator[None]:
    try:
        yield
    except (BlockingIOError, FileNotFoundError) as error:
        raise ObjectStoreUnavailable(f"cannot {doing}: {error}") from error
    except OSError as error:
        if error.errno in _DENIED:
            raise ObjectStoreDenied(
                f"cannot {doing}: {error.strerror}; let the node's user write there"
            ) from error
        raise ObjectStoreUnavailable(f"cannot {doing}: {error.strerror or error}; retry") from error
