"""Simulated services: exchanges repeat from their seed, and every fault does what its name says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from restate_node.runtime.services import (
    EndpointAddress,
    ExchangeBroken,
    FailureCause,
    RequestHead,
    ServiceError,
    ServiceUnreachable,
    fetch,
)
from restate_node.sim.hosts import Death
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.services import (
    CallerGone,
    ServiceCall,
    SimServiceOptions,
    SimServices,
)

SEEDS = range(6)
URI = "http://greeter:9080"
ADDRESS = EndpointAddress(URI)
POST = RequestHead("POST", "/invoke/Greeter/greet")


@dataclass
class World:
    """One node and one service that echoes, and remembers how its calls ended."""

    loop: SimLoop
    options: SimServiceOptions | None = None
    ends: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        randomness = self.loop.streams.stream("services")
        self.services = SimServices(self.loop, randomness, self.options, self.loop.trace)
        self.services.serve(URI, self.echo)
        self.node = self.loop.boot("node-1")
        self.transport = self.services.mount(self.node)

    async def echo(self, call: ServiceCall) -> None:
        call.start(200)
        try:
            while data := await call.receive():
                call.send(data)
            self.ends.append("finished")
        except CallerGone:
            self.ends.append("gone")
            raise

    async def try_once(self) -> str:
        """What one exchange of the node comes to."""
        try:
            found = await fetch(self.transport, ADDRESS, POST, b"hello", body_bytes_max=99)
        except ServiceError as error:
            return f"{type(error).__name__} {error.cause.value}"
        return found.body.decode()


def run(
    main: Callable[[World], Awaitable[None]],
    seed: int = 1,
    options: SimServiceOptions | None = None,
) -> str:
    async def build(loop: SimLoop) -> None:
        await main(World(loop, options))

    return simulate(seed, build).trace_hash


def test_same_seed_same_exchanges() -> None:
    """Goal: one seed, one trace; another seed, another. Method: a few exchanges under faults."""
    options = SimServiceOptions(
        refuse_probability=0.2, refuse_stream_probability=0.2, cut_probability=0.3
    )

    async def main(world: World) -> None:
        await asyncio.gather(*(world.try_once() for _ in range(20)))

    assert run(main, 3, options) == run(main, 3, options) != run(main, 4, options)


@pytest.mark.parametrize(
    ("options", "outcome", "ends"),
    [
        (SimServiceOptions(), "hello", ["finished"]),
        (SimServiceOptions(refuse_probability=1), "ServiceUnreachable refused", []),
        (SimServiceOptions(refuse_stream_probability=1), "ServiceUnreachable reset", []),
    ],
)
def test_refusals_mean_that_nothing_ran(
    options: SimServiceOptions, outcome: str, ends: list[str]
) -> None:
    """Goal: safe to repeat is the truth. Method: what the service saw, for each refusal."""

    async def main(world: World) -> None:
        assert await world.try_once() == outcome
        await asyncio.sleep(1)
        assert world.ends == ends

    run(main, options=options)


@pytest.mark.parametrize("seed", SEEDS)
def test_cut_breaks_both_sides(seed: int) -> None:
    """Goal: a cut is seen by the node at once, by the service when it listens. Method: an open
    exchange that is cut for certain.
    """

    async def main(world: World) -> None:
        exchange = await world.transport.open(ADDRESS, POST)
        exchange.send(b"x")
        with pytest.raises(ExchangeBroken) as caught:
            while await exchange.receive():
                pass
        assert caught.value.cause is FailureCause.CLOSED
        await asyncio.sleep(1)
        assert world.ends == ["gone"]
        assert world.services.exchange_count == 0

    run(main, seed, SimServiceOptions(cut_probability=1))


@pytest.mark.parametrize("death", list(Death))
def test_service_outlives_its_caller(death: Death) -> None:
    """Goal: nothing of a dead node goes on, its services do. Method: kill the node in the middle of
    an exchange; the service notices, a new incarnation is served.
    """

    async def main(world: World) -> None:
        heard: list[bytes] = []

        async def call() -> None:
            exchange = await world.transport.open(ADDRESS, POST)
            exchange.send(b"x")
            while data := await exchange.receive():
                heard.append(data)

        world.loop.spawn(world.node, call())
        await asyncio.sleep(1)
        assert heard == [b"x"]
        world.loop.kill(world.node, death)
        await asyncio.sleep(1)
        assert world.ends == ["gone"]
        world.transport = world.services.mount(world.loop.boot("node-1"))
        assert await world.try_once() == "hello"

    run(main)


def test_stopped_service_is_refused_until_it_is_back() -> None:
    """Goal: a service restarts as a process does. Method: stop with an exchange open, go on."""

    async def main(world: World) -> None:
        exchange = await world.transport.open(ADDRESS, POST)
        await exchange.response()
        world.services.stop(URI)
        with pytest.raises(ExchangeBroken):
            await exchange.receive()
        with pytest.raises(ServiceUnreachable):
            await world.transport.open(ADDRESS, POST)
        world.services.serve(URI, world.echo)
        assert await world.try_once() == "hello"

    run(main)


def test_service_that_raises_is_reset() -> None:
    """Goal: a service that fails is an error of its exchange alone. Method: one that raises."""

    async def failing(call: ServiceCall) -> None:
        await call.receive()
        raise RuntimeError("bug of a user")

    async def main(world: World) -> None:
        world.services.serve(URI, failing)
        assert await world.try_once() == "ExchangeBroken reset"

    run(main)
