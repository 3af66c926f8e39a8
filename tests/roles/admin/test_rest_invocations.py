"""Acting on invocations over HTTP: each action, each answer of a leader, and who is asked."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from restate_node.cluster.partition_calls import CallPatience, PartitionCalls, Unanswered
from restate_node.roles.admin.invocation_control import ControlRequest, InvocationControl
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.gossip import Leadership
from restate_node.types.ids import LeaderEpoch, PartitionId
from restate_node.types.introspection import SYS_INVOCATION_STATUS
from restate_node.types.invocation_messages import (
    Control,
    ControlInvocation,
    Controlled,
    ControlStatus,
    ReadRows,
    Rows,
)
from restate_node.types.invocations import id_text, partition_key_of_id, raw_id
from tests.roles.admin.admin_world import HandLiveness, World, life
from tests.roles.admin.rest_world import Bench, service

ID = raw_id(1 << 63, 7)
PATH = f"/invocations/{id_text(ID)}"
UNKNOWN = "dp_14hZJ9Uizbmw6Oz6JIGSecN"


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("action", "control"),
    [
        ("cancel", Control.CANCEL),
        ("kill", Control.KILL),
        ("pause", Control.PAUSE),
        ("resume", Control.RESUME),
        ("purge", Control.PURGE),
        ("purge-journal", Control.PURGE_JOURNAL),
    ],
)
async def test_actions(bench: Bench, action: str, control: Control) -> None:
    """Goal: each action asks for its control."""
    assert (await bench.call("PATCH", f"{PATH}/{action}")).status == 200
    assert bench.controls.asked == [ControlRequest(control, ID)]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ControlStatus.DONE, 200),
        (ControlStatus.ALREADY, 200),
        (ControlStatus.ACCEPTED, 202),
        (ControlStatus.NOT_FOUND, 404),
        (ControlStatus.NOT_RUNNING, 409),
        (ControlStatus.NOT_COMPLETED, 409),
        (ControlStatus.JOURNAL_MISSING, 410),
        (ControlStatus.UNSUPPORTED, 422),
    ],
)
async def test_answers(bench: Bench, status: ControlStatus, expected: int) -> None:
    """Goal: what became of it, as a status; refusals with a message. Method: table."""
    bench.controls.answer = Controlled(status)
    reply = await bench.call("PATCH", f"{PATH}/kill")
    assert reply.status == expected
    if expected >= 400:
        assert id_text(ID) in reply.refused(expected)


async def test_restart_tells_the_new_id(bench: Bench) -> None:
    """Goal: the new invocation; parts of a journal are refused."""
    bench.controls.answer = Controlled(ControlStatus.DONE, raw_id(1, 9))
    reply = await bench.call("PATCH", f"{PATH}/restart-as-new")
    assert reply.json == {"new_invocation_id": id_text(raw_id(1, 9))}
    assert (await bench.call("PATCH", f"{PATH}/restart-as-new?from=0")).status == 200
    (await bench.call("PATCH", f"{PATH}/restart-as-new?from=2")).refused(422)
    (await bench.call("PATCH", f"{PATH}/restart-as-new?from=x")).refused(400)


async def test_resume_elsewhere(bench: Bench) -> None:
    """Goal: the latest, a given one, or where it is; none that does not have the service."""
    first = await bench.register("http://a/", service("Greeter"))
    second = await bench.register("http://b/", service("Greeter"))
    other = await bench.register("http://c/", service("Other"))
    for wanted, expected in (("latest", second), (first, first), ("keep", None)):
        assert (await bench.call("PATCH", f"{PATH}/resume?deployment={wanted}")).status == 200
        assert bench.controls.asked.pop() == ControlRequest(Control.RESUME, ID, expected)
    for wanted in (other, UNKNOWN, "zzz"):
        (await bench.call("PATCH", f"{PATH}/resume?deployment={wanted}")).refused(400)
    bench.controls.service = None
    (await bench.call("PATCH", f"{PATH}/resume?deployment=latest")).refused(404)
    assert bench.controls.asked == []


async def test_old_form(bench: Bench) -> None:
    """Goal: always 202, whatever the leader says; an unknown mode is refused."""
    bench.controls.answer = Controlled(ControlStatus.NOT_FOUND)
    for mode in ("cancel", "Kill", "purge"):
        assert (await bench.call("DELETE", f"{PATH}?mode={mode}")).status == 202
    assert (await bench.call("DELETE", PATH)).status == 202
    assert [asked.control for asked in bench.controls.asked] == [
        Control.CANCEL, Control.KILL, Control.PURGE, Control.CANCEL,
    ]  # fmt: skip
    (await bench.call("DELETE", f"{PATH}?mode=zzz")).refused(400)


async def test_what_is_refused_here(bench: Bench) -> None:
    """Goal: ids that are none, actions that do not exist, leaders that do not answer."""
    (await bench.call("PATCH", "/invocations/inv_nonsense/kill")).refused(400)
    (await bench.call("PATCH", f"{PATH}/explode")).refused(404)
    bench.controls.error = Unanswered("nobody leads")
    assert "nobody leads" in (await bench.call("PATCH", f"{PATH}/kill")).refused(503)


def control_world(
    scenario: Callable[[World, InvocationControl], Awaitable[None]],
) -> None:
    """Node 1 asks, node 2 leads both partitions."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        for node in (1, 2):
            world.start(node)
        world.partition(2, 1)
        liveness = HandLiveness(life(1), life(2))
        liveness.leaders.set(
            {PartitionId(p): Leadership(PartitionId(p), LeaderEpoch(1), life(2)) for p in range(2)}
        )
        host = world.hosts[1]
        calls = PartitionCalls(host.cache, liveness, host.fabric, CallPatience(unanswered_s=5))
        await scenario(world, InvocationControl(calls, random.Random(3)))

    simulate(1, main)


def test_control_goes_to_the_leader_of_its_partition() -> None:
    """Goal: by the id alone; repeated with the same new id. Method: the first answer is lost."""
    asked: list[ControlInvocation] = []

    async def scenario(world: World, control: InvocationControl) -> None:
        async def answer(_: Peer, request: ControlInvocation) -> Controlled:
            asked.append(request)
            if len(asked) == 1:
                raise RpcFailure(RpcCode.CONNECTION_LOST, "perhaps")
            return Controlled(ControlStatus.DONE, request.new_invocation)

        world.hosts[2].fabric.router.serve(ControlInvocation, answer)
        done = await control.control(ControlRequest(Control.RESTART_AS_NEW, ID))
        first, second = asked
        assert first == second and first.partition == 1 and first.invocation == ID
        assert done.new_invocation is not None and done.new_invocation != ID
        assert partition_key_of_id(done.new_invocation) == partition_key_of_id(ID)

    control_world(scenario)


def test_service_of_an_invocation() -> None:
    """Goal: the column of the table; None for an unknown one."""

    async def scenario(world: World, control: InvocationControl) -> None:
        async def answer(_: Peer, request: ReadRows) -> Rows:
            assert request.table == SYS_INVOCATION_STATUS.name
            if request.invocation != ID:
                return Rows([], None)
            return Rows([SYS_INVOCATION_STATUS.row({"target_service_name": "Greeter"})], None)

        world.hosts[2].fabric.router.serve(ReadRows, answer)
        assert await control.service_of(ID) == "Greeter"
        assert await control.service_of(raw_id(1, 1)) is None

    control_world(scenario)
