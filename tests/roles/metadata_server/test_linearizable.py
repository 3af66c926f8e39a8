"""The store under faults, checked from what its clients saw (invariant M5)."""

from __future__ import annotations

import asyncio
import random

import pytest

from restate_node.cluster.metadata_client import MetadataUnavailable, PreconditionNotMet
from restate_node.sim.disk import DiskFaults
from restate_node.sim.hosts import Death
from restate_node.sim.linearizability import (
    CompareAndSwap,
    Read,
    Recorder,
    check,
    violations,
)
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.ids import Version
from restate_node.types.metadata_kv import DoesNotExist, MatchesVersion
from restate_node.types.options import MetadataServerOptions
from tests.roles.metadata_server.metadata_world import Machine, World, value

HOSTS = ("n1", "n2", "n3")
CLIENTS = ("c1", "c2", "c3", "c4")
KEYS = ("a", "b")
FAULTS = 5
OPERATIONS_MIN = 60


class Workload:
    """Clients that read a version and swap it for the next, until told to stop."""

    def __init__(self, loop: SimLoop) -> None:
        self.recorder = Recorder(loop.time)
        self.stopping = False
        self.writes = 0

    async def run(self, machine: Machine, rng: random.Random) -> None:
        while not self.stopping:
            await self.once(machine, rng.choice(KEYS))
            await asyncio.sleep(rng.uniform(0.0, 0.4))

    async def once(self, machine: Machine, key: str) -> None:
        reading = self.recorder.call(key, Read())
        try:
            found = await machine.client.get_version(key)
        except MetadataUnavailable:
            return
        reading.returned(found)
        new = (found or 0) + 1
        precondition = DoesNotExist() if found is None else MatchesVersion(found)
        swapping = self.recorder.call(key, CompareAndSwap(found, new))
        try:
            await machine.client.put(key, value(new), precondition)
        except PreconditionNotMet:
            swapping.returned(False)
        except MetadataUnavailable as error:
            if not error.maybe_executed:
                swapping.refused()
        else:
            swapping.returned(True)
            self.writes += 1


class Trouble:
    """Kills, pauses, partitions, slow disks; each is undone before the next begins."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng

    async def run(self) -> None:
        faults = [self.kill, self.partition, self.pause, self.stall, self.cut_one_way, self.busy]
        for _ in range(FAULTS):
            await self._rng.choice(faults)()
            await asyncio.sleep(self._rng.uniform(0.2, 1.5))

    def _host(self) -> str:
        """The leader more often than the others: it is where things go wrong."""
        leader = self._world.leader()
        if leader is not None and self._rng.random() < 0.6:
            return leader.host
        return self._rng.choice(HOSTS)

    async def kill(self) -> None:
        hosts = {self._host() for _ in range(self._rng.randint(1, 3))}
        for host in sorted(hosts):
            self._world.kill(host, self._rng.choice(list(Death)))
        await asyncio.sleep(self._rng.uniform(0.1, 3.0))
        for host in sorted(hosts):
            await self._world.restart(host, HOSTS)

    async def partition(self) -> None:
        alone = self._host()
        with_it = self._rng.choice(CLIENTS)
        rest = [name for name in (*HOSTS, *CLIENTS) if name not in (alone, with_it)]
        self._world.network.partition([[alone, with_it], rest])
        await asyncio.sleep(self._rng.uniform(0.5, 5.0))
        self._world.network.heal()

    async def pause(self) -> None:
        incarnation = self._world.machines[self._host()].incarnation
        self._world.loop.pause(incarnation)
        await asyncio.sleep(self._rng.uniform(0.5, 4.0))
        self._world.loop.resume(incarnation)

    async def stall(self) -> None:
        self._world.medium(self._host()).stall(self._rng.uniform(0.1, 3.0))

    async def cut_one_way(self) -> None:
        source, target = self._rng.sample(HOSTS, 2)
        self._world.network.cut(source, target, both_ways=False)
        await asyncio.sleep(self._rng.uniform(0.5, 3.0))
        self._world.network.mend(source, target, both_ways=False)

    async def busy(self) -> None:
        """The disk asks for pauses."""
        medium = self._world.medium(self._host())
        medium.faults = DiskFaults(busy_probability=0.5)
        await asyncio.sleep(0.5)
        medium.faults = DiskFaults()


@pytest.mark.parametrize("seed", range(4))
def test_compare_and_swap_is_linearizable(seed: int) -> None:
    """Goal: whatever happens, the clients' history is that of plain variables, and the store comes
    back. Method: four clients swap versions of two keys while servers are killed, paused, cut off
    and slowed down; the checker knows nothing of the store; at the end a write succeeds.
    """

    async def main(loop: SimLoop) -> Workload:
        world = World(loop, MetadataServerOptions(log_trim_threshold=30))
        await world.found(HOSTS)
        workload = Workload(loop)
        clients: list[asyncio.Task[None]] = []
        for name in CLIENTS:
            machine = await world.boot(name, HOSTS, is_server=False)
            work = workload.run(machine, loop.streams.stream(f"work {name}"))
            clients.append(loop.spawn(machine.incarnation, work))
        await Trouble(world, loop.streams.stream("trouble")).run()
        await asyncio.sleep(5)
        workload.stopping = True
        await asyncio.gather(*clients)
        machine = world.machines[CLIENTS[0]]
        last = machine.client.put("end", value(1), DoesNotExist(), timeout_s=20)
        await world.run(machine, last)
        assert await world.run(machine, machine.client.get_version("end")) == Version(1)
        return workload

    workload = simulate(seed, main).value
    history = workload.recorder.history()
    assert len(history) > OPERATIONS_MIN and workload.writes > OPERATIONS_MIN // 4
    assert violations(check(history)) == []
