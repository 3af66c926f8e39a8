"""About the cluster and this server: health, version, what is not supported.

Kafka subscriptions are not supported: there are none, and none can be made. That is an answer (501
and a reason), because tools ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from restate_node.roles.admin.rest.exchange import Refused, json_response
from restate_node.runtime.watch import Watch
from restate_node.types.nodes import MetadataServerState, NodesConfiguration, Role

ADMIN_API_VERSION_MIN = 2
ADMIN_API_VERSION_MAX = 4


@dataclass(frozen=True, slots=True)
class About:
    """What this server says of itself; `ingress_endpoint` is where clients call services."""

    version: str
    ingress_endpoint: str | None


class ClusterPages:
    """The handlers."""

    def __init__(self, about: About, nodes: Watch[NodesConfiguration]) -> None:
        self._about = about
        self._nodes = nodes

    async def health(self, _: Request) -> Response:
        return Response()

    async def version(self, _: Request) -> Response:
        return json_response(
            200,
            {
                "version": self._about.version,
                "min_admin_api_version": ADMIN_API_VERSION_MIN,
                "max_admin_api_version": ADMIN_API_VERSION_MAX,
                "ingress_endpoint": self._about.ingress_endpoint,
                "features": {},
            },
        )

    async def cluster_health(self, _: Request) -> Response:
        """503 before there is a cluster."""
        nodes = self._nodes.value
        members = [
            node.id
            for node in nodes.members()
            if Role.METADATA_SERVER in node.roles
            and node.metadata_server_state is MetadataServerState.MEMBER
        ]
        if not members:
            raise Refused(503, "the cluster is not provisioned yet")
        health = {"members": sorted(members)}
        return json_response(
            200, {"cluster_name": nodes.cluster_name, "metadata_cluster_health": health}
        )

    async def no_subscriptions(self, _: Request) -> Response:
        return json_response(200, {"subscriptions": []})

    async def no_kafka_clusters(self, _: Request) -> Response:
        return json_response(200, {"clusters": []})

    async def no_kafka(self, _: Request) -> Response:
        raise Refused(501, "Kafka subscriptions are not supported by this server")

    async def nothing_here(self, request: Request) -> Response:
        raise Refused(404, f"there is no {request.url.path[:256]}: Kafka is not supported here")

    async def no_rules(self, _: Request) -> Response:
        raise Refused(501, "concurrency-limit rules are not supported by this server")

    async def no_queues(self, _: Request) -> Response:
        raise Refused(501, "virtual queues are not supported by this server: pause invocations")
