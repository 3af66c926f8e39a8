"""A node as a process: real ports below it, servers around it, signals, one line when it is ready,
one when it fails.

    TCP port ─▶ Front ─┬─ frames ─▶ DataPlane ─▶ Node.fabric            admin port ───▶ REST
                       └─ HTTP ───▶ ControlPlane (gRPC, /health …)      ingress port ─▶ Ingress

Everything that can be wrong from the start (a port in use, a directory that is locked) is found
before anything is written.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from restate_node.cluster.metadata_cache import ForeignCluster
from restate_node.cluster.metadata_sync import Superseded
from restate_node.node.boot import BootError
from restate_node.node.edges import admin_api, grpc_methods, ingress_api, node_ctl, pages
from restate_node.node.marker import MarkerError
from restate_node.node.node import Node
from restate_node.node.node_ctl import AddressKind, NamedAddress
from restate_node.node.ports import Ports
from restate_node.roles.log_server.start import CannotStart
from restate_node.runtime.ports import ObjectStore, StoreError
from restate_node.runtime.real.clock import RealClock
from restate_node.runtime.real.control_plane import ControlPlane
from restate_node.runtime.real.data_plane import DataPlane
from restate_node.runtime.real.disk import RealDisk
from restate_node.runtime.real.front import Front
from restate_node.runtime.real.front_address import AddressUnusable, ListenAddress
from restate_node.runtime.real.front_splice import SpliceAcceptor
from restate_node.runtime.real.http_server import HttpServer
from restate_node.runtime.real.ingress_server import IngressServer
from restate_node.runtime.real.loop import LoopStall, LoopWatchdog
from restate_node.runtime.real.objects import open_objects
from restate_node.runtime.real.service_identity import IdentityKeyError
from restate_node.runtime.real.service_transport import open_services
from restate_node.runtime.real.unix_http_server import SOCKET_PATH_BYTES_MAX
from restate_node.runtime.services import ServiceTransport
from restate_node.runtime.tasks import ShutdownCause, TaskKind
from restate_node.types.nodes import Role
from restate_node.types.options import NodeOptions
from restate_node.types.processor_messages import ProcessorStatus, ReplayStatus, RunMode

logger = structlog.get_logger(__name__)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
LOOK_S: Final = 0.25
LOOKS_MAX: Final = 240
"""One minute: who takes longer to catch up is told by other lines."""
STALL_FRAMES_MAX: Final = 4
FRAME: Final = re.compile(r'File "(?:.*/)?([^/"]+)", line (\d+), in (\S+)')
EXPECTED: Final = (
    BootError,
    CannotStart,
    ForeignCluster,
    Superseded,
    StoreError,
    AddressUnusable,
)
"""Ends that operators can do something about: their text says what, and a stack adds nothing."""
TARGET: Final = "restate_core::task_center"
"""Restate's name for who says it: its operators search their logs for this line."""


