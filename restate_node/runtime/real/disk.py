"""`Disk` over a base directory: one lock, small files replaced atomically, stores of RocksDB.

A small file (a marker, a vote, an identity) is written beside its place, synced, renamed over it,
and then the directory is synced too: without the last step the rename itself may be lost in a power
failure, and with it a promise.

    write_file("a/b")    a/.b.new ─ write ─ fsync ─ rename to a/b ─ fsync a/

The directory is claimed with `flock`, which the kernel gives back when the process ends, however it
ends. A file with a process id in it would have to be judged, and the judgement is sometimes wrong.

Paths are relative to the base. One that leads out of it is a bug of the caller and refused with
ValueError; a symbolic link inside is the operator's choice and followed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from weakref import WeakValueDictionary

from restate_node.runtime.ports import (
    FILE_PIECE_BYTES_MAX,
    FileEntry,
    Piece,
    Pieces,
    StoreError,
    StoreLocked,
    StoreOptions,
    Write,
)
from restate_node.runtime.real.courtesy import Courtesy
from restate_node.runtime.real.file_pieces import write_piece
from restate_node.runtime.real.rocksdb import RocksStore, store_error
from restate_node.runtime.real.rocksdb_options import StoreMemory
from restate_node.runtime.real.threads import finish_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

__all__ = ["RealDisk"]

LOCK_FILE = ".lock"


class RealDisk:
    """The node's data directory. Creates it; everything in it is reached through here."""

    def __init__(
        self, base: Path, memory: StoreMemory | None = None, courtesy: Courtesy | None = None
    ) -> None:
        """`memory` is shared by the stores opened here, `courtesy` by the transfers; give one of
        each to several disks of a process.
        """
        self._base = base.absolute()
        self._memory = memory or StoreMemory()
        self.courtesy = courtesy or Courtesy()
        self._lock_descriptor: int | None = None
        self._stores: WeakValueDictionary[str, RocksStore] = WeakValueDictionary()
        with _mapped_errors(f"create data directory {base}"):
            self._make_directory(self._base)

    def lock(self) -> None:
        """Claim the directory until the process ends; raises StoreLocked. Idempotent."""
        if self._lock_descriptor is not None:
            return
        with _mapped_errors(f"lock {self._base}"):
            descriptor = os.open(self._base / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                raise StoreLocked(
                    f"another process uses {self._base}: stop it, or give this node its own"
                ) from error
        self._lock_descriptor = descriptor

    def open_store(self, path: str, options: StoreOptions) -> RocksStore:
        """Open or create a store; blocks for a few fsyncs. Raises StoreError, StoreLocked."""
        place = self._place(path)
        with _mapped_errors(f"open store {path}"):
            self._make_directory(place)
        store = self._stores[path] = RocksStore(
            place, options, self._memory, self._place, self.courtesy.synced
        )
        return store

    def open_stores(self) -> dict[str, RocksStore]:
        """The stores that are open now, by path."""
        return {path: store for path, store in sorted(self._stores.items()) if store.is_open}

    def exists(self, path: str) -> bool:
        """Whether a file or directory is there."""
        return self._place(path).exists()

    def read_file(self, path: str) -> bytes | None:
        """Whole content, or None. Raises StoreError."""
        place = self._place(path)
        with _mapped_errors(f"read {path}"):
            try:
                return place.read_bytes()
            except FileNotFoundError:
                return None

    def write_file(self, path: str, content: bytes) -> None:
        """Replace atomically and durably; blocks for two fsyncs. Raises StoreError, StoreFull."""
        place = self._place(path)
        beside = place.with_name(f".{place.name}.new")
        with _mapped_errors(f"write {path}"):
            self._make_directory(place.parent)
            _write_durably(beside, content)
            beside.replace(place)
            _sync_directory(place.parent)

    def remove_tree(self, path: str) -> None:
        """Remove a file or a directory with all it holds, durably. Nothing there is fine."""
        place = self._place(path)
        with _mapped_errors(f"remove {path}"):
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            elif place.exists() or place.is_symlink():
                place.unlink()
            else:
                return
            _sync_directory(place.parent)

    async def discard(self, path: str) -> None:
        """`remove_tree` on a thread: to free a large file takes milliseconds, and there are many.
        Waits for its end when cancelled: whoever comes next must not find half of it.
        """
        await finish_in_thread(lambda: self.remove_tree(path))

    def list_files(self, path: str) -> list[FileEntry]:
        """The files directly in a directory, by name. Raises StoreError."""
        place = self._place(path)
        with _mapped_errors(f"list {path}"):
            if not place.is_dir():
                return []
            files = sorted(file for file in place.iterdir() if file.is_file())
            return [FileEntry(file.name, file.stat().st_size) for file in files]

    def rename(self, source: str, target: str) -> None:
        """Move a file or directory atomically and durably. Raises StoreError."""
        old, new = self._place(source), self._place(target)
        if new.exists():
            raise StoreError(f"rename {source}: something is at {target}: remove it first")
        with _mapped_errors(f"rename {source} to {target}"):
            self._make_directory(new.parent)
            old.rename(new)
            _sync_directory(new.parent)
            _sync_directory(old.parent)

    def read_pieces(self, path: str) -> Pieces:
        """A file in pieces; blocks. Raises StoreError."""
        self.courtesy.observe()
        return self._pieces(path)

    def _pieces(self, path: str) -> Pieces:
        with _mapped_errors(f"read {path}"), self._place(path).open("rb", buffering=0) as file:
            # One buffer for all pieces: fresh memory for each costs as much as copying it.
            buffer = memoryview(bytearray(FILE_PIECE_BYTES_MAX))
            while size_bytes := file.readinto(buffer):
                yield buffer[:size_bytes]
                self.courtesy.wait(size_bytes)

    async def write_pieces(self, path: str, fill: Callable[[Write], Awaitable[None]]) -> None:
        """Write beside, sync, rename; on threads. Raises StoreError, StoreFull."""
        place = self._place(path)
        beside = place.with_name(f".{place.name}.new")
        doing = f"write {path}"
        self.courtesy.observe()
        with _mapped_errors(doing):
            file = await finish_in_thread(lambda: self._open_beside(beside))

        def write(piece: Piece) -> None:
            with _mapped_errors(doing):
                write_piece(file.fileno(), piece)
            self.courtesy.wait(len(piece))

        try:
            with file:
                await fill(write)
                with _mapped_errors(f"sync {path}"):
                    await finish_in_thread(lambda: _sync_file(file))
            with _mapped_errors(doing):
                await finish_in_thread(lambda: _install(beside, place))
        except BaseException:
            await finish_in_thread(lambda: beside.unlink(missing_ok=True))
            raise

    def _place(self, path: str) -> Path:
        relative = PurePosixPath(path)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise ValueError(f"path {path!r} does not lead into the data directory")
        return self._base / relative

    def _open_beside(self, beside: Path) -> FileIO:
        self._make_directory(beside.parent)
        return FileIO(beside, "wb")

    def _make_directory(self, directory: Path) -> None:
        """Create it with its parents, each name durable in the directory above."""
        missing = [place for place in (directory, *directory.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            _sync_directory(place.parent)


def _install(beside: Path, place: Path) -> None:
    beside.replace(place)
    _sync_directory(place.parent)


def _write_durably(place: Path, content: bytes) -> None:
    with place.open("wb") as file:
        file.write(content)
        _sync_file(file)


def _sync_file(file: BinaryIO | FileIO) -> None:
    file.flush()
    os.fsync(file.fileno())


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
    except OSError as error:
        mapped = store_error(error, doing)
        raise mapped from error
