"""`/services`: what is registered, the options of a service, the state of its keys, its OpenAPI.

GET   /services[/{service}[/handlers[/{handler}]]]     GET /services/{service}/openapi
PATCH /services/{service}                              POST /services/{service}/state
"""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from restate_node.protocol.schema_registration import ServiceChange
from restate_node.roles.admin.registry import SchemaRegistry
from restate_node.roles.admin.rest.deployments import changing
from restate_node.roles.admin.rest.exchange import Refused, duration_ms, json_response, read
from restate_node.roles.admin.rest.openapi import openapi_of
from restate_node.roles.admin.rest.views import handler_view, handler_views, service_view
from restate_node.roles.admin.state_patch import NoLeader, OutcomeUnknown
from restate_node.types.offsets import Lsn
from restate_node.types.schema import Deployment, HandlerDefaults, Schema, Service

_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Patches(Protocol):
    """Replaces the state of keys; `roles.admin.state_patch.StatePatcher` is one."""

    async def patch(
        self, service: str, key: str, new_state: dict[str, bytes], expected_version: str | None
    ) -> Lsn: ...


class _ModifyState(msgspec.Struct):
    object_key: str
    new_state: dict[str, list[_Byte] | str]
    """Values as bytes, or as a text."""
    version: str | None = None
    scope: str | None = None


class _ModifyService(msgspec.Struct):
    public: bool | None = None
    idempotency_retention: str | None = None
    workflow_completion_retention: str | None = None
    journal_retention: str | None = None
    inactivity_timeout: str | None = None
    abort_timeout: str | None = None


class Services:
    """The handlers."""

    def __init__(
        self,
        registry: SchemaRegistry,
        patcher: Patches,
        defaults: HandlerDefaults,
        ingress_endpoint: str | None,
    ) -> None:
        self._registry = registry
        self._patcher = patcher
        self._defaults = defaults
        self._ingress_endpoint = ingress_endpoint

    async def list(self, _: Request) -> Response:
        schema = self._registry.schema
        views = [self._view(*_known(schema, name)) for name in schema.service_names()]
        return json_response(200, {"services": views})

    async def get(self, request: Request) -> Response:
        return json_response(200, self._view(*self._find(request)))

    async def modify(self, request: Request) -> Response:
        name: str = request.path_params["service"]
        wanted = await read(request, _ModifyService)
        change = ServiceChange(
            public=wanted.public,
            idempotency_retention_ms=_ms(wanted, "idempotency_retention"),
            workflow_completion_retention_ms=_ms(wanted, "workflow_completion_retention"),
            journal_retention_ms=_ms(wanted, "journal_retention"),
            inactivity_timeout_ms=_ms(wanted, "inactivity_timeout"),
            abort_timeout_ms=_ms(wanted, "abort_timeout"),
        )
        schema = await changing(self._registry.modify(name, change))
        return json_response(200, self._view(*_known(schema, name)))

    async def list_handlers(self, request: Request) -> Response:
        return json_response(200, {"handlers": handler_views(*self._find(request))})

    async def get_handler(self, request: Request) -> Response:
        service_name: str = request.path_params["service"]
        name: str = request.path_params["handler"]
        service = self._registry.schema.service(service_name)
        deployment = self._registry.schema.latest_deployment(service_name)
        handler = None if service is None else service.handlers.get(name)
        if service is None or deployment is None or handler is None:
            text = f"The requested handler '{name}' on service '{service_name}' does not exist"
            raise Refused(404, text)
        return json_response(200, handler_view(deployment, service, handler))

    async def openapi(self, request: Request) -> Response:
        _, service = self._find(request)
        return json_response(200, openapi_of(service, self._ingress_endpoint))

    async def modify_state(self, request: Request) -> Response:
        wanted = await read(request, _ModifyState)
        if wanted.scope is not None:
            raise Refused(400, "scoped virtual objects are not supported: leave out the scope")
        name = request.path_params["service"]
        new_state = {key: _value(value) for key, value in wanted.new_state.items()}
        # What a service left behind can be cleared when the service is gone.
        if new_state or self._registry.schema.service(name) is not None:
            self._check_keyed(request)
        try:
            await self._patcher.patch(name, wanted.object_key, new_state, wanted.version)
        except (NoLeader, OutcomeUnknown) as error:
            raise Refused(503, str(error)) from None
        return Response(status_code=202)

    def _check_keyed(self, request: Request) -> None:
        _, service = self._find(request)
        if not service.type.is_keyed:
            raise Refused(400, f"'{service.name}' is a service: only keyed services have state")

    def _find(self, request: Request) -> tuple[Deployment, Service]:
        return _known(self._registry.schema, request.path_params["service"])

    def _view(self, deployment: Deployment, service: Service) -> dict[str, object]:
        return service_view(deployment, service, self._defaults)


def _known(schema: Schema, name: str) -> tuple[Deployment, Service]:
    deployment, service = schema.latest_deployment(name), schema.service(name)
    if deployment is None or service is None:
        raise Refused(404, f"The requested service '{name}' does not exist")
    return deployment, service


def _value(value: list[int] | str) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _ms(wanted: _ModifyService, name: str) -> int | None:
    return duration_ms(name, getattr(wanted, name))
