"""Users' services in memory: the ServiceTransport port, and what a nemesis may do to exchanges.

A service is an async callable per address. It lives in the world, beside all nodes, and sees one
call after the other as an HTTP server would: the head of a request, its body as it arrives, and a
response of which it decides each piece.

    node:     exchange ── request pipe ──▶ call ─▶ async def service(call)
                       ◀── response pipe ──

A pipe is one direction of one exchange: what is sent arrives whole, in order, once, after a delay
from the seed, and no more of it is under way than the window. Legal faults, and why:

    refused            nobody listens at that moment
    refused stream     a server that is full or leaves answers so; the service never ran
    cut                a connection breaks while the service works; it goes on and is not heard
    dead node          its exchanges break for the service, which learns it when it next receives

Only time, tasks and callbacks are wanted of the loop, so the port contract also runs on an ordinary
one. Services must not keep the loop busy, and end when their caller is gone.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeAlias

from restate_node.runtime.services import (
    EndpointAddress,
    Exchange,
    ExchangeBroken,
    FailureCause,
    Headers,
    HttpVersion,
    RequestHead,
    ResponseHead,
    ServiceError,
    ServiceUnreachable,
)
from restate_node.sim.hosts import Death, Incarnation

Tracer = Callable[[str], None]


class CallerGone(Exception):
    """The node broke off the exchange, or died: nobody wants the response."""


@dataclass(frozen=True, slots=True)
class SimServiceOptions:
    """How services and the way to them behave; all probabilities are per exchange."""

    delay_seconds_min: float = 0.000_1
    delay_seconds_max: float = 0.005
    window_bytes: int = 2 * 1024 * 1024
    backlog_bytes_low: int = 256 * 1024
    refuse_probability: float = 0.0
    refuse_stream_probability: float = 0.0
    cut_probability: float = 0.0
    cut_seconds_mean: float = 0.05
    """A cut comes after a time of this mean, if the exchange still runs then."""


# ---------------------------------------------------------------- one direction


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing follows."""


_Item: TypeAlias = bytes | ResponseHead | _End | ServiceError


