"""Uses keys of the metadata store as registers: reads, and swaps that expect what was read.

Versions are the values. Each is used by one attempt only, so a swap that took effect is known by
its version, whoever reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from restate_node.cluster.metadata_errors import (
    MetadataRejected,
    MetadataUnavailable,
    PreconditionNotMet,
)
from restate_node.sim.history import RegisterCalled, RegisterUsed
from restate_node.sim.linearizability import CompareAndSwap, Operation, Read, Request, Value
from restate_node.sim.workloads.workload import Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.ids import Version
from restate_node.types.metadata_kv import DoesNotExist, MatchesVersion, VersionedValue

KEYS: Final = ("sim-register-a", "sim-register-b")
PAUSE_SECONDS: Final = 0.25
READ_PROBABILITY: Final = 0.3
VERSION_STRIDE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Call:
    """One operation under way. Without a word more it stays open: the client died, or gave up."""

    life: NodeLife
    number: int
    operation: Operation

    def returned(self, result: Value) -> None:
        """The client was told."""
        now = self.life.recorder.now()
        done = replace(self.operation, returned_at=now, result=result)
        self.life.recorder.add(RegisterUsed(now, self.life.name, self.number, done))

    def had_no_effect(self) -> None:
        """The client was told that nothing has happened, and never will."""
        now = self.life.recorder.now()
        self.life.recorder.add(RegisterUsed(now, self.life.name, self.number, None))


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
        call = self._call(key, Read())
        try:
            found = await self._life.node.client.get(key)
        except MetadataUnavailable:
            call.had_no_effect()
            return
        version = None if found is None else int(found.version)
        self._seen[key] = version
        call.returned(version)

    async def _swap(self, key: str, expected: int | None) -> None:
        new = self._next_version(expected)
        condition = DoesNotExist() if expected is None else MatchesVersion(Version(expected))
        value = VersionedValue(Version(new), f"{self._life.name} {new}".encode())
        call = self._call(key, CompareAndSwap(expected, new))
        del self._seen[key]
        try:
            await self._life.node.client.put(key, value, condition)
        except PreconditionNotMet:
            call.returned(False)
        except MetadataUnavailable as error:
            if not error.maybe_executed:
                call.had_no_effect()
        except MetadataRejected:
            call.had_no_effect()
        else:
            self._seen[key] = new
            call.returned(True)

    def _call(self, key: str, request: Request) -> Call:
        recorder = self._life.recorder
        call = Call(self._life, recorder.next_number(), Operation(key, request, recorder.now()))
        now = recorder.now()
        recorder.add(RegisterCalled(now, self._life.name, call.number, call.operation))
        return call

    def _next_version(self, expected: int | None) -> int:
        """Above the expected one, and never used before."""
        generation = (expected or 0) // VERSION_STRIDE + 1
        return generation * VERSION_STRIDE + next(self._attempts) % VERSION_STRIDE


async def _run(life: NodeLife, stage: Stage) -> None:
    client = RegisterClient(life)
    while stage.writing:
        await pause(life.rng, PAUSE_SECONDS)
        await client.use()


CLIENT: Final = Client("metadata registers", _run)
