"""A data directory in memory, and the faults a nemesis may use.

`SimMedium` is the disk of one host and outlives its processes; `mount` gives each incarnation its
`SimDisk`, the port.

Legal faults, and why:

    unsynced lost   any crash; a prefix of what was unsynced may survive, since the kernel writes on
                    its own. Power loss and kill are alike: the log is buffered in the process, so
                    even kill -9 loses
    no log          a store without one keeps only what was flushed
    slow, stalled   other tenants, a full queue, a cloud volume out of credits
    EIO             of a write or sync: whether the data is there is unknown, and the handle is
                    unusable afterwards
    full            a write that would not fit changes nothing
    busy            compaction is behind; nothing was written
    bit flip        silent corruption below the store's own checksums, or a bug above them; layers
                    that keep copies must notice and repair

Not legal, hence impossible here: half a batch (the log has checksums per batch), a later batch
without an earlier one of the same store, a synced batch lost, a `write_file` half done (written
beside, synced, renamed). Whoever wants more losses than the replication factor survives must kill
more disks: `wipe`.

Stores know no order among each other: after a crash one may have kept more than the other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from restate_node.runtime.ports import (
    FILE_PIECE_BYTES_MAX,
    FileEntry,
    Pieces,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreOptions,
    Write,
)
from restate_node.sim.checkpoints import CHECKPOINT_FILE, decode_rows, encode_rows
from restate_node.sim.hosts import Death, Incarnation
from restate_node.sim.sorted_map import SortedMap
from restate_node.sim.store import SimStore, StoreImage

Tracer = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DiskOptions:
    """How fast a disk is."""

    sync_seconds_min: float = 0.0005
    sync_seconds_mean: float = 0.001
    """Exponentially distributed, on top of the minimum."""
    sync_seconds_max: float = 0.05


@dataclass(frozen=True, slots=True)
class DiskFaults:
    """How probable a fault is, per operation. 1.0 makes the next operation fail."""

    sync_error_probability: float = 0.0
    write_error_probability: float = 0.0
    file_error_probability: float = 0.0
    busy_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class FlippedBit:
    """Where `flip_bit` struck."""

    path: str
    family: str
    key: bytes


@dataclass(frozen=True, slots=True)
class SimTiming:
    """Durations of one kind of operation."""

    medium: SimMedium
    factor: float

    def seconds(self) -> float:
        return self.medium.sync_seconds() * self.factor

    def stalled_seconds(self, now: float) -> float:
        return self.medium.stalled_until - now


def normal(path: str) -> str:
    """`a//b/` -> `a/b`; ValueError for a path that leaves the data directory or names all of it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or path.startswith("/"):
        raise ValueError(f"{path!r} is not inside the data directory: use a relative path")
    return "/".join(parts)


