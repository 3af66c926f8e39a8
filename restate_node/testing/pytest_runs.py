"""Runs one test of pytest with its cluster: the cluster starts before the test is called, on a loop
that stays for the test and ends behind it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from restate_node.sim.loop import SimLoop, simulation
from restate_node.testing.asgi import AsgiApplication
from restate_node.testing.embedded import Cluster, ClusterOptions
from restate_node.testing.errors import NotPossible
from restate_node.testing.starting import TEST, started
from restate_node.types.options import NodeOptions

Body = Callable[[], Coroutine[Any, Any, Any]]
OnLoop = Callable[[Coroutine[Any, Any, Any]], Any]

TIMES: Final = ("virtual", "real")


@dataclass(frozen=True, slots=True)
class TestRun:
    """One test and its cluster."""

    cluster: Cluster
    seed: int
    on_loop: OnLoop

    def run(self, body: Body) -> None:
        """The test itself; raises what it raises, and Stuck."""

        async def guarded() -> None:
            with self.cluster.waited_for():
                await body()

        self.on_loop(guarded())


@contextmanager
def begin(wanted: Mapping[str, Any], seed: int) -> Generator[TestRun]:
    """Start a cluster as the marker wants it. Raises NotPossible for what it cannot be."""
    left = dict(wanted)
    applications = _applications(left.pop("app", None))
    time = left.pop("time", "virtual")
    if time not in TIMES:
        raise NotPossible(f"time={time!r}: use one of {', '.join(TIMES)}")
    left["options"] = left.get("options") or NodeOptions()
    try:
        options = ClusterOptions(**left)
    except TypeError as error:
        raise NotPossible(f"the marker restate does not take that: {error}") from None
    loop = _virtual(seed) if time == "virtual" else _real()
    with loop as on_loop:
        starting = started(applications, options, seed)
        restate = on_loop(starting.__aenter__())
        try:
            yield TestRun(restate, seed, on_loop)
        finally:
            on_loop(starting.__aexit__(None, None, None))


def _applications(given: Any) -> Sequence[AsgiApplication]:
    """None, one, or several."""
    if given is None:
        return ()
    if isinstance(given, list | tuple):
        return tuple(cast("Sequence[AsgiApplication]", given))
    return (given,)


@contextmanager
def _virtual(seed: int) -> Generator[OnLoop]:
    with simulation(seed) as loop:
        life = loop.boot(TEST)

        def on_loop(part: Coroutine[Any, Any, Any]) -> Any:
            return loop.run_until_complete(loop.spawn(life, part, TEST))

        yield on_loop
        gc.collect()
        _check(loop)


def _check(loop: SimLoop) -> None:
    """What nobody handled is a failure of the test, as it would be at the end of a program."""
    if loop.failure is not None:
        raise loop.failure


@contextmanager
def _real() -> Generator[OnLoop]:
    with asyncio.Runner() as runner:
        yield runner.run
