"""The admin API: common answers, versions of the API, the state of keys, what is not supported."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from restate_node.roles.admin.rest.exchange import BODY_BYTES_MAX
from restate_node.roles.admin.state_patch import NoLeader, OutcomeUnknown
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import MetadataServerState
from tests.roles.admin.admin_world import member, members
from tests.roles.admin.rest_world import Bench, service

BOX = service("Box", "VIRTUAL_OBJECT")
STATE = "/services/Box/state"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def state(**fields: Any) -> bytes:
    return json.dumps({"object_key": "k", "new_state": {}, **fields}).encode()


@pytest.mark.parametrize("prefix", ["", "/v2", "/v3", "/v4"])
async def test_health_and_version(bench: Bench, prefix: str) -> None:
    """Goal: what load balancers and the CLI ask first, with and without the API's version."""
    assert (await bench.call("GET", f"{prefix}/health")).status == 200
    told = (await bench.call("GET", f"{prefix}/version")).json
    assert (told["version"], told["ingress_endpoint"]) == ("1.2.3", "http://ingress:8080/")
    assert (told["min_admin_api_version"], told["max_admin_api_version"]) == (2, 4)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/", 404),
        ("GET", "/v3", 404),
        ("GET", "/v3/nope", 404),
        ("GET", "/v33/health", 404),
        ("POST", "/services/a/b/state", 404),
        ("GET", STATE, 405),
        ("POST", "/health", 405),
    ],
)
async def test_unknown_routes_have_no_body(
    bench: Bench, method: str, path: str, status: int
) -> None:
    """Goal: as captured: a status and nothing else."""
    reply = await bench.call(method, path)
    assert (reply.status, reply.body) == (status, b"")


@pytest.mark.parametrize("version", [1, 5])
async def test_other_versions_of_the_api(bench: Bench, version: int) -> None:
    """Goal: a tool that is too old or too new is told which versions there are."""
    reply = await bench.call("GET", f"/v{version}/health")
    assert reply.status == 400 and b"between V2 and V4" in reply.body


async def test_cluster_health(bench: Bench) -> None:
    """Goal: the members of the metadata cluster; 503 before there is one."""
    (await bench.call("GET", "/cluster-health")).refused(503)
    standby = member(2)
    voting = replace(member(1), metadata_server_state=MetadataServerState.MEMBER)
    bench.cache.install(MetadataKind.NODES_CONFIGURATION, members(voting, standby))
    told = (await bench.call("GET", "/cluster-health")).json
    assert told == {"cluster_name": "test", "metadata_cluster_health": {"members": [1]}}


async def test_openapi_has_every_path(bench: Bench) -> None:
    """Goal: tools can read what there is."""
    paths = (await bench.call("GET", "/openapi")).json["paths"]
    assert {"get", "patch"} <= set(paths["/services/{service}"])
    assert "patch" in paths["/invocations/{invocation}/{action}"]


async def test_kafka_is_not_supported(bench: Bench) -> None:
    """Goal: nothing is listed, and making something says why not."""
    assert (await bench.call("GET", "/subscriptions")).json == {"subscriptions": []}
    assert (await bench.call("GET", "/kafka-clusters")).json == {"clusters": []}
    for path in ("/subscriptions", "/kafka-clusters"):
        assert "Kafka" in (await bench.post(path)).refused(501)
        assert "Kafka" in (await bench.call("GET", f"{path}/x")).refused(404)


async def test_rules_and_virtual_queues_are_not_supported(bench: Bench) -> None:
    """Goal: `restate rules set` and the like say why they do nothing, instead of failing to read an
    answer without a body. Method: what the command line and the web interface send.
    """
    assert "rules" in (await bench.call("PUT", "/limits/rules", b"[]")).refused(501)
    assert "rules" in (await bench.post("/limits/rules/bulk-delete")).refused(501)
    assert "queues" in (await bench.post("/vqueues/vq_1/pause")).refused(501)
    for method in ("PATCH", "DELETE"):
        assert "Kafka" in (await bench.call(method, "/kafka-clusters/x")).refused(404)


async def test_queries_may_be_missing(bench: Bench) -> None:
    """Goal: a node that does not answer queries says so."""
    (await bench.post("/query", query="select 1")).refused(501)


async def test_state_is_patched(bench: Bench) -> None:
    """Goal: numbers become bytes, texts do; pieces are put together."""
    await bench.register("http://a/", BOX)
    values = {"v": [104, 105], "empty": [], "text": "\u00e4"}
    body = state(new_state=values, version="abc")
    assert (await bench.call("POST", STATE, body[:7], body[7:])).status == 202
    assert bench.patches.patches == [
        ("Box", "k", {"v": b"hi", "empty": b"", "text": b"\xc3\xa4"}, "abc")
    ]


@pytest.mark.parametrize(
    ("name", "status"), [("Nope", 404), ("Plain", 400)], ids=["unknown", "without keys"]
)
async def test_state_of_what_has_none(bench: Bench, name: str, status: int) -> None:
    """Goal: only registered services with keys have state."""
    await bench.register("http://a/", service("Plain"))
    body = state(new_state={"v": [1]})
    assert name in (await bench.call("POST", f"/services/{name}/state", body)).refused(status)
    assert bench.patches.patches == []


async def test_state_of_nobody_can_be_cleared(bench: Bench) -> None:
    """Goal: what a service left behind can go, as on Restate's own server: no service is asked
    for when there is nothing to set."""
    cleared = await bench.call("POST", "/services/Nope/state", state(new_state={}))
    assert cleared.status == 202
    assert bench.patches.patches == [("Nope", "k", {}, None)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b'{"object_key": "k"}', 422),
        (b'{"object_key": 1, "new_state": {}}', 422),
        (state(new_state={"v": [256]}), 422),
        (state(new_state={"v": [-1]}), 422),
        (state(new_state={"v": 1}), 422),
        (state(version=3), 422),
        (state(scope="s"), 400),
        (b'{"object_key": "\xff", "new_state": {}}', 400),
    ],
)
async def test_bad_bodies_are_refused_with_a_message(
    bench: Bench, body: bytes, status: int
) -> None:
    """Goal: 400 or 422, the reason, and nothing patched. Method: table."""
    await bench.register("http://a/", BOX)
    (await bench.call("POST", STATE, body)).refused(status)
    assert bench.patches.patches == []


async def test_body_is_bounded(bench: Bench) -> None:
    """Goal: reading stops at the limit. Method: a body of three pieces, over it with the second."""
    half = b" " * (BODY_BYTES_MAX // 2 + 1)
    assert "larger" in (await bench.call("POST", STATE, half, half, half)).refused(413)


async def test_body_must_be_declared_as_json(bench: Bench) -> None:
    """Goal: what a browser sends to other sites without asking is not taken."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        reply = await bench.call("POST", "/deployments", b"{}", content_type=content_type)
        assert "application/json" in reply.refused(415)


@pytest.mark.parametrize("error", [NoLeader("nobody leads"), OutcomeUnknown("not confirmed")])
async def test_no_leader_in_time_is_unavailable(bench: Bench, error: Exception) -> None:
    """Goal: 503 with the reason, so that clients try again."""
    await bench.register("http://a/", BOX)
    bench.patches.error = error
    assert (await bench.call("POST", STATE, state())).refused(503) == str(error)
