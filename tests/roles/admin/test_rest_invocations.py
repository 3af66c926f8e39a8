"""Acting on invocations over HTTP: each action, each answer of a leader, and who is asked."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from restate_node.cluster.partition_calls import CallPatience, PartitionCalls, Unanswered
from restate_node.roles.admin.invocation_control import ControlRequest, InvocationControl, Standing
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
from tests.roles.admin.rest_world import Bench, manifest, service

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
        (ControlStatus.NOT_BEGUN, 425),
        (ControlStatus.PREFIX_OPEN, 400),
        (ControlStatus.PIN_FIXED, 409),
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
    """Goal: the new invocation."""
    await bench.register("http://a/", service("Greeter"))
    bench.controls.standing = Standing("Greeter", True, "dp_gone", 6)
    bench.controls.answer = Controlled(ControlStatus.DONE, raw_id(1, 9))
    reply = await bench.call("PATCH", f"{PATH}/restart-as-new")
    assert reply.json == {"new_invocation_id": id_text(raw_id(1, 9))}


async def two_deployments(bench: Bench) -> dict[str, str]:
    """Greeter at two, Other at one of its own, an old one of Greeter; the names in the tables."""
    old = manifest(service("Greeter"), maxProtocolVersion=5)
    bench.endpoints.manifests["http://o/"] = old
    registered = await bench.post("/deployments", uri="http://o/")
    return {
        "OLD": registered.json["id"],
        "FIRST": await bench.register("http://a/", service("Greeter")),
        "SECOND": await bench.register("http://b/", service("Greeter")),
        "OTHER": await bench.register("http://c/", service("Other")),
    }


@pytest.mark.parametrize(
    ("query", "pinned", "expected"),
    [
        ("", "FIRST", (None, 0, None)),
        ("?from=0", "FIRST", (None, 0, None)),
        ("?deployment=latest", "FIRST", (None, 0, None)),
        ("?deployment=keep", "FIRST", ("FIRST", 0, 7)),
        ("?deployment=keep", None, (None, 0, None)),
        ("?deployment=OLD", "FIRST", ("OLD", 0, 5)),
        ("?from=3", "FIRST", ("SECOND", 3, 7)),
        ("?from=3&deployment=Latest", "FIRST", ("SECOND", 3, 7)),
        ("?from=3&deployment=Keep", "FIRST", ("FIRST", 3, 7)),
        ("?from=3&deployment=FIRST", "FIRST", ("FIRST", 3, 7)),
        ("?from=4294967295", None, (None, 4294967295, None)),
        ("?from=3&deployment=OLD", "FIRST", 400),
        ("?from=3&deployment=OTHER", "FIRST", 400),
        ("?from=3&deployment=keep", "GONE", 400),
        ("?deployment=OTHER", "FIRST", 400),
        (f"?deployment={UNKNOWN}", "FIRST", 400),
        ("?deployment=zzz", "FIRST", 400),
        ("?from=", "FIRST", 400),
        ("?from=-1", "FIRST", 400),
        ("?from=x", "FIRST", 400),
        ("?from=4294967296", "FIRST", 400),
        ("?from=10000000000", "FIRST", 400),
    ],
)
async def test_restart_where(
    bench: Bench, query: str, pinned: str | None, expected: tuple[str | None, int, int | None] | int
) -> None:
    """Goal: where a restart goes on, and what it keeps. Method: a table; a pinned invocation began
    with version 6, and deployments are known by names.
    """
    names = await two_deployments(bench)
    version = None if pinned is None else 6
    at = None if pinned is None else names.get(pinned, UNKNOWN)
    bench.controls.standing = Standing("Greeter", True, at, version)
    bench.controls.answer = Controlled(ControlStatus.DONE, raw_id(1, 9))
    for name, deployment in names.items():
        query = query.replace(name, deployment)
    reply = await bench.call("PATCH", f"{PATH}/restart-as-new{query}")
    if isinstance(expected, int):
        reply.refused(expected)
        assert bench.controls.asked == []
        return
    assert reply.status == 200
    where, length, spoken = expected
    deployment = None if where is None else names[where]
    assert bench.controls.asked == [
        ControlRequest(Control.RESTART_AS_NEW, ID, deployment, length, spoken)
    ]


async def test_a_restart_too_early_is_the_leaders_to_refuse(bench: Bench) -> None:
    """Goal: 425, 409 and the like come from the partition, whatever the schema says. Method: the
    service is not registered.
    """
    bench.controls.answer = Controlled(ControlStatus.NOT_BEGUN)
    reply = await bench.call("PATCH", f"{PATH}/restart-as-new?from=2&deployment=keep")
    assert "has not begun" in reply.refused(425)
    bench.controls.standing = None
    (await bench.call("PATCH", f"{PATH}/restart-as-new?from=2")).refused(404)


async def test_resume_elsewhere(bench: Bench) -> None:
    """Goal: the latest, a given one, or where it is; none that does not have the service, or does
    not speak as the journal does; the latest is no change for what was never pinned.
    """
    names = await two_deployments(bench)
    first, second = names["FIRST"], names["SECOND"]
    bench.controls.standing = Standing("Greeter", False, first, 6)
    for wanted, expected in (("latest", second), (first, first), ("keep", None)):
        assert (await bench.call("PATCH", f"{PATH}/resume?deployment={wanted}")).status == 200
        assert bench.controls.asked.pop() == ControlRequest(Control.RESUME, ID, expected)
    for wanted in (names["OTHER"], names["OLD"], UNKNOWN, "zzz"):
        (await bench.call("PATCH", f"{PATH}/resume?deployment={wanted}")).refused(400)
    bench.controls.standing = Standing("Greeter", False, None, None)
    for wanted, expected in (("latest", None), (first, first)):
        assert (await bench.call("PATCH", f"{PATH}/resume?deployment={wanted}")).status == 200
        assert bench.controls.asked.pop() == ControlRequest(Control.RESUME, ID, expected)
    bench.controls.standing = None
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


def test_standing_of_an_invocation() -> None:
    """Goal: what the table says; None for an unknown one."""
    known = {"target_service_name": "Greeter", "status": "completed"}
    pinned = {"pinned_deployment_id": "dp_1", "pinned_service_protocol_version": 6}

    async def scenario(world: World, control: InvocationControl) -> None:
        async def answer(_: Peer, request: ReadRows) -> Rows:
            assert request.table == SYS_INVOCATION_STATUS.name
            if request.invocation != ID:
                return Rows([], None)
            return Rows([SYS_INVOCATION_STATUS.row(known | pinned)], None)

        world.hosts[2].fabric.router.serve(ReadRows, answer)
        assert await control.standing_of(ID) == Standing("Greeter", True, "dp_1", 6)
        assert await control.standing_of(raw_id(1, 1)) is None

    control_world(scenario)
