"""The admin API by plain ASGI calls, and the way of a patch to the leader of its partition."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from restate_node.roles.admin.rest import BODY_BYTES_MAX, admin_application
from restate_node.roles.admin.state_patch import NoLeader, OutcomeUnknown, StatePatcher
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.gossip import Leadership
from restate_node.types.gossip import NodeState as Believed
from restate_node.types.ids import LeaderEpoch, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.processor_messages import PatchState, Proposed
from tests.roles.admin.admin_world import HandLiveness, World, life


class Recorder:
    """Stands for a patcher: remembers, or fails as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.patches: list[tuple[str, str, dict[str, bytes], str | None]] = []
        self.error = error

    async def patch(
        self, service: str, key: str, new_state: dict[str, bytes], version: str | None
    ) -> Lsn:
        if self.error is not None:
            raise self.error
        self.patches.append((service, key, new_state, version))
        return Lsn(1)


async def call(recorder: Recorder, method: str, path: str, *chunks: bytes) -> tuple[int, bytes]:
    """One request in as many pieces as given."""
    application = admin_application(recorder, "1.2.3", "http://ingress:8080/")
    pieces = list(chunks or (b"",))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        body = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pieces)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json")], "scheme": "http",
        "server": ("test", 80), "client": ("test", 1),
    }  # fmt: skip
    await application(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body


def state(**fields: Any) -> bytes:
    return json.dumps({"object_key": "k", "new_state": {}, **fields}).encode()


async def test_health_and_version() -> None:
    """Goal: what load balancers and the CLI ask first."""
    assert await call(Recorder(), "GET", "/health") == (200, b"")
    status, body = await call(Recorder(), "GET", "/version")
    told = json.loads(body)
    assert status == 200
    assert (told["version"], told["ingress_endpoint"]) == ("1.2.3", "http://ingress:8080/")
    assert (told["min_admin_api_version"], told["max_admin_api_version"]) == (2, 4)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/", 404),
        ("POST", "/services/a/b/state", 404),
        ("GET", "/services/Box/state", 405),
        ("POST", "/health", 405),
    ],
)
async def test_unknown_routes_have_no_body(method: str, path: str, status: int) -> None:
    """Goal: as captured: a status and nothing else."""
    assert await call(Recorder(), method, path) == (status, b"")


async def test_state_is_patched() -> None:
    """Goal: any service name is taken; numbers become bytes; pieces are put together."""
    recorder = Recorder()
    body = state(new_state={"v": [104, 105], "empty": []}, version="abc")
    assert await call(recorder, "POST", "/services/Box/state", body[:7], body[7:]) == (202, b"")
    assert recorder.patches == [("Box", "k", {"v": b"hi", "empty": b""}, "abc")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"object_key": "k"}',
        b'{"object_key": 1, "new_state": {}}',
        state(new_state={"v": [256]}),
        state(new_state={"v": [-1]}),
        state(new_state={"v": "text"}),
        state(version=3),
        state(scope="s"),
        b'{"object_key": "\xff", "new_state": {}}',
    ],
)
async def test_bad_bodies_are_refused_with_a_message(body: bytes) -> None:
    """Goal: 400, the reason, and nothing patched. Method: table."""
    recorder = Recorder()
    status, answer = await call(recorder, "POST", "/services/Box/state", body)
    assert status == 400 and json.loads(answer)["message"]
    assert recorder.patches == []


