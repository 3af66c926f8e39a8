"""Uses keys of the metadata store as registers: reads, and swaps that expect what was read.

Versions are the values. Each is used by one attempt only, so a swap that took effect is known by
its version, whoever reads it.
"""

from __future__ import annotations

from itertools import count
from typing import Final

from restate_node.cluster.metadata_errors import (
    MetadataRejected,
    MetadataUnavailable,
    PreconditionNotMet,
)
from restate_node.sim.history import RegisterUsed
from restate_node.sim.linearizability import CompareAndSwap, Operation, Read
from restate_node.sim.workloads.workload import Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.ids import Version
from restate_node.types.metadata_kv import DoesNotExist, MatchesVersion, VersionedValue

KEYS: Final = ("sim-register-a", "sim-register-b")
PAUSE_SECONDS: Final = 0.25
READ_PROBABILITY: Final = 0.3
VERSION_STRIDE: Final = 1 << 20


class RegisterClient:
    """One life's user of all registers."""

    def __init__(self, life: NodeLife) -> None:
        self._life = life
        self._attempts = count(life.rng.randrange(VERSION_STRIDE // 2))
        self._seen: dict[str, int | None] = {}

    async def use(self) -> None:
        """One operation on some key."""
        key = self._life.rng.choice(KEYS)
        if key not in self._seen or self._life.rng.random() < READ_PROBABILITY:
            await self._read(key)
        else:
            await self._swap(key, self._seen[key])

    async def _read(self, key: str) -> None:
        recorder = self._life.recorder
        called_at = recorder.now()
        try:
            found = await self._life.node.client.get(key)
        except MetadataUnavailable:
            return
        version = None if found is None else int(found.version)
        self._seen[key] = version
        self._record(Operation(key, Read(), called_at, recorder.now(), version))

    async def _swap(self, key: str, expected: int | None) -> None:
        recorder = self._life.recorder
        called_at = recorder.now()
        new = self._next_version(expected)
        request = CompareAndSwap(expected, new)
        condition = DoesNotExist() if expected is None else MatchesVersion(Version(expected))
        value = VersionedValue(Version(new), f"{self._life.name} {new}".encode())
        try:
            await self._life.node.client.put(key, value, condition)
        except PreconditionNotMet:
            self._seen.pop(key, None)
            self._record(Operation(key, request, called_at, recorder.now(), False))
        except MetadataUnavailable as error:
            self._seen.pop(key, None)
            if error.maybe_executed:
                self._record(Operation(key, request, called_at))
        except MetadataRejected:
            self._seen.pop(key, None)
        else:
            self._seen[key] = new
            self._record(Operation(key, request, called_at, recorder.now(), True))

    def _next_version(self, expected: int | None) -> int:
        """Above the expected one, and never used before."""
        generation = (expected or 0) // VERSION_STRIDE + 1
        return generation * VERSION_STRIDE + next(self._attempts) % VERSION_STRIDE

    def _record(self, operation: Operation) -> None:
        recorder = self._life.recorder
        recorder.add(RegisterUsed(recorder.now(), self._life.name, operation))


async def _run(life: NodeLife, stage: Stage) -> None:
    client = RegisterClient(life)
    while stage.writing:
        await pause(life.rng, PAUSE_SECONDS)
        await client.use()


CLIENT: Final = Client("metadata registers", _run)
