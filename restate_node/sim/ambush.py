"""Strikes at the worst moment: a node that has just claimed an epoch freezes before it can announce
it, and reads slowly for a while when it comes back; or one that is about to make a snapshot known.

    claims epoch 4 ─▶ frozen ──────────────────▶ back: announces epoch 4 ─▶ reads of epoch 5
                      another node claims epoch 5, and announces it ▲

    uploads a snapshot ─▶ frozen before latest.json ─────▶ back: puts it
                          another node leads, and publishes newer ones ▲

A schedule made in advance hits these milliseconds once in hundreds of runs. Nothing here is
unfair: a process may stop anywhere, and any of its tasks may be slow. So stale announcements stand
in the logs of ordinary runs, and fencing by epochs has something to do.

Driven by the run, while there is trouble; the dice are a stream of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from random import Random
from typing import Any, Final, Protocol

from restate_node.bifrost.reader import LogReader
from restate_node.protocol.leadership import Leadership
from restate_node.sim.bucket_watch import LATEST
from restate_node.sim.history import FaultBegan, FaultEnded
from restate_node.sim.hosts import current_incarnation
from restate_node.sim.objects import SimObjects
from restate_node.sim.recorder import Recorder
from restate_node.sim.substitution import Substitution

AMBUSH_PROBABILITY: Final = 0.25
AMBUSHES_MAX: Final = 3
FROZEN_SECONDS: Final = (1.5, 3.0)
"""Long enough for the others to notice, and to elect another leader."""
SLOW_READS_SECONDS: Final = 2.0

Claimed = Callable[[Leadership, Any], Any]
Put = Callable[[SimObjects, str, bytes, Any], Awaitable[str]]
Next = Callable[[LogReader, int], Awaitable[Sequence[Any]]]


class Hosts(Protocol):
    """What an ambush does to a host."""

    def pause(self, host: str) -> None: ...

    def resume(self, host: str) -> None: ...


class Ambush:
    """Lies in wait while `armed`."""

    def __init__(
        self,
        hosts: Hosts,
        recorder: Recorder,
        rng: Random,
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        """`later` calls back after so many seconds, outside of all hosts."""
        self.armed = False
        self._hosts = hosts
        self._recorder = recorder
        self._rng = rng
        self._later = later
        self._claims_left = self._puts_left = AMBUSHES_MAX
        self._slow_until: dict[str, float] = {}

    def substitutions(self) -> list[Substitution]:
        """What has to be in place for the ambush to notice, and to slow its victim."""
        return [
            Substitution(Leadership, "claimed", self._watch_claims),
            Substitution(LogReader, "next", self._slow_reads),
            Substitution(SimObjects, "put", self._watch_puts),
        ]

    def _watch_claims(self, inner: Claimed) -> Claimed:
        @wraps(inner)
        def claimed(leadership: Leadership, epoch: Any) -> Any:
            incarnation = current_incarnation.get()
            if incarnation is not None and self._strikes(self._claims_left):
                self._claims_left -= 1
                self._freeze(incarnation.host)
            return inner(leadership, epoch)

        return claimed

    def _watch_puts(self, inner: Put) -> Put:
        @wraps(inner)
        async def put(objects: SimObjects, key: str, content: bytes, condition: Any) -> str:
            incarnation = current_incarnation.get()
            host = incarnation.host if incarnation is not None and key.endswith(LATEST) else None
            if host is not None and self._strikes(self._puts_left):
                self._puts_left -= 1
                self._freeze(host)
            return await inner(objects, key, content, condition)

        return put

    def _strikes(self, left: int) -> bool:
        return self.armed and left > 0 and self._rng.random() < AMBUSH_PROBABILITY

    def _freeze(self, host: str) -> None:
        seconds = self._rng.uniform(*FROZEN_SECONDS)
        now = self._recorder.now()
        self._slow_until[host] = now + seconds + SLOW_READS_SECONDS
        text = f"ambush of {host}, {seconds:.1f}s"
        self._recorder.add(FaultBegan(now, text))
        self._hosts.pause(host)

        def release() -> None:
            self._hosts.resume(host)
            self._recorder.add(FaultEnded(self._recorder.now(), text))

        self._later(seconds, release)

    def _slow_reads(self, inner: Next) -> Next:
        @wraps(inner)
        async def read(reader: LogReader, bytes_max: int) -> Sequence[Any]:
            delivered = await inner(reader, bytes_max)
            incarnation = current_incarnation.get()
            host = incarnation.host if incarnation is not None else ""
            wait = self._slow_until.get(host, 0.0) - self._recorder.now()
            if wait > 0:
                await asyncio.sleep(wait)
            return delivered

        return read
