"""`POST /query`: SQL over HTTP, as Restate's command line and web interface ask.

    {"query": "select …"} ─▶ 200 and an Arrow IPC stream, or {"rows":[…]} if JSON is accepted
                             400 {"message": …}  the query is wrong
                             500 {"message": …}  it went wrong while it ran
                             503 {"message": …}  too many queries at once

The status is decided when the first piece is there. What goes wrong later can only be told by
breaking off the body.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from restate_node.roles.admin.sql.engine import QueryEngine
from restate_node.roles.admin.sql.errors import QueryError, QueryRefused, TooManyQueries
from restate_node.roles.admin.sql.forms import Format

QUERY_BYTES_MAX: Final = 1024 * 1024


class _Query(msgspec.Struct):
    query: str


def query_endpoint(engine: QueryEngine) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, for a route that takes POST."""

    async def answer(request: Request) -> Response:
        try:
            body = await _body(request)
            sql = msgspec.json.decode(body, type=_Query).query
        except ClientDisconnect:
            return Response(status_code=400)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
            text = f'the body is not a query such as {{"query": "select …"}}: {error}'
            return _refusal(400, text)
        form = _form(request.headers.get("accept", ""))
        chunks = engine.query(sql, form)
        try:
            first = await anext(chunks)
        except QueryError as error:
            return _refusal(_status(error), f"Datafusion error: {error}")
        return StreamingResponse(_all(first, chunks), media_type=form.value)

    return answer


async def _all(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def _body(request: Request) -> bytes:
    """The whole body; ValueError if it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > QUERY_BYTES_MAX:
            raise ValueError(f"it is larger than {QUERY_BYTES_MAX} bytes")
    return bytes(body)


def _form(accept: str) -> Format:
    """JSON for those who name it."""
    types = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return Format.JSON if Format.JSON.value in types else Format.ARROW


def _status(error: QueryError) -> int:
    if isinstance(error, TooManyQueries):
        return 503
    return 400 if isinstance(error, QueryRefused) else 500


def _refusal(status: int, message: str) -> Response:
    body = msgspec.json.encode({"message": message})
    return Response(body, status, media_type="application/json")
