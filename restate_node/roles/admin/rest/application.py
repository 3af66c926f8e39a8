"""The admin API over HTTP, an ASGI application: which path is answered by whom.

    /health /version /cluster-health /openapi        rest.cluster
    /deployments …                                   rest.deployments
    /services …                                      rest.services
    /invocations …                                   rest.invocations
    /query                                           whoever is handed in

Tools may put the version of the API that they speak before a path: `/v3/deployments`. All versions
that are spoken are answered alike.

Errors have a JSON body `{"message": …, "restate_code": …}`; an unknown path is a 404 without one.
Everything that a client sends is bounded before it is read.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from restate_node.roles.admin.registry import SchemaRegistry
from restate_node.roles.admin.rest.cluster import (
    ADMIN_API_VERSION_MAX,
    ADMIN_API_VERSION_MIN,
    About,
    ClusterPages,
)
from restate_node.roles.admin.rest.deployments import Deployments
from restate_node.roles.admin.rest.exchange import Handler, Refused, answering, json_response
from restate_node.roles.admin.rest.invocations import Controls, Invocations
from restate_node.roles.admin.rest.services import Patches, Services
from restate_node.runtime.watch import Watch
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.schema import HandlerDefaults

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_VERSIONED: Final = re.compile(r"/v([1-9])(/.*|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSources:
    """What the API shows and changes."""

    about: About
    defaults: HandlerDefaults
    nodes: Watch[NodesConfiguration]
    registry: SchemaRegistry
    patcher: Patches
    controls: Controls
    query: Handler | None = None
    """Answers `POST /query`; None while nobody does."""


@dataclass(frozen=True, slots=True)
class Page:
    """One row of the table of paths."""

    method: str
    path: str
    handler: Handler
    summary: str


class AdminApplication:
    """The application."""

    def __init__(self, sources: AdminSources) -> None:
        self._pages = _pages(sources)
        routes = [
            Route(page.path, answering(page.handler), methods=[page.method]) for page in self._pages
        ]
        routes.append(Route("/openapi", self._openapi))
        self._version = sources.about.version
        self._starlette = Starlette(
            routes=routes, exception_handlers={HTTPException: _without_body}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _VERSIONED.fullmatch(scope.get("path", ""))
        if found is None:
            await self._starlette(scope, receive, send)
            return
        if not ADMIN_API_VERSION_MIN <= int(found[1]) <= ADMIN_API_VERSION_MAX:
            await _unsupported(int(found[1]))(scope, receive, send)
            return
        path = found[2] or "/"
        await self._starlette({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    async def _openapi(self, _: Request) -> Response:
        """The paths; bodies are described in words."""
        paths: dict[str, dict[str, Any]] = {}
        for page in self._pages:
            responses = {"default": {"description": "See the summary"}}
            operation = {"summary": page.summary, "responses": responses}
            paths.setdefault(page.path, {})[page.method.lower()] = operation
        about = {"title": "Admin API", "version": self._version}
        return json_response(200, {"openapi": "3.1.0", "info": about, "paths": paths})


def _pages(sources: AdminSources) -> list[Page]:
    cluster = ClusterPages(sources.about, sources.nodes)
    deployments = Deployments(sources.registry, sources.defaults)
    services = Services(
        sources.registry, sources.patcher, sources.defaults, sources.about.ingress_endpoint
    )
    invocations = Invocations(sources.controls, sources.registry.watch)
    service, deployment = "/services/{service}", "/deployments/{deployment}"
    return [
        Page("GET", "/health", cluster.health, "Ready to take requests"),
        Page("GET", "/version", cluster.version, "Version of server and API"),
        Page("GET", "/cluster-health", cluster.cluster_health, "Members of the metadata cluster"),
        Page("POST", "/deployments", deployments.register, "Discover and register a deployment"),
        Page("GET", "/deployments", deployments.list, "All deployments"),
        Page("GET", deployment, deployments.get, "One deployment with its services"),
        Page("PATCH", deployment, deployments.update, "Another address or other headers"),
        Page("DELETE", deployment, deployments.remove, "Remove it, with ?force=true"),
        Page("GET", "/services", services.list, "All services"),
        Page("GET", service, services.get, "One service with its handlers"),
        Page("PATCH", service, services.modify, "Change options of a service"),
        Page("GET", f"{service}/handlers", services.list_handlers, "Handlers of a service"),
        Page("GET", f"{service}/handlers/{{handler}}", services.get_handler, "One handler"),
        Page("GET", f"{service}/openapi", services.openapi, "How clients call the service"),
        Page("POST", f"{service}/state", services.modify_state, "Replace the state of a key"),
        Page(
            "PATCH",
            "/invocations/{invocation}/{action}",
            invocations.act,
            "cancel, kill, pause, resume, purge, purge-journal or restart-as-new",
        ),
        Page("DELETE", "/invocations/{invocation}", invocations.terminate, "?mode=cancel|kill"),
        Page("POST", "/query", sources.query or _no_queries, "Rows of a query in SQL"),
        Page("GET", "/subscriptions", cluster.no_subscriptions, "Kafka is not supported"),
        Page("POST", "/subscriptions", cluster.no_kafka, "Kafka is not supported"),
        Page("GET", "/subscriptions/{id}", cluster.nothing_here, "Kafka is not supported"),
        Page("DELETE", "/subscriptions/{id}", cluster.nothing_here, "Kafka is not supported"),
        Page("GET", "/kafka-clusters", cluster.no_kafka_clusters, "Kafka is not supported"),
        Page("POST", "/kafka-clusters", cluster.no_kafka, "Kafka is not supported"),
        Page("GET", "/kafka-clusters/{name}", cluster.nothing_here, "Kafka is not supported"),
        Page("PATCH", "/kafka-clusters/{name}", cluster.nothing_here, "Kafka is not supported"),
        Page("DELETE", "/kafka-clusters/{name}", cluster.nothing_here, "Kafka is not supported"),
        Page("PUT", "/limits/rules", cluster.no_rules, "Rules are not supported"),
        Page("POST", "/limits/rules/bulk-delete", cluster.no_rules, "Rules are not supported"),
        Page("POST", "/vqueues/{id}/pause", cluster.no_queues, "There are no such queues"),
        Page("POST", "/vqueues/{id}/resume", cluster.no_queues, "There are no such queues"),
    ]


async def _no_queries(_: Request) -> Response:
    raise Refused(501, "queries are not served by this node")


def _unsupported(version: int) -> Response:
    return PlainTextResponse(
        f"Unsupported Admin API version V{version}. This server supports versions between "
        f"V{ADMIN_API_VERSION_MIN} and V{ADMIN_API_VERSION_MAX}.",
        400,
    )


async def _without_body(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    return Response(status_code=status, headers=headers)
