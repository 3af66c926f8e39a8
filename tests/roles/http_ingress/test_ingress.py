"""The ingress by plain ASGI calls: what it submits, and what it answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from restate_node.types.invocations import (
    Failure,
    Header,
    Origin,
    Retention,
    Success,
    id_text,
    parse_id_text,
    partition_key_of_id,
    raw_id,
)
from restate_node.types.journal import SignalIndex
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.targets import Target, TargetKind
from restate_node.wire import journal_codec
from restate_node.wire.awakeable_ids import awakeable_id
from tests.roles.http_ingress.ingress_world import (
    BODY_BYTES_MAX,
    Bench,
    Client,
    Reply,
    ingress_world,
)

DAY_MS = 24 * 60 * 60 * 1000


def refused(reply: Reply, status: int, source: str = "ingress") -> str:
    """The message of an error, once its form is right."""
    assert reply.status == status, reply
    assert reply.headers["x-restate-error-source"] == source
    content = reply.json
    assert content["code"] == status and content["source"] == source
    assert reply.headers["content-length"] == str(len(reply.body))
    return content["message"]


def test_call_of_a_service() -> None:
    """Goal: the whole invocation, and the answer with id and content type."""

    async def scenario(bench: Bench) -> None:
        reply = await bench.request("POST", "/Greeter/greet", b'"Ada"', headers={"X-Tenant": "b"})
        assert (reply.status, reply.body) == (200, b'"done"')
        assert reply.headers["content-type"] == "application/json"
        assert "idempotency-expires" not in reply.headers
        (node, request), *more = bench.submitted
        assert node == 2 and not more and request.wait
        invocation = request.invocation
        assert reply.headers["x-restate-id"] == id_text(invocation.id)
        assert invocation.target == Target(TargetKind.SERVICE, "Greeter", "greet")
        assert (invocation.argument, invocation.origin) == (b'"Ada"', Origin.INGRESS)
        assert Header("x-tenant", "b") in invocation.headers
        assert invocation.retention == Retention(DAY_MS, DAY_MS)
        assert invocation.start_at_ms is None and invocation.idempotency_key is None
        assert request.partition == partition_key_of_id(invocation.id) >> 63

    ingress_world(scenario)


def test_call_of_an_object_goes_by_its_key() -> None:
    """Goal: the decoded key decides the partition. Method: a key that needs decoding."""

    async def scenario(bench: Bench) -> None:
        reply = await bench.request("POST", "/Counter/a%2Fb/add", b"1")
        assert reply.status == 200
        invocation = bench.submitted[0][1].invocation
        assert invocation.target == Target(TargetKind.OBJECT_EXCLUSIVE, "Counter", "add", "a/b")
        assert partition_key_of_id(invocation.id) == partition_key_of_key("a/b")

    ingress_world(scenario)


def test_every_request_is_an_invocation_of_its_own() -> None:
    """Goal: ids are drawn. Method: the same call twice."""

    async def scenario(bench: Bench) -> None:
        for _ in range(2):
            await bench.request("POST", "/Greeter/greet", b"1")
        first, second = (request.invocation for _, request in bench.submitted)
        assert first.id != second.id and first.random_seed != second.random_seed

    ingress_world(scenario)


def test_send_and_delayed_send() -> None:
    """Goal: 202 at once; the time of a delayed one is told. Method: the clock of the simulation."""

    async def scenario(bench: Bench) -> None:
        reply = await bench.request("POST", "/Greeter/greet/send", b"1")
        assert reply.status == 202
        assert reply.json == {"invocationId": reply.headers["x-restate-id"], "status": "Accepted"}
        assert not bench.submitted[0][1].wait
        now_ms = bench.world.clock.unix_ms()
        later = await bench.request("POST", "/restate/send/Greeter/greet?delay=PT1.5S", b"1")
        assert bench.submitted[1][1].invocation.start_at_ms == now_ms + 1500
        assert later.json["executionTime"].endswith("000000Z")
        none = await bench.request("POST", "/Greeter/greet/send?delay=0s", b"1")
        assert "executionTime" in none.json

    ingress_world(scenario)


def test_idempotency_key_names_one_invocation() -> None:
    """Goal: the same key and target give the same id; the second answer says until when."""

    async def scenario(bench: Bench) -> None:
        keyed = {"idempotency-key": "k"}
        first = await bench.request("POST", "/Greeter/greet", b"1", headers=keyed)
        second = await bench.request("POST", "/Greeter/greet", b"1", headers=keyed)
        assert first.headers["x-restate-id"] == second.headers["x-restate-id"]
        assert second.headers["idempotency-expires"] == "1970-01-01T00:16:40.000+00:00"
        sent = await bench.request("POST", "/Greeter/greet/send", b"1", headers=keyed)
        assert sent.json["status"] == "PreviouslyAccepted"
        invocation = bench.submitted[0][1].invocation
        assert invocation.idempotency_key == "k"
        assert all(header.name != "idempotency-key" for header in invocation.headers)
        for verb in ("attach", "output"):
            path = f"/restate/invocation/Greeter/greet/k/{verb}"
            found = await bench.request("GET", path)
            assert found.headers["x-restate-id"] == first.headers["x-restate-id"]
            assert (found.status, found.body) == (200, b'"done"')
        other = await bench.request("POST", "/Counter/x/add", b"1", headers=keyed)
        assert other.headers["x-restate-id"] != first.headers["x-restate-id"]

    ingress_world(scenario)


def test_empty_idempotency_key_is_a_key() -> None:
    """Goal: what a client sends as key is one, also when it is empty. Method: two calls."""

    async def scenario(bench: Bench) -> None:
        empty = {"idempotency-key": ""}
        first = await bench.request("POST", "/Greeter/greet", b"1", headers=empty)
        second = await bench.request("POST", "/Greeter/greet", b"2", headers=empty)
        assert first.headers["x-restate-id"] == second.headers["x-restate-id"]
        refused(await bench.request("POST", "/Signup/ann/run", b"1", headers=empty), 400)

    ingress_world(scenario)


def test_handler_learns_the_path_of_its_caller() -> None:
    """Goal: path and query, unless a proxy has told its own. Method: the submitted headers."""

    async def scenario(bench: Bench) -> None:
        await bench.request("POST", "/Counter/a%2Fb/add/?x=1", b"1")
        proxied = {"x-restate-ingress-path": "/outside"}
        await bench.request("POST", "/Greeter/greet", b"1", headers=proxied)
        told = [
            [h.value for h in request.invocation.headers if h.name == "x-restate-ingress-path"]
            for _, request in bench.submitted
        ]
        assert told == [["/Counter/a%2Fb/add?x=1"], ["/outside"]]

    ingress_world(scenario)


def test_invocations_named_in_a_body() -> None:
    """Goal: found like those in a path; lookup tells the id, of anything. Method: one of each kind,
    with a field that nobody knows, and a scope.
    """

    async def scenario(bench: Bench) -> None:
        keyed = {"idempotency-key": "k"}
        plain = await bench.request("POST", "/Greeter/greet", b"1", headers=keyed)
        added = await bench.request("POST", "/Counter/x/add", b"1", headers=keyed)
        ran = await bench.request("POST", "/Signup/ann/run", b"1")
        idempotent = {"target": "idempotentInvocation", "idempotencyKey": "k"}
        names: list[tuple[Reply, dict[str, str]]] = [
            (plain, {"target": "invocation", "invocationId": plain.headers["x-restate-id"]}),
            (plain, idempotent | {"service": "Greeter", "handler": "greet", "new": "?"}),
            (added, idempotent | {"service": "Counter", "key": "x", "handler": "add"}),
            (ran, {"target": "workflow", "workflowName": "Signup", "workflowKey": "ann"}),
        ]
        nowhere = json.dumps(idempotent | {"service": "Nope", "handler": "x"}).encode()
        assert (await bench.request("POST", "/restate/lookup", nowhere)).status == 200
        refused(await bench.request("POST", "/restate/attach", nowhere), 404, "invocation")
        for made, name in names:
            told = made.headers["x-restate-id"]
            for verb in ("attach", "output"):
                body = json.dumps(name).encode()
                found = await bench.request("POST", f"/restate/{verb}", body)
                assert (found.status, found.headers["x-restate-id"]) == (200, told)
            looked_up = await bench.request("POST", "/restate/lookup", json.dumps(name).encode())
            assert (looked_up.status, looked_up.json) == (200, {"invocationId": told})
            name["scope"] = "s"
            scoped = await bench.request("POST", "/restate/lookup", json.dumps(name).encode())
            assert "scope" in refused(scoped, 400)

    ingress_world(scenario)


def test_workflow_runs_once() -> None:
    """Goal: a second call is 409 from the invocation, a second send the old id; no further key."""

    async def scenario(bench: Bench) -> None:
        first = await bench.request("POST", "/Signup/ann/run", b"1")
        assert first.status == 200
        again = await bench.request("POST", "/Signup/ann/run", b"1")
        assert refused(again, 409, "invocation") == "the workflow method was already invoked"
        assert again.headers["x-restate-id"] == first.headers["x-restate-id"]
        sent = await bench.request("POST", "/Signup/ann/run/send", b"1")
        told = {"invocationId": first.headers["x-restate-id"], "status": "PreviouslyAccepted"}
        assert sent.json == told
        attached = await bench.request("GET", "/restate/workflow/Signup/ann/attach")
        assert attached.headers["x-restate-id"] == first.headers["x-restate-id"]
        keyed = {"idempotency-key": "x"}
        answer = await bench.request("POST", "/Signup/ann/run", b"1", headers=keyed)
        assert "idempotent by the workflow key" in refused(answer, 400)

    ingress_world(scenario)


def test_output_and_attach() -> None:
    """Goal: not yet, then the outcome; attaching waits. Method: an invocation that is ended by
    hand while a client is attached.
    """

    async def scenario(bench: Bench) -> None:
        bench.outcome = None
        sent = await bench.request("POST", "/Greeter/greet/send", b"1")
        path = f"/restate/invocation/{sent.json['invocationId']}"
        assert refused(await bench.request("GET", f"{path}/output"), 470)
        attaching = asyncio.ensure_future(bench.request("GET", f"{path}/attach"))
        await asyncio.sleep(1)
        assert not attaching.done()
        bench.end(Success(b'"late"'))
        attached = await attaching
        assert (attached.status, attached.body) == (200, b'"late"')
        assert attached.headers["content-type"] == "application/json"
        assert "idempotency-expires" in attached.headers
        output = await bench.request("GET", f"{path}/output")
        assert (output.status, output.body) == (200, b'"late"')

    ingress_world(scenario)


def test_outcome_of_what_is_unknown() -> None:
    """Goal: as captured: 404, by the ingress for output, by the invocation for attach."""

    async def scenario(bench: Bench) -> None:
        path = f"/restate/invocation/{id_text(raw_id(1, 2))}"
        assert refused(await bench.request("GET", f"{path}/output"), 404) == "invocation not found"
        attached = await bench.request("GET", f"{path}/attach")
        assert refused(attached, 404, "invocation") == "not found"
        assert parse_id_text(attached.headers["x-restate-id"]) == raw_id(1, 2)

    ingress_world(scenario)


def test_failures_of_a_handler() -> None:
    """Goal: code, message and metadata are the handler's; a code that HTTP lacks becomes 500."""

    async def scenario(bench: Bench) -> None:
        bench.outcome = Failure(418, "teapot", (("hint", "x"),))
        reply = await bench.request("POST", "/Greeter/greet", b"1")
        assert refused(reply, 418, "invocation") == "teapot"
        assert reply.json["metadata"] == {"hint": "x"}
        bench.outcome = Failure(7, "odd")
        odd = await bench.request("POST", "/Greeter/greet", b"1")
        assert (odd.status, odd.json["code"]) == (500, 7)
        for code, status in ((600, 600), (999, 999), (1000, 500), (204, 500)):
            bench.outcome = Failure(code, "odd")
            odd = await bench.request("POST", "/Greeter/greet", b"1")
            assert (odd.status, odd.json["code"]) == (status, code)

    ingress_world(scenario)


