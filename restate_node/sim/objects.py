"""An object store in memory, and the faults that a nemesis may use.

`SimBucket` is the service and outlives every process; `mount` gives each incarnation its
`SimObjects`, the port. A request travels to the bucket, takes effect at one instant, and its answer
travels back: the faults sit at these three places.

Legal faults, and why:

    refused     503 before anything happened: throttling, an outage (`outage = True` until mended)
    answer lost what was asked for happened, and the caller is told that nobody knows
    cut         a read ends with an error in the middle
    short       a read ends early and says nothing: proxies do this, and restored such files
    slow        other tenants

Not legal, hence impossible here: a put by halves, an upload seen before it is complete, a stale
read, two winners of one conditional put. The services that are worth using promise these.

Operators and broken disks do worse than services: `tamper`, and changes of `objects`, are theirs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from hashlib import sha256

from restate_node.runtime.ports import (
    SMALL_OBJECT_BYTES_MAX,
    IfAbsent,
    IfMatches,
    ListedObject,
    ObjectMissing,
    ObjectStoreUnavailable,
    Pieces,
    PreconditionFailed,
    PutCondition,
    StoredObject,
    Unconditional,
    Write,
)
from restate_node.sim.hosts import Incarnation

Tracer = Callable[[str], None]
OnWritten = Callable[[str, bytes], None]
"""Told of every object at the instant at which it is there."""

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ObjectFaults:
    """How probable a fault is, per request. 1.0 makes the next request fail."""

    refused_probability: float = 0.0
    answer_lost_probability: float = 0.0
    cut_probability: float = 0.0
    short_probability: float = 0.0
    slow_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """How fast the service is: exponentially distributed above nothing, and bounded."""

    request_seconds_mean: float = 0.01
    request_seconds_max: float = 1.0


class SimBucket:
    """The objects of one bucket, and what goes wrong with them."""

    def __init__(
        self,
        randomness: random.Random,
        options: ObjectOptions | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults = ObjectFaults()
        self.outage = False
        self.requests = 0
        self.on_written: OnWritten | None = None
        self._options = options or ObjectOptions()
        self._randomness = randomness
        self._tracer = tracer

    def mount(self, incarnation: Incarnation) -> SimObjects:
        """The port of one process."""
        return SimObjects(self, incarnation)

    def tamper(self, key: str) -> None:
        """Change one byte in place, silently."""
        content = bytearray(self.objects[key])
        content[self._randomness.randrange(len(content))] ^= 0xFF
        self.objects[key] = bytes(content)
        self.trace(f"tampered {key}")

    def seconds(self) -> float:
        """How long a request is under way."""
        mean = self._options.request_seconds_mean * self.faults.slow_factor
        return min(self._options.request_seconds_max, self._randomness.expovariate(1 / mean))

    def write(self, key: str, content: bytes) -> None:
        """An object is there, whole, from now on."""
        self.objects[key] = content
        if self.on_written is not None:
            self.on_written(key, content)

    def refuses(self) -> bool:
        return self.outage or self._chance(self.faults.refused_probability)

    def loses_answer(self) -> bool:
        return self._chance(self.faults.answer_lost_probability)

    def cut_at(self, size_bytes: int) -> int | None:
        """Where a read breaks off with an error."""
        return self._position(self.faults.cut_probability, size_bytes)

    def short_at(self, size_bytes: int) -> int | None:
        """Where a read ends in silence."""
        return self._position(self.faults.short_probability, size_bytes)

    def trace(self, text: str) -> None:
        if self._tracer is not None:
            self._tracer(f"objects {text}")

    def _position(self, probability: float, size_bytes: int) -> int | None:
        return (
            self._randomness.randrange(size_bytes)
            if size_bytes and self._chance(probability)
            else None
        )

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._randomness.random() < probability


class SimObjects:
    """The ObjectStore port of one incarnation."""

    def __init__(self, bucket: SimBucket, incarnation: Incarnation) -> None:
        self._bucket = bucket
        self._incarnation = incarnation

    async def get(self, key: str) -> StoredObject | None:
        checked(key)
        await self._arrive(f"get {key}")
        content = self._bucket.objects.get(key)
        await self._answer(f"get {key}")
        if content is None:
            return None
        if len(content) > SMALL_OBJECT_BYTES_MAX:
            raise ValueError(f"{key} has {len(content)} bytes: read it in pieces")
        return StoredObject(content, _etag(content))

    async def download(self, key: str, write: Write) -> None:
        checked(key)
        await self._arrive(f"read {key}")
        content = self._bucket.objects.get(key)
        if content is None:
            raise ObjectMissing(f"there is no object {key}")
        cut, short = self._bucket.cut_at(len(content)), self._bucket.short_at(len(content))
        end = min(len(content) if position is None else position for position in (cut, short))
        for start in range(0, end, CHUNK_BYTES):
            await asyncio.sleep(self._bucket.seconds())
            self._check_alive()
            write(content[start : min(start + CHUNK_BYTES, end)])
        if cut is not None:
            self._bucket.trace(f"read {key} cut at {end} of {len(content)}")
            raise ObjectStoreUnavailable(f"{key}: connection lost after {end} bytes; retry")
        if end < len(content):
            self._bucket.trace(f"read {key} short: {end} of {len(content)}")

    async def put(self, key: str, content: bytes, condition: PutCondition) -> str:
        checked(key)
        await self._arrive(f"put {key}")
        self._check_condition(key, condition)
        self._bucket.write(key, bytes(content))
        self._bucket.trace(f"put {key} {len(content)} bytes")
        await self._answer(f"put {key}")
        return _etag(content)

    async def upload(self, key: str, pieces: Pieces) -> None:
        checked(key)
        await self._arrive(f"upload {key}")
        content = bytearray()
        for piece in pieces:
            content += piece
            await asyncio.sleep(self._bucket.seconds())
        await self._arrive(f"complete {key}")
        self._bucket.write(key, bytes(content))
        self._bucket.trace(f"upload {key} {len(content)} bytes")
        await self._answer(f"upload {key}")

    async def delete(self, key: str) -> None:
        checked(key)
        await self._arrive(f"delete {key}")
        self._bucket.objects.pop(key, None)
        self._bucket.trace(f"delete {key}")
        await self._answer(f"delete {key}")

    async def list_objects(self, prefix: str) -> AsyncGenerator[ListedObject]:
        await self._arrive(f"list {prefix}")
        for key, content in sorted(self._bucket.objects.items()):
            if key.startswith(prefix):
                yield ListedObject(key, len(content))

    async def close(self) -> None:
        """Nothing is held."""

    def _check_condition(self, key: str, condition: PutCondition) -> None:
        stored = self._bucket.objects.get(key)
        match condition:
            case IfAbsent():
                if stored is not None:
                    raise PreconditionFailed(f"{key} exists already; read it again")
            case IfMatches(etag):
                if stored is None or _etag(stored) != etag:
                    raise PreconditionFailed(f"{key} has changed; read it again")
            case Unconditional():
                pass

    async def _arrive(self, request: str) -> None:
        """The way to the bucket; returns at the instant at which the request takes effect."""
        self._check_alive()
        self._bucket.requests += 1
        await asyncio.sleep(self._bucket.seconds())
        self._check_alive()
        if self._bucket.refuses():
            self._bucket.trace(f"refused {request}")
            raise ObjectStoreUnavailable(f"{request}: 503 slow down; retry later")

    async def _answer(self, request: str) -> None:
        """The way back."""
        await asyncio.sleep(self._bucket.seconds())
        if self._bucket.loses_answer():
            self._bucket.trace(f"answer lost {request}")
            raise ObjectStoreUnavailable(f"{request}: no answer; it may have happened")

    def _check_alive(self) -> None:
        if not self._incarnation.alive:
            raise ObjectStoreUnavailable(f"{self._incarnation} is dead")


def checked(key: str) -> str:
    """The key; ValueError if it leads nowhere, as the real stores say it."""
    if not key or any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"{key!r} is not the key of an object")
    return key


def _etag(content: bytes) -> str:
    return sha256(content).hexdigest()
