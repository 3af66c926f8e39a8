"""The admin API over HTTP, an ASGI application.

    GET  /health                    200, no body: ready to take requests
    GET  /version                   version, and which admin API versions are spoken
    POST /services/{service}/state  202 once the new state is committed

In this release no services are registered, so any service name is accepted: the state belongs to
the key of an object, and a service that is registered later finds it. A scope is refused, for
scoped objects do not exist here.

Errors have a JSON body `{"message": …}`; an unknown path is a 404 without one. Everything that a
client sends is bounded before it is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from restate_node.roles.admin.state_patch import NoLeader, OutcomeUnknown, StatePatcher

BODY_BYTES_MAX: Final = 10 * 1024 * 1024
ADMIN_API_VERSION_MIN: Final = 2
ADMIN_API_VERSION_MAX: Final = 4

_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class _ModifyState(msgspec.Struct):
    object_key: str
    new_state: dict[str, list[_Byte]]
    version: str | None = None
    scope: str | None = None


class _Refused(Exception):
    """The answer to a request that cannot be served."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


Handler = Callable[[Request], Awaitable[Response]]


def admin_application(
    patcher: StatePatcher, version: str, ingress_endpoint: str | None
) -> Starlette:
    """The application; `ingress_endpoint` is where clients call services, if known."""

    async def tell_health(_: Request) -> Response:
        return Response()

    async def tell_version(_: Request) -> Response:
        return _json(
            200,
            {
                "version": version,
                "min_admin_api_version": ADMIN_API_VERSION_MIN,
                "max_admin_api_version": ADMIN_API_VERSION_MAX,
                "ingress_endpoint": ingress_endpoint,
                "features": {},
            },
        )

    async def modify_state(request: Request) -> Response:
        wanted = _decode(await _body(request))
        new_state = {key: bytes(value) for key, value in wanted.new_state.items()}
        service: str = request.path_params["service"]
        try:
            await patcher.patch(service, wanted.object_key, new_state, wanted.version)
        except (NoLeader, OutcomeUnknown) as error:
            raise _Refused(503, str(error)) from None
        return Response(status_code=202)

    return Starlette(
        routes=[
            Route("/health", tell_health),
            Route("/version", tell_version),
            Route("/services/{service}/state", _answering(modify_state), methods=["POST"]),
        ],
        exception_handlers={HTTPException: _without_body},
    )


def _answering(handler: Handler) -> Handler:
    """Refusals as responses; a client that went away gets none that matters."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except _Refused as refused:
            return _json(refused.status, {"message": refused.message})
        except ClientDisconnect:
            return Response(status_code=400)

    return answer


async def _body(request: Request) -> bytes:
    """The whole body, unless it is too large; raises ClientDisconnect."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise _Refused(
                413, f"the body is larger than {BODY_BYTES_MAX} bytes: send less at once"
            )
    return bytes(body)


def _decode(body: bytes) -> _ModifyState:
    try:
        wanted = msgspec.json.decode(body, type=_ModifyState)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _Refused(400, f"the body is not a state modification: {error}") from None
    if wanted.scope is not None:
        raise _Refused(400, "scoped virtual objects are not supported: leave out the scope")
    return wanted


async def _without_body(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    return Response(status_code=status, headers=headers)


def _json(status: int, content: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
