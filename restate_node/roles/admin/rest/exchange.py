"""What the handlers of the admin API share: bodies that are bounded and checked, answers in JSON.

    {"message": …, "restate_code": "META0006" | null}        every error
    400 no JSON    422 JSON, but not what is expected there    413 too much of it    415 not JSON

A body MUST be declared as JSON. Browsers send JSON to other sites only after asking, so a page that
somebody visits cannot use the API of a node that runs on the same machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from restate_node.types.durations import parse_duration_ms

BODY_BYTES_MAX: Final = 10 * 1024 * 1024

Handler = Callable[[Request], Awaitable[Response]]
Body = TypeVar("Body", bound=msgspec.Struct)


class Refused(Exception):
    """The answer to a request that cannot be served."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


def answering(handler: Handler) -> Handler:
    """Refusals as responses; a client that went away gets none that matters."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refused:
            content = {"message": refused.message, "restate_code": refused.code}
            return json_response(refused.status, content)
        except ClientDisconnect:
            return Response(status_code=400)

    return answer


def json_response(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A body in JSON."""
    body = msgspec.json.encode(content)
    return Response(body, status, headers, media_type="application/json")


async def read(request: Request, shape: type[Body]) -> Body:
    """The body, decoded; raises Refused, ClientDisconnect."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Refused(415, "send the header content-type: application/json")
    try:
        return msgspec.json.decode(await _body(request), type=shape)
    except msgspec.ValidationError as error:
        raise Refused(422, f"the request body is not what is expected here: {error}") from None
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Refused(400, f"the request body cannot be read: {error}") from None


def flag(request: Request, name: str) -> bool:
    """`?name=true`; raises Refused for anything else than true and false."""
    value = request.query_params.get(name, "false")
    if value not in ("true", "false"):
        raise Refused(400, f"The query parameter '{name}' is invalid: write true or false")
    return value == "true"


def duration_ms(name: str, text: str | None) -> int | None:
    """Of a field; raises Refused for what is no duration."""
    if text is None:
        return None
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise Refused(422, f"The request field '{name}' is invalid. Reason: {error}") from None


async def _body(request: Request) -> bytes:
    """The whole body, unless it is too large; raises ClientDisconnect."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Refused(413, f"the body is larger than {BODY_BYTES_MAX} bytes: send less at once")
    return bytes(body)
