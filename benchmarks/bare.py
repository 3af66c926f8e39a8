"""The world of `--bare`: the log plane of three processes, of which this one is the sequencer's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks import processes
from benchmarks.bare_plane import BarePlane
from benchmarks.load import Submit

READY_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class BareWorld:
    """Implements `world.World`."""

    description: str
    directory: Path
    process_ids: list[int]
    submit: Submit


@asynccontextmanager
async def bare_world(directory: Path, replication: int) -> AsyncIterator[BareWorld]:
    """Three processes for as long as the context lasts."""
    ports = processes.free_ports(3)
    children = [
        processes.start(_arguments(node, directory, ports), directory / f"node-{node}.log")
        for node in (2, 3)
    ]
    plane = BarePlane(1, directory / "node-1", ports, Random(os.urandom(8)))
    try:
        await plane.start()
        await _listening(ports[1:])
        yield BareWorld(
            f"bare log plane, 3 log servers, {replication} durable copies",
            directory,
            [os.getpid(), *(child.pid for child in children)],
            plane.appender(replication).submit,
        )
    finally:
        await plane.stop()
        await asyncio.to_thread(processes.stop, children)


def _arguments(node: int, directory: Path, ports: list[int]) -> list[str]:
    place = str(directory / f"node-{node}")
    module = ["-m", "benchmarks.bare_log_server", "--node", str(node)]
    return [*module, "--directory", place, "--ports", *map(str, ports)]


async def _listening(ports: list[int]) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        for port in ports:
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