class SimMedium:
    """The disk of one host: what is on it, and its faults."""

    def __init__(
        self,
        host: str,
        randomness: random.Random,
        options: DiskOptions | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.host = host
        self.options = options or DiskOptions()
        self.faults = DiskFaults()
        self.capacity_bytes: int | None = None
        self.stalled_until = 0.0
        self.stores: dict[str, StoreImage] = {}
        self.files: dict[str, bytes] = {}
        self.owner: Incarnation | None = None
        self._randomness = randomness
        self._tracer = tracer

    def mount(self, incarnation: Incarnation) -> SimDisk:
        """The port for one incarnation; when it dies, what it did not sync is lost."""
        incarnation.at_death(lambda death: self._died(incarnation, death))
        return SimDisk(self, incarnation)

    def _died(self, incarnation: Incarnation, death: Death) -> None:
        del death
        if self.owner is incarnation:
            self.owner = None
        for path, image in self.stores.items():
            if image.owner is incarnation:
                self.released(path, image)

    def released(self, path: str, image: StoreImage) -> None:
        """A handle is gone, by a crash or by `close`; of what is pending a prefix survives."""
        pending = len(image.pending)
        survivors = self._randomness.randint(0, pending) if image.write_ahead_log else 0
        if pending:
            self.trace(f"{path} keeps {survivors} of {pending} unsynced batches")
        image.crash(survivors)

    # ------------------------------------------------------------ faults

    def stall(self, seconds: float) -> None:
        """No sync or flush finishes before this time has passed."""
        self.stalled_until = asyncio.get_running_loop().time() + seconds
        self.trace(f"stalls for {seconds:.3f}s")

    def flip_bit(
        self,
        prefix: str = "",
        only: str | None = None,
        may: Callable[[bytes, bytes], bool] = lambda _key, _value: True,
    ) -> FlippedBit | None:
        """Flip one bit of a value in a store below `prefix`, in that family only if one is given,
        in a row that `may` be struck; None when there is none.
        """
        filled = [
            (path, family, rows)
            for path, image in self.stores.items()
            for family, rows in image.families.items()
            if path.startswith(prefix) and len(rows) and only in (None, family)
        ]
        if not filled:
            return None
        path, family, rows = self._randomness.choice(filled)
        first = self._randomness.randrange(len(rows))
        places = (rows.key_at((first + place) % len(rows)) for place in range(len(rows)))
        key = next((key for key in places if may(key, rows.get(key) or b"")), None)
        if key is None:
            return None
        self.trace(f"flips a bit of {path} {family} {key.hex()}")
        return FlippedBit(path, family, key) if self._flip(rows, key) else None

    def _flip(self, rows: SortedMap, key: bytes) -> bool:
        value = bytearray(rows.get(key) or b"")
        if not value:
            return False
        bit = self._randomness.randrange(len(value) * 8)
        value[bit // 8] ^= 1 << bit % 8
        rows.put(key, bytes(value))
        return True

    def wipe(self) -> None:
        """A new, empty disk. Only while no process uses it."""
        assert self.owner is None and all(image.owner is None for image in self.stores.values())
        self.stores.clear()
        self.files.clear()
        self.trace("is wiped")

    def lose(self, path: str) -> None:
        """A store is gone for ever. Only while no process uses it."""
        assert self.stores[path].owner is None, f"{path} is in use"
        del self.stores[path]
        self.trace(f"has lost {path}")

    @property
    def used_bytes(self) -> int:
        stores = sum(image.size_bytes for image in self.stores.values())
        return stores + sum(map(len, self.files.values()))

    # ------------------------------------------------------------ checkpoints

    def add_checkpoint(self, path: str, image: StoreImage) -> None:
        """Write a store's rows as one file in the directory `path`."""
        path = normal(path)
        if any(_is_below(name, path) for name in (*self.files, *self.stores)):
            raise StoreError(f"checkpoint: something is at {path}; remove it first")
        content = encode_rows(image)
        self.check_space(path, len(content))
        self.files[f"{path}/{CHECKPOINT_FILE}"] = content
        self.trace(f"checkpoint {path}: {len(content)} bytes")

    def image_at(self, path: str, options: StoreOptions) -> StoreImage:
        """The store there: known, or from a checkpoint that was moved there, or new."""
        image = self.stores.get(path)
        if image is None:
            image = StoreImage(options.write_ahead_log)
            content = self.files.get(f"{path}/{CHECKPOINT_FILE}")
            if content is not None:
                decode_rows(path, content, image)
                # Only what could be read becomes a store: a bad file stays, and stays bad.
                del self.files[f"{path}/{CHECKPOINT_FILE}"]
            self.stores[path] = image
        return image

    # ------------------------------------------------------------ for stores

    def timing(self, factor: float = 1.0) -> SimTiming:
        return SimTiming(self, factor)

    def sync_seconds(self) -> float:
        options = self.options
        extra = 0.0
        if options.sync_seconds_mean:
            extra = self._randomness.expovariate(1 / options.sync_seconds_mean)
        return min(options.sync_seconds_min + extra, options.sync_seconds_max)

    def coin(self) -> bool:
        return self._randomness.random() < 0.5

    def sync_breaks(self) -> bool:
        return self._chance(self.faults.sync_error_probability)

    def write_breaks(self) -> bool:
        return self._chance(self.faults.write_error_probability)

    def file_breaks(self) -> bool:
        return self._chance(self.faults.file_error_probability)

    def check_busy(self, path: str) -> None:
        if self._chance(self.faults.busy_probability):
            raise StoreBusy(f"{path}: compaction is behind; retry after a while")

    def check_space(self, path: str, size_bytes: int) -> None:
        """Raises StoreFull when `size_bytes` more do not fit."""
        if self.capacity_bytes is not None and self.used_bytes + size_bytes > self.capacity_bytes:
            self.trace(f"is full: {path} wants {size_bytes} bytes")
            raise StoreFull(f"{path}: no space for {size_bytes} bytes; free some and restart")

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._randomness.random() < probability

    def trace(self, text: str) -> None:
        if self._tracer is not None:
            self._tracer(f"disk {self.host} {text}")


class SimDisk:
    """The Disk port of one incarnation."""

    def __init__(self, medium: SimMedium, incarnation: Incarnation) -> None:
        self._medium = medium
        self._incarnation = incarnation

    def lock(self) -> None:
        self._check_alive()
        owner = self._medium.owner
        if owner is not None and owner is not self._incarnation:
            raise StoreLocked(f"{owner} uses this data directory; stop it first")
        self._medium.owner = self._incarnation

    def open_store(self, path: str, options: StoreOptions) -> SimStore:
        self._check_alive()
        path = normal(path)
        image = self._medium.image_at(path, options)
        if image.owner is not None:
            raise StoreLocked(f"{path}: open in {image.owner}; close it first")
        image.owner = self._incarnation
        image.write_ahead_log = options.write_ahead_log
        for family in options.families:
            image.families.setdefault(family, SortedMap())
        return SimStore(self._medium, self._incarnation, path, image)

    def exists(self, path: str) -> bool:
        self._check_alive()
        path = normal(path)
        names = [*self._medium.files, *self._medium.stores]
        return any(_is_below(name, path) for name in names)

    def read_file(self, path: str) -> bytes | None:
        self._check_alive()
        return self._medium.files.get(normal(path))

    def write_file(self, path: str, content: bytes) -> None:
        self._check_alive()
        path = normal(path)
        former = len(self._medium.files.get(path, b""))
        self._medium.check_space(path, len(content) - former)
        broken = self._medium.file_breaks()
        if not broken or self._medium.coin():
            self._medium.files[path] = bytes(content)
        self._medium.trace(f"file {path} {len(content)} bytes")
        if broken:
            raise StoreError(f"{path}: write failed; the old or the new content is there")

    def remove_tree(self, path: str) -> None:
        self._check_alive()
        path = normal(path)
        stores, files = self._medium.stores, self._medium.files
        for name in [name for name in stores if _is_below(name, path)]:
            if stores[name].owner is not None:
                raise StoreError(f"{name}: still open; close it before removing {path}")
        for name in [name for name in stores if _is_below(name, path)]:
            del stores[name]
        for name in [name for name in files if _is_below(name, path)]:
            del files[name]

    def list_files(self, path: str) -> list[FileEntry]:
        self._check_alive()
        path = normal(path)
        files = self._medium.files
        names = sorted(name for name in files if name.rpartition("/")[0] == path)
        return [FileEntry(name.rpartition("/")[2], len(files[name])) for name in names]

    def rename(self, source: str, target: str) -> None:
        self._check_alive()
        source, target = normal(source), normal(target)
        if self.exists(target):
            raise StoreError(f"rename {source}: something is at {target}; remove it first")
        if not self.exists(source):
            raise StoreError(f"rename {source}: it is not there")
        stores, files = self._medium.stores, self._medium.files
        for name in [name for name in stores if _is_below(name, source)]:
            assert stores[name].owner is None, f"{name} is open: close it before it is moved"
            stores[target + name[len(source) :]] = stores.pop(name)
        for name in [name for name in files if _is_below(name, source)]:
            files[target + name[len(source) :]] = files.pop(name)
        self._medium.trace(f"rename {source} to {target}")

    async def discard(self, path: str) -> None:
        await asyncio.sleep(self._medium.sync_seconds())
        self.remove_tree(path)

    def read_pieces(self, path: str) -> Pieces:
        content = self.read_file(path)
        if content is None:
            raise StoreError(f"{path}: there is no such file")
        for start in range(0, len(content), FILE_PIECE_BYTES_MAX):
            self._check_alive()
            yield content[start : start + FILE_PIECE_BYTES_MAX]

    async def write_pieces(self, path: str, fill: Callable[[Write], Awaitable[None]]) -> None:
        normal(path)
        content = bytearray()
        await fill(content.extend)
        await asyncio.sleep(self._medium.sync_seconds())
        self.write_file(path, bytes(content))

    def _check_alive(self) -> None:
        if not self._incarnation.alive:
            raise StoreError(f"{self._incarnation} is dead")


def _is_below(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}/")
