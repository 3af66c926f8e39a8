"""A listening TCP port that lets many connections in at once.

uvloop accepts one connection of a port in each turn of the loop. The turns of a loaded node take
milliseconds, so a thousand clients that come back together would be let in over seconds, though to
let one in costs 50 µs. Here a turn takes as many as `ACCEPTED_PER_TURN_MAX`.

    readable ─▶ accept, accept, … until none waits or it is enough for this turn
    no descriptor or memory left ─▶ nothing is accepted for a second, the rest waits in the backlog

Driven by the loop, as a reader of the listening sockets.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

import structlog

from restate_node.runtime.real.front_address import AddressUnusable, ListenAddress

logger = structlog.get_logger(__name__)

ACCEPTED_PER_TURN_MAX: Final = 64
"""Some milliseconds of work: the loop is not held longer, and those who are in are served too."""
OUT_OF_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE_S: Final = 1.0


class Listener:
    """Makes a protocol of each connection until it is closed."""

    def __init__(
        self, sockets: list[socket.socket], protocol: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        """Takes over the listening `sockets`, see `listen`, and begins to accept."""
        self._sockets = sockets
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._resume()

    @property
    def bound(self) -> ListenAddress:
        """The first address, with the port that the system chose."""
        host, port = self._sockets[0].getsockname()[:2]
        return ListenAddress(host, port)

    def close(self) -> None:
        """Accept no more; what was accepted lives on."""
        if self._pause is not None:
            self._pause.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()

    def _resume(self) -> None:
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept_some, listening)

    def _accept_some(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_PER_TURN_MAX):
            try:
                connection, _ = listening.accept()
            except OSError as error:
                # None waits, or the one that did has gone, unless this machine has no more room.
                if error.errno in OUT_OF_ROOM:
                    self._wait_a_little(error)
                return
            connection.setblocking(False)
            opening = self._loop.create_task(self._open(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:
            connection.close()
            logger.debug("connection was lost while it was accepted", error=str(error))

    def _wait_a_little(self, error: OSError) -> None:
        """Out of descriptors or memory: to ask again at once would only burn the processor."""
        logger.warning(
            "cannot accept connections; raise the limit of open files (ulimit -n)",
            address=str(self.bound),
            error=error.strerror,
        )
        for listening in self._sockets:
            self._loop.remove_reader(listening)
        self._pause = self._loop.call_later(PAUSE_S, self._resume)


async def listen(address: ListenAddress, backlog_max: int) -> list[socket.socket]:
    """A socket for each address that the host has; raises AddressUnusable."""
    sockets: list[socket.socket] = []
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, place in dict.fromkeys((info[0], info[4][:2]) for info in found):
            sockets.append(socket.create_server(place, family=family, backlog=backlog_max))
            sockets[-1].setblocking(False)
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise AddressUnusable(
            f"cannot listen on {address}: {error.strerror or error}; "
            "stop the process that uses it, or set another bind-address or bind-port"
        ) from error
    return sockets