class _Pipe:
    """One direction of an exchange, with the receiver's inbox at its end."""

    def __init__(self, services: SimServices) -> None:
        self._services = services
        self._unsent = bytearray()
        self._finished = False
        self._is_discarded = False
        self._window_bytes = services.options.window_bytes
        self._arrival_last = 0.0
        self._under_way: deque[_Item] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self.is_closed = False
        """The sender can no longer put anything in."""
        self.head: ResponseHead | None = None
        self.received = bytearray()
        self.ended = False
        self.error: ServiceError | None = None

    # ------------------------------------------------------------ sender

    @property
    def backlog_bytes(self) -> int:
        return len(self._unsent)

    def send(self, data: bytes) -> None:
        assert not self._finished
        if not self.is_closed:
            self._unsent += data
            self._pump()

    def start(self, head: ResponseHead) -> None:
        if not self.is_closed:
            self._travel(head)

    def finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._pump()

    def fail(self, error: ServiceError) -> None:
        """Let the receiver know, behind what is under way; nothing can be sent after it."""
        if not self.is_closed:
            self.is_closed = True
            self._unsent.clear()
            self._travel(error)
            self._wake()

    async def drained(self) -> None:
        while not self.is_closed and len(self._unsent) > self._services.options.backlog_bytes_low:
            await self._changed()

    def _pump(self) -> None:
        size = min(len(self._unsent), self._window_bytes)
        if size and not self.is_closed:
            self._window_bytes -= size
            self._travel(bytes(self._unsent[:size]))
            del self._unsent[:size]
            self._wake()
        if self._finished and not self._unsent and not self.is_closed:
            self.is_closed = True
            self._travel(_End())

    def _travel(self, item: _Item) -> None:
        services = self._services
        self._arrival_last = max(self._arrival_last, services.now() + services.delay_seconds())
        # One timer per item; whichever fires takes the oldest, so order does not depend on timers.
        self._under_way.append(item)
        services.at(self._arrival_last, self._arrive)

    # ------------------------------------------------------------ receiver

    async def receive(self) -> bytes:
        """What has arrived; b"" at the end. Raises the error that ended the pipe."""
        while not self.received:
            if self.error is not None:
                raise self.error.with_traceback(None)
            if self.ended:
                return b""
            await self._changed()
        data = bytes(self.received)
        self.received.clear()
        self._window_bytes += len(data)
        self._pump()
        return data

    async def response(self) -> ResponseHead:
        while self.head is None:
            if self.error is not None:
                raise self.error.with_traceback(None)
            await self._changed()
        return self.head

    def discard(self) -> None:
        """Nobody wants what still comes."""
        self._is_discarded = True
        self._drop()

    def _drop(self) -> None:
        self._window_bytes += len(self.received)
        self.received.clear()
        self._pump()

    def break_off(self, error: ServiceError) -> None:
        """The receiver is told at once; what is under way is lost. The first error counts."""
        self.is_closed = True
        self._unsent.clear()
        if not self.ended and self.error is None:
            self.error = error
        self._wake()

    def _arrive(self) -> None:
        item = self._under_way.popleft()
        if self.ended or self.error is not None:
            return
        match item:
            case ResponseHead():
                self.head = item
            case _End():
                self.ended = True
            case ServiceError():
                self.error = item
            case _:
                self.received += item
        if self._is_discarded:
            self._drop()
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _changed(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        # Cancellation only cancels the waiter, which `_wake` skips.
        await waiter


# ---------------------------------------------------------------- both sides


class ServiceCall:
    """What a service sees of one exchange."""

    def __init__(self, head: RequestHead, request: _Pipe, response: _Pipe) -> None:
        self.head = head
        self._request = request
        self._response = response

    async def receive(self) -> bytes:
        """Next bytes of the request, b"" at its end; raises CallerGone."""
        try:
            return await self._request.receive()
        except ServiceError as error:
            raise CallerGone(str(error)) from error

    def start(self, status: int, headers: Headers = ()) -> None:
        """Head of the response; once, before any of its bytes."""
        self._response.start(ResponseHead(status, headers, HttpVersion.HTTP_2))

    def send(self, data: bytes) -> None:
        """Bytes of the response; those for a caller that is gone vanish."""
        self._response.send(data)

    async def drained(self) -> None:
        """Wait until most of the response so far is under way, or the caller is gone."""
        await self._response.drained()


Service = Callable[[ServiceCall], Coroutine[Any, Any, None]]
"""Returning ends the response; raising resets the exchange."""


class SimExchange:
    """The `Exchange` port of one incarnation."""

    def __init__(self, address: EndpointAddress, request: _Pipe, response: _Pipe) -> None:
        self._address = address
        self._request = request
        self._response = response

    def send(self, data: bytes) -> None:
        self._request.send(data)

    @property
    def backlog_bytes(self) -> int:
        return self._request.backlog_bytes

    async def drained(self) -> None:
        await self._request.drained()

    def finish(self) -> None:
        self._request.finish()

    async def response(self) -> ResponseHead:
        return await self._response.response()

    async def receive(self) -> bytes:
        return await self._response.receive()

    def release(self) -> None:
        """A service that never ends stays a task of the world: such a test hangs by itself."""
        self._request.finish()
        self._response.discard()

    def abort(self) -> None:
        self.lose(FailureCause.ABORTED, "the exchange was aborted")

    @property
    def is_over(self) -> bool:
        return self._request.is_closed and (self._response.ended or bool(self._response.error))

    def lose(self, cause: FailureCause, detail: str) -> None:
        """Both sides learn that it broke: this one now, the service later."""
        if self.is_over:
            return
        error = ExchangeBroken(self._address, cause, detail)
        self._request.fail(error)
        self._response.break_off(error)

    def refuse(self) -> None:
        """The service did nothing with it, and says so."""
        detail = "the service refused the stream (REFUSED_STREAM)"
        self._request.is_closed = True
        self._response.fail(ServiceUnreachable(self._address, FailureCause.RESET, detail))


# ---------------------------------------------------------------- the world


class SimServices:
    """All services, all exchanges, all faults."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        randomness: random.Random,
        options: SimServiceOptions | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.options = options or SimServiceOptions()
        self._loop = loop
        self._randomness = randomness
        self._tracer = tracer
        self._services: dict[str, Service] = {}
        self._known: set[str] = set()
        self._exchanges: dict[SimExchange, tuple[str, Incarnation]] = {}
        self._running: dict[asyncio.Task[None], None] = {}
        # Services and timers belong to no process of a node.
        self._world = Context()

    def serve(self, uri: str, service: Service) -> None:
        """Listen at an address, in place of what did before."""
        self._services[uri] = service
        self._known.add(uri)

    def stop(self, uri: str) -> None:
        """Listen no longer, and break what runs there."""
        self._services.pop(uri, None)
        for exchange, (where, _) in list(self._exchanges.items()):
            if where == uri:
                self.trace(f"stop {uri}")
                exchange.lose(FailureCause.CLOSED, "the service closed the connection")

    def mount(self, incarnation: Incarnation) -> SimServiceTransport:
        """The port for one incarnation."""
        incarnation.at_death(lambda death: self._died(incarnation, death))
        return SimServiceTransport(self, incarnation)

    @property
    def exchange_count(self) -> int:
        """Exchanges that are not over on the side of the node."""
        return sum(not exchange.is_over for exchange in self._exchanges)

    def _died(self, incarnation: Incarnation, death: Death) -> None:
        for exchange, (_, owner) in list(self._exchanges.items()):
            if owner is incarnation:
                exchange.lose(FailureCause.CLOSED, f"the node is gone ({death.value})")

    # ------------------------------------------------------------ for the port

    def is_known(self, uri: str) -> bool:
        """Something is served there, or was."""
        return uri in self._known

    def is_listening(self, uri: str) -> bool:
        return uri in self._services and not self.chance(self.options.refuse_probability)

    def begin(
        self, incarnation: Incarnation, address: EndpointAddress, head: RequestHead
    ) -> SimExchange:
        """An exchange, with the service running on its other side unless it refuses."""
        request, response = _Pipe(self), _Pipe(self)
        exchange = SimExchange(address, request, response)
        self._forget_finished()
        self._exchanges[exchange] = (address.uri, incarnation)
        self.trace(f"{incarnation} {head.method} {address.uri}{head.path}")
        if self.chance(self.options.refuse_stream_probability):
            exchange.refuse()
            return exchange
        if self.chance(self.options.cut_probability):
            seconds = self._randomness.expovariate(1 / self.options.cut_seconds_mean)
            detail = "connection lost: reset by peer"
            self.at(self.now() + seconds, lambda: exchange.lose(FailureCause.CLOSED, detail))
        call = ServiceCall(head, request, response)
        activity = self._run(self._services[address.uri], call, address, response)
        task = self._loop.create_task(activity, context=self._world)
        self._running[task] = None
        task.add_done_callback(lambda done: self._running.pop(done), context=self._world)
        return exchange

    async def _run(
        self, service: Service, call: ServiceCall, address: EndpointAddress, response: _Pipe
    ) -> None:
        try:
            await service(call)
        except CallerGone as gone:
            self.trace(f"{address.uri} noticed: {gone}")
        except Exception as error:
            self.trace(f"{address.uri} failed: {error!r}")
            detail = "the service reset the stream (INTERNAL_ERROR)"
            response.fail(ExchangeBroken(address, FailureCause.RESET, detail))
        else:
            response.finish()

    def _forget_finished(self) -> None:
        over = [exchange for exchange in self._exchanges if exchange.is_over]
        for exchange in over:
            del self._exchanges[exchange]

    # ------------------------------------------------------------ for pipes

    def now(self) -> float:
        return self._loop.time()

    def at(self, when: float, callback: Callable[[], None]) -> None:
        self._loop.call_at(when, callback, context=self._world)

    def delay_seconds(self) -> float:
        options = self.options
        return self._randomness.uniform(options.delay_seconds_min, options.delay_seconds_max)

    def chance(self, probability: float) -> bool:
        return probability > 0 and self._randomness.random() < probability

    def trace(self, text: str) -> None:
        if self._tracer is not None:
            self._tracer(f"services {text}")


class SimServiceTransport:
    """The `ServiceTransport` port of one incarnation."""

    def __init__(self, services: SimServices, incarnation: Incarnation) -> None:
        self._services = services
        self._incarnation = incarnation
        self._exchanges: list[SimExchange] = []
        self._closed = False

    async def open(self, address: EndpointAddress, head: RequestHead) -> Exchange:
        """See the port; the identity of the cluster is not simulated."""
        services = self._services
        await asyncio.sleep(services.delay_seconds())
        if self._closed:
            raise ServiceUnreachable(address, FailureCause.CLOSED, "this node is stopping")
        if not services.is_listening(address.uri):
            detail = f"connection to {address.uri} refused"
            raise ServiceUnreachable(address, FailureCause.REFUSED, detail)
        exchange = services.begin(self._incarnation, address, head)
        self._exchanges = [other for other in self._exchanges if not other.is_over]
        self._exchanges.append(exchange)
        return exchange

    async def close(self) -> None:
        self._closed = True
        for exchange in self._exchanges:
            exchange.lose(FailureCause.CLOSED, "this node is stopping")
