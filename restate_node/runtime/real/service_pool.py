"""The connections to one address, shared by all exchanges with it.

    stream ─▶ a connection with room?  ─ yes ─▶ open there
                  │ no
                  ├─ enough being opened for those who wait? ─ no, and below the limit ─▶ open one
                  └─ wait in line until a place, a connection or a failure is there ─▶ look again

Who needs a connection opens it, in its own task: nothing runs in the background. The line holds
futures; being woken means "look again", and who cannot look any more passes it on.

Invariants
    1. At most `connections_max` connections, `waiting_exchanges_max` in line; one more is refused.
    2. A connection that cannot be opened fails all that waited for it, each once.
    3. A place is never lost: cancelled, failed, or served, the next in line is woken.

Driven by `service_transport`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from restate_node.runtime.real.service_connecting import connect
from restate_node.runtime.real.service_stream import (
    Peer,
    ServiceConnection,
    ServiceStream,
    ServiceTransportOptions,
)
from restate_node.runtime.services import (
    FailureCause,
    HttpVersion,
    RequestHead,
    ServiceUnreachable,
)


class ServicePool:
    """`stream` is for the transport; the rest is what connections tell."""

    def __init__(
        self, peer: Peer, options: ServiceTransportOptions, security: ssl.SSLContext | None
    ) -> None:
        self.peer = peer
        self._options = options
        self._security = security
        self._connections: list[ServiceConnection] = []
        self._opening_count = 0
        self._line: deque[asyncio.Future[None]] = deque()
        http1 = peer.address.http_version is HttpVersion.HTTP_1_1
        self._capacity = 1 if http1 else options.streams_max
        """How many of those in line the next connection will serve, judging by the last one."""
        self._closed = False

    @property
    def is_unused(self) -> bool:
        """Nothing would be lost with it."""
        return not (self._connections or self._opening_count or self._line)

    @property
    def connections(self) -> tuple[ServiceConnection, ...]:
        """Those that are open."""
        return tuple(self._connections)

    async def stream(self, head: RequestHead) -> ServiceStream:
        """Open an exchange where there is room; raises ServiceUnreachable. Cancellation-safe."""
        while True:
            if self._closed:
                raise self.peer.unreachable(FailureCause.CLOSED, "this node is stopping")
            for connection in self._connections:
                if connection.room > 0:
                    # The next in line may find room here too: one wake-up each is enough.
                    stream = connection.open_stream(head)
                    if self._line and connection.room > 0:
                        self._wake_next()
                    return stream
            if self._another_is_needed():
                await self._open_connection()
            else:
                await self._wait_in_line()

    def close(self, reason: str) -> None:
        """Break what runs; nothing can be opened afterwards."""
        self._closed = True
        for connection in list(self._connections):
            connection.close(reason)
        while self._line:
            self._wake_next()

    # ------------------------------------------------------------ PoolSide

    def room_changed(self) -> None:
        self._wake_next()

    def connection_closed(self, connection: ServiceConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._wake_next()

    # ------------------------------------------------------------ small parts

    def _another_is_needed(self) -> bool:
        count = len(self._connections) + self._opening_count
        # Who opens a connection will take a place on it too.
        looking = len(self._line) + self._opening_count
        enough = self._opening_count * self._capacity
        return count < self._options.connections_max and looking >= enough

    async def _open_connection(self) -> None:
        self._opening_count += 1
        try:
            connection = await connect(self.peer, self._options, self, self._security)
        except ServiceUnreachable as error:
            self._opening_count -= 1
            self._fail_line(error)
            raise
        except BaseException:
            self._opening_count -= 1
            self._wake_next()
            raise
        self._opening_count -= 1
        if self._closed:
            connection.close("this node is stopping")
            return
        self._capacity = max(1, connection.capacity)
        self._connections.append(connection)
        # If it holds fewer than was thought, those in line need more of them.
        self._wake_next()

    def _fail_line(self, error: ServiceUnreachable) -> None:
        """Those who waited learn why, unless another connection is under way for them."""
        if self._opening_count:
            return
        line, self._line = self._line, deque()
        for place in line:
            if not place.done():
                place.set_exception(self.peer.unreachable(error.cause, error.detail))

    async def _wait_in_line(self) -> None:
        if len(self._line) >= self._options.waiting_exchanges_max:
            detail = f"{len(self._line)} exchanges wait for a connection; retry later"
            raise self.peer.unreachable(FailureCause.OVERLOADED, detail)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                # Woken and cancelled in one turn: the place is for the next.
                self._wake_next()
            raise

    def _wake_next(self) -> None:
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
