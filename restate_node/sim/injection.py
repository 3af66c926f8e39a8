"""Carries out a schedule: one task of the world per fault, which breaks, waits, and mends.

What a fault does is left to the parts that own it: the loop kills and freezes, the network cuts,
the medium fails. `Machines` is what the world offers for starting a host again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, assert_never

from restate_node.sim.disk import DiskFaults, SimMedium
from restate_node.sim.history import FaultBegan, FaultEnded
from restate_node.sim.hosts import Death
from restate_node.sim.nemesis import (
    BadLink,
    Blackout,
    Crash,
    Direction,
    DiskError,
    DiskOperation,
    Fault,
    Isolation,
    Pause,
    Resets,
    Stall,
)
from restate_node.sim.network import SimNetwork
from restate_node.sim.recorder import Recorder


class Machines(Protocol):
    """The hosts, as a nemesis handles them."""

    @property
    def hosts(self) -> Sequence[str]: ...

    @property
    def network(self) -> SimNetwork: ...

    def medium(self, host: str) -> SimMedium: ...

    def crash(self, host: str, death: Death) -> None:
        """End the host's process; nobody starts it until `start`."""
        ...

    def start(self, host: str) -> None:
        """Start a process on the host, unless one runs."""
        ...

    def pause(self, host: str) -> None: ...

    def resume(self, host: str) -> None: ...

    def excuse(self, host: str, excused: bool) -> None:
        """What processes of the host say and do about its disk is no finding, or is one again."""
        ...


async def carry_out(schedule: Sequence[Fault], machines: Machines, recorder: Recorder) -> None:
    """Run the schedule, its times counted from now; returns when the last fault is over."""
    async with asyncio.TaskGroup() as group:
        for fault in schedule:
            group.create_task(_one(fault, machines, recorder))


async def _one(fault: Fault, machines: Machines, recorder: Recorder) -> None:
    await asyncio.sleep(fault.at)
    recorder.add(FaultBegan(recorder.now(), str(fault)))
    await _strike(fault, machines)
    recorder.add(FaultEnded(recorder.now(), str(fault)))


async def _strike(fault: Fault, machines: Machines) -> None:
    match fault:
        case Crash():
            machines.crash(fault.host, fault.death)
            await asyncio.sleep(fault.seconds)
            machines.start(fault.host)
        case Blackout():
            await _black_out(fault, machines)
        case Pause():
            machines.pause(fault.host)
            await asyncio.sleep(fault.seconds)
            machines.resume(fault.host)
        case Isolation():
            await _isolate(fault, machines)
        case BadLink():
            await _degrade(fault, machines.network)
        case Resets():
            one, other = fault.hosts
            machines.network.reset(one, other)
            machines.network.reset(other, one)
        case Stall():
            machines.medium(fault.host).stall(fault.seconds)
            await asyncio.sleep(fault.seconds)
        case DiskError():
            await _break_disk(fault, machines)
        case _:
            assert_never(fault)


async def _black_out(fault: Blackout, machines: Machines) -> None:
    for host in fault.hosts:
        machines.crash(host, Death.POWER_LOST)
    passed = 0.0
    returns = sorted(zip(fault.down_seconds, fault.hosts, strict=True))
    for seconds, host in returns:
        await asyncio.sleep(seconds - passed)
        passed = seconds
        machines.start(host)


async def _isolate(fault: Isolation, machines: Machines) -> None:
    pairs: list[tuple[str, str]] = []
    for other in machines.hosts:
        if other == fault.host:
            continue
        if fault.direction is not Direction.IN:
            pairs.append((fault.host, other))
        if fault.direction is not Direction.OUT:
            pairs.append((other, fault.host))
    for source, target in pairs:
        machines.network.cut(source, target, fault.lane, both_ways=False)
    await asyncio.sleep(fault.seconds)
    for source, target in pairs:
        machines.network.mend(source, target, fault.lane, both_ways=False)


async def _degrade(fault: BadLink, network: SimNetwork) -> None:
    link = replace(
        network.options.link,
        delay_seconds_mean=fault.delay_seconds_mean,
        loss_probability=fault.loss_probability,
        reset_probability=fault.reset_probability,
    )
    network.shape(*fault.hosts, link)
    await asyncio.sleep(fault.seconds)
    network.shape(*fault.hosts, None)


async def _break_disk(fault: DiskError, machines: Machines) -> None:
    medium = machines.medium(fault.host)
    machines.excuse(fault.host, True)
    medium.faults = (
        DiskFaults(sync_error_probability=1.0)
        if fault.operation is DiskOperation.SYNC
        else DiskFaults(write_error_probability=1.0)
    )
    await asyncio.sleep(fault.seconds)
    machines.crash(fault.host, Death.KILLED)
    medium.faults = DiskFaults()
    machines.excuse(fault.host, False)
    machines.start(fault.host)
