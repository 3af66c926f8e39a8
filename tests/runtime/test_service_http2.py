"""HTTP/2 to services: what peers do to connections, and what becomes of the exchanges on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from h2.connection import H2Connection

from restate_node.runtime.real.service_http2 import Http2Connection
from restate_node.runtime.real.service_stream import ServiceTransportOptions
from restate_node.runtime.real.service_transport import RealServiceTransport
from restate_node.runtime.services import (
    EndpointAddress,
    ExchangeBroken,
    FailureCause,
    RequestHead,
    ServiceUnreachable,
    fetch,
)
from restate_node.sim.services import ServiceCall
from tests.runtime.contracts.service_places import Services
from tests.runtime.service_servers import (
    ServerPlan,
    http2_server,
    limited,
    scripted_server,
)
from tests.runtime.waiting import until

POST = RequestHead("POST", "/whole")
STALLED = RequestHead("POST", "/stalled")
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@asynccontextmanager
async def transport(
    options: ServiceTransportOptions | None = None,
) -> AsyncIterator[RealServiceTransport]:
    opened = RealServiceTransport(options)
    try:
        yield opened
    finally:
        await opened.close()


@limited
async def test_streams_fill_connections() -> None:
    """Goal: as many streams as the peer allows, then another connection, in line when there may
    be none. Method: 2 streams each, 3 connections, 7 exchanges at a stalled service.
    """
    services = Services()
    plan = ServerPlan(services.serve, streams_max=2)
    async with (
        http2_server(plan) as uri,
        transport(ServiceTransportOptions(connections_max=3)) as client,
    ):
        address = EndpointAddress(uri)
        running = [
            asyncio.ensure_future(fetch(client, address, STALLED, b"12", body_bytes_max=9))
            for _ in range(7)
        ]
        await until(lambda: len(plan.paths) == 6)
        await asyncio.sleep(0.05)
        assert len(plan.connections) == 3
        assert len(plan.paths) == 6
        services.let_go.set()
        found = await asyncio.gather(*running)
        assert [one.body for one in found] == [b"2"] * 7


@limited
async def test_line_is_bounded_and_cancelled_places_are_passed_on() -> None:
    """Goal: nobody waits in an endless line, no place is lost. Method: one place, a line of two:
    the next is refused; the first in line is cancelled, the second is served.
    """
    services = Services()
    options = ServiceTransportOptions(connections_max=1, streams_max=1, waiting_exchanges_max=2)
    async with http2_server(ServerPlan(services.serve)) as uri, transport(options) as client:
        address = EndpointAddress(uri)
        first = await client.open(address, STALLED)
        first.finish()
        line = [asyncio.ensure_future(client.open(address, POST)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(ServiceUnreachable) as caught:
            await client.open(address, POST)
        assert caught.value.cause is FailureCause.OVERLOADED
        first.abort()
        line[0].cancel()
        exchange = await line[1]
        exchange.finish()
        assert await exchange.receive() == b"0"


@limited
async def test_goaway_lets_streams_finish() -> None:
    """Goal: a leaving server finishes what it has, new exchanges go to a new connection. Method:
    GOAWAY after the second stream, both of which answer later.
    """
    services = Services()
    plan = ServerPlan(services.serve, goaway_after=2)
    async with http2_server(plan) as uri, transport() as client:
        address = EndpointAddress(uri)
        old = [await client.open(address, STALLED) for _ in range(2)]
        for exchange in old:
            exchange.send(b"abc")
        await until(lambda: plan.connections[0].last_stream_id is not None)
        await asyncio.sleep(0.02)
        plan.goaway_after = 0
        found = await fetch(client, address, POST, b"12", body_bytes_max=9)
        assert found.body == b"2"
        assert len(plan.connections) == 2
        for exchange in old:
            exchange.send(b"def")
            exchange.finish()
        services.let_go.set()
        assert [await exchange.receive() for exchange in old] == [b"6", b"6"]
        await until(lambda: client.connection_count == 1)


@limited
async def test_goaway_of_a_server_that_forgets() -> None:
    """Goal: nobody waits for answers that a leaving server will not give, though it holds the
    connection. Method: GOAWAY of one that hangs up when it hears anything more.
    """
    plan = ServerPlan(Services().serve, goaway_after=1, forgets=True)
    async with http2_server(plan) as uri, transport() as client:
        exchange = await client.open(EndpointAddress(uri), STALLED)
        exchange.finish()
        with pytest.raises(ExchangeBroken, match="leaving"):
            await exchange.response()


@limited
async def test_streams_above_goaway_are_repeated() -> None:
    """Goal: what the server did not begin is done elsewhere, unseen. Method: GOAWAY that names the
    first of three streams; all get their whole answer, two of them on a second connection.
    """
    services = Services()
    plan = ServerPlan(services.serve)
    async with http2_server(plan) as uri, transport() as client:
        address = EndpointAddress(uri)
        exchanges = [await client.open(address, STALLED) for _ in range(3)]
        for exchange in exchanges:
            exchange.send(b"abc")
        await until(lambda: len(plan.paths) == 3)
        plan.connections[0].goaway(1)
        answers = [asyncio.ensure_future(exchange.receive()) for exchange in exchanges]
        await until(lambda: len(plan.paths) == 5)
        for exchange in exchanges:
            exchange.send(b"defg")
            exchange.finish()
        services.let_go.set()
        assert await asyncio.gather(*answers) == [b"7", b"7", b"7"]
        assert [connection.opened for connection in plan.connections] == [3, 2]


@limited
async def test_refused_stream_is_repeated_once() -> None:
    """Goal: one refusal is unseen, a second is an error that is safe to retry. Method: a server
    that refuses the first one, then the first two streams.
    """
    plan = ServerPlan(Services().serve, refuse_first=1)
    async with http2_server(plan) as uri, transport() as client:
        address = EndpointAddress(uri)
        assert (await fetch(client, address, POST, b"123", body_bytes_max=9)).body == b"3"
        plan.refuse_first = 2
        with pytest.raises(ServiceUnreachable, match="REFUSED_STREAM"):
            await fetch(client, address, POST, b"123", body_bytes_max=9)
        assert plan.refuse_first == 0


@limited
async def test_release_is_no_reset() -> None:
    """Goal: servers that count resets see none, and no place is lost. Method: end each exchange as
    an invocation does, before the end of its response was seen; then abort one on purpose.
    """
    services = Services()
    plan = ServerPlan(services.serve)
    async with http2_server(plan) as uri, transport() as client:
        address = EndpointAddress(uri)
        for _ in range(10):
            exchange = await client.open(address, RequestHead("POST", "/echo"))
            exchange.send(b"x")
            assert await exchange.receive() == b"x"
            exchange.release()
            await fetch(client, address, POST, body_bytes_max=9)
        server = plan.connections[0]
        await until(lambda: not server.calls)
        assert server.reset_count == 0
        assert client.connections(address)[0].room == 100
        exchange = await client.open(address, STALLED)
        exchange.abort()
        await until(lambda: server.reset_count == 1)


@limited
async def test_release_of_an_endless_response() -> None:
    """Goal: a service that does not end is told to. Method: release a stalled exchange, wait."""
    plan = ServerPlan(Services().serve)
    options = ServiceTransportOptions(release_timeout_ms=30)
    async with http2_server(plan) as uri, transport(options) as client:
        exchange = await client.open(EndpointAddress(uri), STALLED)
        exchange.release()
        await until(lambda: plan.connections[0].reset_count == 1)


@limited
async def test_what_is_too_large_to_keep_is_not_repeated() -> None:
    """Goal: memory for repetitions is bounded. Method: refuse a request above the limit."""
    plan = ServerPlan(Services().serve, refuse_first=1)
    options = ServiceTransportOptions(replay_bytes_max=10)
    async with http2_server(plan) as uri, transport(options) as client:
        with pytest.raises(ServiceUnreachable) as caught:
            await fetch(client, EndpointAddress(uri), POST, bytes(11), body_bytes_max=9)
        assert caught.value.cause is FailureCause.RESET


@limited
async def test_connections_are_given_up_in_time() -> None:
    """Goal: be gone before a server ends the connection. Method: 3 exchanges per connection."""
    plan = ServerPlan(Services().serve)
    options = ServiceTransportOptions(exchanges_per_connection_max=3)
    async with http2_server(plan) as uri, transport(options) as client:
        for _ in range(7):
            await fetch(client, EndpointAddress(uri), POST, body_bytes_max=9)
        assert [connection.opened for connection in plan.connections] == [3, 3, 1]
        assert client.connection_count == 1


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100, b"SSH-2.0-OpenSSH_9\r\n"]
)
@limited
async def test_peer_that_speaks_something_else(answer: bytes) -> None:
    """Goal: the message says what to change. Method: peers that answer with anything else."""
    async with scripted_server(answer, then="stay") as uri, transport() as client:
        with pytest.raises(ServiceUnreachable, match="use_http_11") as caught:
            await client.open(EndpointAddress(uri), POST)
        assert caught.value.cause is FailureCause.PROTOCOL
        assert client.connection_count == 0


@limited
async def test_peer_that_hangs_up_first() -> None:
    """Goal: the most likely reason is named. Method: a peer that closes instead of answering."""
    async with scripted_server(b"", then="close") as uri, transport() as client:
        with pytest.raises(ServiceUnreachable, match="use_http_11") as caught:
            await client.open(EndpointAddress(uri), POST)
        assert caught.value.cause is FailureCause.CLOSED


@limited
async def test_idle_connection_is_doubted_when_it_is_used() -> None:
    """Goal: an exchange does not wait for a connection that died unheard. Method: a peer that
    answers once, then nothing: the ping leaves with the next request, and its limit counts.
    """
    options = ServiceTransportOptions(keep_alive_interval_ms=30, keep_alive_timeout_ms=60_000)
    async with scripted_server(SETTINGS, then="stay") as uri, transport(options) as client:
        first = await client.open(EndpointAddress(uri), POST)
        first.abort()
        await asyncio.sleep(0.1)
        connection = client.connections(EndpointAddress(uri))[0]
        assert isinstance(connection, Http2Connection)
        assert not connection.is_asking
        await client.open(EndpointAddress(uri), POST)
        assert connection.is_asking


@limited
async def test_garbage_in_an_exchange() -> None:
    """Goal: nonsense ends the exchange at once. Method: good settings, then bytes of anything."""
    async with scripted_server(SETTINGS, b"\xff" * 100, then="stay") as uri, transport() as client:
        with pytest.raises(ExchangeBroken, match="violated HTTP/2") as caught:
            await fetch(client, EndpointAddress(uri), POST, body_bytes_max=9)
        assert caught.value.cause is FailureCause.PROTOCOL


@limited
async def test_silent_peers() -> None:
    """Goal: no wait without a limit. Method: one that accepts and says nothing; one that says
    nothing after its settings, and is pinged.
    """
    options = ServiceTransportOptions(
        connect_timeout_ms=100, keep_alive_interval_ms=50, keep_alive_timeout_ms=50
    )
    async with scripted_server(b"", then="stay") as uri, transport(options) as client:
        with pytest.raises(ServiceUnreachable, match="100 ms") as unreachable:
            await client.open(EndpointAddress(uri), POST)
        assert unreachable.value.cause is FailureCause.TIMEOUT
    async with scripted_server(SETTINGS, then="stay") as uri, transport(options) as client:
        with pytest.raises(ExchangeBroken, match="ping") as broken:
            await fetch(client, EndpointAddress(uri), POST, body_bytes_max=9)
        assert broken.value.cause is FailureCause.TIMEOUT


@limited
async def test_pings_keep_a_slow_exchange() -> None:
    """Goal: slow is not dead. Method: many keep-alive times pass before the service answers."""
    services = Services()
    options = ServiceTransportOptions(keep_alive_interval_ms=20, keep_alive_timeout_ms=500)
    async with http2_server(ServerPlan(services.serve)) as uri, transport(options) as client:
        exchange = await client.open(EndpointAddress(uri), STALLED)
        exchange.finish()
        await asyncio.sleep(0.3)
        services.let_go.set()
        assert await exchange.receive() == b"0"


@limited
async def test_idle_connections_are_closed() -> None:
    """Goal: descriptors are for use. Method: a short idle time, wait until none is open."""
    options = ServiceTransportOptions(idle_timeout_ms=30)
    async with http2_server(ServerPlan(Services().serve)) as uri, transport(options) as client:
        await fetch(client, EndpointAddress(uri), POST, body_bytes_max=9)
        assert client.connection_count == 1
        await until(lambda: client.connection_count == 0)


async def _cut(call: ServiceCall, plan: ServerPlan) -> None:
    call.start(200)
    call.send(b"half")
    await call.receive()
    plan.connections[-1].transport.abort()


@limited
async def test_connection_lost_in_a_body() -> None:
    """Goal: half an answer is none. Method: the server aborts its socket after some bytes."""
    plan = ServerPlan(lambda call: _cut(call, plan))
    async with http2_server(plan) as uri, transport() as client:
        exchange = await client.open(EndpointAddress(uri), POST)
        assert await exchange.receive() == b"half"
        exchange.send(b"go")
        with pytest.raises(ExchangeBroken) as caught:
            await exchange.receive()
        assert caught.value.cause is FailureCause.CLOSED


async def _boast(call: ServiceCall) -> None:
    call.start(200, tuple((f"x-{number}", "y" * 1000) for number in range(200)))


@limited
async def test_huge_head() -> None:
    """Goal: headers are bounded too. Method: 200 kB of them."""
    async with http2_server(ServerPlan(_boast)) as uri, transport() as client:
        with pytest.raises(ExchangeBroken) as caught:
            await fetch(client, EndpointAddress(uri), POST, body_bytes_max=9)
        assert caught.value.cause is FailureCause.PROTOCOL
        assert client.connection_count == 0


@limited
async def test_exchanges_of_one_turn_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: many small exchanges, few system calls. Method: count what the server reads."""
    plan = ServerPlan(Services().serve)
    async with http2_server(plan) as uri, transport() as client:
        address = EndpointAddress(uri)
        await fetch(client, address, POST, body_bytes_max=9)
        server = plan.connections[0]
        reads: list[int] = []
        receive = H2Connection.receive_data

        def counted(library: H2Connection, data: bytes) -> list[object]:
            if library is server.library:
                reads.append(len(data))
            return receive(library, data)

        monkeypatch.setattr(H2Connection, "receive_data", counted)
        await asyncio.gather(
            *(fetch(client, address, POST, b"x" * 10, body_bytes_max=9) for _ in range(50))
        )
        assert len(reads) <= 5
