"""The tables about services and invocations, for `POST /query`.

What runs is known to the leaders of partitions, what is registered to every node. Of the latter
this module sees only what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from restate_node.roles.admin.sql.sources import KnownRows, Restriction, RowScan, RowSource
from restate_node.types.introspection import SYS_DEPLOYMENT, SYS_SERVICE, Source, Table
from restate_node.types.targets import ServiceType


class RegisteredService(Protocol):
    """One revision of a service."""

    @property
    def revision(self) -> int: ...

    @property
    def public(self) -> bool: ...

    @property
    def type(self) -> ServiceType: ...


class RegisteredDeployment(Protocol):
    """One version of a user's code."""

    @property
    def id(self) -> str: ...

    @property
    def uri(self) -> str: ...

    @property
    def is_function(self) -> bool: ...

    @property
    def created_at_ms(self) -> int: ...

    @property
    def protocol_version_min(self) -> int: ...

    @property
    def protocol_version_max(self) -> int: ...

    @property
    def services(self) -> Mapping[str, RegisteredService]: ...


class Registry(Protocol):
    """All that is registered, at one version."""

    @property
    def deployments(self) -> Mapping[str, RegisteredDeployment]: ...


class UserRows:
    """The RowSource of these tables; `registry` gives the newest that this node knows."""

    def __init__(self, partitions: RowSource, registry: Callable[[], Registry]) -> None:
        self._partitions = partitions
        self._registry = registry

    def open(self, table: Table, restriction: Restriction) -> RowScan:
        match table.source:
            case Source.PARTITIONS:
                return self._partitions.open(table, restriction)
            case Source.METADATA:
                return KnownRows(registered_rows(table, self._registry()))
            case Source.NOTHING:
                return KnownRows([])


def registered_rows(table: Table, registry: Registry) -> list[list[Any]]:
    """Of the two tables about what is registered."""
    if table is SYS_DEPLOYMENT:
        return [_deployment_row(deployment) for deployment in registry.deployments.values()]
    assert table is SYS_SERVICE, f"{table.name} is not about what is registered"
    return _service_rows(registry)


def _deployment_row(deployment: RegisteredDeployment) -> list[Any]:
    return SYS_DEPLOYMENT.row(
        {
            "id": deployment.id,
            "ty": "lambda" if deployment.is_function else "http",
            "endpoint": deployment.uri,
            "created_at": deployment.created_at_ms,
            "min_service_protocol_version": deployment.protocol_version_min,
            "max_service_protocol_version": deployment.protocol_version_max,
            "services": sorted(deployment.services),
        }
    )


def _service_rows(registry: Registry) -> list[list[Any]]:
    """Each service once, as it is in its latest revision."""
    latest: dict[str, tuple[RegisteredService, str]] = {}
    for deployment in registry.deployments.values():
        for name, service in deployment.services.items():
            if name not in latest or latest[name][0].revision < service.revision:
                latest[name] = (service, deployment.id)
    return [
        SYS_SERVICE.row(
            {
                "name": name,
                "revision": service.revision,
                "public": service.public,
                "ty": service.type.value,
                "deployment_id": deployment,
            }
        )
        for name, (service, deployment) in sorted(latest.items())
    ]
