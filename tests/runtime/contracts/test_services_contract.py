"""What every service transport promises: over sockets and in the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from restate_node.runtime.services import (
    Exchange,
    ExchangeBroken,
    FailureCause,
    RequestHead,
    ServiceUnreachable,
    fetch,
)
from tests.runtime.service_servers import limited

from .service_places import CONNECTED_PLACES, DUPLEX_PLACES, PIECE, PLACES, Place


@pytest.fixture(params=PLACES, ids=lambda opened: opened.__name__)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with request.param() as opened:
        yield opened


@pytest.fixture(params=CONNECTED_PLACES, ids=lambda opened: opened.__name__)
async def connected(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with request.param() as opened:
        yield opened


@pytest.fixture(params=DUPLEX_PLACES, ids=lambda opened: opened.__name__)
async def duplex(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with request.param() as opened:
        yield opened


def post(path: str) -> RequestHead:
    return RequestHead("POST", path, (("content-type", "application/octet-stream"),))


async def received(exchange: Exchange, count: int) -> bytes:
    """At least so many bytes, or all until the end."""
    data = b""
    while len(data) < count and (more := await exchange.receive()):
        data += more
    return data


@limited
async def test_request_and_response(place: Place) -> None:
    """Goal: the plain case. Method: fetch an echo, look at status, header and body."""
    found = await fetch(place.transport, place.address, post("/echo"), b"hi", body_bytes_max=100)
    assert (found.head.status, found.body) == (200, b"hi")
    assert found.head.header("x-method") == "POST"
    assert found.head.header("x-none") is None


@limited
async def test_empty_bodies(place: Place) -> None:
    """Goal: no body is a body. Method: fetch with nothing, from a service that says nothing."""
    found = await fetch(
        place.transport, place.address, RequestHead("GET", "/none"), body_bytes_max=0
    )
    assert (found.head.status, found.body) == (404, b"")


@limited
async def test_error_status_is_an_answer(place: Place) -> None:
    """Goal: the caller judges a 500, not the transport. Method: an HTML error page."""
    found = await fetch(place.transport, place.address, post("/html"), b"x", body_bytes_max=100)
    assert (found.head.status, found.body) == (500, b"<html>broken</html>")
    assert found.head.header("content-type") == "text/html"


@limited
async def test_many_pieces_make_one_body(place: Place) -> None:
    """Goal: the body arrives whole, in order. Method: send pieces in turns of their own; count."""
    exchange = await place.transport.open(place.address, post("/whole"))
    for _ in range(50):
        exchange.send(b"x" * 1000)
        await asyncio.sleep(0)
    exchange.finish()
    exchange.finish()
    assert await received(exchange, 5) == b"50000"
    assert await exchange.receive() == b""
    assert await exchange.receive() == b""
    assert exchange.backlog_bytes == 0


@limited
async def test_exchanges_do_not_mix(place: Place) -> None:
    """Goal: concurrent exchanges share connections only. Method: 40 at a time, own bodies."""

    async def one(number: int) -> None:
        body = str(number).encode() * 1000
        found = await fetch(
            place.transport, place.address, post("/echo"), body, body_bytes_max=10_000
        )
        assert found.body == body

    await asyncio.gather(*(one(number) for number in range(40)))


@limited
async def test_large_response_waits_for_its_reader(place: Place) -> None:
    """Goal: 16 MiB come whole through a bounded buffer. Method: let it stall, then read it all."""
    exchange = await place.transport.open(place.address, post("/large"))
    exchange.send(b"256")
    exchange.finish()
    assert (await exchange.response()).status == 200
    await asyncio.sleep(0.05)
    pieces = [piece async for piece in _pieces(exchange)]
    assert b"".join(pieces) == PIECE * 256


async def _pieces(exchange: Exchange) -> AsyncIterator[bytes]:
    while piece := await exchange.receive():
        yield piece


@limited
async def test_large_request_waits_for_its_service(place: Place) -> None:
    """Goal: a sender can follow its service. Method: 8 MiB, `drained` after each piece."""
    exchange = await place.transport.open(place.address, post("/whole"))
    for _ in range(128):
        exchange.send(PIECE)
        await exchange.drained()
        assert exchange.backlog_bytes < 4 * 1024 * 1024
    exchange.finish()
    assert await received(exchange, 7) == str(128 * len(PIECE)).encode()


@limited
async def test_nobody_there(connected: Place) -> None:
    """Goal: safe to repeat, in one line that names the address. Method: nobody listens."""
    with pytest.raises(ServiceUnreachable, match="refused") as caught:
        await connected.transport.open(connected.nobody, post("/echo"))
    assert str(caught.value).startswith(connected.nobody.uri)
    assert caught.value.cause is FailureCause.REFUSED
    assert "\n" not in str(caught.value)


@limited
async def test_service_that_breaks_off(place: Place) -> None:
    """Goal: an unfinished response is an error, again on each call. Method: a service raises."""
    exchange = await place.transport.open(place.address, post("/raises"))
    exchange.finish()
    with pytest.raises(ExchangeBroken):
        await received(exchange, 100)
    with pytest.raises(ExchangeBroken) as caught:
        await exchange.receive()
    assert caught.value.address == place.address
    exchange.abort()


@limited
async def test_too_large_for_fetch(place: Place) -> None:
    """Goal: discovery is bounded, and leaves nothing behind. Method: fetch more than allowed."""
    with pytest.raises(ExchangeBroken) as caught:
        await fetch(place.transport, place.address, post("/large"), b"2", body_bytes_max=1000)
    assert caught.value.cause is FailureCause.TOO_LARGE
    found = await fetch(place.transport, place.address, post("/echo"), b"ok", body_bytes_max=9)
    assert found.body == b"ok"


@limited
async def test_abort_ends_the_exchange(place: Place) -> None:
    """Goal: no wait outlives an abort. Method: abort while waiting for a stalled service."""
    exchange = await place.transport.open(place.address, post("/stalled"))
    exchange.finish()
    waiting = asyncio.ensure_future(exchange.response())
    await asyncio.sleep(0)
    exchange.abort()
    exchange.abort()
    with pytest.raises(ExchangeBroken) as caught:
        await waiting
    assert caught.value.cause is FailureCause.ABORTED
    place.services.let_go.set()


@limited
async def test_release_ends_in_order(place: Place) -> None:
    """Goal: who has heard enough leaves without a reset, and the connection serves others. Method:
    release before, within and after the response; then the place is as before.
    """
    for path, count in (("/whole", 0), ("/large", 1), ("/echo", 2)):
        exchange = await place.transport.open(place.address, post(path))
        exchange.send(b"64")
        if count == 0:
            exchange.release()
        else:
            exchange.finish()
            await received(exchange, count)
        exchange.release()
        exchange.release()
    found = await fetch(place.transport, place.address, post("/echo"), b"ok", body_bytes_max=9)
    assert found.body == b"ok"


@limited
async def test_cancelled_waits_lose_nothing(place: Place) -> None:
    """Goal: response and receive may be tried again. Method: cancel each once, then go on."""
    exchange = await place.transport.open(place.address, post("/stalled"))
    exchange.send(b"four")
    exchange.finish()
    for wait in (exchange.response, exchange.receive):
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    place.services.let_go.set()
    assert (await exchange.response()).status == 200
    assert await received(exchange, 1) == b"4"


@limited
async def test_close_breaks_what_runs(place: Place) -> None:
    """Goal: a node that stops waits for nobody. Method: close with an exchange under way."""
    exchange = await place.transport.open(place.address, post("/stalled"))
    exchange.finish()
    await place.transport.close()
    with pytest.raises(ExchangeBroken):
        await exchange.response()
    with pytest.raises(ServiceUnreachable):
        await place.transport.open(place.address, post("/echo"))
    place.services.let_go.set()


@limited
async def test_both_directions_at_once(duplex: Place) -> None:
    """Goal: full duplex. Method: ping-pong on one exchange before the request is finished."""
    exchange = await duplex.transport.open(duplex.address, post("/echo"))
    assert (await exchange.response()).status == 200
    for number in range(10):
        exchange.send(f"ping {number}".encode())
        assert await received(exchange, 6) == f"ping {number}".encode()
    exchange.finish()
    assert await exchange.receive() == b""


@limited
async def test_service_learns_of_an_abort(duplex: Place) -> None:
    """Goal: a service can stop working. Method: abort an open echo; it notes the reset."""
    exchange = await duplex.transport.open(duplex.address, post("/echo"))
    exchange.send(b"x")
    assert await exchange.receive() == b"x"
    exchange.abort()
    await duplex.services.gone.wait()


@limited
async def test_stalled_service_holds_the_sender(duplex: Place) -> None:
    """Goal: memory is bounded by the sender's choice. Method: 8 MiB to a service that does not
    read: `drained` waits; once the service reads, it returns.
    """
    exchange = await duplex.transport.open(duplex.address, post("/stalled"))
    exchange.send(bytes(8 * 1024 * 1024))
    draining = asyncio.ensure_future(exchange.drained())
    done, _ = await asyncio.wait([draining], timeout=0.2)
    assert not done
    assert exchange.backlog_bytes > 1024 * 1024
    duplex.services.let_go.set()
    await draining
    exchange.finish()
    assert await received(exchange, 7) == str(8 * 1024 * 1024).encode()


@limited
async def test_one_unread_response_does_not_stop_others(duplex: Place) -> None:
    """Goal: no head-of-line blocking. Method: several large responses unread, echo goes on."""
    unread = [await duplex.transport.open(duplex.address, post("/large")) for _ in range(5)]
    for exchange in unread:
        exchange.send(b"200")
        exchange.finish()
        await exchange.response()
    for _ in range(20):
        found = await fetch(
            duplex.transport, duplex.address, post("/echo"), b"ok" * 10_000, body_bytes_max=30_000
        )
        assert len(found.body) == 20_000
    for exchange in unread:
        exchange.abort()
