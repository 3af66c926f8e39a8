"""The manager: orders of controllers, stopping and starting, the node's worker state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from worker_world import P0, World, run

from restate_node.types.ids import INVALID_VERSION, GenerationalNodeId, PartitionId
from restate_node.types.nodes import NodesConfiguration, WorkerState
from restate_node.types.partitions import PartitionTable
from restate_node.types.processor_messages import (
    Assignment,
    ControlProcessors,
    GetNodeState,
    NodeState,
    RunMode,
)
from restate_node.wire.metadata_keys import NODES_CONFIGURATION_KEY, epoch_metadata_key
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration

P1 = PartitionId(1)


def test_nothing_runs_without_an_order() -> None:
    """Goal: the controller decides. Method: wait after the start, then ask for the state."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        await asyncio.sleep(30)
        assert await one.ask(GetNodeState()) == NodeState(one.me, 30, [])

    run(main)


def test_a_replica_that_is_moved_away_stops_and_may_return() -> None:
    """Goal: what runs follows the replica sets. Method: away, back, and back at once."""

    async def main(world: World) -> None:
        one, two = await world.add_workers(2)
        await world.elect(one)
        await one.patch("k", value="1")
        world.place(2)
        await world.order(two)

        async def stopped() -> bool:
            return await one.status() is None and not one.manager.stores()

        await world.until(stopped)
        assert one.events[-1] == "follower 0"
        world.place(1, 2)
        await world.order(two)
        await world.caught_up(one, two)
        world.place(2)
        await world.order(two)
        world.place(1, 2)
        await world.order(one)
        await world.caught_up(one, two)
        assert one.hash() == two.hash() == world.expected_hash()

    run(main)


def test_older_orders_are_ignored() -> None:
    """Goal: the newest metadata counts, in whatever order it comes. Method: an order from before a
    move arrives after it; a broken one arrives too."""

    async def main(world: World) -> None:
        one, two = await world.add_workers(2)
        former = world.metadata.values[epoch_metadata_key(P0)]
        world.place(2)
        await world.order(two)
        late = ControlProcessors([Assignment(P0, former, one.me), Assignment(P0, b"?", one.me)])
        await one.ask(late)
        await asyncio.sleep(1)
        assert await one.status() is None
        assert world.metadata.epoch(P0).epoch == 1

    run(main)


def test_an_order_may_come_before_the_partition_table() -> None:
    """Goal: no order is lost. Method: the table appears after the order."""

    async def main(world: World) -> None:
        world.table.set(PartitionTable(INVALID_VERSION))
        (one,) = await world.add_workers(1)
        await world.order(one)
        await asyncio.sleep(1)
        assert await one.status() is None
        world.table.set(PartitionTable.equal_ranges(2))
        await world.elect(one)
        world.place(1, partition=P1)
        await world.elect(one, P1)
        state = await one.ask(GetNodeState())
        assert [(s.partition, s.effective_mode) for s in state.processors] == [
            (P0, RunMode.LEADER),
            (P1, RunMode.LEADER),
        ]

    run(main)


def test_a_node_outside_of_the_replica_set_claims_nothing() -> None:
    """Goal: an epoch goes to replicas only. Method: the placement changes behind the order."""

    async def main(world: World) -> None:
        one, _ = await world.add_workers(2)
        await world.order(None)
        former = world.metadata.values[epoch_metadata_key(P0)]
        world.place(2)
        await one.ask(ControlProcessors([Assignment(P0, former, one.me)]))
        await asyncio.sleep(5)
        status = await one.status()
        assert status is not None and status.effective_mode is RunMode.FOLLOWER
        assert world.metadata.epoch(P0).epoch == 0

    run(main)


Change = Callable[[NodesConfiguration], NodesConfiguration]


def _set_state(state: WorkerState) -> Change:
    def change(nodes: NodesConfiguration) -> NodesConfiguration:
        (node,) = nodes.members()
        return nodes.updated(replace(node, worker_state=state), None)

    return change


def _reborn(nodes: NodesConfiguration) -> NodesConfiguration:
    (node,) = nodes.members()
    return nodes.updated(replace(node, current_generation=GenerationalNodeId(node.id, 9)), None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (_set_state(WorkerState.PROVISIONING), WorkerState.ACTIVE),
        (_set_state(WorkerState.DRAINING), WorkerState.DRAINING),
        (_set_state(WorkerState.DISABLED), WorkerState.DISABLED),
        (_reborn, WorkerState.PROVISIONING),
    ],
)
def test_activation(before: Change, after: WorkerState) -> None:
    """Goal: a new worker becomes active, what operators or later lives did stays. Method: change
    the configuration while the store is unreachable, then let the worker reach it."""

    async def main(world: World) -> None:
        world.metadata.unavailable = True
        await world.add_workers(1)
        await asyncio.sleep(3)
        values = world.metadata.values
        nodes = before(decode_nodes_configuration(values[NODES_CONFIGURATION_KEY]))
        values[NODES_CONFIGURATION_KEY] = encode_nodes_configuration(nodes)
        world.metadata.unavailable = False
        await asyncio.sleep(3)
        (node,) = decode_nodes_configuration(values[NODES_CONFIGURATION_KEY]).members()
        assert node.worker_state is after

    run(main)
