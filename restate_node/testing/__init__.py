"""A cluster inside a test: no sockets, no Docker, thirty days in milliseconds.

    async def test_greeting(restate):                     the fixture: pytest finds it by itself
        await restate.register(app)                       `restate.app(…)` of the SDK for Python
        assert await restate.call("Greeter/greet", "Ada") == "Hello Ada"

    async with cluster(app, nodes=3) as restate: …        the same, without pytest: within `run`
    run(main, seed=7)                                     for virtual time, or any asyncio program

The names below are loaded when they are used: pytest imports this package in every run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restate_node.testing.applications import Application
    from restate_node.testing.client import Invocation, InvocationStatus
    from restate_node.testing.embedded import Cluster
    from restate_node.testing.errors import (
        HandlerFailed,
        NotEnded,
        NotFound,
        NotPossible,
        NotRegistered,
        StartFailed,
        Stuck,
        TestingError,
    )
    from restate_node.testing.starting import cluster, run
    from restate_node.testing.virtual_time import VirtualTime

__all__ = [
    "Application",
    "Cluster",
    "HandlerFailed",
    "Invocation",
    "InvocationStatus",
    "NotEnded",
    "NotFound",
    "NotPossible",
    "NotRegistered",
    "StartFailed",
    "Stuck",
    "TestingError",
    "VirtualTime",
    "cluster",
    "run",
]

_HOMES = {
    "Application": "applications",
    "Cluster": "embedded",
    "Invocation": "client",
    "InvocationStatus": "client",
    "VirtualTime": "virtual_time",
    "cluster": "starting",
    "run": "starting",
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for; errors are the rest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
