"""Three nodes as processes of their own, with a service registered: for what callers notice."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

from benchmarks import processes
from benchmarks.cluster_files import Place, places, write_configuration
from benchmarks.http_caller import Caller
from benchmarks.sleeping_service import SERVICE, sleeping_service
from benchmarks.world import WorldFailed

REPLICATION: Final = 2
PARTITIONS: Final = 24
READY_WITHIN_S: Final = 120.0
PAUSE_S: Final = 0.02
NAP: Final = f"/{SERVICE}/nap"


class ThreeNodes:
    """Started and stopped together."""

    def __init__(self, directory: Path) -> None:
        self.places = places(processes.free_ports(9))
        self._directory = directory
        self._files = [
            write_configuration(directory, place, self.places, REPLICATION, PARTITIONS)
            for place in self.places
        ]
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def process_ids(self) -> list[int]:
        return [child.pid for child in self._children]

    def start(self) -> None:
        """All three, without waiting."""
        self._children = [
            processes.start(["-m", "restate_node.node", "--config", str(file)], self._log(place))
            for file, place in zip(self._files, self.places, strict=True)
        ]

    async def stop(self) -> None:
        """SIGTERM, and wait; those that do not end are killed."""
        await asyncio.to_thread(processes.stop, self._children)

    async def register(self, uri: str) -> None:
        """As soon as the first node can; raises WorldFailed."""
        body = json.dumps({"uri": uri, "use_http_11": True}).encode()
        await self._until(self.places[0].admin_port, "/deployments", body, 201)

    async def first_calls(self) -> list[float]:
        """Seconds from now until a call through each node was answered; raises WorldFailed."""
        began = perf_counter()

        async def first(place: Place) -> float:
            await self._until(place.ingress_port, NAP, b"", 200)
            return perf_counter() - began

        return await asyncio.gather(*(first(place) for place in self.places))

    async def _until(self, port: int, path: str, body: bytes, wanted: int) -> None:
        caller, said, give_up_at = Caller(port), "no answer", monotonic() + READY_WITHIN_S
        while monotonic() < give_up_at:
            self._check_lives()
            try:
                async with asyncio.timeout(READY_WITHIN_S / 4):
                    status, answer = await caller.post(path, body)
            except (OSError, EOFError, TimeoutError) as error:
                said = str(error)
                caller.close()
            else:
                said = f"{status} {answer[:200].decode(errors='replace')}"
                if status == wanted:
                    caller.close()
                    return
            await asyncio.sleep(PAUSE_S)
        raise WorldFailed(f"{path} is not answered as it should be: {said}")

    def _check_lives(self) -> None:
        for child, place in zip(self._children, self.places, strict=True):
            if child.poll() is not None:
                raise WorldFailed(f"{place.name} ended: see {self._log(place)} (with --keep)")

    def _log(self, place: Place) -> Path:
        return self._directory / f"{place.name}.log"


@asynccontextmanager
async def three_nodes(directory: Path) -> AsyncIterator[ThreeNodes]:
    """A cluster that has answered its first call, for as long as the context lasts."""
    (port,) = processes.free_ports(1)
    nodes = ThreeNodes(directory)
    async with sleeping_service(port) as uri:
        nodes.start()
        try:
            await nodes.register(uri)
            await nodes.first_calls()
            yield nodes
        finally:
            await nodes.stop()


async def send_all(port: int, path: str, keys: Iterable[str], in_flight: int) -> int:
    """Send one message per key, so many at a time; the number of those that were taken."""
    waiting, taken = iter(keys), 0

    async def work() -> None:
        nonlocal taken
        caller = Caller(port)
        for key in waiting:
            status, _ = await caller.post(path.format(key=key))
            taken += status == 202
        caller.close()

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return taken
