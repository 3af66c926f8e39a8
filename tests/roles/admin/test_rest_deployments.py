"""Registering, looking at and changing deployments and services over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from restate_node.runtime.services import FailureCause, HttpVersion
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.metadata_kv import VersionedValue
from restate_node.wire.endpoint_manifest import ACCEPT
from restate_node.wire.schema import decode_schema
from tests.roles.admin.rest_world import Bench, manifest, service

GREETER = service("Greeter", "SERVICE", {"name": "greet"})
COUNTER = service(
    "Counter",
    "VIRTUAL_OBJECT",
    {
        "name": "add",
        "input": {"required": False, "contentType": "application/json",
                  "jsonSchema": {"type": "integer"}},
        "output": {"contentType": "application/json", "jsonSchema": {"type": "integer"}},
        "documentation": "Adds.",
    },
    {"name": "get", "ty": "SHARED", "input": {}, "output": {}},
)  # fmt: skip
SIGNUP = service("Signup", "WORKFLOW", {"name": "run"}, {"name": "status", "ty": "SHARED"})
URI = "http://host:9080/"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:greeter:1"
ROLE = "arn:aws:iam::123456789012:role/invoker"
UNKNOWN = "dp_14hZJ9Uizbmw6Oz6JIGSecN"


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_registration(bench: Bench) -> None:
    """Goal: 201 with everything discovered, then 200; the request of the discovery."""
    bench.endpoints.manifests[URI] = manifest(GREETER, COUNTER, SIGNUP)
    reply = await bench.post(
        "/deployments", uri="http://HOST:9080", additional_headers={"X-A": "b"}, metadata={"m": "n"}
    )
    told = reply.json
    assert reply.status == 201 and reply.headers["location"] == f"deployments/{told['id']}"
    assert told["id"].startswith("dp_1") and told["sdk_version"] == "sdk/1"
    assert {known["name"]: known["revision"] for known in told["services"]} == {
        "Greeter": 1, "Counter": 1, "Signup": 1,
    }  # fmt: skip
    (address, head), *more = bench.endpoints.asked
    assert not more and (address.uri, address.http_version) == (URI, HttpVersion.HTTP_2)
    assert (head.method, head.path) == ("GET", "/discover")
    assert dict(head.headers) == {
        "accept": ACCEPT, "x-restate-cluster-name": "test", "x-a": "b",
    }  # fmt: skip
    again = await bench.post("/deployments", uri=URI)
    assert again.status == 200 and again.json["id"] == told["id"]
    stored = decode_schema(bench.store.values["schema_registry"].data)
    assert stored == bench.cache.schema.value and stored.version == 1
    deployment = stored.deployments[told["id"]]
    assert (deployment.additional_headers, deployment.metadata) == ({"x-a": "b"}, {"m": "n"})


async def test_views_are_those_of_the_reference(bench: Bench) -> None:
    """Goal: field by field what Restate 1.7.12 shows for such a service."""
    deployment = await bench.register(URI, COUNTER)
    assert (await bench.call("GET", "/services/Counter")).json == {
        "name": "Counter",
        "ty": "VirtualObject",
        "handlers": [
            {
                "name": "add",
                "ty": "Exclusive",
                "documentation": "Adds.",
                "public": True,
                "input_description": "JSON integer",
                "output_description": "JSON integer",
                "input_json_schema": {"type": "integer"},
                "output_json_schema": {"type": "integer"},
                "retry_policy": {"max_attempts": None},
            },
            {
                "name": "get",
                "ty": "Shared",
                "public": True,
                "input_description": "none",
                "output_description": "none",
                "retry_policy": {"max_attempts": None},
            },
        ],
        "deployment_id": deployment,
        "revision": 1,
        "public": True,
        "idempotency_retention": "1d",
        "journal_retention": "1d",
        "inactivity_timeout": "1m",
        "abort_timeout": "10m",
        "enable_lazy_state": False,
        "retry_policy": {
            "initial_interval": "500ms",
            "exponentiation_factor": 2.0,
            "max_attempts": 70,
            "max_interval": "1m",
            "on_max_attempts": "Pause",
        },
    }
    (listed,) = (await bench.call("GET", "/deployments")).json["deployments"]
    assert listed == {
        "id": deployment,
        "uri": URI,
        "protocol_type": "BidiStream",
        "http_version": "HTTP/2.0",
        "created_at": "2026-11-23T06:42:27.571000000Z",
        "min_protocol_version": 5,
        "max_protocol_version": 7,
        "sdk_version": "sdk/1",
        "services": [{"name": "Counter", "revision": 1}],
    }
    one = (await bench.call("GET", f"/deployments/{deployment}")).json
    assert one["services"][0]["handlers"][0]["name"] == "add"
    handlers = (await bench.call("GET", "/services/Counter/handlers")).json["handlers"]
    assert (await bench.call("GET", "/services/Counter/handlers/get")).json == handlers[1]


async def test_an_sdk_says_whether_it_is_bidirectional(bench: Bench) -> None:
    """Goal: the SDK's word counts, over HTTP/1.1 as well, and what follows from it is shown.
    Method: an SDK that serves both directions at once, then one that does not.
    """
    tuned = service("Greeter", "SERVICE", {"name": "greet"}, inactivityTimeout=61_000)
    await bench.register("http://both/", tuned, use_http_11=True)
    (both,) = (await bench.call("GET", "/deployments")).json["deployments"]
    assert (both["protocol_type"], both["http_version"]) == ("BidiStream", "HTTP/1.1")
    assert (await bench.call("GET", "/services/Greeter")).json["inactivity_timeout"] == "1m 1s"
    gone = await bench.call("DELETE", f"/deployments/{both['id']}?force=true")
    assert gone.status == 202
    bench.endpoints.manifests[URI] = manifest(tuned, protocolMode="REQUEST_RESPONSE")
    await bench.post("/deployments", uri=URI, use_http_11=True)
    assert bench.endpoints.asked[0][0].http_version is HttpVersion.HTTP_1_1
    (listed,) = (await bench.call("GET", "/deployments")).json["deployments"]
    assert (listed["protocol_type"], listed["http_version"]) == ("RequestResponse", "HTTP/1.1")
    shown = (await bench.call("GET", "/services/Greeter")).json
    assert shown["inactivity_timeout"] == "0s"
    assert shown["info"][0]["code"] == "RT0021" and "1m 1s" in shown["info"][0]["message"]


async def test_functions_on_aws_lambda(bench: Bench) -> None:
    """Goal: what Restate 1.7.12 stores and shows of them; 200 and the same id when it is known."""
    bench.endpoints.manifests[ARN] = manifest(GREETER, lambdaCompression="zstd")
    reply = await bench.post("/deployments", arn=ARN, assume_role_arn=ROLE, use_http_11=False)
    assert reply.status == 201
    ((address, head),) = bench.endpoints.asked
    assert (address.uri, address.assume_role_arn) == (ARN, ROLE)
    assert (head.method, head.path) == ("GET", "/discover")
    shown = (await bench.call("GET", f"/deployments/{reply.json['id']}")).json
    handler = shown.pop("services")[0]
    assert handler["inactivity_timeout"] == "0s"
    assert shown == {
        "id": reply.json["id"],
        "arn": ARN,
        "assume_role_arn": ROLE,
        "compression": "Zstd",
        "created_at": "2026-11-23T06:42:27.571000000Z",
        "min_protocol_version": 5,
        "max_protocol_version": 7,
        "sdk_version": "sdk/1",
    }
    again = await bench.post("/deployments", arn=ARN)
    assert (again.status, again.json["id"]) == (200, reply.json["id"])


async def test_update_of_a_function(bench: Bench) -> None:
    """Goal: as on Restate 1.7.12: a role stays until there is another, or another ARN; functions
    become addresses and back. Method: a row of changes.
    """
    other = ARN.removesuffix("1") + "2"
    for address in (ARN, other, URI):
        bench.endpoints.manifests[address] = manifest(GREETER)
    deployment = (await bench.post("/deployments", arn=ARN, assume_role_arn=ROLE)).json["id"]
    path = f"/deployments/{deployment}"

    async def changed(**change: Any) -> tuple[str | None, str | None, str | None]:
        shown = (await bench.patch(path, **change)).json
        return shown.get("arn"), shown.get("assume_role_arn"), shown.get("uri")

    assert await changed(additional_headers={"x-a": "1"}) == (ARN, ROLE, None)
    assert await changed(assume_role_arn=f"{ROLE}2") == (ARN, f"{ROLE}2", None)
    assert await changed(arn=other) == (other, None, None)
    assert await changed(arn=other, assume_role_arn=ROLE) == (other, ROLE, None)
    assert await changed(uri=URI) == (None, None, URI)
    assert (await bench.call("GET", path)).json["http_version"] == "HTTP/2.0"
    (await bench.patch(path, assume_role_arn=ROLE)).refused(400)
    (await bench.patch(path, arn="arn:x")).refused(400)
    assert await changed(arn=ARN) == (ARN, None, None)


async def test_dry_run_registers_nothing(bench: Bench) -> None:
    """Goal: the answer of a registration, and nothing stored."""
    await bench.register(URI, GREETER, dry_run=True)
    assert bench.store.values == {} and bench.cache.schema.value.deployments == {}


@pytest.mark.parametrize(
    ("cause", "code"),
    [(FailureCause.NAME, "META0003"), (FailureCause.PROTOCOL, "META0014")],
)
async def test_deployment_that_cannot_be_reached(
    bench: Bench, cause: FailureCause, code: str
) -> None:
    """Goal: the address and the reason, with the code of the reference."""
    bench.endpoints.failure = cause
    message = (await bench.post("/deployments", uri=URI)).refused(500, code)
    assert URI in message
    assert ("discovery with --use-http1.1" in message) is (code == "META0014")
    old = await bench.post("/deployments", uri=URI, use_http_11=True)
    message = old.refused(500, "META0003")
    assert ("without --use-http1.1" in message) is (cause is FailureCause.PROTOCOL)


def test_deployment_that_is_about_to_start() -> None:
    """Goal: it is asked again for two seconds. Method: connections are refused and closed at first;
    then for ever, on a virtual clock.
    """

    async def main(loop: SimLoop) -> None:
        bench = Bench()
        bench.endpoints.manifests[URI] = manifest(GREETER)
        bench.endpoints.losses = [FailureCause.REFUSED, FailureCause.CLOSED]
        assert (await bench.post("/deployments", uri=URI)).status == 201
        assert len(bench.endpoints.asked) == 3
        started = loop.time()
        (await bench.post("/deployments", uri="http://nobody/")).refused(500, "META0003")
        assert 1.5 < loop.time() - started < 2.5

    simulate(1, main)


async def test_deployment_that_is_none(bench: Bench) -> None:
    """Goal: some other server, and an SDK whose answer makes no sense."""
    bench.endpoints.manifests[URI] = manifest(service("a b"))
    assert "manifest" in (await bench.post("/deployments", uri=URI)).refused(500, "META0013")
    bench.endpoints.status = 404
    assert "404" in (await bench.post("/deployments", uri=URI)).refused(500, "META0003")


async def test_refusals_of_the_registry(bench: Bench) -> None:
    """Goal: status and code of each kind."""
    await bench.register(URI, GREETER)
    bench.endpoints.manifests["http://b/"] = manifest(service("Greeter", "VIRTUAL_OBJECT"))
    (await bench.post("/deployments", uri="http://b/")).refused(409, "META0006")
    assert (await bench.post("/deployments", uri="http://b/", breaking=True)).status == 201
    bench.endpoints.manifests["http://c/"] = manifest(service("restate"))
    (await bench.post("/deployments", uri="http://c/")).refused(400, "META0005")
    bench.endpoints.manifests["http://d/"] = manifest(GREETER, minProtocolVersion=8,
                                                      maxProtocolVersion=9)  # fmt: skip
    (await bench.post("/deployments", uri="http://d/")).refused(500, "META0012")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({}, 422),
        ({"nothing": 1}, 422),
        ({"uri": 1}, 422),
        ({"uri": "nope"}, 400),
        ({"uri": "ftp://x/"}, 400),
        ({"uri": "http://user:secret@x/"}, 400),
        ({"uri": "http://x/?a=b"}, 400),
        ({"uri": "http://x:port/"}, 400),
        ({"uri": "http://[x/"}, 400),
        ({"uri": "http://x/" + "y" * 5000}, 400),
        ({"uri": URI, "additional_headers": {"a b": "c"}}, 422),
        ({"uri": URI, "additional_headers": {"a": "b\r\nc: d"}}, 422),
        ({"arn": ARN.removesuffix(":1")}, 400),
        ({"arn": ARN, "assume_role_arn": "admin"}, 400),
        ({"arn": ARN, "uri": URI}, 422),
        ({"uri": URI, "assume_role_arn": ROLE}, 400),
    ],
)
async def test_registrations_that_make_no_sense(
    bench: Bench, content: dict[str, Any], status: int
) -> None:
    """Goal: refused with a reason before anything is asked. Method: table."""
    assert (await bench.post("/deployments", **content)).refused(status)
    assert bench.endpoints.asked == []


async def test_removal(bench: Bench) -> None:
    """Goal: only forced; then its services fall back, and are gone with the last one."""
    first = await bench.register(URI, GREETER)
    second = await bench.register("http://b/", GREETER)
    assert "force" in (await bench.call("DELETE", f"/deployments/{second}")).refused(501)
    assert (await bench.call("DELETE", f"/deployments/{second}?force=true")).status == 202
    assert (await bench.call("GET", "/services/Greeter")).json["deployment_id"] == first
    (await bench.call("DELETE", f"/deployments/{second}?force=true")).refused(404)
    (await bench.call("DELETE", f"/deployments/{second}?force=x")).refused(400)
    assert (await bench.call("DELETE", f"/deployments/{first}?force=true")).status == 202
    (await bench.call("GET", "/services/Greeter")).refused(404)
    assert (await bench.call("GET", "/services")).json == {"services": []}


async def test_update_of_a_deployment(bench: Bench) -> None:
    """Goal: another address and other headers under the same id; refused when calls could not go
    on there.
    """
    deployment = await bench.register(URI, GREETER, additional_headers={"x-a": "1"})
    path = f"/deployments/{deployment}"
    bench.endpoints.manifests["http://b/"] = manifest(GREETER)
    reply = await bench.patch(path, uri="http://b", additional_headers={"x-b": "2"})
    assert reply.status == 200
    assert (reply.json["uri"], reply.json["additional_headers"]) == ("http://b/", {"x-b": "2"})
    bench.endpoints.manifests["http://c/"] = manifest(COUNTER)
    assert "overwrite" in (await bench.patch(path, uri="http://c/")).refused(409)
    dry = await bench.patch(path, uri="http://c/", overwrite=True, dry_run=True)
    assert dry.json["services"][0]["name"] == "Counter"
    assert (await bench.call("GET", path)).json["uri"] == "http://b/"
    assert (await bench.patch(path, uri="http://c/", overwrite=True)).status == 200
    assert (await bench.call("GET", path)).json["services"][0]["name"] == "Counter"
    (await bench.patch(f"/deployments/{UNKNOWN}", uri="http://b/")).refused(404)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/deployments/{UNKNOWN}", 404),
        ("/deployments/xx", 400),
        ("/services/Nope", 404),
        ("/services/Nope/handlers", 404),
        ("/services/Nope/openapi", 404),
        ("/services/Greeter/handlers/nope", 404),
        ("/services/Nope/handlers/nope", 404),
    ],
)
async def test_what_is_not_there(bench: Bench, path: str, status: int) -> None:
    """Goal: 404 with the name, 400 for what is no id. Method: table."""
    await bench.register(URI, GREETER)
    assert (await bench.call("GET", path)).refused(status)


async def test_options_of_a_service(bench: Bench) -> None:
    """Goal: readable, changeable, in effect; units as people write them."""
    await bench.register(URI, GREETER, SIGNUP)
    changed = await bench.patch(
        "/services/Greeter", public=False, inactivity_timeout="50ms", idempotency_retention="PT2H"
    )
    assert changed.status == 200
    shown = (await bench.call("GET", "/services/Greeter")).json
    assert shown == changed.json
    assert (shown["inactivity_timeout"], shown["idempotency_retention"]) == ("50ms", "2h")
    assert shown["public"] is False and shown["handlers"][0]["public"] is False
    workflow = await bench.patch("/services/Signup", workflow_completion_retention="5m")
    assert workflow.json["workflow_completion_retention"] == "5m"
    assert "workflow_completion_retention" not in workflow.json["handlers"][0]
    unsupported = await bench.patch("/services/Greeter", workflow_completion_retention="5m")
    unsupported.refused(400)
    (await bench.patch("/services/Nope", public=True)).refused(404)
    before = (await bench.call("GET", "/services/Greeter")).json
    for wrong in ({"public": 1}, {"abort_timeout": "soon"}, {"abort_timeout": 3}):
        (await bench.patch("/services/Greeter", journal_retention="1h", **wrong)).refused(422)
    assert (await bench.patch("/services/Greeter")).json == before
    zero = await bench.patch("/services/Greeter", abort_timeout="0")
    assert zero.json["abort_timeout"] == "0s"


async def test_openapi_of_a_service(bench: Bench) -> None:
    """Goal: the paths that a client can call, with schemas that are there."""
    await bench.register(URI, COUNTER, SIGNUP)
    document = (await bench.call("GET", "/services/Counter/openapi")).json
    assert document["openapi"].startswith("3.")
    assert document["servers"][0]["url"] == "http://ingress:8080/"
    target = "Counter/{key}/add"
    assert {
        f"/restate/call/{target}",
        f"/restate/send/{target}",
        f"/restate/invocation/{target}/{{idempotencyKey}}/attach",
        f"/restate/invocation/{target}/{{idempotencyKey}}/output",
    } <= set(document["paths"])
    call = document["paths"][f"/restate/call/{target}"]["post"]
    assert call["requestBody"]["content"]["application/json"]["schema"]
    assert document["components"]["schemas"]["addRequest"] == {"type": "integer"}
    for reference in references(document):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in document["components"][kind], reference
    workflow = (await bench.call("GET", "/services/Signup/openapi")).json
    assert "/restate/workflow/Signup/{key}/attach" in workflow["paths"]


def references(document: Any) -> list[str]:
    text = json.dumps(document)
    return [part.split('"')[0] for part in text.split('"$ref": "')[1:]]


async def test_registry_that_cannot_be_read_is_left_alone(bench: Bench) -> None:
    """Goal: what another server registered is not destroyed. Method: one of another kind."""
    deployment = await bench.register(URI, GREETER)
    stored = bench.store.values["schema_registry"]
    foreign = json.loads(stored.data[1:])
    foreign["deployments_v2"][0]["ty"] = {"Carrier": {"pigeon": "coo"}}
    blob = stored.data[:1] + json.dumps(foreign).encode()
    bench.store.values["schema_registry"] = VersionedValue(stored.version, blob)
    message = (await bench.post("/deployments", uri=URI, force=True)).refused(500)
    assert "cannot be read" in message and deployment in message
    assert bench.store.values["schema_registry"].data == blob


async def test_store_that_does_not_answer(bench: Bench) -> None:
    """Goal: 503, so that the client tries again."""
    bench.endpoints.manifests[URI] = manifest(GREETER)
    bench.store.available = False
    assert "try again" in (await bench.post("/deployments", uri=URI)).refused(503)
