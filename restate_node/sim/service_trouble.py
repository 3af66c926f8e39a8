"""Users' services: where they listen, how they go away and come back."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from restate_node.sim.history import FaultBegan, FaultEnded
from restate_node.sim.recorder import Recorder
from restate_node.sim.services import Service, SimServiceOptions, SimServices

OUTAGE_SECONDS_MAX: Final = 2.0


class ServicePark:
    """One service at some addresses."""

    def __init__(self, services: SimServices, service: Service, addresses: tuple[str, ...]) -> None:
        self._services = services
        self._service = service
        self._addresses = addresses
        self.serve()

    def serve(self) -> None:
        """Listen everywhere."""
        for address in self._addresses:
            self._services.serve(address, self._service)

    def heal(self) -> None:
        """No more trouble, from now on."""
        self._services.options = SimServiceOptions()
        self.serve()

    async def trouble(self, outages: int, seconds: float, rng: Random, recorder: Recorder) -> None:
        """So many times within that time, one address has nobody. Cancel it, then heal."""
        for _ in range(outages):
            await asyncio.sleep(rng.uniform(0, seconds / outages))
            address = rng.choice(self._addresses)
            text = f"nobody at {address}"
            recorder.add(FaultBegan(recorder.now(), text))
            self._services.stop(address)
            await asyncio.sleep(rng.uniform(0.05, min(OUTAGE_SECONDS_MAX, seconds / outages)))
            self._services.serve(address, self._service)
            recorder.add(FaultEnded(recorder.now(), text))
