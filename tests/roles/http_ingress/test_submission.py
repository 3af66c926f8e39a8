"""The way of an invocation to the leader: fail-overs, rounds, patience, and never twice."""

from __future__ import annotations

import asyncio

from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.gossip import NodeState as Believed
from restate_node.types.invocations import Success
from tests.roles.admin.admin_world import life
from tests.roles.http_ingress.ingress_world import Bench, Reply, ingress_world


def calling(bench: Bench, path: str = "/Greeter/greet") -> asyncio.Task[Reply]:
    return asyncio.ensure_future(bench.request("POST", path, b"1"))


def test_same_invocation_after_failures() -> None:
    """Goal: a request is repeated with one id. Method: failures with and without an effect."""

    async def scenario(bench: Bench) -> None:
        bench.failures += [
            RpcFailure(RpcCode.NOT_READY, "not yet"),
            RpcFailure(RpcCode.CONNECTION_LOST, "perhaps"),
        ]
        reply = await calling(bench)
        assert reply.status == 200
        assert len(bench.submitted) == 3
        assert len({request.invocation.id for _, request in bench.submitted}) == 1

    ingress_world(scenario)


def test_waiting_call_follows_the_leader() -> None:
    """Goal: a new leader is asked at once. Method: leadership moves while the handler runs."""

    async def scenario(bench: Bench) -> None:
        bench.outcome = None
        call = calling(bench)
        await asyncio.sleep(1)
        bench.lead(3, epoch=2)
        await asyncio.sleep(0.5)
        assert [node for node, _ in bench.submitted] == [2, 3]
        bench.end(Success(b'"moved"'))
        assert (await call).body == b'"moved"'
        assert len(bench.known) == 1

    ingress_world(scenario)


def test_fail_over_is_no_second_run_of_a_workflow() -> None:
    """Goal: the only caller of a workflow gets its outcome, not 409. Method: leadership moves while
    it waits, so that its own invocation is found to exist; another caller is told 409 afterwards.
    """

    async def scenario(bench: Bench) -> None:
        bench.outcome = None
        call = calling(bench, "/Signup/ann/run")
        await asyncio.sleep(1)
        bench.lead(3, epoch=2)
        await asyncio.sleep(1)
        bench.end(Success(b'"mine"'))
        assert (await call).body == b'"mine"'
        assert (await calling(bench, "/Signup/ann/run")).status == 409
        bench.failures.append(RpcFailure(RpcCode.NOT_READY, "certainly not executed"))
        assert (await calling(bench, "/Signup/ann/run")).status == 409

    ingress_world(scenario)


def test_waiting_call_leaves_a_dead_leader() -> None:
    """Goal: a frozen leader does not hold its callers. Method: it is declared dead, nothing else
    happens; then another one leads.
    """

    async def scenario(bench: Bench) -> None:
        bench.outcome = None
        call = calling(bench)
        await asyncio.sleep(1)
        bench.liveness.set(life(2), Believed.DEAD)
        await asyncio.sleep(1)
        assert len(bench.submitted) == 1 and not call.done()
        bench.lead(3, epoch=2)
        bench.end(Success(b'"taken over"'))
        assert (await call).body == b'"taken over"'

    ingress_world(scenario)


def test_long_call_is_asked_for_in_rounds() -> None:
    """Goal: a handler may run for long. Method: much longer than a round and than the patience."""

    async def scenario(bench: Bench) -> None:
        bench.outcome = None
        call = calling(bench)
        await asyncio.sleep(100)
        assert not call.done() and len(bench.submitted) > 5
        bench.end(Success(b'"at last"'))
        assert (await call).body == b'"at last"'

    ingress_world(scenario)


def test_without_a_leader_the_answer_says_how_to_find_out() -> None:
    """Goal: bounded; 503 with the id. Method: nobody leads."""

    async def scenario(bench: Bench) -> None:
        bench.liveness.set(life(2), Believed.DEAD)
        started = asyncio.get_running_loop().time()
        reply = await calling(bench)
        assert 5.9 < asyncio.get_running_loop().time() - started < 7
        assert reply.status == 503 and reply.headers["x-restate-id"].startswith("inv_1")
        assert "has no leader" in reply.json["message"]

    ingress_world(scenario)


def test_what_fails_every_time_is_given_up() -> None:
    """Goal: a leader that fails on its own account is not asked for ever."""

    async def scenario(bench: Bench) -> None:
        bench.failures += [RpcFailure(RpcCode.FAILED, "bug")] * 5
        reply = await calling(bench)
        assert reply.status == 503 and "bug" in reply.json["message"]
        assert len(bench.submitted) == 3

    ingress_world(scenario)
