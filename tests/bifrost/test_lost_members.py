"""A log whose nodeset is as large as its replication goes on without the member that is lost.

Three simulated hosts, the open segment on [N1, N2] with two copies of each record. N2 is gone in
the middle of a burst, so that N1 holds records that nobody acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from log_world import LOG, Host, World, tell
from test_log_scenarios import Writer, check, patient_tail, read_until

from restate_node.bifrost.errors import LogUnavailable
from restate_node.bifrost.log import SegmentRequest
from restate_node.roles.log_server.start import StartMode
from restate_node.types.ids import PlainNodeId, SegmentIndex
from restate_node.types.logs import ReplicatedSegment
from restate_node.types.nodes import NodesConfiguration, StorageState
from restate_node.types.offsets import Lsn

PAIR = (PlainNodeId(1), PlainNodeId(2))
BURST = 100


async def bereaved(world: World) -> Writer:
    """N2 is dead and its disk is gone; the writer on N1 goes on all the same."""
    host = world.hosts[1]
    writer = Writer(host, "a")
    await host.run(writer.stream(5, 0.0003))
    await host.run(writer.settled())
    request = SegmentRequest(nodeset=PAIR)
    await host.run(host.bifrost.reconfigure(LOG, SegmentIndex(0), request))
    streaming = host.spawn(writer.stream(BURST, 0.0005))
    await asyncio.sleep(world.rng.uniform(0.02, 0.03))
    world.kill(2)
    world.medium(PlainNodeId(2)).wipe()
    await streaming
    assert len(writer.written.lsns) < BURST + 5, "the burst was over too soon"
    return writer


def declare(world: World, change: Callable[[NodesConfiguration], NodesConfiguration]) -> None:
    """The nodes configuration says what became of N2, and all hear of it."""
    world.write(change(world.nodes))
    world.learn()


def state(wanted: StorageState) -> Callable[[NodesConfiguration], NodesConfiguration]:
    def change(nodes: NodesConfiguration) -> NodesConfiguration:
        node = nodes.node(PlainNodeId(2))
        assert node is not None
        return nodes.updated(replace(node, storage_state=wanted), None)

    return change


def removed(nodes: NodesConfiguration) -> NodesConfiguration:
    return nodes.removed(PlainNodeId(2), None)


async def goes_on(host: Host, writer: Writer) -> None:
    """All is acknowledged, on other log servers, and what was acknowledged is read."""
    await asyncio.wait_for(host.run(writer.settled()), 60)
    assert not writer.written.failed
    tail = host.cache.logs.value.chains[LOG].tail
    assert isinstance(tail, ReplicatedSegment) and tail.index > 1
    assert set(tail.params.nodeset) == {1, 3}
    for number in (1, 3):
        reader = host.world.hosts[number]
        end = await reader.run(patient_tail(reader))
        check(await asyncio.wait_for(reader.run(read_until(reader, end)), 60), writer.written)


async def is_trimmed(host: Host) -> None:
    """What is left of the segment need not wait for the lost one to be forgotten."""
    (last,) = (s for s in host.cache.logs.value.chains[LOG].replicated if s.index == 1)
    point = Lsn(last.base_lsn + 2)
    assert await host.run(host.bifrost.trim(LOG, point)) == point
    assert await host.run(host.bifrost.trim_point(LOG)) == point


@pytest.mark.parametrize(
    "change",
    [*(state(s) for s in (StorageState.DATA_LOSS, StorageState.GONE, StorageState.DISABLED)),
     removed],
    ids=["data-loss", "gone", "disabled", "removed"],
)  # fmt: skip
def test_a_log_of_two_goes_on_when_one_is_declared_lost(
    change: Callable[[NodesConfiguration], NodesConfiguration],
) -> None:
    """Goal: silence alone stops the log, a word of the configuration lets it go on elsewhere.

    Method: while N2 is only dead, the segment cannot be sealed; then it is declared lost.
    """

    async def story(world: World) -> None:
        writer = await bereaved(world)
        host = world.hosts[1]
        for _ in range(5):
            with pytest.raises(LogUnavailable, match="too few log servers"):
                await host.run(host.bifrost.reconfigure(LOG, SegmentIndex(1), SegmentRequest()))
        declare(world, change)
        await goes_on(host, writer)
        await is_trimmed(host)

    tell(story)


def test_a_log_of_two_goes_on_while_the_lost_one_awaits_its_repair() -> None:
    """Goal: the log does not wait for an operator. Method: N2 is up again, empty and in data-loss,
    and its answers count for nothing; nobody repairs it."""

    async def story(world: World) -> None:
        writer = await bereaved(world)
        await world.restart(2, StorageState.DATA_LOSS, StartMode.AWAITING_REPAIR)
        await goes_on(world.hosts[1], writer)

    tell(story)


def test_a_log_of_two_goes_on_after_a_restart_of_all() -> None:
    """Goal: what it takes is on disks and in metadata. Method: everybody is killed after the loss;
    another node appends then."""

    async def story(world: World) -> None:
        before = (await bereaved(world)).written
        declare(world, state(StorageState.DATA_LOSS))
        for number in (1, 3):
            await world.restart(number)
        host = world.hosts[3]
        writer = Writer(host, "b")
        await host.run(writer.stream(5, 0.001))
        await goes_on(host, writer)
        end = await host.run(patient_tail(host))
        check(await asyncio.wait_for(host.run(read_until(host, end)), 60), before)

    tell(story)


def test_two_who_find_the_end_at_once_agree() -> None:
    """Goal: one end, one next segment. Method: N1 and N3 reconfigure at the same time; what either
    reads is the same."""

    async def story(world: World) -> None:
        writer = await bereaved(world)
        declare(world, state(StorageState.DATA_LOSS))
        request = SegmentRequest()
        await asyncio.gather(
            *(
                world.hosts[number].run(
                    world.hosts[number].bifrost.reconfigure(LOG, SegmentIndex(1), request)
                )
                for number in (1, 3)
            ),
            return_exceptions=True,
        )
        await goes_on(world.hosts[1], writer)
        found: list[dict[int, str]] = []
        for number in (1, 3):
            host = world.hosts[number]
            end = await host.run(patient_tail(host))
            found.append(await asyncio.wait_for(host.run(read_until(host, end)), 60))
        assert found[0] == found[1]

    tell(story)