class StartError(Exception):
    """The process cannot start like this; one line that says what to change."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """Where the parts of the node that speak HTTP/2 are reached locally."""

    fabric: Path
    ingress: Path


async def run_process(options: NodeOptions) -> int:
    """Run a node until it stops; returns the exit code. Raises StartError before it has begun."""
    addresses = _addresses(options)
    for name, address in addresses.items():
        _check_free(name, address)
    node, data_plane = _build(options)
    watchdog = LoopWatchdog(_report_stall)
    watchdog.start()
    with tempfile.TemporaryDirectory(prefix="restate-") as short_directory:
        sockets = Sockets(
            _socket_path(options, short_directory, "fabric.sock"),
            _socket_path(options, short_directory, "ingress.sock"),
        )
        await _serve_edges(node, data_plane, addresses, sockets)
        _stop_on_signals(node)
        reporter = node.tasks.spawn(TaskKind.BACKGROUND, "ready line", _announce(node, addresses))
        cause = await node.run()
        reporter.cancel()
    watchdog.stop()
    return _exit_code(cause)


def _build(options: NodeOptions) -> tuple[Node, DataPlane]:
    directory = Path(options.base_dir) / str(options.node_name)
    data_plane = DataPlane(None)
    try:
        disk = RealDisk(directory)
        seed = int.from_bytes(os.urandom(16), "big")
        rng = random.Random(seed)
        objects = _objects(options, random.Random(rng.getrandbits(64)))
        ports = Ports(RealClock(), data_plane, disk, rng, objects, _services(options))
        return Node(options, ports, str(directory)), data_plane
    except (StoreError, MarkerError) as error:
        raise StartError(str(error)) from None


def _objects(options: NodeOptions, rng: random.Random) -> ObjectStore | None:
    try:
        opened = open_objects(options.worker.snapshots, rng)
    except ValueError as error:
        raise StartError(str(error)) from None
    return None if opened is None else opened[0]


def _services(options: NodeOptions) -> ServiceTransport | None:
    """Workers call services, admins discover them."""
    if not {Role.WORKER, Role.ADMIN} & set(options.roles):
        return None
    try:
        return open_services(options, RealClock())
    except IdentityKeyError as error:
        raise StartError(str(error)) from None


async def _serve_edges(
    node: Node, data_plane: DataPlane, addresses: dict[str, ListenAddress], sockets: Sockets
) -> None:
    """Start the servers and wait until they listen; the first that fails stops the node."""
    socket_path = sockets.fabric
    handlers = node_ctl(node, _bound(addresses, sockets))
    methods = grpc_methods(node, handlers)
    control_plane = ControlPlane(methods, pages(node, handlers), socket_path)
    splice = SpliceAcceptor(socket_path)
    front = Front(addresses["fabric"], data_plane.accept_connection, splice.accept)
    tasks = [
        node.tasks.spawn(TaskKind.CONTROL_PLANE, "control plane", control_plane.run()),
        node.tasks.spawn(TaskKind.CONTROL_PLANE, "fabric port", front.run()),
    ]
    started = [control_plane.started.wait(), front.started.wait()]
    if "admin" in addresses:
        node.tasks.spawn(TaskKind.ADMIN, "admin port", _serve_admin(node, addresses["admin"]))
    if "ingress" in addresses:
        serving = _serve_ingress(node, addresses["ingress"], sockets.ingress)
        node.tasks.spawn(TaskKind.INGRESS, "ingress port", serving)
    await _first_failure_or_all(tasks, started)


async def _serve_ingress(node: Node, address: ListenAddress, socket_path: Path) -> None:
    """Open the port of the ingress once the node is ready."""
    await node.ready.until(bool)
    ingress = ingress_api(node)
    await IngressServer(ingress, address, socket_path, on_drained=ingress.stop_waiting).run()


async def _serve_admin(node: Node, address: ListenAddress) -> None:
    """Open the admin port once the node is ready: before, it could only refuse."""
    await node.ready.until(bool)
    await HttpServer(admin_api(node), address).run()


def _bound(addresses: dict[str, ListenAddress], sockets: Sockets) -> list[NamedAddress]:
    names = {
        "fabric": "message-fabric-server",
        "admin": "admin-api-server",
        "ingress": "http-ingress-server",
    }
    bound = [
        NamedAddress(names[name], str(address), AddressKind.TCP)
        for name, address in addresses.items()
    ]
    bound.append(NamedAddress(names["fabric"], f"unix:{sockets.fabric}", AddressKind.UNIX))
    if "ingress" in addresses:
        bound.append(NamedAddress(names["ingress"], f"unix:{sockets.ingress}", AddressKind.UNIX))
    return bound


async def _first_failure_or_all(
    tasks: Sequence[asyncio.Task[None]], started: Sequence[Coroutine[Any, Any, Any]]
) -> None:
    """Until all have started; raises StartError when one of the tasks ends instead."""
    everything = asyncio.gather(*started)
    await asyncio.wait([everything, *tasks], return_when=asyncio.FIRST_COMPLETED)
    everything.cancel()
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise StartError(str(error)) from None


def _stop_on_signals(node: Node) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        name = signal.Signals(number).name
        loop.add_signal_handler(number, node.tasks.request_shutdown, f"received {name}")


async def _announce(node: Node, addresses: dict[str, ListenAddress]) -> None:
    await node.ready.until(bool)
    shown = {name: f"http://{address}" for name, address in addresses.items()}
    shown["fabric"] = str(node.options.advertised_address)
    if "admin" in shown:
        shown["admin"] = str(node.options.admin.advertised_address)
    if "ingress" in shown:
        shown["ingress"] = str(node.options.ingress.advertised_address)
    logger.info(
        "ready",
        node=str(node.cache.me),
        cluster=node.options.cluster_name,
        roles=" | ".join(sorted(role.value for role in node.options.roles)),
        **shown,
    )
    statuses = await _caught_up(node)
    led = sum(status.effective_mode is RunMode.LEADER for status in statuses)
    if statuses:
        logger.info("serving", partitions=len(statuses), led=led, **shown)


async def _caught_up(node: Node) -> Sequence[ProcessorStatus]:
    """Statuses once every partition placed here is active; none when that takes unusually long.

    What happens after a start is many lines; the one behind them tells people the addresses again.
    """
    for _ in range(LOOKS_MAX if node.worker is not None else 0):
        statuses = node.worker.statuses() if node.worker is not None else []
        if statuses and all(status.replay_status is ReplayStatus.ACTIVE for status in statuses):
            return statuses
        await asyncio.sleep(LOOK_S)
    return []


def _exit_code(cause: ShutdownCause) -> int:
    if cause.error is None:
        logger.info("stopped", reason=cause.reason)
        return EXIT_OK
    expected = isinstance(cause.error, EXPECTED)
    line = f"{TARGET}: Shutting down: task {cause.task} failed with: {cause.error!s}"
    logger.error(line, exc_info=None if expected else cause.error)
    shown = cause.error if expected else cause.reason
    print(f"restate-node: {shown}", file=sys.stderr)
    return EXIT_FAILED


def _addresses(options: NodeOptions) -> dict[str, ListenAddress]:
    addresses = {"fabric": ListenAddress(options.bind_ip, options.bind_port)}
    if Role.ADMIN in options.roles:
        admin = options.admin
        addresses["admin"] = ListenAddress(admin.bind_ip or options.bind_ip, admin.bind_port)
    if Role.HTTP_INGRESS in options.roles:
        ingress = options.ingress
        addresses["ingress"] = ListenAddress(ingress.bind_ip or options.bind_ip, ingress.bind_port)
    return addresses


def _check_free(name: str, address: ListenAddress) -> None:
    """A port in use is found before the data directory is touched."""
    key = "bind-port" if name == "fabric" else f"{name}.bind-port"
    try:
        address.check_free()
    except AddressUnusable as error:
        raise StartError(f"{error}; stop what uses it, or change {key}") from None


def _socket_path(options: NodeOptions, short_directory: str, name: str) -> Path:
    """`<base-dir>/<node-name>/<name>`; elsewhere when that is too long for the kernel."""
    path = (Path(options.base_dir) / str(options.node_name) / name).absolute()
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    return Path(short_directory) / name


def _report_stall(stall: LoopStall) -> None:
    """One line; of the stack the innermost calls, the last one first."""
    calls = [f"{file}:{line} {name}" for file, line, name in FRAME.findall(stall.stack)]
    where = {"where": " < ".join(calls[: -STALL_FRAMES_MAX - 1 : -1])} if calls else {}
    logger.warning("event loop was blocked", late_ms=round(stall.late_ms), **where)
