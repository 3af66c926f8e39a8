"""Carries out a schedule: one task of the world per fault, which breaks, waits, and mends.

What a fault does is left to the parts that own it: the loop kills and freezes, the network cuts,
the medium fails. `Machines` is what the world offers for starting a host again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol, assert_never

from restate_node.sim.disk import DiskFaults, SimMedium
from restate_node.sim.history import FaultBegan, FaultEnded
from restate_node.sim.hosts import Death
from restate_node.sim.nemesis import (
    BadLink,
    Blackout,
    BusyDisk,
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
from restate_node.sim.nemesis_storage import (
    FullDisk,
    ObjectFault,
    ObjectTrouble,
    Rot,
    StorageFault,
    StoreLoss,
)
from restate_node.sim.network import SimNetwork
from restate_node.sim.objects import ObjectFaults, SimBucket
from restate_node.sim.recorder import Recorder

DISK_FAULTS: Final = {
    DiskOperation.SYNC: DiskFaults(sync_error_probability=1.0),
    DiskOperation.WRITE: DiskFaults(write_error_probability=1.0),
    DiskOperation.FILE: DiskFaults(file_error_probability=1.0),
}


class Machines(Protocol):
    """The hosts, as a nemesis handles them."""

    @property
    def hosts(self) -> Sequence[str]: ...

    @property
    def network(self) -> SimNetwork: ...

    @property
    def bucket(self) -> SimBucket: ...

    def medium(self, host: str) -> SimMedium: ...

    def rot(self, host: str) -> None:
        """Flip a bit of a record that the host's log server has stored, if there is one."""
        ...

    def lose_store(self, host: str) -> None:
        """The power goes, and the log server's database with it, for ever."""
        ...

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
        case BusyDisk():
            medium = machines.medium(fault.host)
            medium.faults = DiskFaults(busy_probability=fault.probability)
            await asyncio.sleep(fault.seconds)
            medium.faults = DiskFaults()
        case ObjectTrouble() | FullDisk() | Rot() | StoreLoss():
            await _strike_storage(fault, machines)
        case _:
            assert_never(fault)


async def _strike_storage(fault: StorageFault, machines: Machines) -> None:
    match fault:
        case ObjectTrouble():
            await _trouble_objects(fault, machines.bucket)
        case FullDisk():
            await _fill_disk(fault, machines)
        case Rot():
            machines.rot(fault.host)
        case StoreLoss():
            machines.lose_store(fault.host)
            await asyncio.sleep(fault.seconds)
            machines.start(fault.host)
        case _:
            assert_never(fault)


async def _trouble_objects(fault: ObjectTrouble, bucket: SimBucket) -> None:
    p = fault.probability
    match fault.kind:
        case ObjectFault.OUTAGE:
            bucket.outage = True
        case ObjectFault.REFUSED:
            bucket.faults = ObjectFaults(refused_probability=p)
        case ObjectFault.LOST_ANSWERS:
            bucket.faults = ObjectFaults(answer_lost_probability=p)
        case ObjectFault.CUT:
            bucket.faults = ObjectFaults(cut_probability=p)
        case ObjectFault.SHORT:
            bucket.faults = ObjectFaults(short_probability=p)
        case ObjectFault.SLOW:
            bucket.faults = ObjectFaults(slow_factor=100 * p)
        case _:
            assert_never(fault.kind)
    await asyncio.sleep(fault.seconds)
    bucket.faults, bucket.outage = ObjectFaults(), False


async def _fill_disk(fault: FullDisk, machines: Machines) -> None:
    medium = machines.medium(fault.host)
    machines.excuse(fault.host, True)
    medium.capacity_bytes = medium.used_bytes + fault.free_bytes
    await asyncio.sleep(fault.seconds)
    machines.crash(fault.host, Death.KILLED)
    medium.capacity_bytes = None
    machines.excuse(fault.host, False)
    machines.start(fault.host)


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
    medium.faults = DISK_FAULTS[fault.operation]
    await asyncio.sleep(fault.seconds)
    machines.crash(fault.host, Death.KILLED)
    medium.faults = DiskFaults()
    machines.excuse(fault.host, False)
    machines.start(fault.host)
