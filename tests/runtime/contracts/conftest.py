"""The implementations that the contract suites run against.

Each port has a list of context managers, one per implementation; a suite sees whichever the
parameter names. Adding an implementation is one line in the list.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from restate_node.runtime.ports import Clock, Disk, FrameLimits, ObjectStore, Transport
from restate_node.runtime.real.clock import RealClock
from restate_node.runtime.real.data_plane import DataPlane, DataPlaneOptions
from restate_node.runtime.real.disk import RealDisk
from restate_node.runtime.real.objects_file import FileObjects
from restate_node.runtime.real.objects_s3 import S3Objects
from restate_node.sim.disk import SimMedium
from restate_node.sim.hosts import Incarnation, SimClock
from restate_node.sim.network import SimNetwork
from restate_node.sim.objects import ObjectOptions, SimBucket

from .s3_service import create_bucket, s3_service

FRAME_LIMITS = FrameLimits(frame_bytes_max=2 * 1024 * 1024, first_frame_bytes_max=1024)


@dataclass(frozen=True, slots=True)
class Link:
    """Two transports that reach each other: `server` listens at `address`."""

    client: Transport
    server: Transport
    address: str
    nobody: str
    """An address at which nobody listens."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A disk that can be opened again, as a new process would."""

    disk: Disk
    reopened: Callable[[], Disk]


class _Listener(asyncio.Protocol):
    """What the front listener does, without the choice: the first bytes go with the connection."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._plane.accept_connection(self._transport, data)  # type: ignore[arg-type]


@asynccontextmanager
async def tcp_link(directory: Path) -> AsyncIterator[Link]:
    server = DataPlane(DataPlaneOptions(frames=FRAME_LIMITS))
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: _Listener(server), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = DataPlane(DataPlaneOptions(frames=FRAME_LIMITS))
    try:
        yield Link(client, server, f"http://127.0.0.1:{port}/", "127.0.0.1:1")
    finally:
        listening.close()


@asynccontextmanager
async def unix_link(directory: Path) -> AsyncIterator[Link]:
    server = DataPlane(DataPlaneOptions(frames=FRAME_LIMITS))
    path = directory / "s"
    loop = asyncio.get_running_loop()
    listening = await loop.create_unix_server(lambda: _Listener(server), path)
    client = DataPlane(DataPlaneOptions(frames=FRAME_LIMITS))
    try:
        yield Link(client, server, f"unix:{path}", f"unix:{directory}/none")
    finally:
        listening.close()


@asynccontextmanager
async def simulated_link(directory: Path) -> AsyncIterator[Link]:
    network = SimNetwork(asyncio.get_running_loop(), random.Random(1))
    address = "http://node-2:5122/"
    client = network.transport(Incarnation("node-1", 1), "http://node-1:5122/", FRAME_LIMITS)
    server = network.transport(Incarnation("node-2", 1), address, FRAME_LIMITS)
    yield Link(client, server, address, "http://nobody:5122/")


@asynccontextmanager
async def real_machine(directory: Path) -> AsyncIterator[Machine]:
    yield Machine(RealDisk(directory / "node"), lambda: RealDisk(directory / "node"))


@asynccontextmanager
async def simulated_machine(directory: Path) -> AsyncIterator[Machine]:
    medium, process = SimMedium("node-1", random.Random(1)), Incarnation("node-1", 1)
    yield Machine(medium.mount(process), lambda: medium.mount(process))


@asynccontextmanager
async def simulated_clock(directory: Path) -> AsyncIterator[Clock]:
    yield SimClock(asyncio.get_running_loop())


@asynccontextmanager
async def real_clock(directory: Path) -> AsyncIterator[Clock]:
    yield RealClock()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A place for objects, as two processes see it."""

    objects: ObjectStore
    others: ObjectStore


@asynccontextmanager
async def directory_bucket(directory: Path) -> AsyncIterator[Bucket]:
    objects, others = FileObjects(directory), FileObjects(directory)
    try:
        yield Bucket(objects, others)
    finally:
        await objects.close()
        await others.close()


@asynccontextmanager
async def s3_bucket(directory: Path) -> AsyncIterator[Bucket]:
    with s3_service() as options:
        name = "bucket"
        await create_bucket(name, options)
        objects, others = (S3Objects(name, options, random.Random(n)) for n in (1, 2))
        try:
            yield Bucket(objects, others)
        finally:
            await objects.close()
            await others.close()


@asynccontextmanager
async def simulated_bucket(directory: Path) -> AsyncIterator[Bucket]:
    bucket = SimBucket(random.Random(1), ObjectOptions(request_seconds_mean=0.0001))
    yield Bucket(*(bucket.mount(Incarnation(f"node-{n}", 1)) for n in (1, 2)))


LINKS: list[Callable[[Path], AbstractAsyncContextManager[Link]]] = [
    tcp_link,
    unix_link,
    simulated_link,
]
MACHINES: list[Callable[[Path], AbstractAsyncContextManager[Machine]]] = [
    real_machine,
    simulated_machine,
]
BUCKETS: list[Callable[[Path], AbstractAsyncContextManager[Bucket]]] = [
    directory_bucket,
    simulated_bucket,
]
CLOCKS: list[Callable[[Path], AbstractAsyncContextManager[Clock]]] = [real_clock, simulated_clock]


@pytest.fixture(params=LINKS, ids=lambda opened: opened.__name__)
async def link(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Link]:
    async with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(params=MACHINES, ids=lambda opened: opened.__name__)
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Machine]:
    async with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(
    params=[
        *BUCKETS,
        # The service takes its time: half a second per test.
        pytest.param(s3_bucket, marks=pytest.mark.slow),
    ],
    ids=lambda opened: opened.__name__,
)
async def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bucket]:
    async with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(params=CLOCKS, ids=lambda opened: opened.__name__)
async def clock(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Clock]:
    async with request.param(tmp_path) as opened:
        yield opened
