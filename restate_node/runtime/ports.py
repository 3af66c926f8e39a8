"""The world, as seen by a node: time, network, disk, objects.

A node is decisions (`protocol/`) and thin drivers around them; whatever it wants from outside it
asks through one of these ports. Each has exactly two implementations that pass the same contract
suite: a real one under `runtime.real` and a simulated one under `sim`, where the same code meets
crashes, lost frames and torn disks from a seed.

    Clock       what time it is
    Transport   whole frames to and from other nodes, by address
    Disk        ordered key-value stores and small files below the node's data directory
    ObjectStore objects that all nodes share: a bucket, or a directory that stands for one

The event loop itself is not a port: drivers may `asyncio.sleep`, because the simulator owns the
loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from restate_node.types.fabric import Swimlane


class Clock(Protocol):
    """Wall time for people and records, monotonic time for waiting."""

    def unix_ms(self) -> int:
        """Milliseconds since 1970; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...


# ---------------------------------------------------------------- network


class Unreachable(Exception):
    """No connection: nobody listens there, or the peer does not answer. Nothing was sent; safe to
    retry.
    """


class FrameReceiver(Protocol):
    """What a transport calls back. Both methods run on the loop and must not block."""

    def frames_received(self, frames: Sequence[bytes]) -> None:
        """Complete frames, in order, that arrived together."""
        ...

    def connection_lost(self, reason: str) -> None:
        """Called exactly once; no frame is delivered afterwards."""
        ...


class FrameConnection(Protocol):
    """One ordered connection. Frames sent in one turn of the loop leave in one write."""

    @property
    def peer(self) -> str:
        """Address of the other side, for messages to people."""
        ...

    @property
    def backlog_bytes(self) -> int:
        """Bytes accepted by `send` that the peer has not taken yet."""
        ...

    def send(self, frame: bytes) -> None:
        """Queue a frame; a frame sent on a closed connection vanishes, as one lost on the way
        would.
        """
        ...

    async def drained(self) -> None:
        """Wait until the backlog is below its low-water mark or the connection is closed.
        Cancellation-safe.
        """
        ...

    def close(self, reason: str) -> None:
        """Send what is queued, then hang up. The receiver is told `reason`. Idempotent."""
        ...


FrameAcceptor = Callable[[FrameConnection], FrameReceiver]


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """Sizes above which a transport closes the connection before it allocates anything."""

    frame_bytes_max: int = 33 * 1024 * 1024
    first_frame_bytes_max: int = 4 * 1024
    """The handshake is the first frame of each side, from a peer that nobody has vouched for yet.
    """


class Transport(Protocol):
    """Connections to other nodes and from them."""

    async def connect(
        self, address: str, lane: Swimlane, receiver: FrameReceiver
    ) -> FrameConnection:
        """Connect to an advertised address; raises Unreachable. Cancellation closes what was
        opened.
        """
        ...

    def accept(self, acceptor: FrameAcceptor) -> None:
        """Hand every incoming connection to `acceptor` from now on."""
        ...


# ---------------------------------------------------------------- disk


class StoreError(Exception):
    """The disk failed. Whether the write happened is unknown: stop acknowledging (fail-safe)."""


class StoreFull(StoreError):
    """No space left. Nothing was written."""


class StoreBusy(StoreError):
    """The store asks for a pause (compaction is behind). Nothing was written; retry later."""