def test_content_types_of_answers() -> None:
    """Goal: the handler's output rules. Method: nothing, nothing but labelled, bytes."""

    async def scenario(bench: Bench) -> None:
        bench.outcome = Success(b"")
        nothing = await bench.request("GET", "/Greeter/nothing")
        assert (nothing.status, nothing.body) == (200, b"")
        assert "content-type" not in nothing.headers
        typed = {"content-type": "application/json"}
        assert (await bench.request("POST", "/Greeter/greet", headers=typed)).status == 200
        labelled = await bench.request("POST", "/Greeter/raw", b"\x00")
        assert labelled.headers["content-type"] == "application/octet-stream"
        bench.outcome = Success(b"\x00\xff")
        raw = await bench.request("POST", "/Greeter/raw", b"\x00")
        assert raw.body == b"\x00\xff"

    ingress_world(scenario)


def test_what_takes_anything_expects_nothing_in_particular() -> None:
    """Goal: a body without a type is refused by a handler of any type. Method: send one."""

    async def scenario(bench: Bench) -> None:
        message = refused(await bench.request("GET", "/Greeter/any"), 400)
        assert message == "input validation error: Empty content-type"

    ingress_world(scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "reason"),
    [
        ("POST", "/Nope/x", b"1", {}, 404, "service 'Nope' not found"),
        ("POST", "/Greeter/nope", b"1", {}, 404, "the handler 'nope' was not found"),
        ("POST", "/Counter/add", b"1", {}, 400, "bad path"),
        ("POST", "/Secret/x", b"1", {}, 400, "not public"),
        ("POST", "/Greeter/closed", b"1", {}, 400, "not public"),
        ("DELETE", "/Greeter/greet", b"", {}, 405, "method not allowed"),
        ("POST", "/restate/health", b"", {}, 405, "method not allowed"),
        ("GET", f"/restate/a/{awakeable_id(raw_id(1, 2), 17)}/resolve", b"", {}, 405, "method"),
        ("POST", "/restate/a/bad/resolve", b"1", {}, 400, "bad awakeable id"),
        ("POST", "/Greeter/greet/send?delay=soon", b"1", {}, 400, "bad delay"),
        ("POST", "/Greeter/greet?delay=1s", b"1", {}, 400, "add /send"),
        ("POST", "/Greeter/greet", b"1", {"idempotency-key": "\xff"}, 400, "not UTF-8"),
        ("POST", "/Greeter/greet", b"1", {"idempotency-key": "k" * 20000}, 400, "longer"),
        ("POST", "/Greeter/greet/send?delay=9000000d", b"1", {}, 400, "longer than"),
        ("POST", "/Greeter/told", b"", {"content-type": "text/plain"}, 400, "Empty body"),
        ("POST", "/Greeter/greet", b"1", {"content-type": "Application/JSON"}, 400, "does not"),
        ("POST", "/Greeter/greet", b"", {"content-type": ""}, 400, "'' does not match"),
        ("GET", "/Greeter/nothing", b"", {"content-type": ""}, 400, "empty body"),
        ("FOO", "*", b"", {}, 400, "bad path"),
        ("GET", "/restate/lookup", b"", {}, 405, "method not allowed"),
        ("POST", "/restate/output", b"{", {}, 400, "does not name an invocation"),
        ("POST", "/restate/attach", b'{"target": "invocation"}', {}, 400, "invocationId"),
        ("POST", "/Greeter/greet", b"1", {"content-type": "text/plain"}, 400, "'text/plain' does"),
        ("POST", "/Greeter/nothing", b"1", {}, 400, "empty body"),
        ("GET", "/Greeter/picky", b"", {}, 400, "Empty content-type, expected 'text/\\*'"),
        ("POST", "/Greeter/broken", b"", {}, 400, "Bad configuration"),
        ("POST", "/Greeter/greet", b"1" * (BODY_BYTES_MAX + 1), {}, 413, "larger"),
        ("POST", "/Greeter/greet", b"1", {"content-length": "99999"}, 413, "larger"),
    ],
)
def test_what_is_refused(
    method: str, path: str, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    """Goal: a client error with its words, and nothing is submitted. Method: table."""

    async def scenario(bench: Bench) -> None:
        reply = await bench.request(method, path, body, headers=headers)
        message = refused(reply, status)
        assert reason.replace("\\", "") in message
        assert bench.submitted == [] and bench.signals == []

    ingress_world(scenario)


def test_body_in_pieces_is_bounded() -> None:
    """Goal: reading stops at the limit. Method: three pieces, the second exceeds it."""

    async def scenario(bench: Bench) -> None:
        half = b"1" * (BODY_BYTES_MAX // 2 + 1)
        assert refused(await bench.request("POST", "/Greeter/greet", [half, half, half]), 413)
        fits = await bench.request("POST", "/Greeter/greet", [b"1", b"2", b"3"])
        assert fits.status == 200 and bench.submitted[0][1].invocation.argument == b"123"

    ingress_world(scenario)


def test_body_that_never_ends_is_given_up() -> None:
    """Goal: a client that stops sending holds nothing for ever. Method: nothing is sent, and the
    clock is virtual.
    """

    async def scenario(bench: Bench) -> None:
        assert refused(await bench.request("POST", "/Greeter/greet", client=Stalled([])), 408)

    ingress_world(scenario)


class Stalled(Client):
    """Promises a body."""

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(1000)
        return {"type": "http.disconnect"}


def test_awakeables() -> None:
    """Goal: the signal that the id names, with value or failure; 202 without a body."""

    async def scenario(bench: Bench) -> None:
        invocation = raw_id(partition_key_of_key("x"), 7)
        awakeable = awakeable_id(invocation, 17)
        reply = await bench.request("POST", f"/restate/awakeables/{awakeable}/resolve", b'"v"')
        assert (reply.status, reply.body) == (202, b"")
        await bench.request("POST", f"/restate/a/{awakeable}/reject", b"no")
        resolved, rejected = bench.signals
        assert resolved.invocation == rejected.invocation == invocation
        assert journal_codec.notification_id(resolved.signal) == SignalIndex(17)
        assert journal_codec.outcome(resolved.signal) == Success(b'"v"')
        assert journal_codec.outcome(rejected.signal) == Failure(500, "no")

    ingress_world(scenario)


def test_health_and_cors() -> None:
    """Goal: what load balancers and browsers ask."""

    async def scenario(bench: Bench) -> None:
        health = await bench.request("GET", "/restate/health")
        assert health.json == {"services": ["Counter", "Greeter", "Secret", "Signup"]}
        asked = {
            "origin": "http://x",
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        }
        preflight = await bench.request("OPTIONS", "/Greeter/greet", headers=asked)
        assert preflight.status == 200 and preflight.body == b""
        assert preflight.headers["access-control-allow-methods"] == "POST"
        assert preflight.headers["access-control-allow-headers"] == "content-type"
        for reply in (preflight, await bench.request("GET", "/Nope/x", headers=asked)):
            assert reply.headers["access-control-allow-origin"] == "http://x"
            assert reply.headers["access-control-allow-credentials"] == "true"

    ingress_world(scenario)


def test_client_that_leaves_cancels_nothing() -> None:
    """Goal: nobody waits any more, and the invocation is there. Method: hang up while it runs."""

    async def scenario(bench: Bench) -> None:
        bench.outcome = None
        client = Client([b"1"])
        json_type = {"content-type": "application/json"}
        calling = asyncio.ensure_future(
            bench.request("POST", "/Greeter/greet", headers=json_type, client=client)
        )
        await asyncio.sleep(1)
        assert len(bench.known) == 1 and bench.calls.waiting_count == 1
        client.left.set()
        reply = await calling
        assert reply.status == 0 and bench.calls.waiting_count == 0
        assert len(bench.known) == 1

    ingress_world(scenario)


def test_node_that_stops_says_so() -> None:
    """Goal: who waits hears 503 with the id, not a cut; what comes later is served."""

    async def scenario(bench: Bench) -> None:
        bench.outcome = None
        calling = asyncio.ensure_future(bench.request("POST", "/Greeter/greet", b"1"))
        await asyncio.sleep(1)
        bench.ingress.stop_waiting()
        reply = await calling
        assert "attach by the id" in refused(reply, 503)
        assert reply.headers["x-restate-id"].startswith("inv_1")

    ingress_world(scenario)


def test_errors_are_json_even_for_odd_names() -> None:
    """Goal: a name with quotes and line ends is quoted in the message."""

    async def scenario(bench: Bench) -> None:
        reply = await bench.request("POST", "/No%22pe/x", b"1")
        assert json.loads(reply.body)["message"].startswith("service 'No%22pe'")

    ingress_world(scenario)
