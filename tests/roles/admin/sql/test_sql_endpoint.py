"""`POST /query` by plain ASGI calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sql_world import CapturedRows, Portions, engine_of
from starlette.applications import Starlette
from starlette.routing import Route

from restate_node.roles.admin.sql.endpoint import QUERY_BYTES_MAX, query_endpoint
from restate_node.roles.admin.sql.engine import QueryEngine
from restate_node.types.introspection import STATE


async def ask(
    engine: QueryEngine, body: bytes, accept: str = "application/json"
) -> tuple[int, str, bytes]:
    """Status, content type and body."""
    application = Starlette(routes=[Route("/query", query_endpoint(engine), methods=["POST"])])
    pieces = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return pieces.pop(0) if pieces else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
        "method": "POST", "path": "/query", "raw_path": b"/query", "query_string": b"",
        "root_path": "", "scheme": "http", "server": ("test", 80), "client": ("test", 1),
        "headers": [(b"content-type", b"application/json"), (b"accept", accept.encode())],
    }  # fmt: skip
    await application(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], headers["content-type"], answer


def query(sql: str) -> bytes:
    return json.dumps({"query": sql}).encode()


@pytest.mark.parametrize("accept", ["application/json", "text/html, application/json;q=0.9"])
async def test_json_for_those_who_accept_it(accept: str) -> None:
    """Goal: programs read rows. How: two accept headers."""
    sql = query("select key from state where key = 'stage'")
    status, content_type, body = await ask(engine_of(CapturedRows()), sql, accept)
    assert (status, content_type) == (200, "application/json")
    assert json.loads(body) == {"rows": [{"key": "stage"}]}


@pytest.mark.parametrize("accept", ["*/*", "", "application/vnd.apache.arrow.stream"])
async def test_arrow_for_all_others(accept: str) -> None:
    """Goal: the command line reads an Arrow stream. How: what it sends, nothing, the type."""
    found = await ask(engine_of(CapturedRows()), query("select name from sys_service"), accept)
    status, content_type, body = found
    assert (status, content_type) == (200, "application/vnd.apache.arrow.stream")
    assert body[:4] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (query("selekt 1"), 400, "Datafusion error: SQL error: ParserError"),
        (query("select * from nope"), 400, "table 'restate.public.nope' not found"),
        (query("select 1/0"), 500, "Divide by zero"),
        (b"nope", 400, "is not a query"),
        (b'{"query": 1}', 400, "is not a query"),
        (b"{}", 400, "is not a query"),
        (b'{"query": "\xff"}', 400, "is not a query"),
        (b" " * (QUERY_BYTES_MAX + 1), 400, "larger than"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "*/*"])
async def test_failures_are_told_in_json(body: bytes, status: int, text: str, accept: str) -> None:
    """Goal: whatever a client accepts, it reads why. How: table."""
    found = await ask(engine_of(CapturedRows()), body, accept)
    assert found[:2] == (status, "application/json")
    assert text in json.loads(found[2])["message"]


async def test_unreadable_rows_are_a_failure_of_the_server() -> None:
    """Goal: 500 and the reason when rows cannot be read; 503 when there is no place. How: a source
    that fails, and an engine without places.
    """
    failing = engine_of(Portions(failure="partition 3 has no leader"))
    status, _, body = await ask(failing, query("select * from state"))
    assert status == 500 and "partition 3 has no leader" in json.loads(body)["message"]
    full = engine_of(Portions([STATE.row({})]), queries_max=0, wait_s=0.01)
    status, _, body = await ask(full, query("select 1"))
    assert status == 503 and "try again later" in json.loads(body)["message"]