class StoreLocked(StoreError):
    """Another process has this store open."""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How to open a store."""

    families: tuple[str, ...]
    write_ahead_log: bool = True
    """Without one, only `flush` makes writes durable: right where another log can replay them."""
    write_buffer_bytes: int = 16 * 1024 * 1024


class WriteBatch(Protocol):
    """Changes that become visible together, in the order given. Single use."""

    def put(self, family: str, key: bytes, value: bytes) -> None: ...

    def delete(self, family: str, key: bytes) -> None: ...

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        """Delete every key in `[start, end)`."""
        ...


class KeyValueStore(Protocol):
    """An ordered store of bytes, in named families."""

    def get(self, family: str, key: bytes) -> bytes | None: ...

    def scan(
        self,
        family: str,
        start: bytes,
        end: bytes,
        *,
        rows_max: int,
        bytes_max: int = 4 * 1024 * 1024,
        reverse: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Rows of `[start, end)` in key order (last first when `reverse`), up to either limit, at
        least one row.
        """
        ...

    def batch(self) -> WriteBatch: ...

    def write(self, batch: WriteBatch) -> None:
        """Make a batch visible at once. Not durable before `sync` (or `flush`) returns. Raises
        StoreError.
        """
        ...

    def sync(self) -> Awaitable[None]:
        """Await it: every earlier `write` is durable; concurrent callers share one fsync. Raises
        StoreError.

        Cancellation-safe: the writes stay, and may become durable all the same.
        """
        ...

    async def flush(self) -> None:
        """Move memory to sorted files; durable without a write-ahead log. Raises StoreError."""
        ...

    async def compact(self) -> None:
        """Merge files and drop what was deleted."""
        ...

    async def compact_range(self, family: str, start: bytes, end: bytes) -> None:
        """Merge the files that hold rows of `[start, end)`, and drop what was deleted there. Raises
        StoreError.
        """
        ...

    async def checkpoint(self, path: str) -> None:
        """A copy of the store as it is, as files in a new directory of the same disk, which
        `Disk.open_store` can open after a rename. Nothing may be at `path`. Raises StoreError.
        """
        ...

    async def close(self) -> None:
        """Release the files and the lock. Unsynced writes of a store with a log are flushed."""
        ...


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a directory."""

    name: str
    size_bytes: int


FILE_PIECE_BYTES_MAX = 2 * 1024 * 1024
"""Largest piece that `Disk.read_pieces` yields."""

Piece: TypeAlias = bytes | memoryview
"""Some bytes of a file or object. A view is good until the next piece is asked for, or until the
call that it was given to returns: its memory is used again.
"""

Pieces: TypeAlias = Generator[Piece]
"""Content in order. Made on the loop; it blocks, so it is driven on threads, by one at a time.
Closed when done.
"""

Write: TypeAlias = Callable[[Piece], None]
"""Takes the next piece of a content. It blocks, so it is called on threads, by one at a time."""


class Disk(Protocol):
    """Everything below one node's data directory. Paths are relative and use `/`."""

    def lock(self) -> None:
        """Claim the directory for this process until it ends; raises StoreLocked in a second
        process.
        """
        ...

    def open_store(self, path: str, options: StoreOptions) -> KeyValueStore:
        """Open or create; blocks for a few fsyncs: do it before serving. Raises StoreError."""
        ...

    def exists(self, path: str) -> bool: ...

    def read_file(self, path: str) -> bytes | None:
        """Whole content, None when there is no such file."""
        ...

    def write_file(self, path: str, content: bytes) -> None:
        """Replace atomically and durably: a crash leaves the old or the new content, whole."""
        ...

    def remove_tree(self, path: str) -> None:
        """Remove a file or directory with all it holds; nothing to do when it is not there."""
        ...

    def list_files(self, path: str) -> list[FileEntry]:
        """The files directly in a directory, by name; none when it is not there."""
        ...

    async def discard(self, path: str) -> None:
        """`remove_tree`, off the loop: for what may be large. Waits for its end when cancelled."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a file or directory atomically and durably; nothing may be at `target`, and a store
        in it MUST be closed. Raises StoreError.
        """
        ...

    def read_pieces(self, path: str) -> Pieces:
        """A file of any size. Raises StoreError at the first piece or later."""
        ...

    async def write_pieces(self, path: str, fill: Callable[[Write], Awaitable[None]]) -> None:
        """Write a file of any size. When `fill` returns, the file appears with what it wrote, whole
        and durable; when it raises, not at all. Raises StoreError, StoreFull, and what `fill`
        raises.
        """
        ...


# ---------------------------------------------------------------- objects

SMALL_OBJECT_BYTES_MAX = 16 * 1024 * 1024
"""Size of an object that is read or put whole."""


class ObjectStoreError(Exception):
    """A request to the object store failed."""


class ObjectStoreUnavailable(ObjectStoreError):
    """No answer, or one that may be better later: retry. A write may have happened."""


class ObjectStoreDenied(ObjectStoreError):
    """Credentials, bucket, region or permissions are wrong: the message says what to change."""


class ObjectMissing(ObjectStoreError):
    """There is no object of that key."""


class PreconditionFailed(ObjectStoreError):
    """The object is not as the condition of the put says. Nothing was written: read it again."""


@dataclass(frozen=True, slots=True)
class IfAbsent:
    """Put only what does not exist yet."""


@dataclass(frozen=True, slots=True)
class IfMatches:
    """Put only over the content that this etag stands for."""

    etag: str


@dataclass(frozen=True, slots=True)
class Unconditional:
    """Put over whatever is there."""


PutCondition: TypeAlias = IfAbsent | IfMatches | Unconditional


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The content of an object, and the etag that stands for it."""

    content: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One row of a listing."""

    key: str
    size_bytes: int


class ObjectStore(Protocol):
    """Objects by key. A key is a path of `/`; one that leads nowhere is refused with ValueError.

    Every method raises ObjectStoreUnavailable and ObjectStoreDenied. An object is seen whole or not
    at all, and what a completed write wrote is seen by every later read.
    """

    async def get(self, key: str) -> StoredObject | None:
        """A small object; None when there is none."""
        ...

    async def download(self, key: str, write: Write) -> None:
        """Hand on the content in order; raises ObjectMissing before the first piece, and what
        `write` raises.

        Fewer bytes than were written may come without an error: whoever needs all must count.
        """
        ...

    async def put(self, key: str, content: bytes, condition: PutCondition) -> str:
        """Write a small object and return its etag. Raises PreconditionFailed.

        Cancelled or ObjectStoreUnavailable: it may have been written all the same.
        """
        ...

    async def upload(self, key: str, pieces: Pieces) -> None:
        """Write an object of any size in bounded memory. Until it returns, and if it fails, nothing
        is seen of it. Raises what `pieces` raises; when it ends, however it does, no thread is at
        them any more, and the caller closes them.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; nothing to do when it is not there."""
        ...

    def list_objects(self, prefix: str) -> AsyncGenerator[ListedObject]:
        """Every object whose key starts so, by ascending key; fetched a page at a time."""
        ...

    async def close(self) -> None:
        """Release connections and threads. Idempotent."""
        ...
