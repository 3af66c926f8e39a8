"""A TCP port with two kinds of clients, told apart by their first bytes. The fabric port is one:
nodes, operators and monitoring all come in there. The port of the ingress is another, see
`ingress_server`.

    accept ─▶ first four bytes ─┬─ frame magic   ─▶ data plane, the protocol is switched in place
                                ├─ anything else ─▶ control plane (spliced to its unix socket)
                                └─ none in time  ─▶ closed

The decision costs node-to-node traffic nothing: once it is made, the transport calls the data
plane's protocol directly, and this module is out of the way. The magic must not be the beginning of
HTTP/1.1, of the HTTP/2 preface or of a TLS record.

Invariants: at most `unidentified_max` connections that have not shown what they are, each for at
most `identify_timeout_ms`; more are refused at once, whoever they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

import structlog

from restate_node.runtime.real.front_address import ListenAddress
from restate_node.runtime.real.listener import Listener, listen

logger = structlog.get_logger(__name__)

Acceptor: TypeAlias = Callable[[asyncio.Transport, bytes], asyncio.BaseProtocol]
"""Takes over an open connection and the bytes already read from it. The protocol it returns is
called by the transport from then on, starting with `data_received` for what follows those bytes;
`connection_made` is not called."""

FRAME_MAGIC = b"RSTN"


@dataclass(frozen=True, slots=True)
class FrontOptions:
    """Limits of the front."""

    unidentified_max: int = 256
    identify_timeout_ms: int = 3_000
    backlog_max: int = 512
    """Connections that the kernel holds until they are accepted."""

    def validate(self) -> None:
        for name in ("unidentified_max", "identify_timeout_ms", "backlog_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


class Front:
    """Listens on one TCP address and hands every connection to whom it is meant for: those that
    begin with the magic to `magical`, all the others to `ordinary`.
    """

    def __init__(
        self,
        address: ListenAddress,
        magical: Acceptor,
        ordinary: Acceptor,
        options: FrontOptions | None = None,
        magic: bytes = FRAME_MAGIC,
    ) -> None:
        self.options = options or FrontOptions()
        self.options.validate()
        self._address = address
        self._magical = magical
        self._ordinary = ordinary
        self.magic = magic
        self._unidentified: set[asyncio.Transport] = set()
        self._bound: ListenAddress | None = None
        self.started = asyncio.Event()
        """Set once the port accepts connections."""

    @property
    def bound(self) -> ListenAddress:
        """The address as bound, with the port that the system chose. Valid after `started`."""
        assert self._bound is not None, "wait for `started` first"
        return self._bound

    @property
    def unidentified_count(self) -> int:
        return len(self._unidentified)

    async def run(self) -> None:
        """Accept until cancelled; raises AddressUnusable. Handed-over connections live on."""
        sockets = await listen(self._address, self.options.backlog_max)
        listener = Listener(sockets, lambda: Greeting(self))
        self._bound = listener.bound
        self.started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            listener.close()
            for transport in list(self._unidentified):
                transport.abort()

    def admit(self, transport: asyncio.Transport) -> bool:
        """Counts a new connection; False if there are too many unidentified ones."""
        if len(self._unidentified) >= self.options.unidentified_max:
            return False
        self._unidentified.add(transport)
        return True

    def forget(self, transport: asyncio.Transport) -> None:
        """The connection is identified or gone."""
        self._unidentified.discard(transport)

    def hand_over(self, transport: asyncio.Transport, head: bytes) -> None:
        """Switch the connection to those it is meant for."""
        self.forget(transport)
        acceptor = self._magical if head.startswith(self.magic) else self._ordinary
        try:
            transport.set_protocol(acceptor(transport, head))
        except Exception as error:
            logger.error("connection was not accepted", error=repr(error))
            transport.abort()


class Greeting(asyncio.Protocol):
    """A connection that has not shown yet what it is."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._front.admit(self._transport):
            self._transport.abort()
            return
        timeout_s = self._front.options.identify_timeout_ms / 1000
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if (
            len(self._head) < len(self._front.magic)
            or self._transport is None
            or self._timer is None
        ):
            return
        self._timer.cancel()
        self._front.hand_over(self._transport, self._head)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._front.forget(self._transport)