async def test_body_is_bounded() -> None:
    """Goal: reading stops at the limit. Method: a body of three pieces, over it with the second."""
    half = b" " * (BODY_BYTES_MAX // 2 + 1)
    status, answer = await call(Recorder(), "POST", "/services/Box/state", half, half, half)
    assert status == 413 and b"larger" in answer


@pytest.mark.parametrize("error", [NoLeader("nobody leads"), OutcomeUnknown("not confirmed")])
async def test_no_leader_in_time_is_unavailable(error: Exception) -> None:
    """Goal: 503 with the reason, so that clients try again."""
    answer = await call(Recorder(error), "POST", "/services/Box/state", state())
    assert answer == (503, json.dumps({"message": str(error)}, separators=(",", ":")).encode())


@dataclass
class Leading:
    """Two nodes and two partitions; node 2 answers patches as told."""

    world: World
    liveness: HandLiveness = field(default_factory=lambda: HandLiveness(life(1), life(2)))
    asked: list[PatchState] = field(default_factory=list[PatchState])
    failures: list[RpcFailure] = field(default_factory=list[RpcFailure])

    def __post_init__(self) -> None:
        for node in (1, 2):
            self.world.start(node)
        self.world.partition(2, 1)
        self.world.hosts[2].fabric.router.serve(PatchState, self.answer)
        host = self.world.hosts[1]
        self.patcher = StatePatcher(host.cache, self.liveness, host.fabric)

    async def answer(self, _: Peer, request: PatchState) -> Proposed:
        self.asked.append(request)
        if self.failures:
            raise self.failures.pop(0)
        return Proposed(Lsn(5))

    def lead(self, node: int) -> None:
        self.liveness.leaders.set(
            {
                PartitionId(p): Leadership(PartitionId(p), LeaderEpoch(1), life(node))
                for p in range(2)
            }
        )


def leading(scenario: Callable[[Leading], Awaitable[None]]) -> None:
    async def main(loop: SimLoop) -> None:
        await scenario(Leading(World(loop)))

    simulate(1, main)


def test_patch_goes_to_the_leader_of_the_keys_partition() -> None:
    """Goal: the key alone decides the partition. Method: keys of both halves."""

    async def scenario(bench: Leading) -> None:
        bench.lead(2)
        for key in ("a", "b", "c", "d"):
            assert await bench.patcher.patch("Box", key, {"v": b"1"}, None) == 5
            half = PartitionId(partition_key_of_key(key) >> 63)
            assert bench.asked[-1] == PatchState(half, "Box", key, {"v": b"1"}, None)
        assert {request.partition for request in bench.asked} == {0, 1}

    leading(scenario)


def test_patch_waits_for_a_leader_and_tries_again_while_nothing_happened() -> None:
    """Goal: a failover costs time, not the request. Method: the leader is dead, then another one is
    not ready once, then it answers.
    """

    async def scenario(bench: Leading) -> None:
        bench.lead(3)
        bench.failures.append(RpcFailure(RpcCode.NOT_READY, "not yet"))
        patch = asyncio.ensure_future(bench.patcher.patch("Box", "k", {}, None))
        await asyncio.sleep(1)
        assert not patch.done() and bench.asked == []
        bench.lead(2)
        assert await patch == 5
        assert len(bench.asked) == 2

    leading(scenario)


def test_patch_without_a_leader_ends_at_its_deadline() -> None:
    """Goal: bounded, and it says that nothing was written."""

    async def scenario(bench: Leading) -> None:
        bench.lead(2)
        bench.liveness.set(life(2), Believed.DEAD)
        started = asyncio.get_running_loop().time()
        with pytest.raises(NoLeader, match="nothing was written"):
            await bench.patcher.patch("Box", "k", {}, None)
        assert 9.9 < asyncio.get_running_loop().time() - started < 10.5
        assert bench.asked == []

    leading(scenario)


def test_patch_that_may_have_been_applied_is_not_repeated() -> None:
    """Goal: no patch is applied twice. Method: the leader fails after it was asked."""

    async def scenario(bench: Leading) -> None:
        bench.lead(2)
        bench.failures.append(RpcFailure(RpcCode.FAILED, "disk"))
        with pytest.raises(OutcomeUnknown, match="may have been applied"):
            await bench.patcher.patch("Box", "k", {}, None)
        assert len(bench.asked) == 1

    leading(scenario)
