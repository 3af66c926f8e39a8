"""What a node is given from outside: real in a process, simulated in the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from restate_node.runtime.ports import Clock, Disk, ObjectStore, Transport
from restate_node.runtime.services import ServiceTransport


@dataclass(frozen=True, slots=True)
class Ports:
    """One node's world. All of its chance comes from `rng`."""

    clock: Clock
    transport: Transport
    disk: Disk
    rng: Random
    objects: ObjectStore | None = None
    """Where snapshots go; None when no destination is configured."""
    services: ServiceTransport | None = None
    """How services are called; None where nobody calls any."""

    def stream(self) -> Random:
        """A random stream of its own for one component."""
        return Random(self.rng.getrandbits(64))
